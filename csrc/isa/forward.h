// The forward pass: one driver for all cells.
//
// Preactivations begin as the bias, x_t's product with the panel of w_ih is added, then, phase by phase, that
// of the phase's left vector (h_{t-1} for the first) with the panel of w_hh, and the cell follows while the
// tile is in the first cache. The input's product has no recurrence: where a step has few rows, or its
// weights are more than a cache holds, it is made for several steps at once, so that w_ih is read once for
// all of them.
#pragma once

#include "forward_weights.h"

namespace bptt::BPTT_ISA {

template <class C, class T>
struct ForwardPass {
  static constexpr int L = kLanes<T>;
  static constexpr int kPhases = Phases<C>::count;
  static constexpr int kWidest =
      max_of(C::x.count, Phases<C>::widest());                        // vectors of a unit block in a product
  static constexpr int64_t kNarrow = C::slots > 1 ? 1 : kMaxVectors;  // unit blocks in a group of many rows
  static constexpr int64_t kFewRows = 16;                             // of a step: too few to fill tiles with
  static constexpr int64_t kLongStep = 1 << 20;       // N*H*H of a step after which Ctrl-C is asked for
  static constexpr int64_t kAheadRows = 128;          // made at once
  static constexpr int64_t kInFirstCache = 32 << 10;  // bytes of weights that stay there for a step
  static constexpr int64_t kResident = 512 << 10;     // bytes of weights that stay in a member's cache
  static constexpr int64_t kOwnPanels = 4 << 20;      // bytes of panels that each member may have of its own

  struct PerMember {
    States<T> states;
    Panels<T> panels;
    const T** x;     // rows of the step, or of the steps ahead
    const T** left;  // rows of the phase
    T** y;
    T* between;  // [row][unit]: what a phase leaves for the next; of all members, unless they take rows
    T* ahead;    // preactivations [row][unit block][slot][lane]
  };

  const Forward<T>& call;
  const Shape shape;
  const Schedule& schedule;
  const C cell;
  const Division how;
  const ForwardWeights<C, T> weights;
  Stop stop;
  int64_t units, width;   // padded; of a row of preactivations
  const bool own_panels;  // each member has its own
  const bool copies;      // states are kept beside those that steps go on with
  Kept<C, T> kept;
  States<T> shared_states;
  Panels<T> shared;
  T* shared_between;
  Pieces members;

  ForwardPass(const Forward<T>& call, Arena arena)
      : call(call),
        shape(call.shape),
        schedule(call.schedule),
        cell(*static_cast<const typename C::Options*>(call.options)),
        how(call.panels ? Division::kOne : division<C, T>(call.shape)),
        weights{call},
        units(padded<T>(shape.H)),
        width(units * C::slots),
        own_panels(how == Division::kRows && int64_t(weights.bytes(shape)) <= kOwnPanels),
        copies(call.kept && how == Division::kRows),
        kept(keep(call)),
        shared_states(
            call.kept ? kept.states
                      : States<T>(arena, how == Division::kRows ? Shape{} : shape, C::states, 0, nullptr)),
        shared(shared_panels(arena)),
        shared_between(how == Division::kRows ? nullptr : take_between(arena)),
        members{arena, 0} {
    take_member(arena);
    members.bytes = arena.at - members.first.at;
  }
  static Kept<C, T> keep(const Forward<T>& call) {
    Arena arena(call.kept);
    return {arena, call.shape, call.schedule.first_row[call.shape.T], call.schedule.first_row};
  }
  Panels<T> shared_panels(Arena& arena) const {
    Arena packed(call.panels);
    if (call.panels) return weights.take(packed, shape);
    return own_panels ? Panels<T>{} : weights.take(arena, shape);
  }
  T* take_between(Arena& arena) const { return arena.take<T>(kPhases > 1 ? shape.N * units : 0); }
  // Members who take rows go from step to step with states of their own too, whatever is kept: what a core
  // reads ahead beyond its rows is taken from the core that writes them.
  PerMember take_member(Arena& arena) const {
    return {how == Division::kRows ? States<T>(arena, shape, C::states, 0, nullptr) : shared_states,
            own_panels ? weights.take(arena, shape) : shared,
            arena.take<const T*>(max(shape.N, kAheadRows)),
            arena.take<const T*>(shape.N),
            arena.take<T*>(shape.N),
            how == Division::kRows ? take_between(arena) : shared_between,
            arena.take<T>((kPhases > 1 ? max(shape.N, kAheadRows) : kAheadRows) * width)};
  }

