#include "schedule.h"

#include <algorithm>
#include <numeric>

namespace bptt {

OwnedSchedule::OwnedSchedule(int64_t T, int64_t N, const int64_t* lengths)
    : T_(T), N_(N), uniform_(!lengths), numbers_(size_t(2 * N + T + 1)) {
  int64_t* sequence = numbers_.data();
  int64_t* length = sequence + N;
  int64_t* first_row = length + N;
  std::iota(sequence, sequence + N, int64_t(0));
  if (!uniform_)
    std::stable_sort(sequence, sequence + N, [&](int64_t a, int64_t b) { return lengths[a] > lengths[b]; });
  for (int64_t slot = 0; slot < N; ++slot) length[slot] = uniform_ ? T : lengths[sequence[slot]];

  int64_t count = N;
  first_row[0] = 0;
  for (int64_t s = 0; s < T; ++s) {
    while (count > 0 && length[count - 1] <= s) --count;
    first_row[s + 1] = first_row[s] + count;
  }
}

Schedule OwnedSchedule::view(bool reverse) const {
  const int64_t* numbers = numbers_.data();
  return {numbers, numbers + N_, numbers + 2 * N_, uniform_, reverse, 0};
}

Schedule steps_of(const Schedule& all, int64_t a, int64_t b, int64_t* first_row) {
  for (int64_t s = a; s <= b; ++s) first_row[s - a] = all.first_row[s] - all.first_row[a];
  Schedule some = all;
  some.first_row = first_row;
  some.begin += a;
  return some;
}

}  // namespace bptt
