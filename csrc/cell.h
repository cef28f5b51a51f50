// What the Python side knows of a cell: its gates, its kernels, its arrays and its options.
#pragma once

#include "arrays.h"
#include "kernels.h"

namespace bptt {

struct CellInfo {
  const char* name;
  int64_t gates;
  bool has_c;
  const char *w_ih, *w_hh, *bias;  // shapes, for messages
};
const CellInfo& info(Cell cell);

template <class T>
const CellKernels<T>& kernels_of(const Kernels& kernels, Cell cell) {
  if constexpr (sizeof(T) == sizeof(float))
    return kernels.f32[int(cell)];
  else
    return kernels.f64[int(cell)];
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

Nonlinearity nonlinearity_argument(py::handle argument);
double slope_argument(py::handle argument);

}  // namespace bptt
