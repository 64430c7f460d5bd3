"""The mini RGB-D set: its geometry, the same scene in three layouts, and which class shows in which modality."""

import json
import pickle

import cv2
import numpy as np
import pytest
from PIL import Image

SIZE = (128, 96)
SUN_NAMES = ('bed', 'table', 'sofa', 'chair', 'toilet', 'desk', 'dresser', 'night_stand', 'bookshelf', 'bathtub')
DOMAINS = ('rgb', 'normal', 'reshading', 'depth_euclidean', 'depth_zbuffer', 'edge_texture', 'edge_occlusion')


@pytest.fixture(scope='module')
def maker(load_tool):
    return load_tool('dataset_converters/make_mini_rgbd.py')


@pytest.fixture(scope='module')
def root(maker, tmp_path_factory):
    """Six scenes; the square images show the middle of the others, pixel by pixel."""
    return maker.generate(tmp_path_factory.mktemp('rgbd') / 'set', train=4, val=2, size=SIZE, square=SIZE[1],
                          points=20000, workers=1, progress=False)


@pytest.fixture(scope='module')
def infos(root):
    return pickle.loads((root / 'sunrgbd/sunrgbd_infos_train.pkl').read_bytes())['data_list']


def image(path):
    picture = Image.open(path)
    return np.asarray(picture) if picture.mode != 'I' else np.asarray(picture, dtype=np.int64)


def domain(root, number, name):
    return cv2.imread(str(root / f'taskonomy/{name}/point_{number}_view_0_domain_{name}.png'), cv2.IMREAD_UNCHANGED)


def intrinsics(info):
    """Focal length and principal point, from 0, of a depth2img of a turned camera."""
    matrix = np.array(info['images']['CAM0']['depth2img'])
    ahead = matrix[2]
    assert ahead @ ahead == pytest.approx(1)
    return np.sqrt(matrix[0] @ matrix[0] - (matrix[0] @ ahead)**2), matrix[:2] @ ahead - 1


def project(info, points):
    pixels = points @ np.array(info['images']['CAM0']['depth2img']).T
    return pixels[:, :2] / pixels[:, 2:] - 1


def into_box(box, points):
    """Points in the frame of a box, its sizes -1 to 1."""
    cos, sin = np.cos(box[6]), np.sin(box[6])
    return (points - box[:3]) @ np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]]) * 2 / box[3:6]


def corners(box):
    cos, sin = np.cos(box[6]), np.sin(box[6])
    unit = np.stack(np.meshgrid(*[(-.5, .5)] * 3), -1).reshape(-1, 3)
    return unit * box[3:6] @ np.array([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]]) + box[:3]


def test_the_lists_name_what_is_there(root):
    classes = (root / 'nyu/classes.txt').read_text().split('\n')[:-1]
    assert len(classes) == 10
    for split, numbers in (('train', range(1, 5)), ('val', range(5, 7))):
        rows = (root / f'nyu/{split}.txt').read_text().splitlines()
        assert rows[0] == '\t'.join(f'{part}/{numbers[0]:06d}.png' for part in ('rgb', 'masks', 'depth'))
        for row in rows:
            picture, mask, depth = (Image.open(root / 'nyu' / name) for name in row.split('\t'))
            assert picture.size == mask.size == depth.size == SIZE
            assert (picture.mode, mask.mode, depth.mode) == ('RGB', 'P', 'I;16')
            assert set(np.unique(mask)) <= {*range(10), 255} and 0 < (np.asarray(mask) == 255).mean() < .15
        lines = (root / f'taskonomy/{split}_domain.txt').read_text().splitlines()
        assert lines[0] == f'{{domain}}/point_{numbers[0]}_view_0_domain_{{domain}}.png'
        assert all((root / 'taskonomy' / line.format(domain=name)).is_file() for line in lines for name in DOMAINS)
        found = pickle.loads((root / f'sunrgbd/sunrgbd_infos_{split}.pkl').read_bytes())
        assert found['metainfo'] == dict(categories={name: i for i, name in enumerate(SUN_NAMES)}, dataset='sunrgbd',
                                         info_version='1.1')
        assert [info['lidar_points']['lidar_path'] for info in found['data_list']] == [f'{n:06d}.bin' for n in numbers]


