// The forward pass: one driver for all cells.
//
// For each step, group of units and tile of rows: the preactivations begin as the bias, x_t's product with
// the panel of w_ih is added, then h_{t-1}'s with that of w_hh, and the cell follows while the tile is in the
// first cache. The input's product has no recurrence: where a step has few rows it is made for several steps
// at once, so that w_ih is read once for all of them.
#pragma once

#include "cells.h"
#include "panels.h"

namespace bptt::BPTT_ISA {

template <class C, class T>
struct ForwardPass {
  static constexpr int L = kLanes<T>;
  static constexpr int64_t kWidest = C::slots > 1 ? 1 : kMaxVectors;  // unit blocks in a group
  static constexpr int64_t kFewRows = 16;  // rows of a step worth a product of their own
  static constexpr int64_t kAheadRows = 48, kAheadBytes = 256 << 10;  // what is made ahead

  struct PerMember {
    const T** x;  // rows of the step, or of the steps ahead
    const T** h;
    T* ahead;
  };

  const Forward<T>& call;
  const Shape shape;
  const Schedule& schedule;
  const C cell;
  const Division how;
  Stop stop;
  int64_t units;  // padded
  int64_t ahead_rows;
  Kept<C, T> kept;
  States<T> states;
  T *w_ih, *w_hh, *bias;
  Arena members;
  uintptr_t member_bytes;

  ForwardPass(const Forward<T>& call, Arena arena)
      : call(call),
        shape(call.shape),
        schedule(call.schedule),
        cell(call),
        how(division<C, T>(call.shape)),
        units(padded<T>(shape.H)),
        ahead_rows(max(shape.N, min(kAheadRows, kAheadBytes / int64_t(sizeof(T)) / (units * C::slots)))),
        kept(keep(call)),
        states(call.kept ? kept.states : States<T>(arena, shape, C::has_c, 0, nullptr)),
        w_ih(arena.take<T>(units * C::x_count * shape.I)),
        w_hh(arena.take<T>(units * C::h_count * shape.H)),
        bias(arena.take<T>(units * C::slots)),
        members(arena) {
    take_member(arena);
    member_bytes = arena.at - members.at;
  }
  static Kept<C, T> keep(const Forward<T>& call) {
    Arena arena(call.kept);
    return {arena, call.shape, call.schedule.first_row[call.shape.T], call.schedule.first_row};
  }
  PerMember take_member(Arena& arena) const {
    PerMember p;
    p.x = arena.take<const T*>(ahead_rows);
    p.h = arena.take<const T*>(shape.N);
    p.ahead = arena.take<T>(looks_ahead() ? ahead_rows * units * C::slots : 0);
    return p;
  }
  bool looks_ahead() const { return shape.N < 2 * kFewRows; }
  size_t scratch_end(int team) const { return members.at + size_t(team) * member_bytes; }

