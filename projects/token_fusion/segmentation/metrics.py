"""Figures of single branches beside the ensemble's."""

from __future__ import annotations

from collections.abc import Sequence

from mmseg.evaluation import IoUMetric
from mmseg.registry import METRICS


@METRICS.register_module()
class BranchIoUMetric(IoUMetric):
    """mmseg's ``IoUMetric`` of another output than the main one; its figures are named ``BRANCH/mIoU``.

    Args:
        branch: Name of the output; ``model.test_cfg.outputs`` must have it behind the main one.
        kwargs: Of ``IoUMetric``.

    Raises:
        KeyError: the model does not predict this output.
    """

    def __init__(self, branch: str, **kwargs) -> None:
        super().__init__(**{'prefix': branch, **kwargs})
        self.branch = branch

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Note the areas of a batch."""
        key = f'pred_sem_seg_{self.branch}'
        if any(key not in sample for sample in data_samples):
            raise KeyError(f'{self.branch}: the model does not predict this output. Set model.test_cfg.outputs to '
                           f"['ensemble', '{self.branch}']; test-time augmentation merges the main output only")
        super().process(data_batch, [{**sample, 'pred_sem_seg': sample[key]} for sample in data_samples])
