// The only interface between the kernels and all else: the list of cells, plain aggregates, and struct
// Kernels, the table of function pointers that one instruction set fills.
//
// Axes: T steps, N sequences, I inputs, H hidden units, G gates. A sequence of length l is processed in its
// own order s = 0..l-1; step s stands at time t = s, or t = l-1-s if reversed.
#pragma once

#include <stddef.h>
#include <stdint.h>

// Without exception, so that no copy compiled for one instruction set can serve the others.
#define BPTT_INLINE inline __attribute__((always_inline))

namespace bptt {

// The cells: a name, Python's name, gates, states, vectors of parameters that its units have for themselves
// (such as peepholes), and letters for what is saved for the backward pass beside the gates. What they
// compute is in isa/cells.h.
#define BPTT_CELLS(X)          \
  X(Rnn, "rnn", 1, 1, 0, "")   \
  X(Lstm, "lstm", 4, 2, 0, "") \
  X(Gru, "gru", 3, 1, 0, "q")

enum class Cell {
#define BPTT_CELL(Name, ...) k##Name,
  BPTT_CELLS(BPTT_CELL)
#undef BPTT_CELL
};
struct CellInfo {
  const char* name;
  int gates, states, vectors;
  const char* beside;  // the gates
};
constexpr CellInfo kCellInfo[] = {
#define BPTT_CELL(Name, ...) {__VA_ARGS__},
    BPTT_CELLS(BPTT_CELL)
#undef BPTT_CELL
};
constexpr int kCells = sizeof(kCellInfo) / sizeof(CellInfo);
constexpr int kMostStates = 2, kMostSaved = 4;
BPTT_INLINE constexpr const CellInfo& info(Cell cell) { return kCellInfo[int(cell)]; }

// Options of each cell, by its name.
enum class Nonlinearity { kTanh, kRelu, kLeakyRelu, kSigmoid, kIdentity };
struct RnnOptions {
  Nonlinearity nonlinearity;
  double slope;  // of leaky_relu
};
struct LstmOptions {};
struct GruOptions {};

struct Shape {
  int64_t T, N, I, H;
};

// Terms of a sum in one chain; a multiple of every lane count.
constexpr int64_t kBlock = 64;
// Sums over rows are cut at multiples of so many steps, counted from the sequences' first.
BPTT_INLINE int64_t steps_of_block(int64_t N) { return N < 1 || N > kBlock ? 1 : kBlock / N; }

// Which sequences are at work at each step. Sequences are sorted by falling length into slots 0..N-1, so
// those at work at step s are the slots below count(s); rows (s, slot) are numbered without gaps. A schedule
// may stand for some steps of a longer one: its step 0 is then the sequences' step `begin`.
struct Schedule {
  const int64_t* sequence;   // (N): the sequence in each slot
  const int64_t* length;     // (N): its length, of all steps
  const int64_t* first_row;  // (T+1): number of rows before step s; first_row[T] is the number of all rows
  bool uniform;              // every sequence takes all steps
  bool reverse;
  int64_t begin;

