"""The counter of a forward pass: sees every operator below autograd, and in which module it runs."""

import weakref
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from .operators import KNOWN_NAMESPACES, OPERATORS, layer_rule


def _tensors(value: Any) -> Iterator[torch.Tensor]:
    """All strided tensors in nested tuples, lists and dicts."""
    if isinstance(value, torch.Tensor):
        if value.layout is torch.strided:
            yield value
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _tensors(item)
    elif isinstance(value, dict):
        yield from _tensors(list(value.values()))


class LiveMemory:
    """Bytes of the storages that are alive, and their peak.

    Args:
        fixed: tensors that live throughout: parameters, buffers, inputs.
    """

    def __init__(self, fixed: Iterator[torch.Tensor]) -> None:
        self.live = self.peak = 0
        self.known: set[int] = set()
        for tensor in fixed:
            self.see(tensor)

    def see(self, tensor: torch.Tensor) -> None:
        """Note a tensor; a view of a known one changes nothing."""
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self.known:
            return
        self.known.add(key)
        size = storage.nbytes()
        self.live += size
        self.peak = max(self.peak, self.live)
        weakref.finalize(storage, self._forget, key, size).atexit = False

    def _forget(self, key: int, size: int) -> None:
        self.known.discard(key)
        self.live -= size


class Counter(TorchDispatchMode):
    """Counts one pass; see :meth:`counting`.

    Args:
        model: whose modules the operations are booked on: each on the innermost module that runs.
        inputs: of the pass, for the memory.

    Attributes:
        memory: see :class:`LiveMemory`.
        unknown: names of foreign operators without a rule.
    """

    def __init__(self, model: nn.Module, inputs: Any) -> None:
        super().__init__()
        self.model = model
        self.names = {module: name for name, module in model.named_modules()}
        self.rules = {module: layer_rule(module) for module in self.names}
        self.parameters = {}
        for name, module in model.named_modules():
            for parameter in module.parameters(recurse=False):
                self.parameters.setdefault(parameter, name)
        self.memory = LiveMemory([*model.parameters(), *model.buffers(), *_tensors(inputs)])
        self.weights = {parameter.untyped_storage()._cdata for parameter in self.parameters}
        self.stack, self.read, self.unknown = [model], set(), set()
        self.counts = defaultdict(lambda: dict(mul=0, add=0, activations=0))

    @contextmanager
    def counting(self) -> Iterator[None]:
        """Count what runs in the block."""
        hooks = [hook for module in self.names for hook in (
            module.register_forward_pre_hook(self._enter_module),
            module.register_forward_hook(self._leave_module, with_kwargs=True, always_call=True))]
        try:
            with self:
                yield
        finally:
            for hook in hooks:
                hook.remove()

    def _enter_module(self, module, inputs):
        self.stack.append(module)

    def _leave_module(self, module, inputs, kwargs, output):
        self.stack.pop()
        if self.rules[module] is not None and output is not None:  # None: it failed
            self._book(module, self.rules[module](inputs, output), output)

    def _book(self, module, count, output):
        found = self.counts[self.names[module]]
        found['mul'] += count[0]
        found['add'] += count[1]
        if any(count):
            found['activations'] += next(_tensors(output)).numel()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        name = func._schema.name
        if name not in OPERATORS and func.has_kernel_for_dispatch_key(
                torch._C.DispatchKey.CompositeImplicitAutograd):
            with self:  # only under inference_mode: torch has not yet taken it apart
                parts = func.decompose(*args, **kwargs)
            if parts is not NotImplemented:
                return parts
        output = func(*args, **kwargs)
        self.read.update(t.untyped_storage()._cdata for t in _tensors((args, kwargs)))
        for tensor in _tensors(output):
            self.memory.see(tensor)
        module = self.stack[-1]
        if name in OPERATORS and self.rules[module] is None:
            self._book(module, OPERATORS[name](args, output), output)
        elif name.split('::')[0] not in KNOWN_NAMESPACES and self.rules[module] is None:
            self.unknown.add(name)
        return output

    def of_modules(self) -> Iterator[tuple[str, dict[str, int]]]:
        """(module's name, its own figures), without its children's; a name may come more than once."""
        yield from self.counts.items()
        for parameter, name in self.parameters.items():
            size = parameter.numel()
            idle = 0 if parameter.untyped_storage()._cdata in self.read & self.weights else size
            yield name, dict(params=size, params_idle=idle)
