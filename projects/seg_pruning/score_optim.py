"""Two optimisers for the alternating search, and the wrapper that lets several processes share it."""

from typing import Any

from mmengine.optim import DefaultOptimWrapperConstructor, OptimWrapperDict, build_optim_wrapper
from mmengine.registry import MODEL_WRAPPERS, OPTIM_WRAPPER_CONSTRUCTORS
from torch import nn

from projects.runtime.errors import ConfigError


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class ScoreOptimWrapperConstructor:
    """Builds the optimisers 'weights' and 'scores' of a `MultiTaskPruning`.

    Args:
        optim_wrapper_cfg (dict): that of the weights, and `score_optimizer`, the optimiser of the scores; without it,
            SGD with the weights' learning rate (inferred). Scores have no weight decay.
        paramwise_cfg (dict, optional): of the weights.

    Raises:
        ConfigError: mixed precision, whose loss scale the score gradients do not know.
    """

    def __init__(self, optim_wrapper_cfg: dict[str, Any], paramwise_cfg: dict[str, Any] | None = None) -> None:
        cfg = dict(optim_wrapper_cfg)
        if cfg.get('type', 'OptimWrapper') != 'OptimWrapper':
            raise ConfigError(f'optim_wrapper.type={cfg["type"]}: the search runs in full precision. Expected '
                              'OptimWrapper (leave --amp out); fine-tuning may use mixed precision')
        lr = cfg['optimizer'].get('lr')
        self.scores = dict(cfg.pop('score_optimizer', None) or dict(type='SGD', lr=lr))
        self.scores['weight_decay'] = 0.0
        self.weights, self.paramwise = cfg, paramwise_cfg

    def __call__(self, model: nn.Module) -> OptimWrapperDict:
        model = getattr(model, 'module', model)
        parts = {name: part for name, part in model.named_children() if name in ('architecture', 'classification')}
        constructor = DefaultOptimWrapperConstructor(self.weights, self.paramwise)
        scores = build_optim_wrapper(model.scores, dict(type='OptimWrapper', optimizer=self.scores))
        return OptimWrapperDict(weights=constructor(nn.ModuleDict(parts)), scores=scores)


@MODEL_WRAPPERS.register_module()
class ReplicatedModel(nn.Module):
    """A model whose `train_step` averages gradients over processes itself.

    torch's data-parallel wrapper sees neither gradients taken by `torch.autograd.grad` nor two optimisers in turn. The
    runner spreads the first process's initial weights.

    Args:
        module: the model.
        broadcast_buffers, find_unused_parameters, device_ids: of torch's wrapper, which the CPU launch sets; not used.
    """

    def __init__(self, module: nn.Module, broadcast_buffers: bool = False, find_unused_parameters: bool = False,
                 device_ids: list[int] | None = None) -> None:
        super().__init__()
        self.module = module
        self.train_step, self.val_step, self.test_step = module.train_step, module.val_step, module.test_step

    def forward(self, *args, **kwargs):
        """The model's forward pass."""
        return self.module(*args, **kwargs)
