#include "cache.h"

#include <pybind11/stl.h>
#include <string.h>

#include <algorithm>
#include <vector>

#include "cell.h"
#include "team.h"
#include "unlocked.h"

namespace bptt {

namespace {

// A rough estimate of a call's time on one thread, with the rows past sequences' ends that it clears.
double microseconds_of(const Cache& cache, int passes) {
  const CellInfo& cell = info(cache.cell);
  const auto [T, N, I, H] = cache.shape;
  const double size = double(cache.dtype.itemsize()), rows = double(cache.schedule.rows());
  const double lanes = double(cache.kernels->lanes_f32) * sizeof(float) / size;
  const double flops = 2. * double(cell.gates) * double(H) * double(I + H);
  const double activations = double(cell.gates) * double(H);
  const double cleared = (double(T * N) - rows) * double(I + H) * size;
  return rows * passes * (flops / 6000 + activations / 200) / lanes + cleared / 10000;
}

// Fills in what the cache knows of a call; its estimated time. Segments are yet to say which of them is worth
// a team.
template <class T>
double describe(Call<T>& call, const Cache& cache, int passes) {
  const double microseconds = microseconds_of(cache, passes);
  call.shape = cache.shape;
  call.schedule = cache.schedule.view();
  call.nonlinearity = cache.nonlinearity;
  call.slope = T(cache.slope);
  call.threads = cache.segment || worth_a_team(microseconds) ? team_size() : 1;
  call.stop = interrupted;
  if (microseconds < kShort) call.stop = [] { return false; };
  call.x = sequences<const T>(cache.x);
  call.w_ih = data<const T>(cache.w_ih);
  call.w_hh = data<const T>(cache.w_hh);
  return microseconds;
}

template <class T>
void add_biases(Forward<T>& call, const Cache& cache) {
  call.b_ih = data<const T>(cache.b_ih);
  call.b_hh = data<const T>(cache.b_hh);
}

template <class Pass>
void run_or_raise(double microseconds, const Pass& pass) {
  if (!run_unlocked(microseconds, pass)) throw py::error_already_set();
}

// The segments of a call with checkpoints: which steps they have, and the states they begin with.
template <class T>
class Segments {
 public:
  Segments(const Cache& cache, double microseconds = 0)
      : microseconds_(microseconds),
        all_(cache.schedule.view()),
        shape_(cache.shape),
        length_(cache.segment),
        has_c_(info(cache.cell).has_c),
        states_(static_cast<T*>(cache.kept.data())),
        first_row_(size_t(length_) + 1) {}

  int64_t count() const { return std::max<int64_t>(1, (shape_.T + length_ - 1) / length_); }
  size_t bytes() const { return size_t(count() * values()) * sizeof(T); }
  T* h(int64_t i) const { return states_ + i * values(); }
  T* c(int64_t i) const { return has_c_ ? h(i) + shape_.N * shape_.H : nullptr; }

  // Makes a call for all segments that of segment i, until the next is asked for.
  template <class Pass>
  Pass part(int64_t i, const Pass& whole) {
    const int64_t a = i * length_, b = std::min(a + length_, shape_.T);
    Pass call = whole;
    call.shape.T = b - a;
    call.schedule = steps_of(all_, a, b, first_row_.data());
    return call;
  }
  // Whether threads are worth waking for segment i, as for a call of its own.
  bool worth_a_team(int64_t i) const {
    const int64_t steps = std::min(length_, shape_.T - i * length_);
    return bptt::worth_a_team(microseconds_ * double(steps) / double(std::max<int64_t>(1, shape_.T)));
  }

 private:
  int64_t values() const { return (has_c_ ? 2 : 1) * shape_.N * shape_.H; }

