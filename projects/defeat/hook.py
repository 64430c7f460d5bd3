"""The hook of distilled runs."""

from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import EpochBasedTrainLoop

from projects.runtime.checkpoint_hooks import unwrap
from projects.runtime.errors import ConfigError

from .detectors import DeFeatMixin


@HOOKS.register_module()
class DeFeatHook(Hook):
    """Compares the teacher's class names with the training set's, and tells the model how far the training is.

    Raises:
        ConfigError: the model has no teacher, or one of other classes.
    """

    def before_train(self, runner) -> None:
        """Load the teacher, if `init_weights` has not, and compare the names of the classes."""
        model = unwrap(runner.model)
        if not isinstance(model, DeFeatMixin):
            raise ConfigError(f'DeFeatHook: {type(model).__name__} has no teacher. Expected model.type '
                              'DeFeatSingleStageDetector or DeFeatTwoStageDetector')
        model.teacher.load(model)
        classes = runner.train_dataloader.dataset.metainfo.get('classes')
        if classes:
            model.teacher.check_classes(tuple(classes))

    def before_train_iter(self, runner, batch_idx: int, data_batch=None) -> None:
        """Set the factor of the distillation terms."""
        by_epoch = isinstance(runner.train_loop, EpochBasedTrainLoop)
        step, total = (runner.epoch, runner.max_epochs) if by_epoch else (runner.iter, runner.max_iters)
        unwrap(runner.model).distiller.schedule.advance(step, total, runner.iter)
