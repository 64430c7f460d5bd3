"""ScanNet archives: what is written passes and scores, and each fault is named."""
import importlib.util
import io
import zipfile

import numpy as np
import pytest
import torch
from mmengine.evaluator import DumpResults

from projects.leaderboards import SubmissionError, load_results, validate, write
from projects.leaderboards.ply_headers import read_header
from projects.leaderboards.scannet_scenes import CLASS_IDS, INSTANCE_IDS, TEST_SCENES, lines_of, read_numbers

SCENES = ('scene0707_00', 'scene0708_00')
COUNTS = (600, 450)


def ply(count):
    header = f'ply\nformat binary_little_endian 1.0\ncomment x\nelement vertex {count}\nproperty float x\nend_header\n'
    return header.encode() + bytes(4 * count)


@pytest.fixture
def split(tmp_path):
    """Options of a split of two scenes."""
    for name, count in zip(SCENES, COUNTS, strict=True):
        folder = tmp_path / 'scans' / name
        folder.mkdir(parents=True)
        (folder / f'{name}_vh_clean_2.ply').write_bytes(ply(count))
    (tmp_path / 'list.txt').write_text('\n'.join(SCENES) + '\n')
    return dict(mesh_dir=tmp_path / 'scans', scenes=tmp_path / 'list.txt')


def prediction(scene, count, **changes):
    masks = torch.zeros(3, count, dtype=torch.bool)
    masks[0, :200], masks[1, 150:300], masks[2, 100:400] = True, True, True
    part = dict(pts_instance_mask=masks, instance_labels=torch.tensor([4, 2, 19]),
                instance_scores=torch.tensor([.25, .9, .5]), pts_semantic_mask=torch.arange(count) % 20)
    return dict(lidar_path=f'data/points/{scene}.bin', num_parts=1, pred_pts_seg={**part, **changes})


def predictions(**changes):
    """Changes apply to the first scene."""
    return [prediction(SCENES[0], COUNTS[0], **changes), prediction(SCENES[1], COUNTS[1])]


def read_zip(path):
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def make_zip(path, files):
    with zipfile.ZipFile(path, 'w') as archive:
        for name, data in files.items():
            if data is not None:
                archive.writestr(name, data)
    return path


def mask(count=COUNTS[0], inside=150):
    return b'1\n' * inside + b'0\n' * (count - inside)


def instance_files():
    files = {f'{scene}.txt': f'predicted_masks/{scene}_000.txt 5 0.9\n'.encode() for scene in SCENES}
    files.update({f'predicted_masks/{scene}_000.txt': mask(count) for scene, count in zip(SCENES, COUNTS, strict=True)})
    return files


# ---- instances

def test_archive_of_instances(tmp_path, split):
    path = write('scannet-instance', predictions(), tmp_path / 'out', name='alg', **split)
    files = read_zip(path)
    assert list(files) == sorted(files)
    assert files['scene0707_00.txt'].decode().splitlines() == [
        'predicted_masks/scene0707_00_000.txt 3 0.9000', 'predicted_masks/scene0707_00_001.txt 39 0.5000',
        'predicted_masks/scene0707_00_002.txt 5 0.2500']
    assert files['predicted_masks/scene0707_00_000.txt'] == b'0\n' * 150 + b'1\n' * 150 + b'0\n' * 300
    report = validate('scannet-instance', path, **split)
    assert (report.entries, report.images, report.warnings) == (6, 2, [])
    again = write('scannet-instance', predictions()[::-1], tmp_path / 'again', name='alg', **split)
    assert again.read_bytes() == path.read_bytes()


def test_archive_of_dumped_predictions(tmp_path, split):
    metric = DumpResults(str(tmp_path / 'preds.pkl'))
    metric.process({}, predictions())
    metric.evaluate(2)
    path = write('scannet-instance', load_results(tmp_path / 'preds.pkl'), tmp_path, name='alg', **split)
    assert validate('scannet-instance', path, **split).entries == 6


