"""The mini indoor set and the converter of ScanNet: layout, sameness, and what is refused by name."""

import json
import pickle
import shutil

import numpy as np
import pytest

from projects.runtime.errors import DataError


@pytest.fixture(scope='module')
def maker(load_tool):
    return load_tool('dataset_converters/make_mini_indoor.py')


@pytest.fixture(scope='module')
def converter(load_tool):
    return load_tool('dataset_converters/scannet_to_mmdet3d.py')


def load(path):
    return pickle.loads(path.read_bytes())


def read_bins(root, name):
    return (np.fromfile(root / 'points' / f'{name}.bin', np.float32).reshape(-1, 6),
            *(np.fromfile(root / folder / f'{name}.bin', np.int64) for folder in ('semantic_mask', 'instance_mask')))


def test_layout_is_that_of_scannet(mini_indoor, maker):
    """The files that ScanNet's own tools look for; labels.ply says the same as segments and objects."""
    import mini_rooms
    import ply_files
    names = {split: (mini_indoor / 'meta_data' / f'scannetv2_{split}.txt').read_text().split()
             for split in ('train', 'val', 'test')}
    assert names == dict(train=['scene0000_00', 'scene0001_00', 'scene0002_00'], val=['scene0500_00', 'scene0501_00'],
                         test=['scene0707_00'])
    assert len(list((mini_indoor / 'scans_test' / 'scene0707_00').iterdir())) == 2
    for name in names['train']:
        folder = mini_indoor / 'scans' / name
        labels = ply_files.read_vertices(folder / f'{name}_vh_clean_2.labels.ply')
        points, semantic, _ = read_bins(mini_indoor, name)
        assert 5000 <= len(points) <= 20000
        np.testing.assert_array_equal(labels['label'], semantic)
        np.testing.assert_array_equal(labels['x'], points[:, 0])
        assert points[:, :3].min() == 0 and points[:, 3:].max() <= 255
        groups = json.loads((folder / f'{name}.aggregation.json').read_text())['segGroups']
        labels = [group['label'] for group in groups]
        assert len(set(labels) - {'wall', 'floor', 'box'}) >= 5 and labels.count('chair') >= 2
        assert (semantic == 0).any() and set(np.unique(semantic)) <= {0, *mini_rooms.NYU40.values()}


def test_a_mesh_opens_with_an_independent_reader(mini_indoor):
    ply = pytest.importorskip('plyfile')
    mesh = ply.PlyData.read(mini_indoor / 'scans' / 'scene0000_00' / 'scene0000_00_vh_clean_2.ply')
    points = read_bins(mini_indoor, 'scene0000_00')[0]
    for column, name in enumerate(('x', 'y', 'z', 'red', 'green', 'blue')):
        np.testing.assert_array_equal(mesh['vertex'][name], points[:, column])
    faces = np.stack(mesh['face']['vertex_indices'])
    assert faces.min() >= 0 and faces.max() < len(points)


def test_axis_alignment_makes_walls_straight(mini_indoor):
    entry = load(mini_indoor / 'scannet_infos_train.pkl')['data_list'][0]
    points, semantic, instance = read_bins(mini_indoor, 'scene0000_00')
    matrix = np.array(entry['axis_align_matrix'])
    aligned = points[:, :3] @ matrix[:3, :3].T + matrix[:3, 3]
    for wall in np.unique(instance[semantic == 1]):
        assert aligned[instance == wall, :2].std(0).min() < .02
    boxes = np.array([item['bbox_3d'] for item in entry['instances']])
    inside = instance == 4  # picture, behind floor and two walls
    np.testing.assert_allclose(boxes[0, 3:], np.ptp(aligned[inside], 0), atol=1e-5)


def test_same_arguments_same_rooms(maker, tmp_path, mini_indoor):
    root = maker.generate(tmp_path / 'a', train=1, val=1, test=0, workers=1, progress=False)
    one, two = (folder / 'scans' / 'scene0000_00' for folder in (root, mini_indoor))
    assert all((one / path.name).read_bytes() == path.read_bytes() for path in two.iterdir())
    other = maker.draw_room((1, 1, 0))
    assert len(other.xyz) != len(maker.draw_room((0, 1, 0)).xyz)
    stamp = (root / 'dataset.json').stat().st_mtime_ns
    maker.generate(root, train=1, val=1, test=0, progress=False)
    assert (root / 'dataset.json').stat().st_mtime_ns == stamp


def test_foreign_folders_are_left_alone(maker, tmp_path, capsys):
    (tmp_path / 'mine').mkdir()
    (tmp_path / 'mine' / 'thesis.tex').write_text('')
    assert maker.main(['--out', str(tmp_path / 'mine')]) == 2
    assert 'was not made by this tool' in capsys.readouterr().err
    assert maker.main(['--out', str(tmp_path / 'b'), '--train', '0']) == 2
    assert 'expected 1 to 500, 1 to 207 and 0 to 100 rooms' in capsys.readouterr().err
    with pytest.raises(ValueError, match='seed=-1'):
        maker.generate(tmp_path / 'b', seed=-1)


# ---- the converter

def test_info_files(mini_indoor):
    for split, count in (('train', 3), ('val', 2), ('test', 1)):
        info = load(mini_indoor / f'scannet_infos_{split}.pkl')
        assert info['metainfo']['info_version'] == '1.1' and info['metainfo']['dataset'] == 'scannet'
        assert len(info['metainfo']['categories']) == 18 and len(info['data_list']) == count
    assert info['data_list'] == [dict(lidar_points=dict(num_pts_feats=6, lidar_path='scene0707_00.bin'), instances=[])]
    train = mini_indoor / 'seg_info' / 'train_label_weight.npy'
    assert np.load(train).shape == (20,) and np.load(train).dtype == np.float32


