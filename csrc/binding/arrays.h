// Arrays from Python: one wording of errors for all checks, conversion, allocation. Used by the bindings
// only.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <algorithm>
#include <initializer_list>
#include <string>
#include <vector>

#include "../kernels.h"

namespace bptt {

namespace py = pybind11;

// The shape of an array of a few axes; unlike a vector it allocates nothing.
class Extents {
 public:
  Extents(std::initializer_list<py::ssize_t> extents) : Extents(extents.begin(), extents.end()) {}
  template <class Iterator>
  Extents(Iterator begin, Iterator end) {
    for (; begin != end; ++begin) {
      if (size_ == kMost) throw py::value_error("an array has too many axes");
      values_[size_++] = *begin;
    }
  }
  size_t size() const { return size_; }
  const py::ssize_t* data() const { return values_; }
  const py::ssize_t* begin() const { return values_; }
  const py::ssize_t* end() const { return values_ + size_; }
  py::ssize_t operator[](size_t i) const { return values_[i]; }
  py::ssize_t back() const { return values_[size_ - 1]; }
  bool operator==(const Extents& other) const {
    return std::equal(begin(), end(), other.begin(), other.end());
  }
  bool operator!=(const Extents& other) const { return !(*this == other); }

 private:
  static constexpr size_t kMost = 64;  // NumPy's own
  size_t size_ = 0;
  py::ssize_t values_[kMost];
};

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

[[noreturn]] void type_error(const std::string& message);
[[noreturn]] void value_error(const std::string& message);
std::string type_name(py::handle argument);  // "of type int", or "None"

// What an object of pybind11's holds, whose type has been checked. pybind11 would let calls into an object
// that
// __new__ made and __init__ did not, in which there is nothing.
template <class T>
T& held(py::handle object, const char* name, const char* origin) {
  const auto held = reinterpret_cast<py::detail::instance*>(object.ptr())->get_value_and_holder();
  if (!held.holder_constructed())
    type_error(std::string(name) + " is a " + std::string(py::str(py::type::of<T>().attr("__name__"))) +
               " without __init__, must be from " + origin);
  return *static_cast<T*>(held.value_ptr());
}

// f(T()) for the T of a dtype, float or double.
template <class F>
auto with_dtype(const py::dtype& dtype, const F& f) {
  if (dtype.itemsize() == sizeof(float)) return f(float());
  return f(double());
}

// Of an array, or null of None.
template <class T>
T* data(const py::object& array) {
  return array.is_none()
             ? nullptr
             : static_cast<T*>(const_cast<void*>(py::reinterpret_borrow<py::array>(array).data()));
}

// An array (T,N,.) as the kernels see it.
template <class T>
Sequences<T> sequences(const py::array& array) {
  return {static_cast<T*>(const_cast<void*>(array.data())), array.strides(0) / py::ssize_t(sizeof(T)),
          array.strides(1) / py::ssize_t(sizeof(T))};
}

// An array of integers, of whatever width and shape; it is `numbers` that has the values.
struct Integers {
  py::array given;
  py::array_t<int64_t, py::array::c_style> numbers;  // what is beyond int64 is negative
};
Integers integers_argument(py::handle argument, const char* name);

// (N,) integers in 0..most; `limit` says what that is, such as "T".
std::vector<int64_t> lengths_argument(py::handle argument, const char* name, int64_t N, int64_t most,
                                      const char* limit);

// One of numbers.Integral, so also NumPy's; a bool is none.
bool is_integer(py::handle argument);

// One of numbers.Real but a bool; what is beyond a double is infinite.
double real_argument(py::handle argument, const char* name);

// An integer in low..high; `limits` says what these are, such as "0 to C-1 = 3".
int64_t integer_argument(py::handle argument, const char* name, int64_t low, int64_t high,
                         const std::string& limits);

bool bool_argument(py::handle argument, const char* name);

// Uninitialised. It begins with a line of the cache (and is a view of its memory) from 4096 bytes on, so that
// threads who write parts of a row, or neighbouring rows, do not take lines from each other at every step.
// From 64 KiB on its memory comes from and goes back to the pool of Block.
py::array new_array(const py::dtype& dtype, const Extents& extents);

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

[[noreturn]] void shape_error(const char* name, const py::array& array, const std::string& must);

std::string text(py::handle value);   // as Python's str()
std::string with_columns(int64_t I);  // what else must be of a matrix (rows, I)

}  // namespace bptt
