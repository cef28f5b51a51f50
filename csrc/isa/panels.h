// Matrices packed for the product: [group][k][vector][lane], so that every load is in order; and the product
// with one that is used but once, as it is, whose order of sums must be that of product.h. Only lanes are
// padded, with zeros; k never is, since 0 * NaN would leak.
#pragma once

#include "layout.h"

namespace bptt::BPTT_ISA {

// Up to a vector's lanes of a matrix's rows.
template <class T>
struct MatrixRows {
  const T* data;
  int64_t stride, lanes;
};

// Reads rows as columns: one value of each row as a vector, for every k.
template <class T>
struct Columns {
  static constexpr int L = kLanes<T>, S = kSquare<T>;
  const T* row[L];
  ints<T> real;

  explicit Columns(const MatrixRows<T>& matrix) {
    real = first_lanes<T>(matrix.lanes);
    for (int lane = 0; lane < L; ++lane)
      row[lane] = matrix.data + (lane < matrix.lanes ? lane : 0) * matrix.stride;
  }

  // f(k, column) for k from begin to end
  template <class F>
  BPTT_INLINE void each(int64_t begin, int64_t end, const F& f) const {
    int64_t k = begin;
    for (; k + S <= end; k += S) {
      vec<T> column[S];
      load_columns<T>(row, k, column);
#pragma GCC unroll 8
      for (int i = 0; i < S; ++i) f(k + i, from_bits<T>(bits<T>(column[i]) & real));
    }
    for (; k < end; ++k) {
      vec<T> column{};
      for (int lane = 0; lane < L; ++lane) column[lane] = row[lane][k];
      f(k, from_bits<T>(bits<T>(column) & real));
    }
  }
};

// Rows of a matrix become one vector column of a panel whose steps in k are `step` values apart.
template <class T>
void pack_transposed(T* panel, int64_t step, const MatrixRows<T>& matrix, int64_t terms) {
  Columns<T>(matrix).each(0, terms, [&](int64_t k, vec<T> column) __attribute__((always_inline)) {
    store(panel + k * step, column);
  });
}

// The product (see product.h) of one vector column with a matrix that is not packed, being used but once.
template <class T, int rows>
void product_of(T* const* tile, int64_t at, const LeftRows<T>& left, const MatrixRows<T>& matrix,
                int64_t terms) {
  const Columns<T> columns(matrix);
  for (int64_t begin = 0; begin < terms; begin += kBlock) {
    vec<T> sum[rows]{};
    const auto multiply_add = [&](int64_t k, vec<T> column) __attribute__((always_inline)) {
#pragma GCC unroll 12
      for (int m = 0; m < rows; ++m) sum[m] = fma(splat(left.row[m][k]), column, sum[m]);
    };
    columns.each(begin, min(terms, begin + kBlock), multiply_add);
#pragma GCC unroll 12
    for (int m = 0; m < rows; ++m) store(tile[m] + at, load(tile[m] + at) + sum[m]);
  }
}
template <class T, int most = kMaxRows>
void product_unpacked(T* const* tile, int64_t at, const LeftRows<T>& left, int64_t rows,
                      const MatrixRows<T>& matrix, int64_t terms) {
  if (rows == most) return product_of<T, most>(tile, at, left, matrix, terms);
  if constexpr (most > 1) product_unpacked<T, most - 1>(tile, at, left, rows, matrix, terms);
}

// Row k of a group's panel: the group's columns of one row of a matrix.
template <class T>
BPTT_INLINE void pack_row(T* panel, const Groups<T>& groups, int64_t g, const T* row) {
  constexpr int L = kLanes<T>;
  const int64_t first = groups.begin(g);
  for (int64_t v = 0; v < groups.size(g); ++v)
    store(panel + v * L, load_first(row + (first + v) * L, groups.lanes(first + v)));
}

}  // namespace bptt::BPTT_ISA