def test_what_is_not_evaluated_is_left_out(tmp_path, split):
    small = torch.zeros(4, COUNTS[0], dtype=torch.bool)
    small[:, :99] = True
    small[1:, :200] = True
    changes = dict(pts_instance_mask=small, instance_labels=torch.tensor([4, 0, 4, 5]),
                   instance_scores=torch.tensor([.9, .8, .7, .6]))
    with pytest.warns(UserWarning) as caught:
        path = write('scannet-instance', predictions(**changes), tmp_path, name='alg', max_per_scene=1, **split)
    texts = [str(note.message) for note in caught]
    assert any('1 instances were left out: fewer than 100 vertices' in text for text in texts)
    assert any('1 instances were left out: of wall or floor' in text for text in texts)
    assert any('3 instances were left out: beyond the 1 best' in text for text in texts)
    assert read_zip(path)['scene0707_00.txt'] == b'predicted_masks/scene0707_00_000.txt 5 0.7000\n'
    nothing = dict(pts_instance_mask=small[:0], instance_labels=torch.zeros(0), instance_scores=torch.zeros(0))
    path = write('scannet-instance', predictions(**nothing), tmp_path / 'b', name='alg', **split)
    assert read_zip(path)['scene0707_00.txt'] == b''
    assert validate('scannet-instance', path, **split).images == 1


def test_classes_of_another_order(tmp_path, split):
    path = write('scannet-instance', predictions(instance_labels=torch.tensor([0, 1, 0])), tmp_path, name='alg',
                 classes=['garbagebin', 'shower curtain', *list(CLASS_IDS)[2:]], **split)
    assert [line.split()[1] for line in read_zip(path)['scene0707_00.txt'].decode().splitlines()] == ['28', '39', '39']
    with pytest.raises(SubmissionError, match='option classes: lamp are no classes of ScanNet'):
        write('scannet-instance', predictions(), tmp_path, name='alg', classes=['lamp'], **split)


@pytest.mark.parametrize('changes, message', [
    (dict(pts_instance_mask=torch.zeros(COUNTS[0], dtype=torch.bool)), r'expected pts_instance_mask \(K, N\)'),
    (dict(pts_instance_mask=torch.zeros(3, 599, dtype=torch.bool)), '599 values, 600 vertices'),
    (dict(pts_instance_mask=torch.rand(3, COUNTS[0])), 'masks must be true or false'),
    (dict(instance_labels=torch.tensor([1, 20, 2])), r'labels must be 0 to 19.*scene0707_00: 20'),
    (dict(instance_scores=torch.tensor([1, float('nan'), 2])), 'scores must be finite'),
    (dict(instance_scores=torch.tensor([1.])), r'\(3, 600\), \(3,\), \(1,\)'),
])
def test_instances_that_cannot_be_submitted(tmp_path, split, changes, message):
    with pytest.raises(SubmissionError, match=message) as caught:
        write('scannet-instance', predictions(**changes), tmp_path / 'out', name='alg', **split)
    assert len(caught.value.problems) == 1
    assert not list(tmp_path.glob('out/*'))


@pytest.mark.parametrize('results, message', [
    (predictions()[:1], 'predictions for each of the 2 scenes .*missing .scene0708_00'),
    ([*predictions(), prediction('scene0000_00', 9)], 'not a scene of the split.*scene0000_00'),
    ([*predictions(), prediction(SCENES[0], 600)], 'a scene appears more than once .scene0707_00'),
    ([*predictions(), dict(img_id=1)], 'lidar_path and pred_pts_seg, which holds pts_instance_mask.*result 2'),
])
def test_predictions_of_other_scenes(tmp_path, split, results, message):
    with pytest.raises(SubmissionError, match=message):
        write('scannet-instance', results, tmp_path / 'out', name='alg', **split)


