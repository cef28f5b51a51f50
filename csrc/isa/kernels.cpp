// Fills one instruction set's table.
#include "../kernels.h"

#include "backward.h"
#include "forward.h"
#include "optim.h"

#define BPTT_STRING_(x) #x
#define BPTT_STRING(x) BPTT_STRING_(x)

namespace bptt::BPTT_ISA {

namespace {

template <class C, class T>
size_t kept_bytes(const Shape& shape, int64_t rows) {
  Arena arena(nullptr);
  const int64_t any = 0;  // the size does not depend on the schedule, only that there is one
  Kept<C, T>(arena, shape, rows, &any);
  return arena.at;
}

template <class C, class T>
void unpack(const void* block, const Shape& shape, const Schedule& schedule, const Unpacked<T>& to) {
  Arena arena(block);
  const Kept<C, T> kept(arena, shape, schedule.first_row[shape.T], schedule.first_row);
  const size_t width = size_t(shape.H) * sizeof(T);
  for (int64_t slot = 0; slot < shape.N; ++slot) {
    const int64_t n = schedule.sequence[slot];
    for (int64_t s = -1; s < schedule.length[slot]; ++s) {
      const int64_t from = kept.states.index(s, slot), at = ((s + 1) * shape.N + n) * shape.H;
      for (int i = 0; i < C::states; ++i) memcpy(to.states[i] + at, kept.states.rows[i] + from, width);
      for (int64_t block = 0; s >= 0 && block < kept.blocks; ++block) {
        constexpr int L = kLanes<T>;
        const T* values = kept.values(schedule, s, block, slot);
        const int64_t lanes = min(L, shape.H - block * L), row = s * shape.N + n;
        for (int j = 0; j < C::saved; ++j)
          store_first(to.saved[j].data + row * to.saved[j].stride + block * L, load(values + j * L), lanes);
      }
    }
  }
}

template <class T, vec<T> (*f)(vec<T>)>
void map(const T* x, T* y, int64_t n) {
  for (int64_t i = 0; i < n; i += kLanes<T>) {
    const int64_t lanes = min(kLanes<T>, n - i);
    store_first(y + i, f(load_first(x + i, lanes)), lanes);
  }
}

// What the row of a cell says of it and what its struct says fit together.
template <class C>
constexpr bool is_sound(const CellInfo& row) {
  int beside = 0;
  while (row.beside[beside]) ++beside;
  return C::saved <= kMostSaved && C::states <= kMostStates && Phases<C>::products == C::gates &&
         C::x.count == C::gates && (C::saved == 0 ? beside == 0 : C::saved == C::gates + beside);
}
#define BPTT_CELL(Name, ...) static_assert(is_sound<Name<float>>(info(Cell::k##Name)));
BPTT_CELLS(BPTT_CELL)
#undef BPTT_CELL

template <class C, class T>
constexpr CellKernels<T> kCell{C::saved,          kept_bytes<C, T>, forward_scratch<C, T>,  forward<C, T>,
                               panel_bytes<C, T>, pack<C, T>,       backward_scratch<C, T>, backward<C, T>,
                               unpack<C, T>};

template <class T>
constexpr Table<T> kTable{
    {
#define BPTT_CELL(Name, ...) kCell<Name<T>, T>,
        BPTT_CELLS(BPTT_CELL)
#undef BPTT_CELL
    },
    {{update<Sgd, T>, update<Adam, T>, update<Rmsprop, T>, update<Adagrad, T>}, sum_of_squares<T>},
    {map<T, exp<T>>, map<T, sigmoid<T>>, map<T, tanh<T>>},
};

}  // namespace

extern const Kernels kernels;  // see runtime/dispatch.cpp
const Kernels kernels{BPTT_STRING(BPTT_ISA), kLanes<float>, kTable<float>, kTable<double>};

}  // namespace bptt::BPTT_ISA
