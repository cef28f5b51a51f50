// The forward pass: one driver for all cells.
//
// Preactivations begin as the bias, x_t's product with the panel of w_ih is added, then h_{t-1}'s with that
// of w_hh, and the cell follows while the tile is in the first cache. The input's product has no recurrence:
// where a step has few rows, or its weights are more than a cache holds, it is made for several steps at
// once, so that w_ih is read once for all of them.
#pragma once

#include "cells.h"
#include "panels.h"

namespace bptt::BPTT_ISA {

template <class C, class T>
struct ForwardPass {
  static constexpr int L = kLanes<T>;
  static constexpr int64_t kNarrow = C::slots > 1 ? 1 : kMaxVectors;  // unit blocks in a group of many rows
  static constexpr int64_t kFewRows = 16;                             // of a step: too few to fill tiles with
  static constexpr int64_t kLongStep = 1 << 20;       // N*H*H of a step after which Ctrl-C is asked for
  static constexpr int64_t kAheadRows = 128;          // made at once
  static constexpr int64_t kInFirstCache = 32 << 10;  // bytes of weights that stay there for a step
  static constexpr int64_t kResident = 512 << 10;     // bytes of weights that stay in a member's cache
  static constexpr int64_t kOwnPanels = 4 << 20;      // bytes of panels that each member may have of its own

  // One of the two products: with x or with h.
  struct Factor {
    const T* w;
    int64_t terms;
    int (*gate)(int);
    int first;      // slot
    T* panels;      // [group][k][unit block][gate][lane]
    bool unpacked;  // w is read but once: as it is
    int64_t place;  // the unit block in whose place all panels are, being used but once; else -1

    T* panel(const Group& group) const {
      return panels + (place < 0 ? group.first : place) * C::x_count * L * terms;
    }
  };
  // Members who take rows have panels of their own, unless they are large: a core packs them in less time
  // than it takes to fetch them from another core.
  struct Panels {
    T *w_ih, *w_hh, *bias;
  };
  struct PerMember {
    States<T> states;
    Panels panels;
    const T** x;  // rows of the step, or of the steps ahead
    const T** h;  // rows of the step
    T** y;
    T* ahead;  // preactivations [row][unit block][slot][lane]
  };

  const Forward<T>& call;
  const Shape shape;
  const Schedule& schedule;
  const C cell;
  const Division how;
  Stop stop;
  int64_t units, width;   // padded; of a row of preactivations
  const bool own_panels;  // each member has its own
  const bool copies;      // states are kept beside those that steps go on with
  Kept<C, T> kept;
  States<T> shared_states;
  Panels shared;
  Pieces members;

  ForwardPass(const Forward<T>& call, Arena arena)
      : call(call),
        shape(call.shape),
        schedule(call.schedule),
        cell(call),
        how(call.panels ? Division::kOne : division<C, T>(call.shape)),
        units(padded<T>(shape.H)),
        width(units * C::slots),
        own_panels(how == Division::kRows && int64_t(panel_bytes(shape)) <= kOwnPanels),
        copies(call.kept && how == Division::kRows),
        kept(keep(call)),
        shared_states(call.kept
                          ? kept.states
                          : States<T>(arena, how == Division::kRows ? Shape{} : shape, C::has_c, 0, nullptr)),
        shared(shared_panels(arena)),
        members{arena, 0} {
    take_member(arena);
    members.bytes = arena.at - members.first.at;
  }
  static Kept<C, T> keep(const Forward<T>& call) {
    Arena arena(call.kept);
    return {arena, call.shape, call.schedule.first_row[call.shape.T], call.schedule.first_row};
  }
  Panels shared_panels(Arena& arena) const {
    Arena packed(call.panels);
    if (call.panels) return take_panels(packed, shape);
    return own_panels ? Panels{} : take_panels(arena, shape);
  }
  static Panels take_panels(Arena& arena, const Shape& shape) {
    const int64_t units = padded<T>(shape.H);
    Panels p;
    p.w_ih = arena.take<T>(units * C::x_count * shape.I);
    p.w_hh = arena.take<T>(units * C::h_count * shape.H);
    p.bias = arena.take<T>(units * C::slots);
    return p;
  }
  // Members who take rows go from step to step with states of their own too, whatever is kept: what a core
  // reads ahead beyond its rows is taken from the core that writes them.
  PerMember take_member(Arena& arena) const {
    return {how == Division::kRows ? States<T>(arena, shape, C::has_c, 0, nullptr) : shared_states,
            own_panels ? take_panels(arena, shape) : shared,
            arena.take<const T*>(max(shape.N, kAheadRows)),
            arena.take<const T*>(shape.N),
            arena.take<T*>(shape.N),
            arena.take<T>(kAheadRows * width)};
  }

