#include "calls.h"

#include <algorithm>
#include <memory>

#include "cache.h"
#include "cell.h"

namespace bptt {

namespace {

struct ForwardArrays {
  py::object h_0, c_0, y, h_n, c_n = py::none();
};

template <class T>
void run_forward(Cache& cache, const ForwardArrays& arrays, bool training) {
  Forward<T> call{};
  call.h_0 = data<const T>(arrays.h_0);
  call.c_0 = data<const T>(arrays.c_0);
  call.y = sequences<T>(py::reinterpret_borrow<py::array>(arrays.y));
  call.h_n = data<T>(arrays.h_n);
  call.c_n = data<T>(arrays.c_n);
  run(cache, call, training);
}

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

}  // namespace

py::tuple forward(Cell cell, const Kernels& kernels, const ForwardArguments& given) {
  const CellInfo& its = info(cell);
  const int64_t G = its.gates;
  const py::dtype dtype = float_dtype(given.w_ih, "w_ih");
  py::array x = array_argument(given.x, "x", dtype, {-1, -1, -1}, "(T, N, I)");
  const int64_t T = x.shape(0), N = x.shape(1), I = x.shape(2);
  py::array w_ih = contiguous_argument(given.w_ih, "w_ih", dtype, {-1, I}, its.w_ih);
  if (w_ih.shape(0) == 0 || w_ih.shape(0) % G) shape_error("w_ih", w_ih, its.w_ih + with_columns(I));
  const int64_t H = w_ih.shape(0) / G;
  py::array w_hh = contiguous_argument(given.w_hh, "w_hh", dtype, {G * H, H}, its.w_hh);
  py::object b_ih = optional_argument(given.b_ih, "b_ih", dtype, {G * H}, its.bias);
  py::object b_hh = optional_argument(given.b_hh, "b_hh", dtype, {G * H}, its.bias);
  ForwardArrays arrays;
  arrays.h_0 = optional_argument(given.h_0, "h_0", dtype, {N, H}, "(N, H)");
  arrays.c_0 = optional_argument(given.c_0, "c_0", dtype, {N, H}, "(N, H)");
  const bool is_rnn = cell == Cell::kRnn;
  const Nonlinearity nonlinearity = is_rnn ? nonlinearity_argument(given.nonlinearity) : Nonlinearity::kTanh;
  const double slope = is_rnn ? slope_argument(given.slope) : 0.;
  std::vector<int64_t> lengths;
  if (!given.lengths.is_none()) lengths = lengths_argument(given.lengths, "lengths", N, T, "T");
  const bool reverse = bool_argument(given.reverse, "reverse");
  const bool training = bool_argument(given.training, "training");
  const int64_t segment = segment_argument(given.checkpoint_every, training, T, N);
  const int64_t padded = (H + 15) / 16 * 16;  // units in whole vectors, of whatever instruction set
  check_size({T + 1, std::max<int64_t>(N, 1), padded, 8}, dtype.itemsize());  // what is kept, and more
  const py::array y = out_argument(given.out, dtype, {T, N, H}, "(T, N, H)");

  if (!given.out.is_none()) {
    x = apart_from(x, y), w_ih = apart_from(w_ih, y), w_hh = apart_from(w_hh, y);
    for (py::object* a : {&b_ih, &b_hh, &arrays.h_0, &arrays.c_0})
      if (!a->is_none()) *a = apart_from(py::reinterpret_borrow<py::array>(*a), y);
  }
  arrays.y = y;
  arrays.h_n = new_array(dtype, {N, H});
  if (its.has_c) arrays.c_n = new_array(dtype, {N, H});

  OwnedSchedule schedule(T, N, given.lengths.is_none() ? nullptr : lengths.data(), reverse);
  auto cache = std::make_unique<Cache>(Cache{cell,
                                             &kernels,
                                             dtype,
                                             {T, N, I, H},
                                             std::move(schedule),
                                             nonlinearity,
                                             slope,
                                             std::move(x),
                                             std::move(w_ih),
                                             std::move(w_hh),
                                             std::move(b_ih),
                                             std::move(b_hh),
                                             segment,
                                             {}});
  if (dtype.itemsize() == sizeof(float))
    run_forward<float>(*cache, arrays, training);
  else
    run_forward<double>(*cache, arrays, training);
  const py::object kept = training ? py::cast(std::move(cache)) : py::none();
  if (its.has_c) return py::make_tuple(arrays.y, arrays.h_n, arrays.c_n, kept);
  return py::make_tuple(arrays.y, arrays.h_n, kept);
}

namespace {

// Which gradients are wanted, in the order x w_ih w_hh b_ih b_hh h_0 c_0 h.
struct Wanted {
  static constexpr int kFields = 8;
  static constexpr const char* kNames[kFields] = {"x", "w_ih", "w_hh", "b_ih", "b_hh", "h_0", "c_0", "h"};
  static constexpr int kC0 = 6, kH = 7;  // not of every cell; no argument, so only given if named
  bool field[kFields]{};

