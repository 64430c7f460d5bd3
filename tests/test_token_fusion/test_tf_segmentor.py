"""The RGB-D segmentor: stored outputs of the official code, checkpoints of other formats, schedule, inference, runs."""

import os
import subprocess
import sys
from pathlib import Path

import cv2
import pytest
import torch
from mmengine.config import Config, ConfigDict
from mmengine.dataset import pseudo_collate
from mmengine.model import revert_sync_batchnorm
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from mmseg.registry import DATASETS, METRICS, MODELS, PARAM_SCHEDULERS
from mmseg.structures import SegDataSample
from torch import distributed
from torch.testing import assert_close

from projects.runtime.checkpoint_files import read_checkpoint
from projects.runtime.errors import CheckpointError
from projects.token_fusion.segmentation import convert_official

WORKER = Path(__file__).with_name('tf_worker.py')
CONFIGS = sorted(path for path in Path(__file__).resolve().parents[2].glob('configs/token_fusion_*.py')
                 if Config.fromfile(path, import_custom_modules=False).default_scope == 'mmseg')
TINY = dict(embed_dims=(8, 16, 24, 24), num_heads=(1, 2, 3, 3), depths=(1, 2, 1, 1))
WHOLE = dict(atol=5e-5, rtol=1e-3)


@pytest.fixture(autouse=True, scope='module')
def segmentation_scope():
    init_default_scope('mmseg')


def make_config(**changes):
    """The tiny model of the stored outputs; keys of `changes` are parts of the model."""
    cfg = dict(
        type='TokenFusionSegmentor', backbone=dict(type='TokenFusionMiT', arch=TINY, drop_path_rate=0.),
        decode_head=dict(type='TokenFusionHead', channels=16, num_classes=7), test_cfg=dict(mode='whole'))
    for part, values in changes.items():
        cfg[part] = {**cfg.get(part, {}), **values}
    return ConfigDict(cfg)


def build(**changes):
    torch.manual_seed(0)
    return MODELS.build(make_config(**changes))


def samples(labels, **meta):
    """Data samples with label maps (B, H, W)."""
    size = tuple(labels.shape[-2:])
    return [SegDataSample(gt_sem_seg=PixelData(data=own[None].long()),
                          metainfo=dict(ori_shape=size, img_shape=size, **meta)) for own in labels]


def official_weights(stored):
    return {key.removeprefix('w.'): value for key, value in stored('segmentor_tiny_weights').items()}


def test_segmentor_as_official(stored, tmp_path, load_tool, monkeypatch):
    """Converted by the tool, from a file as the official code writes it: outputs, losses and gradients."""
    data, weights = stored('segmentor_tiny_io'), official_weights(stored)
    nested = {f'module.{key}': value for key, value in weights.items()}
    torch.save(dict(segmenter=nested, epoch_start=3), tmp_path / 'official.pth.tar')
    monkeypatch.setattr(sys, 'argv', ['tool', str(tmp_path / 'official.pth.tar'), str(tmp_path / 'own.pth')])
    load_tool('model_converters/token_fusion_to_mmseg.py').main()
    model = build(token_loss=dict(weight=float(data['lam']), reduction='sum')).eval()
    model.load_state_dict(read_checkpoint(tmp_path / 'own.pth')['state_dict'])
    inputs = torch.cat([data['rgb'], data['depth']], 1)

    features, scored = model.extract_feat(inputs)
    for stage, maps in enumerate(features):
        for m in range(2):
            assert_close(maps[m], data[f'feat_s{stage}_m{m}'], **WHOLE)
    for index, block in enumerate(scored):
        assert_close(block.scores, torch.stack([data[f'mask_l{index}_m{m}'] for m in range(2)]), **WHOLE)
    outputs = model.decode_head.with_ensemble(model.decode_head(features))
    for name, output in zip(('rgb', 'depth', 'ens'), outputs, strict=True):
        assert_close(output, data[f'logits_{name}'], **WHOLE)

    losses = model.loss(inputs, samples(data['target']))
    for name, short in (('rgb', 'rgb'), ('depth', 'depth'), ('ensemble', 'ens')):
        assert_close(losses[f'loss_ce_{name}'], data[f'nll_{short}'], **WHOLE)
    assert_close(losses['loss_tokens'], data['lam'] * data['l1_sum'], **WHOLE)
    total, _ = model.parse_losses(losses)
    assert_close(total, data['total_loss'], **WHOLE)
    total.backward()
    grads = {name: value.grad for name, value in model.named_parameters()}
    stages = 'backbone.stages.'
    for key, found in (
            ('alpha', grads['decode_head.ensemble.alpha']),
            ('encoder.patch_embed1.proj.module.bias', grads[f'{stages}0.patch_embed.proj.bias']),
            ('encoder.score_predictor.0.score_nets.0.7.weight',
             grads[f'{stages}0.score_nets.0.nets.0.layers.7.weight']),
            ('encoder.score_predictor.3.score_nets.1.7.bias', grads[f'{stages}3.score_nets.0.nets.1.layers.7.bias']),
            ('encoder.block1.0.attn.q.module.weight', grads[f'{stages}0.blocks.0.attn.q.weight']),
            ('encoder.norm4.ln_1.weight', grads[f'{stages}3.norm.weight'][1]),
            ('decoder.linear_pred.bias', grads['decode_head.conv_seg.bias'])):
        assert_close(found, data[f'grad_w.{key}'], **WHOLE)


