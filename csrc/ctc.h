// Connectionist temporal classification: how improbable a network's outputs make a target, and the gradient.
// The specification is python/bptt/reference/ctc.py. Nothing here knows Python.
//
// Axes: T steps, N sequences, C classes. S is the number of a target's labels.
#pragma once

#include "kernels.h"

namespace bptt {

struct CtcShape {
  int64_t T, N, C;
};

template <class T>
struct Ctc {
  CtcShape shape;
  Sequences<const T> logits;  // (T,N,C)
  const int64_t* length;      // (N), of the sequences, 0..T
  const int64_t* labels;      // of all targets, one after the other: 0..C-1 without blank
  const int64_t* first;       // (N+1): where each target begins; first[N] is the number of all labels
  int64_t blank;
  bool zero_infinity;    // an infinite loss counts as 0, and so does its gradient
  double* losses;        // (N): -log p(target | logits)
  Sequences<T> dlogits;  // (T,N,C): of the mean over N of losses divided by max(S, 1)
  void (*exp)(const double* x, double* y, int64_t n);
  int threads;     // at most; scratch has room for so many
  bool (*stop)();  // asked now and then by the calling thread: shall the call end early?
  void* scratch;   // a block of ctc_scratch bytes
};

template <class T>
size_t ctc_scratch(const Ctc<T>&);

// False if stop() ended it.
template <class T>
bool ctc(const Ctc<T>&);

}  // namespace bptt