  // Steps whose input products a member of `count` makes at once.
  int64_t steps_ahead(int64_t rows, int count) const {
    const int64_t weights = units * C::x_count * shape.I * int64_t(sizeof(T));
    const bool pays = rows < kFewRows || weights / (how == Division::kUnits ? count : 1) > kResident;
    return pays ? max(1, min(kAheadRows / max(1, rows), shape.T)) : 1;
  }
  // Unit blocks in a group: many where the rows are few, so that there are always enough sums under way.
  static int64_t widest(int64_t rows) { return max(kNarrow, kAccumulators / max(1, rows) / C::x_count); }
  // The same for the recurrence. Where one or two rows wait for weights that are more than the first cache
  // holds, a group is a part of that cache if it can be: the step after begins with what is still there.
  int64_t widest_of_step(int64_t rows, int members) const {
    const int64_t bytes = C::h_count * shape.H * L * int64_t(sizeof(T)), blocks = units / L / members;
    const int64_t fit = kInFirstCache / bytes;
    if (call.panels || rows > 2 || fit < kNarrow || fit >= blocks) return widest(rows);
    return min(widest(rows), fit);
  }

  void operator()(const Member& m) {
    static_assert(C::x_count == C::h_count, "x_count is meant where both are");
    const int64_t rows = how == Division::kRows ? ceil_div(shape.N, m.count) : shape.N;
    const int64_t steps = steps_ahead(rows, m.count);
    const int dealt = how == Division::kUnits ? m.count : 1;
    const int64_t wide = widest_of_step(rows, dealt);
    const Groups<T> x_groups(shape.H, call.panels || steps == 1 ? wide : widest(rows * steps), dealt);
    const Groups<T> groups(shape.H, wide, dealt);
    const Share x_share(how, schedule, shape.N, x_groups.count, m);
    const Share share(how, schedule, shape.N, groups.count, m);
    Arena arena = members.of(m.index);
    const PerMember mine = take_member(arena);
    const bool once = shape.T == 1 && rows <= kMaxRows && !call.panels;
    const int64_t first = groups.begin(share.group_begin);
    // Else panels are there before the first step: given, or packed by all for all.
    const bool as_used = !call.panels && (own_panels || how != Division::kRows);
    const Factor by_x = factor_x(mine.panels, once, as_used && steps >= shape.T ? first : -1);
    const Factor by_h = factor_h(mine.panels, once);

    clear_past_end(schedule, shape, call.y, shape.H, m);
    for (int64_t j = 0; j < share.slots.n; ++j) begin(mine.states, groups, share, share.slots.slot(j));
    if (as_used) {
      add_biases(mine.panels.bias, first, groups.begin(share.group_end));
    } else if (!call.panels) {
      pack_part(by_x, x_groups, m);
      pack_part(by_h, groups, m);
      const int64_t blocks = units / L;
      add_biases(shared.bias, part_begin(blocks, m.count, m.index), part_begin(blocks, m.count, m.index + 1));
      m.barrier();
    }
    if (share.waits) m.barrier();
    if (share.slots.n == 0) return;  // only those who take rows may have none, and they do not wait

    for (int64_t s0 = 0; s0 < shape.T && schedule.count(s0) > 0; s0 += steps) {
      const int64_t s1 = min(s0 + steps, shape.T);
      if (steps > 1) look_ahead(by_x, x_groups, x_share, s0, s1, as_used, mine);
      T* ahead = mine.ahead;
      for (int64_t s = s0; s < s1; ++s) {
        const int64_t n = share.slots.below(schedule.count(s));
        if (steps == 1) x_rows(share, s, mine.x);
        for (int64_t j = 0; j < n; ++j) {
          const int64_t slot = share.slots.slot(j);
          mine.h[j] = mine.states.h + mine.states.index(s - 1, slot);
          mine.y[j] = call.y.at(schedule.time(s, slot), schedule.sequence[slot]);
        }
        for (int64_t i = share.group_begin; i < share.group_end; ++i) {
          // back and forth, so that what the caches hold of the weights is met first
          const Group group = groups[s & 1 ? share.group_end - 1 - (i - share.group_begin) : i];
          const int64_t first = group.first * C::slots * L, values = group.size * C::slots * L;
          if (s == 0 && as_used) {
            if (steps == 1) pack(by_x, group);
            pack(by_h, group);
          }
          for_tiles(n, tile_rows(group.size * C::h_count), [&](int64_t row, int64_t size) {
            alignas(kAlign) T tile[kMaxRows * kMaxVectors * L];
            T* a[kMaxRows];
            for (int64_t r = 0; r < size; ++r)
              a[r] = steps > 1 ? ahead + (row + r) * width + first : tile + r * values;
            if (steps == 1) project(by_x, group, mine.panels.bias, mine.x + row, a, size);
            add_product(by_h, group, mine.h + row, a, size);
            for (int64_t r = 0; r < size; ++r)
              finish(mine.states, group, s, share.slots.slot(row + r), a[r], mine.y[row + r]);
          });
        }
        ahead += n * width;
        for (int64_t j = share.slots.below(s + 1 < shape.T ? schedule.count(s + 1) : 0); j < n; ++j)
          end(mine.states, groups, share, s, share.slots.slot(j));
        const bool asks = s + 1 == s1 || shape.N * shape.H * shape.H >= kLongStep;
        const int64_t turn = share.waits ? s : 0;
        if (asks) stop.tell(m, turn, call.stop);
        if (share.waits) m.barrier();
        if (asks && stop.heard(turn)) return;
      }
    }
  }

