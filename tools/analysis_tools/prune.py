"""Prunes a trained segmentor in one shot: `python tools/analysis_tools/prune.py CONFIG CHECKPOINT --target 0.5`.

CONFIG is that of a dense mmseg model, or of a search (model.type MultiTaskPruning) with its checkpoint. Written are the
pruned model's config, checkpoint, structure file and report.
"""

import argparse
import copy
import sys
from itertools import islice
from pathlib import Path

import torch
from mmengine.config import ConfigDict, DictAction
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmseg.registry import MODELS
from tqdm import tqdm

sys.path.append(str(Path(__file__).resolve().parents[2]))

import projects.runtime
import projects.seg_data
import projects.seg_pruning  # noqa: F401  (the three register)
from projects.runtime.atomic import write_atomic
from projects.runtime.build_errors import config_errors
from projects.runtime.checkpoint_files import read_checkpoint
from projects.runtime.checkpoint_hooks import compare_weights
from projects.runtime.command_line import CFG_OPTIONS_HELP, parse, run_tool
from projects.runtime.config_files import check_scope, load_config
from projects.runtime.data_options import apply_data_options
from projects.runtime.data_paths import check_data_paths
from projects.runtime.dataset_configs import split_datasets
from projects.runtime.errors import CheckpointError, ConfigError
from projects.seg_pruning import Budget, ChannelGraph, Floors, prune_to_budget, save_result
from projects.seg_pruning.budget import SCOPES
from projects.seg_pruning.channel_graph import KEPT_LAYERS
from projects.seg_pruning.importance import METHODS, taylor_importance, weight_importance
from projects.seg_pruning.pipeline import METRICS
from projects.seg_pruning.pruned_segmentor import pruned_config

EPILOG = """
For example:

  python tools/analysis_tools/prune.py configs/deeplabv3_r50_voc2012_aug.py work_dirs/deeplabv3_r50_voc2012_aug/iter_20000.pth
  python tools/train.py work_dirs/pruned/deeplabv3_r50_voc2012_aug_taylor.py            # fine-tunes
  python tools/test.py work_dirs/pruned/deeplabv3_r50_voc2012_aug_taylor.py work_dirs/pruned/deeplabv3_r50_voc2012_aug_taylor.pth

Latency of a network with random weights, dense and pruned in turns:

  python tools/analysis_tools/prune.py configs/deeplabv3_r50_voc2012_aug.py none --method l1 --benchmark
"""  # noqa: E501


