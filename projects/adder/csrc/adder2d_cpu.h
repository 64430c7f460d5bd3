// What bindings.cpp offers to Python; all tensors on the CPU.
#pragma once
#include <torch/extension.h>

#include "adder2d_kernels.h"

// Inner loops of the best instruction set of this processor, or of the one that ADDER_CPU_ISA names.
const AdderKernels& adder_kernels();

// -sum |x - w| of float32 (N, C, H, W) and (O, C, kH, kW).
at::Tensor adder2d_forward(const at::Tensor& input, const at::Tensor& weight, at::IntArrayRef stride,
                           at::IntArrayRef padding, at::IntArrayRef dilation);

// sum rule(w - x) * grad_output, the rule being the clamp to [-1, 1] or the sign.
at::Tensor adder2d_grad_input(const at::Tensor& grad_output, const at::Tensor& input, const at::Tensor& weight,
                              at::IntArrayRef stride, at::IntArrayRef padding, at::IntArrayRef dilation, bool sign);

// The int8 layer, see quant_adder2d_cpu.cpp.
at::Tensor quant_adder2d_forward(const at::Tensor& input, const at::Tensor& weight, const at::Tensor& rows,
                                 const at::Tensor& panel_scale, const at::Tensor& inverse_steps,
                                 const at::Tensor& output_scale, const at::Tensor& offset, const at::Tensor& bias,
                                 int64_t out_channels, at::IntArrayRef kernel, at::IntArrayRef stride,
                                 at::IntArrayRef padding, at::IntArrayRef dilation, int64_t lowest, int64_t highest);
