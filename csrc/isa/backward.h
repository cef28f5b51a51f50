// Back-propagation through time: one driver for all cells.
//
// Time goes backwards in chunks. Within a chunk the recurrence makes the gradients of the preactivations, D,
// step by step and, for a cell of several phases, from its last phase to its first; then, while D is in
// cache, it is the left factor of everything else (gradient_products.h). It is never stored for all steps.
#pragma once

#include "backward_scratch.h"
#include "cells.h"
#include "gradient_products.h"
#include "panels.h"

namespace bptt::BPTT_ISA {

template <class C, class T>
struct BackwardPass {
  static constexpr int L = kLanes<T>;
  static constexpr int kPhases = Phases<C>::count, kColumns = BackwardScratch<C, T>::kColumns;
  using PerMember = typename BackwardScratch<C, T>::PerMember;

  const BackwardScratch<C, T> scratch;
  const GradientProducts<C, T> products{scratch};
  const Backward<T>& call = scratch.call;
  const Shape& shape = scratch.shape;
  const Schedule& schedule = scratch.call.schedule;
  const C cell{*static_cast<const typename C::Options*>(call.options)};
  const Kept<C, T> kept = keep(call);
  Stop stop{};

  static Kept<C, T> keep(const Backward<T>& call) {
    Arena arena(call.kept);
    return {arena, call.shape, call.schedule.first_row[call.shape.T], call.schedule.first_row};
  }

  void operator()(const Member& m) {
    const int64_t rows = scratch.how == Division::kRows ? ceil_div(shape.N, m.count) : shape.N;
    const Groups<T> groups(shape.H, widest_group(rows), scratch.how == Division::kUnits ? m.count : 1);
    const Groups<T> h_groups(shape.H, kMaxVectors, 1), x_groups(shape.I, kMaxVectors, 1);  // of dw
    const Share share(scratch.how, schedule, shape.N, groups.count, m);
    const PerMember mine = scratch.of(m.index);
    const Member packer =
        scratch.own ? Member{0, 1, nullptr} : m;  // of panels: all of one's own, or a part for all
    prepare(mine, groups, share, m, packer);
    m.barrier();

    bool fresh = !call.resumes;  // nothing has been added to dw
    for (int64_t chunk = ceil_div(shape.T, scratch.chunk_steps) - 1; chunk >= 0; --chunk) {
      const int64_t a = chunk * scratch.chunk_steps, b = min(a + scratch.chunk_steps, shape.T);
      if (schedule.count(a) == 0) continue;
      for (int64_t s = b - 1; s >= a; --s) {
        for (int64_t g = share.group_begin; g < share.group_end; ++g) {
          if (s + 1 < b) multiply_back<0>(mine.w_hh, groups, g, share, a, s + 1, scratch.dstates[0]);
          pointwise(groups, g, share, a, s);
        }
        if (share.waits) m.barrier();
        for_each_index<1, kPhases>([&](auto done) {
          constexpr int phase = kPhases - done;
          for (int64_t g = share.group_begin; g < share.group_end; ++g) {
            multiply_back<phase>(mine.w_hh, groups, g, share, a, s, scratch.dleft);
            part_pointwise<phase - 1>(groups, g, share, a, s);
          }
          if (share.waits) m.barrier();
        });
      }
      for (int64_t g = share.group_begin; leads_back(a) && g < share.group_end; ++g)
        multiply_back<0>(mine.w_hh, groups, g, share, a, a, scratch.dstates[0]);

      const int64_t dx_rows = call.dx.data ? rows_of_dx(share, a, b, m, mine.dx) : 0;
      if (call.dw_hh) pack_left<0>(mine, h_groups, a, b, packer);
      if (!scratch.own) m.barrier();
      if (dx_rows > 0) products.input_gradients(mine.dx, mine.dx_panel, dx_rows, packer);
      if (scratch.own) m.barrier();
      if (call.db_ih || call.db_hh || call.dvectors) products.bias_gradients(a, b, m);
      for_each_index<0, kPhases>([&](auto phase) {
        if (!call.dw_hh) return;
        if constexpr (phase > 0) {
          if (!scratch.own) m.barrier();
          pack_left<phase>(mine, h_groups, a, b, packer);
          if (!scratch.own) m.barrier();
        }
        products.template weight_gradients<C::phases[phase].count>(h_groups, mine.right, call.dw_hh,
                                                                   C::phases[phase], a, b, fresh, m);
      });
      if (call.dw_ih) {
        if (!scratch.own) m.barrier();
        for_rows(a, b, packer, [&](int64_t row, int64_t s, int64_t slot) {
          const T* from = call.x.at(schedule.time(s, slot), schedule.sequence[slot]);
          pack_columns(mine.right, x_groups, row, from);
        });
        if (!scratch.own) m.barrier();
        products.template weight_gradients<C::x.count>(x_groups, mine.right, call.dw_ih, C::x, a, b, fresh,
                                                       m);
      }
      fresh = false;
      stop.tell(m, chunk, call.stop);
      m.barrier();
      if (stop.heard(chunk)) return;
    }
    if (fresh) {
      clear(call.dw_hh, C::gates * shape.H * shape.H, m);
      clear(call.dw_ih, C::gates * shape.H * shape.I, m);
    }
    if (schedule.begin == 0) finish(groups, share, m);
  }

