// The int8 adder layer (arXiv 2101.10015, 2212.10200): activations become bytes, and one instruction sums eight
// absolute differences of bytes.
//
// Bytes lie in words of 8 channels, so that a word is one lane of that instruction; channels that fill up the last
// word are zero on both sides. Filters that share a step ("scale") also share a quantised copy of the input. A window
// of one position needs no copy: its tiles are quantised straight from the input.
#include <vector>

#include "adder2d_cpu.h"
#include "adder2d_tiles.h"

namespace {

typedef unsigned long long Word;
constexpr int64_t kWord = 8;      // channels a word
constexpr int64_t kChunk = 1024;  // positions quantised at once

struct QuantLayer {
  Shape s;
  int64_t words;                  // channels / 8, rounded up
  int64_t panels;                 // of filters
  int lowest, highest;            // codes of activations
  const unsigned char* weight;    // (panels, words * kh * kw, sad_mr, 8)
  const int* rows;                // (panels, sad_mr): output channel, or -1
  const int* panel_scale;         // (panels,): index of the step, ascending
  const float* inverse_steps;     // (scales,)
  const float *scale, *bias;      // (panels, sad_mr)
  const int* offset;              // (panels, sad_mr)
  int64_t scales;

  Word padding() const { return 0x0101010101010101ull * (unsigned char)(0 - lowest); }
};

// Words of channels [8 word, 8 word + 8) of one image at positions [start, start + count), count <= kChunk.
void quantise(const QuantLayer& layer, const AdderKernels& kernels, const float* image, int64_t word, int64_t scale,
              int64_t start, int64_t count, Word* out) {
  static const float zeros[kChunk] = {};
  const float* channels[kWord];
  for (int64_t j = 0; j < kWord; ++j) {
    const int64_t c = word * kWord + j;
    channels[j] = c < layer.s.c ? image + c * layer.s.h * layer.s.w + start : zeros;
  }
  kernels.quantise(channels, count, layer.inverse_steps[scale], layer.lowest, layer.highest, out);
}

// The whole input for every step, (scales, N, words, H * W).
at::Tensor quantised_images(const QuantLayer& layer, const AdderKernels& kernels, const float* x) {
  const int64_t area = layer.s.h * layer.s.w, chunks = ceil_div(area, kChunk), planes = layer.s.n * layer.words;
  at::Tensor images = at::empty({layer.scales * planes * area}, at::kLong);
  Word* words = reinterpret_cast<Word*>(images.mutable_data_ptr<int64_t>());
  at::parallel_for(0, planes * chunks, 8, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t plane = i / chunks, start = i % chunks * kChunk;
      const float* image = x + plane / layer.words * layer.s.c * area;
      for (int64_t g = 0; g < layer.scales; ++g)  // the floats are in the cache from the second step on
        quantise(layer, kernels, image, plane % layer.words, g, start, std::min(kChunk, area - start),
                 words + (g * planes + plane) * area + start);
    }
  });
  return images;
}

// One tile of positions with the filter panels [first, last), which share a step.
void sad_tile(const QuantLayer& layer, const AdderKernels& kernels, const Word* tile, int64_t first, int64_t last,
              int64_t image, int64_t start, int64_t count, float* y) {
  const int64_t depth = layer.words * layer.s.kh * layer.s.kw, positions = layer.s.oh * layer.s.ow;
  const int mr = kernels.sad_mr, nr = kernels.sad_nr;
  std::vector<float*> rows(mr);
  for (int64_t q = 0; q * nr < count; ++q)
    for (int64_t p = first; p < last; ++p) {
      for (int r = 0; r < mr; ++r) {
        const int channel = layer.rows[p * mr + r];
        rows[r] = channel < 0 ? nullptr : y + (image * layer.s.t + channel) * positions + start + q * nr;
      }
      kernels.sad(depth, layer.weight + p * depth * mr * kWord,
                  reinterpret_cast<const unsigned char*>(tile + q * depth * nr),
                  {rows.data(), layer.offset + p * mr, layer.scale + p * mr, layer.bias + p * mr,
                   (int)std::min<int64_t>(nr, count - q * nr)});
    }
}

