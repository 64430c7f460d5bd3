// The adder layer's inner loops for any processor: four lanes, which SSE2 and NEON both have.
#define ADDER_ISA adder_portable
#define ADDER_LANES 4
#include "adder2d_micro.h"
const AdderKernels* adder_kernels_portable() { return &adder_portable::kKernels; }
