// The Python module: a table of contents of what it registers.
#include <pybind11/stl.h>
#include <stdlib.h>

#include "../runtime/cgroup.h"
#include "../runtime/dispatch.h"
#include "../runtime/team.h"
#include "cache.h"
#include "calls.h"
#include "cell.h"
#include "ctc_call.h"
#include "lengths.h"
#include "stream.h"
#include "updates.h"

namespace bptt {

namespace {

const Kernels* active = nullptr;  // the instruction set of calls to come

// In the floating-point mode of the kernels, so that what is measured here holds for them.
template <class T>
py::array math(void (*f)(const T*, T*, int64_t), const py::array_t<T, py::array::c_style>& x) {
  py::array_t<T> y(Extents(x.shape(), x.shape() + x.ndim()));
  run_team(1, [&](const Member&) { f(x.data(), y.mutable_data(), x.size()); });
  return y;
}

void set_isa(const std::string& name) {
  const Kernels* found = find_kernels(name);
  if (!found) throw py::value_error("name: " + isa_error(name));
  active = found;
}

void choose_isa() {
  const char* forced = getenv("BPTT_ISA");
  const std::string name = forced && *forced ? forced : available().back();
  active = find_kernels(name);
  if (!active) throw py::import_error("BPTT_ISA: " + isa_error(name));
}

constexpr int kMostThreads = 1024;
const std::string kThreads = "1 to " + std::to_string(kMostThreads);

void choose_num_threads() {
  const char* forced = getenv("BPTT_NUM_THREADS");
  if (!forced || !*forced) return;
  char* end;
  const long n = strtol(forced, &end, 10);
  if (*end || n < 1 || n > kMostThreads)
    throw py::import_error("BPTT_NUM_THREADS is '" + std::string(forced) + "', must be an integer from " +
                           kThreads);
  set_team_size(int(n));
}

void set_num_threads(const py::object& n) {
  set_team_size(int(integer_argument(n, "n", 1, kMostThreads, kThreads)));
}

void register_cells(py::module_& m) {
  for (int i = 0; i < kCells; ++i) {
    const Cell cell{i};
    const std::string name = info(cell).name;
    m.def((name + "_forward").c_str(),
          [cell](const py::args& given) { return forward(cell, *active, given); });
    m.def((name + "_backward").c_str(), [cell](const py::args& given) { return backward(cell, given); });
  }
  m.def("cells", [] {
    py::dict cells;
    for (const CellInfo& its : kCellInfo) cells[its.name] = py::make_tuple(its.gates, its.states);
    return cells;
  });
  py::class_<Cache>(m, "Cache", "What a training forward pass keeps for its backward pass.")
      .def("arrays", [](py::handle self) { return held<Cache>(self, "self", "a forward function").arrays(); })
      .def("__repr__",
           [](py::handle self) { return held<Cache>(self, "self", "a forward function").repr(); });
  py::class_<Lengths>(m, "Lengths",
                      "Lengths of N sequences in 0..T, checked and sorted once for several calls.")
      .def(py::init(&make_lengths), py::arg("lengths"), py::arg("T"), py::arg("N"));
}

std::unique_ptr<Stream> make_stream(const std::string& name,
                                    const std::vector<std::vector<py::object>>& weights, int64_t batch,
                                    const py::tuple& options) {
  const Cell cell = cell_argument(name);
  if (batch < 1) throw py::value_error("batch is " + std::to_string(batch) + ", must be at least 1");
  if (int(options.size()) != option_count(cell)) throw py::value_error("options are not those of " + name);
  std::vector<LayerWeights> layers;
  for (const std::vector<py::object>& its : weights) {
    const size_t count = 4 + (info(cell).vectors > 0);
    if (its.size() != count)
      throw py::value_error("weights of a layer must be " + std::to_string(count) + " arrays");
    layers.push_back({its[0], its[1], its[2], its[3], count > 4 ? its[4] : py::object()});
  }
  return Stream::make(cell, *active, layers, batch,
                      options_argument(cell, &PyTuple_GET_ITEM(options.ptr(), 0)));
}

PyTypeObject* stream_type = nullptr;

// What a method of Python's acts on.
Stream& stream_of(py::handle self) {
  if (!PyObject_TypeCheck(self.ptr(), stream_type))
    type_error("self is " + type_name(self) + ", must be a Stream");
  return held<Stream>(self, "self", "layer.stream()");
}

void register_stream(py::module_& m) {
  using O = const py::object&;
  using Chosen = py::array_t<bool, py::array::c_style>;
  py::class_<Stream> type(m, "Stream", "Layers that advance step by step; bptt.Stream is its public face.");
  stream_type = reinterpret_cast<PyTypeObject*>(type.ptr());
  type.def(py::init(&make_stream), py::arg("cell"), py::arg("weights"), py::arg("batch"), py::arg("options"))
      .def(
          "step", [](py::handle self, O x, O out) { return stream_of(self).step(x, out); }, py::arg("x"),
          py::arg("out") = py::none(),
          "Advance by one step: x (N, I) to y (N, H), or (I,) to (H,) with a batch of 1.")
      .def(
          "steps", [](py::handle self, O x, O out) { return stream_of(self).steps(x, out); }, py::arg("x"),
          py::arg("out") = py::none())
      .def("get_state", [](py::handle self) { return stream_of(self).state(); })
      .def("set_state", [](py::handle self, const py::args& given) { stream_of(self).set_state(given); })
      .def(
          "clear", [](py::handle self, const Chosen& chosen) { stream_of(self).clear(chosen); },
          py::arg("chosen").noconvert());
}

void register_losses(py::module_& m) {
  using O = const py::object&;
  m.def("ctc_loss", [](O logits, O targets, O input_lengths, O target_lengths, O blank, O zero_infinity) {
    return ctc_loss(*active, {logits, targets, input_lengths, target_lengths, blank, zero_infinity});
  });
}

void register_optim(py::module_& m) {
  m.def(
      "update",
      [](const std::string& rule, const std::vector<double>& constants, const py::list& params,
         const py::list& grads,
         const py::list& kept) { return update(*active, rule, constants, params, grads, kept); },
      py::arg("rule"), py::arg("constants"), py::arg("params"), py::arg("grads"), py::arg("kept"));
  m.def(
      "sum_of_squares", [](const py::array& x) { return sum_of_squares(*active, x); },
      py::arg("x").noconvert());
}

void register_settings(py::module_& m) {
  m.attr("__version__") = BPTT_VERSION;
#ifdef __clang__
  m.attr("compiler") = "Clang " __clang_version__;
#else
  m.attr("compiler") = "GCC " __VERSION__;
#endif
  m.def("isa", [] { return active->name; });
  m.def("isas", available);
  m.def("set_isa", set_isa, py::arg("name"));
  m.def("openmp_runtime", openmp_runtime);
  m.def("get_num_threads", team_size);
  m.def("set_num_threads", set_num_threads, py::arg("n"));
  m.def("set_always_share", set_always_share, py::arg("on"));
  m.def("cgroup_cpus", cgroup_cpus, py::arg("membership"), py::arg("mount"));
  m.def("get_flush_denormal", flush_denormal);
  m.def("set_flush_denormal", set_flush_denormal, py::arg("mode").noconvert());
  m.def("free_memory", free_blocks);
  m.def(
      "new_array",
      [](const std::vector<py::ssize_t>& shape, const py::dtype& dtype) {
        const Extents extents(shape.begin(), shape.end());
        check_size(extents, dtype.itemsize());
        return new_array(dtype, extents);
      },
      py::arg("shape"), py::arg("dtype"));
}

template <class T>
void register_math(py::module_& m) {
  using Array = const py::array_t<T, py::array::c_style>&;
  const auto add = [&](const char* name, auto MathKernels<T>::* function) {
    m.def(
        name, [function](Array x) { return math(active->table<T>().math.*function, x); },
        py::arg("x").noconvert());
  };
  add("math_exp", &MathKernels<T>::exp);
  add("math_sigmoid", &MathKernels<T>::sigmoid);
  add("math_tanh", &MathKernels<T>::tanh);
}

}  // namespace

PYBIND11_MODULE(_core, m) {
  m.doc() = "The compiled half of bptt: private, and without defaults; bptt.functional is its public face.";
  choose_isa();
  choose_num_threads();
  register_cells(m);
  register_stream(m);
  register_losses(m);
  register_optim(m);
  register_settings(m);
  register_math<float>(m);
  register_math<double>(m);
}

}  // namespace bptt
