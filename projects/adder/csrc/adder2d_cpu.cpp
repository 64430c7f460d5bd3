// Compiled CPU kernels of the 2D adder layer (arXiv 1912.13200): forward and input gradient, float32.
//
// Both are matrix-product-shaped loops with another inner operation, so both are blocked like a matrix product:
// the reduction in blocks of kDepth, positions in tiles that fit the cache (packed on the fly, no column buffer
// beyond a tile), output rows in panels of registers. Threads share positions, and rows where positions are few.
// Every output element is summed in one fixed order whatever the number of threads: results are deterministic.
#include "adder2d_cpu.h"

#include <cmath>
#include <vector>

#include "adder2d_tiles.h"

namespace {

constexpr int64_t kDepth = 256;        // reduction block: a panel of weights stays in the first-level cache
constexpr int64_t kSharedDepth = 576;  // the same where the taps of a window's row share what is packed

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

// Weights as (block, panel, step, mr) with zero rows at the end, and their sums per block and row. A block takes `step`
// of the reduction.
struct PackedWeight {
  int64_t rows, depth, step, blocks, panels;
  int mr;
  std::vector<float> data, sums;

  const float* panel(int64_t block, int64_t p) const {
    return data.data() + (block * panels + p) * step * mr;
  }
  const float* sum(int64_t block, int64_t p) const { return sums.data() + (block * panels + p) * mr; }
  int64_t block_depth(int64_t block) const { return std::min(step, depth - block * step); }
};

// Element (row, k) lies at column(k) + row * row_stride.
template <typename Column>
PackedWeight pack_weight(int64_t rows, int64_t depth, int64_t step, int mr, int64_t row_stride, float scale,
                         const Column& column) {
  PackedWeight packed{rows, depth, step, ceil_div(depth, step), ceil_div(rows, mr), mr, {}, {}};
  packed.data.resize(packed.blocks * packed.panels * step * mr);
  packed.sums.assign(packed.blocks * packed.panels * mr, 0.f);
  at::parallel_for(0, packed.blocks * packed.panels, 4, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t block = i / packed.panels, first = i % packed.panels * mr;
      const int64_t held = std::min<int64_t>(mr, rows - first), length = packed.block_depth(block);
      float* data = packed.data.data() + i * step * mr;
      float* sums = packed.sums.data() + i * mr;
      for (int64_t k = 0; k < length; ++k, data += mr) {
        const float* source = column(block * step + k) + first * row_stride;
        for (int64_t r = 0; r < held; ++r) sums[r] += data[r] = scale * source[r * row_stride];
      }
    }
  });
  return packed;
}

Shape shape_of(const at::Tensor& input, const at::Tensor& weight, at::IntArrayRef stride,
               at::IntArrayRef padding, at::IntArrayRef dilation) {
  for (const at::Tensor& tensor : {input, weight})
    TORCH_CHECK(tensor.scalar_type() == at::kFloat && tensor.device().is_cpu() && tensor.is_contiguous(),
                "adder2d: the compiled kernel takes contiguous float32 tensors on the CPU");
  Shape s{input.size(0),   input.size(1),   input.size(2), input.size(3), weight.size(0),
          weight.size(2),  weight.size(3),  stride[0],     stride[1],     padding[0],
          padding[1],      dilation[0],     dilation[1],   0,             0};
  return with_output(s);
}

// Floats from one panel of positions to the next, `segment` a row. A cache line between them keeps a row's places in all
// panels, which are written together, out of one and the same set of the first-level cache.
int64_t panel_stride(int64_t rows, int64_t segment) { return rows * segment + 16; }

// Packs rows of a tile, each written by `fill(k, row)`, into `panels` panels, `vectors` vectors of each row. Adds rows up
// in `sums`, in the same form.
template <typename Fill>
void pack_tile(const AdderKernels& kernels, int64_t rows, int64_t panels, int vectors, const Fill& fill, float* packed,
               float* sums) {
  float row[kTile + 32] = {};  // what lies behind the tile's positions stays zero
  const int64_t segment = vectors * kernels.lanes;
  if (sums != nullptr) std::fill(sums, sums + panels * segment, 0.f);
  for (int64_t k = 0; k < rows; ++k) {
    fill(k, row);
    kernels.pack_row(row, panels, vectors, panel_stride(rows, segment), packed + k * segment, sums);
  }
}

