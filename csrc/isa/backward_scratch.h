// Scratch of the backward pass: how long a chunk of time is, what goes on from chunk to chunk, and for one of
// them the gradients of the preactivations, D, and the panels they are multiplied with.
//
// D is laid out as [unit block][row (s, slot)][column][lane], or where members take rows as
// [row][unit block][column][lane]. A column is a slot of the cell or, behind them, a vector of its units' own
// parameters, whose gradients are summed over the rows like the biases'.
#pragma once

#include "cells.h"
#include "layout.h"

namespace bptt::BPTT_ISA {

// A row of D, and the row of an array that its product with weights is added to.
template <class T>
struct RowOfD {
  const T* d;
  T* out;
};

// Vectors in a group of the columns of a product with D: many where the rows are few, so that there are
// always enough sums under way.
inline int64_t widest_group(int64_t rows) { return max(kMaxVectors, kAccumulators / max(1, rows)); }

template <class C, class T>
struct BackwardScratch {
  static constexpr int L = kLanes<T>;
  static constexpr int kPhases = Phases<C>::count;
  static constexpr int kColumns = C::slots + C::vectors;  // of D
  static constexpr int64_t kChunkRows = 512;
  static constexpr int64_t kOwnPanels = 1 << 20;  // bytes that each member may have: a second cache's
  static constexpr int64_t kLent = 1 << 20;       // bytes of dw_hh from which on it lends its place

  const Backward<T>& call;
  const Shape shape;
  const Division how;
  const int64_t units, inputs;  // padded
  const int64_t block_steps;    // steps in one block of a sum over rows
  const int64_t chunk_steps, chunk_rows;
  const int64_t state_stride;              // from row to row of dstates, the same for all segments of a call
  const int64_t row_stride, block_stride;  // of D
  T* D;
  T* dstates[kMostStates];  // (N, state_stride)
  T* dleft;                 // the same, of what a phase leaves for the next
  T* db;                    // [unit block][column][sum, what rounding has taken from it][lane]
  // Members who take rows have all of these of their own, unless they are large, others the last: what one
  // core has written costs another more to fetch than it costs to make.
  struct PerMember {
    T* w_hh;        // panels
    T* right;       // panels of what a chunk has multiplied: a phase's left vectors, then the inputs
    RowOfD<T>* dx;  // its rows
    T* dx_panel;    // of w_ih: one gate of one group
    T* left;        // a row of a phase's left vector
  } shared;
  const bool own;  // each member has its own
  Pieces members;

  BackwardScratch(const Backward<T>& call, Arena arena)
      : call(call),
        shape(call.shape),
        how(division<C, T>(call.shape)),
        units(padded<T>(shape.H)),
        inputs(padded<T>(shape.I)),
        block_steps(steps_of_block(shape.N)),
        chunk_steps(min(full_chunk(), max(1, shape.T))),
        chunk_rows(chunk_steps * shape.N),
        state_stride(units + gap()),
        row_stride(how == Division::kRows ? units * kColumns + (call.threads > 1 ? gap() : 0) : kColumns * L),
        block_stride(how == Division::kRows ? kColumns * L : chunk_rows * row_stride),
        own(how == Division::kRows && panel_bytes() <= kOwnPanels),
        members{arena, 0} {
    // What a call that resumes goes on with comes first: its place does not depend on T.
    for (int i = 0; i < C::states; ++i) dstates[i] = arena.take<T>(shape.N * state_stride);
    db = arena.take<T>(2 * units * kColumns);
    D = arena.take<T>(how == Division::kRows ? chunk_rows * row_stride : units / L * block_stride);
    dleft = arena.take<T>(kPhases > 1 ? shape.N * state_stride : 0);
    if (!own) shared = take_panels(arena);
    members.first = arena;
    take_member(arena);
    members.bytes = arena.at - members.first.at;
  }

  PerMember of(int member) const {
    Arena arena = members.of(member);
    return take_member(arena);
  }

  T* gradients(int64_t block, int64_t row) const { return D + block * block_stride + row * row_stride; }
  T* bias_sum(int64_t block, int column) const { return db + (block * kColumns + column) * 2 * L; }
  // the first row of step s in D, in a chunk that begins with step a
  int64_t row_of(int64_t a, int64_t s) const {
    return call.schedule.first_row[s] - call.schedule.first_row[a];
  }

 private:
  PerMember take_panels(Arena& arena) const {
    // Where all is one chunk, dw_hh is written when the recurrence is over, and has the panels until then.
    const int64_t panels = units * Phases<C>::products * shape.H;
    const bool lent = !own && call.dw_hh && !call.resumes && chunk_steps >= shape.T && units == shape.H &&
                      panels * int64_t(sizeof(T)) >= kLent;
    PerMember p{};
    p.w_hh = lent ? call.dw_hh : arena.take<T>(panels);
    p.right = arena.take<T>(chunk_rows * right_columns());
    p.dx = arena.take<RowOfD<T>>(call.dx.data ? chunk_rows : 0);
    return p;
  }
  PerMember take_member(Arena& arena) const {
    PerMember p = own ? take_panels(arena) : shared;
    // of the widest groups there are: a shorter segment of the same call may have wider ones
    const Groups<T> widest_groups(shape.I, widest_group(shape.N), 1);
    p.dx_panel = arena.take<T>(call.dx.data ? shape.H * widest_groups.widest() * L : 0);
    p.left = arena.take<T>(kPhases > 1 ? units : 0);
    return p;
  }
  int64_t right_columns() const { return max(call.dw_ih ? inputs : 0, call.dw_hh ? units : 0); }
  // of a chunk that T does not cut short, so that it is the same for all segments of a call
  int64_t panel_bytes() const {
    const int64_t rows = full_chunk() * shape.N;
    return (units * Phases<C>::products * shape.H + rows * right_columns()) * int64_t(sizeof(T));
  }
  // Longer chunks where dw is large: each reads and writes it once.
  int64_t full_chunk() const {
    const int64_t rows = max(kChunkRows, shape.H / 2);
    return round_up(ceil_div(rows, max(1, shape.N)), block_steps);
  }
  // Between the rows of different members, for what a core reads ahead beyond its own is taken from the core
  // that writes it. An odd number of lines, so that rows a power of two apart spread over a cache's sets.
  int64_t gap() const { return how == Division::kRows ? 5 * kAlign / int64_t(sizeof(T)) : 0; }
};

}  // namespace bptt::BPTT_ISA
