// The table of inner loops that each instruction set fills; see adder2d_micro.h and quant_micro.h for the layouts.
#pragma once

// Destination of one int8 tile: row r goes to rows[r] (nullptr: there is no such row), `n` positions, as
// scale[r] * (sum + offset[r]) + bias[r].
struct SadTile {
  float* const* rows;
  const int* offset;
  const float *scale, *bias;
  int n;
};

// `count` results of a forward panel, from lane `lane` on, belong at `column` of an output row.
struct PanelRun {
  long column;
  int lane, count;
};

struct AdderKernels {
  const char* name;
  int mr;       // output channels per forward panel
  int grad_mr;  // input channels per input-gradient panel
  int nr;       // positions per panel, forward and backward
  int lanes;    // of a vector; what a shared row of positions holds beyond nr
  void (*forward)(long rows, int taps, const float* w, const float* x, const float* sum_w, const float* sum_x,
                  float* c, long ldc, int m, const PanelRun* runs, int run_count, bool first);
  void (*grad_hardtanh)(long k, const float* w, const float* g, const float* x, float* c, long ldc,
                        int m, int n, bool first);
  void (*grad_sign)(long k, const float* w, const float* g, const float* x, float* c, long ldc,
                    int m, int n, bool first);
  void (*pack_row)(const float* row, long panels, int vectors, long stride, float* out, float* sums);
  int sad_mr;  // output channels per int8 panel
  int sad_nr;  // positions per int8 panel
  void (*sad)(long words, const unsigned char* w, const unsigned char* x, const SadTile& tile);
  void (*quantise)(const float* const* channels, long n, float inverse_step, int lowest, int highest,
                   unsigned long long* words);
};

// Largest |partial sum| / |result| of the max identity that is accepted: at 32 it costs five of the 24 bits.
constexpr float kCancellation = 32.f;

// Scaled by this power of two, the difference of two floats that are zero or within the limits is zero or at least 1
// in magnitude (one unit in the last place of the smaller limit is 2^-100): its clamp to [-1, 1] is its sign.
constexpr float kSignScale = 0x1p100f, kSignSmallest = 0x1p-76f, kSignLargest = 0x1p27f;

const AdderKernels* adder_kernels_portable();
const AdderKernels* adder_kernels_avx2();    // nullptr where the compiler cannot target it
const AdderKernels* adder_kernels_avx512();  // likewise