// How the forward lays its positions: row after row of the output. For windows several columns wide the rows get as
// many positions more, so that the taps of a window's row find their values one position further: they are packed once
// instead of once a tap, and what the additional positions compute is dropped.
struct Layout {
  int64_t taps, width, positions;  // taps that share a row; positions in a row, in all
  std::vector<Tap> first_taps;

  Layout(const Shape& s) : taps(1), width(s.ow), positions(s.oh * s.ow), first_taps(window_taps(s)) {
    const int64_t wide = s.ow + s.kw - 1;
    if ((s.kw != 3 && s.kw != 5) || s.sx != 1 || s.dx != 1 || wide * 10 > s.ow * 11) return;
    taps = s.kw, width = wide, positions = s.oh * wide - (s.kw - 1);
    first_taps.clear();
    for (int64_t i = 0; i < s.kh; ++i) first_taps.push_back({i * s.dy - s.py, -s.px});
  }

  // Where the results of a panel belong that begins at position `start`; returns how many runs there are.
  int runs(int64_t out_width, int64_t start, int64_t count, PanelRun* runs) const {
    if (width == out_width) {
      runs[0] = {start, 0, (int)count};
      return 1;
    }
    int found = 0;
    for (int64_t lane = 0; lane < count;) {
      const int64_t u = (start + lane) / width, v = (start + lane) % width;
      const int64_t length = std::min(count - lane, out_width - v);
      if (length > 0) runs[found++] = {u * out_width + v, (int)lane, (int)length};
      lane += std::min(count - lane, width - v);
    }
    return found;
  }
};

}  // namespace

at::Tensor adder2d_forward(const at::Tensor& input, const at::Tensor& weight, at::IntArrayRef stride,
                   at::IntArrayRef padding, at::IntArrayRef dilation) {
  const Shape s = shape_of(input, weight, stride, padding, dilation);
  const AdderKernels& kernels = adder_kernels();
  at::Tensor output = at::empty({s.n, s.t, s.oh, s.ow}, input.options());
  if (output.numel() == 0) return output;
  const Layout layout(s);
  const int64_t depth = s.c * s.kh * s.kw, positions = s.oh * s.ow, taps = layout.taps;
  const int64_t lines = layout.first_taps.size();  // packed rows a channel
  const int nr = kernels.nr, mr = kernels.mr;
  const int vectors = nr / kernels.lanes + (taps > 1), segment = vectors * kernels.lanes;
  const int64_t step = taps == 1 ? kDepth : kSharedDepth / taps * taps;
  const float* x = input.const_data_ptr<float>();
  const float* w = weight.const_data_ptr<float>();
  float* y = output.mutable_data_ptr<float>();
  const PackedWeight packed =
      pack_weight(s.t, depth, step, mr, depth, 1.f, [&](int64_t k) { return w + k; });
  const Plane plane{s.h, s.w, s.sy, s.sx};
  Schedule(s.n, layout.positions, packed.panels).run([&](int64_t image, int64_t start, int64_t count,
                                                         int64_t first_panel, int64_t last_panel) {
    thread_local std::vector<float> panels;
    panels.resize(kTile / nr * panel_stride(step / taps, segment));
    float sums[kTile * 2];
    const TileReader reader(plane, layout.first_taps, layout.width, start, count + taps - 1);
    for (int64_t block = 0; block < packed.blocks; ++block) {
      const int64_t rows = packed.block_depth(block) / taps, first_row = block * packed.step / taps;
      const auto fill = [&](int64_t k, float* row) {
        const int64_t line = first_row + k;
        reader.read(x + (image * s.c + line / lines) * s.h * s.w, line % lines, row);
      };
      pack_tile(kernels, rows, ceil_div(count, nr), vectors, fill, panels.data(), sums);
      // a panel of positions, the larger of the two, stays in the first-level cache; those of weights stream by
      for (int64_t q = 0; q * nr < count; ++q) {
        PanelRun runs[kTile];
        const int found = layout.runs(s.ow, start + q * nr, std::min<int64_t>(nr, count - q * nr), runs);
        float* sum_x = sums + q * segment;
        for (int j = 0; j < nr; ++j)
          for (int64_t tap = 1; tap < taps; ++tap) sum_x[j] += sum_x[j + tap];
        for (int64_t p = first_panel; p < last_panel; ++p)
          kernels.forward(rows, taps, packed.panel(block, p), panels.data() + q * panel_stride(rows, segment),
                          packed.sum(block, p), sum_x, y + (image * s.t + p * mr) * positions, positions,
                          std::min<int64_t>(mr, s.t - p * mr), runs, found, block == 0);
      }
    }
  });
  return output;
}