void run(const QuantLayer& layer, const AdderKernels& kernels, const float* x, float* y) {
  const Shape& s = layer.s;
  const int64_t window = s.kh * s.kw, depth = layer.words * window, area = s.h * s.w, positions = s.oh * s.ow;
  const Schedule schedule(s.n, positions, layer.panels);
  // with one group of panels every tile is packed once, so it can be quantised while it is packed
  const bool direct = area == positions && window == 1 && schedule.groups == 1;
  const at::Tensor images = direct ? at::Tensor() : quantised_images(layer, kernels, x);
  const Word* quantised = direct ? nullptr : reinterpret_cast<const Word*>(images.const_data_ptr<int64_t>());
  const Plane plane{s.h, s.w, s.sy, s.sx};
  const std::vector<Tap> taps = window_taps(s);
  schedule.run([&](int64_t image, int64_t start, int64_t count, int64_t first, int64_t last) {
    thread_local std::vector<Word> tile;
    tile.resize(depth * kTile);
    const int64_t nr = kernels.sad_nr, panels = ceil_div(count, nr);
    Word row[kTile] = {};  // what lies behind `count` stays zero
    const TileReader reader(plane, taps, s.ow, start, count);
    for (int64_t end = first; first < last; first = end) {
      const int64_t g = layer.panel_scale[first];
      while (end < last && layer.panel_scale[end] == g) ++end;
      for (int64_t k = 0; k < depth; ++k) {
        const int64_t word = k / window, tap = k % window;
        if (direct)
          quantise(layer, kernels, x + image * s.c * area, word, g, start, count, row);
        else
          reader.read(quantised + ((g * s.n + image) * layer.words + word) * area, tap, row, layer.padding());
        for (int64_t q = 0; q < panels; ++q)
          copy_run(row + q * nr, nr, tile.data() + (q * depth + k) * nr);
      }
      sad_tile(layer, kernels, tile.data(), first, end, image, start, count, y);
    }
  });
}

}  // namespace

at::Tensor quant_adder2d_forward(const at::Tensor& input, const at::Tensor& weight, const at::Tensor& rows,
                                 const at::Tensor& panel_scale, const at::Tensor& inverse_steps,
                                 const at::Tensor& output_scale, const at::Tensor& offset, const at::Tensor& bias,
                                 int64_t out_channels, at::IntArrayRef kernel, at::IntArrayRef stride,
                                 at::IntArrayRef padding, at::IntArrayRef dilation, int64_t lowest, int64_t highest) {
  const AdderKernels& kernels = adder_kernels();
  QuantLayer layer{};
  layer.s = with_output({input.size(0), input.size(1), input.size(2), input.size(3), out_channels, kernel[0],
                         kernel[1], stride[0], stride[1], padding[0], padding[1], dilation[0], dilation[1], 0, 0});
  layer.words = ceil_div(layer.s.c, kWord);
  layer.panels = weight.size(0);
  layer.lowest = lowest, layer.highest = highest;
  layer.scales = inverse_steps.numel();
  TORCH_CHECK(input.scalar_type() == at::kFloat && input.is_contiguous() && weight.scalar_type() == at::kByte,
              "quant_adder2d: the compiled kernel takes a contiguous float32 input and packed bytes");
  TORCH_CHECK(weight.dim() == 4 && weight.size(1) == layer.words * kernel[0] * kernel[1] &&
                  weight.size(2) == kernels.sad_mr && weight.size(3) == kWord && rows.numel() == offset.numel() &&
                  rows.numel() == layer.panels * kernels.sad_mr && panel_scale.numel() == layer.panels,
              "quant_adder2d: weights packed for another layer or instruction set (", kernels.name, ")");
  layer.weight = weight.const_data_ptr<unsigned char>();
  layer.rows = rows.const_data_ptr<int>();
  layer.panel_scale = panel_scale.const_data_ptr<int>();
  layer.inverse_steps = inverse_steps.const_data_ptr<float>();
  layer.scale = output_scale.const_data_ptr<float>();
  layer.offset = offset.const_data_ptr<int>();
  layer.bias = bias.const_data_ptr<float>();
  at::Tensor output = at::empty({layer.s.n, layer.s.t, layer.s.oh, layer.s.ow}, input.options());
  if (output.numel() != 0) run(layer, kernels, input.const_data_ptr<float>(), output.mutable_data_ptr<float>());
  return output;
}