@pytest.mark.parametrize('changes, message', [
    ({'scene0708_00.txt': None, 'predicted_masks/scene0708_00_000.txt': None}, 'missing .scene0708_00'),
    ({'scene0709_00.txt': b''}, 'not a scene of the split.*scene0709_00'),
    ({'scene0707_00.txt': b'predicted_masks/scene0707_00_000.txt  5 0.9\n'}, 'three parts with single spaces'),
    ({'scene0707_00.txt': b'predicted_masks/scene0707_00_000.txt 5 0.9 \n'}, 'three parts with single spaces'),
    ({'scene0707_00.txt': b'predicted_masks/scene0707_00_000.txt\t5 0.9\n'}, 'three parts with single spaces'),
    ({'scene0707_00.txt': b'predicted_masks/scene0707_00_000.txt 13 0.9\n'}, 'NYU40 ids.*txt line 1: 13'),
    ({'scene0707_00.txt': b'predicted_masks/scene0707_00_000.txt 1 0.9\n'}, 'the server skips others'),
    ({'scene0707_00.txt': b'predicted_masks/scene0707_00_000.txt 5.0 0.9\n'}, 'NYU40 ids'),
    ({'scene0707_00.txt': b'predicted_masks/scene0707_00_000.txt 5 nan\n'}, 'a finite number .*nan'),
    ({'scene0707_00.txt': b'predicted_masks/scene0707_00_000.txt 5 high\n'}, 'a finite number'),
    ({'scene0707_00.txt': instance_files()['scene0707_00.txt'] * 2}, 'named twice.*line 2'),
    ({'scene0707_00.txt': instance_files()['scene0707_00.txt'] + b'predicted_masks/x.txt 5 1\n'}, 'not in the archive'),
    ({'scene0707_00.txt': instance_files()['scene0707_00.txt'] + b'/etc/x.txt 5 1\n'}, 'must be relative'),
    ({'scene0707_00.txt': instance_files()['scene0707_00.txt'] + b'a/../x.txt 5 1\n'}, 'must be relative, without ..'),
    ({'scene0707_00.txt': instance_files()['scene0707_00.txt'] + b'x.txt 5 1\n'}, 'must lie in a folder'),
    ({'predicted_masks/scene0707_00_001.txt': mask()}, 'only lists SCENE.txt and the masks that they name'),
    ({'readme.md': b''}, 'only lists SCENE.txt'),
    ({'../scene0709_00.txt': b''}, 'paths in the archive must stay inside'),
    ({'/predicted_masks/a.txt': b''}, 'paths in the archive must stay inside'),
    ({'__MACOSX/._a': b''}, 'system files'),
    ({'predicted_masks/scene0707_00_000.txt': mask(599)}, '599 lines, expected 600'),
    ({'predicted_masks/scene0707_00_000.txt': mask(601)}, '601 lines, expected 600'),
    ({'predicted_masks/scene0707_00_000.txt': b'1.0\n' * 600}, "one integer a line .*_000.txt: found b'1.0'"),
    ({'predicted_masks/scene0707_00_000.txt': b'1 0\n' * 600}, "found b'1 0'"),
    ({'predicted_masks/scene0707_00_000.txt': b'1\n\n' * 600}, "found b''"),
    ({'predicted_masks/scene0707_00_000.txt': b'1' * 600}, 'found a line that begins with'),
])
def test_faulty_archives_of_instances_are_named(tmp_path, split, changes, message):
    path = make_zip(tmp_path / 'a.zip', {**instance_files(), **changes})
    with pytest.raises(SubmissionError, match=message) as caught:
        validate('scannet-instance', path, **split)
    assert len(caught.value.problems) == 1 and str(path) in str(caught.value)


def test_other_forms_of_numbers_are_read(tmp_path, split):
    """Windows line ends, signs, spaces, large numbers, no end of the last line: the server reads them."""
    odd = b'+1\r\n' * 100 + b' 17\r\n' * 100 + b'-3\n' * 100 + b'0\n' * 299 + b'0'
    path = make_zip(tmp_path / 'a.zip', {**instance_files(), 'predicted_masks/scene0707_00_000.txt': odd})
    assert validate('scannet-instance', path, **split).warnings == []


def test_without_meshes_the_masks_of_a_scene_must_agree(tmp_path, split):
    lists = b'predicted_masks/scene0707_00_000.txt 5 0.9\npredicted_masks/scene0707_00_001.txt 7 1\n'
    files = {**instance_files(), 'scene0707_00.txt': lists, 'predicted_masks/scene0707_00_001.txt': mask(600, 99)}
    path = make_zip(tmp_path / 'a.zip', files)
    warnings = validate('scannet-instance', path, scenes=split['scenes']).warnings
    assert warnings == ['1 masks have fewer than 100 vertices and are not evaluated',
                        'numbers of vertices were not checked: pass the folder of the meshes (option mesh_dir)']
    path = make_zip(tmp_path / 'b.zip', {**files, 'predicted_masks/scene0707_00_001.txt': mask(500)})
    with pytest.raises(SubmissionError, match='scene0707_00_001.txt: 500 lines, expected 600'):
        validate('scannet-instance', path, scenes=split['scenes'])


def test_top_folder_and_the_hundred_scenes(tmp_path):
    path = make_zip(tmp_path / 'a.zip', {f'results/{name}': data for name, data in instance_files().items()})
    with pytest.raises(SubmissionError, match='at the root of the zip, without a top folder') as caught:
        validate('scannet-instance', path)
    assert len(caught.value.problems) == 1
    path = make_zip(tmp_path / 'b.zip', instance_files())
    with pytest.raises(SubmissionError, match='each of the 100 scenes.*98 times: scene0709_00'):
        validate('scannet-instance', path)
    assert (len(TEST_SCENES), TEST_SCENES[0], TEST_SCENES[-1]) == (100, 'scene0707_00', 'scene0806_00')


