// Register-blocked inner loops of the adder layer (arXiv 1912.13200), written once and compiled once per
// instruction set: a file defines ADDER_ISA (a namespace name) and ADDER_LANES (16: AVX-512, 8: AVX2, 4: portable),
// raises the compiler's target, and includes this. The compiler's own __AVX2__ cannot serve: g++ reads the whole
// file before a target pragma takes effect.
// No standard headers here: an inline library function compiled for AVX-512 could be picked by the linker for
// a machine that has none.
//
// Layouts, all float32:
//   w  (k, MR)   one panel of MR output rows, row index fastest
//   x  (k, NR)   one panel of NR positions, position fastest; or, forward with several `taps`, (k / taps, NR + lanes):
//                the taps of a window's row are the same values, each one position further
//   c  MR rows, `ldc` apart, NR positions each; `m` x `n` of them exist, or those of `runs`
#pragma once
#include "adder2d_kernels.h"

#if ADDER_LANES > 4
#include <immintrin.h>
#endif

#include "quant_micro.h"

namespace ADDER_ISA {

#if ADDER_LANES == 16
constexpr int kMr = 8, kGradMr = 8, kNv = 2;
#elif ADDER_LANES == 8
constexpr int kMr = 3, kGradMr = 2, kNv = 3;  // measured on Zen 3: a third and a half faster than 4 x 2
#else
constexpr int kMr = 4, kGradMr = 2, kNv = 2;
#endif
constexpr int kLanes = ADDER_LANES, kNr = kLanes * kNv;

typedef float Vec __attribute__((vector_size(kLanes * 4), aligned(4)));
typedef int Mask __attribute__((vector_size(kLanes * 4), aligned(4)));

static inline Vec load(const float* p) { return *reinterpret_cast<const Vec*>(p); }
static inline void store(float* p, Vec v) { *reinterpret_cast<Vec*>(p) = v; }
static inline Vec splat(float v) { return v - Vec{}; }
// By a loop over registers: an initialiser of zeros makes g++ fill the array in memory first, which costs a twentieth.
template <int MR>
static inline void clear(Vec (&tile)[MR][kNv]) {
  for (int r = 0; r < MR; ++r)
    for (int v = 0; v < kNv; ++v) tile[r][v] = Vec{};
}
static inline Vec abs_(Vec v) { return (Vec)((Mask)v & 0x7fffffff); }

// The vector extension writes max as compare-and-blend; the instruction needs the intrinsic.
#if ADDER_LANES == 16
static inline Vec max_(Vec a, Vec b) { return (Vec)_mm512_max_ps((__m512)a, (__m512)b); }
static inline Vec min_(Vec a, Vec b) { return (Vec)_mm512_min_ps((__m512)a, (__m512)b); }
static inline Vec fma_(Vec a, Vec b, Vec c) {
  return (Vec)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
}
#elif ADDER_LANES == 8
static inline Vec max_(Vec a, Vec b) { return (Vec)_mm256_max_ps((__m256)a, (__m256)b); }
static inline Vec min_(Vec a, Vec b) { return (Vec)_mm256_min_ps((__m256)a, (__m256)b); }
static inline Vec fma_(Vec a, Vec b, Vec c) {
  return (Vec)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
}
#else
static inline Vec max_(Vec a, Vec b) { return a > b ? a : b; }
static inline Vec min_(Vec a, Vec b) { return a < b ? a : b; }
static inline Vec fma_(Vec a, Vec b, Vec c) { return a * b + c; }
#endif

// 1, in a register that the compiler cannot see through: a fused multiply-add by it rounds like an addition or a
// subtraction, but runs on the units that additions, max and min leave idle.
static inline Vec hidden_one() {
  Vec one = splat(1.f);
#if ADDER_LANES > 4
  asm("" : "+v"(one));
#endif
  return one;
}

// Writes or adds an MR x NR tile of results; an incomplete tile goes element by element.
template <int MR>
static inline void put(const Vec (&tile)[MR][kNv], float* c, long ldc, int m, int n, bool first) {
  if (m == MR && n == kNr) {
    for (int r = 0; r < MR; ++r)
      for (int v = 0; v < kNv; ++v) {
        float* p = c + r * ldc + v * kLanes;
        store(p, first ? tile[r][v] : load(p) + tile[r][v]);
      }
    return;
  }
  const float* flat = reinterpret_cast<const float*>(tile);
  for (int r = 0; r < m; ++r)
    for (int j = 0; j < n; ++j) {
      float* p = c + r * ldc + j;
      *p = flat[r * kNr + j] + (first ? 0.f : *p);
    }
}

// The same for the positions that `runs` names.
static inline void put_runs(const Vec (&tile)[kMr][kNv], float* c, long ldc, int m, const PanelRun* runs,
                            int run_count, bool first) {
  if (run_count == 1 && runs->count == kNr && m == kMr) return put<kMr>(tile, c + runs->column, ldc, m, kNr, first);
  float flat[kMr][kNr];
  for (int r = 0; r < kMr; ++r)
    for (int v = 0; v < kNv; ++v) store(flat[r] + v * kLanes, tile[r][v]);
  for (int i = 0; i < run_count; ++i)
    for (int r = 0; r < m; ++r) {
      float* p = c + r * ldc + runs[i].column;
      const float* values = flat[r] + runs[i].lane;
      for (int j = 0; j < runs[i].count; ++j) p[j] = values[j] + (first ? 0.f : p[j]);
    }
}

// -sum |x - w| by its definition: subtract, clear the sign, add.
static void forward_exact(long rows, int taps, const float* w, const float* x, float* c, long ldc, int m,
                          const PanelRun* runs, int run_count, bool first) {
  const long step = taps > 1 ? kNr + kLanes : kNr;
  Vec acc[kMr][kNv];
  clear(acc);
  for (long i = 0; i < rows; ++i, x += step)
    for (int tap = 0; tap < taps; ++tap, w += kMr) {
      Vec xv[kNv];
      for (int v = 0; v < kNv; ++v) xv[v] = load(x + tap + v * kLanes);
      for (int r = 0; r < kMr; ++r) {
        const Vec wv = splat(w[r]);
        for (int v = 0; v < kNv; ++v) acc[r][v] -= abs_(xv[v] - wv);
      }
    }
  put_runs(acc, c, ldc, m, runs, run_count, first);
}

// The same by sum |x - w| = 2 sum max(x, w) - sum x - sum w: one instruction less per element. The identity
// cancels when |x| and |w| are large beside |x - w|; then the tile is redone by definition.
template <int TAPS>
static void forward_max(long rows, int taps, const float* w, const float* x, const float* sum_w, const float* sum_x,
                        float* c, long ldc, int m, const PanelRun* runs, int run_count, bool first) {
  constexpr long kStep = TAPS > 1 ? kNr + kLanes : kNr;
  const float *const w_start = w, *const x_start = x;
  Vec acc[kMr][kNv];
  clear(acc);
  const Vec one = hidden_one();
  for (long i = 0; i < rows; ++i, x += kStep)
    for (int tap = 0; tap < TAPS; ++tap, w += kMr) {
      Vec xv[kNv];
      for (int v = 0; v < kNv; ++v) xv[v] = load(x + tap + v * kLanes);
      for (int r = 0; r < kMr; ++r) {
        const Vec wv = splat(w[r]);
        for (int v = 0; v < kNv; ++v) acc[r][v] = fma_(max_(xv[v], wv), one, acc[r][v]);
      }
    }
  Mask cancels = {};
  for (int r = 0; r < kMr; ++r) {
    const Vec sw = splat(sum_w[r]);
    for (int v = 0; v < kNv; ++v) {
      const Vec sx = load(sum_x + v * kLanes), twice = acc[r][v] + acc[r][v];
      const Vec result = (sx - twice) + sw;  // = -sum |x - w|
      // "not less", so that a NaN is redone by definition as well
      cancels |= ~(max_(abs_(twice), max_(abs_(sx), abs_(sw))) <= kCancellation * abs_(result));
      acc[r][v] = result;
    }
  }
  int any = 0;
  for (int r = 0; r < kLanes; ++r) any |= cancels[r];
  if (any)
    forward_exact(rows, taps, w_start, x_start, c, ldc, m, runs, run_count, first);
  else
    put_runs(acc, c, ldc, m, runs, run_count, first);
}

static void forward(long rows, int taps, const float* w, const float* x, const float* sum_w, const float* sum_x,
                    float* c, long ldc, int m, const PanelRun* runs, int run_count, bool first) {
  const auto kernel = taps == 3 ? forward_max<3> : taps == 5 ? forward_max<5> : forward_max<1>;
  kernel(rows, taps, w, x, sum_w, sum_x, c, ldc, m, runs, run_count, first);
}

// sum clamp(w - x, -1, 1) * g; x (MR, NR) stays, k runs over (output channel, tap).
static void grad_hardtanh(long k, const float* w, const float* g, const float* x, float* c, long ldc, int m, int n,
                          bool first) {
  Vec acc[kGradMr][kNv];
  clear(acc);
  const Vec one = hidden_one(), minus_one = splat(-1.f);
  for (long i = 0; i < k; ++i) {
    Vec gv[kNv];
    for (int v = 0; v < kNv; ++v) gv[v] = load(g + i * kNr + v * kLanes);
    for (int r = 0; r < kGradMr; ++r) {
      const Vec wv = splat(w[i * kGradMr + r]);
      for (int v = 0; v < kNv; ++v) {
        const Vec difference = fma_(-load(x + r * kNr + v * kLanes), one, wv);
        // operands in this order let a NaN difference through
        acc[r][v] = fma_(min_(one, max_(minus_one, difference)), gv[v], acc[r][v]);
      }
    }
  }
  put<kGradMr>(acc, c, ldc, m, n, first);
}

// sum sign(w - x) * g for values out of the range in which grad_hardtanh can do it (see kSignScale).
static void grad_sign(long k, const float* w, const float* g, const float* x, float* c, long ldc, int m, int n,
                      bool first) {
  Vec acc[kGradMr][kNv];
  clear(acc);
  for (long i = 0; i < k; ++i)
    for (int r = 0; r < kGradMr; ++r) {
      const Vec wv = splat(w[i * kGradMr + r]);
      for (int v = 0; v < kNv; ++v) {
        const Vec gv = load(g + i * kNr + v * kLanes), xv = load(x + r * kNr + v * kLanes);
        acc[r][v] += (Vec)((Mask)(wv > xv) & (Mask)gv) - (Vec)((Mask)(wv < xv) & (Mask)gv);
      }
    }
  put<kGradMr>(acc, c, ldc, m, n, first);
}

// One row of a tile into its place in every panel, `stride` apart, `vectors` of it (kNv, or one more where panels share
// values with the next); adds it to `sums`, if there are any.
static void pack_row(const float* row, long panels, int vectors, long stride, float* out, float* sums) {
  for (long p = 0; p < panels; ++p, row += kNr, out += stride) {
    for (int v = 0; v < vectors; ++v) store(out + v * kLanes, load(row + v * kLanes));
    if (sums == nullptr) continue;
    for (int v = 0; v < vectors; ++v) store(sums + v * kLanes, load(sums + v * kLanes) + load(row + v * kLanes));
    sums += vectors * kLanes;
  }
}

#if ADDER_LANES == 16
constexpr const char* kName = "avx512";
#elif ADDER_LANES == 8
constexpr const char* kName = "avx2";
#else
constexpr const char* kName = "portable";
#endif

static const AdderKernels kKernels = {
    kName, kMr, kGradMr, kNr, kLanes, forward, grad_hardtanh, grad_sign, pack_row, kSadMr, kSadNr, sad, quantise,
};

}  // namespace ADDER_ISA
