#include "calls.h"

#include <algorithm>
#include <memory>

#include "cache.h"
#include "cell.h"
#include "lengths.h"

namespace bptt {

namespace {

// The arguments of a call one after the other.
class Arguments {
 public:
  Arguments(const py::args& given, int count, const CellInfo& cell, const char* function) : given_(given) {
    if (int(given.size()) != count)
      type_error(std::string(cell.name) + function + " takes " + std::to_string(count) +
                 " arguments, was given " + std::to_string(given.size()));
  }
  py::handle next() { return *next(1); }
  PyObject* const* next(int count) {
    at_ += count;
    return &PyTuple_GET_ITEM(given_.ptr(), at_ - count);
  }

 private:
  const py::args& given_;
  py::ssize_t at_ = 0;
};

py::object optional_argument(py::handle argument, const char* name, const py::dtype& dtype,
                             const Extents& extents, const char* meaning) {
  if (argument.is_none()) return py::none();
  return contiguous_argument(argument, name, dtype, extents, meaning);
}

// The steps of a segment: a whole number of blocks of sums, so that none is cut; 0 without checkpoints.
int64_t segment_argument(py::handle argument, bool training, int64_t T, int64_t N) {
  if (argument.is_none()) return 0;
  if (!is_integer(argument))
    type_error("checkpoint_every is " + type_name(argument) + ", must be None or an integer");
  const std::string is = "checkpoint_every is " + text(argument);
  if (argument < py::int_(1)) value_error(is + ", must be at least 1");
  if (!training) value_error(is + ", must be None without training");
  const int64_t block = steps_of_block(N);
  const int64_t steps = argument > py::int_(T) ? T : argument.cast<int64_t>();
  return std::max<int64_t>(1, (steps + block - 1) / block) * block;
}

py::object apart_from_out(const py::object& array, const py::array& out) {
  if (array.is_none()) return array;
  return apart_from(py::reinterpret_borrow<py::array>(array), out);
}

template <class T>
void run_forward(Cache& cache, const py::object* before, const py::array& y, const py::object* after,
                 bool training) {
  const CacheCall<T> with(cache, 1);
  Forward<T> call = with.forward;
  call.y = sequences<T>(y);
  for (int i = 0; i < info(cache.problem.cell).states; ++i) {
    call.before[i] = data<const T>(before[i]);
    call.after[i] = data<T>(after[i]);
  }
  if (training) cache.kept = kept_of<T>(cache.problem);
  const ForwardRun<T> pass(cache.problem, call, cache.kept.data(), with.plan.microseconds);
  run_call(with.plan, pass);
}

}  // namespace

py::tuple forward(Cell cell, const Kernels& kernels, const py::args& given) {
  const CellInfo& its = info(cell);
  const Meanings& means = meanings(cell);
  const int64_t G = its.gates;
  Arguments arguments(given, 10 + (its.vectors > 0) + its.states + option_count(cell), its, "_forward");
  const py::handle given_x = arguments.next(), given_w_ih = arguments.next();
  const py::dtype dtype = float_dtype(given_w_ih, "w_ih");
  py::array x = array_argument(given_x, "x", dtype, {-1, -1, -1}, "(T, N, I)");
  const int64_t T = x.shape(0), N = x.shape(1), I = x.shape(2);
  py::array w_ih = contiguous_argument(given_w_ih, "w_ih", dtype, {-1, I}, means.w_ih.c_str());
  if (w_ih.shape(0) == 0 || w_ih.shape(0) % G) shape_error("w_ih", w_ih, means.w_ih + with_columns(I));
  const int64_t H = w_ih.shape(0) / G;
  py::array w_hh = contiguous_argument(arguments.next(), "w_hh", dtype, {G * H, H}, means.w_hh.c_str());
  py::object b_ih = optional_argument(arguments.next(), "b_ih", dtype, {G * H}, means.bias.c_str());
  py::object b_hh = optional_argument(arguments.next(), "b_hh", dtype, {G * H}, means.bias.c_str());
  py::object vectors = py::none();
  if (its.vectors > 0)
    vectors =
        contiguous_argument(arguments.next(), "vectors", dtype, {its.vectors, H}, means.vectors.c_str());
  py::object before[kMostStates], after[kMostStates];
  for (int i = 0; i < its.states; ++i)
    before[i] = optional_argument(arguments.next(), kStateNames[i].initial, dtype, {N, H}, "(N, H)");
  const Options options = options_argument(cell, arguments.next(option_count(cell)));
  const LengthsArgument lengths(arguments.next(), T, N);
  const bool reverse = bool_argument(arguments.next(), "reverse");
  const bool training = bool_argument(arguments.next(), "training");
  const int64_t segment = segment_argument(arguments.next(), training, T, N);
  const int64_t padded = (H + 15) / 16 * 16;  // units in whole vectors, of whatever instruction set
  check_size({T + 1, std::max<int64_t>(N, 1), padded, 8}, dtype.itemsize());  // what is kept, and more
  const py::handle out = arguments.next();
  const py::array y = out_argument(out, dtype, {T, N, H}, "(T, N, H)");

  if (!out.is_none()) {
    x = apart_from(x, y), w_ih = apart_from(w_ih, y), w_hh = apart_from(w_hh, y);
    b_ih = apart_from_out(b_ih, y), b_hh = apart_from_out(b_hh, y);
    vectors = apart_from_out(vectors, y);
    for (int i = 0; i < its.states; ++i) before[i] = apart_from_out(before[i], y);
  }
  for (int i = 0; i < its.states; ++i) after[i] = new_array(dtype, {N, H});

  auto cache =
      std::make_unique<Cache>(Cache{dtype,
                                    {&kernels, cell, {T, N, I, H}, lengths.schedule(), reverse, segment},
                                    options,
                                    std::move(x),
                                    std::move(w_ih),
                                    std::move(w_hh),
                                    std::move(b_ih),
                                    std::move(b_hh),
                                    std::move(vectors),
                                    {}});
  with_dtype(dtype, [&](auto zero) { run_forward<decltype(zero)>(*cache, before, y, after, training); });
  py::tuple results(2 + its.states);
  results[0] = y;
  for (int i = 0; i < its.states; ++i) results[size_t(1 + i)] = after[i];
  results[size_t(1 + its.states)] = training ? py::cast(std::move(cache)) : py::none();
  return results;
}

namespace {

// Which gradients are wanted, in the order of the results: x, the weights, the units' own parameters of a
// cell that has them, the initial states, h of all steps.
class Wanted {
 public:
  static constexpr int kVectors = 5, kMost = kVectors + 1 + kMostStates + 1;

