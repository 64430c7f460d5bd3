"""``DyFPN``: a feature pyramid whose lateral connections are chosen for each image and level (arXiv 2012.00779).

Official code: Mingjian-Zhu/DyFPN, test only, structure B with the pooled gate (``DyFPN_B_CNNGate.py``); structure A,
the other gates and the training rules follow byte code in the same repository. Deviations:

- Evaluation takes the most probable choice. The official code samples there as well: ``eval_stochastic=True``.
- Batches of any size are split by decision; the official test code takes one image.
- The cost constants of the resource loss are derived, see ``resource_loss.py``.
"""

import torch
import torch.nn.functional as F
from mmdet.registry import MODELS

from .inception_fpn import InceptionFPN
from .laterals import BRANCHES, STRUCTURES, DynamicLateral
from .resource_loss import RELEASED_COSTS, ResourceLoss


@MODELS.register_module()
class DyFPN(InceptionFPN):
    """Dynamic feature pyramid: gates decide which convolutions of the lateral connections are computed.

    A neck returns feature maps only. Its resource loss waits in the module for :meth:`pop_loss`, which
    ``DynamicDetector`` calls; no detector code knows more of it.

    Args:
        in_channels, out_channels, num_outs: see :class:`InceptionFPN`.
        structure (str): 'B': a plain 1x1 connection, plus the whole bank if the gate is open. 'A': exactly one of the
            branches.
        gate (dict): config of the gate: ``PoolFCGate``, ``ConvGate``, ``RNNGate`` or ``RandomGate``.
        loss_flops (dict, optional): ``alpha``, ``loss_weight``, ``reference_batch`` and ``estimator`` of
            :class:`ResourceLoss`, and ``costs``: 'derived' (default), 'released' or numbers for each level and choice.
            None: no resource loss. The defaults alpha 0.5 and weight 1 are inferred.
        tau (float): temperature of Gumbel-softmax, constant.
        eval_stochastic (bool): sample decisions in evaluation mode as the official code does.
        branches, bank, strides, deploy, **kwargs: see :class:`InceptionFPN`.

    Shape: as :class:`InceptionFPN`. Decisions depend on the whole map, padding of a batch included.

    Attributes:
        record (list or None): if a list, every call appends (choices, sizes): an integer tensor (N, levels) and the
            (height, width) of each level. Whoever sets the list empties it.

    Raises:
        ValueError: a structure, deployment or loss that does not exist.
        RuntimeError: on call, if the resource loss of the last training step was never fetched.
    """

    def __init__(self, in_channels, out_channels, num_outs, structure='B', gate=dict(type='PoolFCGate'),  # noqa: B006
                 loss_flops=dict(alpha=0.5, loss_weight=1.0), tau=1.0, eval_stochastic=False,  # noqa: B006
                 branches=BRANCHES, deploy=False, **kwargs):
        if structure not in STRUCTURES:
            raise ValueError(f'neck.structure={structure!r}, expected one of {STRUCTURES}')
        if structure == 'A' and deploy:
            raise ValueError("neck.deploy=True: structure 'A' computes one branch and has nothing to merge")
        if 'with_skip' in kwargs:
            raise ValueError("neck.with_skip: DyFPN takes structure='A' (without) or 'B' (with) instead")
        self.structure = structure
        super().__init__(in_channels, out_channels, num_outs, branches=branches, deploy=deploy, **kwargs)
        self.tau, self.eval_stochastic = tau, eval_stochastic
        choices = 2 if structure == 'B' else len(self.branches)
        if structure == 'A' and gate['type'] in ('PoolFCGate', 'ConvGate'):
            gate = dict(init_bias=None, **gate)  # the bias for "open" is structure B's, also where A has two branches
        self.gates = MODELS.build(dict(gate, in_channels=self.used_channels, num_choices=choices))
        self.resource = ResourceLoss(self.choice_costs(self.level_sizes(800, 1280)))
        self.loss_flops = self._build_loss(loss_flops)
        self.record, self._pending = None, None

    def _build_loss(self, cfg):
        if cfg is None:
            return None
        cfg = dict(cfg)
        costs = cfg.pop('costs', 'derived')
        if costs == 'derived':
            costs = self.choice_costs(self.level_sizes(800, 1280))
        elif costs == 'released':
            costs = RELEASED_COSTS[self.structure]
        expected = len(self.used_channels), self.gates.num_choices
        if {(len(costs), len(level)) for level in costs} != {expected}:
            raise ValueError(f'neck.loss_flops.costs: expected {expected[0]} levels with {expected[1]} costs each, got '
                             f'{costs!r}')
        return ResourceLoss(costs, **cfg)

    def _lateral(self, in_channels, out_channels, branches, with_skip, layer, bank):
        return DynamicLateral(self.structure, in_channels, out_channels, branches, layer=layer, bank=bank)

    def forward(self, inputs):
        self._check_inputs(inputs)
        used = inputs[self.start_level:self.backbone_end_level]
        decisions, probabilities = self.decide(used)
        self._keep(decisions, probabilities, used)
        for lateral, decision in zip(self.lateral_convs, decisions, strict=True):
            lateral.decision = decision
        try:
            return super().forward(inputs)
        finally:
            for lateral in self.lateral_convs:
                lateral.decision = None

    def decide(self, maps):
        """Choices for each level.

        Returns:
            tuple[list[Tensor], list[Tensor]]: one-hot decisions (N, choices), differentiable (straight-through) while
            training, and the probabilities that they are drawn with.
        """
        with torch.autocast(maps[0].device.type, enabled=False):
            logits = self.gates(maps)
            probabilities = [x.softmax(1) for x in logits]  # of the hard choice, whatever tau is
            if self.training or self.eval_stochastic or self.gates.always_sampled:
                return [F.gumbel_softmax(x, tau=self.tau, hard=True) for x in logits], probabilities
            return [F.one_hot(x.argmax(1), x.shape[1]).to(x.dtype) for x in logits], probabilities

    def _keep(self, decisions, probabilities, maps):
        """Leave the decisions for the loss and for statistics."""
        if self.training and self.loss_flops is not None and torch.is_grad_enabled():
            if self._pending is not None:
                raise RuntimeError(
                    'DyFPN: the resource loss of the last training step was not fetched, so the gates would train '
                    "without it. Let the detector fetch it: model=dict(type='DynamicDetector', base='FasterRCNN', "
                    '...) for FasterRCNN, alike for others; or set model.neck.loss_flops=None')
            self._pending = decisions, probabilities
        if self.record is not None:
            choices = torch.stack([decision.detach().argmax(1) for decision in decisions], 1)
            self.record.append((choices, [tuple(x.shape[2:]) for x in maps]))

    def pop_loss(self):
        """The resource loss of the last training step, a scalar, or None; a second call returns None."""
        pending, self._pending = self._pending, None
        return None if pending is None else self.loss_flops(*pending)

    def choice_costs(self, sizes):
        """Multiply-adds of each level's choices for one image, without the always computed 1x1 layers.

        Args:
            sizes (list of (int, int)): height and width of each level in use.

        Returns:
            list[list[int]]: [0, bank] for each level in structure B, one number for each branch in structure A.
        """
        branches = self.branch_macs(sizes)
        return [[0, sum(level)] for level in branches] if self.structure == 'B' else branches

    def switch_to_deploy(self):
        """See :meth:`InceptionFPN.switch_to_deploy`; structure B only.

        Raises:
            ValueError: structure A.
        """
        if self.structure == 'A':
            raise ValueError("DyFPN: structure 'A' computes one branch and has nothing to merge")
        return super().switch_to_deploy()
