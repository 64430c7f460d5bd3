"""TokenFusion for image translation with the suite's tools: configs, training, resuming, two processes, pictures."""

import copy
import io
import itertools
import os
import runpy
import socket
import sys
from contextlib import redirect_stderr, redirect_stdout
from datetime import timedelta
from pathlib import Path
from unittest import mock

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.evaluator import Evaluator
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DATASETS, METRICS, MODEL_WRAPPERS, MODELS, init_default_scope
from mmengine.runner.checkpoint import load_state_dict

from projects.runtime.checkpoint_hooks import match_weights
from projects.token_fusion.translation import ARCHS

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = sorted(ROOT.glob('configs/token_fusion_gen_*.py'))
CONFIG = ROOT / 'configs/token_fusion_gen_tiny_mini_depth_normal_to_shade.py'
# the sizes of the stored official weights
ARCH = dict(embed_dims=(8, 8, 12, 12, 16), num_heads=(1, 1, 2, 2, 2), depths=(1, 2, 1, 1, 1), sr_ratios=(8, 4, 2, 2, 1))
DOMAINS = dict(rgb=np.uint8, reshading=np.uint8, normal=np.uint8, depth_euclidean=np.uint16, edge_texture=np.uint16,
               edge_occlusion=np.uint16)


@pytest.fixture(scope='module')
def data_root(tmp_path_factory):
    """A data root with four scenes to train on and three to validate, 64 x 64, as Taskonomy and as mini set."""
    folder = tmp_path_factory.mktemp('data')
    rng = np.random.default_rng(0)
    for root in (folder / 'taskonomy', folder / 'mini/rgbd/taskonomy'):
        for domain in DOMAINS:
            (root / domain).mkdir(parents=True)
        for split, numbers in (('train', range(4)), ('val', range(4, 7))):
            (root / f'{split}_domain.txt').write_text(''.join(
                f'{{domain}}/point_{i}_view_0_domain_{{domain}}.png\n' for i in numbers))
            for i, (domain, kind) in itertools.product(numbers, DOMAINS.items()):
                image = rng.integers(0, 200, (64, 64, *[3] * (domain in ('rgb', 'normal'))), dtype=kind)
                assert cv2.imwrite(str(root / domain / f'point_{i}_view_0_domain_{domain}.png'), image)
    return folder


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_config(path, data_root, monkeypatch):
    """A narrow twin takes one step on files laid out as the config says, and predicts."""
    monkeypatch.setenv('MMDOWNSTREAM_DATA', str(data_root))
    cfg = Config.fromfile(path)
    init_default_scope(cfg.default_scope)
    for network in ('generator', 'discriminator'):
        assert cfg.model[network].arch in ARCHS
        cfg.model[network].arch = {key: sizes[:3] for key, sizes in ARCH.items()}
    if 'input_size' in cfg.model.generator:
        cfg.model.generator.input_size = (32, 32)
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        for step in loader.dataset.pipeline:
            if 'size' in step:
                step['size'] = 36 if step['size'] == 286 else 32
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    log = model.train_step(pseudo_collate([dataset[0]]), wrapper)
    assert all(np.isfinite(value.item()) for value in log.values())
    assert not [name for name, p in model.named_parameters() if torch.equal(p, before[name]) and p.dim() == 4]
    [sample] = model.eval().val_step(pseudo_collate([DATASETS.build(cfg.val_dataloader.dataset)[0]]))
    assert sample.pred_img.shape == sample.gt_img.shape
    metric = METRICS.build(next(part for part in cfg.val_evaluator if part.type == 'TranslationError'))
    metric.process(None, [sample.to_dict()])
    best = cfg.default_hooks.checkpoint.save_best
    assert cfg.default_hooks.checkpoint.rule == 'less'
    assert best in metric.evaluate(1) or (best == 'FID' and cfg.model.inputs and sample.target == 'rgb')


# ---- runs

