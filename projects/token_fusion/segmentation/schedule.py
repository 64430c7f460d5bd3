"""The schedule of the official code: several stages in one run, each with a fresh optimiser, a warm-up and a decay."""

from __future__ import annotations

from collections.abc import Sequence

from mmengine.hooks import Hook
from mmengine.optim.scheduler.lr_scheduler import LRSchedulerMixin
from mmengine.optim.scheduler.param_scheduler import INF, _ParamScheduler
from mmseg.registry import HOOKS, PARAM_SCHEDULERS


def warm_poly(step: int, warmup: int, warmup_ratio: float, horizon: int, power: float) -> float:
    """Factor of the rate at a step: linear from ``warmup_ratio`` to 1, then the polynomial that began at step 0.

    Behind ``horizon`` the last value stays. mmengine's LinearLR and PolyLR cannot be chained to it: a PolyLR begins at
    the full rate where the warm-up ends.
    """
    if step < warmup:
        return 1 - (1 - step / warmup) * (1 - warmup_ratio)
    return (1 - min(step, horizon - 1) / horizon) ** power


@PARAM_SCHEDULERS.register_module()
class StagedPolyLR(LRSchedulerMixin, _ParamScheduler):
    """Rate of stages of equal length, each with a warm-up and polynomial decay of its own.

    It counts iterations, which the config has to say (``by_epoch=False``), because mmengine's runner ends other
    schedulers behind the last epoch. The rate is computed from the step alone, so that a resumed run has the same.

    Args:
        stage_iters: Length of a stage.
        factors: Of the base rate, one for each stage; the last one's stage goes on.
        warmup, warmup_ratio, horizon, power: See ``warm_poly``; ``horizon`` is where the polynomial reaches 0, if a
            stage lasts so long.
    """

    def __init__(self, optimizer, stage_iters: int, factors: Sequence[float] = (1., 0.5, 0.25), warmup: int = 1500,
                 warmup_ratio: float = 1e-6, horizon: int = 40000, power: float = 1., begin: int = 0, end: int = INF,
                 last_step: int = -1, by_epoch: bool = True, verbose: bool = False) -> None:
        if by_epoch:
            raise ValueError('param_scheduler: StagedPolyLR counts iterations; add by_epoch=False')
        self.stage_iters, self.factors = stage_iters, list(factors)
        self.shape = [warmup, warmup_ratio, horizon, power]
        super().__init__(optimizer, begin=begin, end=end, last_step=last_step, by_epoch=by_epoch, verbose=verbose)

    def _get_value(self) -> list[float]:
        """The groups' rates at the current step."""
        stage = min(self.last_step // self.stage_iters, len(self.factors) - 1)
        factor = self.factors[stage] * warm_poly(self.last_step - stage * self.stage_iters, *self.shape)
        return [base * factor for base in self.base_values]


@HOOKS.register_module()
class OptimizerRestartHook(Hook):
    """Drops the optimiser's moments where a stage begins, as if it were built anew.

    Args:
        stage_iters: Length of a stage.
        stages: Number of stages.
    """

    def __init__(self, stage_iters: int, stages: int = 3) -> None:
        self.starts = {stage_iters * stage for stage in range(1, stages)}

    def before_train_iter(self, runner, batch_idx: int, data_batch: dict | None = None) -> None:
        """Restart at the first iteration of a stage."""
        if runner.iter in self.starts:
            runner.optim_wrapper.optimizer.state.clear()
            runner.logger.info(f'Iteration {runner.iter}: the optimiser starts anew.')