def parse_args(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, epilog=EPILOG,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config of the dense model, or of the search')
    parser.add_argument('checkpoint', help='its checkpoint, or "none" for random weights')
    what = parser.add_argument_group('how much')
    what.add_argument('--target', type=float, default=0.5, help='share of the cost that is left (default: 0.5)')
    what.add_argument('--metric', choices=METRICS, default='macs', help='the cost (default: multiply-adds)')
    what.add_argument('--size', type=int, nargs=2, metavar=('H', 'W'),
                      help='of the image that costs are counted for (default: the crop size of the config)')
    what.add_argument('--scope', choices=SCOPES, help='compare channels over the whole network (default), over '
                      'backbone and head apart, or in each layer (default of the method uniform)')
    what.add_argument('--residual', action='store_true', help='prune residual streams, too')
    what.add_argument('--keep', nargs='*', metavar='LAYER', default=list(KEPT_LAYERS),
                      help='beginnings of names of layers that stay (default: the stem)')
    floors = Floors()
    what.add_argument('--min-channels', type=int, default=floors.min_channels, help='default: %(default)s')
    what.add_argument('--min-ratio', type=float, default=floors.min_ratio, help='default: %(default)s')
    what.add_argument('--round-to', type=int, default=floors.round_to, help='default: %(default)s')
    how = parser.add_argument_group('by which importance')
    how.add_argument('--method', choices=METHODS, help='default: scores for a search, taylor for a dense model')
    how.add_argument('--seg-weight', type=float, default=1.0, help='taylor: weight of segmentation (default: 1)')
    how.add_argument('--cls-weight', type=float, default=1.0,
                     help='taylor: weight of classification; 0 leaves it out (default: 1)')
    how.add_argument('--cls-data', metavar='FOLDER', help='taylor: images in one folder a class, like ImageNet '
                     '(default: crops of the classes of the segmentation set)')
    how.add_argument('--cls-iters', type=int, default=100,
                     help='taylor: steps to train the classifier before (default: %(default)s)')
    how.add_argument('--batches', type=int, default=16, help='taylor: batches to average over (default: %(default)s)')
    how.add_argument('--seed', type=int, default=0)
    out = parser.add_argument_group('output')
    out.add_argument('--out-dir', type=Path, default=Path('work_dirs/pruned'), help='default: %(default)s')
    out.add_argument('--name', help='of the files (default: CONFIG_METHOD)')
    out.add_argument('--benchmark', action='store_true', help='measure latencies, dense and pruned in turns')
    out.add_argument('--repeats', type=int, default=3, help='measurements a latency is the median of (default: 3)')
    out.add_argument('--threads', type=int, help='of torch (default: its own choice)')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE', help=CFG_OPTIONS_HELP)
    return parse(parser, argv)


def is_search(cfg):
    return str(cfg.model.get('type')).split('.')[-1] == 'MultiTaskPruning'


def image_size(args, cfg):
    """(height, width) of images."""
    if args.size:
        return tuple(args.size)
    size = cfg.model.get('size') or (cfg.model.get('data_preprocessor') or {}).get('size') or cfg.get('crop_size')
    if not size:
        raise ConfigError(f'{args.config}: has neither model.size nor model.data_preprocessor.size nor crop_size, so '
                          'the cost of an image is unknown. Give --size HEIGHT WIDTH')
    return tuple(size)


def load(model, args, strict_prefixes=None):
    """Load the checkpoint; every entry of the model must be there, or those with the given beginnings.

    Returns:
        The checkpoint's meta data.
    """
    if args.checkpoint == 'none':  # torch's own random weights: init_weights might download
        return {}
    content = read_checkpoint(args.checkpoint)
    missing, differing, unknown = compare_weights(model, content.get('state_dict', content))
    if strict_prefixes:
        missing = [key for key in missing if key.startswith(strict_prefixes)]
    if missing or differing or unknown:
        first = next(iter([*missing, *differing, *unknown]))
        raise CheckpointError(
            f'{args.checkpoint}: does not fit {args.config}: {len(missing)} entries are missing, {len(differing)} have '
            f'another shape, {len(unknown)} are unknown to the model; the first is {first}. Expected the checkpoint of '
            'a model trained with this config')
    return content.get('meta') or {}


def cls_loader(args, cfg):
    """(data loader, number of classes) of the classification task."""
    side = 224 if args.cls_data else 64
    steps = [dict(type='Resize', scale=(side, side)), dict(type='RandomFlip', prob=0.5), dict(type='PackClsInputs')]
    if args.cls_data:
        steps = [dict(type='LoadImageFromFile'), dict(type='RandomAreaCrop'), *steps]
        dataset = dict(type='ClassFolderDataset', data_root=args.cls_data, pipeline=steps)
    else:
        inner = split_datasets(cfg, ('train',))[0].cfg
        dataset = dict(type='ClassCropDataset', dataset=inner, pipeline=steps)
    loader = Runner.build_dataloader(dict(
        batch_size=32, num_workers=0, sampler=dict(type='InfiniteSampler', shuffle=True), dataset=dataset,
        collate_fn=dict(type='default_collate')), seed=args.seed)
    return loader, len(loader.dataset.metainfo['classes'])


def train_classifier(search, batches, count):
    """Train the classification weights alone, by cross entropy."""
    search.scores.requires_grad_(False)
    search.classification.train()
    optimiser = torch.optim.AdamW(search.classification.parameters(), lr=1e-3, weight_decay=0.01)
    for batch in tqdm(islice(batches, count), total=count, desc='training the classifier', leave=False):
        images = search.normalised(batch['inputs'])
        loss = torch.nn.functional.cross_entropy(search.classification(images), batch['labels'])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    search.scores.requires_grad_(True)


def taylor(args, cfg, size):
    """(importance, search model, meta) of a dense model by both tasks."""
    check_data_paths(cfg, ('train',))
    classes, batches = None, None
    if args.cls_weight > 0:
        loader, classes = cls_loader(args, cfg)
        batches = iter(loader)
    search = MODELS.build(dict(
        type='MultiTaskPruning', architecture=cfg.model, classifier=classes and dict(num_classes=classes), size=size,
        prune_residual=args.residual, keep=tuple(args.keep), seg_weight=args.seg_weight, cls_weight=args.cls_weight))
    meta = load(search, args, 'architecture.')
    if batches is not None:
        train_classifier(search, batches, args.cls_iters)
    settings = {**cfg.train_dataloader, 'sampler': dict(type='InfiniteSampler', shuffle=True)}
    settings.pop('batch_sampler', None)
    segmentation = iter(Runner.build_dataloader(settings, seed=args.seed))
    found = ({'seg': next(segmentation), 'cls': batches and next(batches)} for _ in range(args.batches))
    return taylor_importance(search, tqdm(found, total=args.batches, desc='gradients', leave=False)), search, meta


def rank(args, cfg, method, size):
    """(importance, dense model, graph, meta)."""
    if is_search(cfg):
        if method == 'taylor':
            raise ConfigError('--method taylor: for a search, PruneHook does it (custom_hooks); here give the dense '
                              "model's config")
        search = MODELS.build({**cfg.model, 'size': size})
        meta = load(search, args)
        model = search.folded()
        if method == 'scores':
            return search.importance(), model, search.graph, meta
        return weight_importance(method, model, search.graph, args.seed), model, search.graph, meta
    if method == 'scores':
        raise ConfigError(f'--method scores: {args.config} is no search config (model.type MultiTaskPruning), so there '
                          'are no scores. Train one, for example configs/mtp_deeplabv3_r50_voc2012_aug.py, or choose '
                          'another method')
    if method == 'taylor':
        values, search, meta = taylor(args, cfg, size)
        return values, search.folded(), search.graph, meta
    model = revert_sync_batchnorm(MODELS.build(cfg.model))
    meta = load(model, args)
    graph = ChannelGraph(model, size, prune_residual=args.residual, keep=tuple(args.keep))
    return weight_importance(method, model, graph, args.seed), model, graph, meta


def written_config(cfg, name):
    """The config of the pruned model: for fine-tuning by the dense recipe, or, after a search, for testing."""
    new = copy.deepcopy(cfg)
    dense = cfg.model.architecture if is_search(cfg) else cfg.model
    new._cfg_dict['model'] = ConfigDict(pruned_config(dense, f'{{{{ fileDirname }}}}/{name}.json'))
    new.load_from, new.resume = f'{{{{ fileDirname }}}}/{name}.pth', False
    if is_search(cfg):
        for key in ('train_dataloader', 'train_cfg', 'optim_wrapper', 'param_scheduler', 'model_wrapper_cfg'):
            new._cfg_dict.pop(key, None)
        new.custom_hooks = [hook for hook in cfg.get('custom_hooks', []) if hook['type'] != 'PruneHook']
    imports = dict(cfg.get('custom_imports') or dict(imports=[], allow_failed_imports=False))
    imports['imports'] = list(dict.fromkeys([*imports['imports'], 'projects.runtime', 'projects.seg_pruning']))
    new.custom_imports = imports
    return new


def table(result):
    rows = [('multiply-adds, G', result.before.macs / 1e9, result.after.macs / 1e9),
            ('parameters, M', result.before.params / 1e6, result.after.params / 1e6)]
    if result.latency:
        dense, pruned = result.latency['dense'], result.latency['pruned']
        rows += [('latency, ms', dense.latency, pruned.latency), ('CPU time, ms', dense.cpu, pruned.cpu)]
    lines = [f'{"":20}{"dense":>12}{"pruned":>12}{"ratio":>8}']
    return '\n'.join(lines + [f'{name:20}{dense:12.3f}{pruned:12.3f}{pruned / dense:8.3f}'
                              for name, dense, pruned in rows])


def prune(args, cfg):
    """Prune, write, and say what to do next."""
    method = args.method or ('scores' if is_search(cfg) else 'taylor')
    budget = Budget(args.target, args.metric, args.scope or ('layer' if method == 'uniform' else 'global'),
                    Floors(args.min_channels, args.min_ratio, args.round_to), args.repeats)
    values, model, graph, meta = rank(args, cfg, method, image_size(args, cfg))
    info = dict(method=method, source=Path(args.checkpoint).name, config=Path(args.config).name, seed=args.seed)
    result = prune_to_budget(model, graph, values, budget, info=info, benchmark=args.benchmark)
    name = args.name or f'{Path(args.config).stem}_{method}'
    paths = save_result(result, args.out_dir, name, meta)
    config = args.out_dir / f'{name}.py'
    write_atomic(config, written_config(cfg, name).pretty_text)
    print(f'{table(result)}\nReport: {paths["report"]}. Now:')
    if not is_search(cfg):
        print(f'  python tools/train.py {config}')
    print(f'  python tools/test.py {config} {paths["checkpoint"]}')


def main(argv=None):
    args = parse_args(argv)
    if args.threads:
        torch.set_num_threads(args.threads)
    cfg = load_config(args.config, args.cfg_options)
    check_scope(cfg)
    apply_data_options(cfg, args.cfg_options)
    init_default_scope(cfg.get('default_scope', 'mmseg'))
    torch.manual_seed(args.seed)
    with config_errors(cfg):
        prune(args, cfg)


if __name__ == '__main__':
    run_tool(main)
