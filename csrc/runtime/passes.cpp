#include "passes.h"

#include <string.h>

#include <algorithm>
#include <vector>

#include "team.h"

namespace bptt {

namespace {

// The segments of a problem with checkpoints: which steps they have, and the states they begin with.
template <class T>
class Segments {
 public:
  Segments(const Problem& problem, void* states, double microseconds = 0)
      : problem_(problem),
        all_(problem.schedule.view(problem.reverse)),
        values_(problem.shape.N * problem.shape.H),
        states_(static_cast<T*>(states)),
        microseconds_(microseconds),
        first_row_(size_t(problem.segment) + 1) {}

  int64_t count() const { return std::max<int64_t>(1, (problem_.shape.T + length() - 1) / length()); }
  size_t bytes() const { return size_t(count() * info(problem_.cell).states * values_) * sizeof(T); }
  // state i before a segment, or null where the cell has none
  T* state(int64_t segment, int i) const {
    const int states = info(problem_.cell).states;
    return i < states ? states_ + (segment * states + i) * values_ : nullptr;
  }

  // Makes a call for all segments that of segment i, until the next is asked for.
  template <class Call>
  Call part(int64_t i, const Call& whole) {
    const int64_t a = i * length(), b = std::min(a + length(), problem_.shape.T);
    Call call = whole;
    call.shape.T = b - a;
    call.schedule = steps_of(all_, a, b, first_row_.data());
    return call;
  }
  // The same on as many threads as are worth waking for it alone.
  template <class Call>
  Call work(int64_t i, const Call& whole) {
    Call call = part(i, whole);
    const double all = double(std::max<int64_t>(1, problem_.shape.T));
    if (!worth_a_team(microseconds_ * double(call.shape.T) / all)) call.threads = 1;
    return call;
  }

 private:
  int64_t length() const { return problem_.segment; }