def test_repeated_members_and_other_files(tmp_path, split):
    with pytest.warns(UserWarning, match='Duplicate name'), zipfile.ZipFile(tmp_path / 'a.zip', 'w') as archive:
        for name, data in [*instance_files().items(), ('scene0707_00.txt', b'')]:
            archive.writestr(name, data)
    with pytest.raises(SubmissionError, match='a file appears more than once in the archive .scene0707_00.txt'):
        validate('scannet-instance', tmp_path / 'a.zip', **split)
    (tmp_path / 'b.zip').write_text('no')
    with pytest.raises(SubmissionError, match='not a zip file'):
        validate('scannet-instance', tmp_path / 'b.zip', **split)


def test_many_instances_and_large_archives_are_warned_of(tmp_path, split, monkeypatch):
    files = instance_files()
    for number in range(1, 102):
        files['scene0707_00.txt'] += f'predicted_masks/scene0707_00_{number:03d}.txt 5 0.1\n'.encode()
        files[f'predicted_masks/scene0707_00_{number:03d}.txt'] = mask()
    path = make_zip(tmp_path / 'a.zip', files)
    monkeypatch.setattr('projects.leaderboards.scannet_scenes.LARGE_ARCHIVE', 1000)
    first, second = validate('scannet-instance', path, **split).warnings
    assert first.startswith('1 scenes have more than 100 instances, scene0707_00 102')
    assert 'unpacked it has 0.0 GB' in second


def test_masks_are_read_in_pieces(tmp_path):
    """Files of several megabytes: no piece is larger than what is read at a time."""
    path = make_zip(tmp_path / 'a.zip', {'m.txt': mask(3_000_000, 5), 'n.txt': b'10\n' * 500_000})
    with zipfile.ZipFile(path) as archive:
        for name, count in (('m.txt', 3_000_000), ('n.txt', 500_000)):
            with archive.open(name) as stream:
                pieces = [len(piece) for piece in read_numbers(stream)]
            assert sum(pieces) == count and max(pieces) <= (1 << 20)


def test_lines_are_numbers():
    numbers = np.array([1, 39, 0, 10, 9])
    assert b''.join(lines_of(numbers)) == b'1\n39\n0\n10\n9\n' and not list(lines_of(numbers[:0]))


@pytest.mark.parametrize('options, message', [
    (dict(scenes='absent.txt'), 'absent.txt: no such file'),
    (dict(mesh_dir='absent'), 'no mesh of 2 of the 2 scenes, the first is scene0707_00'),
])
def test_options_are_checked(tmp_path, split, options, message):
    with pytest.raises(SubmissionError, match=message):
        validate('scannet-instance', make_zip(tmp_path / 'a.zip', instance_files()), **{**split, **options})


def test_lists_and_meshes_that_are_none(tmp_path, split):
    path = make_zip(tmp_path / 'a.zip', instance_files())
    (tmp_path / 'list2.txt').write_text('0707\n')
    with pytest.raises(SubmissionError, match="expected a name like scene0707_00 a line .*found '0707'"):
        validate('scannet-instance', path, scenes=tmp_path / 'list2.txt')
    mesh = split['mesh_dir'] / SCENES[0] / f'{SCENES[0]}_vh_clean_2.ply'
    for content, message in ((b'', "first line is not 'ply'"), (ply(5)[:30], "does not end with 'end_header'"),
                             (ply(0), 'a mesh without vertices'), (b'ply\nelement vertex 3\nend_header\n', 'no format'),
                             (b'ply\nformat ascii 1.0\nfoo bar\nend_header\n', "has the line 'foo bar'")):
        mesh.write_bytes(content)
        with pytest.raises(SubmissionError, match=message):
            validate('scannet-instance', path, **split)


def test_header_of_a_mesh():
    kind, elements = read_header(io.BytesIO(b'ply\nformat ascii 1.0\nelement vertex 7\nproperty float x\n'
                                            b'element face 2\nproperty list uchar int vertex_indices\nend_header\n1'))
    assert kind == 'ascii' and [(e.name, e.count) for e in elements] == [('vertex', 7), ('face', 2)]
    assert elements[1].properties == (('vertex_indices', 'list uchar int'),)


# ---- semantic labels

