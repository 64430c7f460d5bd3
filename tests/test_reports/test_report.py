"""tools/analysis_tools/report.py: work dirs of all tasks, whole and broken, on a page that a real browser shows."""

import http.server
import json
import re
import shutil
import subprocess
import threading
from functools import partial

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.evaluator import BaseMetric
from mmengine.model import BaseModel
from mmengine.registry import DATASETS, MODELS
from mmengine.registry import METRICS as METRICS_REGISTRY
from mmengine.runner import Runner

METRICS = dict(
    mmdet=['coco/bbox_mAP', 'coco/bbox_mAP_50'], mmseg=['aAcc', 'mIoU'], mmdet3d=['scannet/AP', 'scannet/AP50'],
    mmengine=['Set5/PSNR', 'Set5/SSIM'])
CHROMIUM = shutil.which('chromium')


@DATASETS.register_module()
class ReportNumbers(torch.utils.data.Dataset):
    """0, 1, 2, 3 as samples."""

    def __len__(self):
        return 4

    def __getitem__(self, index):
        return dict(x=torch.tensor([float(index)]))


@MODELS.register_module()
class ReportLine(BaseModel):
    """y = w x + b, to be trained to y = 2 x."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)

    def forward(self, x, mode='tensor'):
        error = ((self.layer(x) - 2 * x) ** 2).mean()
        return dict(loss=error) if mode == 'loss' else [error.item()]


@METRICS_REGISTRY.register_module()
class ReportError(BaseMetric):
    """Mean error."""

    def process(self, data_batch, data_samples):
        self.results += data_samples

    def compute_metrics(self, results):
        return dict(error=sum(results) / len(results))


def train(folder):
    """A real run of mmengine's runner: two epochs with evaluation."""
    loader = dict(batch_size=2, num_workers=0, dataset=dict(type='ReportNumbers'),
                  collate_fn=dict(type='default_collate'), sampler=dict(type='DefaultSampler', shuffle=False))
    Runner.from_cfg(Config(dict(
        model=dict(type='ReportLine'), work_dir=str(folder), train_dataloader=loader, val_dataloader=loader,
        train_cfg=dict(by_epoch=True, max_epochs=2), optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.01)),
        val_cfg=dict(), val_evaluator=dict(type='ReportError'), randomness=dict(seed=7), default_scope='mmengine',
        experiment_name='report_test', default_hooks=dict(logger=dict(type='LoggerHook', interval=1))))).train()


def write_run(folder, scope, losses=(2.0, 1.0), steps=(1, 2), tail='', max_epochs=2):
    """A work dir as mmengine lays it out, with two metrics that rise by 0.1 an evaluation."""
    data = folder / '20260101_000000' / 'vis_data'
    data.mkdir(parents=True)
    lines = [dict(lr=0.1, loss=loss, epoch=index + 1, iter=10 * (index + 1), step=10 * (index + 1), time=0.5)
             for index, loss in enumerate(losses)]
    lines += [{**{name: 0.1 * (index + 1) for name in METRICS[scope]}, 'coco/bbox_mAP_l': -1.0, 'step': step}
              for index, step in enumerate(steps)]
    (data / 'scalars.json').write_text('\n'.join(map(json.dumps, lines)) + tail)
    length = f'by_epoch=True, max_epochs={max_epochs}' if steps[0] else 'by_epoch=False, max_iters=20, val_interval=10'
    (data / 'config.py').write_text(f"default_scope = '{scope}'\ntrain_cfg = dict({length})\n"
                                    "note = '<script>alert(1)</script>'\n")


@pytest.fixture(scope='module')
def work_dirs(tmp_path_factory):
    root = tmp_path_factory.mktemp('runs')
    train(root / 'real')
    for scope in METRICS:
        write_run(root / scope, scope, steps=(0, 0) if scope == 'mmengine' else (1, 2))  # 0: iterations not recorded
    pictures = root / 'mmdet' / '20260101_000000' / 'shown'
    pictures.mkdir()
    for index in range(9):
        cv2.imwrite(str(pictures / f'{index}.png'), np.full((900, 1200, 3), 25 * index, np.uint8))
    (pictures / '0.png').write_bytes(b'no picture')
    (root / 'mmdet' / 'cost.json').write_text(json.dumps(dict(mul=112.9e9, add=316.5e9, params=3.2e7, per_module=[1])))
    write_run(root / 'cut<b>off', 'mmdet', losses=(1.0, float('nan')), steps=(1,), tail='\n{"iter": 30, "lo',
              max_epochs=12)
    (root / 'empty').mkdir()
    test = root / 'tested' / '20260101_000000'
    test.mkdir(parents=True)
    (test / '20260101_000000.json').write_text('{"coco/bbox_mAP": 0.35, "time": 0.1}')
    return root


@pytest.fixture(scope='module')
def page(work_dirs, load_tool):
    report = load_tool('analysis_tools/report.py')
    out = work_dirs.parent / 'report'
    report.main([str(work_dirs), str(work_dirs / 'empty'), '--out', str(out), '--title', 'Runs <of> all tasks'])
    return out / 'index.html'


def section(page, name):
    """The part of the page about a run."""
    return re.search(rf'<section><h2 id="run\d+">{re.escape(name)}</h2>.*?</section>', page.read_text(), re.S)[0]


def test_a_real_run_is_read_whole(page):
    """State, seed and figures come from what mmengine's runner wrote."""
    text = section(page, 'real')
    assert 'state finished' in text and 'What is missing' not in text
    assert '<dt>seed</dt><dd>7</dd>' in text and f'<dd>{torch.__version__}</dd>' in text
    assert '>error</th>' in text and 'Validation: 2 evaluations' in text and 'epoch_2.pth' in text


