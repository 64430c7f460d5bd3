"""`IPTRestorer`: training of IPT on patches of one task a batch, and testing on whole images, window by window."""

import torch
from mmengine.registry import MODELS

from projects.restoration.restorer import ImageRestorer
from projects.restoration.self_ensemble import self_ensemble
from projects.runtime.errors import ConfigError

from .checkpoints import under_generator
from .windows import run_in_windows, window_rule

TEST_CFG = dict(tiling='ipt_pt', window_batch_size=64, self_ensemble=False)


@MODELS.register_module()
class IPTRestorer(ImageRestorer):
    """IPT as a model of the restoration task.

    A network of several tasks learns which one a batch is for from the meta value `task` of its data samples. The data
    preprocessor of pre-training sets it; other pipelines with `SetValues(dict(task=...))` and `task` among the
    `meta_keys` of `PackInputs`.

    Released weights, which hold the bare network, load as they are.

    Args:
        generator (dict): An :class:`IPT`.
        pixel_loss (dict, optional): Loss of prediction and truth, in 0..255.
        contrastive_loss (dict, optional): Loss of the decoder's tokens, :class:`PatchContrastiveLoss`.
        train_cfg (dict, optional): As for `ImageRestorer`.
        test_cfg (dict, optional): `tiling`, a rule of :mod:`.windows` by its name; `window_batch_size`, windows that
            are run at once; `self_ensemble`, whether the eight flips and transposes are averaged.
        data_preprocessor (dict, optional): By default `RestorationDataPreprocessor(std=1)`.
        init_cfg (dict, optional): As in mmengine.

    Raises:
        ConfigError: an unknown key or value in `test_cfg`; from running: a batch whose task is not clear.
    """

    def __init__(self, generator, pixel_loss=None, contrastive_loss=None, train_cfg=None, test_cfg=None,
                 data_preprocessor=None, init_cfg=None):
        data_preprocessor = data_preprocessor or dict(type='RestorationDataPreprocessor', std=1.0)
        super().__init__(generator, pixel_loss, train_cfg, test_cfg, data_preprocessor, init_cfg)
        self.contrastive_loss = MODELS.build(contrastive_loss) if contrastive_loss else None

    def _checked(self, test_cfg):
        unknown = test_cfg.keys() - TEST_CFG.keys()
        if unknown:
            raise ConfigError(f'model.test_cfg: unknown {", ".join(sorted(unknown))}, expected {", ".join(TEST_CFG)}. '
                              'IPT takes windows of one size, so `tiling` names their rule')
        test_cfg = TEST_CFG | test_cfg
        if test_cfg['window_batch_size'] < 1:
            raise ConfigError(f'model.test_cfg.window_batch_size={test_cfg["window_batch_size"]}: expected 1 or more')
        window_rule(test_cfg['tiling'], self.generator.patch_size)
        return test_cfg

    def task_of(self, data_samples):
        """The task that all samples of a batch name, or the network's only one.

        Raises:
            ConfigError: the samples name several tasks, none though the network has several, or an unknown one.
        """
        named = {sample.get('task'): sample for sample in data_samples or ()}
        if len(named) > 1:
            raise ConfigError(f'One batch holds images of several tasks, {", ".join(map(str, named))}: IPT runs one '
                              'task at a time. Give each test set its own data loader (MultiTestLoop).')
        task, sample = next(iter(named.items()), (None, None))
        if task is None and len(self.generator.tasks) > 1:
            where = sample.get('img_path') if sample is not None else 'the batch'
            raise ConfigError(
                f'{where}: no task is given, and the network has {", ".join(self.generator.tasks)}. Add '
                'dict(type="SetValues", dictionary=dict(task="sr_x2")) to the pipeline and "task" to the meta_keys of '
                'PackInputs, or keep one task: model.generator.tasks=["sr_x2"].')
        return self.generator.tasks[self.generator.task_index(task)]

    def forward_tensor(self, inputs, data_samples=None):
        """The network's output for patches (N, 3, P, P)."""
        return self.generator(inputs, task=self.task_of(data_samples))

    def loss(self, inputs, data_samples):
        """Losses of a training batch: `loss_pixel`, and `loss_contrastive` if there is one."""
        if self.pixel_loss is None:
            raise ConfigError('model.pixel_loss is not set, training needs it: for example dict(type="L1Loss")')
        target = torch.stack([sample.gt_img for sample in data_samples])
        outputs, tokens = self.generator(inputs, task=self.task_of(data_samples), return_tokens=True)
        losses = dict(loss_pixel=self.pixel_loss(outputs, target))
        if self.contrastive_loss is not None:
            losses['loss_contrastive'] = self.contrastive_loss(tokens)
        return losses

    def restore(self, inputs, data_samples=None):
        """The network's output for whole images, (N, 3, H, W) to (N, 3, sH, sW), by the rule of `test_cfg`."""
        task, rule = self.task_of(data_samples), window_rule(self.test_cfg['tiling'], self.generator.patch_size)

        def run(image):
            return run_in_windows(lambda windows: self.generator(windows, task=task), image, rule,
                                  self.generator.scales[task], self.test_cfg['window_batch_size'])

        return self_ensemble(run, inputs) if self.test_cfg['self_ensemble'] else run(inputs)

    def _load_from_state_dict(self, state_dict, prefix, *args, **kwargs):
        under_generator(state_dict, prefix)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)
