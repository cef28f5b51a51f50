#include "ctc_call.h"

#include <numeric>

#include "../runtime/blocks.h"
#include "../runtime/ctc.h"
#include "run_call.h"

namespace bptt {

namespace {

struct Targets {
  std::vector<int64_t> labels;  // all that count, one after the other
  std::vector<int64_t> first;   // (N+1): where each target begins
};

// Looks at targets and target_lengths only so far as they need no blank.
class TargetArguments {
 public:
  TargetArguments(py::handle targets, int64_t N) : targets_(integers_argument(targets, "targets")), N_(N) {
    const py::array& array = targets_.given;
    if (array.ndim() != 1 && !(array.ndim() == 2 && array.shape(0) == N))
      shape_error("targets", array,
                  "(N, S) with N = " + std::to_string(N) + " or one target after the other in one axis");
  }

  void take_lengths(py::handle argument) {
    const py::array& array = targets_.given;
    const int64_t most = array.shape(array.ndim() - 1);
    lengths_ = lengths_argument(argument, "target_lengths", N_, most, is_padded() ? "S" : "len(targets)");
    if (is_padded()) return;
    double sum = 0;  // of what may be beyond int64
    for (const int64_t length : lengths_) sum += double(length);
    if (sum != double(most))
      value_error("target_lengths has the sum " + std::to_string(int64_t(sum)) +
                  ", must have the sum len(targets) = " + std::to_string(most));
  }

  Targets checked(int64_t C, int64_t blank) const {
    Targets found{{}, {0}};
    int64_t begin = 0;
    for (int64_t n = 0; n < N_; ++n) {
      const int64_t end = begin + lengths_[size_t(n)];
      for (int64_t i = begin; i < end; ++i) {
        const int64_t label = targets_.numbers.data()[i];
        if (label < 0 || label >= C || label == blank)
          value_error("targets has the value " + text(targets_.given.attr("flat")[py::int_(i)]) +
                      ", must be in 0..C-1 = 0.." + std::to_string(C - 1) +
                      " without blank = " + std::to_string(blank));
        found.labels.push_back(label);
      }
      found.first.push_back(int64_t(found.labels.size()));
      begin = is_padded() ? begin + targets_.given.shape(1) : end;
    }
    return found;
  }

 private:
  bool is_padded() const { return targets_.given.ndim() == 2; }

  Integers targets_;
  int64_t N_;
  std::vector<int64_t> lengths_;
};

double microseconds_of(const CtcShape& shape, const std::vector<int64_t>& lengths, const Targets& targets) {
  double sum = double(shape.T * shape.N) * double(shape.C) / 4000;
  for (size_t n = 0; n < lengths.size(); ++n)
    sum +=
        double(lengths[n]) * (double(shape.C) / 600 + double(targets.first[n + 1] - targets.first[n]) / 100);
  return sum;
}

template <class T>
py::tuple run(const Kernels& kernels, const CtcShape& shape, const py::array& logits,
              const std::vector<int64_t>& lengths, const Targets& targets, int64_t blank,
              bool zero_infinity) {
  const py::array dlogits = new_array(logits.dtype(), {shape.T, shape.N, shape.C});
  std::vector<double> losses(lengths.size());
  const Plan plan = plan_call(microseconds_of(shape, lengths, targets));
  Ctc<T> call{shape,
              sequences<const T>(logits),
              lengths.data(),
              targets.labels.data(),
              targets.first.data(),
              blank,
              zero_infinity,
              losses.data(),
              sequences<T>(dlogits),
              kernels.f64.math.exp,
              plan.threads,
              plan.stop,
              nullptr};
  const Block scratch(ctc_scratch(call));
  call.scratch = scratch.data();
  run_call(plan, [&] { return ctc(call); });
  double sum = 0;
  for (size_t n = 0; n < losses.size(); ++n)
    sum += losses[n] / double(std::max<int64_t>(targets.first[n + 1] - targets.first[n], 1));
  return py::make_tuple(sum / double(shape.N), dlogits);  // of no sequences: NaN
}

}  // namespace

py::tuple ctc_loss(const Kernels& kernels, const CtcArguments& given) {
  const py::dtype dtype = float_dtype(given.logits, "logits");
  constexpr const char* kMeaning = "(T, N, C) with C at least 1";
  const py::array logits = array_argument(given.logits, "logits", dtype, {-1, -1, -1}, kMeaning);
  const CtcShape shape{logits.shape(0), logits.shape(1), logits.shape(2)};
  if (shape.C == 0) shape_error("logits", logits, kMeaning);
  TargetArguments targets(given.targets, shape.N);
  const std::vector<int64_t> lengths =
      lengths_argument(given.input_lengths, "input_lengths", shape.N, shape.T, "T");
  targets.take_lengths(given.target_lengths);
  const int64_t blank =
      integer_argument(given.blank, "blank", 0, shape.C - 1, "0 to C-1 = " + std::to_string(shape.C - 1));
  const bool zero_infinity = bool_argument(given.zero_infinity, "zero_infinity");
  const Targets checked = targets.checked(shape.C, blank);
  return with_dtype(dtype, [&](auto zero) {
    return run<decltype(zero)>(kernels, shape, logits, lengths, checked, blank, zero_infinity);
  });
}

}  // namespace bptt
