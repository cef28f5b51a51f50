// One call each: arguments checked in the order of the signature, results allocated, the kernel run without
// the interpreter lock.
#pragma once

#include "arrays.h"
#include "blocks.h"
#include "schedule.h"

namespace bptt {

// As Python gave them; a cell that lacks one leaves it None.
struct ForwardArguments {
  py::object x, w_ih, w_hh, b_ih, b_hh, h_0, c_0, nonlinearity, slope, lengths, reverse, training, out;
};
struct BackwardArguments {
  py::object cache, dy, dh_n, dc_n, wrt;
};

// What a training forward pass leaves for the backward pass.
struct Cache {
  Cell cell;
  const Kernels* kernels;
  py::dtype dtype;
  Shape shape;
  OwnedSchedule schedule;
  Nonlinearity nonlinearity;
  double slope;
  py::array x, w_ih, w_hh;
  Block kept;

  py::dict arrays() const;  // copies, in the reference's layout
  std::string repr() const;
};

// y, the final states and the cache
py::tuple forward(Cell cell, const Kernels& kernels, const ForwardArguments& given);
// the gradients of x w_ih w_hh b_ih b_hh h_0 [c_0] h
py::tuple backward(Cell cell, const BackwardArguments& given);

}  // namespace bptt
