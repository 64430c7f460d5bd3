"""Resource loss: pulls every image's cost of the gated convolutions to a share of the possible (arXiv 2012.00779).

Follows byte code of the authors' training files in Mingjian-Zhu/DyFPN, where it is added to the classification loss;
here it is an entry of its own, ``loss_flops``. For an image with cost F, between F_min and F_max over all choices, the
term is ((F - F_t) / (F_max - F_min))^2 with F_t = F_min + alpha (F_max - F_min).

Choices are drawn, so there are two ways to its gradient. `straight_through`, the official one, takes F of the drawn
choices and passes the gradient on as if drawing were the identity. It holds the mean of F at the target and is blind to
the spread, so gates may stay undecided for ever. `expected` (ours) takes the term's expectation over all draws,

    E[((F - F_t) / R)^2] = ((E[F] - F_t)^2 + Var[F]) / R^2,    R = F_max - F_min,

which the logits give exactly, since levels are drawn independently: it has no noise, no bias, and its second part is
the price of being undecided.

Deviations: the costs are derived from channels and strides instead of typed in (`RELEASED_COSTS` has the authors'
rounded numbers). The authors sum over exactly two images for each GPU; here the mean over any number of images is
multiplied by ``reference_batch``, 2.
"""

import torch
from torch import nn

RELEASED_COSTS = dict(
    A=tuple(tuple([one] + [three] * 3 + [five] * 3) for one, three, five in
            ((8.0, 71.7, 199.2), (4.0, 35.9, 99.6), (2.0, 17.9, 49.8), (1.0, 9.0, 24.9))),
    B=((0.0, 820.7), (0.0, 410.5), (0.0, 205.1), (0.0, 102.7)))
"""Costs of the authors' files for R-50, C2 to C5, in GFLOPs of a 1216x800 image (two operations a multiply-add)."""

ESTIMATORS = ('straight_through', 'expected')


class ResourceLoss(nn.Module):
    """Squared distance of each image's cost from its target.

    Args:
        costs (sequence of sequences of float): for each level, the cost of each choice, in any unit.
        alpha (float): target share, 0 (cheapest) to 1 (everything).
        loss_weight (float): lambda.
        reference_batch (int): factor on the mean over images, 2 as in the official code.
        estimator (str): 'straight_through' (official) or 'expected' (ours); see the module.

    Raises:
        ValueError: alpha outside of [0, 1], an unknown estimator, or choices that cost all the same.
    """

    def __init__(self, costs, alpha=0.5, loss_weight=1.0, reference_batch=2, estimator='straight_through'):
        super().__init__()
        if estimator not in ESTIMATORS:
            raise ValueError(f'neck.loss_flops.estimator={estimator!r}, expected one of {ESTIMATORS}')
        self.estimator = estimator
        if not 0 <= alpha <= 1:
            raise ValueError(f'neck.loss_flops.alpha={alpha}, expected a share between 0 and 1')
        self.alpha, self.loss_weight, self.reference_batch = alpha, loss_weight, reference_batch
        lows = [min(level) for level in costs]
        span = sum(max(level) for level in costs) - sum(lows)
        if span <= 0:
            raise ValueError(f'neck.loss_flops.costs={costs!r}: all choices cost the same')
        # each level's part of the share, in Python's double precision: costs differ by orders of magnitude
        shares = [[(cost - low) / span for cost in level] for level, low in zip(costs, lows, strict=True)]
        self.register_buffer('shares', torch.tensor(shares), persistent=False)

    def open_share(self, gates):
        """Each image's cost between the cheapest (0) and the dearest (1).

        Args:
            gates (list[Tensor]): one-hot rows (N, choices), one tensor for each level.

        Returns:
            Tensor: (N,), float32.
        """
        return sum((gate.float() * share).sum(1) for gate, share in zip(gates, self.shares, strict=True))

    def expected_term(self, probabilities):
        """Expectation of each image's term when its choices are drawn.

        Args:
            probabilities (list[Tensor]): rows (N, choices) that sum to 1, one tensor for each level.

        Returns:
            Tensor: (N,), float32.
        """
        mean, spread = 0.0, 0.0
        for level, share in zip(probabilities, self.shares, strict=True):
            level = level.float()
            first = (level * share).sum(1)
            mean, spread = mean + first, spread + (level * share ** 2).sum(1) - first ** 2
        return (mean - self.alpha) ** 2 + spread

    def forward(self, gates, probabilities=None):
        """The loss, a scalar.

        Args:
            gates (list[Tensor]): drawn one-hot rows, see :meth:`open_share`.
            probabilities (list[Tensor], optional): those of the choices, see :meth:`expected_term`; needed by the
                estimator 'expected' alone.
        """
        if self.estimator == 'expected':
            term = self.expected_term(probabilities)
        else:
            term = (self.open_share(gates) - self.alpha) ** 2
        return self.loss_weight * self.reference_batch * term.mean()
