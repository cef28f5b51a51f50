// Back-propagation through time: one driver for all cells.
//
// Time goes backwards in chunks. Within a chunk the recurrence makes the gradients of the preactivations, D;
// then, while D is in cache, it is the left factor of everything else (gradient_products.h). It is never
// stored for all steps.
#pragma once

#include "backward_scratch.h"
#include "cells.h"
#include "gradient_products.h"
#include "panels.h"

namespace bptt::BPTT_ISA {

template <class C, class T>
struct BackwardPass {
  static constexpr int L = kLanes<T>;
  using PerMember = typename BackwardScratch<C, T>::PerMember;

  const BackwardScratch<C, T> scratch;
  const GradientProducts<C, T> products{scratch};
  const Backward<T>& call = scratch.call;
  const Shape& shape = scratch.shape;
  const Schedule& schedule = scratch.call.schedule;
  const C cell{call};
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
          if (s + 1 < b) recur(mine.w_hh, groups, g, share, a, s + 1);
          pointwise(groups, g, share, a, s);
        }
        if (share.waits) m.barrier();
      }
      for (int64_t g = share.group_begin; leads_back(a) && g < share.group_end; ++g)
        recur(mine.w_hh, groups, g, share, a, a);

      const int64_t dx_rows = call.dx.data ? rows_of_dx(share, a, b, m, mine.dx) : 0;
      if (call.dw_hh)
        for_rows(a, b, packer, [&](int64_t row, int64_t s, int64_t slot) {
          pack_columns(mine.right, h_groups, row, kept.states.h + kept.states.index(s - 1, slot));
        });
      if (!scratch.own) m.barrier();
      if (dx_rows > 0) products.input_gradients(mine.dx, mine.dx_panel, dx_rows, packer);
      if (scratch.own) m.barrier();
      if (call.db_ih || call.db_hh) products.bias_gradients(a, b, m);
      if (call.dw_hh)
        products.template weight_gradients<C::h_count>(h_groups, mine.right, call.dw_hh, C::h_first,
                                                       C::h_gate, a, b, fresh, m);
      if (call.dw_ih) {
        if (!scratch.own) m.barrier();
        for_rows(a, b, packer, [&](int64_t row, int64_t s, int64_t slot) {
          const T* from = call.x.at(schedule.time(s, slot), schedule.sequence[slot]);
          pack_columns(mine.right, x_groups, row, from);
        });
        if (!scratch.own) m.barrier();
        products.template weight_gradients<C::x_count>(x_groups, mine.right, call.dw_ih, C::x_first,
                                                       C::x_gate, a, b, fresh, m);
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
  bool leads_back(int64_t s) const { return schedule.begin + s > 0 || call.dh_0; }

  void prepare(const PerMember& mine, const Groups<T>& groups, const Share& share, const Member& m,
               const Member& packer) const {
    if (shape.T > 1 || leads_back(0)) pack_weights(mine.w_hh, groups, packer);
    clear_past_end(schedule, shape, call.dx, shape.I, m);
    clear_past_end(schedule, shape, call.dh, shape.H, m);
    if (call.resumes) return;
    for (int64_t j = 0; j < share.slots.n; ++j) {
      const int64_t slot = share.slots.slot(j), n = schedule.sequence[slot];
      const auto begin = [&](T* to, const T* from) {
        copy_units(groups, share.group_begin, share.group_end, to + slot * scratch.state_stride,
                   from ? from + n * shape.H : nullptr);
      };
      begin(scratch.dh, call.dh_n);
      if constexpr (C::has_c) begin(scratch.dc, call.dc_n);
    }
    clear(scratch.db, 2 * scratch.units * C::slots, m);
  }

  static void clear(T* to, int64_t n, const Member& m) {
    const int64_t begin = part_begin(n, m.count, m.index), end = part_begin(n, m.count, m.index + 1);
    if (to && end > begin) memset(to + begin, 0, size_t(end - begin) * sizeof(T));
  }

  // w_hh as [group][gate][unit][vector][lane]: its rows as they are
  void pack_weights(T* panels, const Groups<T>& columns, const Member& m) const {
    const int64_t rows = C::h_count * shape.H;
    for (int64_t k = part_begin(rows, m.count, m.index); k < part_begin(rows, m.count, m.index + 1); ++k) {
      const T* row = call.w_hh + (C::h_gate(int(k / shape.H)) * shape.H + k % shape.H) * shape.H;
      for (int64_t g = 0; g < columns.count; ++g)
        pack_row(panels + (columns.begin(g) * rows + k * columns.size(g)) * L, columns, g, row);
    }
  }

  // dh_{s-1} += D_s w_hh, for the units of a group
  void recur(const T* w_hh, const Groups<T>& groups, int64_t g, const Share& share, int64_t a,
             int64_t s) const {
    const int64_t size = groups.size(g) * shape.H * L;
    const T* panels = w_hh + groups.begin(g) * C::h_count * shape.H * L;
    products.template multiply<C::h_count>(
        groups, g, [&](int j) { return panels + j * size; }, C::h_first, share.slots.below(schedule.count(s)),
        false,
        [&](int64_t j) {
          const int64_t slot = share.slots.slot(j);
          return RowOfD<T>{scratch.gradients(0, scratch.row_of(a, s) + slot),
                           scratch.dh + slot * scratch.state_stride};
        },
        [](T* const* out, int64_t, bool, const auto& f) { f(out); });
  }

  // the cell's backward, for the units of a group
  void pointwise(const Groups<T>& groups, int64_t g, const Share& share, int64_t a, int64_t s) const {
    const int64_t n = share.slots.below(schedule.count(s));
    for (int64_t j = 0; j < n; ++j) {
      const int64_t slot = share.slots.slot(j);
      const int64_t previous = kept.states.index(s - 1, slot), now = kept.states.index(s, slot);
      const T* dy = call.dy.data ? call.dy.at(schedule.time(s, slot), schedule.sequence[slot]) : nullptr;
      T* dh_t = call.dh.data ? call.dh.at(schedule.time(s, slot), schedule.sequence[slot]) : nullptr;
      for (int64_t b = groups.begin(g); b < groups.begin(g + 1); ++b) {
        const int64_t unit = b * L;
        T* carried_h = scratch.dh + slot * scratch.state_stride + unit;
        vec<T> v[C::saved + 1], da[C::slots];
        const T* values = kept.values(schedule, s, b, slot);
#pragma GCC unroll 4
        for (int k = 0; k < C::saved; ++k) v[k] = load(values + k * L);
        State<T> p(load(kept.states.h + previous + unit)), state(load(kept.states.h + now + unit));
        State<T> ds(load(carried_h));
        if (dy) ds.h += load_first(dy + unit, groups.lanes(b));
        if (dh_t) store_first(dh_t + unit, ds.h, groups.lanes(b));
        if constexpr (C::has_c) {
          p.c = load(kept.states.c + previous + unit);
          state.c = load(kept.states.c + now + unit);
          ds.c = load(scratch.dc + slot * scratch.state_stride + unit);
        }
        const State<T> dp = cell.backward(v, p, state, ds, da);
        store(carried_h, dp.h);
        if constexpr (C::has_c) store(scratch.dc + slot * scratch.state_stride + unit, dp.c);
        T* to = scratch.gradients(b, scratch.row_of(a, s) + slot);
#pragma GCC unroll 4
        for (int k = 0; k < C::slots; ++k) store(to + k * L, da[k]);
      }
    }
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
      end(call.dh_0, scratch.dh);
      if constexpr (C::has_c) end(call.dc_0, scratch.dc);
    }
    if (m.index > 0) return;
    for (int64_t block = 0; block < scratch.units / L; ++block) {
      const auto scatter = [&](T* to, int first, int gate, int j) {
        if (to)
          store_first(to + gate * shape.H + block * L, exact_sum(scratch.bias_sum(block, first + j)),
                      min(L, shape.H - block * L));
      };
      for (int j = 0; j < C::x_count; ++j) scatter(call.db_ih, C::x_first, C::x_gate(j), j);
      for (int j = 0; j < C::h_count; ++j) scatter(call.db_hh, C::h_first, C::h_gate(j), j);
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
