#include "arrays.h"

#include <math.h>

#include <algorithm>
#include <memory>

#include "../runtime/blocks.h"

namespace bptt {

void type_error(const std::string& message) { throw py::type_error(message); }
void value_error(const std::string& message) { throw py::value_error(message); }

std::string text(py::handle value) { return py::str(value); }
std::string type_name(py::handle argument) {
  return argument.is_none() ? "None" : "of type " + text(py::type::handle_of(argument).attr("__name__"));
}

std::string with_columns(int64_t I) { return " with I = " + std::to_string(I) + " and H at least 1"; }

void shape_error(const char* name, const py::array& array, const std::string& must) {
  value_error(std::string(name) + " has shape " + text(array.attr("shape")) + ", must be " + must);
}

namespace {

std::string shape_text(const Extents& extents) {
  std::string s = "(";
  for (size_t i = 0; i < extents.size(); ++i)
    s += (i ? ", " : "") + (extents[i] < 0 ? "any" : std::to_string(extents[i]));
  return s + (extents.size() == 1 ? ",)" : ")");
}

[[noreturn]] void memory_error(const Extents& extents) {
  PyErr_SetString(PyExc_MemoryError, ("no memory for an array of shape " + shape_text(extents)).c_str());
  throw py::error_already_set();
}

Extents shape_of(const py::array& array) { return {array.shape(), array.shape() + array.ndim()}; }

bool is_native(const py::dtype& dtype) { return dtype.byteorder() != '>' && dtype.byteorder() != '!'; }

bool is_aligned(const py::array& array) {
  if (!(array.flags() & py::detail::npy_api::NPY_ARRAY_ALIGNED_)) return false;
  for (py::ssize_t i = 0; i < array.ndim(); ++i)  // strides are told to the kernels in elements
    if (array.size() > 0 && array.shape(i) > 1 && array.strides(i) % array.itemsize()) return false;
  return true;
}

bool last_axis_contiguous(const py::array& array) {
  const py::ssize_t last = array.ndim() - 1;
  return last < 0 || array.size() == 0 || array.shape(last) <= 1 || array.strides(last) == array.itemsize();
}

// Whether the argument came with a dtype of its own, as lists and numbers do not.
bool is_array(py::handle argument) {
  return py::hasattr(argument, "__array__") || py::hasattr(argument, "__dlpack__");
}

// A NumPy array of what the argument holds.
py::array to_array(py::handle argument, const char* name) {
  if (py::isinstance<py::array>(argument)) return py::reinterpret_borrow<py::array>(argument);
  const auto error = [&] { return std::string(name) + " is " + type_name(argument) + ", must be an array"; };
  if (argument.is_none()) type_error(error());
  const py::module_ numpy = py::module_::import("numpy");
  try {
    if (!py::hasattr(argument, "__array__") && py::hasattr(argument, "__dlpack__"))
      return numpy.attr("from_dlpack")(argument);
    return numpy.attr("asarray")(argument);
  } catch (py::error_already_set& why) {
    if (why.matches(PyExc_ValueError)) value_error(error() + ": " + text(why.value()));  // a ragged list
    if (why.matches(PyExc_TypeError) || why.matches(PyExc_OverflowError) || why.matches(PyExc_RuntimeError) ||
        why.matches(PyExc_BufferError))
      type_error(error() + ": " + text(why.value()));
    throw;
  }
}

// An array of the dtype, in native byte order; not yet of the right layout.
py::array of_dtype(py::handle argument, const char* name, const py::dtype& dtype) {
  if (py::isinstance<py::array>(argument) && py::detail::array_proxy(argument.ptr())->descr == dtype.ptr())
    return py::reinterpret_borrow<py::array>(argument);
  const py::array array = to_array(argument, name);
  const py::dtype its = array.dtype();
  if (its.num() == dtype.num() && is_native(its)) return array;
  const char kind = its.kind();
  const bool converts = kind == 'b' || kind == 'i' || kind == 'u' ||
                        (kind == 'f' && (its.itemsize() == dtype.itemsize() || !is_array(argument)));
  if (converts) return array.attr("astype")(dtype);
  const std::string error = std::string(name) + " has dtype " + text(its) + ", must be " + text(dtype);
  if (kind == 'f') type_error(error + ": pass " + name + ".astype(np." + text(dtype) + ")");
  type_error(error);
}

py::array with_layout(const py::array& array, bool ready) {
  if (ready) return array;
  return py::module_::import("numpy").attr("array")(array, py::arg("order") = "C", py::arg("copy") = true,
                                                    py::arg("subok") = false);
}

}  // namespace

py::dtype float_dtype(py::handle argument, const char* name) {
  if (py::isinstance<py::array>(argument))
    for (const py::dtype& dtype : {py::dtype::of<float>(), py::dtype::of<double>()})
      if (py::detail::array_proxy(argument.ptr())->descr == dtype.ptr()) return dtype;
  if (!is_array(argument))
    type_error(std::string(name) + " is " + type_name(argument) + ", must be a float32 or float64 array");
  const py::dtype dtype = to_array(argument, name).dtype();
  if (dtype.num() == py::dtype::of<float>().num()) return py::dtype::of<float>();
  if (dtype.num() == py::dtype::of<double>().num()) return py::dtype::of<double>();
  type_error(std::string(name) + " has dtype " + text(dtype) + ", must be float32 or float64");
}

static py::array shaped(py::handle argument, const char* name, const py::dtype& dtype, const Extents& extents,
                        const char* meaning) {
  py::array array = of_dtype(argument, name, dtype);
  bool same = size_t(array.ndim()) == extents.size();
  for (size_t i = 0; same && i < extents.size(); ++i)
    same = extents[i] < 0 || extents[i] == array.shape(py::ssize_t(i));
  if (!same) {
    const bool known = std::all_of(extents.begin(), extents.end(), [](py::ssize_t n) { return n >= 0; });
    const std::string with_I = extents.back() < 0 ? "" : with_columns(extents.back());
    shape_error(name, array, meaning + (known ? " = " + shape_text(extents) : with_I));
  }
  return array;
}

py::array array_argument(py::handle argument, const char* name, const py::dtype& dtype,
                         const Extents& extents, const char* meaning) {
  const py::array array = shaped(argument, name, dtype, extents, meaning);
  return with_layout(array, is_aligned(array) && last_axis_contiguous(array));
}

py::array contiguous_argument(py::handle argument, const char* name, const py::dtype& dtype,
                              const Extents& extents, const char* meaning) {
  const py::array array = shaped(argument, name, dtype, extents, meaning);
  return with_layout(array, is_aligned(array) && (array.flags() & py::array::c_style));
}

Integers integers_argument(py::handle argument, const char* name) {
  const py::array array = to_array(argument, name);
  const char kind = array.dtype().kind();
  const bool empty_list = array.size() == 0 && !is_array(argument);  // which NumPy takes for floats
  if (kind != 'i' && kind != 'u' && !empty_list)
    type_error(std::string(name) + " has dtype " + text(array.dtype()) + ", must be integers");
  return {array, array.attr("astype")("int64")};
}

std::vector<int64_t> lengths_argument(py::handle argument, const char* name, int64_t N, int64_t most,
                                      const char* limit) {
  const auto [given, numbers] = integers_argument(argument, name);
  if (shape_of(given) != Extents{py::ssize_t(N)})
    shape_error(name, given, "(N,) = " + shape_text({py::ssize_t(N)}));
  std::vector<int64_t> lengths(numbers.data(), numbers.data() + N);
  for (int64_t n = 0; n < N; ++n)
    if (lengths[n] < 0 || lengths[n] > most)
      value_error(std::string(name) + "[" + std::to_string(n) + "] is " + text(given[py::int_(n)]) +
                  ", must be from 0 to " + limit + " = " + std::to_string(most));
  return lengths;
}

static bool is_number(py::handle argument, const char* kind) {
  return !py::isinstance<py::bool_>(argument) &&
         py::isinstance(argument, py::module_::import("numbers").attr(kind));
}

bool is_integer(py::handle argument) { return is_number(argument, "Integral"); }

double real_argument(py::handle argument, const char* name) {
  if (!py::isinstance<py::float_>(argument) && !is_number(argument, "Real"))
    type_error(std::string(name) + " is " + type_name(argument) + ", must be a real number");
  const double number = PyFloat_AsDouble(argument.ptr());
  if (!PyErr_Occurred()) return number;
  if (!PyErr_ExceptionMatches(PyExc_OverflowError)) throw py::error_already_set();
  PyErr_Clear();
  return argument < py::int_(0) ? -HUGE_VAL : HUGE_VAL;
}

int64_t integer_argument(py::handle argument, const char* name, int64_t low, int64_t high,
                         const std::string& limits) {
  if (!is_integer(argument))
    type_error(std::string(name) + " is " + type_name(argument) + ", must be an integer");
  const py::int_ number(py::reinterpret_borrow<py::object>(argument));
  if (number < py::int_(low) || number > py::int_(high))
    value_error(std::string(name) + " is " + text(number) + ", must be from " + limits);
  return number.cast<int64_t>();
}

bool bool_argument(py::handle argument, const char* name) {
  if (argument.ptr() == Py_True) return true;
  if (argument.ptr() == Py_False) return false;
  if (py::isinstance(argument, py::module_::import("numpy").attr("bool_"))) return argument.cast<py::bool_>();
  type_error(std::string(name) + " is " + type_name(argument) + ", must be True or False");
}

bool is_ready(py::handle argument, const py::dtype& dtype, const Extents& extents, bool written) {
  using py::detail::npy_api;
  if (!py::isinstance<py::array>(argument)) return false;
  const auto* array = py::detail::array_proxy(argument.ptr());
  if (array->descr != dtype.ptr()) {  // unpickled arrays have another object that says the same
    const auto its = py::reinterpret_borrow<py::dtype>(array->descr);
    if (its.num() != dtype.num() || !is_native(its)) return false;
  }
  if (size_t(array->nd) != extents.size()) return false;
  const int flags =
      npy_api::NPY_ARRAY_ALIGNED_ | py::array::c_style | (written ? npy_api::NPY_ARRAY_WRITEABLE_ : 0);
  return (array->flags & flags) == flags && std::equal(extents.begin(), extents.end(), array->dimensions);
}

py::array new_array(const py::dtype& dtype, const Extents& extents) {
  constexpr size_t kLine = 64, kSmall = 4096, kLarge = size_t(64) << 10;
  size_t bytes = size_t(dtype.itemsize());
  for (const py::ssize_t n : extents)
    if (__builtin_mul_overflow(bytes, size_t(n), &bytes)) memory_error(extents);
  if (bytes < kSmall) {
    const auto& api = py::detail::npy_api::get();
    PyObject* array = api.PyArray_NewFromDescr_(
        api.PyArray_Type_, py::object(dtype).release().ptr(), int(extents.size()),
        reinterpret_cast<const Py_intptr_t*>(extents.data()), nullptr, nullptr, 0, nullptr);
    if (!array) throw py::error_already_set();
    return py::reinterpret_steal<py::array>(array);
  }
  if (bytes >= kLarge) {
    std::unique_ptr<Block> block;
    try {
      block = std::make_unique<Block>(bytes);
    } catch (const std::bad_alloc&) {
      memory_error(extents);
    }
    const py::capsule owner(block.get(), [](void* it) { delete static_cast<Block*>(it); });
    const void* const data = block.release()->data();
    return py::array(dtype, extents, data, owner);
  }
  const py::array room(py::dtype::of<char>(), Extents{py::ssize_t(bytes + kLine)});
  const auto address = reinterpret_cast<uintptr_t>(room.data());
  return py::array(dtype, extents, reinterpret_cast<void*>((address + kLine - 1) / kLine * kLine), room);
}

py::ssize_t rank_of(py::handle argument, const char* name) { return to_array(argument, name).ndim(); }

py::array out_argument(py::handle argument, const py::dtype& dtype, const Extents& extents,
                       const char* meaning) {
  if (argument.is_none()) return new_array(dtype, extents);
  if (!py::isinstance<py::array>(argument))
    type_error("out is " + type_name(argument) + ", must be a " + text(dtype) + " array");
  const py::array out = py::reinterpret_borrow<py::array>(argument);
  if (out.dtype().num() != dtype.num() || !is_native(out.dtype()))
    type_error("out has dtype " + text(out.dtype()) + ", must be " + text(dtype) + " in native byte order");
  if (shape_of(out) != extents) shape_error("out", out, meaning + (" = " + shape_text(extents)));
  if (!out.writeable()) value_error("out is read-only, must be writeable");
  if (!is_aligned(out)) value_error("out is not aligned, must be aligned to its dtype");
  if (!last_axis_contiguous(out)) value_error("out has a strided last axis, must have a contiguous one");
  return out;
}

py::array apart_from(const py::array& array, const py::array& out) {
  const auto bounds = [](const py::array& a) {
    auto low = reinterpret_cast<intptr_t>(a.data()), high = low + a.itemsize();
    for (py::ssize_t i = 0; i < a.ndim(); ++i) {
      const py::ssize_t reach = (a.shape(i) - 1) * a.strides(i);
      (reach < 0 ? low : high) += reach;
    }
    return std::make_pair(low, a.size() ? high : low);
  };
  const auto a = bounds(array), b = bounds(out);
  return with_layout(array, a.second <= b.first || b.second <= a.first);
}

void check_size(const Extents& extents, py::ssize_t itemsize) {
  int64_t bytes = itemsize;
  for (const py::ssize_t n : extents)  // NumPy, too, takes an empty axis for one of length 1 here
    if (__builtin_mul_overflow(bytes, std::max<py::ssize_t>(n, 1), &bytes)) memory_error(extents);
}

}  // namespace bptt
