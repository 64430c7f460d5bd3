"""Runs of the configs: pre-training, fine-tuning on one of its tasks, testing, and the released files in between."""

import inspect
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from mmengine.runner import Runner

from projects.ipt import IPTRestorer
from projects.restoration import RestorationDataSample
from projects.runtime.checkpoint_hooks import match_weights
from projects.runtime.errors import CheckpointError, ConfigError

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'
TINY = dict(type='IPT', n_feats=3, patch_size=16, patch_dim=4, num_heads=3, num_layers=1)


@pytest.fixture(scope='module')
def mini_sr(load_tool, tmp_path_factory):
    """A data root with a small mini restoration set."""
    folder = tmp_path_factory.mktemp('ipt_data')
    load_tool('dataset_converters/make_mini_restoration.py').generate(folder / 'mini_sr', train=3, test=1, size=96)
    return folder


def mini_config(mini_sr, work_dir, iterations):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('MMDOWNSTREAM_DATA', str(mini_sr))
        config = Config.fromfile(CONFIGS / 'ipt_mini.py')
    config.merge_from_dict(dict(
        work_dir=str(work_dir), experiment_name=f'{work_dir.parent.name}_{work_dir.name}', log_level='WARNING',
        visualizer=dict(name=f'{work_dir.parent.name}_{work_dir.name}'),
        train_cfg=dict(max_iters=iterations, val_interval=iterations), train_dataloader=dict(batch_size=2),
        default_hooks=dict(checkpoint=dict(interval=iterations)),
        model=dict(generator=dict(n_feats=4, num_layers=1))))
    return config


def build(config):
    """The runner of a config, without the seconds that mmengine takes to print the config."""
    return Runner(**{key: config[key] for key in inspect.signature(Runner).parameters if key in config})


@pytest.fixture(scope='module')
def pretrained(mini_sr, tmp_path_factory):
    """The work folder of six iterations of the mini config, narrower still, and its metrics."""
    folder = tmp_path_factory.mktemp('ipt') / 'pretrain'
    runner = build(mini_config(mini_sr, folder, 6))
    runner.train()
    return folder, runner


def test_pretraining_and_its_validation(pretrained):
    folder, runner = pretrained
    checkpoint = torch.load(folder / 'iter_6.pth', weights_only=True)
    assert {key.split('.')[0] for key in checkpoint['state_dict']} == {'generator'}
    scores = runner.message_hub.log_scalars
    for name in ('Shapes_x2', 'Shapes_x3', 'Shapes_x4', 'Shapes_rain', 'Shapes_s30', 'Shapes_s50'):
        assert 4 < scores[f'val/{name}/PSNR'].current() < 40
    assert scores['train/loss'].current() == pytest.approx(
        scores['train/loss_pixel'].current() + scores['train/loss_contrastive'].current(), rel=1e-5)


def test_only_the_drawn_task_is_trained(mini_sr, tmp_path):
    """Head and tail of the batch's task get gradients, the frozen mean never, the body always."""
    config = mini_config(mini_sr, tmp_path / 'one', 1)
    config.train_cfg.val_begin = 10  # never
    runner = build(config)
    network = runner.model.generator
    before = {key: value.clone() for key, value in network.state_dict().items()}
    runner.train()
    changed = {key for key, value in network.state_dict().items() if not torch.equal(value, before[key])}
    trained = {key.split('.')[1] for key in changed if key.startswith(('head', 'tail'))}
    preprocessor = runner.model.data_preprocessor
    runner.message_hub.update_info('iter', 0)
    assert trained == {str(network.tasks.index(preprocessor.draw_task()))}
    assert 'body.encoder.layers.0.self_attn.in_proj_weight' in changed
    assert not any('_mean' in key for key in changed)


def test_fine_tuning_starts_from_one_task(pretrained, mini_sr, tmp_path):
    """`load_from` with multi-task weights: the first output is that of pre-training; only this task remains."""
    folder, pre = pretrained
    config = mini_config(mini_sr, tmp_path / 'tune', 1)
    config.load_from = str(folder / 'iter_6.pth')
    config.model.generator.tasks = ['sr_x4']
    config.model.data_preprocessor = dict(type='RestorationDataPreprocessor', std=1.)
    config.model.contrastive_loss = None
    config.train_dataloader.dataset.update(
        scale=4, data_prefix=dict(img='train/LR_bicubic/X4', gt='train/HR'), filename_tmpl=dict(img='{}x4', gt='{}'),
        pipeline=[dict(type='LoadRestorationImage', key='img'), dict(type='LoadRestorationImage', key='gt'),
                  dict(type='PairedRandomCrop', lq_patch_size=24), dict(type='PackInputs')])
    config.optim_wrapper.optimizer.lr = 0.
    for key in ('val_dataloader', 'val_evaluator', 'test_dataloader', 'test_evaluator'):
        config[key] = config[key][2:3]
    runner = build(config)
    runner.train()
    network = runner.model.generator
    assert len(network.head) == len(network.tail) == len(network.body.query_embed.weight) == 1
    patch = torch.rand(1, 3, 24, 24) * 255
    with torch.no_grad():
        assert torch.equal(network(patch), pre.model.generator(patch, task='sr_x4'))
    assert runner.message_hub.get_scalar('val/Shapes_x4/PSNR').current() == pytest.approx(
        pre.message_hub.get_scalar('val/Shapes_x4/PSNR').current(), abs=1e-6)


