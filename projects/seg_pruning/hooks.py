"""Pruning at the end of a search."""

from typing import Any

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

from projects.runtime.checkpoint_hooks import unwrap
from projects.runtime.errors import ConfigError

from .budget import Floors
from .importance import WEIGHT_METHODS, taylor_importance, weight_importance
from .multi_task import MultiTaskPruning
from .pipeline import Budget, prune_to_budget, save_result


@HOOKS.register_module()
class PruneHook(Hook):
    """Prunes the searched model when training ends, and writes structure, checkpoint and report to the work dir.

    The scores are multiplied into the weights before, so the checkpoint holds a plain network, to fine-tune with
    `PrunedSegmentor`.

    Args:
        target (float): share of the dense cost that may be left.
        metric (str): 'macs', 'params' or 'latency'.
        method (str): 'scores' (those searched), 'taylor' (first order, on batches of the training loop), or one of
            'bn_scale', 'l1', 'uniform', 'random'.
        scope (str, optional): 'global', 'part' or 'layer'; without it 'layer' for `uniform`, else 'global'.
        floors (dict): `min_channels`, `min_ratio`, `round_to`.
        batches (int): for `taylor`.
        benchmark (bool): also measure latencies.
        name (str): beginning of the files' names.
        seed (int): of `random`.

    Raises:
        ConfigError: before training: another model, or settings that make no sense.
    """

    priority = 'LOW'

    def __init__(self, target: float = 0.5, metric: str = 'macs', method: str = 'scores', scope: str | None = None,
                 floors: dict[str, Any] | None = None, batches: int = 16, benchmark: bool = False,
                 name: str = 'pruned', seed: int = 0) -> None:
        if method not in ('scores', 'taylor', *WEIGHT_METHODS):
            raise ConfigError(f'custom_hooks: PruneHook.method={method!r}: expected scores, taylor, '
                              f'{", ".join(WEIGHT_METHODS)}')
        scope = scope or ('layer' if method == 'uniform' else 'global')
        self.budget = Budget(target, metric, scope, Floors(**(floors or {})))
        self.method, self.batches, self.benchmark, self.name, self.seed = method, batches, benchmark, name, seed

    def before_train(self, runner) -> None:
        """Look at the model before time is spent."""
        model = unwrap(runner.model)
        if not isinstance(model, MultiTaskPruning):
            raise ConfigError(f'custom_hooks: PruneHook prunes a MultiTaskPruning, but model.type is '
                              f'{type(model).__name__}. For a trained dense model use tools/analysis_tools/prune.py')

    def _importance(self, runner, search: MultiTaskPruning):
        if self.method == 'scores':
            return search.importance()
        if self.method == 'taylor':
            loop = runner.train_loop
            return taylor_importance(search, (loop.next_batches() for _ in range(self.batches)))
        return weight_importance(self.method, search.folded(), search.graph, self.seed)

    def after_train(self, runner) -> None:
        """Prune and write."""
        search = unwrap(runner.model)
        importance = self._importance(runner, search)  # in every process: gradients are exchanged
        if not is_main_process():
            return
        info = dict(method=self.method, task_weights=search.task_weights, seed=self.seed)
        result = prune_to_budget(search.folded(), search.graph, importance, self.budget, info=info,
                                 benchmark=self.benchmark)
        meta = dict(dataset_meta=getattr(runner.train_loop.dataloader.dataset, 'metainfo', None))
        paths = save_result(result, runner.work_dir, self.name, meta)
        runner.logger.info(
            f'Pruned to {result.after.macs / result.before.macs:.1%} of the multiply-adds and '
            f'{result.after.params / result.before.params:.1%} of the parameters: {paths["checkpoint"]} and '
            f'{paths["structure"]}; report: {paths["report"]}')
