"""Search of channels by two tasks at once, in the spirit of "Multi-Task Pruning for Semantic Segmentation Networks"
(MTP, arXiv 2007.08386).

The paper's observation: a segmentation network starts from classification weights, so its training is implicitly
multi-task, and the importance of every filter should be determined by both tasks at once, by alternating optimisation.
Its body was not available and no code was released; formula, alternation and settings here are inferred.

    min over W_cls, W_seg, s:  L_seg(W_seg, s) + mu L_cls(W_cls, s) + rho sum |s|

W_cls (backbone and linear classifier) and W_seg (segmentor) are separate weights with separate batch norms; the scores
s of the backbone's channels are shared. The head does not exist in the classification task, so its scores see the
segmentation loss alone. One round: (1) s fixed, steps on both weight sets; (2) weights fixed, one step on s.
"""

import copy
from typing import Any

import torch
from mmengine.dist import all_reduce, is_distributed
from mmengine.model import BaseModel, revert_sync_batchnorm
from mmseg.registry import MODELS
from torch import nn
from torch.nn import functional as F

from projects.runtime.errors import ConfigError

from .channel_graph import KEPT_LAYERS, ChannelGraph, evaluation, example
from .importance import Importance, fill_unseen
from .scores import ChannelScores, fold, remove_gates

UPDATES = ('proximal', 'plain')
TASKS = ('seg', 'cls')