def test_bare_weights_fit_the_model():
    """What tools/test.py asks of a released file: bare names, one task or six."""
    single, six = (MODELS.build(dict(type='IPTRestorer', generator=dict(TINY, tasks=tasks)))
                   for tasks in (['sr_x2'], ['sr_x2', 'sr_x3', 'sr_x4', 'derain', 'denoise_s30', 'denoise_s50']))
    for weights in (single, six):
        assert match_weights(single, weights.generator.state_dict(), strict=True) is None
        assert match_weights(single, dict(state_dict=weights.state_dict()), strict=True) is None
    weights = single.generator.state_dict()
    del weights['body.linear_encoding.bias']
    with pytest.raises(CheckpointError, match='missing in the checkpoint: generator.body.linear_encoding.bias'):
        match_weights(single, weights, strict=True)


@pytest.mark.parametrize('name', ['pretrain', 'sr_x2', 'sr_x3', 'sr_x4', 'denoise_s30', 'denoise_s50', 'derain'])
def test_configs_name_one_network(name):
    """Tasks, scales and data fit each other in every config, and the network is the published one."""
    config = Config.fromfile(CONFIGS / f'ipt_{name}.py')
    init_default_scope(config.default_scope)
    with torch.device('meta'):
        generator = MODELS.build(config.model).generator
    assert generator.tasks == ((name,) if name != 'pretrain' else tuple(config.model.data_preprocessor.degradations))
    if name != 'pretrain':
        assert generator.scales[name] == config.train_dataloader.dataset.get('scale', 1)
        assert config.load_from and config.auto_scale_lr.base_batch_size == 256
    sigmas = {step.sigma for loader in (config.train_dataloader, *config.test_dataloader)
              for step in loader.dataset.pipeline if step.type == 'AddGaussianNoise'}
    assert sigmas == {'denoise_s30': {30}, 'denoise_s50': {50}, 'pretrain': {30, 50}}.get(name, set())
    for loader, metrics in zip(config.test_dataloader, config.test_evaluator, strict=True):
        scale = loader.dataset.get('scale', 1)
        assert all(metric.get('crop_border', 0) == (scale if scale > 1 else 0) for metric in metrics)


# ---- the model on its own

def sample(**facts):
    return RestorationDataSample(metainfo=dict(img_path='a.png', **facts))


@pytest.mark.parametrize('self_ensemble', [False, True])
def test_prediction_of_a_whole_image(self_ensemble):
    model = IPTRestorer(dict(TINY, tasks=['sr_x2', 'sr_x3']),
                        test_cfg=dict(tiling='ipt_ms', self_ensemble=self_ensemble)).eval()
    image = torch.randint(256, (3, 21, 13), dtype=torch.uint8)  # narrower than a window
    [result] = model.test_step(dict(inputs=[image], data_samples=[sample(task='sr_x3')]))
    assert result.pred_img.shape == (3, 63, 39)
    assert result.pred_img.min() >= 0 and result.pred_img.max() <= 255
    assert torch.equal(result.input, image)


def test_errors_name_the_way_out():
    with pytest.raises(ConfigError, match='unknown tile, expected tiling'):
        IPTRestorer(dict(TINY), test_cfg=dict(tile=48))
    with pytest.raises(ConfigError, match='window_batch_size=0'):
        IPTRestorer(dict(TINY), test_cfg=dict(window_batch_size=0))
    model = IPTRestorer(dict(TINY, tasks=['sr_x2', 'derain']))
    patches = torch.zeros(2, 3, 16, 16)
    with pytest.raises(ConfigError, match='a.png: no task is given.*SetValues'):
        model(patches, [sample(), sample()], mode='predict')
    with pytest.raises(ConfigError, match='several tasks, sr_x2, derain'):
        model(patches, [sample(task='sr_x2'), sample(task='derain')], mode='predict')
    with pytest.raises(ConfigError, match="task='sr_x4', expected one of.*sr_x2, derain"):
        model(patches, [sample(task='sr_x4')] * 2, mode='predict')
    with pytest.raises(ConfigError, match='model.pixel_loss is not set'):
        model(patches, [sample(task='sr_x2')] * 2, mode='loss')