def test_every_task_has_its_metrics_and_one_chart_for_shared_ones(page):
    """The detection runs share a chart; values are those of the last epoch; COCO's -1 is left out."""
    text = page.read_text()
    for scope, names in METRICS.items():
        assert all(f'>{name}</th>' in section(page, scope) for name in names)
        assert '>0.2000</td>' in section(page, scope)
    label = re.search(r'aria-label="(coco/bbox_mAP over epochs\.[^"]*)"', text)[1]
    assert 'mmdet: from 0.1000 at 1 to 0.2000 at 2' in label and 'cut&lt;b&gt;off' in label
    assert 'Set5/PSNR over iterations. mmengine: from 0.1000 at 10 to 0.2000 at 20' in text
    assert 'bbox_mAP_l' not in text.split('<summary>Config')[0]
    assert '<dt>multiplications</dt><dd>112.90 G</dd>' in text


def test_the_command_begins_afresh_with_as_many_processes(load_tool, tmp_path):
    """The config of a resumed session says where it went on; the log says how many processes there were."""
    write_run(tmp_path / 'run', 'mmdet')
    session = tmp_path / 'run' / '20260101_000000'
    with open(session / 'vis_data' / 'config.py', 'a') as file:
        file.write("resume = True\nload_from = 'work_dirs/run/epoch_1.pth'\n")
    (session / '20260101_000000.log').write_text('    Distributed training: True\n    GPU number: 8\n')
    load_tool('analysis_tools/report.py').main([str(tmp_path / 'run'), '--out', str(tmp_path / 'report')])
    command = re.search(r'<pre tabindex="0">(bash .*?)</pre>', (tmp_path / 'report/index.html').read_text())[1]
    assert command.startswith('bash tools/dist_train.sh ') and '/vis_data/config.py 8 --work-dir' in command
    assert command.endswith('--cfg-options resume=False load_from=None')


def test_broken_runs_say_what_is_missing(page):
    """A run that was cut off, one that diverged, an empty folder, a picture that is none."""
    broken = section(page, 'cut&lt;b&gt;off')
    assert 'state unfinished' in broken and '1 of 12 epochs' in broken
    assert '1 line of scalars.json broken' in broken and 'loss not finite from iteration 20 on' in broken
    assert 'state broken' in section(page, 'empty') and 'No TIME/ folder' in section(page, 'empty')
    assert 'state tested' in section(page, 'tested') and '0.3500' in section(page, 'tested')
    assert 'shown/0.png: no readable picture' in section(page, 'mmdet')
    assert section(page, 'mmdet').count('<img src="data:image/jpeg;base64,') == 5


def test_text_is_escaped(page):
    """Names, titles and configs cannot become markup."""
    text = page.read_text()
    assert '<script>alert' not in text and '<b>off' not in text and 'Runs &lt;of&gt; all tasks' in text
    assert text.count('<script>') == 1


PROBE = """<!DOCTYPE html><html><head><link rel="icon" href="data:,"></head><body>
<iframe id="page" src="report/index.html" width="390" height="3000"></iframe><pre id="found"></pre><script>
const frame = document.getElementById('page');
frame.onload = () => {
  const inside = frame.contentDocument, view = frame.contentWindow, root = inside.documentElement;
  inside.querySelectorAll('details').forEach(part => { part.open = true; });
  inside.querySelectorAll('table.sortable th button')[0].click();
  inside.querySelectorAll('table.sortable th button')[0].click();
  document.getElementById('found').textContent = JSON.stringify({
    width: view.innerWidth, scroll: Math.max(root.scrollWidth, inside.body.scrollWidth),
    requests: view.performance.getEntriesByType('resource').map(entry => entry.name),
    pictures: [...inside.images].map(image => image.complete && image.naturalWidth > 0),
    unnamed: [...inside.images].filter(image => !image.alt).length,
    shown: inside.body.innerText.includes('0.2000'),
    first: inside.querySelector('table.sortable tbody th').textContent,
  });
};
</script></body></html>"""


@pytest.mark.skipif(CHROMIUM is None, reason='needs chromium (apt-get install chromium)')
def test_in_a_browser_on_a_phone(page, tmp_path):
    """At 390 pixels nothing is wider than the window, nothing is requested, pictures show, sorting works, no errors."""
    (page.parents[1] / 'probe.html').write_text(PROBE)
    requests = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_request(self, code='-', size='-'):
            requests.append((self.path, int(code)))

    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), partial(Handler, directory=str(page.parents[1])))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    flags = ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-sync',
             '--disable-background-networking', '--disable-component-update', '--enable-logging=stderr',
             '--hide-scrollbars', '--virtual-time-budget=5000', f'--user-data-dir={tmp_path}']
    done = subprocess.run([CHROMIUM, *flags, '--dump-dom', f'http://127.0.0.1:{server.server_port}/probe.html'],
                          capture_output=True, text=True, timeout=120, check=True)
    server.shutdown()
    found = json.loads(re.search(r'<pre id="found">(.*?)</pre>', done.stdout, re.S)[1])
    assert found['width'] == found['scroll'] == 390
    assert found['requests'] == [] and sorted(requests) == [('/probe.html', 200), ('/report/index.html', 200)]
    assert len(found['pictures']) == 5 and all(found['pictures']) and found['unnamed'] == 0
    assert found['shown'] and found['first'] == 'tested'
    assert 'CONSOLE' not in done.stderr
