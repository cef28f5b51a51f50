// Arrays from Python: one wording of errors for all checks, conversion, allocation. Used by the bindings
// only.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <string>
#include <vector>

namespace bptt {

namespace py = pybind11;

using Extents = std::vector<py::ssize_t>;

// The dtype of a call, float32 or float64, taken from the array named `name`.
py::dtype float_dtype(py::handle argument, const char* name);

// An aligned array of that dtype in native byte order whose last axis is contiguous, and whose shape is
// `extents` (-1: any). `meaning` says what the shape is, such as "(N, H)". Converts Python numbers, lists,
// booleans and integers; TypeError for what does not convert, ValueError for a wrong shape.
py::array array_argument(py::handle argument, const char* name, const py::dtype& dtype,
                         const Extents& extents, const char* meaning);

// The same, with all axes contiguous.
py::array contiguous_argument(py::handle argument, const char* name, const py::dtype& dtype,
                              const Extents& extents, const char* meaning);

// (N,) integers in 0..T; empty if None.
std::vector<int64_t> lengths_argument(py::handle argument, int64_t N, int64_t T);

bool bool_argument(py::handle argument, const char* name);

// The array to write y to: the argument itself, or a new array if it is None.
py::array out_argument(py::handle argument, const py::dtype& dtype, const Extents& extents,
                       const char* meaning);

// Whether the argument is an array that needs no check and no conversion: of the dtype and the shape,
// aligned, contiguous, and writeable if it is to be `written`.
bool is_ready(py::handle argument, const py::dtype& dtype, const Extents& extents, bool written);

// The number of axes of what the argument holds.
py::ssize_t rank_of(py::handle argument, const char* name);

// A copy if the two might share memory, else the array itself.
py::array apart_from(const py::array& array, const py::array& out);

// MemoryError if a product of extents and an element's size is out of range.
void check_size(const Extents& extents, py::ssize_t itemsize);

[[noreturn]] void type_error(const std::string& message);
[[noreturn]] void value_error(const std::string& message);
std::string type_name(py::handle argument);

}  // namespace bptt
