// An optimiser's step on all its parameters in one call.
#pragma once

#include "../kernels.h"
#include "arrays.h"

namespace bptt {

// Changes each parameter and what is kept of it by its gradient, in place. `kept` has a list of arrays, one a
// parameter, for each thing that the rule keeps, or None where its options need none. False, and nothing is
// changed, if any array is not of the parameter's shape and dtype, contiguous, aligned and in native byte
// order, or not writeable where it is to be changed.
bool update(const Kernels& kernels, const std::string& rule, const std::vector<double>& constants,
            const py::list& params, const py::list& grads, const py::list& kept);

// Of a float32 or float64 array of any layout, in double.
double sum_of_squares(const Kernels& kernels, const py::array& x);

}  // namespace bptt
