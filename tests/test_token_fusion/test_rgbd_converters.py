"""Converters of NYU Depth v2, SUN RGB-D and ScanNet's frames, on small inputs in the formats of the originals."""

import pickle
import sys
from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest
from mmengine.config import Config
from PIL import Image
from scipy.io import savemat

from projects.runtime.errors import DataError
from projects.token_fusion.detection3d import ScanNetViewsDataset


@pytest.fixture(scope='module')
def nyu(load_tool):
    return load_tool('dataset_converters/nyuv2_to_rgbd.py')


@pytest.fixture(scope='module')
def sun(load_tool):
    return load_tool('dataset_converters/sunrgbd_to_rgbd.py')


@pytest.fixture(scope='module')
def frames(load_tool):
    return load_tool('dataset_converters/scannet_frames_to_mmdet3d.py')


def store(path, arrays, seglabel=None):
    """Write a .mat file of MATLAB 7.3."""
    if seglabel is not None:
        arrays = {f'label{i}': label for i, label in enumerate(seglabel)}
    with h5py.File(path, 'w') as file:
        for name, array in arrays.items():
            file[name] = array
        if seglabel is not None:
            group = file.create_group('SUNRGBD2Dseg')
            group['seglabel'] = np.array([[file[name].ref] for name in arrays], dtype=h5py.ref_dtype)


def read(path):
    return cv2.imread(str(path), cv2.IMREAD_UNCHANGED)


@pytest.fixture
def labelled(tmp_path):
    """Three scenes of 32 x 24 pixels; the axes are MATLAB's in reverse."""
    raw = tmp_path / 'raw'
    raw.mkdir()
    rng = np.random.default_rng(0)
    arrays = dict(images=rng.integers(0, 256, (3, 3, 32, 24), dtype=np.uint8),
                  labels=rng.integers(0, 895, (3, 32, 24), dtype=np.uint16),
                  depths=rng.uniform(.5, 9, (3, 32, 24)).astype(np.float32))
    arrays['rawDepths'] = np.where(rng.random((3, 32, 24)) < .3, 0, arrays['depths'])
    store(raw / 'nyu_depth_v2_labeled.mat', arrays)
    savemat(raw / 'splits.mat', dict(trainNdxs=np.array([[3], [1]]), testNdxs=np.array([[2]])))
    mapping = rng.integers(1, 41, (1, 894), dtype=np.uint8)
    savemat(raw / 'classMapping40.mat', dict(mapClass=mapping))
    return raw, arrays, mapping[0]


def test_nyu_scenes(nyu, labelled, tmp_path):
    raw, arrays, mapping = labelled
    out = nyu.convert(raw, tmp_path / 'out', workers=1, progress=False)
    assert (out / 'train.txt').read_text().splitlines()[1] == 'rgb/000003.png\tmasks/000003.png\tdepth/000003.png'
    assert (out / 'val.txt').read_text() == 'rgb/000002.png\tmasks/000002.png\tdepth/000002.png\n'
    assert (out / 'classes.txt').read_text().splitlines()[39] == 'otherprop'
    np.testing.assert_array_equal(read(out / 'rgb/000003.png')[..., ::-1], arrays['images'][2].transpose(2, 1, 0))
    depth, truth = read(out / 'depth/000003.png'), arrays['rawDepths'][2].T
    assert depth.dtype == np.uint16 and ((depth == 0) == (truth == 0)).all()
    np.testing.assert_allclose(depth / 5000, truth, atol=1.1e-4)
    labels = arrays['labels'][2].T[6:-6, 7:-8].astype(int)
    mask = Image.open(out / 'masks/000003.png')
    assert mask.mode == 'P' and mask.size == (17, 12)
    np.testing.assert_array_equal(mask, np.where(labels == 0, 255, mapping[labels - 1] - 1.))
    with pytest.raises(DataError, match=r"prepared.json: .*'depth': 'raw'.*asked for.*'filled'.*another --out"):
        nyu.convert(raw, out, depth='filled', workers=1)
    filled = nyu.convert(raw, tmp_path / 'filled', depth='filled', crop=False, workers=1, progress=False)
    assert Image.open(filled / 'masks/000003.png').size == (32, 24)
    assert (read(filled / 'depth/000003.png') > 0).all()


def test_nyu_files_that_do_not_fit(nyu, labelled, tmp_path, monkeypatch):
    raw = labelled[0]
    savemat(raw / 'splits.mat', dict(trainNdxs=np.array([[1], [4]]), testNdxs=np.array([[2]])))
    with pytest.raises(DataError, match='splits.mat: names scenes 1 to 4, but nyu_depth_v2_labeled.mat has 3'):
        nyu.convert(raw, tmp_path / 'out', workers=1)
    savemat(raw / 'classMapping40.mat', dict(other=np.ones(3)))
    with pytest.raises(DataError, match="classMapping40.mat: has no variable 'mapClass'"):
        nyu.convert(raw, tmp_path / 'out', workers=1)
    from rgbd_files import open_hdf5

    monkeypatch.setitem(sys.modules, 'h5py', None)
    with pytest.raises(DataError, match='pip install h5py'):
        open_hdf5(raw / 'nyu_depth_v2_labeled.mat')


