#include "ctc.h"

#include <math.h>

#include <algorithm>
#include <atomic>
#include <limits>

#include "team.h"

namespace bptt {

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

// A number >= 0 too small for a double, m * 2^(512 k): m is 0 or within 2^-256 and 2^256, k a whole number.
// What the recursion needs of it, a sum and a product, takes a tenth of the time of sums of logarithms, and
// keeps its digits where those lose the ones that a large logarithm uses up.
struct Wide {
  double m, k;

  static constexpr double kLog = 0x1.62e42fefa39efp8;  // log(2^512)
  static constexpr Wide zero() { return {0, -kInfinity}; }

  static Wide of(double m, double k) {
    if (m < 0x1p-256) return {m * 0x1p512, k - 1};
    if (m >= 0x1p256) return {m * 0x1p-512, k + 1};
    return {m, k};
  }

  // e^x, x <= 0
  static Wide exp(double x) {
    if (x == -kInfinity) return zero();
    const double k = round(x / kLog);
    // where the digits of x do not reach to its fraction, any m is as good
    const double rest = std::clamp(x - k * kLog, -kLog / 2, kLog / 2);
    return of(::exp(rest), k);
  }

  double log() const { return ::log(m) + k * kLog; }
};

inline Wide operator+(Wide a, Wide b) {
  if (a.k == b.k) return Wide::of(a.m + b.m, a.k);
  if (a.k < b.k) std::swap(a, b);
  return a.k - b.k > 1 ? a : Wide::of(a.m + b.m * 0x1p-512, a.k);
}
inline Wide operator*(Wide a, Wide b) { return Wide::of(a.m * b.m, a.k + b.k); }

// a * b / total, a number up to 1
inline double share(Wide a, Wide b, Wide total) {
  const double m = a.m * b.m / total.m, k = a.k + b.k - total.k;
  return k == 0 ? m : k < -1 ? 0 : m * (k < 0 ? 0x1p-512 : 0x1p512);
}

// Graves's states at one step: S labels, and a blank before, between and after them.
struct States {
  Wide *blank, *label;  // (S+1), (S)
};

// The same from the last one back, if D is -1.
template <int D, class Value>
Value* ordered(Value* values, int64_t n) {
  return D < 0 ? values + n - 1 : values;
}

// From the probabilities after a step to those of being where the next one begins: a blank is reached from
// itself and the label before it, a label from itself, the blank before it and, if `skip`, the label before
// that. With D = -1 the sequence is read backwards.
template <int D>
void reach(const States& from, const bool* skip, int64_t S, const States& to) {
  const Wide *blank = ordered<D>(from.blank, S + 1), *label = ordered<D>(from.label, S);
  Wide *to_blank = ordered<D>(to.blank, S + 1), *to_label = ordered<D>(to.label, S);
  skip = ordered<D>(skip, S + 1);
  to_blank[0] = blank[0];
  for (int64_t j = 0; j < S; ++j) {
    const Wide before = skip[D * j] ? blank[D * j] + label[D * (j - 1)] : blank[D * j];
    to_label[D * j] = label[D * j] + before;
    to_blank[D * (j + 1)] = blank[D * (j + 1)] + label[D * j];
  }
}

// A sequence begins at the first blank or label and, read backwards, ends at the last ones.
template <int D>
void begin(const States& states, int64_t S) {
  std::fill_n(states.blank, S + 1, Wide::zero());
  std::fill_n(states.label, S, Wide::zero());
  *ordered<D>(states.blank, S + 1) = {1, 0};
  if (S > 0) *ordered<D>(states.label, S) = {1, 0};
}

// Eight values side by side, since one chain of n maxima or sums would wait for each.
template <class T, class Fold>
T fold(const T* x, int64_t n, T initial, const Fold& f) {
  constexpr int kChains = 8;
  T chain[kChains];
  std::fill_n(chain, kChains, initial);
  int64_t i = 0;
  for (; i + kChains <= n; i += kChains)
    for (int j = 0; j < kChains; ++j) chain[j] = f(chain[j], x[i + j]);
  for (; i < n; ++i) chain[i % kChains] = f(chain[i % kChains], x[i]);
  for (int j = 1; j < kChains; ++j) chain[0] = f(chain[0], chain[j]);
  return chain[0];
}

int64_t labels_of(const int64_t* first, int64_t n) { return first[n + 1] - first[n]; }

template <class T>
class Worker {
 public:
  static size_t bytes(const Ctc<T>& call) {
    size_t most = 0;
    for (int64_t n = 0; n < call.shape.N; ++n) {
      const size_t S = size_t(labels_of(call.first, n)), L = size_t(call.length[n]);
      most = std::max(most, (L * values_of_step(S) + 2 * states(S)) * sizeof(Wide) + S + 1);
    }
    const size_t all = most + 2 * size_t(call.shape.C) * sizeof(double);
    return (all + 63) / 64 * 64;  // the next member's begins with a line of the cache
  }

