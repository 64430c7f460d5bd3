"""ONNX export of networks with adder layers (arXiv 1912.13200), in operators of the standard domain alone.

ONNX has no l1 distance between windows and filters, and the obvious graph makes a tensor of size C_out x columns. Here
nested Scans keep every temporary small, so that it also stays in the processor's caches:

    for each row of the output: its windows, one vector of K = kH * kW * C values a position
        for each group of filters, where all of them together exceed TILE_ELEMENTS
            for each tile of positions: ReduceSum(Abs(windows - filters)), (positions, filters)

Nothing larger than kH strided copies of the input, the columns of one row and one tile is made. Batch size, height and
width may be dynamic. The integer layer (arXiv 2101.10015 and 2212.10200) is the same graph on codes held in floats,
in float64 where float32 could not add them exactly.
"""

import math
import os
import tempfile
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path

import torch

from .quant_functional import EXACT_INTEGERS, code_range

TILE_ELEMENTS = 1 << 18  # differences of a tile: 1 MiB of float32, about what a core's second-level cache holds
TO_THE_END = 2 ** 63 - 1  # of an axis, for Slice


class _Writer:
    """Writes nodes, ``write(operator, *inputs, **attributes)``, into the exporter's graph, or into a Scan's body.

    Args:
        name (str): of a body, first part of the names in it.
        outer (_Writer, optional): of the graph around a body; without, the exporter's graph.
    """

    def __init__(self, name='', outer=None):
        from onnxscript import ir, opset18
        self.name, self.tape, self.opset = name, ir.tape.Tape() if outer else None, opset18
        # Constants are written once a layer, outside of all bodies, which see them.
        self.ints = outer.ints if outer else cache(lambda *values: self('Constant', value_ints=values))

    def __call__(self, kind, *inputs, **attributes):
        if self.tape is None:
            return getattr(self.opset, kind)(*inputs, **attributes)
        output = self.tape.op(kind, inputs, attributes)
        output.name = f'{self.name}_{len(self.tape.nodes)}'  # nested graphs must not share names
        return output

    def scan(self, name, step, sequences, dtype):
        """Results of ``step(write, *items)`` for the items along axis 0 of the sequences, stacked along axis 0.

        ``sequences`` are pairs of a value and its type; ``dtype`` is the type of the result.
        """
        from onnxscript import ir
        write = _Writer(name, self)
        items = [ir.Value(name=f'{name}_item_{i}', type=ir.TensorType(kind)) for i, (_, kind) in enumerate(sequences)]
        result = step(write, *items)
        result.type = ir.TensorType(dtype)
        body = ir.Graph(items, [result], nodes=write.tape.nodes, name=f'{name}_body')
        return self('Scan', *(value for value, _ in sequences), body=body, num_scan_inputs=len(sequences))


def _taps(write, x, axis, kernel, stride, dilation):
    """For each position of a window, what it sees along an axis of ``x``; as long as the output."""
    if (kernel, stride) == (1, 1):
        return [x]
    ends = [dilation * (tap - kernel + 1) or TO_THE_END for tap in range(kernel)]
    return [write('Slice', x, *map(write.ints, (tap * dilation, end, axis, stride))) for tap, end in enumerate(ends)]


def _tiles(write, vectors, most):
    """(M, S, K) as (tiles, positions, S, K): as few tiles as ``most`` positions allow, of equal size, zeros at the end.

    Returns the tiles and M.
    """
    count = write('Shape', vectors, start=0, end=1)
    tiles = write('Div', write('Add', count, write.ints(most - 1)), write.ints(most))
    positions = write('Div', write('Sub', write('Add', count, tiles), write.ints(1)), tiles)
    missing = write('Sub', write('Mul', tiles, positions), count)
    filled = write('Pad', vectors, write('Concat', write.ints(0, 0, 0), missing, write.ints(0, 0), axis=0))
    shape = write('Concat', tiles, positions, write('Shape', vectors, start=1), axis=0)
    return write('Reshape', filled, shape), count


