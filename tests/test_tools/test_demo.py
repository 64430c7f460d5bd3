"""tools/demo.py: a picture and a JSON file for each image, broken ones passed over."""

import json
import shutil
from pathlib import Path

import cv2

CONFIG = Path(__file__).with_name('tiny_fcos.py')


def test_folder_with_broken_images(trained, tiny_data, tool_here, tmp_path):
    folder = Path(shutil.copytree(tiny_data / 'tiny/val', tmp_path / 'in'))
    (folder / 'sub').mkdir()
    cv2.imwrite(str(folder / 'sub/000.png'), cv2.imread(str(folder / '000.jpg')))
    cv2.imwrite(str(folder / '000.png'), cv2.imread(str(folder / '000.jpg')))
    (folder / 'empty.jpg').write_bytes(b'')
    (folder / 'text.png').write_text('no image')
    (folder / 'notes.txt').write_text('not looked at')
    out = tmp_path / 'out'
    done = tool_here('demo.py', folder, CONFIG, trained / 'epoch_1.pth', '--out-dir', out,
                     '--batch-size', 2, '--device', 'cpu', '--score-thr', 0)
    assert done.returncode == 0, done.stderr
    assert '7 images, 2 could not be read' in done.stdout
    assert 'empty.jpg: the image file is empty' in done.stderr and 'text.png' in done.stderr
    names = {'000.jpg', '000.png', '001', '002', '003', '004', 'sub/000'}
    for part, suffix in (('vis', '.jpg'), ('preds', '.json')):
        files = {str(path.relative_to(out / part)) for path in (out / part).rglob('*.*')}
        assert files == {name + suffix for name in names}
    result = json.loads((out / 'preds/001.json').read_text())
    assert result['classes'] == ['square', 'disc']
    assert len(result['labels']) == len(result['scores']) == len(result['bboxes']) > 0
    assert all(len(box) == 4 and -1 <= min(box) and max(box) <= 65 for box in result['bboxes'])
    assert cv2.imread(str(out / 'vis/001.jpg')) is not None


def test_detections_equal_those_of_testing(trained, tiny_data, tool_here, tmp_path):
    """The demo's boxes are what tools/test.py gets for the same image."""
    import pickle
    image = tiny_data / 'tiny/val/002.jpg'
    done = tool_here('demo.py', image, CONFIG, trained / 'epoch_1.pth', '--out-dir', tmp_path,
                     '--device', 'cpu')
    assert done.returncode == 0, done.stderr
    done = tool_here('test.py', CONFIG, trained / 'epoch_1.pth', '--work-dir', tmp_path / 'w',
                     '--out', tmp_path / 'p.pkl')
    expected = pickle.loads((tmp_path / 'p.pkl').read_bytes())[2]['pred_instances']
    found = json.loads((tmp_path / 'preds/002.json').read_text())
    assert found['labels'] == expected['labels'].tolist()
    assert found['bboxes'] == [[round(v, 2) for v in box] for box in expected['bboxes'].tolist()]


def test_input_without_images(trained, tool_here, tmp_path):
    for path, words in ((tmp_path, 'there is no image in it'),
                        (tmp_path / 'none.jpg', 'no such file or folder')):
        done = tool_here('demo.py', path, CONFIG, trained / 'epoch_1.pth')
        assert done.returncode == 1 and words in done.stderr


def test_only_broken_images_is_an_error(trained, tool_here, tmp_path):
    (tmp_path / 'a.jpg').write_bytes(b'')
    done = tool_here('demo.py', tmp_path, CONFIG, trained / 'epoch_1.pth', '--out-dir',
                     tmp_path / 'out', '--device', 'cpu')
    assert done.returncode == 1 and 'none of its 1 images can be read' in done.stderr
