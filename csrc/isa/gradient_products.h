// What D, the gradients of the preactivations, is multiplied into: step by step dh += D w_hh, which the
// recurrence asks for, and chunk by chunk dx = D w_ih, dw_hh += D' h_prev, dw_ih += D' x and the biases'
// sums. D is never transposed. Sums over rows are cut on a grid of steps fixed from s = 0, and their blocks
// added in descending s, so that neither chunks nor threads change a bit.
#pragma once

#include "backward_scratch.h"
#include "panels.h"

namespace bptt::BPTT_ISA {

// sum[0] += x, and sum[1] += what rounding has taken away
template <class T>
BPTT_INLINE void add_exactly(T* sum, vec<T> x) {
  const vec<T> before = load(sum), after = before + x, added = after - before;
  store(sum, after);
  store(sum + kLanes<T>, load(sum + kLanes<T>) + ((before - (after - added)) + (x - added)));
}
// where the sum is infinite, nothing is known of what was taken away
template <class T>
BPTT_INLINE vec<T> exact_sum(const T* sum) {
  const vec<T> taken = load(sum + kLanes<T>);
  return load(sum) + select<T>(taken == taken, taken, vec<T>{});
}

// f(tile) for n rows of an array at the columns of a group: the rows themselves, or a padded tile in their
// place where the group's last vector is not full
template <class T, class F>
BPTT_INLINE void at_tile(const Groups<T>& columns, int64_t g, T* const* out, int64_t n, bool fresh,
                         const F& f) {
  constexpr int L = kLanes<T>;
  if (columns.full(g)) return f(out);
  const int64_t size = columns.size(g);
  alignas(kAlign) T values[kAccumulators * L];
  T* tile[kMaxRows]{};
  const auto each = [&](const auto& move) {
    for (int64_t i = 0; i < n; ++i)
      for (int64_t v = 0; v < size; ++v)
        move(tile[i] + v * L, out[i] + v * L, columns.lanes(columns.begin(g) + v));
  };
  for (int64_t i = 0; i < n; ++i) tile[i] = values + i * size * L;
  if (!fresh) each([](T* value, T* row, int64_t lanes) { store(value, load_first(row, lanes)); });
  f(tile);
  each([](T* value, T* row, int64_t lanes) { store_first(row, load(value), lanes); });
}

template <class C, class T>
struct GradientProducts {
  static constexpr int L = kLanes<T>;
  static constexpr int64_t kOwnRows = 64;  // of dx: enough for each member to pack w_ih for

  const BackwardScratch<C, T>& scratch;
  const Backward<T>& call = scratch.call;
  const Shape& shape = scratch.shape;

  // The rows' out += sum over gates and units of D w, at the columns of a group. Gate by gate, so that a
  // gate's panel stays in a cache for all rows. at(out, rows, fresh, f) calls f(tile).
  template <int count, class Panels, class Rows, class At>
  BPTT_INLINE void multiply(const Groups<T>& columns, int64_t g, const Panels& panel_of, int first_slot,
                            int64_t n, bool fresh, const Rows& row, const At& at) const {
    const int64_t size = columns.size(g), first = columns.begin(g);
    for (int j = 0; j < count; ++j) {
      const T* panel = panel_of(j);
      for_tiles(n, tile_rows(size), [&](int64_t begin, int64_t rows) {
        LeftRows<T> left{};
        left.stride = scratch.block_stride;
        T* out[kMaxRows]{};
        for (int64_t i = 0; i < rows; ++i) {
          const RowOfD<T> its = row(begin + i);
          left.row[i] = its.d + (first_slot + j) * L;
          out[i] = its.out + first * L;
        }
        at(out, rows, fresh && j == 0, [&](T* const* tile) {
          kProducts<T, Left::kBlocked, kAccumulators>(size, rows)(tile, left, panel, shape.H,
                                                                  fresh && j == 0);
        });
      });
    }
  }

  // dx = D w_ih, for `all` rows. A panel is packed for one gate of a group and is in a cache for all its
  // rows. Members divide the rows where those are enough to pack panels for, else (group, row).
  void input_gradients(const RowOfD<T>* rows_of_dx, T* panel, int64_t all, const Member& m) const {
    const Groups<T> columns(shape.I, widest_group(scratch.chunk_rows), 1);
    const auto part = [&](int64_t n, int64_t i) { return part_begin(n, m.count, m.index + i); };
    const bool by_row = all >= kOwnRows * m.count;
    const int64_t first = by_row ? part(all, 0) : 0, rows = by_row ? part(all, 1) - first : all;
    const int64_t items = columns.count * rows, end = by_row ? items : part(items, 1);
    for (int64_t i = by_row ? 0 : part(items, 0), n; i < end; i += n) {
      const int64_t g = i / rows;
      const RowOfD<T>* list = rows_of_dx + first + i % rows;
      n = min(rows - i % rows, end - i);
      const auto pack = [&](int j) {
        const T* row = call.w_ih + C::x.gate[j] * shape.H * shape.I;
        for (int64_t k = 0; k < shape.H; ++k)
          pack_row(panel + k * columns.size(g) * L, columns, g, row + k * shape.I);
        return panel;
      };
      multiply<C::x.count>(
          columns, g, pack, C::x.first, n, true, [&](int64_t r) { return list[r]; },
          [&](T* const* out, int64_t rows, bool fresh, const auto& f) {
            at_tile(columns, g, out, rows, fresh, f);
          });
    }
  }