  // The weights as later calls for as many sequences find them in call.panels.
  void pack_all() const {
    const Groups<T> groups(shape.H, widest(shape.N), 1);
    for (int64_t g = 0; g < groups.count; ++g) {
      pack(factor_x(shared, false, -1), groups[g]);
      pack(factor_h(shared, false), groups[g]);
    }
    add_biases(shared.bias, 0, units / L);
  }
  static size_t panel_bytes(const Shape& shape) {
    Arena arena(nullptr);
    take_panels(arena, shape);
    return arena.at;
  }

 private:
  Factor factor_x(const Panels& panels, bool unpacked, int64_t place) const {
    return {call.w_ih, shape.I, C::x_gate, C::x_first, panels.w_ih, unpacked, place};
  }
  Factor factor_h(const Panels& panels, bool unpacked) const {
    return {call.w_hh, shape.H, C::h_gate, C::h_first, panels.w_hh, unpacked, -1};
  }

  int64_t x_rows(const Share& share, int64_t s, const T** rows) const {
    const int64_t n = share.slots.below(schedule.count(s));
    for (int64_t j = 0; j < n; ++j) {
      const int64_t slot = share.slots.slot(j);
      rows[j] = call.x.at(schedule.time(s, slot), schedule.sequence[slot]);
    }
    return n;
  }

  // the preactivations' beginnings of steps s0..s1-1
  void look_ahead(const Factor& by_x, const Groups<T>& groups, const Share& share, int64_t s0, int64_t s1,
                  bool as_used, const PerMember& mine) const {
    int64_t rows = 0;
    for (int64_t s = s0; s < s1; ++s) rows += x_rows(share, s, mine.x + rows);
    for (int64_t g = share.group_begin; g < share.group_end; ++g) {
      const Group group = groups[g];
      if (s0 == 0 && as_used) pack(by_x, group);
      for_tiles(rows, tile_rows(group.size * C::x_count), [&](int64_t row, int64_t size) {
        T* a[kMaxRows];
        for (int64_t r = 0; r < size; ++r) a[r] = mine.ahead + (row + r) * width + group.first * C::slots * L;
        project(by_x, group, mine.panels.bias, mine.x + row, a, size);
      });
    }
  }

  void pack_part(const Factor& by, const Groups<T>& groups, const Member& m) const {
    for (int64_t g = part_begin(groups.count, m.count, m.index);
         g < part_begin(groups.count, m.count, m.index + 1); ++g)
      pack(by, groups[g]);
  }
  // where it can be, just before the first use, so that the panel is in a cache then
  void pack(const Factor& by, const Group& group) const {
    if (by.unpacked) return;
    T* const panel = by.panel(group);
    for (int64_t b = 0; b < group.size; ++b)
      for (int j = 0; j < C::x_count; ++j)
        pack_transposed(panel + (b * C::x_count + j) * L, group.size * C::x_count * L,
                        rows_of(by, group.first + b, j), by.terms);
  }
  MatrixRows<T> rows_of(const Factor& by, int64_t block, int j) const {
    return {by.w + (by.gate(j) * shape.H + block * L) * by.terms, by.terms, min(L, shape.H - block * L)};
  }

  void add_biases(T* bias, int64_t begin, int64_t end) const {
    for (int64_t b = begin; b < end; ++b) {
      T* to = bias + b * C::slots * L;
      for (int j = 0; j < C::slots; ++j) store(to + j * L, vec<T>{});
      const auto add = [&](const T* from, int first, int (*gate)(int)) {
        for (int j = 0; from && j < C::x_count; ++j) {
          T* sum = to + (first + j) * L;
          store(sum, load(sum) + load_first(from + gate(j) * shape.H + b * L, min(L, shape.H - b * L)));
        }
      };
      add(call.b_ih, C::x_first, C::x_gate);
      add(call.b_hh, C::h_first, C::h_gate);
    }
  }