def test_points_are_the_pixels_of_the_depth_image(root, infos):
    for number, info in enumerate(infos, 1):
        points = np.fromfile(root / f'sunrgbd/points/{number:06d}.bin', np.float32).reshape(-1, 6).astype(float)
        depth = cv2.imread(str(root / f'nyu/depth/{number:06d}.png'), cv2.IMREAD_UNCHANGED) / 5000
        assert len(points) == np.count_nonzero(depth) < depth.size
        pixels = project(info, points[:, :3])
        columns, rows = np.rint(pixels).astype(int).T
        np.testing.assert_allclose(pixels, np.rint(pixels), atol=1e-3)
        np.testing.assert_allclose(points[:, :3] @ np.array(info['images']['CAM0']['depth2img'])[2],
                                   depth[rows, columns], atol=2e-4)
        picture = image(root / f'nyu/rgb/{number:06d}.png')
        np.testing.assert_allclose(points[:, 3:] * 255, picture[rows, columns], atol=1e-3)


def test_what_is_in_a_box_has_its_class_in_the_mask(root, infos):
    classes = (root / 'nyu/classes.txt').read_text().split('\n')
    checked = 0
    for number, info in enumerate(infos, 1):
        points = np.fromfile(root / f'sunrgbd/points/{number:06d}.bin', np.float32).reshape(-1, 6)[:, :3]
        mask = image(root / f'nyu/masks/{number:06d}.png')
        for item in info['instances']:
            name, box = SUN_NAMES[item['bbox_label_3d']], np.array(item['bbox_3d'])
            assert item['bbox_label'] == item['bbox_label_3d']
            seen = project(info, corners(box))  # all in front of the camera here: the room begins 1.4 m off its wall
            assert (seen.min(0) - 1 <= item['bbox'][:2]).all() and (item['bbox'][2:] <= seen.max(0) + 2).all()
            if name not in ('bed', 'dresser'):  # in the box of a chair or a rack there is air, with others behind
                continue
            inside = points[(np.abs(into_box(box, points)) < .98).all(1)]
            columns, rows = np.rint(project(info, inside)).astype(int).T
            found = mask[rows, columns]
            assert (found[found != 255] == classes.index(name)).mean() > .95
            checked += 1
    assert checked >= 3


def test_floors_are_level_and_the_camera_is_the_origin(root, infos):
    for number, info in enumerate(infos, 1):
        points = np.fromfile(root / f'sunrgbd/points/{number:06d}.bin', np.float32).reshape(-1, 6)[:, :3]
        columns, rows = np.rint(project(info, points)).astype(int).T
        floor = points[image(root / f'nyu/masks/{number:06d}.png')[rows, columns] == 1, 2]
        assert -1.62 < np.median(floor) < -1.18
        assert np.percentile(np.abs(floor - np.median(floor)), 90) < .05


def test_domains_of_taskonomy_agree(root, infos):
    for number, info in enumerate(infos, 1):
        deep, far = (domain(root, number, f'depth_{name}').astype(float) for name in ('zbuffer', 'euclidean'))
        known = deep < 65535
        assert known.mean() > .95 and ((far < 65535) == known).all()
        focal, (_, middle) = intrinsics(info)
        v, u = np.mgrid[:SIZE[1], :SIZE[1]] - middle
        rays = np.stack([u / focal, v / focal, np.ones_like(u)], -1)
        np.testing.assert_allclose(far[known], (deep * np.linalg.norm(rays, axis=-1))[known], atol=1.5)
        points = rays * deep[..., None] / 512
        across, down = points[1:-1, 2:] - points[1:-1, :-2], points[2:, 1:-1] - points[:-2, 1:-1]
        slope = np.cross(down, across)
        slope /= np.linalg.norm(slope, axis=-1, keepdims=True)
        normal = (domain(root, number, 'normal')[1:-1, 1:-1, ::-1] / 127. - 1) * (1, -1, -1)
        assert np.median((slope * normal).sum(-1)) > .995
        assert (slope * normal).sum(-1).mean() > .8
        facing = -(normal * rays[1:-1, 1:-1]).sum(-1)
        assert np.corrcoef(facing.ravel(), domain(root, number, 'reshading')[1:-1, 1:-1].ravel())[0, 1] > .7
        assert 2000 < domain(root, number, 'edge_texture').max() <= 11355
        edges = domain(root, number, 'edge_occlusion')
        assert 2000 < edges.max() <= 11584 and np.median(edges) < 600


