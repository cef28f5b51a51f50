// Back-propagation through time: one driver for all cells.
//
// Time goes backwards in chunks. Within a chunk the recurrence makes the gradients of the preactivations, D,
// laid out as [unit block][row (s, slot)][slot of the cell][lane], or where members take rows as [row][unit
// block][slot of the cell][lane]; then, while D is in cache, it is the left factor of everything else:
// dx = D w_ih, dw_hh += D' h_prev, dw_ih += D' x and the biases' sums. D is never transposed and never stored
// for all steps. Sums over rows are cut on a grid of steps fixed from s = 0, and their blocks added in
// descending s, so that neither chunks nor threads change a bit.
#pragma once

#include "cells.h"
#include "panels.h"

namespace bptt::BPTT_ISA {

template <class C, class T>
struct BackwardPass {
  static constexpr int L = kLanes<T>;
  static constexpr int64_t kChunkRows = 512;
  static constexpr int64_t kOwnRows = 64;    // of dx: enough for each member to pack w_ih for
  static constexpr int64_t kLent = 1 << 20;  // bytes of dw_hh from which on it lends its place

  const Backward<T>& call;
  const Shape shape;
  const Schedule& schedule;
  const C cell;
  const Division how;
  Stop stop;
  Kept<C, T> kept;
  int64_t units, inputs;  // padded
  int64_t block_steps;    // steps in one block of a sum over rows
  int64_t chunk_steps, chunk_rows;
  int64_t state_stride;              // from row to row of dh and dc, the same for all segments of a call
  int64_t row_stride, block_stride;  // of D
  T *D, *dh, *dc;
  T* db;  // [unit block][slot of the cell][lane]
  struct DRow {
    const T* d;
    T* out;
  };
  // Members who take rows have all of these of their own, unless they are large, others the last: what one
  // core has written costs another more to fetch than it costs to make.
  struct PerMember {
    T* w_hh;      // panels
    T* right;     // panels of a chunk's previous states, then of its inputs
    DRow* dx;     // its rows
    T* dx_panel;  // of w_ih: one gate of one group
  } shared;
  const bool own;  // each member has its own
  Pieces members;

  BackwardPass(const Backward<T>& call, Arena arena)
      : call(call),
        shape(call.shape),
        schedule(call.schedule),
        cell(call),
        how(division<C, T>(call.shape)),
        kept(keep(call)),
        units(padded<T>(shape.H)),
        inputs(padded<T>(shape.I)),
        block_steps(steps_of_block(shape.N)),
        chunk_steps(min(full_chunk(), max(1, shape.T))),
        chunk_rows(chunk_steps * shape.N),
        state_stride(units + gap()),
        row_stride(how == Division::kRows ? units * C::slots + (call.threads > 1 ? gap() : 0) : C::slots * L),
        block_stride(how == Division::kRows ? C::slots * L : chunk_rows * row_stride),
        own(how == Division::kRows && panel_bytes() <= kOwnPanels),
        members{arena, 0} {
    // What a call that resumes goes on with comes first: its place does not depend on T.
    dh = arena.take<T>(shape.N * state_stride);
    dc = arena.take<T>(C::has_c ? shape.N * state_stride : 0);
    db = arena.take<T>(units * C::slots);
    D = arena.take<T>(how == Division::kRows ? chunk_rows * row_stride : units / L * block_stride);
    if (!own) shared = take_panels(arena);
    members.first = arena;
    take_member(arena);
    members.bytes = arena.at - members.first.at;
  }
  PerMember take_panels(Arena& arena) const {
    // Where all is one chunk, dw_hh is written when the recurrence is over, and has the panels until then.
    const int64_t panels = units * C::h_count * shape.H;
    const bool lent = !own && call.dw_hh && !call.resumes && chunk_steps >= shape.T && units == shape.H &&
                      panels * int64_t(sizeof(T)) >= kLent;
    PerMember p{};
    p.w_hh = lent ? call.dw_hh : arena.take<T>(panels);
    p.right = arena.take<T>(chunk_rows * right_columns());
    p.dx = arena.take<DRow>(call.dx.data ? chunk_rows : 0);
    return p;
  }
  PerMember take_member(Arena& arena) const {
    PerMember p = own ? take_panels(arena) : shared;
    // of the widest groups there are: a shorter segment of the same call may have wider ones
    const Groups<T> widest_groups(shape.I, widest(shape.N), 1);
    p.dx_panel = arena.take<T>(call.dx.data ? shape.H * widest_groups.widest() * L : 0);
    return p;
  }
  int64_t right_columns() const { return max(call.dw_ih ? inputs : 0, call.dw_hh ? units : 0); }
  // of a chunk that T does not cut short, so that it is the same for all segments of a call
  int64_t panel_bytes() const {
    const int64_t rows = full_chunk() * shape.N;
    return (units * C::h_count * shape.H + rows * right_columns()) * int64_t(sizeof(T));
  }
  // Longer chunks where dw is large: each reads and writes it once.
  int64_t full_chunk() const {
    const int64_t rows = max(kChunkRows, shape.H / 2);
    return round_up(ceil_div(rows, max(1, shape.N)), block_steps);
  }
  // Between the rows of different members, for what a core reads ahead beyond its own is taken from the core
  // that writes it. An odd number of lines, so that rows a power of two apart spread over a cache's sets.
  int64_t gap() const { return how == Division::kRows ? 5 * kAlign / int64_t(sizeof(T)) : 0; }
  static Kept<C, T> keep(const Backward<T>& call) {
    Arena arena(call.kept);
    return {arena, call.shape, call.schedule.first_row[call.shape.T], call.schedule.first_row};
  }