  void operator()(const Member& m) {
    const Groups<T> groups(shape.H, kWidest, how == Division::kUnits ? m.count : 1);
    for (int64_t g = part_begin(groups.count, m.count, m.index);
         g < part_begin(groups.count, m.count, m.index + 1); ++g)
      pack(groups, g);
    clear_past_end(schedule, shape, call.y, shape.H, m);

    const Share share(how, schedule, shape.N, groups.count, m);
    for (int64_t j = 0; j < share.slots.n; ++j) begin(groups, share, share.slots.slot(j));
    m.barrier();

    Arena arena = members;
    arena.at += uintptr_t(m.index) * member_bytes;
    const PerMember mine = take_member(arena);
    const int64_t rows = share.slots.n;
    const int64_t steps = looks_ahead() && rows > 0 && rows < kFewRows ? max(1, ahead_rows / rows) : 1;

    for (int64_t s0 = 0; s0 < shape.T && schedule.count(s0) > 0; s0 += steps) {
      const int64_t s1 = min(s0 + steps, shape.T);
      int64_t ahead = 0;  // rows whose preactivations begin in mine.ahead
      if (steps > 1) {
        for (int64_t s = s0; s < s1; ++s) ahead += x_rows(share, s, mine.x + ahead);
        for (int64_t g = share.group_begin; g < share.group_end; ++g)
          for_tiles(ahead, tile_rows(groups.size(g) * C::x_count), [&](int64_t row, int64_t n) {
            project(groups, g, mine.x + row, mine.ahead + at_ahead(groups, share, g, ahead, row), n);
          });
      }
      int64_t first = 0;
      for (int64_t s = s0; s < s1; ++s) {
        const int64_t n = steps > 1 ? share.slots.below(schedule.count(s)) : x_rows(share, s, mine.x);
        for (int64_t j = 0; j < n; ++j) mine.h[j] = states.h + states.index(s - 1, share.slots.slot(j));
        for (int64_t g = share.group_begin; g < share.group_end; ++g)
          for_tiles(n, tile_rows(groups.size(g) * C::h_count), [&](int64_t row, int64_t size) {
            alignas(kAlign) T tile[kMaxRows * kMaxVectors * L];
            T* a = tile;
            if (steps > 1)
              a = mine.ahead + at_ahead(groups, share, g, ahead, first + row);
            else
              project(groups, g, mine.x + row, a, size);
            recur(groups, g, mine.h + row, a, size);
            for (int64_t i = 0; i < size; ++i)
              finish(groups, g, s, share.slots.slot(row + i), a + i * groups.size(g) * C::slots * L);
          });
        first += n;
        for (int64_t j = share.slots.below(s + 1 < shape.T ? schedule.count(s + 1) : 0); j < n; ++j)
          end(groups, share, s, share.slots.slot(j));
        if (share.waits) {
          if (s + 1 == s1) stop.tell(m, s, call.stop);
          m.barrier();
          if (stop.heard(s)) return;
        }
      }
      if (!share.waits) {
        stop.tell(m, 0, call.stop);
        if (stop.heard(0)) return;
      }
    }
  }

 private:
  static int64_t at_ahead(const Groups<T>& groups, const Share& share, int64_t g, int64_t rows, int64_t row) {
    return ((groups.begin(g) - groups.begin(share.group_begin)) * rows + groups.size(g) * row) * C::slots * L;
  }

  int64_t x_rows(const Share& share, int64_t s, const T** rows) const {
    const int64_t n = share.slots.below(schedule.count(s));
    for (int64_t j = 0; j < n; ++j) {
      const int64_t slot = share.slots.slot(j);
      rows[j] = call.x.at(schedule.time(s, slot), schedule.sequence[slot]);
    }
    return n;
  }

  void pack(const Groups<T>& groups, int64_t g) const {
    const int64_t first = groups.begin(g), size = groups.size(g);
    for (int64_t b = 0; b < size; ++b) {
      const int64_t unit = (first + b) * L, lanes = groups.lanes(first + b);
      for (int j = 0; j < C::x_count; ++j)
        pack_transposed(w_ih + (first * shape.I * C::x_count + b * C::x_count + j) * L, size * C::x_count * L,
                        call.w_ih + (C::x_gate(j) * shape.H + unit) * shape.I, shape.I, lanes, shape.I);
      for (int j = 0; j < C::h_count; ++j)
        pack_transposed(w_hh + (first * shape.H * C::h_count + b * C::h_count + j) * L, size * C::h_count * L,
                        call.w_hh + (C::h_gate(j) * shape.H + unit) * shape.H, shape.H, lanes, shape.H);
      T* to = bias + (first + b) * C::slots * L;
      for (int j = 0; j < C::slots; ++j) store(to + j * L, vec<T>{});
      add_bias<C::x_count>(to + C::x_first * L, call.b_ih, unit, lanes, C::x_gate);
      add_bias<C::h_count>(to + C::h_first * L, call.b_hh, unit, lanes, C::h_gate);
    }
  }
  template <int count>
  void add_bias(T* to, const T* b, int64_t unit, int64_t lanes, int (*gate)(int)) const {
    if (!b) return;
    for (int j = 0; j < count; ++j)
      store(to + j * L, load(to + j * L) + load_first(b + gate(j) * shape.H + unit, lanes));
  }