def sun_depth(millimetres):
    """As SUN RGB-D stores it: the three lowest bits of a sample come from the top."""
    millimetres = np.asarray(millimetres, dtype=np.uint16)
    return (millimetres << 3) | (millimetres >> 13)


def write_sun(image, depth, size, millimetres):
    for path in (image, depth):
        path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(image), np.full((*size, 3), 90, np.uint8))
    cv2.imwrite(str(depth), sun_depth(np.full(size, millimetres)))


def test_sun_lists(sun, tmp_path):
    raw, rng = tmp_path / 'raw', np.random.default_rng(0)
    for split, number in (('test', 1), ('train', 1)):
        write_sun(raw / f'image/{split}/img-{number:06d}.jpg', raw / f'depth/{split}/{number:08d}.png', (10, 14),
                  9100 if split == 'test' else 2345)
        (raw / f'{split}37.txt').write_text(f'image/{split}/img-000001.jpg depth/{split}/00000001.png '
                                            f'label37/{split}/img37labels-000001.png\n')
        (raw / 'label37' / split).mkdir(parents=True)
    labels = rng.integers(0, 38, (10, 14), dtype=np.uint8)
    labels[0, 0] = 37
    cv2.imwrite(str(raw / 'label37/test/img37labels-000001.png'), labels)
    cv2.imwrite(str(raw / 'label37/train/img37labels-005051.png'), labels[::-1])  # numbered as in the archive
    out = sun.convert(raw, tmp_path / 'out', workers=1, progress=False)
    assert (out / 'val.txt').read_text() == 'rgb/000001.jpg\tmasks/000001.png\tdepth/000001.png\n'
    assert (out / 'train.txt').read_text().startswith('rgb/000002.jpg\t')
    assert (out / 'rgb/000002.jpg').read_bytes() == (raw / 'image/train/img-000001.jpg').read_bytes()
    assert (read(out / 'depth/000001.png') == 8 * 5000).all() and (read(out / 'depth/000002.png') == 2345 * 5).all()
    np.testing.assert_array_equal(Image.open(out / 'masks/000001.png'), np.where(labels == 0, 255, labels - 1.))
    np.testing.assert_array_equal(Image.open(out / 'masks/000002.png'), np.where(labels == 0, 255, labels - 1.)[::-1])
    names = (out / 'classes.txt').read_text().splitlines()
    assert len(names) == 37 and names[23:25] == ['fridge', 'tv'] and names[-1] == 'bag'
    cv2.imwrite(str(raw / 'depth/train/00000001.png'), np.zeros((9, 14), np.uint16))
    with pytest.raises(DataError, match=r'1 of 2 scans.*\n.*img-000001.jpg.*image \(10, 14\), depth \(9, 14\)'):
        sun.convert(raw, tmp_path / 'again', workers=1, progress=False)
    (raw / 'train37.txt').unlink()
    with pytest.raises(DataError, match='expected train37.txt and test37.txt, or SUNRGBD/ and SUNRGBDtoolbox/'):
        sun.convert(raw, tmp_path / 'none')


def test_sun_release(sun, tmp_path):
    raw = tmp_path / 'raw'
    scenes = ('kv1/a', 'xtion/b')
    meta = np.zeros((1, 2), dtype=[('rgbpath', object), ('depthpath', object)])
    there = '/n/fs/sun3d/data/SUNRGBD'
    for place, scene in enumerate(scenes):
        folder = raw / 'SUNRGBD' / scene
        write_sun(folder / 'image/x.jpg', folder / 'depth/y.png', (6, 8), 1000)
        write_sun(folder / 'image/x.jpg', folder / 'depth_bfx/y.png', (6, 8), 3000)
        meta[0, place] = f'{there}/{scene}/image/x.jpg', f'{there}/{scene}/depth/y.png'
    toolbox = raw / 'SUNRGBDtoolbox'
    for name in ('Metadata', 'traintestSUNRGBD'):
        (toolbox / name).mkdir(parents=True)
    savemat(toolbox / 'Metadata/SUNRGBDMeta.mat', dict(SUNRGBDMeta=meta))
    paths = {key: np.array([[f'{there}/{scene}']], dtype=object)
             for key, scene in zip(('alltrain', 'alltest'), scenes, strict=True)}
    savemat(toolbox / 'traintestSUNRGBD/allsplit.mat', paths)
    labels = np.arange(96).reshape(2, 8, 6) % 38
    store(toolbox / 'Metadata/SUNRGBD2Dseg.mat', {}, seglabel=labels.astype(np.uint8))
    out = sun.convert(raw, tmp_path / 'out', depth='refined', workers=1, progress=False)
    assert (out / 'val.txt').read_text().startswith('rgb/000001.jpg')
    mask = np.asarray(Image.open(out / 'masks/000002.png'))
    np.testing.assert_array_equal(mask, np.where(labels[0].T == 0, 255, labels[0].T - 1))
    assert (read(out / 'depth/000002.png') == 15000).all()


