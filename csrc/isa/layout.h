// How memory and work are laid out: blocks of scratch, what a forward pass keeps, who does what.
#pragma once

#include "../kernels.h"
#include "../runtime/team.h"
#include "product.h"

namespace bptt::BPTT_ISA {

// Hands out aligned pieces of one block. Begun at null it only measures: layouts are structs whose
// constructors take an Arena, so that the size of a block and its use cannot disagree.
struct Arena {
  uintptr_t at;
  explicit Arena(const void* block) : at(reinterpret_cast<uintptr_t>(block)) {}

  template <class U>
  U* take(int64_t n) {
    const uintptr_t piece = at;
    at += uintptr_t(round_up(n * int64_t(sizeof(U)), kAlign));
    return reinterpret_cast<U*>(piece);
  }
};

// Pieces of one block, as large as each other: one for each member of a team.
struct Pieces {
  Arena first;
  uintptr_t bytes;

  Arena of(int member) const {
    Arena piece = first;
    piece.at += uintptr_t(member) * bytes;
    return piece;
  }
  size_t end(int team) const { return of(team).at; }
};

template <class T>
constexpr int64_t padded(int64_t n) {
  return round_up(n, kLanes<T>);
}

// How the recurrence is divided among a team. No bit of any result depends on it.
//   kRows:  each member takes its sequences through all steps and never waits
//   kUnits: each member has its hidden units of all sequences, with a barrier a step
//   kOne:   one thread: a step is too small to share, or panels are given
enum class Division { kRows, kUnits, kOne };

template <class C, class T>
Division division(const Shape& shape) {
  if (shape.N >= 6 && shape.H < 256) return Division::kRows;
  const int64_t flops = 2 * shape.N * C::gates * shape.H * shape.H;
  return flops >= 4096 * kLanes<T> ? Division::kUnits : Division::kOne;
}

// States by step: index(s, slot) for those after step s, s = -1 for the initial ones. What is not kept has
// room for two steps, used in turn.
template <class T>
struct States {
  T* rows[kMostStates];
  const int64_t* first_row;  // null: two steps in turn
  int64_t N, width;

  States(Arena& arena, const Shape& shape, int states, int64_t rows_kept, const int64_t* first_row)
      : rows{}, first_row(first_row), N(shape.N), width(padded<T>(shape.H)) {
    const int64_t size = (first_row ? N + rows_kept : 2 * N) * width;
    for (int i = 0; i < states; ++i) rows[i] = arena.take<T>(size);
  }
  int64_t index(int64_t s, int64_t slot) const {
    if (!first_row) return (((s + 1) & 1) * N + slot) * width;
    return ((s < 0 ? 0 : N + first_row[s]) + slot) * width;
  }
};

// What is kept for the backward pass: states, and saved values as [s][unit block][slot][value][lane]; where
// members take rows as [s][slot][unit block][value][lane], so that a member's of one step lie together.
template <class C, class T>
struct Kept {
  States<T> states;
  T* saved;
  int64_t blocks;
  bool by_slot;

  Kept(Arena& arena, const Shape& shape, int64_t rows, const int64_t* first_row)
      : states(arena, shape, C::states, rows, first_row),
        blocks(ceil_div(shape.H, kLanes<T>)),
        by_slot(division<C, T>(shape) == Division::kRows) {
    saved = arena.take<T>(rows * blocks * C::saved * kLanes<T>);
  }
  T* values(const Schedule& schedule, int64_t s, int64_t block, int64_t slot) const {
    const int64_t row = by_slot ? slot * blocks + block : block * schedule.count(s) + slot;
    return saved + (schedule.first_row[s] * blocks + row) * C::saved * kLanes<T>;
  }
};

struct Group {
  int64_t first, size;  // in vectors
};

// Columns of a matrix, in vectors, dealt evenly into groups; a group is one tile wide. The panel of a group
// holds its columns for all k, and panels follow each other without gaps. A member's columns, dealt by
// groups, are the same for every `widest`.
template <class T>
struct Groups {
  int64_t columns, vectors, count;

  Groups(int64_t columns, int64_t widest, int64_t members)
      : columns(columns), vectors(ceil_div(columns, kLanes<T>)) {
    count = min(round_up(ceil_div(vectors, widest), members), vectors);
  }
  int64_t begin(int64_t g) const { return part_begin(vectors, count, g); }
  int64_t size(int64_t g) const { return begin(g + 1) - begin(g); }
  int64_t widest() const { return ceil_div(vectors, max(1, count)); }
  Group operator[](int64_t g) const { return {begin(g), size(g)}; }
  int64_t lanes(int64_t vector) const { return min(kLanes<T>, columns - vector * kLanes<T>); }
  bool full(int64_t g) const { return begin(g + 1) * kLanes<T> <= columns; }
};

// The slots of one member: contiguous if all sequences are equally long, else dealt back and forth, so that
// every member gets about the same number of steps. Slots rise with j, so those at work are always first.
struct Slots {
  int64_t first, n, index, members;
  bool dealt;