@pytest.fixture(scope='module')
def environment(data_root):
    return {'MMDOWNSTREAM_DATA': str(data_root), 'CUDA_VISIBLE_DEVICES': '', 'OMP_NUM_THREADS': '1',
            'PYTHONPATH': str(ROOT)}


@pytest.fixture(scope='module')
def small_config(tmp_path_factory):
    """The mini config with networks of a few thousand weights, without augmentation."""
    cfg = f"""
_base_ = {str(CONFIG)!r}
arch = {dict(_delete_=True, **ARCH)!r}
model = dict(generator=dict(arch=arch), discriminator=dict(arch=arch))
pipeline = [dict(type='LoadTaskonomyImages'), dict(type='PackTranslationInputs')]
train_dataloader = dict(batch_size=4, dataset=dict(pipeline=pipeline))
train_cfg = dict(max_epochs=2, val_interval=1)
# Adam's first steps are signs of gradients; with a large eps rounding does not decide them
optim_wrapper = dict(generator=dict(optimizer=dict(eps=0.1)), discriminator=dict(optimizer=dict(eps=0.1)))
default_hooks = dict(logger=dict(interval=1), checkpoint=dict(interval=1, save_best=None),
                     visualization=dict(val_pictures=1))
"""
    path = tmp_path_factory.mktemp('config') / 'small.py'
    path.write_text(cfg)
    return path


@pytest.fixture(scope='module')
def initial(small_config, tmp_path_factory):
    """A checkpoint with random weights, for runs that are compared."""
    torch.manual_seed(0)
    model = MODELS.build(Config.fromfile(small_config).model)
    model.init_weights()
    path = tmp_path_factory.mktemp('initial') / 'initial.pth'
    torch.save(dict(state_dict=model.state_dict()), path)
    return path


@pytest.fixture(scope='module')
def tool(environment):
    """Function: run a Python tool of the suite in this process, which saves the seconds of importing; its output.

    Copies of the config in logs and checkpoints are not laid out by yapf, which would take most of a run's time.
    """
    runs = itertools.count()

    def run(name, *arguments):
        words = [name, *map(str, arguments), f'experiment_name=translation{next(runs)}']
        printed = io.StringIO()
        with mock.patch.dict(os.environ, environment), mock.patch.object(sys, 'argv', words), \
                mock.patch('mmengine.config.config.FormatCode', lambda text, **_: (text, True)), \
                redirect_stdout(printed), redirect_stderr(printed):
            runpy.run_path(str(ROOT / 'tools' / name), run_name='__main__')
        return printed.getvalue()
    return run


@pytest.fixture(scope='module')
def trained(tool, small_config, initial, tmp_path_factory):
    """Work dir of one epoch, then resumed for another."""
    folder = tmp_path_factory.mktemp('translation') / 'run'
    tool('train.py', small_config, '--work-dir', folder, '--cfg-options', f'load_from={initial}',
         'train_cfg.max_epochs=1')
    log = tool('train.py', small_config, '--work-dir', folder, '--resume', '--cfg-options', 'train_cfg.max_epochs=2')
    assert 'resumed epoch: 1, iter: 1' in log
    return folder


def test_resuming_restores_both_optimisers(trained):
    """Adam counts its steps in its state."""
    checkpoint = torch.load(trained / 'epoch_2.pth', weights_only=True)
    for name in ('generator', 'discriminator'):
        assert {float(state['step']) for state in checkpoint['optimizer'][name]['state'].values()} == {2.}
    assert not [name for name in checkpoint['state_dict'] if '.module.' in name]


def test_pictures_of_validation(trained):
    """Two inputs, what was replaced in them, two branches, ensemble and target, of one scene at each epoch."""
    paths = sorted(trained.glob('*/val_pictures/*/point_4_view_0_domain.png'))
    assert len(paths) == 2 and cv2.imread(str(paths[0])).shape == (148, 8 * 128 + 7 * 3, 3)


