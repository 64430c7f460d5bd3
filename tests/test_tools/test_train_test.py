"""tools/train.py and tools/test.py: their results, and what they say about bad input."""

import json
import pickle
import shutil
from pathlib import Path

import cv2
import pytest
import torch
from mmdet.evaluation import CocoMetric
from mmdet.registry import METRICS

CONFIG = Path(__file__).with_name('tiny_fcos.py')
VOC_CONFIG = Path(__file__).with_name('tiny_voc.py')


@METRICS.register_module()
class FailingMetric(CocoMetric):
    """Breaks once all images are done."""

    def compute_metrics(self, results):
        raise RuntimeError('metric broke')


@pytest.fixture
def own_data(tiny_data, tmp_path):
    """A copy of the tiny data set to be spoilt."""
    return Path(shutil.copytree(tiny_data / 'tiny', tmp_path / 'own'))


def edit(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def refused(done, *words):
    """The run ended with one message for the user, which holds these words."""
    assert done.returncode == 1, done.stdout[-2000:] + done.stderr[-2000:]
    assert 'error: ' in done.stderr and 'Traceback' not in done.stderr
    for word in words:
        assert str(word) in done.stderr, done.stderr


# ---- what they do

def test_training_leaves_checkpoint_log_and_curves(trained):
    assert (trained / 'last_checkpoint').read_text() == str(trained / 'epoch_1.pth')
    [scalars] = trained.glob('*/vis_data/scalars.json')
    assert 'coco/bbox_mAP_50' in scalars.read_text().splitlines()[-1]


def test_testing_writes_metrics_predictions_and_pictures(trained, tool_here, tmp_path):
    done = tool_here('test.py', CONFIG, trained / 'epoch_1.pth', '--work-dir', tmp_path / 'w',
                     '--out', tmp_path / 'new/p.pkl', '--show-dir', 'painted')
    assert done.returncode == 0, done.stderr
    predictions = pickle.loads((tmp_path / 'new/p.pkl').read_bytes())
    assert [item['img_id'] for item in predictions] == list(range(5))
    [pictures] = (tmp_path / 'w').glob('*/painted')
    assert len(list(pictures.iterdir())) == 5
    [metrics] = (tmp_path / 'w').glob('*/*.json')
    assert 'coco/bbox_mAP' in json.loads(metrics.read_text())
    assert f'Predictions: {tmp_path}/new/p.pkl' in done.stdout


def test_predictions_survive_a_metric_that_fails(trained, tool_here, tmp_path):
    with pytest.raises(RuntimeError, match='metric broke'):
        tool_here('test.py', CONFIG, trained / 'epoch_1.pth', '--work-dir', tmp_path / 'w',
                  '--out', tmp_path / 'p.pkl', '--cfg-options',
                  'test_evaluator.type=FailingMetric')
    assert len(pickle.loads((tmp_path / 'p.pkl').read_bytes())) == 5


def test_tta_finds_at_least_as_many_boxes_as_it_merges(trained, tool_here, tmp_path):
    done = tool_here('test.py', CONFIG, trained / 'epoch_1.pth', '--work-dir', tmp_path / 'w',
                     '--out', tmp_path / 'p.pkl', '--tta')
    assert done.returncode == 0, done.stderr
    assert len(pickle.loads((tmp_path / 'p.pkl').read_bytes())) == 5


@pytest.mark.parametrize('value', [None, 'epoch_1.pth'])
def test_resume_goes_on(trained, tool_here, tmp_path, value):
    work_dir = shutil.copytree(trained, tmp_path / 'run')
    arguments = ['--resume'] if value is None else ['--resume', work_dir / value]
    done = tool_here('train.py', CONFIG, '--work-dir', work_dir, *arguments, '--cfg-options',
                     'train_cfg.max_epochs=2')
    assert done.returncode == 0, done.stderr
    assert f'Resuming from {work_dir}/epoch_1.pth.' in done.stdout
    assert 'resumed epoch: 1, iter: 4' in done.stdout
    assert (work_dir / 'epoch_2.pth').exists()


def test_other_data_and_classes_by_options(own_data, tool_here, tmp_path):
    """data_root reaches data sets and metric; a single class changes head and names."""
    done = tool_here('train.py', CONFIG, '--work-dir', tmp_path / 'w', '--cfg-options',
                     f'data_root={own_data}', 'classes=disc')
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr
    content = torch.load(tmp_path / 'w/epoch_1.pth', weights_only=True)
    assert content['meta']['dataset_meta']['classes'] == ('disc',)
    assert content['state_dict']['bbox_head.conv_cls.weight'].shape[0] == 1
    assert 'Classes: disc.' in done.stdout


def voc_folder(own_data, folder):
    """The tiny COCO set as one VOC folder: its training images, the last two for testing."""
    content = json.loads((own_data / 'annotations/train.json').read_text())
    for part in ('Annotations', 'ImageSets/Main'):
        (folder / part).mkdir(parents=True)
    shutil.copytree(own_data / 'train', folder / 'JPEGImages')
    names = {1: 'square', 2: 'disc'}
    for image in content['images']:
        objects = ''
        for item in content['annotations']:
            if item['image_id'] == image['id']:
                x, y, w, h = item['bbox']
                objects += (f'<object><name>{names[item["category_id"]]}</name><bndbox>'
                            f'<xmin>{x + 1}</xmin><ymin>{y + 1}</ymin><xmax>{x + w}</xmax>'
                            f'<ymax>{y + h}</ymax></bndbox></object>')
        (folder / f'Annotations/{image["id"]:03d}.xml').write_text(
            f'<annotation><size><width>64</width><height>64</height></size>{objects}</annotation>')
    lists = folder / 'ImageSets/Main'
    (lists / 'trainval.txt').write_text('\n'.join(f'{n:03d}' for n in range(6)))
    (lists / 'test.txt').write_text('006\n007\n')
    return folder


def test_voc_config_on_a_single_folder(own_data, tool_here, tmp_path):
    folder = voc_folder(own_data, tmp_path / 'cells')
    options = [f'data_root={folder}', 'classes=square,disc']
    done = tool_here('train.py', VOC_CONFIG, '--work-dir', tmp_path / 'w', '--cfg-options',
                     *options)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr
    assert 'is a single VOC folder' in done.stdout
    assert 'Epoch(train) [1][6/6]' in done.stdout  # 6 images, twice, in batches of 2
    done = tool_here('test.py', VOC_CONFIG, tmp_path / 'w/epoch_1.pth', '--work-dir',
                     tmp_path / 't', '--cfg-options', *options)
    assert 'pascal_voc/mAP' in done.stdout and '| square |' in done.stdout


def test_bccd(shared, tool_here, tmp_path):
    """Real VOC data with their own classes: two training steps, and a metric on 72 images."""
    done = tool_here(
        'train.py', VOC_CONFIG, '--work-dir', tmp_path / 'w', '--cfg-options',
        f'data_root={shared}/data/bccd', 'classes=RBC,WBC,Platelets',
        'train_dataloader.batch_size=146', 'train_dataloader.dataset.times=1')
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr
    assert '| Platelets |' in done.stdout and 'Epoch(val) [1][72/72]' in done.stdout


# ---- what they refuse

def test_missing_annotations(own_data, tool_here, tmp_path):
    (own_data / 'annotations/train.json').unlink()
    done = tool_here('train.py', CONFIG, '--work-dir', tmp_path / 'w', '--cfg-options',
                     f'data_root={own_data}')
    refused(done, f'{own_data}/annotations/train.json', 'train_dataloader.dataset.ann_file',
            'Expected layout', '--cfg-options data_root=')
    assert not (tmp_path / 'w').exists()  # nothing was built


@pytest.mark.parametrize('workers', [0, 1])
def test_empty_image(own_data, tool_here, tmp_path, workers):
    (own_data / 'train/003.jpg').write_bytes(b'')
    done = tool_here('train.py', CONFIG, '--work-dir', tmp_path / 'w', '--cfg-options',
                     f'data_root={own_data}', f'train_dataloader.num_workers={workers}')
    refused(done, f'error: {own_data}/train/003.jpg: the image file is empty', 'on_error="skip"')


def test_truncated_image_can_be_skipped(own_data, tool_here, tmp_path):
    path = own_data / 'train/003.jpg'
    path.write_bytes(path.read_bytes()[:600])
    done = tool_here('train.py', CONFIG, '--work-dir', tmp_path / 'w', '--cfg-options',
                     f'data_root={own_data}', 'train_dataloader.dataset.pipeline.0.on_error=skip')
    assert done.returncode == 0, done.stderr
    assert f'Skipped image 1 (in this process): {path}: the JPEG file is truncated' in done.stdout


def test_unusable_annotations_are_counted_and_training_goes_on(own_data, tool_here, tmp_path):
    def spoil(content):
        content['annotations'][0]['bbox'] = [200, 200, 10, 10]
        content['annotations'][1]['category_id'] = 99

    edit(own_data / 'annotations/train.json', spoil)
    done = tool_here('train.py', CONFIG, '--work-dir', tmp_path / 'w', '--cfg-options',
                     f'data_root={own_data}')
    assert done.returncode == 0, done.stderr
    assert 'train.json: 2 annotations are left out' in done.stdout
    assert '1 with a box outside the image, for example annotation 1 of 000.jpg' in done.stdout


def test_checkpoint_of_another_model(trained, tool_here, tmp_path):
    done = tool_here('test.py', CONFIG, trained / 'epoch_1.pth', '--work-dir', tmp_path / 'w',
                     '--cfg-options', 'model.backbone.depth=34')
    refused(done, 'missing in the checkpoint: backbone.layer1.2.conv1.weight',
            'checkpoint of another model')
    done = tool_here('test.py', CONFIG, trained / 'epoch_1.pth', '--work-dir', tmp_path / 'w',
                     '--cfg-options', 'model.bbox_head.num_classes=3')
    refused(done, '2 of another shape: bbox_head.conv_cls.weight', 'number of classes')


def test_starting_from_part_of_a_checkpoint_is_one_warning(trained, tool_here, tmp_path):
    done = tool_here('train.py', CONFIG, '--work-dir', tmp_path / 'w', '--cfg-options',
                     f'load_from={trained}/epoch_1.pth', 'model.bbox_head.num_classes=3')
    assert done.returncode == 0, done.stderr
    assert done.stdout.count('2 of another shape') == 1


class Payload:
    """Unpickles to opening a file for writing."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return open, (self.path, 'w')


def test_malicious_checkpoint(tool_here, tmp_path):
    torch.save(dict(state_dict=dict(w=torch.ones(1)), x=Payload(tmp_path / 'trace')),
               tmp_path / 'evil.pth')
    for arguments in (('test.py', CONFIG, tmp_path / 'evil.pth'),
                      ('train.py', CONFIG, '--resume', tmp_path / 'evil.pth'),
                      ('train.py', CONFIG, '--cfg-options', f'load_from={tmp_path}/evil.pth')):
        refused(tool_here(*arguments), f'{tmp_path}/evil.pth: refused', 'open', 'execute code')
    assert not (tmp_path / 'trace').exists()


@pytest.mark.parametrize('arguments, words', [
    (['--cfg-options', 'model.backbone.dpeth=34'],
     ['model.backbone.dpeth: ResNet has no argument', "Did you mean 'depth'"]),
    (['--cfg-options', 'model.neck.type=FPNN'], ['model.neck.type', "'FPN'"]),
    (['--cfg-options', 'optim_wraper.optimizer.lr=1'], ["Did you mean 'optim_wrapper'"]),
    (['--amp'], ['needs a GPU']),
    (['--launcher', 'pytorch'], ['dist_train.sh']),
    (['--auto-scale-lr', '--cfg-options', 'auto_scale_lr=None'], ['auto_scale_lr']),
    (['--resume', 'no/epoch_9.pth'], ['no/epoch_9.pth: no such checkpoint']),
])
def test_options_that_cannot_work(tool_here, tmp_path, monkeypatch, arguments, words):
    monkeypatch.setattr('torch.cuda.is_available', lambda: False)
    monkeypatch.delenv('RANK', raising=False)
    refused(tool_here('train.py', CONFIG, '--work-dir', tmp_path / 'w', *arguments), *words)


def test_out_must_be_a_pickle(trained, tool_here):
    refused(tool_here('test.py', CONFIG, trained / 'epoch_1.pth', '--out', 'folder'),
            '--out folder', '.pkl')


def test_images_are_what_the_detector_sees(tiny_data):
    """The generator of these tests draws what its annotations say."""
    image = cv2.imread(str(tiny_data / 'tiny/train/000.jpg'))
    content = json.loads((tiny_data / 'tiny/annotations/train.json').read_text())
    x, y, w, h = content['annotations'][1]['bbox']  # the disc, drawn last
    assert (abs(image[y + h // 2, x + w // 2].astype(int) - [40, 120, 255]) < 40).all()
