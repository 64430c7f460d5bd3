"""Imitation of features and of class scores, each in two parts with separate normalisers (arXiv 2103.14475).

Feature imitation, for a student map S, a teacher map T, both (N, C, H, W), and an object mask M (N, H, W):

    obj = sum M (phi(S) - T)^2 / max(1, 2 C sum M)          bg likewise with 1 - M

averaged over the maps, so that a level without objects still counts. phi is a 3x3 convolution (`Adaptation`).
Score imitation is the Kullback-Leibler divergence of softened class scores, summed over the classes and averaged over
the proposals of a set; mmdet's `KnowledgeDistillationKLDivLoss` averages over the classes too and is smaller by their
number.

Deviations from the official code: the background class is `num_classes`, not the largest label of the batch, and both
temperatures are used. All sums are taken in float32, also under mixed precision.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

HEAD_SETS = ('decoupled', 'positive', 'negative', 'all', 'correct')


class Adaptation(nn.Conv2d):
    """3x3 convolution from student to teacher channels, for training only; a ReLU behind it for backbone stages.

    Weights start as 1e-4 times a normal distribution wrapped into (-2, 2), biases as in torch.
    """

    def __init__(self, in_channels: int, out_channels: int, relu: bool = False) -> None:
        self.relu = relu
        super().__init__(in_channels, out_channels, 3, padding=1)

    def reset_parameters(self) -> None:
        """Draw new values."""
        super().reset_parameters()
        with torch.no_grad():
            self.weight.normal_().fmod_(2).mul_(1e-4)

    def forward(self, x: Tensor) -> Tensor:
        x = super().forward(x)
        return F.relu(x) if self.relu else x


def decoupled_error(student: Tensor, teacher: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """Half the mean squared error inside and outside of the object mask.

    Args:
        student, teacher: (N, C, H, W).
        mask: (N, H, W) of zeros and ones; None stands for all ones.

    Returns:
        Object and background part, two scalars; a part without cells is 0.
    """
    error = (student.float() - teacher.detach().float()).square().sum(dim=1)
    channels = student.shape[1]
    if mask is None:
        return error.sum() / (2 * channels * error.numel()), error.new_zeros(())
    mask = mask.to(error.dtype)
    cells = mask.sum()
    objects = (error * mask).sum() / (2 * channels * cells).clamp(min=1)
    background = (error * (1 - mask)).sum() / (2 * channels * (mask.numel() - cells)).clamp(min=1)
    return objects, background


class DecoupledFeatureLoss(nn.Module):
    """Imitation of several feature maps: the base of neck and backbone imitation.

    Args:
        in_channels: the student's channels, for each map.
        teacher_channels: the teacher's channels, for each map; None: as the student's.
        alpha_obj, alpha_bg: weights of the two parts.
        adapt: adaptation layers behind the student's maps; without them the channels must agree.
        relu: a ReLU behind the adaptation layers.

    Raises:
        ValueError: channels that differ without adaptation layers, or another number of them.
    """

    def __init__(self, in_channels: list[int], teacher_channels: list[int] | None = None, *, alpha_obj: float,
                 alpha_bg: float, adapt: bool = True, relu: bool = False) -> None:
        super().__init__()
        teacher_channels = in_channels if teacher_channels is None else teacher_channels
        if len(in_channels) != len(teacher_channels):
            raise ValueError(f'in_channels={in_channels} and teacher_channels={teacher_channels}: expected as many')
        if not adapt and list(in_channels) != list(teacher_channels):
            raise ValueError(f'adapt=False with in_channels={in_channels} and teacher_channels={teacher_channels}: '
                             'maps of other widths can only be compared through adaptation layers')
        self.in_channels, self.teacher_channels = list(in_channels), list(teacher_channels)
        self.alpha_obj, self.alpha_bg = alpha_obj, alpha_bg
        self.adapt = nn.ModuleList(
            Adaptation(source, target, relu) for source, target in zip(in_channels, teacher_channels, strict=True)
        ) if adapt else None

    def forward(self, student: list[Tensor], teacher: list[Tensor], masks: list[Tensor] | None
                ) -> tuple[Tensor, Tensor]:
        """Weighted object and background part, averaged over the maps.

        Args:
            student, teacher: (N, C_l, H_l, W_l) of each map.
            masks: (N, H_l, W_l) of each map; None: no mask, everything counts as object.
        """
        parts = []
        for level, (s, t) in enumerate(zip(student, teacher, strict=True)):
            s = s if self.adapt is None else self.adapt[level](s)
            parts.append(torch.stack(decoupled_error(s, t, None if masks is None else masks[level])))
        objects, background = torch.stack(parts).mean(dim=0)
        return self.alpha_obj * objects, self.alpha_bg * background


class DecoupledNeckLoss(DecoupledFeatureLoss):
    """Imitation of the neck's output levels.

    Args:
        in_channels, teacher_channels: channels of every level of the student's and the teacher's neck.
        num_levels: number of output levels of both necks.
        alpha_obj, alpha_bg: 4 and 16 on COCO (the author, issue 18 of the official repository), 3 and 12 on VOC.
        adapt: see `DecoupledFeatureLoss`.
    """

    def __init__(self, in_channels: int = 256, teacher_channels: int | None = None, num_levels: int = 5, *,
                 alpha_obj: float = 4., alpha_bg: float = 16., adapt: bool = True) -> None:
        teacher_channels = in_channels if teacher_channels is None else teacher_channels
        super().__init__([in_channels] * num_levels, [teacher_channels] * num_levels, alpha_obj=alpha_obj,
                         alpha_bg=alpha_bg, adapt=adapt)


class BackboneLoss(DecoupledFeatureLoss):
    """Imitation of backbone stages behind adaptation layers with ReLU; weights 1 and 1.

    Args:
        in_channels, teacher_channels: channels of the imitated stages, finest first.
        alpha_obj, alpha_bg: weights; without masks everything counts as object.
    """

    def __init__(self, in_channels: list[int], teacher_channels: list[int] | None = None, *, alpha_obj: float = 1.,
                 alpha_bg: float = 1.) -> None:
        super().__init__(in_channels, teacher_channels, alpha_obj=alpha_obj, alpha_bg=alpha_bg, relu=True)


def score_divergence(student: Tensor, teacher: Tensor, chosen: Tensor, temperature: float = 1.) -> Tensor:
    """T^2 KL(teacher || student) of class scores softened by T: sum over classes, mean over the chosen rows.

    Args:
        student, teacher: logits (K, classes + 1).
        chosen: (K) booleans; if none is set the result is 0.
    """
    log_student = F.log_softmax(student.float() / temperature, dim=1)
    log_teacher = F.log_softmax(teacher.detach().float() / temperature, dim=1)
    rows = F.kl_div(log_student, log_teacher, reduction='none', log_target=True).sum(dim=1)
    chosen = chosen.to(rows.dtype)
    return temperature ** 2 * (rows * chosen).sum() / chosen.sum().clamp(min=1)


class DecoupledHeadLoss(nn.Module):
    """Imitation of the proposals' class scores.

    Args:
        num_classes: classes without the background, whose label it is.
        beta_obj, beta_bg: weights of positive and negative proposals.
        temp_obj, temp_bg: their temperatures.
        proposals: 'decoupled', or a baseline with one set, weight `beta_obj` and `temp_obj`: 'positive', 'negative',
            'all', 'correct' (the teacher's best class is the label).

    Raises:
        ValueError: another value of `proposals`.
    """

    def __init__(self, num_classes: int, beta_obj: float = 2., beta_bg: float = 2., temp_obj: float = 1.,
                 temp_bg: float = 1., proposals: str = 'decoupled') -> None:
        super().__init__()
        if proposals not in HEAD_SETS:
            raise ValueError(f'proposals={proposals!r}: expected one of {HEAD_SETS}')
        self.num_classes, self.proposals = num_classes, proposals
        self.beta_obj, self.beta_bg, self.temp_obj, self.temp_bg = beta_obj, beta_bg, temp_obj, temp_bg

    def forward(self, student: Tensor, teacher: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Losses of logits (K, num_classes + 1) for labels (K) of the same proposals.

        Returns:
            `loss_defeat_cls_obj` and `loss_defeat_cls_bg`, or `loss_defeat_cls` for one set.
        """
        positive = labels != self.num_classes
        if self.proposals != 'decoupled':
            chosen = dict(positive=positive, negative=~positive, all=torch.ones_like(positive),
                          correct=teacher.argmax(dim=1) == labels)[self.proposals]
            return dict(loss_defeat_cls=self.beta_obj * score_divergence(student, teacher, chosen, self.temp_obj))
        return dict(loss_defeat_cls_obj=self.beta_obj * score_divergence(student, teacher, positive, self.temp_obj),
                    loss_defeat_cls_bg=self.beta_bg * score_divergence(student, teacher, ~positive, self.temp_bg))
