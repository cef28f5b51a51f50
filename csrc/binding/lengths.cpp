#include "lengths.h"

namespace bptt {

LengthsArgument::LengthsArgument(py::handle argument, int64_t T, int64_t N)
    : T_(T), N_(N), given_(!argument.is_none()) {
  if (!given_) return;
  if (!py::isinstance<Lengths>(argument)) {
    values_ = lengths_argument(argument, "lengths", N, T, "T");
    return;
  }
  sorted_ = &held<Lengths>(argument, "lengths", "Lengths()").schedule;
  if (sorted_->T() != T || sorted_->N() != N)
    value_error("lengths is for T, N = " + std::to_string(sorted_->T()) + ", " +
                std::to_string(sorted_->N()) + ", must be for " + std::to_string(T) + ", " +
                std::to_string(N));
}

OwnedSchedule LengthsArgument::schedule() const {
  if (sorted_) return *sorted_;
  return {T_, N_, given_ ? values_.data() : nullptr};
}

Lengths make_lengths(const py::object& lengths, int64_t T, int64_t N) {
  if (T < 0 || N < 0) value_error("T and N must be at least 0");
  if (lengths.is_none()) type_error("lengths is None, must be an array");
  const LengthsArgument checked(lengths, T, N);
  check_size({T, 8}, sizeof(int64_t));
  return {checked.schedule()};
}

}  // namespace bptt