def _distance(filters, scale_index, write, tile):
    """sum |x - w|, (P, F), of a tile (P, S, K) and filters (F, K)."""
    if scale_index is not None:
        tile = write('Gather', tile, scale_index, axis=1)
    return write('ReduceSum', write('Abs', write('Sub', tile, filters)), write.ints(-1), keepdims=0)


class _Layer:
    """The graph of sum |x - w|, (N, C_out, H_out, W_out).

    Args:
        shape: of the filters, (C_out, C, kH, kW).
        geometry: stride, padding, dilation, two integers each.
        dtype (ir.DataType): to compute in.
        encode (function, optional): ``encode(write, columns)`` gives integers (M, S, K), of that type, for columns
            (M, 1, K).
        scale_index (ir.Value, optional): (C_out,), which of the S a filter takes; not needed where S is 1.
    """

    def __init__(self, shape, geometry, dtype, encode=None, scale_index=None):
        self.out_channels, channels, *self.kernel = shape
        self.stride, self.padding, self.dilation = geometry
        self.dtype, self.encode, self.scale_index = dtype, encode, scale_index
        self.elements = channels * math.prod(self.kernel)
        self.filters = max(f for f in range(1, self.out_channels + 1) if self.out_channels % f == 0
                           and (f == 1 or f * self.elements <= TILE_ELEMENTS))
        self.positions = max(1, TILE_ELEMENTS // (self.filters * self.elements))

    def add_to(self, write, input, weight):
        """Writes the layer for an input (N, C, H, W) and filters of ``dtype``; returns its output."""
        x = write('Transpose', input, perm=[2, 0, 3, 1])
        if any(self.padding):
            border = (self.padding[0], 0, self.padding[1], 0)
            x = write('Pad', x, write.ints(*border, *border))
        rows = _taps(write, x, 0, self.kernel[0], self.stride[0], self.dilation[0])
        weight = write('Transpose', weight, perm=[0, 2, 3, 1])
        banks = [(self._grouped(write, weight, self.elements), self.dtype)]
        if self.scale_index is not None:
            banks.append((self._grouped(write, self.scale_index), self.scale_index.dtype))
        output = write.scan('row', partial(self._row, banks), [(row, input.dtype) for row in rows], self.dtype)
        batch = write('Shape', input, start=0, end=1)
        shape = write('Concat', write.ints(0), batch, write.ints(-1, self.out_channels), axis=0)
        return write('Transpose', write('Reshape', output, shape), perm=[1, 3, 0, 2])

    def _grouped(self, write, value, *size):
        """Values of the filters, (groups, filters, *size); without the first axis where there is one group."""
        groups = self.out_channels // self.filters
        return write('Reshape', value, write.ints(*([groups] if groups > 1 else []), self.filters, *size))

    def _row(self, banks, write, *rows):
        """(N * W_out, C_out) of an output row, from the input rows (N, W, C) that it sees."""
        taps = [tap for row in rows for tap in _taps(
            write, row, 1, self.kernel[1], self.stride[1], self.dilation[1])]
        columns = write('Concat', *taps, axis=-1) if len(taps) > 1 else taps[0]
        columns = write('Reshape', columns, write.ints(-1, 1, self.elements))
        if self.encode:
            columns = self.encode(write, columns)
        tiles, count = _tiles(write, columns, self.positions)
        if self.filters == self.out_channels:
            output = self._group(tiles, write, *(value for value, _ in banks))
        else:
            output = write.scan('group', partial(self._group, tiles), banks, self.dtype)
            output = write('Transpose', output, perm=[1, 2, 0, 3])
        output = write('Reshape', output, write.ints(-1, self.out_channels))
        return write('Slice', output, write.ints(0), count, write.ints(0))

    def _group(self, tiles, write, filters, scale_index=None):
        """(tiles, positions, F) for a group of filters (F, K)."""
        return write.scan('tile', partial(_distance, filters, scale_index), [(tiles, self.dtype)], self.dtype)


def _translate_adder2d(input, weight, stride, padding, dilation, sign, eta, backend):
    layer = _Layer(weight.shape, (stride, padding, dilation), input.dtype)
    write = _Writer()
    return write('Neg', layer.add_to(write, input, weight))


def _translate_quant_adder2d(input, codes, steps, scale_index, signed, bias, stride, padding, dilation, bits,
                             simulated):
    from onnxscript.ir import DataType
    exact = math.prod(codes.shape[1:]) * 2 ** (bits + 2) < EXACT_INTEGERS
    dtype = DataType.FLOAT if exact else DataType.DOUBLE
    write = _Writer()

    def choose(*values):
        return write('Where', signed, *(write('Constant', value_float=float(value)) for value in values))

    lowest, highest = map(choose, code_range(True, bits), code_range(False, bits))
    inverse_steps = write('Reshape', write('Div', write('Constant', value_float=1.), steps), write.ints(-1, 1))

    def encode(write, columns):
        integers = write('Round', write('Clip', write('Mul', columns, inverse_steps), lowest, highest))
        return integers if exact else write('Cast', integers, to=dtype)

    integers = write('Mul', write('Cast', codes, to=dtype), write('Cast', choose(1, 2), to=dtype))
    layer = _Layer(codes.shape, (stride, padding, dilation), dtype, encode, scale_index if steps.shape[0] > 1 else None)
    sums = write('Cast', layer.add_to(write, input, integers), to=DataType.FLOAT)
    step, bias = (write('Reshape', value, write.ints(-1, 1, 1)) for value in (
        write('Gather', steps, scale_index), bias))
    return write('Sub', bias, write('Mul', sums, step))


def _require_packages():
    missing = [name for name in ('onnx', 'onnxscript') if find_spec(name) is None]
    if missing:
        raise ImportError(f'ONNX export needs {" and ".join(missing)}, not installed here: '
                          "`pip install onnx onnxscript`, or `pip install 'mmdownstream[onnx]'`")


def translation_table():
    """Translations of the adder operators, for ``torch.onnx.export(custom_translation_table=...)``.

    Returns:
        dict[OpOverload, function]: for ``mmdownstream::adder2d`` and ``mmdownstream::quant_adder2d``.

    Raises:
        ImportError: onnx or onnxscript is missing.
    """
    _require_packages()
    operators = torch.ops.mmdownstream
    return {operators.adder2d.default: _translate_adder2d, operators.quant_adder2d.default: _translate_quant_adder2d}


def export_onnx(model, inputs, file, *, custom_translation_table=None, **kwargs):
    """Writes a model with adder layers as an ONNX file that any runtime of the standard operators reads.

    Args:
        model (nn.Module or ExportedProgram): a module should be in evaluation mode.
        inputs (Tensor or tuple): example inputs.
        file (str or Path): to write; it appears when it is complete.
        custom_translation_table (dict, optional): translations of other operators; they win over those here.
        **kwargs: of ``torch.onnx.export``, such as ``dynamic_shapes``, ``input_names``, ``opset_version``. Weights are
            kept inside of the file unless ``external_data=True``, or they exceed what one file can hold (2 GB).

    Returns:
        torch.onnx.ONNXProgram: what the file holds.

    Raises:
        ImportError: onnx or onnxscript is missing.
    """
    kwargs['custom_translation_table'] = translation_table() | (custom_translation_table or {})
    kwargs.setdefault('external_data', False)
    inputs, file = (inputs,) if isinstance(inputs, torch.Tensor) else tuple(inputs), Path(file)
    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f'.{file.name}.', dir=file.parent) as folder, torch.no_grad():
        program = torch.onnx.export(model, inputs, Path(folder) / file.name, dynamo=True, **kwargs)
        for part in sorted(Path(folder).iterdir(), key=lambda part: part.name == file.name):  # the model last
            os.replace(part, file.parent / part.name)
    return program