def label_files():
    return {f'{scene}.txt': b'5\n39\n' * (count // 2) for scene, count in zip(SCENES, COUNTS, strict=True)}


def test_archive_of_labels(tmp_path, split):
    path = write('scannet-semantic', predictions(), tmp_path / 'out', name='alg', **split)
    files = read_zip(path)
    assert list(files) == [f'{scene}.txt' for scene in SCENES]
    np.testing.assert_array_equal(np.array(files['scene0707_00.txt'].split()).astype(int),
                                  np.array(list(CLASS_IDS.values()))[np.arange(600) % 20])
    report = validate('scannet-semantic', path, **split)
    assert (report.entries, report.warnings) == (2, [])


@pytest.mark.parametrize('changes, message', [
    (dict(pts_semantic_mask=torch.zeros(20, COUNTS[0])), r'the shape \(N,\) and whole numbers'),
    (dict(pts_semantic_mask=torch.full((COUNTS[0],), 20)), 'labels must be 0 to 19.*scene0707_00: 20'),
    (dict(pts_semantic_mask=torch.zeros(5, dtype=torch.int64)), '5 labels, 600 vertices'),
])
def test_labels_that_cannot_be_submitted(tmp_path, split, changes, message):
    with pytest.raises(SubmissionError, match=message):
        write('scannet-semantic', predictions(**changes), tmp_path / 'out', name='alg', **split)
    assert not list(tmp_path.glob('out/*'))


@pytest.mark.parametrize('changes, message', [
    ({'scene0708_00.txt': None}, 'missing .scene0708_00'),
    ({'predicted_masks/a.txt': b''}, 'only files SCENE.txt may be in the archive'),
    ({'scene0707_00.txt': b'5\n' * 599}, '599 lines, expected 600'),
    ({'scene0707_00.txt': b'five\n' * 600}, "expected one integer a line .scene0707_00.txt: found b'five'"),
    ({'scene0707_00.txt': b'0\n' * 600, 'scene0708_00.txt': b'7\n' * 450}, 'look like indices of classes.*found 0, 7'),
])
def test_faulty_archives_of_labels_are_named(tmp_path, split, changes, message):
    path = make_zip(tmp_path / 'a.zip', {**label_files(), **changes})
    with pytest.raises(SubmissionError, match=message) as caught:
        validate('scannet-semantic', path, **split)
    assert len(caught.value.problems) == 1


def test_ids_that_are_not_evaluated_are_warned_of(tmp_path, split):
    path = make_zip(tmp_path / 'a.zip', {**label_files(), 'scene0707_00.txt': b'40\n' * 600})
    assert validate('scannet-semantic', path, **split).warnings == [
        'ids 40 are none of the 20 that are evaluated; such vertices count as errors']


# ---- round trip, and the command

def test_ground_truth_round_trip_is_perfect(tmp_path, split, root):
    """What is in the archive, read as the benchmark reads it, gives an AP of 1."""
    # the module alone: its package needs mmdet3d, and many seconds
    file = root / 'projects' / 'point_grouping' / 'instance_ap.py'
    spec = importlib.util.spec_from_file_location('instance_ap', file)
    evaluate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(evaluate)
    rng = np.random.default_rng(0)
    results, truths = [], {}
    for scene, count in zip(SCENES, COUNTS, strict=True):
        instance = np.sort(rng.integers(0, 3, count))
        labels = rng.choice(np.arange(2, 20), 3)
        truths[scene] = np.array(INSTANCE_IDS)[labels - 2][instance], instance
        results.append(prediction(scene, count, pts_instance_mask=torch.from_numpy(instance == np.arange(3)[:, None]),
                                  instance_labels=torch.from_numpy(labels)))
    files = read_zip(write('scannet-instance', results, tmp_path, name='truth', **split))
    overlaps = []
    for scene, (semantic, instance) in truths.items():
        rows = [line.split(' ') for line in files[f'{scene}.txt'].decode().splitlines()]
        masks = np.array([np.array(files[row[0]].split()).astype(int) != 0 for row in rows])
        overlaps.append(evaluate.overlap_scene(semantic, instance, masks, np.array([int(row[1]) for row in rows]),
                                               np.array([float(row[2]) for row in rows]), INSTANCE_IDS))
    assert evaluate.summarize(evaluate.average_precision(overlaps, INSTANCE_IDS))['AP'] == 1


def test_command(tmp_path, split, load_tool, capsys):
    metric = DumpResults(str(tmp_path / 'preds.pkl'))
    metric.process({}, predictions())
    metric.evaluate(2)
    tool = load_tool('submit.py')
    for track, entries in (('scannet-instance', 6), ('scannet-semantic', 2)):
        assert tool.main([track, str(tmp_path / 'preds.pkl'), '--out', str(tmp_path / track), '--name', 'alg',
                          '--mesh-dir', str(split['mesh_dir']), '--scenes', str(split['scenes'])]) == 0
        shown = capsys.readouterr().out
        assert f'entries  {entries}' in shown and 'kaldir.vc.in.tum.de' in shown