  // Steps whose input products a member of `count` makes at once.
  int64_t steps_ahead(int64_t rows, int count) const {
    const int64_t bytes = units * C::x.count * shape.I * int64_t(sizeof(T));
    const bool pays = rows < kFewRows || bytes / (how == Division::kUnits ? count : 1) > kResident;
    return pays ? max(1, min(kAheadRows / max(1, rows), shape.T)) : 1;
  }
  // Unit blocks in a group: many where the rows are few, so that there are always enough sums under way.
  static int64_t widest(int64_t rows) { return max(kNarrow, kAccumulators / max(1, rows) / kWidest); }
  // The same for the recurrence. Where one or two rows wait for weights that are more than the first cache
  // holds, a group is a part of that cache if it can be: the step after begins with what is still there.
  int64_t widest_of_step(int64_t rows, int members) const {
    const int64_t bytes = Phases<C>::products * shape.H * L * int64_t(sizeof(T)),
                  blocks = units / L / members;
    const int64_t fit = kInFirstCache / bytes;
    if (call.panels || rows > 2 || fit < kNarrow || fit >= blocks) return widest(rows);
    return min(widest(rows), fit);
  }

  void operator()(const Member& m) {
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
    const auto by_x = weights.by_x(mine.panels, once, as_used && steps >= shape.T ? first : -1);

    clear_past_end(schedule, shape, call.y, shape.H, m);
    for (int64_t j = 0; j < share.slots.n; ++j) begin(mine.states, groups, share, share.slots.slot(j));
    if (as_used) {
      weights.pack_units(mine.panels, first, groups.begin(share.group_end));
    } else if (!call.panels) {
      by_x.pack_part(x_groups, m);
      for_each_index<0, kPhases>(
          [&](auto phase) { weights.template by_left<phase>(mine.panels, once).pack_part(groups, m); });
      const int64_t blocks = units / L;
      weights.pack_units(shared, part_begin(blocks, m.count, m.index),
                         part_begin(blocks, m.count, m.index + 1));
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
          mine.y[j] = call.y.at(schedule.time(s, slot), schedule.sequence[slot]);
        }
        for_each_index<0, kPhases>([&](auto phase) {
          const auto by_left = weights.template by_left<phase>(mine.panels, once);
          // a unit block's in the larger of the products that follow each other in a tile
          constexpr int products = max_of(C::phases[phase].count, phase == 0 ? C::x.count : 0);
          for (int64_t j = 0; j < n; ++j) mine.left[j] = left_row(phase, mine, s, share.slots.slot(j));
          for (int64_t i = share.group_begin; i < share.group_end; ++i) {
            // back and forth, so that what the caches hold of the weights is met first
            const Group group = groups[s & 1 ? share.group_end - 1 - (i - share.group_begin) : i];
            const int64_t at = group.first * C::slots * L, values = group.size * C::slots * L;
            if (s == 0 && as_used) {
              if (phase == 0 && steps == 1) by_x.pack(group);
              by_left.pack(group);
            }
            for_tiles(n, tile_rows(group.size * products), [&](int64_t row, int64_t size) {
              alignas(kAlign) T tile[kMaxRows * kMaxVectors * L];
              T* a[kMaxRows];
              for (int64_t r = 0; r < size; ++r)
                a[r] = kPhases > 1 || steps > 1 ? ahead + (row + r) * width + at : tile + r * values;
              if (phase == 0 && steps == 1) project(by_x, group, mine.panels.bias, mine.x + row, a, size);
              by_left.add_product(group, mine.left + row, a, size);
              for (int64_t r = 0; r < size; ++r)
                finish<phase>(mine, group, s, share.slots.slot(row + r), a[r], mine.y[row + r]);
            });
          }
          if (phase + 1 < kPhases && share.waits) m.barrier();
        });
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
    const Member all{0, 1, nullptr};
    weights.by_x(shared, false, -1).pack_part(groups, all);
    for_each_index<0, kPhases>(
        [&](auto phase) { weights.template by_left<phase>(shared, false).pack_part(groups, all); });
    weights.pack_units(shared, 0, units / L);
  }

 private:
  int64_t x_rows(const Share& share, int64_t s, const T** rows) const {
    const int64_t n = share.slots.below(schedule.count(s));
    for (int64_t j = 0; j < n; ++j) {
      const int64_t slot = share.slots.slot(j);
      rows[j] = call.x.at(schedule.time(s, slot), schedule.sequence[slot]);
    }
    return n;
  }
  // a row of what a phase multiplies
  BPTT_INLINE const T* left_row(int phase, const PerMember& mine, int64_t s, int64_t slot) const {
    return phase == 0 ? mine.states.rows[0] + mine.states.index(s - 1, slot) : mine.between + slot * units;
  }