  // dw += D' columns. Sums of several blocks are gathered in a tile of their own: rows of dw may be a power
  // of two apart, which caches bear badly.
  template <int count>
  void weight_gradients(const Groups<T>& columns, const T* panels, T* dw, const GateSlots& slots, int64_t a,
                        int64_t b, bool fresh, const Member& m) const {
    const int64_t items = scratch.units / L * columns.count;
    for (int64_t item = part_begin(items, m.count, m.index); item < part_begin(items, m.count, m.index + 1);
         ++item) {
      const int64_t block = item / columns.count, g = item % columns.count;
      const int64_t size = columns.size(g), first = columns.begin(g);
      const int64_t lanes = min(L, shape.H - block * L);
      const T* panel = panels + first * L * scratch.chunk_rows;
      const bool apart = scratch.chunk_rows > kBlock || !columns.full(g);
      alignas(kAlign) T sums[count * L * kMaxVectors * L];
      T* row_of[count * L];
      const auto out = [&](int64_t i) {
        return dw + (slots.gate[i / L] * shape.H + block * L + i % L) * columns.columns + first * L;
      };
      const auto each = [&](const auto& move) {
        for (int64_t i = 0; i < count * L; ++i)
          for (int64_t v = 0; v < size && i % L < lanes; ++v)
            move(row_of[i] + v * L, out(i) + v * L, columns.lanes(first + v));
      };
      for (int64_t i = 0; i < count * L; ++i) row_of[i] = apart ? sums + i * size * L : out(i);
      if (apart && !fresh) each([](T* sum, T* to, int64_t n) { store(sum, load_first(to, n)); });
      bool empty = fresh;
      for_blocks(a, b, [&](int64_t row, int64_t rows) {
        for (int j = 0; j < count; ++j)
          for_tiles(lanes, tile_rows(size), [&](int64_t lane, int64_t n) {
            LeftRows<T> left{};
            left.stride = scratch.row_stride;
            left.row[0] = scratch.gradients(block, row) + (slots.first + j) * L + lane;
            kProducts<T, Left::kColumn>(size, n)(row_of + j * L + lane, left, panel + row * size * L, rows,
                                                 empty);
          });
        empty = false;
      });
      if (apart) each([](T* sum, T* to, int64_t n) { store_first(to, load(sum), n); });
    }
  }

  // Blocks are added with what rounding takes away kept beside the sum (Knuth, TAOCP 2, 4.2.2): over many
  // blocks one chain of additions would be the largest error of all.
  void bias_gradients(int64_t a, int64_t b, const Member& m) const {
    const int64_t blocks = scratch.units / L;
    for (int64_t block = part_begin(blocks, m.count, m.index);
         block < part_begin(blocks, m.count, m.index + 1); ++block)
      for_blocks(a, b, [&](int64_t row, int64_t rows) {
        constexpr int columns = BackwardScratch<C, T>::kColumns;
        vec<T> sum[columns]{};
        const T* from = scratch.gradients(block, row);
        for (int64_t r = 0; r < rows; ++r, from += scratch.row_stride)
#pragma GCC unroll 4
          for (int j = 0; j < columns; ++j) sum[j] += load(from + j * L);
        for (int j = 0; j < columns; ++j) add_exactly(scratch.bias_sum(block, j), sum[j]);
      });
  }

 private:
  // f(first row, rows) for the blocks of sums over a chunk's rows, in descending order
  template <class F>
  BPTT_INLINE void for_blocks(int64_t a, int64_t b, const F& f) const {
    for (int64_t s = a + (b - 1 - a) / scratch.block_steps * scratch.block_steps; s >= a;
         s -= scratch.block_steps) {
      const int64_t first = scratch.row_of(a, s),
                    rows = scratch.row_of(a, min(s + scratch.block_steps, b)) - first;
      for (int64_t r = (ceil_div(rows, kBlock) - 1) * kBlock; r >= 0; r -= kBlock)
        f(first + r, min(kBlock, rows - r));
    }
  }
};

}  // namespace bptt::BPTT_ISA
