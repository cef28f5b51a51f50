#include "cache.h"

#include <pybind11/stl.h>

#include "../runtime/team.h"

namespace bptt {

template <class T>
CacheCall<T>::CacheCall(const Cache& cache, int passes)
    : plan(plan_call(cache.problem.microseconds(passes, sizeof(T)), cache.problem.segment > 0)), forward{} {
  forward.options = address(cache.options);
  forward.threads = plan.threads;
  forward.stop = plan.stop;
  forward.x = sequences<const T>(cache.x);
  forward.w_ih = data<const T>(cache.w_ih);
  forward.w_hh = data<const T>(cache.w_hh);
  forward.b_ih = data<const T>(cache.b_ih);
  forward.b_hh = data<const T>(cache.b_hh);
  forward.vectors = data<const T>(cache.vectors);
}
template struct CacheCall<float>;
template struct CacheCall<double>;

namespace {

template <class T>
py::dict arrays_of(const Cache& cache) {
  const CellInfo& cell = info(cache.problem.cell);
  const auto [steps, N, I, H] = cache.problem.shape;
  const auto zeros = py::module_::import("numpy").attr("zeros");
  const int saved = cache.problem.cell_kernels<T>().saved;
  py::dict arrays;
  Unpacked<T> to{};
  const auto add = [&](const std::string& name, const Extents& extents) {
    const py::object array = zeros(std::vector<py::ssize_t>(extents.begin(), extents.end()), cache.dtype);
    arrays[name.c_str()] = array;
    return data<T>(array);
  };
  if (saved > 0) {
    T* const gates = add("gates", {steps, N, cell.gates, H});
    for (int i = 0; i < cell.gates; ++i) to.saved[i] = {gates + i * H, cell.gates * H};
  }
  for (int i = cell.gates; i < saved; ++i)
    to.saved[i] = {add(std::string(1, cell.beside[i - cell.gates]), {steps, N, H}), H};
  for (int i = 0; i < cell.states; ++i) to.states[i] = add(kStateNames[i].all, {steps + 1, N, H});

  if (!cache.problem.segment) {
    Unpacking<T>(cache.problem, Forward<T>{}, cache.kept.data(), to)();
    return arrays;
  }
  const CacheCall<T> call(cache, 1);
  Forward<T> again = call.forward;
  if (!worth_a_team(call.plan.microseconds)) again.threads = 1;
  run_call(call.plan, Unpacking<T>(cache.problem, again, cache.kept.data(), to));
  return arrays;
}

}  // namespace

py::dict Cache::arrays() const {
  return with_dtype(dtype, [&](auto zero) { return arrays_of<decltype(zero)>(*this); });
}

std::string Cache::repr() const {
  const auto [T, N, I, H] = problem.shape;
  return std::string("<Cache of ") + info(problem.cell).name + "_forward, T=" + std::to_string(T) +
         " N=" + std::to_string(N) + " I=" + std::to_string(I) + " H=" + std::to_string(H) + ">";
}

}  // namespace bptt