def turn(axis, angle, shift):
    matrix, (one, two) = np.eye(4), [i for i in range(3) if i != axis]
    matrix[one, one] = matrix[two, two] = np.cos(angle)
    matrix[one, two], matrix[two, one] = -np.sin(angle), np.sin(angle)
    matrix[:3, 3] = shift
    return matrix


def write_frames(folder, poses, size=(64, 48)):
    folder.mkdir(parents=True)
    for number, pose in enumerate(poses):
        cv2.imwrite(str(folder / f'{number * 20:05d}.jpg'), np.zeros((size[1], size[0], 3), np.uint8))
        np.savetxt(folder / f'{number * 20:05d}.txt', pose)
    intrinsics = np.eye(4)
    intrinsics[:2, :3] = (50, 0, 31.5), (0, 51, 23.5)
    np.savetxt(folder / 'intrinsic.txt', intrinsics)
    return intrinsics


def test_frames_project_aligned_points(frames, tmp_path, root):
    """And the data set of the configs finds the images."""
    alignment = turn(2, .4, (1, -2, .1))
    poses = [turn(i % 3, .3 * i, (.2 * i, .1, 1.)) for i in range(5)]
    poses[1] = np.full((4, 4), -np.inf)  # tracking was lost
    intrinsics = write_frames(tmp_path / 'posed_images/scene0000_00', poses)
    info = dict(lidar_points=dict(num_pts_feats=6, lidar_path='scene0000_00.bin'), instances=[],
                pts_instance_mask_path='scene0000_00.bin', pts_semantic_mask_path='scene0000_00.bin',
                axis_align_matrix=alignment.tolist())
    infos = dict(metainfo=dict(dataset='scannet'), data_list=[info])
    (tmp_path / 'scannet_infos_train.pkl').write_bytes(pickle.dumps(infos))
    path, = frames.convert(tmp_path, ('train',), frames=3, progress=False)
    assert path == tmp_path / 'scannet_frames_infos_train.pkl'
    entry = pickle.loads(path.read_bytes())['data_list'][0]
    images = entry.pop('images')
    assert entry == info and list(images) == ['CAM0', 'CAM1', 'CAM2']
    names = [camera['img_path'] for camera in images.values()]
    assert names == sorted(names) and 'posed_images/scene0000_00/00020.jpg' not in names
    dataset = Config.fromfile(root / 'configs/_base_/datasets/scannet_3d.py').val_dataloader.dataset
    dataset = ScanNetViewsDataset(data_root=str(tmp_path), ann_file=path.name, data_prefix=dataset.data_prefix,
                                  metainfo=dict(classes=('cabinet',)), pipeline=[], test_mode=True)
    views = dataset.get_data_info(0)['views']
    assert [Path(image).relative_to(tmp_path).as_posix() for image, _ in views] == names
    assert all(Path(image).is_file() for image, _ in views)
    point = np.array([.3, -.4, 2., 1])
    for camera in images.values():
        assert (camera['height'], camera['width']) == (48, 64)
        pose = poses[int(camera['img_path'][-9:-4]) // 20]
        expected = intrinsics @ np.linalg.inv(pose) @ point
        np.testing.assert_allclose(np.array(camera['depth2img']) @ (alignment @ point), expected, atol=1e-9)
    content = path.read_bytes()
    frames.convert(tmp_path, ('train',), frames=3, progress=False)
    assert path.read_bytes() == content


def test_frames_that_do_not_fit(frames, tmp_path):
    lost = np.full((4, 4), -np.inf)
    write_frames(tmp_path / 'a', [lost])
    with pytest.raises(DataError, match='none of 1 frames has a valid pose'):
        frames.scan_images(tmp_path, 'a', np.eye(4), 10, None)
    write_frames(tmp_path / 'b', [np.eye(4)], size=(32, 24))
    with pytest.raises(DataError, match=r'b/intrinsic.txt: the principal point \(31.5, 23.5\).*--intrinsic-size W H'):
        frames.scan_images(tmp_path, 'b', np.eye(4), 10, None)
    image = frames.scan_images(tmp_path, 'b', np.eye(4), 10, (64, 48))['CAM0']
    assert image['depth2img'][0][:3] == [25, 0, 15.75]
    with pytest.raises(DataError, match=r'c/intrinsic.txt: no such file. Extract the frames of c'):
        frames.scan_images(tmp_path, 'c', np.eye(4), 10, None)
