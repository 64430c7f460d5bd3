// The adder layer's inner loops for AVX-512.
#if defined(__x86_64__)
#pragma GCC target("avx512f,avx512dq,avx512vl,avx512bw,avx2,fma")
#define ADDER_ISA adder_avx512
#define ADDER_LANES 16
#include "adder2d_micro.h"
const AdderKernels* adder_kernels_avx512() { return &adder_avx512::kKernels; }
#else
#include "adder2d_kernels.h"
const AdderKernels* adder_kernels_avx512() { return nullptr; }
#endif