@pytest.mark.parametrize(('arch', 'count'), [('b2', 26_018_426), ('b3', 45_917_306)])
def test_parameter_counts(arch, count):
    """Of the official classes with 40 classes."""
    model = build(backbone=dict(arch=arch), decode_head=dict(channels=256, num_classes=40))
    assert sum(value.numel() for value in model.parameters()) == count


def test_encoders_of_segformer_load_into_all_modalities(stored, tmp_path):
    """mmseg's MiT and the same weights in the official format: both branches compute what mmseg's MiT computes."""
    theirs = MODELS.build(dict(type='MixVisionTransformer', embed_dims=8, num_stages=4, num_layers=(1, 2, 1, 1),
                               num_heads=(1, 2, 3, 3), sr_ratios=(8, 4, 2, 1)))
    for value in theirs.parameters():
        torch.nn.init.normal_(value, std=0.2)
    theirs.eval()
    torch.save(dict(state_dict=theirs.state_dict()), tmp_path / 'mit_mmseg.pth')
    image = torch.randn(1, 3, 64, 64)
    inputs = torch.cat([image, image], 1)

    def loaded(path, **backbone):
        model = MODELS.build(dict(type='TokenFusionMiT', arch=TINY, modalities=dict(rgb=3, thermal=3), fusion='none',
                                  init_cfg=dict(type='Pretrained', checkpoint=str(path)), **backbone))
        model.init_weights()
        return model.eval()

    for options in ({}, dict(shared_layers=False), dict(shared_norm=True)):
        with torch.no_grad():
            found = loaded(tmp_path / 'mit_mmseg.pth', **options)(inputs)[0]
            for maps, own in zip(theirs(image), found, strict=True):
                assert_close(own, torch.stack([maps, maps]), atol=1e-4, rtol=1e-4)
    official = {key.removeprefix('encoder.').replace('.module', '').replace('.ln_0', ''): value
                for key, value in official_weights(stored).items()
                if key.startswith('encoder.') and 'score' not in key and 'ln_1' not in key}
    torch.save({**official, 'head.weight': torch.zeros(9, 24)}, tmp_path / 'mit_official.pth')
    model = loaded(tmp_path / 'mit_official.pth')
    assert torch.equal(model.stages[2].blocks[0].norm1.weight, official['block3.0.norm1.weight'].expand(2, -1))
    assert torch.equal(model.stages[1].blocks[1].mlp.dwconv.weight, official['block2.1.mlp.dwconv.dwconv.weight'])

    wrong = {**official, 'block1.7.attn.q.weight': torch.zeros(8, 8)}
    torch.save({key: value for key, value in wrong.items() if key != 'norm3.bias'}, tmp_path / 'wrong.pth')
    with pytest.raises(CheckpointError, match=r'wrong.pth: does not fit model.backbone \(TokenFusionMiT\). missing in '
                                              r'the file: stages.2.norm.bias; unknown to the model: stages.0.blocks.7'):
        loaded(tmp_path / 'wrong.pth')
    torch.save({'conv1.weight': torch.zeros(1)}, tmp_path / 'resnet.pth')
    with pytest.raises(CheckpointError, match=r'resnet.pth: unknown entries: conv1.weight'):
        loaded(tmp_path / 'resnet.pth')
    with pytest.raises(CheckpointError, match=r'unknown entries: classifier.bias. Expected encoder'):
        convert_official({**official_weights(stored), 'classifier.bias': torch.zeros(1)})


