// Inner loops of the int8 adder layer (arXiv 2101.10015, 2212.10200): sums of absolute differences of bytes. Compiled
// once per instruction set, see adder2d_micro.h.
//
// Layouts: a word is 8 bytes, the codes of 8 channels at one position and tap.
//   w  (words, SAD_MR, 8)   one panel of filters
//   x  (words, SAD_NR, 8)   one panel of positions
#pragma once
#include "adder2d_kernels.h"

namespace ADDER_ISA {

// 3 x 3: nine sums of which none leaves its register; with four and more rows g++ 12 spills them, at half the speed.
#if ADDER_LANES == 16
constexpr int kSadMr = 3, kSadNv = 3, kWords = 8;
typedef __m512i Bytes;
static inline Bytes load_bytes(const unsigned char* p) { return _mm512_loadu_si512(p); }
static inline void store_bytes(long long* p, Bytes v) { _mm512_storeu_si512(p, v); }
static inline Bytes splat_word(const unsigned char* p) {
  return _mm512_set1_epi64(*reinterpret_cast<const long long __attribute__((may_alias, aligned(1)))*>(p));
}
static inline Bytes add_sad(Bytes sum, Bytes a, Bytes b) { return _mm512_add_epi32(sum, _mm512_sad_epu8(a, b)); }
#elif ADDER_LANES == 8
constexpr int kSadMr = 3, kSadNv = 3, kWords = 4;
typedef __m256i Bytes;
static inline Bytes load_bytes(const unsigned char* p) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
}
static inline void store_bytes(long long* p, Bytes v) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), v); }
static inline Bytes splat_word(const unsigned char* p) {
  return _mm256_set1_epi64x(*reinterpret_cast<const long long __attribute__((may_alias, aligned(1)))*>(p));
}
static inline Bytes add_sad(Bytes sum, Bytes a, Bytes b) { return _mm256_add_epi32(sum, _mm256_sad_epu8(a, b)); }
#else
constexpr int kSadMr = 4, kSadNv = 2, kWords = 2;
#endif
constexpr int kSadNr = kSadNv * kWords;

#if ADDER_LANES > 4
// A function of its own: inlined into what reads the sums, g++ 12 keeps them in memory throughout the loop.
__attribute__((noinline)) static void sum_words(long words, const unsigned char* w, const unsigned char* x,
                                                long long* sums) {
  Bytes acc[kSadMr][kSadNv];
  for (int r = 0; r < kSadMr; ++r)
    for (int v = 0; v < kSadNv; ++v) acc[r][v] = Bytes{};
  for (long i = 0; i < words; ++i) {
    Bytes xv[kSadNv];
    for (int v = 0; v < kSadNv; ++v) xv[v] = load_bytes(x + (i * kSadNv + v) * kWords * 8);
    for (int r = 0; r < kSadMr; ++r) {
      const Bytes wv = splat_word(w + (i * kSadMr + r) * 8);
      for (int v = 0; v < kSadNv; ++v) acc[r][v] = add_sad(acc[r][v], xv[v], wv);
    }
  }
  for (int r = 0; r < kSadMr; ++r)
    for (int v = 0; v < kSadNv; ++v) store_bytes(sums + (r * kSadNv + v) * kWords, acc[r][v]);
}
#else
static void sum_words(long words, const unsigned char* w, const unsigned char* x, long long* sums) {
  for (int r = 0; r < kSadMr; ++r)
    for (int j = 0; j < kSadNr; ++j) {
      int sum = 0;
      for (long i = 0; i < words; ++i) {
        const unsigned char *a = w + (i * kSadMr + r) * 8, *b = x + (i * kSadNr + j) * 8;
        for (int c = 0; c < 8; ++c) sum += a[c] > b[c] ? a[c] - b[c] : b[c] - a[c];
      }
      sums[r * kSadNr + j] = sum;
    }
}
#endif

// One tile; the results by the same operations in the same order as in QuantAdder2d's simulation.
static void sad(long words, const unsigned char* w, const unsigned char* x, const SadTile& tile) {
  long long sums[kSadMr * kSadNr];
  sum_words(words, w, x, sums);
  for (int r = 0; r < kSadMr; ++r) {
    if (tile.rows[r] == nullptr) continue;
    float* out = tile.rows[r];
    const int offset = tile.offset[r];
    const float scale = tile.scale[r], bias = tile.bias[r];
    const long long* row = sums + r * kSadNr;
    if (tile.n == kSadNr)
      for (int j = 0; j < kSadNr; ++j) out[j] = scale * (float)((int)row[j] + offset) + bias;
    else
      for (int j = 0; j < tile.n; ++j) out[j] = scale * (float)((int)row[j] + offset) + bias;
  }
}

// The low byte of the sum of a float within +-2^22 and this is its nearest integer, ties to even.
static inline unsigned code(float v, float inverse_step, float lowest, float highest) {
  v *= inverse_step;
  v = v < highest ? v : highest;
  v = v > lowest ? v : lowest;
  v += 0x1.8p23f;
  unsigned bits;
  __builtin_memcpy(&bits, &v, 4);
  return bits;
}

// Codes, less the lowest of them, of 8 channels at n positions, as words.
static void quantise(const float* const* channels, long n, float inverse_step, int lowest, int highest,
                     unsigned long long* words) {
  const float *c0 = channels[0], *c1 = channels[1], *c2 = channels[2], *c3 = channels[3];
  const float *c4 = channels[4], *c5 = channels[5], *c6 = channels[6], *c7 = channels[7];
  const float low = lowest, high = highest;
  const unsigned shift = lowest;
  for (long i = 0; i < n; ++i) {
    const auto byte = [&](const float* c) { return (code(c[i], inverse_step, low, high) - shift) & 255u; };
    const unsigned first = byte(c0) | byte(c1) << 8 | byte(c2) << 16 | byte(c3) << 24;
    const unsigned second = byte(c4) | byte(c5) << 8 | byte(c6) << 16 | byte(c7) << 24;
    words[i] = first | (unsigned long long)second << 32;
  }
}

}  // namespace ADDER_ISA
