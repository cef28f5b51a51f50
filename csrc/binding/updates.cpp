#include "updates.h"

#include <iterator>

#include "../runtime/team.h"
#include "run_call.h"

namespace bptt {

namespace {

// The parameters of one dtype.
template <class T>
struct Updates {
  std::vector<Update<T>> all;
  double bytes = 0;  // read and written

  // The arrays of parameter i, which is of shape `shape`, unless one of them is not ready.
  bool add(py::handle param, py::handle grad, const Extents& shape, const py::list& kept, size_t i) {
    const py::dtype dtype = py::dtype::of<T>();
    if (!is_ready(param, dtype, shape, true) || !is_ready(grad, dtype, shape, false)) return false;
    Update<T> update{1, data(param), data(grad), {}};
    for (const py::ssize_t n : shape) update.size *= n;
    bytes += 3. * double(update.size) * sizeof(T);
    for (size_t k = 0; k < kept.size(); ++k) {
      const py::handle arrays = PyList_GET_ITEM(kept.ptr(), py::ssize_t(k));
      if (arrays.is_none()) continue;
      const py::handle array = PyList_GetItem(arrays.ptr(), py::ssize_t(i));
      if (!array) throw py::error_already_set();
      if (!is_ready(array, dtype, shape, true)) return false;
      update.kept[k] = data(array);
      bytes += 2. * double(update.size) * sizeof(T);
    }
    all.push_back(update);
    return true;
  }

  // A member takes its part of every parameter, in whole lines of the cache.
  void run(const OptimKernels<T>& kernels, Rule rule, const std::vector<double>& given,
           const Member& m) const {
    constexpr int64_t kLine = 64 / sizeof(T);
    T constants[kMostConstants] = {};
    std::transform(given.begin(), given.end(), constants, [](double value) { return T(value); });
    for (const Update<T>& update : all) {
      const int64_t lines = (update.size + kLine - 1) / kLine;
      const int64_t begin = lines * m.index / m.count * kLine;
      const int64_t end = lines * (m.index + 1) / m.count * kLine;
      kernels.update[int(rule)](constants, update, begin, std::min(end, update.size));
    }
  }

 private:
  static T* data(py::handle array) {
    return reinterpret_cast<T*>(py::detail::array_proxy(array.ptr())->data);
  }
};

struct Step {
  const Kernels& kernels;
  Rule rule;
  const std::vector<double>& constants;
  Updates<float> f32;
  Updates<double> f64;

  void operator()(const Member& m) const {
    f32.run(kernels.f32.optim, rule, constants, m);
    f64.run(kernels.f64.optim, rule, constants, m);
  }
};

Rule rule_argument(const std::string& name) {
  constexpr const char* kNames[kRules] = {"sgd", "adam", "rmsprop", "adagrad"};
  const auto found = std::find(std::begin(kNames), std::end(kNames), name);
  if (found == std::end(kNames)) value_error("rule is '" + name + "', must be that of an optimiser");
  return Rule(found - std::begin(kNames));
}

}  // namespace

bool update(const Kernels& kernels, const std::string& rule, const std::vector<double>& constants,
            const py::list& params, const py::list& grads, const py::list& kept) {
  if (constants.size() > kMostConstants || kept.size() > kMostKept || grads.size() != params.size())
    value_error("constants, grads or kept are not what the rule takes");
  Step step{kernels, rule_argument(rule), constants, {}, {}};
  for (size_t i = 0; i < params.size(); ++i) {
    const py::handle param = PyList_GET_ITEM(params.ptr(), py::ssize_t(i));
    const py::handle grad = PyList_GET_ITEM(grads.ptr(), py::ssize_t(i));
    if (!py::isinstance<py::array>(param)) return false;
    const auto* array = py::detail::array_proxy(param.ptr());
    const Extents shape(array->dimensions, array->dimensions + array->nd);
    const auto* dtype = py::detail::array_descriptor_proxy(array->descr);
    const bool is_double = dtype->type_num == py::detail::npy_api::NPY_DOUBLE_;
    if (!(is_double ? step.f64.add(param, grad, shape, kept, i) : step.f32.add(param, grad, shape, kept, i)))
      return false;
  }
  constexpr double kBytesPerMicrosecond = 30000;  // a rough estimate: caches give more, much memory less
  const Plan plan = plan_call((step.f32.bytes + step.f64.bytes) / kBytesPerMicrosecond);
  run_call(plan, [&] {
    run_team(plan.threads, step);
    return true;
  });
  return true;
}

double sum_of_squares(const Kernels& kernels, const py::array& x) {
  const py::dtype dtype = float_dtype(x, "x");
  const py::array array = contiguous_argument(x, "x", dtype, {x.shape(), x.shape() + x.ndim()}, "an array");
  return with_dtype(dtype, [&](auto zero) {
    using T = decltype(zero);
    return kernels.table<T>().optim.sum_of_squares(data<const T>(array), array.size());
  });
}

}  // namespace bptt