  BPTT_INLINE int64_t count(int64_t s) const { return first_row[s + 1] - first_row[s]; }
  BPTT_INLINE int64_t time(int64_t s, int64_t slot) const {
    return reverse ? length[slot] - 1 - (begin + s) : begin + s;
  }
};

// A (T, N, .) array whose last axis is contiguous; strides in elements.
template <class T>
struct Sequences {
  T* data;
  int64_t step, sequence;
  BPTT_INLINE T* at(int64_t t, int64_t n) const { return data + t * step + n * sequence; }
};

// What forward and backward passes are told alike.
template <class T>
struct Call {
  Shape shape;
  Schedule schedule;
  const void* options;   // those of the cell
  int threads;           // at most; scratch has room for so many
  bool (*stop)();        // asked between chunks of time by the calling thread: shall the call end early?
  Sequences<const T> x;  // (T,N,I)
  const T *w_ih, *w_hh;  // (G*H,I), (G*H,H); null with panels
  const T* vectors;      // (V,H), or null where the cell has none
};

template <class T>
struct Forward : Call<T> {
  const T *b_ih, *b_hh;          // (G*H), or null
  const T* before[kMostStates];  // (N,H) the states h, c, or null
  Sequences<T> y;                // (T,N,H), or data null
  T* after[kMostStates];         // (N,H), or null
  void* kept;                    // kept_bytes for the same kernels' backward pass, or null
  void* panels;   // panel_bytes with the weights, packed before for as many sequences, or null. Then
                  // the call uses one thread, and no weights and biases
  void* scratch;  // a block of forward_scratch bytes
};

template <class T>
struct Backward : Call<T> {
  const void* kept;
  Sequences<const T> dy;         // (T,N,H), or data null
  const T* dafter[kMostStates];  // (N,H), or null
  Sequences<T> dx;               // (T,N,I); each of these is null where it is not asked for
  T *dw_ih, *dw_hh;              // (G*H,I), (G*H,H)
  T *db_ih, *db_hh;              // (G*H)
  T* dvectors;                   // (V,H)
  T* dbefore[kMostStates];       // (N,H)
  Sequences<T> dh;  // (T,N,H), of h after each step: dy and what comes back from the steps after it
  void* scratch;
  bool resumes;  // the call before, with the same scratch, was for the steps that follow these: dafter is
                 // what it left there, and sums go on. They are in their places when step 0 is done
};

// Copies of what was kept, in the reference's layout.
template <class T>
struct Unpacked {
  struct Rows {
    T* data;  // of row (t,n) from data + (t*N + n) * stride on: (H)
    int64_t stride;
  };
  Rows saved[kMostSaved];  // as many as the cell saves: its gates, then what is beside them
  T* states[kMostStates];  // (T+1,N,H)
};

// Kernels neither allocate nor throw. They return false if stop() ended them.
template <class T>
struct CellKernels {
  int saved;  // values a unit and step, beside the states
  size_t (*kept_bytes)(const Shape&, int64_t rows);
  size_t (*forward_scratch)(const Forward<T>&);
  bool (*forward)(const Forward<T>&);
  size_t (*panel_bytes)(const Shape&);
  void (*pack)(const Forward<T>&);  // into its panels
  size_t (*backward_scratch)(const Backward<T>&);
  bool (*backward)(const Backward<T>&);
  void (*unpack)(const void* kept, const Shape&, const Schedule&, const Unpacked<T>&);
};

// What an optimiser does to one parameter; isa/optim.h has what each rule keeps, and its constants.
enum class Rule { kSgd, kAdam, kRmsprop, kAdagrad };
constexpr int kRules = 4, kMostKept = 3, kMostConstants = 8;

// Arrays of one size, none of them in another's memory.
template <class T>
struct Update {
  int64_t size;
  T* p;
  const T* g;
  T* kept[kMostKept];  // null from where the rule, or its options, need none
};

template <class T>
struct OptimKernels {
  // of elements begin..end-1; of their neighbours no bit depends on them
  void (*update[kRules])(const T* constants, const Update<T>&, int64_t begin, int64_t end);
  double (*sum_of_squares)(const T* x, int64_t n);
};

// The functions of isa/math.h on arrays, for tests of their accuracy.
template <class T>
struct MathKernels {
  void (*exp)(const T* x, T* y, int64_t n);
  void (*sigmoid)(const T* x, T* y, int64_t n);
  void (*tanh)(const T* x, T* y, int64_t n);
};

// What one instruction set has for one dtype.
template <class T>
struct Table {
  CellKernels<T> cells[kCells];
  OptimKernels<T> optim;
  MathKernels<T> math;
};

struct Kernels {
  const char* name;
  int lanes_f32;  // a measure of this instruction set's speed, for deciding about threads
  Table<float> f32;
  Table<double> f64;

  template <class T>
  BPTT_INLINE const Table<T>& table() const {
    if constexpr (sizeof(T) == sizeof(float))
      return f32;
    else
      return f64;
  }
};

}  // namespace bptt
