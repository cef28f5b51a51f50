// The weights of a forward pass: packed, multiplied with, and the biases that preactivations begin with.
#pragma once

#include "cells.h"
#include "panels.h"

namespace bptt::BPTT_ISA {

// Members who take rows have panels of their own, unless they are large: a core packs them in less time than
// it takes to fetch them from another core.
template <class T>
struct Panels {
  T *w_ih, *w_hh;     // [group][k][unit block][gate][lane], phase after phase
  T *bias, *vectors;  // [unit block][slot][lane], [unit block][vector][lane]
};

// One of the products: with x, or with the left vector of a phase.
template <class C, class T, int phase>
struct Factor {
  static constexpr int L = kLanes<T>;
  static constexpr GateSlots slots = phase < 0 ? C::x : C::phases[phase < 0 ? 0 : phase];

  const T* w;
  int64_t terms, H;
  T* panels;
  bool unpacked;  // w is read but once: as it is
  int64_t place;  // the unit block in whose place all panels are, being used but once; else -1

  T* panel(const Group& group) const {
    return panels + (place < 0 ? group.first : place) * slots.count * L * terms;
  }

  // where it can be, just before the first use, so that the panel is in a cache then
  void pack(const Group& group) const {
    if (unpacked) return;
    T* const to = panel(group);
    for (int64_t b = 0; b < group.size; ++b)
      for (int j = 0; j < slots.count; ++j)
        pack_transposed(to + (b * slots.count + j) * L, group.size * slots.count * L,
                        rows_of(group.first + b, j), terms);
  }
  // a member's part, for all
  void pack_part(const Groups<T>& groups, const Member& m) const {
    for (int64_t g = part_begin(groups.count, m.count, m.index);
         g < part_begin(groups.count, m.count, m.index + 1); ++g)
      pack(groups[g]);
  }

  // preactivations += left w'
  void add_product(const Group& group, const T* const* left_rows, T* const* a, int64_t rows) const {
    LeftRows<T> left{};
    T* tile[kMaxRows]{};
    for (int64_t i = 0; i < rows; ++i) {
      left.row[i] = left_rows[i];
      tile[i] = a[i] + slots.first * L;
    }
    if (!unpacked) {
      constexpr const auto& products = kProducts<T, Left::kRow, kAccumulators, slots.count, C::slots>;
      return products(group.size * slots.count, rows)(tile, left, panel(group), terms, false);
    }
    for (int64_t b = 0; b < group.size; ++b)
      for (int j = 0; j < slots.count; ++j)
        product_unpacked<T>(tile, (b * C::slots + j) * L, left, rows, rows_of(group.first + b, j), terms);
  }

 private:
  MatrixRows<T> rows_of(int64_t block, int j) const {
    return {w + (slots.gate[j] * H + block * L) * terms, terms, min(L, H - block * L)};
  }
};

template <class C, class T>
struct ForwardWeights {
  static constexpr int L = kLanes<T>;

  const Forward<T>& call;

  static Panels<T> take(Arena& arena, const Shape& shape) {
    const int64_t units = padded<T>(shape.H);
    Panels<T> p;
    p.w_ih = arena.take<T>(units * C::x.count * shape.I);
    p.w_hh = arena.take<T>(units * Phases<C>::products * shape.H);
    p.bias = arena.take<T>(units * C::slots);
    p.vectors = arena.take<T>(units * C::vectors);
    return p;
  }
  static size_t bytes(const Shape& shape) {
    Arena arena(nullptr);
    take(arena, shape);
    return arena.at;
  }

  Factor<C, T, -1> by_x(const Panels<T>& panels, bool unpacked, int64_t place) const {
    return {call.w_ih, call.shape.I, call.shape.H, panels.w_ih, unpacked, place};
  }
  template <int phase>
  Factor<C, T, phase> by_left(const Panels<T>& panels, bool unpacked) const {
    const int64_t H = call.shape.H, before = padded<T>(H) * Phases<C>::products_before(phase) * H;
    return {call.w_hh, H, H, panels.w_hh + before, unpacked, -1};
  }

  // Biases and the units' own parameters, of unit blocks [begin, end).
  void pack_units(const Panels<T>& panels, int64_t begin, int64_t end) const {
    const int64_t H = call.shape.H;
    for (int64_t b = begin; b < end; ++b) {
      const int64_t lanes = min(L, H - b * L);
      T* to = panels.bias + b * C::slots * L;
      for (int j = 0; j < C::slots; ++j) store(to + j * L, vec<T>{});
      const auto add = [&](const T* from, const GateSlots& slots) {
        for (int j = 0; from && j < slots.count; ++j) {
          T* sum = to + (slots.first + j) * L;
          store(sum, load(sum) + load_first(from + slots.gate[j] * H + b * L, lanes));
        }
      };
      add(call.b_ih, C::x);
      for (const GateSlots& phase : C::phases) add(call.b_hh, phase);
      for (int i = 0; i < C::vectors; ++i)
        store(panels.vectors + (b * C::vectors + i) * L, load_first(call.vectors + i * H + b * L, lanes));
    }
  }
};

}  // namespace bptt::BPTT_ISA