 private:
  // whether anything asks for the gradient of the state before step s
  bool leads_back(int64_t s) const { return schedule.begin + s > 0 || call.dbefore[0]; }

  void prepare(const PerMember& mine, const Groups<T>& groups, const Share& share, const Member& m,
               const Member& packer) const {
    if (shape.T > 1 || kPhases > 1 || leads_back(0)) pack_weights(mine.w_hh, groups, packer);
    clear_past_end(schedule, shape, call.dx, shape.I, m);
    clear_past_end(schedule, shape, call.dh, shape.H, m);
    if (call.resumes) return;
    for (int64_t j = 0; j < share.slots.n; ++j) {
      const int64_t slot = share.slots.slot(j), n = schedule.sequence[slot];
      const auto begin = [&](T* to, const T* from) {
        copy_units(groups, share.group_begin, share.group_end, to + slot * scratch.state_stride,
                   from ? from + n * shape.H : nullptr);
      };
      for (int i = 0; i < C::states; ++i) begin(scratch.dstates[i], call.dafter[i]);
    }
    clear(scratch.db, 2 * scratch.units * scratch.kColumns, m);
  }

  static void clear(T* to, int64_t n, const Member& m) {
    const int64_t begin = part_begin(n, m.count, m.index), end = part_begin(n, m.count, m.index + 1);
    if (to && end > begin) memset(to + begin, 0, size_t(end - begin) * sizeof(T));
  }

  // w_hh as [group][gate, phase after phase][unit][vector][lane]: its rows as they are
  void pack_weights(T* panels, const Groups<T>& columns, const Member& m) const {
    const int64_t rows = Phases<C>::products * shape.H;
    for (int64_t k = part_begin(rows, m.count, m.index); k < part_begin(rows, m.count, m.index + 1); ++k) {
      const T* row = call.w_hh + (Phases<C>::gate(int(k / shape.H)) * shape.H + k % shape.H) * shape.H;
      for (int64_t g = 0; g < columns.count; ++g)
        pack_row(panels + (columns.begin(g) * rows + k * columns.size(g)) * L, columns, g, row);
    }
  }

  // dleft += D_s w_hh of a phase, for the units of a group: for the first phase dh of the step before
  template <int phase>
  void multiply_back(const T* w_hh, const Groups<T>& groups, int64_t g, const Share& share, int64_t a,
                     int64_t s, T* dleft) const {
    const int64_t size = groups.size(g) * shape.H * L;
    const T* panels =
        w_hh + groups.begin(g) * Phases<C>::products * shape.H * L + Phases<C>::products_before(phase) * size;
    products.template multiply<C::phases[phase].count>(
        groups, g, [&](int j) { return panels + j * size; }, C::phases[phase].first,
        share.slots.below(schedule.count(s)), phase > 0,
        [&](int64_t j) {
          const int64_t slot = share.slots.slot(j);
          return RowOfD<T>{scratch.gradients(0, scratch.row_of(a, s) + slot),
                           dleft + slot * scratch.state_stride};
        },
        [](T* const* out, int64_t, bool, const auto& f) { f(out); });
  }