  // the preactivations' beginnings of steps s0..s1-1
  void look_ahead(const Factor<C, T, -1>& by_x, const Groups<T>& groups, const Share& share, int64_t s0,
                  int64_t s1, bool as_used, const PerMember& mine) const {
    int64_t rows = 0;
    for (int64_t s = s0; s < s1; ++s) rows += x_rows(share, s, mine.x + rows);
    for (int64_t g = share.group_begin; g < share.group_end; ++g) {
      const Group group = groups[g];
      if (s0 == 0 && as_used) by_x.pack(group);
      for_tiles(rows, tile_rows(group.size * C::x.count), [&](int64_t row, int64_t size) {
        T* a[kMaxRows];
        for (int64_t r = 0; r < size; ++r) a[r] = mine.ahead + (row + r) * width + group.first * C::slots * L;
        project(by_x, group, mine.panels.bias, mine.x + row, a, size);
      });
    }
  }

  // preactivations = bias + x w_ih'
  void project(const Factor<C, T, -1>& by_x, const Group& group, const T* bias, const T* const* x,
               T* const* a, int64_t rows) const {
    const T* from = bias + group.first * C::slots * L;
    const int64_t vectors = group.size * C::slots;
    for (int64_t i = 0; i < rows; ++i)
      for (int64_t v = 0; v < vectors; ++v) store(a[i] + v * L, load(from + v * L));
    by_x.add_product(group, x, a, rows);
  }

  // what follows the product of a phase, for one row and the units of a group: the cell after the last
  template <int phase>
  BPTT_INLINE void finish(const PerMember& mine, const Group& group, int64_t s, int64_t slot, T* a,
                          T* y) const {
    const States<T>& states = mine.states;
    const int64_t previous = states.index(s - 1, slot), next = states.index(s, slot);
    const int64_t kept_at = copies ? kept.states.index(s, slot) : 0;
    for (int64_t block = group.first; block < group.first + group.size; ++block, a += C::slots * L) {
      const int64_t unit = block * L;
      vec<T> pre[C::slots], v[C::saved + 1], u[C::vectors + 1];
#pragma GCC unroll 4
      for (int j = 0; j < C::slots; ++j) pre[j] = load(a + j * L);
#pragma GCC unroll 4
      for (int i = 0; i < C::vectors; ++i) u[i] = load(mine.panels.vectors + (block * C::vectors + i) * L);
      State<T> p;
#pragma GCC unroll 4
      for (int i = 0; i < C::states; ++i) p[i] = load(states.rows[i] + previous + unit);
      if constexpr (phase + 1 < kPhases) {
        cell.template part<phase>(u, pre, p);
        for (int j = 0; j < C::slots; ++j) store(a + j * L, pre[j]);
        store(mine.between + slot * units + unit, cell.template left<phase + 1>(pre, p));
      } else {
        const State<T> now = cell.forward(u, pre, p, v);
#pragma GCC unroll 4
        for (int i = 0; i < C::states; ++i) {
          store(states.rows[i] + next + unit, now[i]);
          if (copies) store(kept.states.rows[i] + kept_at + unit, now[i]);
        }
        if (C::saved > 0 && call.kept) {
          T* to = kept.values(schedule, s, block, slot);
#pragma GCC unroll 4
          for (int j = 0; j < C::saved; ++j) store(to + j * L, v[j]);
        }
        if (y) store_first(y + unit, now.h, min(L, shape.H - unit));
      }
    }
  }

  void begin(const States<T>& states, const Groups<T>& groups, const Share& share, int64_t slot) const {
    const int64_t n = schedule.sequence[slot];
    const auto begin_with = [&](const States<T>& to) {
      for (int i = 0; i < C::states; ++i)
        copy_units(groups, share.group_begin, share.group_end, to.rows[i] + to.index(-1, slot),
                   call.before[i] ? call.before[i] + n * shape.H : nullptr);
    };
    begin_with(states);
    if (copies) begin_with(kept.states);
    if (schedule.length[slot] <= schedule.begin) end(states, groups, share, -1, slot);
  }

  void end(const States<T>& states, const Groups<T>& groups, const Share& share, int64_t s,
           int64_t slot) const {
    const int64_t n = schedule.sequence[slot], at = states.index(s, slot);
    for (int i = 0; i < C::states; ++i)
      if (call.after[i])
        copy_units(groups, share.group_begin, share.group_end, call.after[i] + n * shape.H,
                   states.rows[i] + at);
  }
};

template <class C, class T>
size_t forward_scratch(const Forward<T>& call) {
  return ForwardPass<C, T>(call, Arena(nullptr)).members.end(call.threads);
}

template <class C, class T>
size_t panel_bytes(const Shape& shape) {
  return ForwardWeights<C, T>::bytes(shape);
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