class ClassificationTask(nn.Module):
    """The backbone with weights of its own, global average pooling and a linear classifier.

    Args:
        backbone: to copy.
        channels: of its output `in_index`.
        num_classes: classes of the classification set.
        in_index: output to classify from.
    """

    def __init__(self, backbone: nn.Module, channels: int, num_classes: int, in_index: int = -1) -> None:
        super().__init__()
        self.backbone, self.in_index = copy.deepcopy(backbone), in_index
        self.fc = nn.Linear(channels, num_classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Class logits, (N, K), of normalised images (N, 3, H, W)."""
        return self.fc(self.backbone(images)[self.in_index].mean((2, 3)))


@MODELS.register_module()
class MultiTaskPruning(BaseModel):
    """Search model: a segmentor, a classification task on its backbone, and scores that both share.

    It tests and validates as the segmentor with its scores. A checkpoint of the dense segmentor loads into it
    (`load_from`): both tasks' backbones start from it, unless the classifier has a checkpoint of its own.

    Args:
        architecture (dict): the dense segmentor, `EncoderDecoder` or a class derived from it.
        classifier (dict, optional): `num_classes`, `in_index` (-1) and `init_cfg` of the backbone; None prunes by
            segmentation alone.
        size (tuple[int, int]): height and width that costs are counted for.
        prune_residual (bool): see `ChannelGraph`.
        keep (tuple[str]): see `ChannelGraph`.
        seg_weight (float): factor of the segmentation task's score gradients; 0: classification alone ranks.
        cls_weight (float): mu, that of the classification task; 0: segmentation alone ranks.
        sparsity (float): rho.
        update (str): 'proximal' (soft threshold behind the step; exact zeros) or 'plain' (sub-gradient).
        normalize_grads (bool): divide each task's score gradients by the running mean of their absolute value over the
            network, so that mu and rho do not depend on the scale of the losses.
        grad_momentum (float): of that running mean.
        weight_steps (int): K, steps on the weights before each step on the scores.

    Raises:
        ConfigError: an unknown `update`, or neither task counts.
        TraceError: the segmentor's graph cannot be followed.
    """

    def __init__(self, architecture: dict, classifier: dict | None = None, *, size: tuple[int, int] = (512, 512),
                 prune_residual: bool = False, keep: tuple[str, ...] = KEPT_LAYERS, seg_weight: float = 1.0,
                 cls_weight: float = 1.0, sparsity: float = 1e-4, update: str = 'proximal',
                 normalize_grads: bool = True, grad_momentum: float = 0.99, weight_steps: int = 1,
                 init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg=init_cfg)
        if update not in UPDATES:
            raise ConfigError(f'model.update={update!r}: expected one of {", ".join(UPDATES)}')
        cls_weight = cls_weight if classifier else 0.0
        if seg_weight <= 0 and cls_weight <= 0:
            raise ConfigError(f'model.seg_weight={seg_weight}, model.cls_weight={cls_weight}: neither task would rank '
                              'the channels. Expected a positive weight, and for the classification task a classifier')
        self.architecture_cfg = copy.deepcopy(architecture)
        network = MODELS.build(architecture)
        # the runner does the same later, but in new layers, without their gates
        self.architecture = network if is_distributed() else revert_sync_batchnorm(network)
        self.data_preprocessor = self.architecture.data_preprocessor
        self.task_weights = dict(seg=seg_weight, cls=cls_weight)
        self.sparsity, self.update, self.normalize_grads = sparsity, update, normalize_grads
        self.grad_momentum, self.weight_steps = grad_momentum, weight_steps
        self.graph = ChannelGraph(self.architecture, size, prune_residual=prune_residual, keep=keep)
        self.classification = self._build_classification(dict(classifier)) if classifier else None
        self.scores = ChannelScores(self.graph)
        self.register_buffer('steps', torch.zeros((), dtype=torch.long))
        self.register_buffer('grad_scale', torch.zeros(len(TASKS)))
        self.register_buffer('grad_count', torch.zeros(len(TASKS)))
        self._attach()

    def _build_classification(self, cfg: dict[str, Any]) -> ClassificationTask:
        backbone, self._cls_init = self.architecture.backbone, cfg.pop('init_cfg', None)
        with evaluation(backbone), torch.no_grad():
            features = backbone(example(backbone, self.graph.size))
        return ClassificationTask(backbone, features[cfg.get('in_index', -1)].shape[1], **cfg)

    def _attach(self) -> None:
        self.scores.attach(self.architecture)
        if self.classification is not None:
            self.scores.attach(self.classification.backbone, 'backbone.')

    def train(self, mode: bool = True) -> 'MultiTaskPruning':
        """As of `nn.Module`; gates that a conversion of layers took off are put back."""
        if hasattr(self, 'scores'):
            self._attach()
        return super().train(mode)

    def init_weights(self) -> None:
        """Initialise the segmentor; the classification backbone by its own `init_cfg`, or as the segmentor's."""
        super().init_weights()
        if self.classification is None:
            return
        backbone = self.classification.backbone
        if self._cls_init:
            backbone.init_cfg = self._cls_init
            backbone.init_weights()
        else:
            backbone.load_state_dict(self.architecture.backbone.state_dict())

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args) -> None:
        """Accept a dense segmentor's weights: they become those of both tasks."""
        inner = f'{prefix}architecture.'
        own = [key for key in state_dict if key.startswith(f'{prefix}backbone.')]
        if own and not any(key.startswith(inner) for key in state_dict):
            for key in [key for key in state_dict if key.startswith(prefix)]:
                value, rest = state_dict.pop(key), key.removeprefix(prefix)
                state_dict[inner + rest] = value
                if key in own and self.classification is not None and not self._cls_init:
                    state_dict[f'{prefix}classification.{rest}'] = value
        super()._load_from_state_dict(state_dict, prefix, *args)

    def forward(self, inputs: torch.Tensor, data_samples: list | None = None, mode: str = 'tensor'):
        """The segmentor's forward pass, with its scores; see mmseg's `EncoderDecoder`."""
        return self.architecture(inputs, data_samples, mode)

    def prepare(self, batch: dict) -> dict:
        """Batches of both tasks as the networks take them; once only, mmseg pads the labels in place.

        Args:
            batch: 'seg': a batch of the segmentation set; 'cls': `inputs`, (N, 3, H, W) in 0..255, and `labels`, (N,).
        """
        ready = dict(seg=self.data_preprocessor(batch['seg'], True))
        if self.task_weights['cls'] > 0:
            if batch.get('cls') is None:
                raise ConfigError('model.classifier is set, but no classification images come. Expected '
                                  "train_cfg=dict(type='MultiTaskTrainLoop', cls_dataloader=...)")
            labels = torch.as_tensor(batch['cls']['labels']).to(self.steps.device)
            ready['cls'] = dict(inputs=self.normalised(batch['cls']['inputs']), labels=labels)
        return ready

    def normalised(self, images) -> torch.Tensor:
        """Images of 0..255, (N, 3, H, W) or a list of (3, H, W), as the segmentor's preprocessor normalises them."""
        images = torch.stack(list(images)).to(self.steps.device).float()
        if getattr(self.data_preprocessor, 'channel_conversion', False):
            images = images.flip(1)
        if getattr(self.data_preprocessor, '_enable_normalize', False):
            images = (images - self.data_preprocessor.mean) / self.data_preprocessor.std
        return images

    def task_losses(self, batch: dict) -> dict[str, dict[str, torch.Tensor]]:
        """Losses by task, for a prepared batch: of segmentation always, of classification if it counts."""
        found = dict(seg=self.architecture(**batch['seg'], mode='loss'))
        if 'cls' in batch:
            logits, labels = self.classification(batch['cls']['inputs']), batch['cls']['labels']
            accuracy = (logits.argmax(1) == labels).float().mean() * 100
            found['cls'] = dict(loss_cls=F.cross_entropy(logits, labels), acc_cls=accuracy)
        return found

    def train_step(self, data: dict, optim_wrapper) -> dict[str, torch.Tensor]:
        """One round: a step on the weights and, every `weight_steps`, one on the scores.

        Args:
            data: 'seg': a batch of the segmentation set; 'cls': one of the classification set.
            optim_wrapper: an `OptimWrapperDict` with the keys 'weights' and 'scores'
                (`ScoreOptimWrapperConstructor`).
        """
        data = self.prepare(data)
        log = self._weight_phase(data, optim_wrapper['weights'])
        self.steps += 1
        if int(self.steps) % self.weight_steps == 0:
            self._score_phase(data, optim_wrapper['scores'])
        values = torch.cat([score.detach() for _, score in self.scores.items()])
        return {**log, 'score_mean': values.mean(), 'score_zeros': (values == 0).float().mean()}

    def _weight_phase(self, data: dict, optim_wrapper) -> dict[str, torch.Tensor]:
        self.scores.requires_grad_(False)
        losses = {name: value for found in self.task_losses(data).values() for name, value in found.items()}
        loss, log = self.parse_losses(losses)
        scaled = optim_wrapper.scale_loss(loss)  # the tasks' weights are disjoint: one sum is a step on each
        optim_wrapper.backward(scaled)
        if optim_wrapper.should_update():
            if is_distributed():
                for group in optim_wrapper.param_groups:
                    for parameter in group['params']:
                        if parameter.grad is not None:
                            all_reduce(parameter.grad, 'mean')
            optim_wrapper.step()
            optim_wrapper.zero_grad()
        self.scores.requires_grad_(True)
        return log

    def score_gradients(self, batch: dict) -> dict[str, Importance]:
        """Gradients of each task's loss with respect to the scores it sees: {task: {group: (C,)}}; prepared batch."""
        names, values = zip(*self.scores.items(), strict=True)
        found = {}
        for task, losses in self.task_losses(batch).items():
            if self.task_weights[task] <= 0:
                continue
            loss, _ = self.parse_losses(losses)
            gradients = torch.autograd.grad(loss, values, allow_unused=True)
            found[task] = {name: grad for name, grad in zip(names, gradients, strict=True) if grad is not None}
        if is_distributed():
            for gradients in found.values():
                for gradient in gradients.values():
                    all_reduce(gradient, 'mean')
        return found

    def _running_scale(self, task: str, gradients: Importance) -> torch.Tensor:
        """Running mean of the absolute gradient over all channels that a task sees, without start-up bias."""
        index, keep = TASKS.index(task), self.grad_momentum
        now = torch.cat(list(gradients.values())).abs().mean()
        self.grad_scale[index] = keep * self.grad_scale[index] + (1 - keep) * now
        self.grad_count[index] += 1
        return (self.grad_scale[index] / (1 - keep ** self.grad_count[index])).clamp_min(1e-20)

    def joint_gradients(self, by_task: dict[str, Importance]) -> Importance:
        """The tasks' score gradients, normalised if so set, times their weights, added."""
        total: Importance = {}
        for task, gradients in by_task.items():
            factor = self.task_weights[task]
            if self.normalize_grads:
                factor = factor / self._running_scale(task, gradients)
            for name, gradient in gradients.items():
                total[name] = total[name] + factor * gradient if name in total else factor * gradient
        return total

    def _score_phase(self, data: dict, optim_wrapper) -> None:
        joint = self.joint_gradients(self.score_gradients(data))
        for name, score in self.scores.items():
            if name in joint:  # a group that no task sees keeps its scores
                score.grad = joint[name]
                if self.update == 'plain':
                    score.grad = score.grad + self.sparsity * score.detach().sign()
        optim_wrapper.step()
        optim_wrapper.zero_grad()
        rate = optim_wrapper.optimizer.param_groups[0]['lr']
        shrink = rate * self.sparsity if self.update == 'proximal' else 0.0
        with torch.no_grad():
            for name, score in self.scores.items():
                if name in joint:
                    score.sub_(shrink).clamp_(min=0)  # the proximal map of rho |s| for s >= 0

    def importance(self) -> Importance:
        """|s| of every group, after the search; groups that no task has seen rank by L1 norm (`fill_unseen`)."""
        values = self.scores.importance()
        if self.task_weights['seg'] <= 0:
            seen = {name for name, group in self.graph.groups.items() if group.part == 'backbone'}
            values = {name: value for name, value in values.items() if name in seen}
        return fill_unseen(values, self.architecture, self.graph)

    def folded(self) -> nn.Module:
        """A copy of the segmentor, without scores: they are multiplied into its layers."""
        network = copy.deepcopy(self.architecture)
        remove_gates(network)
        fold(network, self.graph, {name: score.detach() for name, score in self.scores.items()})
        return network