  // Vectors in a group of the columns of a product with D: many where the rows are few, so that there are
  // always enough sums under way.
  static int64_t widest(int64_t rows) { return max(kMaxVectors, kAccumulators / max(1, rows)); }
  Groups<T> dx_groups() const { return {shape.I, widest(chunk_rows), 1}; }

  void operator()(const Member& m) {
    const int64_t rows = how == Division::kRows ? ceil_div(shape.N, m.count) : shape.N;
    const Groups<T> groups(shape.H, widest(rows), how == Division::kUnits ? m.count : 1);
    const Groups<T> h_groups(shape.H, kMaxVectors, 1), x_groups(shape.I, kMaxVectors, 1);  // of dw
    const Share share(how, schedule, shape.N, groups.count, m);
    Arena arena = members.of(m.index);
    const PerMember mine = take_member(arena);
    const Member packer = own ? Member{0, 1, nullptr} : m;  // of panels: all of one's own, or a part for all
    prepare(mine, groups, share, m, packer);
    m.barrier();

    bool fresh = !call.resumes;  // nothing has been added to dw
    for (int64_t chunk = ceil_div(shape.T, chunk_steps) - 1; chunk >= 0; --chunk) {
      const int64_t a = chunk * chunk_steps, b = min(a + chunk_steps, shape.T);
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
      if (!own) m.barrier();
      if (dx_rows > 0) input_gradients(mine, dx_rows, packer);
      if (own) m.barrier();
      if (call.db_ih || call.db_hh) bias_gradients(a, b, m);
      if (call.dw_hh)
        weight_gradients<C::h_count>(h_groups, mine.right, call.dw_hh, C::h_first, C::h_gate, a, b, fresh, m);
      if (call.dw_ih) {
        if (!own) m.barrier();
        for_rows(a, b, packer, [&](int64_t row, int64_t s, int64_t slot) {
          const T* from = call.x.at(schedule.time(s, slot), schedule.sequence[slot]);
          pack_columns(mine.right, x_groups, row, from);
        });
        if (!own) m.barrier();
        weight_gradients<C::x_count>(x_groups, mine.right, call.dw_ih, C::x_first, C::x_gate, a, b, fresh, m);
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
  // the first row of step s in D, in a chunk that begins with step a
  int64_t row_of(int64_t a, int64_t s) const { return schedule.first_row[s] - schedule.first_row[a]; }
  T* gradients(int64_t block, int64_t row) const { return D + block * block_stride + row * row_stride; }

  void prepare(const PerMember& mine, const Groups<T>& groups, const Share& share, const Member& m,
               const Member& packer) const {
    if (shape.T > 1 || leads_back(0)) pack_weights(mine.w_hh, groups, packer);
    clear_past_end(schedule, shape, call.dx, shape.I, m);
    clear_past_end(schedule, shape, call.dh, shape.H, m);
    if (call.resumes) return;
    for (int64_t j = 0; j < share.slots.n; ++j) {
      const int64_t slot = share.slots.slot(j), n = schedule.sequence[slot];
      const auto begin = [&](T* to, const T* from) {
        copy_units(groups, share.group_begin, share.group_end, to + slot * state_stride,
                   from ? from + n * shape.H : nullptr);
      };
      begin(dh, call.dh_n);
      if constexpr (C::has_c) begin(dc, call.dc_n);
    }
    clear(db, units * C::slots, m);
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
    multiply<C::h_count>(
        groups, g, [&](int j) { return panels + j * size; }, C::h_first, share.slots.below(schedule.count(s)),
        false,
        [&](int64_t j) {
          const int64_t slot = share.slots.slot(j);
          return DRow{gradients(0, row_of(a, s) + slot), dh + slot * state_stride};
        },
        [](T* const* out, int64_t, bool, const auto& f) { f(out); });
  }

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
        left.stride = block_stride;
        T* out[kMaxRows]{};
        for (int64_t i = 0; i < rows; ++i) {
          const DRow its = row(begin + i);
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
        T* carried_h = dh + slot * state_stride + unit;
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
          ds.c = load(dc + slot * state_stride + unit);
        }
        const State<T> dp = cell.backward(v, p, state, ds, da);
        store(carried_h, dp.h);
        if constexpr (C::has_c) store(dc + slot * state_stride + unit, dp.c);
        T* to = gradients(b, row_of(a, s) + slot);
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
        f(row_of(a, s) + slot, s, slot);
    }
  }
  void pack_columns(T* panels, const Groups<T>& columns, int64_t row, const T* from) const {
    for (int64_t g = 0; g < columns.count; ++g)
      pack_row(panels + (columns.begin(g) * chunk_rows + row * columns.size(g)) * L, columns, g, from);
  }

  // Lists a chunk's rows of dx: those that the member itself has made, or all for all.
  int64_t rows_of_dx(const Share& share, int64_t a, int64_t b, const Member& m, DRow* list) const {
    const auto row_at = [&](int64_t s, int64_t slot) {
      T* out = call.dx.at(schedule.time(s, slot), schedule.sequence[slot]);
      return DRow{gradients(0, row_of(a, s) + slot), out};
    };
    if (!own) {
      for_rows(a, b, m, [&](int64_t row, int64_t s, int64_t slot) { list[row] = row_at(s, slot); });
      return row_of(a, b);
    }
    int64_t rows = 0;
    for (int64_t s = a; s < b; ++s)
      for (int64_t j = 0; j < share.slots.below(schedule.count(s)); ++j)
        list[rows++] = row_at(s, share.slots.slot(j));
    return rows;
  }

  // dx = D w_ih, for `all` rows. A panel is packed for one gate of a group and is in a cache for all its
  // rows. Members divide the rows where those are enough to pack panels for, else (group, row).
  void input_gradients(const PerMember& mine, int64_t all, const Member& m) const {
    const Groups<T> columns = dx_groups();
    const auto part = [&](int64_t n, int64_t i) { return part_begin(n, m.count, m.index + i); };
    const bool by_row = all >= kOwnRows * m.count;
    const int64_t first = by_row ? part(all, 0) : 0, rows = by_row ? part(all, 1) - first : all;
    const int64_t items = columns.count * rows, end = by_row ? items : part(items, 1);
    for (int64_t i = by_row ? 0 : part(items, 0), n; i < end; i += n) {
      const int64_t g = i / rows;
      const DRow* list = mine.dx + first + i % rows;
      n = min(rows - i % rows, end - i);
      const auto pack = [&](int j) {
        const T* row = call.w_ih + C::x_gate(j) * shape.H * shape.I;
        for (int64_t k = 0; k < shape.H; ++k)
          pack_row(mine.dx_panel + k * columns.size(g) * L, columns, g, row + k * shape.I);
        return mine.dx_panel;
      };
      multiply<C::x_count>(
          columns, g, pack, C::x_first, n, true, [&](int64_t r) { return list[r]; },
          [&](T* const* out, int64_t rows, bool fresh, const auto& f) {
            at_tile(columns, g, out, rows, fresh, f);
          });
    }
  }

  // f(first row, rows) for the blocks of sums over a chunk's rows, in descending order
  template <class F>
  BPTT_INLINE void for_blocks(int64_t a, int64_t b, const F& f) const {
    for (int64_t s = a + (b - 1 - a) / block_steps * block_steps; s >= a; s -= block_steps) {
      const int64_t first = row_of(a, s), rows = row_of(a, min(s + block_steps, b)) - first;
      for (int64_t r = (ceil_div(rows, kBlock) - 1) * kBlock; r >= 0; r -= kBlock)
        f(first + r, min(kBlock, rows - r));
    }
  }

  // dw += D' columns. Sums of several blocks are gathered in a tile of their own: rows of dw may be a power
  // of two apart, which caches bear badly.
  template <int count>
  void weight_gradients(const Groups<T>& columns, const T* panels, T* dw, int first_slot, int (*gate)(int),
                        int64_t a, int64_t b, bool fresh, const Member& m) const {
    const int64_t items = units / L * columns.count;
    for (int64_t item = part_begin(items, m.count, m.index); item < part_begin(items, m.count, m.index + 1);
         ++item) {
      const int64_t block = item / columns.count, g = item % columns.count;
      const int64_t size = columns.size(g), first = columns.begin(g);
      const int64_t lanes = min(L, shape.H - block * L);
      const T* panel = panels + first * L * chunk_rows;
      const bool apart = chunk_rows > kBlock || !columns.full(g);
      alignas(kAlign) T sums[count * L * kMaxVectors * L];
      T* row_of[count * L];
      const auto out = [&](int64_t i) {
        return dw + (gate(int(i / L)) * shape.H + block * L + i % L) * columns.columns + first * L;
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
            left.stride = row_stride;
            left.row[0] = gradients(block, row) + (first_slot + j) * L + lane;
            kProducts<T, Left::kColumn>(size, n)(row_of + j * L + lane, left, panel + row * size * L, rows,
                                                 empty);
          });
        empty = false;
      });
      if (apart) each([](T* sum, T* to, int64_t n) { store_first(to, load(sum), n); });
    }
  }

  // f(tile) for n rows of an array at the columns of a group: the rows themselves, or a padded tile in their
  // place where the group's last vector is not full
  template <class F>
  BPTT_INLINE void at_tile(const Groups<T>& columns, int64_t g, T* const* out, int64_t n, bool fresh,
                           const F& f) const {
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

  void bias_gradients(int64_t a, int64_t b, const Member& m) const {
    const int64_t blocks = units / L;
    for (int64_t block = part_begin(blocks, m.count, m.index);
         block < part_begin(blocks, m.count, m.index + 1); ++block)
      for_blocks(a, b, [&](int64_t row, int64_t rows) {
        vec<T> sum[C::slots]{};
        const T* from = gradients(block, row);
        for (int64_t r = 0; r < rows; ++r, from += row_stride)
#pragma GCC unroll 4
          for (int j = 0; j < C::slots; ++j) sum[j] += load(from + j * L);
        T* to = db + block * C::slots * L;
        for (int j = 0; j < C::slots; ++j) store(to + j * L, load(to + j * L) + sum[j]);
      });
  }

  void finish(const Groups<T>& groups, const Share& share, const Member& m) const {
    for (int64_t j = 0; j < share.slots.n; ++j) {
      const int64_t slot = share.slots.slot(j), n = schedule.sequence[slot];
      const auto end = [&](T* to, const T* from) {
        if (to)
          copy_units(groups, share.group_begin, share.group_end, to + n * shape.H,
                     from + slot * state_stride);
      };
      end(call.dh_0, dh);
      if constexpr (C::has_c) end(call.dc_0, dc);
    }
    if (m.index > 0) return;
    for (int64_t block = 0; block < units / L; ++block) {
      const T* sums = db + block * C::slots * L;
      const auto scatter = [&](T* to, int first, int gate, int j) {
        if (to)
          store_first(to + gate * shape.H + block * L, load(sums + (first + j) * L),
                      min(L, shape.H - block * L));
      };
      for (int j = 0; j < C::x_count; ++j) scatter(call.db_ih, C::x_first, C::x_gate(j), j);
      for (int j = 0; j < C::h_count; ++j) scatter(call.db_hh, C::h_first, C::h_gate(j), j);
    }
  }
};

template <class C, class T>
size_t backward_scratch(const Backward<T>& call) {
  return BackwardPass<C, T>(call, Arena(nullptr)).members.end(call.threads);
}

template <class C, class T>
bool backward(const Backward<T>& call) {
  BackwardPass<C, T> pass(call, Arena(call.scratch));
  run(call.threads, pass);
  return !pass.stop.told[0] && !pass.stop.told[1];
}

}  // namespace bptt::BPTT_ISA
