// The adder layer's inner loops for AVX2.
#if defined(__x86_64__)
#pragma GCC target("avx2,fma")
#define ADDER_ISA adder_avx2
#define ADDER_LANES 8
#include "adder2d_micro.h"
const AdderKernels* adder_kernels_avx2() { return &adder_avx2::kKernels; }
#else
#include "adder2d_kernels.h"
const AdderKernels* adder_kernels_avx2() { return nullptr; }
#endif