  Slots(const Schedule& schedule, int64_t N, int64_t index, int64_t members)
      : first(0), n(N), index(index), members(members), dealt(false) {
    if (members == 1) return;
    dealt = !schedule.uniform;
    // parts are dealt from the end: the calling thread, which hears of Ctrl-C, has a slot whenever there is
    // one
    first = dealt ? 0 : N - part_begin(N, members, members - index);
    n = dealt ? dealt_below(N) : N - part_begin(N, members, members - index - 1) - first;
  }
  int64_t slot(int64_t j) const {
    if (!dealt) return first + j;
    return j * members + ((j & 1) ? members - 1 - index : index);
  }
  // how many of them lie below `slots`
  int64_t below(int64_t slots) const {
    if (dealt) return dealt_below(slots);
    return slots <= first ? 0 : min(slots - first, n);
  }

 private:
  int64_t dealt_below(int64_t slots) const {
    const int64_t rounds = slots / members, rest = slots % members;
    return rounds + (((rounds & 1) ? members - 1 - index : index) < rest);
  }
};

// One member's part of the recurrence.
struct Share {
  Slots slots;
  int64_t group_begin, group_end;
  bool waits;  // at a barrier after each step

  Share(Division how, const Schedule& schedule, int64_t N, int64_t groups, const Member& m)
      : slots(schedule, N, how == Division::kRows ? m.index : 0, how == Division::kRows ? m.count : 1),
        group_begin(0),
        group_end(groups),
        waits(how == Division::kUnits && m.count > 1) {
    if (how == Division::kUnits) {
      group_begin = part_begin(groups, m.count, m.index);
      group_end = part_begin(groups, m.count, m.index + 1);
    } else if (how == Division::kOne && m.index > 0) {
      slots.n = 0;
      group_end = 0;
    }
  }
};

// f(begin, size) for rows 0..n-1 in tiles as even as possible
template <class F>
BPTT_INLINE void for_tiles(int64_t n, int64_t largest, const F& f) {
  int64_t tiles = ceil_div(n, largest);
  for (int64_t begin = 0, size; tiles > 0; begin += size, --tiles) {
    size = ceil_div(n - begin, tiles);
    f(begin, size);
  }
}

// Whether a call has been asked to stop, told by the calling thread to the others. Two flags in turn: the one
// told before a barrier is not touched again before all have passed the next.
struct Stop {
  bool told[2] = {false, false};

  void tell(const Member& m, int64_t turn, bool (*stop)()) {
    if (m.index == 0 && stop()) __atomic_store_n(&told[turn & 1], true, __ATOMIC_RELAXED);
  }
  bool heard(int64_t turn) const { return __atomic_load_n(&told[turn & 1], __ATOMIC_RELAXED); }
};

template <class Body>
void run(int threads, Body& body) {
  run_team(threads, [](void* b, const Member& m) { (*static_cast<Body*>(b))(m); }, &body);
}

// Rows of a (rows, columns) array copied into and out of padded ones, for the units of groups [begin, end).
template <class T>
void copy_units(const Groups<T>& groups, int64_t begin, int64_t end, T* to, const T* from) {
  const int64_t first = groups.begin(begin) * kLanes<T>;
  const int64_t last = min(groups.begin(end) * kLanes<T>, groups.columns);
  if (last <= first) return;
  const size_t bytes = size_t(last - first) * sizeof(T);
  if (from)
    memcpy(to + first, from + first, bytes);
  else
    memset(to + first, 0, bytes);
}

// Zero the rows of an array past each sequence's end, those of the schedule's own share of time.
template <class T>
void clear_past_end(const Schedule& schedule, const Shape& shape, const Sequences<T>& rows, int64_t width,
                    const Member& m) {
  if (schedule.uniform || !rows.data) return;
  for (int64_t slot = m.index; slot < shape.N; slot += m.count)
    for (int64_t t = max(schedule.length[slot], schedule.begin); t < schedule.begin + shape.T; ++t)
      memset(rows.at(t, schedule.sequence[slot]), 0, size_t(width) * sizeof(T));
}

}  // namespace bptt::BPTT_ISA