def test_names_follow_the_modalities():
    """Losses of three modalities, of a single one, and of concatenated maps; unfused ones have no score nets."""
    inputs, labels = torch.randn(2, 5, 32, 32), torch.randint(0, 7, (2, 32, 32))
    three = dict(rgb=3, depth=1, thermal=1)
    for backbone, names in (
            (dict(input_size=(32, 32)), ['rgb', 'depth', 'thermal', 'ensemble']),
            (dict(fusion='none', channel_threshold=1e-2), ['rgb', 'depth', 'thermal', 'ensemble']),
            (dict(used=['thermal']), ['thermal']),
            (dict(fusion='concat'), ['fused'])):
        model = build(backbone=dict(modalities=three, **backbone))
        losses = model.loss(inputs, samples(labels))
        assert [key for key in losses if 'loss_ce' in key] == [f'loss_ce_{name}' for name in names]
        exchanges = 'input_size' in backbone
        assert ('loss_tokens' in losses) == ('replaced_thermal' in losses) == exchanges
        assert ('loss_channels' in losses) == ('exchanged_thermal' in losses) == ('channel_threshold' in backbone)
        assert any('score_nets' in key for key in model.state_dict()) == exchanges
        assert model(inputs).shape == (2, 7, 8, 8)
    with pytest.raises(ValueError, match="4 input channels: expected 5, those of {'rgb': 3, 'depth': 1, 'thermal': 1}"):
        model(inputs[:, 1:])
    with pytest.raises(ValueError, match=r"used=\('lidar',\): expected names among rgb, depth"):
        build(backbone=dict(used=['lidar']))
    with pytest.raises(ValueError, match=r"outputs=\('rgb', 'both'\): expected names among rgb, depth, ensemble"):
        build(test_cfg=dict(outputs=['rgb', 'both']))


def test_ensemble_loss_trains_its_weights_alone():
    model = build()
    losses = model.loss(torch.randn(2, 4, 32, 32), samples(torch.randint(0, 7, (2, 32, 32))))
    losses['loss_ce_ensemble'].backward()
    assert [name for name, value in model.named_parameters() if value.grad is not None] == [
        'decode_head.ensemble.alpha']


def test_class_weights_beside_ignored_pixels():
    """A mean over known pixels: weights of 2 double it, ignored pixels do not count."""
    inputs, labels = torch.randn(2, 4, 32, 32), torch.randint(0, 7, (2, 32, 32))
    labels[:, ::2] = 255
    plain, weighted = (
        build(decode_head=dict(loss_decode=dict(type='CrossEntropyLoss', class_weight=weight))).eval().loss(
            inputs, samples(labels)) for weight in (None, [2.] * 7))
    assert_close(weighted['loss_ce_rgb'], 2 * plain['loss_ce_rgb'])
    ignored = build().eval().loss(inputs, samples(torch.full_like(labels, 255)))
    assert ignored['loss_ce_rgb'] == 0


