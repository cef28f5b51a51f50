// One call each: arguments checked in the order of the signature, results allocated, the kernel run without
// the interpreter lock.
#pragma once

#include "../kernels.h"
#include "arrays.h"

namespace bptt {

// Arguments are all of the function's, as Python gave them, in the order of its signature.

// y, the final states and the cache
py::tuple forward(Cell cell, const Kernels& kernels, const py::args& given);
// the gradients of the arguments that are arrays, and of h
py::tuple backward(Cell cell, const py::args& given);

}  // namespace bptt
