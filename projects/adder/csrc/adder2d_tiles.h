// Tiles, panels and schedules that the float32 and the int8 kernels of the adder layer share.
#pragma once
#include <ATen/Parallel.h>
#include <torch/extension.h>

#include <algorithm>
#include <cstring>

#include "adder2d_kernels.h"

inline int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// A plane of values and the step between two neighbouring positions of a grid laid over it.
struct Plane {
  int64_t height, width, step_y, step_x;
};

// Where one tap of the window reads: row = u * step_y + y, column = v * step_x + x, for grid position (u, v).
struct Tap {
  int64_t y, x;
};

// Values of `tap` at grid positions [begin, begin + count) of a grid `grid_width` wide; `outside` beyond the plane.
template <typename T>
void gather(const T* data, const Plane& plane, Tap tap, int64_t grid_width, int64_t begin, int64_t count, T* row,
            T outside = 0) {
  // columns of the grid whose source column lies inside the plane
  const int64_t first = tap.x < 0 ? ceil_div(-tap.x, plane.step_x) : 0;
  const int64_t last = plane.width - 1 < tap.x ? -1 : (plane.width - 1 - tap.x) / plane.step_x;
  int64_t u = begin / grid_width, v = begin % grid_width;
  for (T* end = row + count; row < end; ++u, v = 0) {
    const int64_t run = std::min<int64_t>(grid_width - v, end - row), y = u * plane.step_y + tap.y;
    const bool inside = y >= 0 && y < plane.height;
    const int64_t from = inside ? std::min(std::max<int64_t>(first - v, 0), run) : run;
    const int64_t to = inside ? std::max(std::min(last - v + 1, run), from) : run;
    std::fill(row, row + from, outside);
    if (from < to) {
      const T* src = data + y * plane.width + (v + from) * plane.step_x + tap.x;
      if (plane.step_x == 1)
        std::memcpy(row + from, src, (to - from) * sizeof(T));
      else
        for (int64_t i = from; i < to; ++i, src += plane.step_x) row[i] = *src;
    }
    std::fill(row + to, row + run, outside);
    row += run;
  }
}

// Row k of a tile of `count` positions, as panels (panel, depth, NR); the tail of the last panel is zero.
template <int NR, typename T>
void to_panels(const T* row, int64_t count, int64_t depth, int64_t k, T* panels) {
  T* dst = panels + k * NR;
  for (; count >= NR; count -= NR, row += NR, dst += depth * NR) std::memcpy(dst, row, NR * sizeof(T));
  if (count > 0) std::fill(std::copy(row, row + count, dst), dst + NR, T(0));
}

template <typename T>
void to_panels(const T* row, int64_t count, int64_t depth, int64_t k, int nr, T* panels) {
  if (nr == 4) return to_panels<4>(row, count, depth, k, panels);
  if (nr == 8) return to_panels<8>(row, count, depth, k, panels);
  if (nr == 16) return to_panels<16>(row, count, depth, k, panels);
  to_panels<32>(row, count, depth, k, panels);
}

constexpr int64_t kTile = 192;  // positions per packed tile; a multiple of every kernel's nr (4, 8, 16, 32)

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

// Completes a shape whose output size is not set yet.
inline Shape with_output(Shape s) {
  s.oh = (s.h + 2 * s.py - s.dy * (s.kh - 1) - 1) / s.sy + 1;
  s.ow = (s.w + 2 * s.px - s.dx * (s.kw - 1) - 1) / s.sx + 1;
  return s;
}