def test_frozen_batch_norm():
    """freeze_bn keeps the running statistics of the official training, 0 and 1; without it they move."""
    inputs, labels = torch.randn(2, 4, 32, 32), torch.randint(0, 7, (2, 32, 32))
    for frozen in (True, False):
        model = build(decode_head=dict(freeze_bn=frozen)).train()
        model.loss(inputs, samples(labels))
        still = not model.decode_head.bn.running_mean.any() and (model.decode_head.bn.running_var == 1).all()
        assert still == frozen


def test_windows_flips_and_branches(stored):
    """Windows as large as the image, and a mirrored image with its depth, give the labels of the whole image."""
    data = stored('segmentor_tiny_io')
    model = build(test_cfg=dict(outputs=['ensemble', 'rgb', 'depth'])).eval()
    model.load_state_dict(convert_official(official_weights(stored)))
    inputs = torch.cat([data['rgb'], data['depth']], 1)
    [whole] = model.predict(inputs, samples(data['target']))
    labels = {name: value.data for name, value in whole.items() if name.startswith('pred_sem_seg')}
    assert sorted(labels) == ['pred_sem_seg', 'pred_sem_seg_depth', 'pred_sem_seg_rgb']
    upscaled = torch.nn.functional.interpolate(data['logits_depth'], (64, 64), mode='bilinear')
    assert torch.equal(labels['pred_sem_seg_depth'], upscaled.argmax(1))

    model.test_cfg = ConfigDict(mode='slide', crop_size=(64, 64), stride=(32, 32))
    [windows] = model.predict(inputs, samples(data['target']))
    assert torch.equal(windows.pred_sem_seg.data, labels['pred_sem_seg'])
    assert_close(windows.seg_logits.data, whole.seg_logits.data)
    model.test_cfg = ConfigDict(mode='slide', crop_size=(32, 48), stride=(16, 24))
    assert model.predict(inputs, samples(data['target']))[0].pred_sem_seg_rgb.data.shape == (1, 64, 64)

    metric = METRICS.build(dict(type='BranchIoUMetric', branch='depth'))
    metric.dataset_meta = dict(classes=[str(index) for index in range(7)])
    metric.process({}, [whole.to_dict()])
    agree = (labels['pred_sem_seg_depth'] == data['target'])[data['target'] != 255].float().mean()
    assert metric.evaluate(1)['depth/aAcc'] == pytest.approx(float(agree) * 100, abs=0.01)
    other = METRICS.build(dict(type='BranchIoUMetric', branch='thermal'))
    other.dataset_meta = metric.dataset_meta
    with pytest.raises(KeyError, match="thermal: the model does not predict this output. Set model.test_cfg.outputs"):
        other.process({}, [whole.to_dict()])


def test_metrics_as_official(stored):
    data = stored('seg_metrics')
    classes = int(data['num_classes'])
    truth = torch.where(data['gt'] < classes, data['gt'], 255).long()
    metric = METRICS.build(dict(type='IoUMetric', iou_metrics=['mIoU']))
    metric.dataset_meta = dict(classes=[str(index) for index in range(classes)])
    metric.process({}, [dict(pred_sem_seg=dict(data=data['pred'].long()), gt_sem_seg=dict(data=truth))])
    found = metric.evaluate(1)
    for name, key in (('aAcc', 'pixel_acc'), ('mAcc', 'mean_acc'), ('mIoU', 'miou')):
        assert found[name] == pytest.approx(float(data[key]), abs=0.006)  # mmseg rounds to two places


