// Tiles, panels and schedules that the float32 and the int8 kernels of the adder layer share.
#pragma once
#include <ATen/Parallel.h>
#include <torch/extension.h>

#include <algorithm>
#include <cstring>
#include <vector>

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

// Copies `count` values; many runs are short, so no call of memcpy.
template <typename T>
inline void copy_run(const T* src, int64_t count, T* dst) {
  constexpr int64_t kStep = 32 / sizeof(T);
  if (count < kStep) {
    for (int64_t i = 0; i < count; ++i) dst[i] = src[i];
    return;
  }
  for (int64_t i = 0; i + kStep <= count; i += kStep) std::memcpy(dst + i, src + i, kStep * sizeof(T));
  std::memcpy(dst + count - kStep, src + count - kStep, kStep * sizeof(T));  // the rest, overlapping
}

// Reads the values of taps at grid positions [begin, begin + count) of a grid `grid_width` wide. Where a tap's values
// lie depends on the plane's geometry alone, so it is worked out once for all channels.
class TileReader {
 public:
  TileReader(const Plane& plane, const std::vector<Tap>& taps, int64_t grid_width, int64_t begin, int64_t count)
      : step_x_(plane.step_x) {
    for (const Tap& tap : taps) {
      find(plane, tap, grid_width, begin, count);
      ends_.push_back({runs_.size(), gaps_.size()});
    }
  }

  // Values of a tap in one plane, `outside` beyond it.
  template <typename T>
  void read(const T* data, int64_t tap, T* row, T outside = 0) const {
    const End from = tap == 0 ? End{0, 0} : ends_[tap - 1], to = ends_[tap];
    for (size_t i = from.runs; i < to.runs; ++i) {
      const T* src = data + runs_[i].src;
      T* dst = row + runs_[i].dst;
      if (step_x_ == 1)
        copy_run(src, runs_[i].length, dst);
      else
        for (int64_t j = 0; j < runs_[i].length; ++j) dst[j] = src[j * step_x_];
    }
    for (size_t i = from.gaps; i < to.gaps; ++i) row[gaps_[i]] = outside;
  }

 private:
  struct Run {
    int64_t src, dst, length;
  };
  struct End {
    size_t runs, gaps;
  };
  int64_t step_x_;
  std::vector<Run> runs_;
  std::vector<int64_t> gaps_;  // positions beyond the plane
  std::vector<End> ends_;      // of each tap's runs and gaps

  // Adds the runs and gaps of one tap.
  void find(const Plane& plane, Tap tap, int64_t grid_width, int64_t begin, int64_t count) {
    // columns of the grid whose source column lies inside the plane
    const int64_t first = tap.x < 0 ? ceil_div(-tap.x, plane.step_x) : 0;
    const int64_t last = plane.width - 1 < tap.x ? -1 : (plane.width - 1 - tap.x) / plane.step_x;
    const size_t own = runs_.size();
    int64_t u = begin / grid_width, v = begin % grid_width;
    for (int64_t done = 0; done < count; ++u, v = 0) {
      const int64_t run = std::min(grid_width - v, count - done), y = u * plane.step_y + tap.y;
      const bool inside = y >= 0 && y < plane.height;
      const int64_t from = inside ? std::min(std::max<int64_t>(first - v, 0), run) : run;
      const int64_t to = inside ? std::max(std::min(last - v + 1, run), from) : run;
      if (from < to) add_run({y * plane.width + (v + from) * plane.step_x + tap.x, done + from, to - from}, own);
      for (int64_t i = 0; i < from; ++i) gaps_.push_back(done + i);
      for (int64_t i = to; i < run; ++i) gaps_.push_back(done + i);
      done += run;
    }
  }

  // Joined with the former one where it goes on there: the rows of a 1x1 window are one run.
  void add_run(const Run& run, size_t own) {
    if (runs_.size() > own && step_x_ == 1) {
      Run& former = runs_.back();
      if (former.src + former.length == run.src && former.dst + former.length == run.dst) {
        former.length += run.length;
        return;
      }
    }
    runs_.push_back(run);
  }
};

constexpr int64_t kTile = 192;  // positions per packed tile; a multiple of every kernel's nr (4, 8, 12, 16, 24, 32)

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

// The window's taps on the input, row by row.
inline std::vector<Tap> window_taps(const Shape& s) {
  std::vector<Tap> taps;
  for (int64_t i = 0; i < s.kh * s.kw; ++i) taps.push_back({i / s.kw * s.dy - s.py, i % s.kw * s.dx - s.px});
  return taps;
}

// Completes a shape whose output size is not set yet.
inline Shape with_output(Shape s) {
  s.oh = (s.h + 2 * s.py - s.dy * (s.kh - 1) - 1) / s.sy + 1;
  s.ow = (s.w + 2 * s.px - s.dx * (s.kw - 1) - 1) / s.sx + 1;
  return s;
}
