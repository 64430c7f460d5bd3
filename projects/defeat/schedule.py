"""Weight of all distillation terms over the training: decay and warm-up, both off in the released setting.

Decay forms are those of the official code (arXiv 2103.14475), warm-up that of the third-party recipe for COCO (linear
over 2000 iterations). Guard: in runs of fewer than four epochs 'updown' rises for one.
"""

import math

DECAYS = (None, 'linear', 'cosine', 'updown')


def decay_factor(decay: str | None, step: int, total: int) -> float:
    """Factor in epoch `step` (from 0) of `total`: 1 - e/E, (1 + cos(pi e/E)) / 2, or up to 2 and back to 0."""
    if decay == 'linear':
        return 1 - step / total
    if decay == 'cosine':
        return 0.5 * math.cos(math.pi * step / total) + 0.5
    if decay == 'updown':
        top = max(1, total // 4)
        return 1 + step / top if step <= top else 2 - 2 * (step - top) / (total - top)
    return 1.


class DistillationSchedule:
    """Current factor of the distillation terms.

    Args:
        decay: None, 'linear', 'cosine' or 'updown'.
        warmup_iters: iterations over which the factor rises linearly from 0.

    Raises:
        ValueError: another value of `decay`.
    """

    def __init__(self, decay: str | None = None, warmup_iters: int = 0) -> None:
        if decay not in DECAYS:
            raise ValueError(f'decay={decay!r}: expected one of {DECAYS}')
        self.decay, self.warmup_iters = decay, warmup_iters
        self.factor: float | None = None if decay or warmup_iters else 1.

    def advance(self, step: int, total: int, iteration: int) -> None:
        """Set the factor for epoch `step` of `total` (iterations in runs that count no epochs), `iteration` from 0."""
        warm = min(1., (iteration + 1) / self.warmup_iters) if self.warmup_iters else 1.
        self.factor = warm * decay_factor(self.decay, step, total)
