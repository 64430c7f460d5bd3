"""One of two gloo processes: two training steps, then the statistics hook. Arguments: rank, store, result file."""

import json
import sys
import types
from pathlib import Path

import torch
from mmdet.testing import demo_mm_inputs
from mmengine.config import Config
from mmengine.logging import MessageHub
from mmengine.model import MMDistributedDataParallel
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, init_default_scope
from torch import distributed

from projects.dyfpn import DyFPN, GateStatisticsHook

TRAINING = [[[0, 0], [1, 0]], [[1, 1]]]
"""Decisions by process: two images on one, one on the other."""
VALIDATION = [[[1, 0], [1, 0], [0, 1]], [[0, 0], [0, 0], [1, 1]]]
"""Images 0, 2, 4 and 1, 3 and one more, which fills up the round."""


def train(rank):
    cfg = Config.fromfile(Path(__file__).with_name('dyfpn_tiny.py'))
    init_default_scope('mmdet')
    torch.manual_seed(rank)  # the wrapper hands the first process's weights to the second
    model = MMDistributedDataParallel(MODELS.build(cfg.model), broadcast_buffers=False, find_unused_parameters=False)
    wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    bias = model.module.neck.gates.levels[0][2].bias
    before = bias.tolist()
    for _ in range(2):  # the second step fails if a parameter of the first got no gradient
        batch = demo_mm_inputs(2, [[3, 64, 96 + 32 * rank]] * 2, num_classes=5, use_box_type=True)
        model.train_step(batch, wrapper)
    return dict(before=before, bias=bias.tolist(), sum=sum(p.double().sum().item() for p in model.parameters()))


def gather(rank):
    neck, hub = DyFPN([4, 4], 4, 2), MessageHub.get_instance('two_processes')
    loader = types.SimpleNamespace(dataset=range(5))
    runner = types.SimpleNamespace(model=neck, message_hub=hub, val_dataloader=loader)
    hook = GateStatisticsHook(interval=1, examples=0)
    sizes = [(8, 8), (4, 4)]
    hook.before_run(runner)
    hook.before_train_iter(runner, 0)
    neck.record.append((torch.tensor(TRAINING[rank]), sizes))
    hook.after_train_iter(runner, 0)
    hook.before_val_epoch(runner)
    for row in VALIDATION[rank]:
        hook.before_val_iter(runner, 0)
        neck.record.append((torch.tensor([row]), sizes))
        hook.after_val_iter(runner, 0, outputs=[dict(img_path='')])
    hook.after_val_epoch(runner)
    return {key: value.current() for key, value in hub.log_scalars.items()}


def main():
    rank, store, out = int(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
    torch.set_num_threads(1)
    distributed.init_process_group('gloo', init_method=f'file://{store}', rank=rank, world_size=2)
    result = dict(train=train(rank), scalars=gather(rank))
    out.write_text(json.dumps(result))
    distributed.destroy_process_group()


if __name__ == '__main__':
    main()