@pytest.fixture
def raw(mini_indoor, tmp_path):
    """A copy of the raw files, with what was converted."""
    return shutil.copytree(mini_indoor, tmp_path / 'raw')


def test_resumes_and_notices_changes(raw, converter):
    """What is complete is kept; a cut-off file and a changed scan are made again."""
    points = [raw / 'points' / f'scene000{number}_00.bin' for number in range(3)]
    before = [path.read_bytes() for path in points]
    times = [path.stat().st_mtime_ns for path in points]
    points[1].write_bytes(before[1][:-24])
    mesh = raw / 'scans' / 'scene0002_00' / 'scene0002_00.txt'
    mesh.write_text(mesh.read_text() + '\n')
    converter.convert(raw, workers=1, progress=False)
    assert [path.read_bytes() for path in points] == before
    assert [path.stat().st_mtime_ns == time for path, time in zip(points, times, strict=True)] == [True, False, False]


def test_several_workers_give_the_same(raw, converter, mini_indoor, tmp_path):
    converter.convert(raw, tmp_path / 'out', workers=2, progress=False)
    for path in sorted((tmp_path / 'out').rglob('*.*')):
        relative = path.relative_to(tmp_path / 'out')
        if relative.suffix != '.json':  # records have the times of the copied files
            assert path.read_bytes() == (mini_indoor / relative).read_bytes()


def _edit(name, change):
    def edit(folder):
        path = folder / f'{folder.name}{name}'
        content = json.loads(path.read_text())
        change(content)
        path.write_text(json.dumps(content))
    return edit


@pytest.mark.parametrize('change, message', [
    (lambda folder: (folder / f'{folder.name}.aggregation.json').unlink(), 'aggregation.json: no such file'),
    (lambda folder: (folder / f'{folder.name}.aggregation.json').write_text('{'), 'expected JSON with the key segG'),
    (_edit('.aggregation.json', lambda c: c['segGroups'][0].update(label='unicorn')),
     "object 0: label 'unicorn' is not a raw_category"),
    (_edit('.aggregation.json', lambda c: c['segGroups'][2]['segments'].append(99999)), 'object 2: segment 99999'),
    (_edit('_vh_clean_2.0.010000.segs.json', lambda c: c['segIndices'].pop()), r'one for each of the \d+ vertices'),
    (lambda folder: (folder / f'{folder.name}.txt').write_text('axisAlignment = 1 2 3'), 'has 3 numbers, expected 16'),
    (lambda folder: (folder / f'{folder.name}_vh_clean_2.ply').write_text('ply\n'), "does not end with 'end_header'"),
    (lambda folder: (folder / f'{folder.name}_vh_clean_2.ply').write_bytes(
        (folder / f'{folder.name}_vh_clean_2.ply').read_bytes()[:5000]), 'the file is cut off: .* bytes of vertices'),
])
def test_failing_scans_are_named_and_fatal(raw, converter, change, message):
    change(raw / 'scans' / 'scene0001_00')
    for path in raw.glob('scannet_infos_*'):
        path.unlink()
    with pytest.raises(DataError, match=f'(?s)1 of 6 scans were not converted.*scene0001_00: .*{message}'):
        converter.convert(raw, workers=1, progress=False)
    assert not list(raw.glob('scannet_infos_*'))


def test_lists_and_label_map_are_needed(raw, converter, capsys):
    meta = raw / 'meta_data'
    (meta / 'scannetv2_val.txt').write_text('')
    assert converter.main([str(raw)]) == 1
    assert 'scannetv2_val.txt: names no scans' in capsys.readouterr().err
    (meta / 'scannetv2_val.txt').unlink()
    assert converter.main([str(raw)]) == 1
    assert 'scannetv2_val.txt: no such file' in capsys.readouterr().err
    (meta / 'scannetv2-labels.combined.tsv').write_text('a,b\n1,2\n')
    assert converter.main([str(raw)]) == 1
    assert 'no label map' in capsys.readouterr().err


def test_real_label_map(shared, converter):
    table = converter.read_label_map(shared / 'samples/scannet/meta_data/scannetv2-labels.combined.tsv')
    assert (table['trash can'], table['couch'], table['refrigerator'], table['box']) == (39, 6, 24, 29)
    names = converter.read_split(shared / 'samples' / 'scannet', 'val')
    assert len(names) == 312 and names == sorted(names)


def test_overlapping_objects(converter, tmp_path):
    """The later object gets the points, of two categories the one that appears first later; as in mmdet3d."""
    folder = tmp_path / 'scene0000_00'
    folder.mkdir()
    groups = [dict(objectId=4, segments=[1, 2], label='a'), dict(objectId=1, segments=[2, 3], label='b'),
              dict(objectId=7, segments=[3], label='a')]
    (folder / f'{folder.name}.aggregation.json').write_text(json.dumps(dict(segGroups=groups)))
    (folder / f'{folder.name}_vh_clean_2.0.010000.segs.json').write_text(json.dumps(dict(segIndices=[3, 2, 1, 0])))
    semantic, instance, classes = converter.read_objects(folder, 4, dict(a=5, b=7))
    assert semantic.tolist() == [7, 7, 5, 0] and instance.tolist() == [8, 2, 5, 0]
    assert classes == {5: 5, 2: 7, 8: 7}
