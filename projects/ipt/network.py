"""IPT, the image processing transformer (arXiv 2012.00364): heads and tails of several tasks around one body.

Graph and parameter names are those of the released code (huawei-noah/Pretrained-IPT), whose weights load as they are;
`transformer.py` names the one departure, in how weights are drawn. Where paper and code differ the code is followed: a
head has five convolutions, not three. Nothing skips from image to image: denoising predicts the clean image itself.
"""

from collections.abc import Mapping

from mmengine.model import BaseModule
from mmengine.registry import MODELS
from torch import nn

from projects.restoration.layers import MeanShift, ResidualBlockNoBN, Upsampler, conv
from projects.runtime.errors import ConfigError

from .checkpoints import keep_tasks
from .transformer import TransformerBody

TASK_SCALES = dict(sr_x2=2, sr_x3=3, sr_x4=4, derain=1, denoise_s30=1, denoise_s50=1)
"""Tasks and their scales, in the order of the released multi-task training."""


class FrozenMeanShift(MeanShift):
    """The mean shift as parameters that do not train: published sizes count its 12 numbers."""

    def __init__(self, sign, rgb_range):
        super().__init__(sign, rgb_range)
        for name in ('weight', 'bias'):
            value = self._buffers.pop(name)
            self.register_parameter(name, nn.Parameter(value, requires_grad=False))


@MODELS.register_module()
class IPT(BaseModule):
    """Network of several restoration tasks for patches of one size; :class:`IPTRestorer` runs it on whole images.

    A multi-task state dict loads into a network of fewer tasks: heads, tails and queries of its own tasks are taken,
    by name, and the rest is dropped.

    Args:
        tasks (Sequence[str] or dict[str, int]): Names out of :data:`TASK_SCALES`, or names with their scales. Their
            order is that of heads, tails and queries in the state dict.
        n_feats (int): Channels of the feature maps.
        patch_size (int): Side of the input, a multiple of `patch_dim`.
        patch_dim (int): Side of a token on the feature map.
        num_heads (int): Attention heads; they share the n_feats * patch_dim^2 channels of a token evenly.
        num_layers (int): Layers of the encoder, and of the decoder.
        rgb_range (float): Largest value of a pixel.
        dropout_rate (float): Dropout in the body.
        no_mlp, no_pos, pos_every, no_norm (bool): Variants of the body, see :class:`TransformerBody`.
        checkpoint_tasks (Sequence[str]): Tasks, in their order, of multi-task weights that are loaded.
        init_cfg (dict, optional): As in mmengine.

    Shape: (N, 3, patch_size, patch_size) in 0..`rgb_range` to (N, 3, s * patch_size, s * patch_size), not clamped.

    Raises:
        ConfigError: unknown or no tasks, or sizes that do not divide each other.
        CheckpointError: from loading weights: their tasks cannot be told.
    """

    def __init__(self, tasks=tuple(TASK_SCALES), n_feats=64, patch_size=48, patch_dim=3, num_heads=12, num_layers=12,
                 rgb_range=255.0, dropout_rate=0.0, no_mlp=False, no_pos=False, pos_every=False, no_norm=False,
                 checkpoint_tasks=tuple(TASK_SCALES), init_cfg=None):
        super().__init__(init_cfg)
        self.scales = _scales(tasks)
        self.tasks, self.checkpoint_tasks = tuple(self.scales), tuple(checkpoint_tasks)
        self.patch_size = patch_size
        if patch_size % patch_dim or n_feats * patch_dim ** 2 % num_heads:
            raise ConfigError(
                f'IPT: patch_size={patch_size} must be a multiple of patch_dim={patch_dim}, and the n_feats * '
                f'patch_dim^2 = {n_feats * patch_dim ** 2} channels of a token a multiple of num_heads={num_heads}')
        self.sub_mean, self.add_mean = FrozenMeanShift(-1, rgb_range), FrozenMeanShift(1, rgb_range)
        self.head = nn.ModuleList(nn.Sequential(
            conv(3, n_feats), ResidualBlockNoBN(n_feats, kernel_size=5), ResidualBlockNoBN(n_feats, kernel_size=5))
            for _ in self.tasks)
        self.body = TransformerBody(len(self.tasks), n_feats, patch_size, patch_dim, num_heads, num_layers,
                                    dropout_rate, no_mlp, no_pos, pos_every, no_norm)
        self.tail = nn.ModuleList(nn.Sequential(Upsampler(scale, n_feats), conv(n_feats, 3))
                                  for scale in self.scales.values())

    def task_index(self, task=None):
        """Index of a task given by name; None means the only one.

        Raises:
            ConfigError: not a task of this network, or no name and several tasks.
        """
        if task is None and len(self.tasks) == 1:
            return 0
        if task not in self.scales:
            raise ConfigError(f'IPT: task={task!r}, expected one of model.generator.tasks: {", ".join(self.tasks)}')
        return self.tasks.index(task)

    def forward(self, x, task=None, return_tokens=False):
        """Restore patches of one task.

        Args:
            x (Tensor): (N, 3, patch_size, patch_size).
            task (str, optional): Its name; not needed where there is one task.
            return_tokens (bool): Also return the decoder's tokens, (N, tokens, channels), for the contrastive loss.
        """
        if x.shape[-2:] != (self.patch_size,) * 2:
            raise ValueError(f'IPT takes patches of {self.patch_size} x {self.patch_size} pixels, got {x.shape[-2]} x '
                             f'{x.shape[-1]}. Whole images go through IPTRestorer (mode "predict", or its `restore`)')
        index = self.task_index(task)
        features = self.head[index](self.sub_mean(x))
        tokens = self.body.tokens(features, index)
        x = self.add_mean(self.tail[index](features + self.body.to_map(tokens)))
        return (x, tokens) if return_tokens else x

    def _load_from_state_dict(self, state_dict, prefix, *args, **kwargs):
        keep_tasks(state_dict, prefix, self.tasks, self.checkpoint_tasks)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)


def _scales(tasks):
    """Name -> scale."""
    if isinstance(tasks, Mapping):
        scales = dict(tasks)
    else:
        names = [tasks] if isinstance(tasks, str) else list(tasks)
        unknown = [name for name in names if name not in TASK_SCALES]
        if unknown:
            raise ConfigError(f'IPT: tasks={tasks!r}, unknown {", ".join(map(repr, unknown))}. Expected names out of '
                              f'{", ".join(TASK_SCALES)}, or a dict of names and scales, as dict(deblur=1)')
        scales = {name: TASK_SCALES[name] for name in names}
        if len(scales) < len(names):
            raise ConfigError(f'IPT: tasks={tasks!r} names a task twice')
    if not scales:
        raise ConfigError('IPT: tasks is empty, expected at least one task')
    return scales
