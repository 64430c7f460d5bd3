// Compiled CPU kernels of the 2D adder layer (arXiv 1912.13200): forward and input gradient, float32.
//
// Both are matrix-product-shaped loops with another inner operation, so both are blocked like a matrix product:
// the reduction in blocks of kDepth, positions in tiles that fit the cache (packed on the fly, no column buffer
// beyond a tile), output rows in panels of registers. Threads share positions, and rows where positions are few.
// Every output element is summed in one fixed order whatever the number of threads: results are deterministic.
#include <ATen/Parallel.h>
#include <torch/extension.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "adder2d_kernels.h"

namespace {

constexpr int64_t kDepth = 256;   // reduction block: a panel of weights stays in the first-level cache
constexpr int64_t kTile = 192;    // positions per packed tile; a multiple of every kernel's nr (8, 16, 32)

struct Choice {
  std::string name;
  const AdderKernels* kernels;
};

bool supported(const std::string& isa) {
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (isa == "avx512")
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw");
  if (isa == "avx2") return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#endif
  return isa == "portable";
}

const AdderKernels* table(const std::string& isa) {
  if (isa == "avx512") return adder_kernels_avx512();
  if (isa == "avx2") return adder_kernels_avx2();
  return adder_kernels_portable();
}

// Best instruction set of this processor, or the one that ADDER_CPU_ISA asks for. Read at every call: a test can
// switch it, and reading a variable costs nothing beside a layer.
Choice choose() {
  const char* forced = std::getenv("ADDER_CPU_ISA");
  if (forced != nullptr && *forced != '\0') {
    const std::string isa(forced);
    TORCH_CHECK(isa == "avx512" || isa == "avx2" || isa == "portable", "ADDER_CPU_ISA=", isa,
                ": expected avx512, avx2 or portable; unset it to let the processor decide");
    TORCH_CHECK(supported(isa) && table(isa) != nullptr, "ADDER_CPU_ISA=", isa,
                ": this processor or build does not have it; unset it to let the processor decide");
    return {isa, table(isa)};
  }
  for (const char* isa : {"avx512", "avx2"})
    if (supported(isa) && table(isa) != nullptr) return {isa, table(isa)};
  return {"portable", adder_kernels_portable()};
}

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// A plane of values and the step between two neighbouring positions of a grid laid over it.
struct Plane {
  int64_t height, width, step_y, step_x;
};

// Where one tap of the window reads: row = u * step_y + y, column = v * step_x + x, for grid position (u, v).
struct Tap {
  int64_t y, x;
};

// Values of `tap` at grid positions [begin, begin + count) of a grid `grid_width` wide; zero outside the plane.
void gather(const float* data, const Plane& plane, Tap tap, int64_t grid_width, int64_t begin, int64_t count,
            float* row) {
  // columns of the grid whose source column lies inside the plane
  const int64_t first = tap.x < 0 ? ceil_div(-tap.x, plane.step_x) : 0;
  const int64_t last = plane.width - 1 < tap.x ? -1 : (plane.width - 1 - tap.x) / plane.step_x;
  int64_t u = begin / grid_width, v = begin % grid_width;
  for (float* end = row + count; row < end; ++u, v = 0) {
    const int64_t run = std::min<int64_t>(grid_width - v, end - row), y = u * plane.step_y + tap.y;
    const bool inside = y >= 0 && y < plane.height;
    const int64_t from = inside ? std::min(std::max<int64_t>(first - v, 0), run) : run;
    const int64_t to = inside ? std::max(std::min(last - v + 1, run), from) : run;
    std::fill(row, row + from, 0.f);
    if (from < to) {
      const float* src = data + y * plane.width + (v + from) * plane.step_x + tap.x;
      if (plane.step_x == 1)
        std::memcpy(row + from, src, (to - from) * sizeof(float));
      else
        for (int64_t i = from; i < to; ++i, src += plane.step_x) row[i] = *src;
    }
    std::fill(row + to, row + run, 0.f);
    row += run;
  }
}

// The way back: positions [begin, begin + count), in panels of nr that lie `panel_stride` apart, into the plane.
void scatter(const float* panels, int64_t panel_stride, int nr, const Plane& plane, Tap tap, int64_t grid_width,
             int64_t begin, int64_t count, float* data) {
  if (plane.step_y == 1 && plane.step_x == 1) {  // the grid is the plane
    for (int64_t i = 0; i < count; i += nr, panels += panel_stride)
      std::memcpy(data + begin + i, panels, std::min<int64_t>(nr, count - i) * sizeof(float));
    return;
  }
  int64_t u = begin / grid_width, v = begin % grid_width;
  for (int64_t i = 0; i < count; i += nr, panels += panel_stride)
    for (int64_t j = 0; j < std::min<int64_t>(nr, count - i); ++j) {
      data[(u * plane.step_y + tap.y) * plane.width + v * plane.step_x + tap.x] = panels[j];
      if (++v == grid_width) v = 0, ++u;
    }
}

// Row k of a tile of `count` positions, as panels (panel, depth, NR); the tail of the last panel is zero.
template <int NR>
void to_panels(const float* row, int64_t count, int64_t depth, int64_t k, float* panels) {
  float* dst = panels + k * NR;
  for (; count >= NR; count -= NR, row += NR, dst += depth * NR) std::memcpy(dst, row, NR * sizeof(float));
  if (count > 0) std::fill(std::copy(row, row + count, dst), dst + NR, 0.f);
}

void to_panels(const float* row, int64_t count, int64_t depth, int64_t k, int nr, float* panels) {
  if (nr == 8) return to_panels<8>(row, count, depth, k, panels);
  if (nr == 16) return to_panels<16>(row, count, depth, k, panels);
  to_panels<32>(row, count, depth, k, panels);
}

// Weights as (block, panel, kDepth, mr) with zero rows at the end, and their sums per block and row.
struct PackedWeight {
  int64_t rows, depth, blocks, panels;
  int mr;
  std::vector<float> data, sums;