  // the cell's backward, for the units of a group
  void pointwise(const Groups<T>& groups, int64_t g, const Share& share, int64_t a, int64_t s) const {
    const int64_t n = share.slots.below(schedule.count(s));
    for (int64_t j = 0; j < n; ++j) {
      const int64_t slot = share.slots.slot(j);
      const int64_t previous = kept.states.index(s - 1, slot), now = kept.states.index(s, slot);
      const int64_t carried = slot * scratch.state_stride;
      const T* dy = call.dy.data ? call.dy.at(schedule.time(s, slot), schedule.sequence[slot]) : nullptr;
      T* dh_t = call.dh.data ? call.dh.at(schedule.time(s, slot), schedule.sequence[slot]) : nullptr;
      for (int64_t b = groups.begin(g); b < groups.begin(g + 1); ++b) {
        const int64_t unit = b * L;
        vec<T> v[C::saved + 1], u[C::vectors + 1], da[kColumns];
        load_saved(v, s, b, slot);
        load_vectors(u, b);
        State<T> p = load_states(kept.states.rows, previous + unit);
        State<T> state = load_states(kept.states.rows, now + unit);
        State<T> ds = load_states(scratch.dstates, carried + unit);
        if (dy) ds.h += load_first(dy + unit, groups.lanes(b));
        if (dh_t) store_first(dh_t + unit, ds.h, groups.lanes(b));
        const State<T> dp = cell.backward(u, v, p, state, ds, da);
#pragma GCC unroll 4
        for (int i = 0; i < C::states; ++i) store(scratch.dstates[i] + carried + unit, dp[i]);
        T* to = scratch.gradients(b, scratch.row_of(a, s) + slot);
#pragma GCC unroll 4
        for (int k = 0; k < kColumns; ++k) store(to + k * L, da[k]);
      }
    }
  }
  // the same of a phase before the last, whose slots of D are there as far as dleft does not matter to them
  template <int phase>
  void part_pointwise(const Groups<T>& groups, int64_t g, const Share& share, int64_t a, int64_t s) const {
    const int64_t n = share.slots.below(schedule.count(s));
    for (int64_t j = 0; j < n; ++j) {
      const int64_t slot = share.slots.slot(j), previous = kept.states.index(s - 1, slot);
      const int64_t carried = slot * scratch.state_stride;
      for (int64_t b = groups.begin(g); b < groups.begin(g + 1); ++b) {
        vec<T> v[C::saved + 1], u[C::vectors + 1], da[kColumns];
        load_saved(v, s, b, slot);
        load_vectors(u, b);
        T* D = scratch.gradients(b, scratch.row_of(a, s) + slot);
        for (int k = 0; k < kColumns; ++k) da[k] = load(D + k * L);
        const State<T> dp = cell.template part_backward<phase>(
            u, v, load_states(kept.states.rows, previous + b * L), load(scratch.dleft + carried + b * L), da);
        for (int i = 0; i < C::states; ++i) {
          T* to = scratch.dstates[i] + carried + b * L;
          store(to, load(to) + dp[i]);
        }
        const auto put = [&](int first, int count) {
          for (int k = first; k < first + count; ++k) store(D + k * L, da[k]);
        };
        put(C::phases[phase].first, C::phases[phase].count);  // others may still read the next phase's
        put(C::slots, C::vectors);
      }
    }
  }
  BPTT_INLINE void load_saved(vec<T>* v, int64_t s, int64_t block, int64_t slot) const {
    const T* values = kept.values(schedule, s, block, slot);
#pragma GCC unroll 4
    for (int k = 0; k < C::saved; ++k) v[k] = load(values + k * L);
  }
  BPTT_INLINE void load_vectors(vec<T>* u, int64_t block) const {
#pragma GCC unroll 4
    for (int i = 0; i < C::vectors; ++i)
      u[i] = load_first(call.vectors + i * shape.H + block * L, min(L, shape.H - block * L));
  }
  BPTT_INLINE static State<T> load_states(T* const* rows, int64_t at) {
    State<T> state;
#pragma GCC unroll 4
    for (int i = 0; i < C::states; ++i) state[i] = load(rows[i] + at);
    return state;
  }

