// What a training forward pass leaves for the backward pass: everything, or with checkpoints some states,
// from which the backward pass computes the rest anew, one segment of time after the other.
#pragma once

#include <string>

#include "arrays.h"
#include "blocks.h"
#include "kernels.h"
#include "schedule.h"

namespace bptt {

struct Cache {
  Cell cell;
  const Kernels* kernels;
  py::dtype dtype;
  Shape shape;
  OwnedSchedule schedule;
  Nonlinearity nonlinearity;
  double slope;
  py::array x, w_ih, w_hh;
  py::object b_ih, b_hh;
  int64_t segment;  // steps; 0 without checkpoints
  Block kept;       // by the kernels; with checkpoints h and c (N,H) before each segment

  py::dict arrays() const;  // copies, in the reference's layout
  std::string repr() const;
};

// Run the kernels on a call in which all is filled in but scratch and what the cache knows. A forward pass
// that is not for training leaves nothing in the cache.
template <class T>
void run(Cache& cache, Forward<T>& call, bool training);
template <class T>
void run(const Cache& cache, Backward<T>& call);

}  // namespace bptt