  // preactivations = bias + x w_ih'
  void project(const Groups<T>& groups, int64_t g, const T* const* x, T* a, int64_t rows) const {
    const int64_t size = groups.size(g), vectors = size * C::slots, first = groups.begin(g);
    LeftRows<T> left{};
    T* tile[kMaxRows]{};
    for (int64_t i = 0; i < rows; ++i) {
      for (int64_t v = 0; v < vectors; ++v)
        store(a + (i * vectors + v) * L, load(bias + (first * C::slots + v) * L));
      left.row[i] = x[i];
      tile[i] = a + (i * vectors + C::x_first) * L;
    }
    kProducts<T, Left::kRow>(size * C::x_count, rows)(tile, left, w_ih + first * C::x_count * L * shape.I,
                                                      shape.I);
  }

  // preactivations += h w_hh'
  void recur(const Groups<T>& groups, int64_t g, const T* const* h, T* a, int64_t rows) const {
    const int64_t size = groups.size(g), first = groups.begin(g);
    LeftRows<T> left{};
    T* tile[kMaxRows]{};
    for (int64_t i = 0; i < rows; ++i) {
      left.row[i] = h[i];
      tile[i] = a + (i * size * C::slots + C::h_first) * L;
    }
    kProducts<T, Left::kRow>(size * C::h_count, rows)(tile, left, w_hh + first * C::h_count * L * shape.H,
                                                      shape.H);
  }

  // the cell, for one row and the units of a group
  void finish(const Groups<T>& groups, int64_t g, int64_t s, int64_t slot, const T* a) const {
    const int64_t previous = states.index(s - 1, slot), next = states.index(s, slot);
    T* y = call.y.at(schedule.time(s, slot), schedule.sequence[slot]);
    for (int64_t b = 0; b < groups.size(g); ++b) {
      const int64_t block = groups.begin(g) + b, unit = block * L;
      vec<T> pre[C::slots], v[C::saved + 1];
#pragma GCC unroll 4
      for (int j = 0; j < C::slots; ++j) pre[j] = load(a + (b * C::slots + j) * L);
      State<T> p(load(states.h + previous + unit));
      if constexpr (C::has_c) p.c = load(states.c + previous + unit);
      const State<T> now = cell.forward(pre, p, v);
      store(states.h + next + unit, now.h);
      if constexpr (C::has_c) store(states.c + next + unit, now.c);
      if (C::saved > 0 && call.kept) {
        T* to = kept.values(schedule, s, block, slot);
#pragma GCC unroll 4
        for (int j = 0; j < C::saved; ++j) store(to + j * L, v[j]);
      }
      store_first(y + unit, now.h, groups.lanes(block));
    }
  }

  void begin(const Groups<T>& groups, const Share& share, int64_t slot) const {
    const int64_t n = schedule.sequence[slot], at = states.index(-1, slot);
    const auto copy = [&](T* to, const T* from) {
      copy_units(groups, share.group_begin, share.group_end, to, from ? from + n * shape.H : nullptr);
    };
    copy(states.h + at, call.h_0);
    if constexpr (C::has_c) copy(states.c + at, call.c_0);
    if (schedule.length[slot] == 0) end(groups, share, -1, slot);
  }

  void end(const Groups<T>& groups, const Share& share, int64_t s, int64_t slot) const {
    const int64_t n = schedule.sequence[slot], at = states.index(s, slot);
    const auto copy = [&](T* to, const T* from) {
      copy_units(groups, share.group_begin, share.group_end, to + n * shape.H, from);
    };
    copy(call.h_n, states.h + at);
    if constexpr (C::has_c) copy(call.c_n, states.c + at);
  }
};

template <class C, class T>
size_t forward_scratch(const Forward<T>& call) {
  return ForwardPass<C, T>(call, Arena(nullptr)).scratch_end(call.threads);
}

template <class C, class T>
bool forward(const Forward<T>& call) {
  ForwardPass<C, T> pass(call, Arena(call.scratch));
  run(pass.how == Division::kOne ? 1 : call.threads, pass);
  return !pass.stop.told[0] && !pass.stop.told[1];
}

}  // namespace bptt::BPTT_ISA