  const float* panel(int64_t block, int64_t p) const {
    return data.data() + (block * panels + p) * kDepth * mr;
  }
  const float* sum(int64_t block, int64_t p) const { return sums.data() + (block * panels + p) * mr; }
  int64_t block_depth(int64_t block) const { return std::min(kDepth, depth - block * kDepth); }
};

// Element (row, k) lies at column(k) + row * row_stride.
template <typename Column>
PackedWeight pack_weight(int64_t rows, int64_t depth, int mr, int64_t row_stride, float scale, const Column& column) {
  PackedWeight packed{rows, depth, ceil_div(depth, kDepth), ceil_div(rows, mr), mr, {}, {}};
  packed.data.resize(packed.blocks * packed.panels * kDepth * mr);
  packed.sums.assign(packed.blocks * packed.panels * mr, 0.f);
  at::parallel_for(0, packed.blocks * packed.panels, 4, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t block = i / packed.panels, first = i % packed.panels * mr;
      const int64_t held = std::min<int64_t>(mr, rows - first), length = packed.block_depth(block);
      float* data = packed.data.data() + i * kDepth * mr;
      float* sums = packed.sums.data() + i * mr;
      for (int64_t k = 0; k < length; ++k, data += mr) {
        const float* source = column(block * kDepth + k) + first * row_stride;
        for (int64_t r = 0; r < held; ++r) sums[r] += data[r] = scale * source[r * row_stride];
      }
    }
  });
  return packed;
}

