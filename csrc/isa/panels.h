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
  constexpr int L = kLanes<T>, P = kPartLanes<T>;
  const T* row[L];
  ints<T> real;
  for (int lane = 0; lane < L; ++lane) {
    row[lane] = matrix + min(lane, lanes - 1) * row_stride;
    real[lane] = lane < lanes ? -1 : 0;
  }
  int64_t k = 0;
  for (; k + P <= length; k += P) {
    vec<T> part[P];
#pragma GCC unroll 4
    for (int i = 0; i < P; ++i) part[i] = join(row + i, k);
    transpose_parts(part);
#pragma GCC unroll 4
    for (int i = 0; i < P; ++i) store(panel + (k + i) * step, from_bits<T>(bits<T>(part[i]) & real));
  }
  for (; k < length; ++k)
    for (int lane = 0; lane < L; ++lane) panel[k * step + lane] = lane < lanes ? row[lane][k] : T(0);
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
