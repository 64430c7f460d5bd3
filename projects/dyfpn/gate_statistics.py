"""What the gates of a dynamic pyramid decide: open rates and multiply-adds, in the log and as pictures.

The authors write a line for each open gate to text files and count them (arXiv 2012.00779, byte code of the test
files). Here a hook keeps each image's decisions. Training logs a running mean over all processes; validation and
testing log the average over the data set, every image once however the processes share it.
"""

from collections import deque
from pathlib import Path

import numpy as np
import torch
from mmengine.dist import all_gather_object, all_reduce, is_main_process
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

from projects.runtime.errors import ConfigError

from .dyfpn import DyFPN


@HOOKS.register_module()
class GateStatisticsHook(Hook):
    """Logs and draws the decisions of the model's ``DyFPN``.

    Scalars, below `gates/` in the log of training, validation and testing:

    - ``open_cost``: cost of the chosen convolutions, 0 for the cheapest choices to 1 for the dearest; its target is
      alpha of the resource loss.
    - ``open_s4``, ``open_s8``...: the same for the level of that stride. In structure B this is its open rate.
    - ``lateral_gmacs`` (validation and testing): average billions of multiply-adds of all lateral connections for one
      image, at the images' own sizes, and ``lateral_gmacs_HxW`` for the same decisions on images of ``size``.

    Pictures of the newest validation or test, in WORK_DIR/TIME/gates/: ``val_choices.png``, the share of images for
    each level's choices; ``val_images.jpg``, the images with the dearest and the cheapest choices.

    Args:
        interval (int): iterations between two running means while training.
        window (int): iterations that the running mean covers.
        size (tuple[int, int]): height and width of the reference image, 800x1280 as in mmdet's table of costs.
        examples (int): images at each end in the picture; 0 draws none of the pictures.

    Raises:
        ConfigError: the model has no ``DyFPN``, or more than one.
    """

    priority = 'NORMAL'  # before LoggerHook, which writes what this one leaves

    def __init__(self, interval=10, window=50, size=(800, 1280), examples=4):
        self.interval, self.size, self.examples = interval, tuple(size), examples
        self.recent = deque(maxlen=window)
        self.neck, self.images = None, []

    def before_run(self, runner):
        necks = [module for module in runner.model.modules() if isinstance(module, DyFPN)]
        if len(necks) != 1:
            raise ConfigError(f'custom_hooks: GateStatisticsHook found {len(necks)} DyFPN in the model, expected one: '
                              "neck=dict(type='DyFPN', ...); or leave the hook out")
        self.neck = necks[0]

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.neck.record = []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        for choices, _ in self._take_record():
            shares = self._shares(choices)
            self.recent.append(torch.cat([shares.sum(0), shares.new_tensor([len(shares)])]))
        if self.every_n_inner_iters(batch_idx, self.interval) and self.recent:
            total = torch.stack(list(self.recent)).sum(0)
            all_reduce(total)
            self._log(runner, 'train', self._level_scalars((total[:-1] / total[-1]).tolist()))

    def _start_epoch(self, runner):
        self.images, self.neck.record = [], None

    def _start_iter(self, runner, batch_idx, data_batch=None):
        self.neck.record = []

    before_val_epoch = before_test_epoch = _start_epoch
    before_val_iter = before_test_iter = _start_iter

    def after_val_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        calls = self._take_record()
        if any(len(choices) != len(outputs) for choices, _ in calls):
            raise RuntimeError(f'GateStatisticsHook: {len(outputs)} images, but the neck saw '
                               f'{[len(choices) for choices, _ in calls]}; decisions cannot be told apart')
        # test-time augmentation calls once for each view; an image's numbers are means over its views
        shares = torch.stack([self._shares(choices) for choices, _ in calls]).mean(0).tolist()
        used = torch.stack([self._one_hot(choices) for choices, _ in calls]).mean(0).numpy()
        macs = torch.stack([self._macs(choices, sizes) for choices, sizes in calls]).mean(0).tolist()
        for sample, share, use, cost in zip(outputs, shares, used, macs, strict=True):
            self.images.append(dict(path=sample.get('img_path'), shares=share, used=use, macs=cost))

    after_test_iter = after_val_iter

    def after_val_epoch(self, runner, metrics=None):
        self._finish(runner, 'val', runner.val_dataloader)

    def after_test_epoch(self, runner, metrics=None):
        self._finish(runner, 'test', runner.test_dataloader)

    def _take_record(self):
        record, self.neck.record = self.neck.record, None
        return record

    def _one_hot(self, choices):
        """(N, levels, choices) on the CPU."""
        return torch.nn.functional.one_hot(choices.cpu(), self.neck.gates.num_choices).float()

    def _shares(self, choices):
        """Each image's cost in [0, 1]: of all levels, then of each level; (N, 1 + levels)."""
        share = self.neck.resource.shares
        level = share[torch.arange(len(share), device=share.device), choices.to(share.device)]
        return torch.cat([level.sum(1, keepdim=True), level / share.max(1).values], 1)

    def _macs(self, choices, sizes):
        """Multiply-adds of each image's lateral connections for maps of these sizes; (N,)."""
        costs = torch.tensor(self.neck.choice_costs(sizes), dtype=torch.float64)
        level = costs[torch.arange(len(costs)), choices.cpu()]
        return level.sum(1) + sum(self.neck.skip_macs(sizes))

    def _level_scalars(self, means):
        return dict(zip(['open_cost', *(f'open_s{stride}' for stride in self.neck.strides)], means, strict=True))

    @staticmethod
    def _log(runner, mode, scalars):
        for name, value in scalars.items():
            runner.message_hub.update_scalar(f'{mode}/gates/{name}', value)

    def _finish(self, runner, mode, dataloader):
        images = _gathered(self.images, len(dataloader.dataset))
        self.images = []
        scalars = self._level_scalars(np.mean([image['shares'] for image in images], 0).tolist())
        scalars['lateral_gmacs'] = float(np.mean([image['macs'] for image in images])) / 1e9
        used = np.mean([image['used'] for image in images], 0)
        sizes = self.neck.level_sizes(*self.size)
        reference = (used * np.array(self.neck.choice_costs(sizes))).sum() + sum(self.neck.skip_macs(sizes))
        scalars['lateral_gmacs_{}x{}'.format(*self.size)] = float(reference) / 1e9
        self._log(runner, mode, scalars)
        if self.examples and is_main_process():
            from .gate_pictures import draw_choices, draw_images  # matplotlib, only where something is drawn
            folder = Path(runner.log_dir) / 'gates'
            draw_choices(used, self._choice_names(), self.neck.strides, folder / f'{mode}_choices.png')
            draw_images(images, self.neck.strides, self.examples, folder / f'{mode}_images.jpg')

    def _choice_names(self):
        if self.neck.structure == 'B':
            return ['closed', 'open']
        return [f'{kernel}x{kernel}' + (f' d{dilation}' if dilation > 1 else '')
                for kernel, dilation in self.neck.branches]


def _gathered(images, count):
    """All processes' images in the data set's order, without the ones that fill up the last round."""
    parts = all_gather_object(images)
    longest = max(map(len, parts))
    return [part[i] for i in range(longest) for part in parts if i < len(part)][:count]