  const Problem& problem_;
  Schedule all_;
  int64_t values_;  // of a state
  T* states_;
  double microseconds_;  // of all segments
  std::vector<int64_t> first_row_;
};

template <class T>
void describe(const Problem& problem, Call<T>& call) {
  call.shape = problem.shape;
  call.schedule = problem.schedule.view(problem.reverse);
}

// The memory that a call works in: it must stay as long as the call is used.
template <class Call>
Block lent(size_t bytes, Call& call) {
  Block scratch(bytes);
  call.scratch = scratch.data();
  return scratch;
}

}  // namespace

double Problem::microseconds(int passes, size_t itemsize) const {
  const int gates = info(cell).gates;
  const auto [T, N, I, H] = shape;
  const double size = double(itemsize), rows = double(schedule.rows());
  const double lanes = double(kernels->lanes_f32) * sizeof(float) / size;
  const double flops = 2. * double(gates) * double(H) * double(I + H);
  const double activations = double(gates) * double(H);
  const double cleared = (double(T * N) - rows) * double(I + H) * size;
  return rows * passes * (flops / 6000 + activations / 200) / lanes + cleared / 10000;
}

template <class T>
Block kept_of(const Problem& problem) {
  if (problem.segment) return Block(Segments<T>(problem, nullptr).bytes());
  return Block(problem.cell_kernels<T>().kept_bytes(problem.shape, problem.schedule.rows()));
}

template <class T>
ForwardRun<T>::ForwardRun(const Problem& problem, const Forward<T>& call, void* kept, double microseconds)
    : problem_(problem), call_(call), kept_(kept), microseconds_(microseconds) {
  describe(problem, call_);
  if (!problem.segment) call_.kept = kept;
  scratch_ = lent(problem.cell_kernels<T>().forward_scratch(call_), call_);
}

template <class T>
bool ForwardRun<T>::operator()() const {
  const CellKernels<T>& kernels = problem_.cell_kernels<T>();
  if (!problem_.segment) return kernels.forward(call_);
  // each segment stores the states before the next
  Segments<T> segments(problem_, kept_, microseconds_);
  const size_t bytes = size_t(call_.shape.N * call_.shape.H) * sizeof(T);
  for (int i = 0; i < info(problem_.cell).states; ++i) {
    if (call_.before[i])
      memcpy(segments.state(0, i), call_.before[i], bytes);
    else
      memset(segments.state(0, i), 0, bytes);
  }
  for (int64_t segment = 0; segment < segments.count(); ++segment) {
    Forward<T> call = segments.work(segment, call_);
    for (int i = 0; i < kMostStates; ++i) {
      call.before[i] = segments.state(segment, i);
      if (segment + 1 < segments.count()) call.after[i] = segments.state(segment + 1, i);
    }
    if (!kernels.forward(call)) return false;
  }
  return true;
}

template <class T>
BackwardRun<T>::BackwardRun(const Problem& problem, const Backward<T>& call, const Forward<T>& again,
                            void* kept, double microseconds)
    : problem_(problem), call_(call), again_(again), kept_(kept), microseconds_(microseconds) {
  const CellKernels<T>& kernels = problem.cell_kernels<T>();
  describe(problem, call_);
  if (!problem.segment) {
    call_.kept = kept;
    scratch_ = lent(kernels.backward_scratch(call_), call_);
    return;
  }
  describe(problem, again_);
  Segments<T> segments(problem, kept);
  Backward<T> first = segments.part(0, call_);
  first.resumes = segments.count() > 1;  // no other needs more memory
  segment_ = Block(kernels.kept_bytes(first.shape, first.schedule.first_row[first.shape.T]));
  call_.kept = again_.kept = segment_.data();
  scratch_ = lent(kernels.backward_scratch(first), call_);
  forward_scratch_ = lent(kernels.forward_scratch(again_), again_);
}

template <class T>
bool BackwardRun<T>::operator()() const {
  const CellKernels<T>& kernels = problem_.cell_kernels<T>();
  if (!problem_.segment) return kernels.backward(call_);
  Segments<T> segments(problem_, kept_, microseconds_);
  for (int64_t segment = segments.count() - 1; segment >= 0; --segment) {
    Backward<T> back = segments.work(segment, call_);
    back.resumes = segment + 1 < segments.count();
    Forward<T> forth = again_;
    static_cast<Call<T>&>(forth) = back;
    for (int i = 0; i < kMostStates; ++i) forth.before[i] = segments.state(segment, i);
    if (!kernels.forward(forth) || !kernels.backward(back)) return false;
  }
  return true;
}

template <class T>
Unpacking<T>::Unpacking(const Problem& problem, const Forward<T>& again, const void* kept,
                        const Unpacked<T>& to)
    : problem_(problem), again_(again), kept_(kept), to_(to) {
  describe(problem, again_);
  if (!problem.segment) return;
  const CellKernels<T>& kernels = problem.cell_kernels<T>();
  const Segments<T> segments(problem, const_cast<void*>(kept));
  for (int i = 0; i < kMostStates; ++i) again_.before[i] = segments.state(0, i);
  made_again_ = Block(kernels.kept_bytes(problem.shape, problem.schedule.rows()));
  again_.kept = made_again_.data();
  scratch_ = lent(kernels.forward_scratch(again_), again_);
}

template <class T>
bool Unpacking<T>::operator()() const {
  const CellKernels<T>& kernels = problem_.cell_kernels<T>();
  if (problem_.segment && !kernels.forward(again_)) return false;
  kernels.unpack(problem_.segment ? again_.kept : kept_, problem_.shape, again_.schedule, to_);
  return true;
}

template Block kept_of<float>(const Problem&);
template Block kept_of<double>(const Problem&);
template class ForwardRun<float>;
template class ForwardRun<double>;
template class BackwardRun<float>;
template class BackwardRun<double>;
template class Unpacking<float>;
template class Unpacking<double>;

}  // namespace bptt
