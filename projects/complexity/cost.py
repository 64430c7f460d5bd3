"""What a forward pass costs: `get_cost`, and the figures it returns.

Energy is that of the arithmetic alone, without memory traffic, at 45 nm: the model of the adder papers (arXiv
2112.13608 and its supplement).
"""

from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import torch
from torch import nn

from .counter import Counter


class Energy(NamedTuple):
    """Picojoules of one multiplication and one addition."""

    mul: float
    add: float

    def millijoules(self, mul: float, add: float) -> float:
        """Energy of so many operations."""
        return (self.mul * mul + self.add * add) / 1e9


ENERGIES = dict(fp32=Energy(3.7, 0.9), int8=Energy(0.2, 0.03))
"""By number type (arXiv 2112.13608)."""


@dataclass
class ModuleCost:
    """Figures of a module, those of its children included.

    Attributes:
        kind: name of its class.
        mul, add: multiplications and additions.
        params: elements of its parameters; what two modules share counts where it first stands.
        params_idle: of these, in parameters that the pass did not read (a head for training alone).
        activations: elements of the outputs of counted operators.
    """

    kind: str
    mul: float = 0
    add: float = 0
    params: float = 0
    params_idle: float = 0
    activations: float = 0


NUMBERS = tuple(field.name for field in fields(ModuleCost) if field.name != 'kind')


@dataclass
class Cost(ModuleCost):
    """Figures of a whole model; see :class:`ModuleCost`.

    Attributes:
        peak_bytes: largest sum, at any moment, of the living tensors: parameters, buffers, inputs and maps, in the
            number type of the pass. What kernels allocate for themselves is not seen.
        energy: picojoules that :attr:`energy_mj` is computed with.
        per_module: figures by full name, '' for the model itself, in the order of ``named_modules``.
        uncounted: operators of foreign libraries that there is no rule for; the counts lack their arithmetic.
        passes: passes that the figures are the mean of.
    """

    peak_bytes: int = 0
    energy: Energy = ENERGIES['fp32']
    per_module: dict[str, ModuleCost] | None = None
    uncounted: tuple[str, ...] = ()
    passes: int = 1

    @property
    def energy_mj(self) -> float:
        """Energy of the arithmetic in millijoules."""
        return self.energy.millijoules(self.mul, self.add)

    def as_dict(self) -> dict[str, Any]:
        """Everything as plain numbers, strings and dicts, for JSON; energies in mJ."""
        modules = {name: dict(vars(part), energy_mj=self.energy.millijoules(part.mul, part.add))
                   for name, part in self.per_module.items()}
        return dict({name: getattr(self, name) for name in ('kind', *NUMBERS)}, energy_mj=self.energy_mj,
                    energy_pj=self.energy._asdict(), peak_bytes=self.peak_bytes, passes=self.passes,
                    uncounted=list(self.uncounted), per_module=modules)


@contextmanager
def _inference(model: nn.Module):
    """Evaluation mode without gradients, and attention by its single operators; all as before afterwards."""
    training = {module: module.training for module in model.modules()}
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        for module, mode in training.items():
            module.training = mode


def get_cost(model: nn.Module, inputs: Any, *, forward: Callable | None = None,
             energy: str | Energy = 'fp32') -> Cost:
    """Count the operations of one inference pass, which is run.

    On the meta device a pass takes neither memory nor arithmetic: ``get_cost(model.to('meta'), torch.empty(1, 3, 800,
    1333, device='meta'))``. A model whose operations depend on values (sparse convolutions, gates) needs real ones.

    Args:
        model: any network; left in the mode it is in.
        inputs: a tensor, or a tuple of positional or a dict of keyword arguments.
        forward: what is run, called as ``forward(model, *inputs)``; default: the model.
        energy: 'fp32', 'int8', or picojoules of an operation.

    Returns:
        Cost: of everything in `inputs`, so with a batch of 1 that of one image.

    Raises:
        NotImplementedError: from torch, if the model asks for values on the meta device.
    """
    args = inputs if isinstance(inputs, tuple) else () if isinstance(inputs, dict) else (inputs,)
    kwargs = inputs if isinstance(inputs, dict) else {}
    counter = Counter(model, (args, kwargs))
    with _inference(model), counter.counting():
        if forward is None:
            model(*args, **kwargs)
        else:
            forward(model, *args, **kwargs)
    names = {name: ModuleCost(type(module).__name__) for name, module in model.named_modules()}
    for name, numbers in counter.of_modules():
        for ancestor in _ancestors(name):
            part = names.get(ancestor)
            for key, value in numbers.items() if part is not None else ():
                setattr(part, key, getattr(part, key) + value)
    return Cost(**vars(names['']), peak_bytes=counter.memory.peak, per_module=names,
                energy=ENERGIES[energy] if isinstance(energy, str) else energy,
                uncounted=tuple(sorted(counter.unknown)))


def _ancestors(name: str) -> list[str]:
    """'a.b.c' -> ['', 'a', 'a.b', 'a.b.c']."""
    parts = name.split('.') if name else []
    return ['.'.join(parts[:length]) for length in range(len(parts) + 1)]


def _mean(parts: Sequence[ModuleCost]) -> dict[str, float]:
    return {name: sum(getattr(part, name) for part in parts) / len(parts) for name in NUMBERS}


def mean_cost(costs: Sequence[Cost]) -> Cost:
    """Mean over passes of one model; `peak_bytes` is the largest.

    A parameter is idle here in the share of the passes that did not read it.
    """
    modules = {name: ModuleCost(part.kind, **_mean([cost.per_module[name] for cost in costs]))
               for name, part in costs[0].per_module.items()}
    return Cost(**vars(modules['']), peak_bytes=max(cost.peak_bytes for cost in costs), per_module=modules,
                energy=costs[0].energy, uncounted=tuple(sorted({name for cost in costs for name in cost.uncounted})),
                passes=len(costs))
