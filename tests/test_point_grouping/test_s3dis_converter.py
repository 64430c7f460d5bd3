"""The converter of S3DIS: order, classes, the known defect, and what is refused by name."""

import pickle

import numpy as np
import pytest

from projects.runtime.errors import DataError


@pytest.fixture(scope='module')
def converter(load_tool):
    return load_tool('dataset_converters/s3dis_to_mmdet3d.py')


def lines(count, seed, low=1.):
    rng = np.random.default_rng(seed)
    rows = np.concatenate([rng.uniform(low, low + 2, (count, 3)).round(3), rng.integers(0, 256, (count, 3))], 1)
    return ''.join('{:.3f} {:.3f} {:.3f} {:.0f} {:.0f} {:.0f}\n'.format(*row) for row in rows)


@pytest.fixture
def raw(tmp_path):
    """Two areas of two rooms and one, with the files that lie about in the original."""
    root = tmp_path / 'Stanford3dDataset_v1.2_Aligned_Version'
    for room in ('Area_5/hallway_6', 'Area_5/office_1', 'Area_1/office_2'):
        folder = root / room / 'Annotations'
        folder.mkdir(parents=True)
        (root / room / f'{room.split("/")[1]}.txt').write_text('')
        for seed, (name, low) in enumerate((('chair_2', 1), ('ceiling_1', 3), ('stairs_1', 2), ('chair_10', 0))):
            (folder / f'{name}.txt').write_text(lines(30 + seed, seed, low))
    (root / 'Area_5' / '.DS_Store').write_text('')
    (root / 'Area_5' / 'Icon').write_text('')
    return root


def test_rooms_and_objects_are_sorted(raw, converter, tmp_path):
    converter.convert(raw, areas=(1, 5), workers=1, progress=False)
    info = pickle.loads((tmp_path / 's3dis_infos_Area_5.pkl').read_bytes())
    assert [entry['lidar_points']['lidar_path'] for entry in info['data_list']] == [
        'Area_5_hallway_6.bin', 'Area_5_office_1.bin']
    assert [entry['sample_idx'] for entry in info['data_list']] == [0, 1]
    assert info['metainfo'] == dict(categories=dict(table=0, chair=1, sofa=2, bookcase=3, board=4), dataset='s3dis',
                                    info_version='1.1')
    points = np.fromfile(tmp_path / 'points/Area_5_office_1.bin', np.float32).reshape(-1, 6)
    semantic, instance = (np.fromfile(tmp_path / folder / 'Area_5_office_1.bin', np.int64)
                          for folder in ('semantic_mask', 'instance_mask'))
    # ceiling_1, chair_10, chair_2, stairs_1; stairs are clutter
    np.testing.assert_array_equal(instance, np.repeat([1, 2, 3, 4], [31, 33, 30, 32]))
    np.testing.assert_array_equal(semantic, np.repeat([0, 8, 8, 12], [31, 33, 30, 32]))
    assert (points[:, :3].min(0) == 0).all()
    boxes = info['data_list'][1]['instances']
    assert [box['bbox_label_3d'] for box in boxes] == [1, 1]
    np.testing.assert_allclose(boxes[0]['bbox_3d'][3:], np.ptp(points[instance == 2, :3], 0))
    weights = np.load(tmp_path / 'seg_info' / 'Area_5_label_weight.npy')
    assert weights.shape == (13,) and weights[8] < weights[12] < weights[1]


def test_the_known_defect_is_read_as_a_space_and_stays(raw, converter, tmp_path, capsys):
    path = raw / 'Area_5/hallway_6/Annotations/ceiling_1.txt'
    good = path.read_bytes()
    place = good.index(b' ', 200)
    path.write_bytes(good[:place] + b'\x10' + good[place + 1:])
    kept = path.read_bytes()
    assert converter.main([str(raw), '--areas', '5', '--workers', '1', '--out', str(tmp_path / 'a')]) == 0
    assert 'Area_5/hallway_6/Annotations/ceiling_1.txt: 1 stray bytes were read as spaces' in capsys.readouterr().out
    assert path.read_bytes() == kept
    path.write_bytes(good)
    converter.convert(raw, tmp_path / 'b', areas=(5,), workers=1, progress=False)
    one, two = ((tmp_path / out / 'points' / 'Area_5_hallway_6.bin').read_bytes() for out in 'ab')
    assert one == two


@pytest.mark.parametrize('text, message', [
    ('1 2 3 4 5 6\n1 2 3 4 5\n', r"chair_2.txt: line 2 is '1 2 3 4 5'; expected six numbers"),
    ('1 2 3 4 5 6\n1 2 3 4 5 red\n', "line 2 is '1 2 3 4 5 red'"),
    ('1 2 3 4 5 256\n', 'point 0 is .*colours of 0 to 255'),
    ('nan 2 3 4 5 6\n', 'expected finite'),
    ('', 'chair_2.txt: no points in it'),
])
def test_broken_files_are_named(raw, converter, text, message):
    (raw / 'Area_1/office_2/Annotations/chair_2.txt').write_text(text)
    with pytest.raises(DataError, match=f'(?s)1 of 1 scans.*Area_1/office_2: .*{message}'):
        converter.convert(raw, areas=(1,), workers=1, progress=False)
    assert not list(raw.parent.glob('*.pkl'))


def test_blank_lines_do_not_matter(converter):
    points, strays = converter.parse_points(b'\n1 2 3 4 5 6\r\n\n7 8 9 10 11 12', 'a.txt')
    assert points.tolist() == [[1, 2, 3, 4, 5, 6], [7, 8, 9, 10, 11, 12]] and strays == 0


def test_missing_areas_and_annotations(raw, converter, capsys):
    assert converter.main([str(raw), '--workers', '1']) == 1
    assert 'Area_2: no such folder, or no rooms in it' in capsys.readouterr().err
    for path in (raw / 'Area_1/office_2/Annotations').iterdir():
        path.unlink()
    with pytest.raises(DataError, match='Annotations: no files CLASS_NUMBER.txt'):
        converter.convert(raw, areas=(1,), workers=1, progress=False)