namespace {

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
  const PackedWeight packed = pack_weight(s.c, depth, kDepth, kernels.grad_mr, window, rule.scale, [&](int64_t k) {
    const int64_t tap = k % taps;
    return w + k / taps * s.c * window + rows.taps[tap / taps_x] * s.kw + cols.taps[tap % taps_x];
  });
  const Plane source{s.h, s.w, s.sy, s.sx}, output{s.oh, s.ow, 1, 1};
  std::vector<Tap> reached;
  for (int64_t tap = 0; tap < taps; ++tap) reached.push_back({rows.offset[tap / taps_x], cols.offset[tap % taps_x]});
  const int mr = kernels.grad_mr, nr = kernels.nr;
  Schedule(s.n, positions, packed.panels).run([&](int64_t image, int64_t start, int64_t count, int64_t first_panel,
                                                  int64_t last_panel) {
    thread_local std::vector<float> grads, values, result;
    const int64_t first_row = first_panel * mr, last_row = std::min(last_panel * mr, s.c);
    const int64_t wide = ceil_div(count, nr) * nr, held = (last_panel - first_panel) * mr;
    grads.resize(wide / nr * panel_stride(kDepth, nr));
    values.resize(held * wide);
    result.resize(held * wide);
    float row[kTile] = {};
    const TileReader inputs(source, {{rows.start, cols.start}}, cols.count, start, count);
    const TileReader reader(output, reached, cols.count, start, count);
    for (int64_t c = first_row; c < last_row; ++c) {  // (panel of positions, channel, nr)
      inputs.read(x + (image * s.c + c) * area, 0, row);
      for (int64_t i = 0; i < count; ++i) row[i] *= rule.scale;
      kernels.pack_row(row, wide / nr, nr / kernels.lanes, held * nr, values.data() + (c - first_row) * nr, nullptr);
    }
    for (int64_t block = 0; block < packed.blocks; ++block) {
      const int64_t length = packed.block_depth(block);
      const auto fill = [&](int64_t k, float* out) {
        const int64_t element = block * kDepth + k;
        reader.read(g + (image * s.t + element / taps) * s.oh * s.ow, element % taps, out);
      };
      pack_tile(kernels, length, wide / nr, nr / kernels.lanes, fill, grads.data(), nullptr);
      for (int64_t q = 0; q * nr < count; ++q)
        for (int64_t p = first_panel; p < last_panel; ++p) {
          const int64_t tile = (q * held + (p - first_panel) * mr) * nr;
          rule.kernel(length, packed.panel(block, p), grads.data() + q * panel_stride(length, nr), values.data() + tile,
                      result.data() + tile, nr, mr, nr, block == 0);
        }
    }
    for (int64_t c = first_row; c < last_row; ++c)
      scatter(result.data() + (c - first_row) * nr, held * nr, nr, source, {rows.start, cols.start}, cols.count,
              start, count, gx + (image * s.c + c) * area);
  });
}

}  // namespace

at::Tensor adder2d_grad_input(const at::Tensor& grad_output, const at::Tensor& input, const at::Tensor& weight,
                      at::IntArrayRef stride, at::IntArrayRef padding, at::IntArrayRef dilation, bool sign) {
  const Shape s = shape_of(input, weight, stride, padding, dilation);
  at::Tensor result = at::zeros(input.sizes(), input.options());
  if (grad_output.numel() == 0) return result;
  const AdderKernels& kernels = adder_kernels();
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
