// Makes a Schedule from lengths, and one for some of the steps of another.
#pragma once

#include <vector>

#include "../kernels.h"

namespace bptt {

// Sequences sorted by length. To copy it costs less than to sort again.
class OwnedSchedule {
 public:
  // lengths (N) in 0..T, or null if every sequence has T steps
  OwnedSchedule(int64_t T, int64_t N, const int64_t* lengths);
  Schedule view(bool reverse) const;
  int64_t rows() const { return numbers_.back(); }
  int64_t T() const { return T_; }
  int64_t N() const { return N_; }

 private:
  int64_t T_, N_;
  bool uniform_;
  std::vector<int64_t> numbers_;  // sequence (N), length (N), first_row (T+1)
};

// Steps [a, b) of a schedule, which it refers to; first_row (b-a+1) is written and becomes a part of it.
Schedule steps_of(const Schedule& all, int64_t a, int64_t b, int64_t* first_row);

}  // namespace bptt
