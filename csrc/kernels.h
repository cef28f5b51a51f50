// The only interface between the binding and the kernels: plain aggregates, and struct Kernels, the table of
// function pointers that one instruction set fills.
//
// Axes: T steps, N sequences, I inputs, H hidden units, G gates. A sequence of length l is processed in its
// own order s = 0..l-1; step s stands at time t = s, or t = l-1-s if reversed.
#pragma once

#include <stddef.h>
#include <stdint.h>

// Without exception, so that no copy compiled for one instruction set can serve the others.
#define BPTT_INLINE inline __attribute__((always_inline))

namespace bptt {

enum class Cell { kRnn, kLstm, kGru };
constexpr int kCells = 3;

enum class Nonlinearity { kTanh, kRelu, kLeakyRelu, kSigmoid, kIdentity };

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
  Nonlinearity nonlinearity;  // of the RNN
  T slope;                    // of leaky_relu
  int threads;                // at most; scratch has room for so many
  bool (*stop)();             // asked between chunks of time by the calling thread: shall the call end early?
  Sequences<const T> x;       // (T,N,I)
  const T *w_ih, *w_hh;       // (G*H,I), (G*H,H); null with panels
};

template <class T>
struct Forward : Call<T> {
  const T *b_ih, *b_hh;  // (G*H), or null
  const T *h_0, *c_0;    // (N,H), or null
  Sequences<T> y;        // (T,N,H), or data null
  T *h_n, *c_n;          // (N,H), or null
  void* kept;            // kept_bytes for the same kernels' backward pass, or null
  void* panels;          // panel_bytes with the weights, packed before for as many sequences, or null. Then
                         // the call uses one thread, and no weights and biases
  void* scratch;         // a block of forward_scratch bytes
};

template <class T>
struct Backward : Call<T> {
  const void* kept;
  Sequences<const T> dy;  // (T,N,H), or data null
  const T *dh_n, *dc_n;   // (N,H), or null
  Sequences<T> dx;        // (T,N,I); each of these is null where it is not asked for
  T *dw_ih, *dw_hh;       // (G*H,I), (G*H,H)
  T *db_ih, *db_hh;       // (G*H)
  T *dh_0, *dc_0;         // (N,H)
  Sequences<T> dh;        // (T,N,H), of h after each step: dy and what comes back from the steps after it
  void* scratch;
  bool resumes;  // the call before, with the same scratch, was for the steps that follow these: dh_n and dc_n
                 // are what it left there, and sums go on. They are in their places when step 0 is done
};

// Copies of what was kept, in the reference's layout.
template <class T>
struct Unpacked {
  T* gates;  // (T,N,G,H)
  T* q;      // (T,N,H), GRU
  T* h;      // (T+1,N,H)
  T* c;      // (T+1,N,H), LSTM
};

// Kernels neither allocate nor throw. They return false if stop() ended them.
template <class T>
struct CellKernels {
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

struct Kernels {
  const char* name;
  int lanes_f32;  // a measure of this instruction set's speed, for deciding about threads
  CellKernels<float> f32[kCells];
  CellKernels<double> f64[kCells];
  OptimKernels<float> optim_f32;
  OptimKernels<double> optim_f64;
  MathKernels<float> math_f32;
  MathKernels<double> math_f64;
};

namespace baseline {
extern const Kernels kernels;
}
namespace avx2 {
extern const Kernels kernels;
}
namespace avx512 {
extern const Kernels kernels;
}

}  // namespace bptt
