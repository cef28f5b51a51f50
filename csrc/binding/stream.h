// A stack of layers that advances step by step: weights packed once, the state held between calls.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "cell.h"

namespace bptt {

// A layer's, as Python gave them.
struct LayerWeights {
  py::object w_ih, w_hh, b_ih, b_hh, vectors;  // the last for cells that have them
};

// Everything happens on the calling thread with the interpreter lock held, so steps from several threads come
// one after another. A long block of steps asks for signals in between, whose handlers may let others in.
class Stream {
 public:
  static std::unique_ptr<Stream> make(Cell cell, const Kernels& kernels,
                                      const std::vector<LayerWeights>& layers, int64_t batch,
                                      const Options& options);
  virtual ~Stream() = default;

  // x (N,I) to y (N,H); with N = 1 also (I,) to (H,). Allocates nothing if out is given and both are
  // contiguous arrays of the dtype that share no memory.
  virtual py::array step(const py::object& x, const py::object& out) = 0;
  // x (T,N,I) to y (T,N,H). Ctrl-C ends a long call, which then leaves the state as it was.
  virtual py::array steps(const py::object& x, const py::object& out) = 0;

  // each state: copies (L,N,H)
  virtual std::vector<py::array> state() const = 0;
  virtual void set_state(const py::args& given) = 0;
  // sets the state of the sequences chosen (N) to zero
  virtual void clear(const py::array_t<bool, py::array::c_style>& chosen) = 0;
};

}  // namespace bptt