// Splits `images` x `positions` into tiles, and the row panels into groups where tiles are too few for the threads.
struct Schedule {
  int64_t images, positions, tiles, groups, panels;
  Schedule(int64_t images, int64_t positions, int64_t panels)
      : images(images), positions(positions), tiles(ceil_div(positions, kTile)), groups(1), panels(panels) {
    const int64_t wanted = 4 * at::get_num_threads();
    if (images * tiles < wanted) groups = std::min(panels, ceil_div(wanted, images * tiles));
  }
  template <typename Body>
  void run(const Body& body) const {
    at::parallel_for(0, images * tiles * groups, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t image = i / (tiles * groups), tile = i / groups % tiles, group = i % groups;
        const int64_t start = tile * kTile;
        body(image, start, std::min(kTile, positions - start), panels * group / groups,
             panels * (group + 1) / groups);
      }
    });
  }
};

struct Shape {
  int64_t n, c, h, w;              // input
  int64_t t, kh, kw;               // output channels, window
  int64_t sy, sx, py, px, dy, dx;  // stride, padding, dilation
  int64_t oh, ow;                  // output
};

Shape shape_of(const at::Tensor& input, const at::Tensor& weight, at::IntArrayRef stride,
               at::IntArrayRef padding, at::IntArrayRef dilation) {
  for (const at::Tensor& tensor : {input, weight})
    TORCH_CHECK(tensor.scalar_type() == at::kFloat && tensor.device().is_cpu() && tensor.is_contiguous(),
                "adder2d: the compiled kernel takes contiguous float32 tensors on the CPU");
  Shape s{input.size(0),   input.size(1),   input.size(2), input.size(3), weight.size(0),
          weight.size(2),  weight.size(3),  stride[0],     stride[1],     padding[0],
          padding[1],      dilation[0],     dilation[1],   0,             0};
  s.oh = (s.h + 2 * s.py - s.dy * (s.kh - 1) - 1) / s.sy + 1;
  s.ow = (s.w + 2 * s.px - s.dx * (s.kw - 1) - 1) / s.sx + 1;
  return s;
}

// Packs one reduction block of a tile: row k of the block is written by `fill(k, row)`. Adds rows up in `sums`.
template <typename Fill>
void pack_tile(int64_t depth, int64_t count, int nr, const Fill& fill, float* panels, float* sums) {
  float row[kTile];
  if (sums != nullptr) std::fill(sums, sums + kTile, 0.f);
  for (int64_t k = 0; k < depth; ++k) {
    fill(k, row);
    to_panels(row, count, depth, k, nr, panels);
    if (sums != nullptr)
      for (int64_t i = 0; i < count; ++i) sums[i] += row[i];
  }
}

at::Tensor forward(const at::Tensor& input, const at::Tensor& weight, at::IntArrayRef stride,
                   at::IntArrayRef padding, at::IntArrayRef dilation) {
  const Shape s = shape_of(input, weight, stride, padding, dilation);
  const AdderKernels& kernels = *choose().kernels;
  at::Tensor output = at::empty({s.n, s.t, s.oh, s.ow}, input.options());
  const int64_t depth = s.c * s.kh * s.kw, positions = s.oh * s.ow, window = s.kh * s.kw;
  if (output.numel() == 0) return output;
  const float* x = input.const_data_ptr<float>();
  const float* w = weight.const_data_ptr<float>();
  float* y = output.mutable_data_ptr<float>();
  const PackedWeight packed =
      pack_weight(s.t, depth, kernels.mr, depth, 1.f, [&](int64_t k) { return w + k; });
  const Plane plane{s.h, s.w, s.sy, s.sx};
  Schedule(s.n, positions, packed.panels).run([&](int64_t image, int64_t start, int64_t count, int64_t first_panel,
                                                  int64_t last_panel) {
    thread_local std::vector<float> panels;
    panels.resize(kDepth * kTile);
    float sums[kTile];
    for (int64_t block = 0; block < packed.blocks; ++block) {
      const int64_t length = packed.block_depth(block);
      const auto fill = [&](int64_t k, float* row) {
        const int64_t element = block * kDepth + k, channel = element / window, tap = element % window;
        gather(x + (image * s.c + channel) * s.h * s.w, plane,
               {tap / s.kw * s.dy - s.py, tap % s.kw * s.dx - s.px}, s.ow, start, count, row);
      };
      pack_tile(length, count, kernels.nr, fill, panels.data(), sums);
      // a panel of positions, the larger of the two, stays in the first-level cache; those of weights stream by
      for (int64_t q = 0; q * kernels.nr < count; ++q)
        for (int64_t p = first_panel; p < last_panel; ++p)
          kernels.forward(length, packed.panel(block, p), panels.data() + q * length * kernels.nr,
                          packed.sum(block, p), sums + q * kernels.nr,
                          y + (image * s.t + p * kernels.mr) * positions + start + q * kernels.nr, positions,
                          std::min<int64_t>(kernels.mr, s.t - p * kernels.mr),
                          std::min<int64_t>(kernels.nr, count - q * kernels.nr), block == 0);
    }
  });
  return output;
}