  Wanted(py::handle wrt, bool has_c) {
    const auto exists = [&](int i) { return has_c || i != kC0; };
    if (wrt.is_none()) {
      for (int i = 0; i < kH; ++i) field[i] = exists(i);
      return;
    }
    std::string must = ", must have names among x";
    for (int i = 1; i < kFields; ++i)
      if (exists(i)) must += std::string(", ") + kNames[i];
    if (!(PyTuple_Check(wrt.ptr()) || PyList_Check(wrt.ptr()) || PyAnySet_Check(wrt.ptr())))
      type_error("wrt is " + type_name(wrt) + ", must be a tuple, list or set of names");
    for (const py::handle name : wrt) {
      if (!py::isinstance<py::str>(name)) type_error("wrt has a name " + type_name(name) + must);
      int i = 0;
      while (i < kFields && !(exists(i) && name.equal(py::str(kNames[i])))) ++i;
      if (i == kFields) value_error("wrt has the name " + std::string(py::repr(name)) + must);
      field[i] = true;
    }
  }
};

// Empty, its axes in memory in the order of `like`'s, so that a batch-first input has a batch-first gradient.
py::array empty_like(const py::array& like) {
  const Extents shape(like.shape(), like.shape() + 3);
  if (std::abs(like.strides(0)) >= std::abs(like.strides(1))) return new_array(like.dtype(), shape);
  const py::array batch_first = new_array(like.dtype(), {shape[1], shape[0], shape[2]});
  return batch_first.attr("transpose")(1, 0, 2);
}

using Gradients = py::object[Wanted::kFields];

template <class T>
void run_backward(const Cache& cache, const py::object& dy, const py::object& dh_n, const py::object& dc_n,
                  const Gradients& g) {
  Backward<T> call{};
  if (!dy.is_none()) call.dy = sequences<const T>(py::reinterpret_borrow<py::array>(dy));
  call.dh_n = data<const T>(dh_n);
  call.dc_n = data<const T>(dc_n);
  if (!g[0].is_none()) call.dx = sequences<T>(py::reinterpret_borrow<py::array>(g[0]));
  call.dw_ih = data<T>(g[1]);
  call.dw_hh = data<T>(g[2]);
  call.db_ih = data<T>(g[3]);
  call.db_hh = data<T>(g[4]);
  call.dh_0 = data<T>(g[5]);
  call.dc_0 = data<T>(g[6]);
  if (!g[7].is_none()) call.dh = sequences<T>(py::reinterpret_borrow<py::array>(g[7]));
  run(cache, call);
}

}  // namespace

py::tuple backward(Cell cell, const BackwardArguments& given) {
  const CellInfo& its = info(cell);
  const std::string must =
      std::string(", must be that of functional.") + its.name + "_forward(..., training=True)";
  if (!py::isinstance<Cache>(given.cache)) type_error("cache is " + type_name(given.cache) + must);
  const Cache& cache = *given.cache.cast<Cache*>();
  if (cache.cell != cell)
    type_error(std::string("cache is that of functional.") + info(cache.cell).name + "_forward" + must);
  const auto [T, N, I, H] = cache.shape;
  py::object dy = py::none();
  if (!given.dy.is_none()) dy = array_argument(given.dy, "dy", cache.dtype, {T, N, H}, "(T, N, H)");
  const py::object dh_n = optional_argument(given.dh_n, "dh_n", cache.dtype, {N, H}, "(N, H)");
  const py::object dc_n = optional_argument(given.dc_n, "dc_n", cache.dtype, {N, H}, "(N, H)");
  const Wanted wanted(given.wrt, its.has_c);

  const int64_t GH = its.gates * H;
  const Extents shapes[Wanted::kFields] = {{}, {GH, I}, {GH, H}, {GH}, {GH}, {N, H}, {N, H}, {T, N, H}};
  Gradients g;
  for (int i = 0; i < Wanted::kFields; ++i) {
    g[i] = py::none();
    if (wanted.field[i]) g[i] = i == 0 ? empty_like(cache.x) : new_array(cache.dtype, shapes[i]);
  }
  if (cache.dtype.itemsize() == sizeof(float))
    run_backward<float>(cache, dy, dh_n, dc_n, g);
  else
    run_backward<double>(cache, dy, dh_n, dc_n, g);
  if (its.has_c) return py::make_tuple(g[0], g[1], g[2], g[3], g[4], g[5], g[6], g[7]);
  return py::make_tuple(g[0], g[1], g[2], g[3], g[4], g[5], g[7]);
}

}  // namespace bptt