def test_layouts_show_the_same_scene(root):
    left = (SIZE[0] - SIZE[1]) // 2
    for number in range(1, 5):
        picture = image(root / f'nyu/rgb/{number:06d}.png').astype(float)
        inner = picture[:, left:-left] - domain(root, number, 'rgb')[..., ::-1]
        assert np.abs(inner).mean() < 6  # the noise of the camera
        photo = image(root / f'sunrgbd/sunrgbd_trainval/image/{number:06d}.jpg')
        assert np.abs(picture - photo).mean() < 6  # of the JPEG
        depth = cv2.imread(str(root / f'nyu/depth/{number:06d}.png'), cv2.IMREAD_UNCHANGED)[:, left:-left] / 5000
        deep = domain(root, number, 'depth_zbuffer') / 512
        assert np.median(np.abs(depth - deep)[depth > 0]) < .03


def test_each_modality_lacks_some_classes(maker):
    from mini_rgbd_render import look

    worn = {}
    for index in range(16):
        room = maker.draw_room((5, 0, index))
        for thing in room.things:
            worn.setdefault(thing.category, []).append(thing.material is room.things[0].material)
        flat = [i for i, thing in enumerate(room.things) if thing.category in ('window', 'picture', 'floor mat')]
        seen = look(room, (64, 48))
        where = np.isin(seen.thing, flat)
        room.things = [thing for i, thing in enumerate(room.things) if i not in flat]
        behind = look(room, (64, 48)).depth[where]
        noise = .003 + .0015 * behind**2  # of the sensor, a pixel
        assert where.any() and np.median((behind - seen.depth[where]) / noise) < 1
    assert not any(worn['bed'] + worn['chair'])
    for category in ('table', 'bookshelf', 'dresser'):
        assert np.mean(worn[category]) > .7


def test_workers_and_the_size_of_the_set_change_nothing(maker, tmp_path):
    options = dict(size=(48, 32), square=32, points=200, seed=3, progress=False)
    one = maker.generate(tmp_path / 'one', train=2, val=1, workers=1, **options)
    two = maker.generate(tmp_path / 'two', train=2, val=1, workers=2, **options)
    files = sorted(path.relative_to(one) for path in one.rglob('*') if path.is_file())
    assert files == sorted(path.relative_to(two) for path in two.rglob('*') if path.is_file())
    assert all((one / file).read_bytes() == (two / file).read_bytes() for file in files)
    time = (one / 'nyu/rgb/000001.png').stat().st_mtime_ns
    assert maker.generate(one, train=2, val=1, **options) == one  # kept
    assert (one / 'nyu/rgb/000001.png').stat().st_mtime_ns == time
    maker.generate(one, train=1, val=1, **options)
    assert (one / 'nyu/rgb/000001.png').read_bytes() == (two / 'nyu/rgb/000001.png').read_bytes()
    assert not (one / 'nyu/rgb/000003.png').exists()
    assert json.loads((one / 'dataset.json').read_text())['train'] == 1


def test_mistakes_are_named(maker, tmp_path, capsys):
    with pytest.raises(ValueError, match=r'size=\(128, 16\).*32 pixels or more'):
        maker.generate(tmp_path / 'a', size=(128, 16))
    (tmp_path / 'mine.txt').touch()
    assert maker.main(['--out', str(tmp_path), '--train', '1', '--val', '1']) == 2
    assert 'choose another folder with --out' in capsys.readouterr().err