def steps(cfg, initial, rank=0, count=1):
    """Two training steps on a process's share of four scenes, then the metrics of three; weights and metrics."""
    model = MODELS.build(cfg.model)
    if count > 1:
        model = MODEL_WRAPPERS.build(dict(cfg.model_wrapper_cfg, module=model, device_ids=None))
    weights = torch.load(initial, weights_only=True)
    assert match_weights(model, weights, strict=True) is None
    load_state_dict(model, weights['state_dict'], strict=True)
    wrapper = build_optim_wrapper(model, copy.deepcopy(cfg.optim_wrapper))
    train, val = (DATASETS.build(loader.dataset) for loader in (cfg.train_dataloader, cfg.val_dataloader))
    for _ in range(2):
        model.train_step(pseudo_collate([train[i] for i in range(rank, 4, count)]), wrapper)
    evaluator = Evaluator(cfg.val_evaluator)
    model.eval()
    for i in range(rank, 3 + 3 % count, count):  # as the sampler does, which repeats the first scene
        evaluator.process(model.val_step(pseudo_collate([val[i % 3]])))
    metrics = evaluator.evaluate(3)
    return dict((model.module if count > 1 else model).state_dict()), metrics


def process(cfg, initial, rank, port, out):
    """One of two gloo processes, forked: nothing is imported again."""
    torch.set_num_threads(1)
    os.environ.update(RANK=str(rank), LOCAL_RANK='0', WORLD_SIZE='2', MASTER_ADDR='127.0.0.1', MASTER_PORT=str(port))
    torch.distributed.init_process_group('gloo', timeout=timedelta(seconds=120))
    result = steps(cfg, initial, rank, 2)
    if rank == 0:
        torch.save(result, out)
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


def test_two_processes_train_as_one(small_config, initial, environment, tmp_path, monkeypatch):
    """Two gloo processes of two scenes each: weights after two steps, metrics of three scenes (one is padded)."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    cfg = Config.fromfile(small_config)
    init_default_scope('mmengine')
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    context = torch.multiprocessing.get_context('fork')
    processes = [context.Process(target=process, args=(cfg, initial, rank, port, tmp_path / 'two.pth'))
                 for rank in range(2)]
    for part in processes:
        part.start()
    one, metrics = steps(cfg, initial)
    for part in processes:
        part.join(120)
    assert [part.exitcode for part in processes] == [0, 0]
    two, other = torch.load(tmp_path / 'two.pth', weights_only=True)
    before = torch.load(initial, weights_only=True)['state_dict']
    assert list(one) == list(two) == list(before)
    for name in one:
        moved = (one[name] - before[name]).abs().max()
        assert (one[name] - two[name]).abs().max() <= 1e-6 + 0.01 * moved, name
    assert metrics == pytest.approx(other, rel=1e-3, abs=1e-4)


def test_official_weights_are_tested_without_a_discriminator(tool, small_config, golden, tmp_path):
    """The converter's checkpoint fits; pictures and images are written."""
    stored = np.load(golden / 'token_fusion/img2img_generator_tiny_weights.npz')
    torch.save({name.removeprefix('w.'): torch.from_numpy(stored[name]) for name in stored.files},
               tmp_path / 'official.pth')
    with mock.patch.object(sys, 'argv', ['x', str(tmp_path / 'official.pth'), str(tmp_path / 'ours.pth')]):
        runpy.run_path(str(ROOT / 'tools/model_converters/token_fusion_gen.py'), run_name='__main__')
    log = tool('test.py', small_config, tmp_path / 'ours.pth', '--work-dir', tmp_path / 'w', '--show-dir', 'painted',
               '--cfg-options', 'model.discriminator=None', 'default_hooks.visualization.pred_out_dir=made')
    assert 'random/FID' in log
    assert [len(list(tmp_path.glob(f'w/*/{folder}/*.png'))) for folder in ('painted', 'made')] == [3, 3]
