// What a training forward pass leaves for the backward pass, and whose Python objects it refers to.
#pragma once

#include <string>

#include "../runtime/passes.h"
#include "cell.h"
#include "run_call.h"

namespace bptt {

struct Cache {
  py::dtype dtype;
  Problem problem;
  Options options;
  py::array x, w_ih, w_hh;
  py::object b_ih, b_hh, vectors;
  Block kept;

  py::dict arrays() const;  // copies, in the reference's layout
  std::string repr() const;
};

// What calls on a cache have in common; they are for as many passes over the problem.
template <class T>
struct CacheCall {
  Plan plan;
  Forward<T> forward;  // without states and results

  CacheCall(const Cache& cache, int passes);
};

}  // namespace bptt
