#include "lengths.h"

namespace bptt {

namespace {

OwnedSchedule sorted(py::handle lengths, int64_t T, int64_t N) {
  return {T, N, lengths_argument(lengths, "lengths", N, T, "T").data()};
}

}  // namespace

Lengths make_lengths(const py::object& lengths, int64_t T, int64_t N) { return {sorted(lengths, T, N)}; }

OwnedSchedule schedule_argument(py::handle argument, int64_t T, int64_t N) {
  if (argument.is_none()) return {T, N, nullptr};
  if (!py::isinstance<Lengths>(argument)) return sorted(argument, T, N);
  const OwnedSchedule& schedule = argument.cast<const Lengths&>().schedule;
  if (schedule.T() != T || schedule.N() != N)
    value_error("lengths are for T, N = " + std::to_string(schedule.T()) + ", " + std::to_string(schedule.N()) +
                ", must be for " + std::to_string(T) + ", " + std::to_string(N));
  return schedule;
}

}  // namespace bptt