// Whether the clamp of differences scaled by kSignScale is their sign, for all values of a tensor.
bool sign_by_clamp(const at::Tensor& tensor) {
  const float* data = tensor.const_data_ptr<float>();
  return at::parallel_reduce(
      0, tensor.numel(), 1 << 16, true,
      [&](int64_t begin, int64_t end, bool) {
        bool good = true;
        for (int64_t i = begin; i < end; ++i) {
          const float size = std::fabs(data[i]);
          good &= (size == 0.f) | ((size >= kSignSmallest) & (size <= kSignLargest));  // false for NaN
        }
        return good;
      },
      [](bool a, bool b) { return a && b; });
}

// One residue class of input rows (or columns) modulo the stride, and the taps whose window can reach it. Within
// a class the gradient is a dense stride-1 problem: no multiplication by inserted zeros.
struct Residue {
  int64_t start, count;               // first row and how many
  std::vector<int64_t> taps, offset;  // window index, output row = position + offset
};

std::vector<Residue> residues(int64_t size, int64_t kernel, int64_t stride, int64_t padding, int64_t dilation) {
  std::vector<Residue> classes;
  for (int64_t r = 0; r < std::min(stride, size); ++r) {
    Residue residue{r, ceil_div(size - r, stride), {}, {}};
    for (int64_t i = 0; i < kernel; ++i) {
      const int64_t reach = r + padding - i * dilation;
      if (((reach % stride) + stride) % stride != 0) continue;
      residue.taps.push_back(i);
      residue.offset.push_back(reach / stride);  // exact, also below zero
    }
    classes.push_back(residue);
  }
  return classes;
}

// The inner loop of a gradient rule, and the factor for inputs and weights under which it serves.
struct GradRule {
  decltype(AdderKernels::grad_sign) kernel;
  float scale;
};