  Worker(const Ctc<T>& call, void* scratch) : call_(call), scratch_(scratch) {}

  // Loss and gradient of sequence n. False if stopped().
  template <class Stopped>
  bool run(int64_t n, const Stopped& stopped) {
    const int64_t L = call_.length[n], C = call_.shape.C;
    place(n);
    double total_log = S_ ? -kInfinity : 0;  // of a sequence without steps
    bool defined = true;                     // no row that has no softmax

    for (int64_t t = 0; t < L; ++t) {
      if (stopped(t)) return false;
      defined = softmax(t, n) && defined;
      if (t == 0)
        begin<1>(entered(0), S_);
      else
        reach<1>(left_, skip_, S_, entered(t));
      leave(entered(t), t);
    }
    if (L > 0) total_ = S_ ? left_.blank[S_] + left_.label[S_ - 1] : left_.blank[0];
    if (L > 0) total_log = total_.log();
    const double loss = defined ? -total_log : kNaN;
    const bool is_zero = call_.zero_infinity && loss == kInfinity;
    call_.losses[n] = is_zero ? 0 : loss;

    for (int64_t t = L - 1; t >= 0 && isfinite(loss); --t) {
      if (stopped(t)) return false;
      if (t == L - 1)
        begin<-1>(back_, S_);
      else
        reach<-1>(left_, skip_, S_, back_);
      leave(back_, t);
      subtract_shares(t, n);
    }
    const int64_t kept = isfinite(loss) ? L : 0;
    for (int64_t t = kept; t < call_.shape.T; ++t)
      std::fill_n(call_.dlogits.at(t, n), C, T(t >= L || is_zero ? 0 : kNaN));
    return true;
  }

 private:
  static size_t states(size_t S) { return 2 * S + 1; }
  static size_t values_of_step(size_t S) { return states(S) + S + 1; }

  // Finds memory for sequence n.
  void place(int64_t n) {
    S_ = labels_of(call_.first, n);
    label_ = call_.labels + call_.first[n];
    scale_ = 1 / (double(call_.shape.N) * double(std::max<int64_t>(S_, 1)));
    Wide* at = static_cast<Wide*>(scratch_);
    left_ = {at, at + S_ + 1};
    at += states(size_t(S_));
    back_ = {at, at + S_ + 1};
    at += states(size_t(S_));
    steps_ = at;
    at += size_t(call_.length[n]) * values_of_step(size_t(S_));
    row_ = reinterpret_cast<double*>(at);
    exp_ = row_ + call_.shape.C;
    skip_ = reinterpret_cast<bool*>(exp_ + call_.shape.C);
    skip_[0] = skip_[S_] = false;
    for (int64_t j = 1; j < S_; ++j) skip_[j] = label_[j] != label_[j - 1];
  }

  // Probabilities of having come to each state before step t, kept for the way back.
  States entered(int64_t t) const {
    Wide* at = steps_ + size_t(t) * values_of_step(size_t(S_));
    return {at, at + S_ + 1};
  }
  // Of the blank and of each label at step t.
  Wide* emitted(int64_t t) const { return entered(t).label + S_; }

