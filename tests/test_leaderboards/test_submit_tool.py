"""tools/submit.py from the command line."""
import json
import subprocess
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).resolve().parents[2] / 'tools' / 'submit.py'


def run(cwd, *arguments):
    return subprocess.run([sys.executable, str(TOOL), *map(str, arguments)], cwd=cwd,
                          capture_output=True, text=True)


@pytest.fixture
def folder(tmp_path, prediction, dump):
    images = [dict(id=7, width=200, height=100)]
    (tmp_path / 'instances_val2017.json').write_text(json.dumps(dict(
        images=images, categories=[dict(id=18, name='dog')])))
    boxes = [[10, 20, 40, 60], [5, 5, 5, 9]]
    dump([prediction(7, boxes, [.9, .8], [0, 0])], tmp_path / 'preds.pkl')
    return tmp_path


def test_write_check_and_refuse(folder):
    written = run(folder, 'coco-det', 'preds.pkl', '--out', 'subs', '--name', 'alg',
                  '--ann-file', 'instances_val2017.json')
    assert (written.returncode, written.stderr) == (0, '')
    archive = folder / 'subs' / 'detections_val2017_alg_results.zip'
    assert archive.is_file()
    shown = dict(line.split(maxsplit=1) for line in written.stdout.splitlines())
    assert (shown['entries'], shown['images']) == ('1', '1')
    assert len(shown['sha256']) == 64
    assert '1 boxes without width or height' in shown['warning']
    assert 'CodaLab, which closed' in shown['next']

    checked = run(folder, 'coco-det', '--check', archive, '--ann-file', 'instances_val2017.json')
    assert checked.returncode == 0
    assert shown['sha256'] in checked.stdout

    refused = run(folder, 'coco-det', '--check', 'preds.pkl')
    assert refused.returncode == 1
    assert refused.stderr.startswith('preds.pkl: not a zip file')
    assert 'Traceback' not in refused.stderr and refused.stdout == ''


def test_options_reach_their_track(folder):
    from projects.leaderboards.tracks import TRACKS, option_names
    shown = run(folder, '--help').stdout
    for track in TRACKS.values():
        for name in {*option_names(track.write), *option_names(track.validate)}:
            assert f'--{name.replace("_", "-")} ' in shown
    refused = run(folder, 'voc-det', 'preds.pkl', '--out', 'subs', '--name', 'alg', '--image-dir',
                  '.', '--ann-file', 'instances_val2017.json')
    assert refused.returncode == 1
    assert 'write has no option ann_file' in refused.stderr
    assert 'image_dir' not in refused.stderr
    assert run(folder, 'coco-det').returncode == 2
