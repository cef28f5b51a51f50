// Lengths of sequences, checked and sorted once for all calls of a layer.
#pragma once

#include "../runtime/schedule.h"
#include "arrays.h"

namespace bptt {

// What Python holds instead of an array of lengths.
struct Lengths {
  OwnedSchedule schedule;
};

// From lengths (N) in 0..T.
Lengths make_lengths(const py::object& lengths, int64_t T, int64_t N);

// The argument `lengths` of a call: None, an array, or Lengths of T and N.
OwnedSchedule schedule_argument(py::handle argument, int64_t T, int64_t N);

}  // namespace bptt
