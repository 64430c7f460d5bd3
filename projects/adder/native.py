"""The compiled CPU kernels, where ``setup.py`` could build them; the same two functions as ``reference``.

The instruction set (AVX-512, AVX2 or portable) is the best that the processor has; the environment variable
``ADDER_CPU_ISA`` forces one.
"""

import importlib
import warnings

import torch  # noqa: F401  (the extension needs torch's libraries loaded)

try:
    _native = importlib.import_module('projects.adder._native')
except ImportError as error:
    _native, WHY_MISSING = None, str(error)
else:
    WHY_MISSING = ''

_warned = False


def available():
    """Whether the compiled kernels can be used."""
    return _native is not None


def warn_missing():
    """Says once a process that the slow reference serves, why, and what to do about it."""
    global _warned
    if not _warned:
        _warned = True
        warnings.warn(f'the compiled adder kernels are missing ({WHY_MISSING}): adder layers run on the slower '
                      'plain-torch reference. Build them with `pip install --no-build-isolation -e .` and a C++ '
                      'compiler.', stacklevel=3)


def forward(input, weight, stride, padding, dilation):
    """See :func:`reference.forward`; float32 on the CPU."""
    return _native.forward(input.contiguous(), weight.contiguous(), stride, padding, dilation)


def grad_input(grad_output, input, weight, stride, padding, dilation, sign):
    """See :func:`reference.grad_input`; float32 on the CPU."""
    return _native.grad_input(grad_output.contiguous(), input.contiguous(), weight.contiguous(), stride,
                              padding, dilation, sign)


def quant_panel():
    """Filters per panel of the packed int8 weights, for the instruction set in use."""
    return _native.quant_rows()


def quant_forward(input, packed, out_channels, kernel, stride, padding, dilation):
    """The int8 layer on weights packed by :mod:`.quant_functional`; (N, C_out, H_out, W_out)."""
    return _native.quant_forward(input.contiguous(), packed.weight, packed.rows, packed.panel_scale,
                                 packed.inverse_steps, packed.output_scale, packed.offset, packed.bias, out_channels,
                                 kernel, stride, padding, dilation, *packed.range)