def test_rates_as_official(stored):
    """Of two groups, behind the horizon as well; a second stage begins anew at its share of the rate."""
    data = stored('poly_warmup_lr')
    rates, steps = data['base_lr'].tolist(), len(data['lr'])
    parameters = [torch.nn.Parameter(torch.zeros(1)) for _ in rates]
    optimizer = torch.optim.AdamW([dict(params=[value], lr=rate)
                                   for value, rate in zip(parameters, rates, strict=True)])
    settings = dict(type='StagedPolyLR', stage_iters=steps, factors=[1., 0.5], warmup=int(data['warmup_iter']),
                    warmup_ratio=float(data['warmup_ratio']), horizon=int(data['max_iter']), power=float(data['power']))
    scheduler = PARAM_SCHEDULERS.build(dict(settings, by_epoch=False, optimizer=optimizer))
    found = []
    for _ in range(2 * steps):
        found.append([group['lr'] for group in optimizer.param_groups])
        optimizer.step()
        scheduler.step()
    found = torch.tensor(found, dtype=torch.float64)
    assert_close(found[:steps], data['lr'], rtol=1e-6, atol=0)
    assert_close(found[steps:], data['lr'] / 2, rtol=1e-6, atol=0)
    with pytest.raises(ValueError, match='StagedPolyLR counts iterations; add by_epoch=False'):
        PARAM_SCHEDULERS.build(dict(settings, optimizer=optimizer))


SIZE = (64, 96)


def on_small_files(path, root):
    """A config with a tiny encoder, on small crops of the files in a folder."""
    cfg = Config.fromfile(path)
    cfg.model.backbone.update(arch=TINY, init_cfg=None)
    cfg.model.data_preprocessor.size = SIZE
    for split in ('train', 'val', 'test'):
        loader = cfg[f'{split}_dataloader']
        loader.update(num_workers=0, persistent_workers=False)
        loader.dataset.data_root = str(root)
        for step in loader.dataset.pipeline:
            changes = dict(RandomRGBDScale=dict(min_side=64, ratio_range=(0.5, 1.5)),
                           PadRGBD=dict(size=SIZE), RandomCrop=dict(crop_size=SIZE))
            step.update(changes.get(step['type'], {}))
    return cfg


@pytest.fixture(scope='module')
def folders(shared, tmp_path_factory, load_tool):
    """Real NYUv2 files at a quarter of their size, and drawn ones."""
    root = tmp_path_factory.mktemp('rgbd')
    load_tool('dataset_converters/make_mini_rgbd.py').generate(root / 'mini', train=1, val=1, workers=1, progress=False)
    source = shared / 'samples' / 'seg' / 'nyuv2_rgbd_40'
    for path in source.glob('*/*.png'):
        target = root / 'nyuv2' / path.relative_to(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(target), cv2.imread(str(path), cv2.IMREAD_UNCHANGED)[::4, ::4])
    for path in source.glob('*.txt'):
        (root / 'nyuv2' / path.name).write_text(path.read_text())
    return dict(nyuv2=root / 'nyuv2', mini=root / 'mini' / 'nyu')


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_config_trains_and_tests(path, folders):
    """Every weight learns, norms are not decayed, the head has its rate, the metric has a figure."""
    mini = 'mini' in path.stem
    cfg = on_small_files(path, folders['mini' if mini else 'nyuv2'])
    if 'sunrgbd' in path.stem:
        cfg.model.decode_head.num_classes = 40  # of the files
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    model.init_weights()
    model = revert_sync_batchnorm(model)
    wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    rate = cfg.optim_wrapper.optimizer.lr
    names = {id(value): name for name, value in model.named_parameters()}
    for group in wrapper.optimizer.param_groups:
        name = names[id(group['params'][0])]
        assert group['lr'] == pytest.approx(rate * (10 if 'decode_head' in name and not mini else 1))
        assert (group['weight_decay'] == 0) == ('norm' in name), name
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    losses = model.train().train_step(pseudo_collate([dataset[0], dataset[0]]), wrapper)
    assert {'loss_ce_rgb', 'loss_ce_depth', 'loss_ce_ensemble', 'loss_tokens', 'replaced_depth'} <= losses.keys()
    still = [name for name, value in model.named_parameters() if torch.equal(value, before[name])]
    assert not [name for name in still if 'score_nets' not in name and not name.endswith('bias')]
    test = DATASETS.build(cfg.test_dataloader.dataset)
    [result] = model.eval().test_step(pseudo_collate([test[0]]))
    metric = METRICS.build(cfg.test_evaluator)
    metric.dataset_meta = dict(classes=[str(index) for index in range(cfg.model.decode_head.num_classes)])
    metric.process({}, [result.to_dict()])
    assert 0 <= metric.evaluate(1)['mIoU'] <= 100


