"""Training loop of the search: every iteration takes a batch of each task."""

from collections.abc import Iterator
from typing import Any

from mmengine.runner import IterBasedTrainLoop
from mmseg.registry import LOOPS
from torch.utils.data import DataLoader


def _endless(loader: DataLoader) -> Iterator[Any]:
    while True:
        yield from loader


@LOOPS.register_module()
class MultiTaskTrainLoop(IterBasedTrainLoop):
    """`IterBasedTrainLoop` over `train_dataloader` (segmentation) and a second data loader (classification).

    Args:
        cls_dataloader (dict, optional): data loader of the classification set; the model gets dicts with the keys
            'seg' and 'cls'. Without it 'cls' is None, and the model must have no classifier.
        args, kwargs: of `IterBasedTrainLoop`.
    """

    def __init__(self, *args, cls_dataloader: dict | DataLoader | None = None, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        if isinstance(cls_dataloader, dict):
            cls_dataloader = self.runner.build_dataloader(cls_dataloader, seed=self.runner.seed)
        self.cls_dataloader = cls_dataloader
        self._cls_batches = None if cls_dataloader is None else _endless(cls_dataloader)

    def run(self):
        """Train; a resumed run passes over the classification batches that were used."""
        for _ in range(self._iter if self._cls_batches is not None else 0):
            next(self._cls_batches)
        return super().run()

    def _with_cls(self, data_batch: Any) -> dict[str, Any]:
        return dict(seg=data_batch, cls=None if self._cls_batches is None else next(self._cls_batches))

    def next_batches(self) -> dict[str, Any]:
        """The next batch of each task, for what comes after training."""
        return self._with_cls(next(self.dataloader_iterator))

    def run_iter(self, data_batch: Any) -> None:
        """One iteration with a batch of each task."""
        super().run_iter(self._with_cls(data_batch))