// Gradient of all input positions of one pair of residue classes, written into grad_input.
void grad_input_class(const Shape& s, const AdderKernels& kernels, GradRule rule, const float* x, const float* w,
                      const float* g, float* gx, const Residue& rows, const Residue& cols) {
  const int64_t taps_x = cols.taps.size(), taps = rows.taps.size() * taps_x, depth = s.t * taps;
  const int64_t positions = rows.count * cols.count, area = s.h * s.w;
  if (depth == 0 || positions == 0) return;  // no window reaches these: the gradient stays zero
  const int64_t window = s.kh * s.kw;
  const PackedWeight packed = pack_weight(s.c, depth, kernels.grad_mr, window, rule.scale, [&](int64_t k) {
    const int64_t tap = k % taps;
    return w + k / taps * s.c * window + rows.taps[tap / taps_x] * s.kw + cols.taps[tap % taps_x];
  });
  const Plane source{s.h, s.w, s.sy, s.sx}, output{s.oh, s.ow, 1, 1};
  const int mr = kernels.grad_mr, nr = kernels.nr;
  Schedule(s.n, positions, packed.panels).run([&](int64_t image, int64_t start, int64_t count, int64_t first_panel,
                                                  int64_t last_panel) {
    thread_local std::vector<float> grads, values, result;
    const int64_t first_row = first_panel * mr, last_row = std::min(last_panel * mr, s.c);
    const int64_t wide = ceil_div(count, nr) * nr, held = (last_panel - first_panel) * mr;
    grads.resize(kDepth * wide);
    values.resize(held * wide);
    result.resize(held * wide);
    float row[kTile];
    for (int64_t c = first_row; c < last_row; ++c) {  // (panel of positions, channel, nr)
      gather(x + (image * s.c + c) * area, source, {rows.start, cols.start}, cols.count, start, count, row);
      for (int64_t i = 0; i < count; ++i) row[i] *= rule.scale;
      to_panels(row, count, held, c - first_row, nr, values.data());
    }
    for (int64_t block = 0; block < packed.blocks; ++block) {
      const int64_t length = packed.block_depth(block);
      const auto fill = [&](int64_t k, float* out) {
        const int64_t element = block * kDepth + k, tap = element % taps;
        gather(g + (image * s.t + element / taps) * s.oh * s.ow, output,
               {rows.offset[tap / taps_x], cols.offset[tap % taps_x]}, cols.count, start, count, out);
      };
      pack_tile(length, count, nr, fill, grads.data(), nullptr);
      for (int64_t q = 0; q * nr < count; ++q)
        for (int64_t p = first_panel; p < last_panel; ++p) {
          const int64_t tile = (q * held + (p - first_panel) * mr) * nr;
          rule.kernel(length, packed.panel(block, p), grads.data() + q * length * nr, values.data() + tile,
                      result.data() + tile, nr, mr, nr, block == 0);
        }
    }
    for (int64_t c = first_row; c < last_row; ++c)
      scatter(result.data() + (c - first_row) * nr, held * nr, nr, source, {rows.start, cols.start}, cols.count,
              start, count, gx + (image * s.c + c) * area);
  });
}

at::Tensor grad_input(const at::Tensor& grad_output, const at::Tensor& input, const at::Tensor& weight,
                      at::IntArrayRef stride, at::IntArrayRef padding, at::IntArrayRef dilation, bool sign) {
  const Shape s = shape_of(input, weight, stride, padding, dilation);
  at::Tensor result = at::zeros(input.sizes(), input.options());
  if (grad_output.numel() == 0) return result;
  const AdderKernels& kernels = *choose().kernels;
  GradRule rule{kernels.grad_hardtanh, 1.f};
  if (sign && sign_by_clamp(input) && sign_by_clamp(weight))
    rule.scale = kSignScale;
  else if (sign)
    rule.kernel = kernels.grad_sign;
  for (const Residue& rows : residues(s.h, s.kh, s.sy, s.py, s.dy))
    for (const Residue& cols : residues(s.w, s.kw, s.sx, s.px, s.dx))
      grad_input_class(s, kernels, rule, input.const_data_ptr<float>(), weight.const_data_ptr<float>(),
                       grad_output.const_data_ptr<float>(), result.mutable_data_ptr<float>(), rows, cols);
  return result;
}

}  // namespace

PYBIND11_MODULE(TORCH_EXTENSION_NAME, module) {
  const auto release = pybind11::call_guard<pybind11::gil_scoped_release>();
  module.def("forward", &forward, release, "-sum |x - w| of (N, C, H, W) and (O, C, kH, kW)");
  module.def("grad_input", &grad_input, release, "sum rule(w - x) * grad_output");
  module.def("isa", [] { return choose().name; }, "instruction set in use");
  module.def("supported_isas", [] {
    std::vector<std::string> names;
    for (const char* isa : {"avx512", "avx2", "portable"})
      if (supported(isa) && table(isa) != nullptr) names.push_back(isa);
    return names;
  });
}
