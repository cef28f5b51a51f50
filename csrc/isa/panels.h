// Matrices packed for the product: [group][k][vector][lane], so that every load is in order. Only lanes are
// padded, with zeros; k never is, since 0 * NaN would leak.
#pragma once

#include "layout.h"

namespace bptt::BPTT_ISA {

// `lanes` rows of a matrix, `length` values each, become one vector column of a panel whose steps in k are
// `step` values apart.
template <class T>
void pack_transposed(T* panel, int64_t step, const T* matrix, int64_t row_stride, int64_t lanes,
                     int64_t length) {
  constexpr int L = kLanes<T>;
  for (int64_t k = 0; k < length; k += L) {
    const int64_t n = min(L, length - k);
    vec<T> square[L];
#pragma GCC unroll 16
    for (int lane = 0; lane < L; ++lane)
      square[lane] = lane < lanes ? load_first(matrix + lane * row_stride + k, n) : vec<T>{};
    transpose<T>(square);
    if (n == L) {
#pragma GCC unroll 16
      for (int i = 0; i < L; ++i) store(panel + (k + i) * step, square[i]);
    } else {
      for (int i = 0; i < n; ++i) store(panel + (k + i) * step, square[i]);
    }
  }
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