  double microseconds_;  // of all segments
  Schedule all_;
  Shape shape_;
  int64_t length_;  // of a segment
  bool has_c_;
  T* states_;
  std::vector<int64_t> first_row_;
};

// The forward pass, which stores the state before each segment.
template <class T>
bool forward(const CellKernels<T>& kernels, const Forward<T>& whole, Segments<T>& segments) {
  const size_t bytes = size_t(whole.shape.N * whole.shape.H) * sizeof(T);
  const auto store = [&](T* to, const T* from) {
    if (to && from) memcpy(to, from, bytes);
    if (to && !from) memset(to, 0, bytes);
  };
  store(segments.h(0), whole.h_0);
  store(segments.c(0), whole.c_0);
  for (int64_t i = 0; i < segments.count(); ++i) {
    Forward<T> call = segments.part(i, whole);
    if (!segments.worth_a_team(i)) call.threads = 1;
    call.h_0 = segments.h(i);
    call.c_0 = segments.c(i);
    if (i + 1 < segments.count()) {
      call.h_n = segments.h(i + 1);
      call.c_n = segments.c(i + 1);
    }
    if (!kernels.forward(call)) return false;
  }
  return true;
}

// The backward pass; `again` is the forward pass that makes what it reads.
template <class T>
bool backward(const CellKernels<T>& kernels, const Forward<T>& again, const Backward<T>& whole,
              Segments<T>& segments) {
  for (int64_t i = segments.count() - 1; i >= 0; --i) {
    Forward<T> forth = segments.part(i, again);
    Backward<T> back = segments.part(i, whole);
    if (!segments.worth_a_team(i)) forth.threads = back.threads = 1;
    forth.h_0 = segments.h(i);
    forth.c_0 = segments.c(i);
    back.resumes = i + 1 < segments.count();
    if (!kernels.forward(forth) || !kernels.backward(back)) return false;
  }
  return true;
}

// A forward pass that was made before: its results are known, all it does is to keep.
template <class T>
Forward<T> again(const Call<T>& call, const Cache& cache) {
  Forward<T> forward{};
  static_cast<Call<T>&>(forward) = call;
  add_biases(forward, cache);
  return forward;
}

template <class T>
py::dict arrays_of(const Cache& cache) {
  const CellKernels<T>& kernels = kernels_of<T>(*cache.kernels, cache.cell);
  const auto [steps, N, I, H] = cache.shape;
  const auto zeros = py::module_::import("numpy").attr("zeros");
  py::dict arrays;
  Unpacked<T> to{};
  const auto add = [&](const char* name, const Extents& extents) {
    arrays[name] = zeros(std::vector<py::ssize_t>(extents.begin(), extents.end()), cache.dtype);
    return data<T>(arrays[name]);
  };
  if (cache.cell != Cell::kRnn) to.gates = add("gates", {steps, N, info(cache.cell).gates, H});
  if (cache.cell == Cell::kGru) to.q = add("q", {steps, N, H});
  to.h = add("h", {steps + 1, N, H});
  if (info(cache.cell).has_c) to.c = add("c", {steps + 1, N, H});
  if (!cache.segment) {
    kernels.unpack(cache.kept.data(), cache.shape, cache.schedule.view(), to);
    return arrays;
  }
  Call<T> call{};
  const double microseconds = describe(call, cache, 1);
  if (!worth_a_team(microseconds)) call.threads = 1;
  Forward<T> forward = again(call, cache);
  const Segments<T> segments(cache);
  forward.h_0 = segments.h(0);
  forward.c_0 = segments.c(0);
  const Block kept(kernels.kept_bytes(cache.shape, cache.schedule.rows()));
  forward.kept = kept.data();
  const Block scratch(kernels.forward_scratch(forward));
  forward.scratch = scratch.data();
  run_or_raise(microseconds, [&] { return kernels.forward(forward); });
  kernels.unpack(forward.kept, cache.shape, forward.schedule, to);
  return arrays;
}

}  // namespace

template <class T>
void run(Cache& cache, Forward<T>& call, bool training) {
  const CellKernels<T>& kernels = kernels_of<T>(*cache.kernels, cache.cell);
  const double microseconds = describe(call, cache, 1);
  add_biases(call, cache);
  if (cache.segment) cache.kept = Block(Segments<T>(cache).bytes());
  if (training && !cache.segment) {
    cache.kept = Block(kernels.kept_bytes(cache.shape, cache.schedule.rows()));
    call.kept = cache.kept.data();
  }
  const Block scratch(kernels.forward_scratch(call));
  call.scratch = scratch.data();
  if (!cache.segment) return run_or_raise(microseconds, [&] { return kernels.forward(call); });
  Segments<T> segments(cache, microseconds);
  run_or_raise(microseconds, [&] { return forward(kernels, call, segments); });
}

template <class T>
void run(const Cache& cache, Backward<T>& call) {
  const CellKernels<T>& kernels = kernels_of<T>(*cache.kernels, cache.cell);
  const double microseconds = describe(call, cache, cache.segment ? 4 : 3);
  if (!cache.segment) {
    call.kept = cache.kept.data();
    const Block scratch(kernels.backward_scratch(call));
    call.scratch = scratch.data();
    return run_or_raise(microseconds, [&] { return kernels.backward(call); });
  }
  Segments<T> segments(cache, microseconds);
  Backward<T> first = segments.part(0, call);
  first.resumes = segments.count() > 1;  // no other needs more memory
  const Block kept(kernels.kept_bytes(first.shape, first.schedule.first_row[first.shape.T]));
  call.kept = kept.data();
  const Block scratch(kernels.backward_scratch(first));
  call.scratch = scratch.data();
  Forward<T> forward = again(call, cache);
  forward.kept = kept.data();
  const Block forward_scratch(kernels.forward_scratch(forward));
  forward.scratch = forward_scratch.data();
  run_or_raise(microseconds, [&] { return backward(kernels, forward, call, segments); });
}

template void run(Cache&, Forward<float>&, bool);
template void run(Cache&, Forward<double>&, bool);
template void run(const Cache&, Backward<float>&);
template void run(const Cache&, Backward<double>&);

py::dict Cache::arrays() const {
  return dtype.itemsize() == sizeof(float) ? arrays_of<float>(*this) : arrays_of<double>(*this);
}

std::string Cache::repr() const {
  return std::string("<Cache of ") + info(cell).name + "_forward, T=" + std::to_string(shape.T) +
         " N=" + std::to_string(shape.N) + " I=" + std::to_string(shape.I) + " H=" + std::to_string(shape.H) +
         ">";
}

}  // namespace bptt
