// The one inner loop that all matrix work is made of, but for matrices that are used once: product_unpacked
// in panels.h makes the same sums in the same order.
//
// A tile of `rows` x `vectors` outputs is increased by the product of `rows` rows of left factors, read one
// value at a time, and a panel, read in order: panel[k][vector][lane]. A sum of more than kBlock terms is
// cut at multiples of kBlock; each block is one chain of multiply-adds from zero, and blocks are added to the
// tile in ascending order. That makes an output's bits a matter of its own row and column alone. A `fresh`
// tile holds nothing yet and counts as zero: it is written and not read.
#pragma once

#include "simd.h"

namespace bptt::BPTT_ISA {

constexpr int kMaxVectors = 4;  // columns of a tile of many rows, in vectors; one of a few rows may have more
constexpr int kMaxRows = 12;    // rows of a tile
constexpr int64_t kAlign = 64;  // bytes; of panels and of everything else in scratch

constexpr int tile_rows(int64_t vectors) {
  const int rows = kAccumulators / int(vectors);
  return rows < kMaxRows ? rows : kMaxRows;
}

constexpr int64_t round_up(int64_t n, int64_t multiple) { return (n + multiple - 1) / multiple * multiple; }
constexpr int64_t ceil_div(int64_t n, int64_t d) { return (n + d - 1) / d; }
BPTT_INLINE int64_t min(int64_t a, int64_t b) { return a < b ? a : b; }
BPTT_INLINE int64_t max(int64_t a, int64_t b) { return a > b ? a : b; }
constexpr int max_of(int a, int b) { return a > b ? a : b; }

// Part i of n things dealt into `parts` parts whose sizes differ by at most one.
BPTT_INLINE int64_t part_begin(int64_t n, int64_t parts, int64_t i) { return n * i / parts; }

// How value k of the left factor's row m is found.
//   kRow:     row[m][k]
//   kBlocked: row[m][(k / lanes) * stride + k % lanes]   (a row of D, see backward_scratch.h)
//   kColumn:  row[0][k * stride + m]                     (D transposed)
enum class Left { kRow, kBlocked, kColumn };

template <class T>
struct LeftRows {
  const T* row[kMaxRows];
  int64_t stride;
};

template <class T>
using Product = void (*)(T* const* tile, const LeftRows<T>& left, const T* panel, int64_t terms, bool fresh);

// Where a tile has gaps: `some` vectors belong to it of every `of`.
template <int some, int of>
struct Gaps {
  static constexpr int place(int v) { return v / some * of + v % some; }
};

template <class T, int vectors, int rows, Left form, class Places>
void product(T* const* tile, const LeftRows<T>& left, const T* panel, int64_t terms, bool fresh) {
  constexpr int L = kLanes<T>;
  const T* row[rows];
#pragma GCC unroll 12
  for (int m = 0; m < rows; ++m) row[m] = form == Left::kColumn ? left.row[0] + m : left.row[m];
  const int64_t stride = left.stride;

  for (int64_t begin = 0; begin < terms; begin += kBlock) {
    const int64_t end = min(terms, begin + kBlock);
    vec<T> sum[rows][vectors]{};
    const auto multiply_add = [&](int64_t offset) __attribute__((always_inline)) {
      vec<T> b[vectors];
#pragma GCC unroll 24
      for (int v = 0; v < vectors; ++v) b[v] = load(panel + v * L);
#pragma GCC unroll 12
      for (int m = 0; m < rows; ++m) {
        const vec<T> a = in_register<T>(splat(form == Left::kColumn ? row[0][offset + m] : row[m][offset]));
#pragma GCC unroll 24
        for (int v = 0; v < vectors; ++v) sum[m][v] = fma(a, b[v], sum[m][v]);
      }
      panel += vectors * L;
    };
    if constexpr (form == Left::kRow) {
      for (int64_t k = begin; k < end; ++k) multiply_add(k);
    } else if constexpr (form == Left::kColumn) {
      for (int64_t k = begin; k < end; ++k) multiply_add(k * stride);
    } else {
      int64_t offset = begin / L * stride;
      for (int64_t k = begin; k < end; k += L, offset += stride) {
#pragma GCC unroll 12
        for (int m = 0; m < rows; ++m) __builtin_prefetch(row[m] + offset + stride);  // far away: no stream
        const int64_t lanes = min(L, end - k);
#pragma GCC unroll 1
        for (int64_t lane = 0; lane < lanes; ++lane) multiply_add(offset + lane);
      }
    }
    const auto put = [&](auto before) __attribute__((always_inline)) {
#pragma GCC unroll 12
      for (int m = 0; m < rows; ++m)
#pragma GCC unroll 24
        for (int v = 0; v < vectors; ++v) {
          T* to = tile[m] + Places::place(v) * L;
          store(to, before(to) + sum[m][v]);
        }
    };
    if (fresh)
      put([](const T*) { return vec<T>{}; });
    else
      put([](const T* to) { return load(to); });
    fresh = false;
  }
}

// Products by size of tile: of up to `most` vectors, and where there are gaps, of multiples of `some`.
template <class T, Left form, int most = kMaxVectors, int some = 1, int of = 1>
struct Products {
  Product<T> by_size[most / some][kMaxRows]{};

  constexpr Products() { fill<some, 1>(); }
  Product<T> operator()(int64_t vectors, int64_t rows) const { return by_size[vectors / some - 1][rows - 1]; }

 private:
  template <int vectors, int rows>
  constexpr void fill() {
    by_size[vectors / some - 1][rows - 1] =
        &product<T, vectors, rows, form, Gaps<some == of ? 1 : some, some == of ? 1 : of>>;
    if constexpr (rows < tile_rows(vectors))
      fill<vectors, rows + 1>();
    else if constexpr (vectors + some <= most)
      fill<vectors + some, 1>();
  }
};
template <class T, Left form, int most = kMaxVectors, int some = 1, int of = 1>
constexpr Products<T, form, most, some, of> kProducts{};

}  // namespace bptt::BPTT_ISA