  // f(row, s, slot) for a member's part of the rows of steps a..b-1
  template <class F>
  BPTT_INLINE void for_rows(int64_t a, int64_t b, const Member& m, const F& f) const {
    for (int64_t s = a; s < b; ++s) {
      const int64_t n = schedule.count(s), end = part_begin(n, m.count, m.index + 1);
      for (int64_t slot = part_begin(n, m.count, m.index); slot < end; ++slot)
        f(scratch.row_of(a, s) + slot, s, slot);
    }
  }
  void pack_columns(T* panels, const Groups<T>& columns, int64_t row, const T* from) const {
    for (int64_t g = 0; g < columns.count; ++g)
      pack_row(panels + (columns.begin(g) * scratch.chunk_rows + row * columns.size(g)) * L, columns, g,
               from);
  }

  // panels of what a phase has multiplied
  template <int phase>
  void pack_left(const PerMember& mine, const Groups<T>& groups, int64_t a, int64_t b,
                 const Member& m) const {
    for_rows(a, b, m, [&](int64_t row, int64_t s, int64_t slot) {
      const int64_t previous = kept.states.index(s - 1, slot);
      const T* left = kept.states.rows[0] + previous;
      if constexpr (phase > 0) {
        left = mine.left;
        for (int64_t block = 0; block < scratch.units / L; ++block) {
          vec<T> v[C::saved + 1];
          load_saved(v, s, block, slot);
          store(mine.left + block * L,
                cell.template left<phase>(v, load_states(kept.states.rows, previous + block * L)));
        }
      }
      pack_columns(mine.right, groups, row, left);
    });
  }

  // Lists a chunk's rows of dx: those that the member itself has made, or all for all.
  int64_t rows_of_dx(const Share& share, int64_t a, int64_t b, const Member& m, RowOfD<T>* list) const {
    const auto row_at = [&](int64_t s, int64_t slot) {
      T* out = call.dx.at(schedule.time(s, slot), schedule.sequence[slot]);
      return RowOfD<T>{scratch.gradients(0, scratch.row_of(a, s) + slot), out};
    };
    if (!scratch.own) {
      for_rows(a, b, m, [&](int64_t row, int64_t s, int64_t slot) { list[row] = row_at(s, slot); });
      return scratch.row_of(a, b);
    }
    int64_t rows = 0;
    for (int64_t s = a; s < b; ++s)
      for (int64_t j = 0; j < share.slots.below(schedule.count(s)); ++j)
        list[rows++] = row_at(s, share.slots.slot(j));
    return rows;
  }

  void finish(const Groups<T>& groups, const Share& share, const Member& m) const {
    for (int64_t j = 0; j < share.slots.n; ++j) {
      const int64_t slot = share.slots.slot(j), n = schedule.sequence[slot];
      const auto end = [&](T* to, const T* from) {
        if (to)
          copy_units(groups, share.group_begin, share.group_end, to + n * shape.H,
                     from + slot * scratch.state_stride);
      };
      for (int i = 0; i < C::states; ++i) end(call.dbefore[i], scratch.dstates[i]);
    }
    if (m.index > 0) return;
    for (int64_t block = 0; block < scratch.units / L; ++block) {
      const auto put = [&](T* to, int row, int column) {
        store_first(to + row * shape.H + block * L, exact_sum(scratch.bias_sum(block, column)),
                    min(L, shape.H - block * L));
      };
      const auto scatter = [&](T* to, const GateSlots& slots) {
        for (int j = 0; to && j < slots.count; ++j) put(to, slots.gate[j], slots.first + j);
      };
      scatter(call.db_ih, C::x);
      for (const GateSlots& phase : C::phases) scatter(call.db_hh, phase);
      for (int i = 0; call.dvectors && i < C::vectors; ++i) put(call.dvectors, i, C::slots + i);
    }
  }
};

template <class C, class T>
size_t backward_scratch(const Backward<T>& call) {
  return BackwardScratch<C, T>(call, Arena(nullptr)).members.end(call.threads);
}

template <class C, class T>
bool backward(const Backward<T>& call) {
  BackwardPass<C, T> pass{{call, Arena(call.scratch)}};
  run(call.threads, pass);
  return !pass.stop.told[0] && !pass.stop.told[1];
}

}  // namespace bptt::BPTT_ISA
