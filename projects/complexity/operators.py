"""Multiplications and additions of one operator call, by the operator's name.

The convention is that of the AdderNet papers (arXiv 1912.13200 to 2112.13608): a layer of M multiply-accumulates has
M multiplications and M additions as a convolution, and 2 M additions as an adder layer (subtract and accumulate; the
absolute value is free). Biases, norms, activations, pooling, interpolation, sums of maps and shifts count nothing.

Names stand in the table and classes in `LAYERS`, so that no method needs to be imported to be counted. A module can
also say itself what it costs, with a method ``count_cost(inputs, output) -> (mul, add)``: then the operators of its own
``forward`` are not counted, those of its children are.
"""

from collections.abc import Callable
from math import prod

from torch import nn

Count = tuple[int, int]
"""Multiplications, additions."""

OPERATORS: dict[str, Callable] = {}
"""Operator's name without overload, as 'aten::mm', to a rule (arguments, output) -> Count."""

LAYERS: dict[str, Callable] = {}
"""Class name, of a module or of a base class, to a rule (module, inputs, output) -> Count.

For layers whose arithmetic is no operator of torch's dispatcher.
"""

KNOWN_NAMESPACES = ('aten', 'prim', 'prims', 'profiler', 'mmdownstream')
"""Operators from elsewhere that have no rule are reported as uncounted."""


def counts(table: dict[str, Callable], *names: str) -> Callable:
    """Decorator: enter a rule under `names` in `OPERATORS` or `LAYERS`."""
    def enter(rule: Callable) -> Callable:
        table.update(dict.fromkeys(names, rule))
        return rule
    return enter


def multiply_adds(number: int) -> Count:
    """As many multiplications as additions."""
    return number, number


@counts(OPERATORS, 'aten::convolution', 'aten::_convolution')
def _convolution(args, output):
    image, weight, transposed = args[0], args[1], args[6]
    positions = image if transposed else output  # a transposed layer uses all its weights at each place of the input
    return multiply_adds(image.shape[0] * prod(positions.shape[2:]) * weight.numel())


@counts(OPERATORS, 'aten::mm', 'aten::bmm')
def _product(args, output):
    return multiply_adds(prod(args[0].shape) * args[1].shape[-1])


@counts(OPERATORS, 'aten::addmm', 'aten::baddbmm', 'aten::addbmm')
def _added_product(args, output):
    return _product(args[1:], output)


@counts(OPERATORS, 'aten::mv', 'aten::dot', 'aten::vdot')
def _vector_product(args, output):
    return multiply_adds(args[0].numel())


@counts(OPERATORS, 'aten::addmv')
def _added_vector_product(args, output):
    return _vector_product(args[1:], output)


@counts(OPERATORS, *(f'aten::_scaled_dot_product_{kind}' for kind in (
    'flash_attention', 'flash_attention_for_cpu', 'efficient_attention', 'cudnn_attention',
    'fused_attention_overrideable', 'attention_math_for_mps')))
def _attention(args, output):
    query, key, value = args[:3]  # (..., rows, channels); masked pairs count as well
    return multiply_adds(prod(query.shape[:-1]) * key.shape[-2] * (query.shape[-1] + value.shape[-1]))


@counts(OPERATORS, 'aten::mkldnn_rnn_layer')
def _recurrent_layer(args, output):
    steps, of_input, of_state = args[:3]  # (T, N, C) and both matrices
    return multiply_adds(prod(steps.shape[:2]) * (of_input.numel() + of_state.numel()))


@counts(OPERATORS, 'mmdownstream::adder2d')
def _adder(args, output):
    return 0, 2 * output.numel() * args[1][0].numel()


@counts(LAYERS, 'QuantAdder2d')
def _integer_adder(module, inputs, output):
    return 0, 2 * output.numel() * module.codes[0].numel()


@counts(LAYERS, 'DeformConv2d', 'ModulatedDeformConv2d')
def _deformable(module, inputs, output):
    return multiply_adds(output.numel() * module.weight[0].numel())  # the offsets' convolution is a child


def layer_rule(module: nn.Module) -> Callable | None:
    """The rule (inputs, output) -> Count of a module that is counted as a whole, or None."""
    own = getattr(module, 'count_cost', None)
    if own is not None:
        return own
    for kind in type(module).__mro__:
        if kind.__name__ in LAYERS:
            rule = LAYERS[kind.__name__]
            return lambda inputs, output: rule(module, inputs, output)
    return None
