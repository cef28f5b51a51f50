// Lengths of sequences, checked and sorted once for all calls of a layer.
#pragma once

#include <vector>

#include "../runtime/schedule.h"
#include "arrays.h"

namespace bptt {

// What Python holds instead of an array of lengths.
struct Lengths {
  OwnedSchedule schedule;
};

// From lengths (N) in 0..T.
Lengths make_lengths(const py::object& lengths, int64_t T, int64_t N);

// The argument `lengths` of a call, checked: None, an array, or Lengths of T and N.
class LengthsArgument {
 public:
  LengthsArgument(py::handle argument, int64_t T, int64_t N);
  OwnedSchedule schedule() const;  // not before all sizes are known to fit into memory

 private:
  int64_t T_, N_;
  bool given_;
  const OwnedSchedule* sorted_ = nullptr;
  std::vector<int64_t> values_;
};

}  // namespace bptt
