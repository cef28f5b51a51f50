// One call each: arguments checked in the order of the signature, results allocated, the kernel run without
// the interpreter lock.
#pragma once

#include "arrays.h"
#include "kernels.h"

namespace bptt {

// As Python gave them; a cell that lacks one leaves it None.
struct ForwardArguments {
  py::object x, w_ih, w_hh, b_ih, b_hh, h_0, c_0, nonlinearity, slope, lengths, reverse, training,
      checkpoint_every, out;
};
struct BackwardArguments {
  py::object cache, dy, dh_n, dc_n, wrt;
};

// y, the final states and the cache
py::tuple forward(Cell cell, const Kernels& kernels, const ForwardArguments& given);
// the gradients of x w_ih w_hh b_ih b_hh h_0 [c_0]
py::tuple backward(Cell cell, const BackwardArguments& given);

}  // namespace bptt