  Wanted(py::handle wrt, const CellInfo& its)
      : states_(kVectors + (its.vectors > 0)), count_(states_ + its.states + 1) {
    const int all = count_ - 1;  // h is no argument, so only given if named
    if (wrt.is_none()) {
      for (int i = 0; i < all; ++i) wanted_[i] = true;
      return;
    }
    std::string must = ", must have names among x";
    for (int i = 1; i < count_; ++i) must += std::string(", ") + name(i);
    if (!(PyTuple_Check(wrt.ptr()) || PyList_Check(wrt.ptr()) || PyAnySet_Check(wrt.ptr())))
      type_error("wrt is " + type_name(wrt) + ", must be a tuple, list or set of names");
    for (const py::handle given : wrt) {
      if (!py::isinstance<py::str>(given)) type_error("wrt has a name " + type_name(given) + must);
      int i = 0;
      while (i < count_ && !given.equal(py::str(name(i)))) ++i;
      if (i == count_) value_error("wrt has the name " + std::string(py::repr(given)) + must);
      wanted_[i] = true;
    }
  }
  int count() const { return count_; }
  int states() const { return states_; }  // the first of them
  bool operator[](int i) const { return wanted_[i]; }

 private:
  const char* name(int i) const {
    constexpr const char* names[] = {"x", "w_ih", "w_hh", "b_ih", "b_hh", "vectors"};
    return i < states_ ? names[i] : i + 1 < count_ ? kStateNames[i - states_].initial : "h";
  }