def test_run_resumed_at_a_new_stage(folders, root, tmp_path, load_tool, monkeypatch):
    """A run of two stages resumed where the second begins ends with the same weights.

    The validation leaves a picture; the test with flips and scales, and its pictures, run on the checkpoint.
    """
    cfg = on_small_files(root / 'configs' / 'token_fusion_b2_nyuv2.py', folders['nyuv2'])
    cfg.model.decode_head.update(norm_cfg=dict(type='BN'), dropout_ratio=0.)
    cfg.model.backbone.drop_path_rate = 0.
    cfg.model.data_preprocessor.size = (96, 128)
    loader = cfg.train_dataloader
    loader.batch_size = 1
    loader.dataset.pipeline = [step for step in loader.dataset.pipeline if step['type'] not in ('RandomFlip',
                                                                                                'RandomCrop')]
    for step in loader.dataset.pipeline:
        if step['type'] == 'RandomRGBDScale':  # the same data, whatever was drawn before
            step['ratio_range'] = (0.8, 0.8)
    cfg.tta_pipeline[3].transforms[0] = cfg.tta_pipeline[3].transforms[0][:1]
    cfg.train_cfg.update(max_iters=4, val_interval=4)
    cfg.param_scheduler[0].update(stage_iters=2, warmup=1, horizon=9)
    cfg.custom_hooks[0].stage_iters = 2
    cfg.optim_wrapper.optimizer.lr = 0.01
    cfg.default_hooks.checkpoint.update(interval=1, max_keep_ckpts=-1, save_best=None)
    cfg.dump(tmp_path / 'config.py')

    def run(tool, work_dir, *arguments):
        monkeypatch.setattr(sys, 'argv', [tool, str(tmp_path / 'config.py'), *map(str, arguments), '--work-dir',
                                          str(tmp_path / work_dir)])
        load_tool(tool).main()
        return tmp_path / work_dir

    folder = run('train.py', 'straight')
    straight = read_checkpoint(folder / 'iter_4.pth')
    moments = next(iter(straight['optimizer']['state'].values()))
    assert int(moments['step']) == 2  # counted from the start of the second stage
    assert list(folder.glob('*/tokens/*_4.jpg'))
    resumed = read_checkpoint(run('train.py', 'resumed', '--resume', folder / 'iter_2.pth') / 'iter_4.pth')
    for name, value in straight['state_dict'].items():
        assert torch.equal(resumed['state_dict'][name], value), name
    tested = run('test.py', 'tested', folder / 'iter_4.pth', '--tta', '--show-dir', 'pictures')
    assert list(tested.glob('*/pictures/*.jpg'))


def test_two_processes_are_one(tmp_path):
    """A step of two gloo processes with half the batch each is the step of one with all of it; so are metrics."""
    sys.path.insert(0, str(WORKER.parent))
    try:
        import tf_worker
    finally:
        sys.path.pop(0)
    single, wrapper = tf_worker.model_and_wrapper()
    single.train_step(tf_worker.batch(range(4)), wrapper)
    expected = tf_worker.evaluate(single, range(3))
    store = tmp_path / 'store'
    environment = {**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHONPATH': str(WORKER.parents[2])}
    other = subprocess.Popen([sys.executable, str(WORKER), str(store)], env=environment, stderr=subprocess.PIPE)
    distributed.init_process_group('gloo', init_method=f'file://{store}', rank=0, world_size=2)
    try:
        model, figures = tf_worker.work(0)
    finally:
        distributed.destroy_process_group()
    assert other.wait(60) == 0, other.stderr.read().decode()[-2000:]
    other.stderr.close()
    for own, value in zip(model.parameters(), single.parameters(), strict=True):
        assert_close(own, value)
    assert figures == expected
