// The table of inner loops that each instruction set fills; see adder2d_micro.h for the layouts.
#pragma once

struct AdderKernels {
  int mr;       // output channels per forward panel
  int grad_mr;  // input channels per input-gradient panel
  int nr;       // positions per panel, forward and backward
  void (*forward)(long k, const float* w, const float* x, const float* sum_w, const float* sum_x,
                  float* c, long ldc, int m, int n, bool first);
  void (*grad_hardtanh)(long k, const float* w, const float* g, const float* x, float* c, long ldc,
                        int m, int n, bool first);
  void (*grad_sign)(long k, const float* w, const float* g, const float* x, float* c, long ldc,
                    int m, int n, bool first);
};

// Largest |partial sum| / |result| of the max identity that is accepted: at 32 it costs five of the 24 bits.
constexpr float kCancellation = 32.f;

// Scaled by this power of two, the difference of two floats that are zero or within the limits is zero or at least 1
// in magnitude (one unit in the last place of the smaller limit is 2^-100): its clamp to [-1, 1] is its sign.
constexpr float kSignScale = 0x1p100f, kSignSmallest = 0x1p-76f, kSignLargest = 0x1p27f;

const AdderKernels* adder_kernels_portable();
const AdderKernels* adder_kernels_avx2();    // nullptr where the compiler cannot target it
const AdderKernels* adder_kernels_avx512();  // likewise