  int states_, count_;
  bool wanted_[kMost]{};
};

// Empty, its axes in memory in the order of `like`'s, so that a batch-first input has a batch-first gradient.
py::array empty_like(const py::array& like) {
  const Extents shape(like.shape(), like.shape() + 3);
  if (std::abs(like.strides(0)) >= std::abs(like.strides(1))) return new_array(like.dtype(), shape);
  const py::array batch_first = new_array(like.dtype(), {shape[1], shape[0], shape[2]});
  return batch_first.attr("transpose")(1, 0, 2);
}

template <class T>
void run_backward(const Cache& cache, const Wanted& wanted, const py::object& dy, const py::object* dafter,
                  const py::object* gradients) {
  const CacheCall<T> with(cache, cache.problem.segment ? 4 : 3);
  const auto rows = [](const py::object& array) {
    return array.is_none() ? Sequences<T>{} : sequences<T>(py::reinterpret_borrow<py::array>(array));
  };
  Backward<T> call{};
  static_cast<Call<T>&>(call) = with.forward;
  const Sequences<T> given = rows(dy);
  call.dy = {given.data, given.step, given.sequence};
  call.dx = rows(gradients[0]);
  call.dw_ih = data<T>(gradients[1]);
  call.dw_hh = data<T>(gradients[2]);
  call.db_ih = data<T>(gradients[3]);
  call.db_hh = data<T>(gradients[4]);
  if (wanted.states() > Wanted::kVectors) call.dvectors = data<T>(gradients[Wanted::kVectors]);
  for (int i = 0; i < info(cache.problem.cell).states; ++i) {
    call.dafter[i] = data<const T>(dafter[i]);
    call.dbefore[i] = data<T>(gradients[wanted.states() + i]);
  }
  call.dh = rows(gradients[wanted.count() - 1]);
  const BackwardRun<T> pass(cache.problem, call, with.forward, cache.kept.data(), with.plan.microseconds);
  run_call(with.plan, pass);
}

}  // namespace

py::tuple backward(Cell cell, const py::args& given) {
  const CellInfo& its = info(cell);
  Arguments arguments(given, 3 + its.states, its, "_backward");
  const py::handle given_cache = arguments.next();
  const auto refuse = [&](const std::string& is) {
    type_error("cache is " + is + ", must be that of functional." + its.name +
               "_forward(..., training=True)");
  };
  if (!py::isinstance<Cache>(given_cache)) refuse(type_name(given_cache));
  const Cache& cache = held<Cache>(given_cache, "cache", "a forward function");
  if (cache.problem.cell != cell)
    refuse(std::string("that of functional.") + info(cache.problem.cell).name + "_forward");
  const auto [T, N, I, H] = cache.problem.shape;
  const py::handle given_dy = arguments.next();
  py::object dy = py::none();
  if (!given_dy.is_none()) dy = array_argument(given_dy, "dy", cache.dtype, {T, N, H}, "(T, N, H)");
  py::object dafter[kMostStates];
  for (int i = 0; i < its.states; ++i)
    dafter[i] = optional_argument(arguments.next(), kStateNames[i].dfinal, cache.dtype, {N, H}, "(N, H)");
  const Wanted wanted(arguments.next(), its);

  const int64_t GH = its.gates * H;
  const auto shape_of = [&, T = T, N = N, I = I, H = H](int i) -> Extents {
    if (i == 1) return {GH, I};
    if (i == 2) return {GH, H};
    if (i < Wanted::kVectors) return {GH};
    if (i < wanted.states()) return {info(cache.problem.cell).vectors, H};
    if (i + 1 < wanted.count()) return {N, H};
    return {T, N, H};
  };
  py::object gradients[Wanted::kMost];
  for (int i = 0; i < wanted.count(); ++i) {
    gradients[i] = py::none();
    if (wanted[i]) gradients[i] = i == 0 ? empty_like(cache.x) : new_array(cache.dtype, shape_of(i));
  }
  with_dtype(cache.dtype,
             [&](auto zero) { run_backward<decltype(zero)>(cache, wanted, dy, dafter, gradients); });
  py::tuple results(wanted.count());
  for (int i = 0; i < wanted.count(); ++i) results[size_t(i)] = gradients[i];
  return results;
}

}  // namespace bptt
