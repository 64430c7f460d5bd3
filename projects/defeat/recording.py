"""Taking along what a detector computes anyway: outputs of its modules, and the proposals its RoI head samples.

Nothing is computed twice, and the detector's own `loss` runs as it is.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn


@contextmanager
def outputs_of(**modules: nn.Module) -> Iterator[dict[str, Any]]:
    """Record the outputs of modules, by the given names, while the block runs."""
    seen: dict[str, Any] = {}

    def recorder(name):
        return lambda module, inputs, output: seen.update({name: output})

    handles = [module.register_forward_hook(recorder(name)) for name, module in modules.items()]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def sampled_by(roi_head: nn.Module) -> Iterator[dict[str, Any]]:
    """Record what `roi_head.bbox_loss` works on: `sampling_results`, and the `cls_score` (K, classes + 1) of these."""
    seen: dict[str, Any] = {}
    bbox_loss = roi_head.bbox_loss

    def recording(x, sampling_results, *args, **kwargs):
        results = bbox_loss(x, sampling_results, *args, **kwargs)
        seen.update(sampling_results=sampling_results, cls_score=results['cls_score'])
        return results

    vars(roi_head)['bbox_loss'] = recording  # of this object alone, and only within the block
    try:
        yield seen
    finally:
        del vars(roi_head)['bbox_loss']