  // preactivations = bias + x w_ih'
  void project(const Factor& by_x, const Group& group, const T* bias, const T* const* x, T* const* a,
               int64_t rows) const {
    const T* from = bias + group.first * C::slots * L;
    const int64_t vectors = group.size * C::slots;
    for (int64_t i = 0; i < rows; ++i)
      for (int64_t v = 0; v < vectors; ++v) store(a[i] + v * L, load(from + v * L));
    add_product(by_x, group, x, a, rows);
  }

  // preactivations += left w'
  void add_product(const Factor& by, const Group& group, const T* const* left_rows, T* const* a,
                   int64_t rows) const {
    LeftRows<T> left{};
    T* tile[kMaxRows]{};
    for (int64_t i = 0; i < rows; ++i) {
      left.row[i] = left_rows[i];
      tile[i] = a[i] + by.first * L;
    }
    if (!by.unpacked) {
      constexpr const auto& products = kProducts<T, Left::kRow, kAccumulators, C::x_count, C::slots>;
      return products(group.size * C::x_count, rows)(tile, left, by.panel(group), by.terms, false);
    }
    for (int64_t b = 0; b < group.size; ++b)
      for (int j = 0; j < C::x_count; ++j)
        product_unpacked<T>(tile, (b * C::slots + j) * L, left, rows, rows_of(by, group.first + b, j),
                            by.terms);
  }

  // the cell, for one row and the units of a group
  BPTT_INLINE void finish(const States<T>& states, const Group& group, int64_t s, int64_t slot, const T* a,
                          T* y) const {
    const int64_t previous = states.index(s - 1, slot), next = states.index(s, slot);
    const int64_t kept_at = copies ? kept.states.index(s, slot) : 0;
    for (int64_t block = group.first; block < group.first + group.size; ++block, a += C::slots * L) {
      const int64_t unit = block * L;
      vec<T> pre[C::slots], v[C::saved + 1];
#pragma GCC unroll 4
      for (int j = 0; j < C::slots; ++j) pre[j] = load(a + j * L);
      State<T> p(load(states.h + previous + unit));
      if constexpr (C::has_c) p.c = load(states.c + previous + unit);
      const State<T> now = cell.forward(pre, p, v);
      store(states.h + next + unit, now.h);
      if constexpr (C::has_c) store(states.c + next + unit, now.c);
      if (copies) {
        store(kept.states.h + kept_at + unit, now.h);
        if constexpr (C::has_c) store(kept.states.c + kept_at + unit, now.c);
      }
      if (C::saved > 0 && call.kept) {
        T* to = kept.values(schedule, s, block, slot);
#pragma GCC unroll 4
        for (int j = 0; j < C::saved; ++j) store(to + j * L, v[j]);
      }
      if (y) store_first(y + unit, now.h, min(L, shape.H - unit));
    }
  }

  void begin(const States<T>& states, const Groups<T>& groups, const Share& share, int64_t slot) const {
    const int64_t n = schedule.sequence[slot];
    const auto copy = [&](T* to, const T* from) {
      copy_units(groups, share.group_begin, share.group_end, to, from ? from + n * shape.H : nullptr);
    };
    const auto begin_with = [&](const States<T>& to) {
      copy(to.h + to.index(-1, slot), call.h_0);
      if constexpr (C::has_c) copy(to.c + to.index(-1, slot), call.c_0);
    };
    begin_with(states);
    if (copies) begin_with(kept.states);
    if (schedule.length[slot] <= schedule.begin) end(states, groups, share, -1, slot);
  }

  void end(const States<T>& states, const Groups<T>& groups, const Share& share, int64_t s,
           int64_t slot) const {
    const int64_t n = schedule.sequence[slot], at = states.index(s, slot);
    const auto copy = [&](T* to, const T* from) {
      if (to) copy_units(groups, share.group_begin, share.group_end, to + n * shape.H, from);
    };
    copy(call.h_n, states.h + at);
    if constexpr (C::has_c) copy(call.c_n, states.c + at);
  }
};

template <class C, class T>
size_t forward_scratch(const Forward<T>& call) {
  return ForwardPass<C, T>(call, Arena(nullptr)).members.end(call.threads);
}

template <class C, class T>
size_t panel_bytes(const Shape& shape) {
  return ForwardPass<C, T>::panel_bytes(shape);
}

template <class C, class T>
void pack(const Forward<T>& call) {
  const ForwardPass<C, T> pass(call, Arena(nullptr));
  auto body = [&](const Member&) { pass.pack_all(); };  // in the mode that calls have, for the biases' sum
  run(1, body);
}

template <class C, class T>
bool forward(const Forward<T>& call) {
  ForwardPass<C, T> pass(call, Arena(call.scratch));
  run(pass.how == Division::kOne ? 1 : call.threads, pass);
  return !pass.stop.told[0] && !pass.stop.told[1];
}

}  // namespace bptt::BPTT_ISA