  // The softmax of row t, scaled, to dlogits; what of it the recursion needs to emitted(t). False if it is
  // not defined, because of NaN or infinity.
  bool softmax(int64_t t, int64_t n) {
    const int64_t C = call_.shape.C;
    const T* logits = call_.logits.at(t, n);
    const T largest =
        fold(logits, C, -std::numeric_limits<T>::infinity(), [](T a, T b) { return a < b ? b : a; });
    for (int64_t c = 0; c < C; ++c) row_[c] = double(logits[c]) - double(largest);
    call_.exp(row_, exp_, C);
    const double sum = fold(exp_, C, 0., [](double a, double b) { return a + b; });
    T* dlogits = call_.dlogits.at(t, n);
    const double factor = scale_ / sum;
    for (int64_t c = 0; c < C; ++c) dlogits[c] = T(exp_[c] * factor);
    Wide* y = emitted(t);
    y[0] = probability(call_.blank, sum);
    for (int64_t j = 0; j < S_; ++j) y[1 + j] = probability(label_[j], sum);
    return !isnan(sum);
  }

  Wide probability(int64_t c, double sum) const {
    const Wide e = exp_[c] > 0x1p-256 ? Wide{exp_[c], 0} : Wide::exp(row_[c]);
    return Wide::of(e.m / sum, e.k);
  }

  // From where step t begins to where it ends, in the states it is in.
  void leave(const States& at, int64_t t) {
    const Wide* y = emitted(t);
    left_.blank[S_] = at.blank[S_] * y[0];
    for (int64_t j = 0; j < S_; ++j) {
      left_.blank[j] = at.blank[j] * y[0];
      left_.label[j] = at.label[j] * y[1 + j];
    }
  }

  // dlogits of a class: its softmax less the probability, given the target, of being in its states.
  void subtract_shares(int64_t t, int64_t n) const {
    T* dlogits = call_.dlogits.at(t, n);
    const States before = entered(t);
    double blanks = share(before.blank[S_], left_.blank[S_], total_);
    for (int64_t j = 0; j < S_; ++j) {
      blanks += share(before.blank[j], left_.blank[j], total_);
      T& d = dlogits[label_[j]];
      d = T(d - share(before.label[j], left_.label[j], total_) * scale_);
    }
    dlogits[call_.blank] = T(dlogits[call_.blank] - blanks * scale_);
  }

  const Ctc<T>& call_;
  void* const scratch_;
  int64_t S_;
  const int64_t* label_;       // (S)
  double scale_;               // of the loss in the mean
  Wide total_ = Wide::zero();  // p(target | logits)
  States left_, back_;         // after a step, in the direction of the pass; before it, on the way back
  Wide* steps_;                // (length, values_of_step)
  double *row_, *exp_;         // (C): logits less the largest, and e^ that
  bool* skip_;                 // (S+1): whether a label may follow the one before it without a blank
};

}  // namespace

template <class T>
size_t ctc_scratch(const Ctc<T>& call) {
  return size_t(call.threads) * Worker<T>::bytes(call);
}

template <class T>
bool ctc(const Ctc<T>& call) {
  struct Work {
    const Ctc<T>& call;
    size_t scratch;
    std::atomic<int64_t> next{0};
    std::atomic<bool> stopped{false};
  } work{call, Worker<T>::bytes(call)};
  const auto member_runs = [&work](const Member& member) {
    Worker<T> worker(work.call, static_cast<char*>(work.call.scratch) + size_t(member.index) * work.scratch);
    const auto stopped = [&](int64_t t) {
      constexpr int64_t kPatience = 64;
      if (t % kPatience) return false;
      if (member.index == 0 && work.call.stop()) work.stopped = true;
      return work.stopped.load(std::memory_order_relaxed);
    };
    for (int64_t n; (n = work.next++) < work.call.shape.N;)
      if (!worker.run(n, stopped)) return;
  };
  run_team(call.threads, member_runs);
  return !work.stopped;
}

template size_t ctc_scratch<float>(const Ctc<float>&);
template size_t ctc_scratch<double>(const Ctc<double>&);
template bool ctc<float>(const Ctc<float>&);
template bool ctc<double>(const Ctc<double>&);

}  // namespace bptt
