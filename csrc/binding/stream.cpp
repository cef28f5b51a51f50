#include "stream.h"

#include <string.h>

#include <algorithm>

#include "../runtime/blocks.h"
#include "../runtime/schedule.h"
#include "cell.h"

namespace bptt {

namespace {

template <class T>
class StreamOf final : public Stream {
 public:
  StreamOf(Cell cell, const Kernels& kernels, const std::vector<LayerWeights>& layers, int64_t batch,
           const Options& options)
      : kernels_(kernels.table<T>().cells[int(cell)]),
        states_(info(cell).states),
        options_(options),
        N_(batch),
        one_step_(1, batch, nullptr) {
    for (const LayerWeights& given : layers) add_layer(given, info(cell));
    const size_t bytes = size_t(states_ * L() * N_ * H_) * sizeof(T);
    state_ = Block(bytes);
    memset(state_.data(), 0, bytes);
    between_ = Block(size_t(2 * N_ * H_) * sizeof(T));
    size_t scratch = 0;
    for (const Forward<T>& call : calls_) scratch = std::max(scratch, kernels_.forward_scratch(call));
    scratch_ = Block(scratch);
    for (size_t l = 0; l < calls_.size(); ++l) {
      Forward<T>& call = calls_[l];
      call.scratch = scratch_.data();
      for (int i = 0; i < states_; ++i) call.before[i] = call.after[i] = state_of(i) + int64_t(l) * N_ * H_;
    }
    one_x_ = {N_, I_};
    one_y_ = {N_, H_};
    if (N_ == 1) flat_x_ = {I_}, flat_y_ = {H_};
  }

  py::array step(const py::object& x, const py::object& out) override {
    if (are_ready(x, out)) {
      advance({data(x), 0, I_}, {data(out), 0, H_}, 1, one_step_.view(false),
              static_cast<T*>(between_.data()));
      return py::reinterpret_borrow<py::array>(out);
    }
    const bool flat = N_ == 1 && rank_of(x, "x") == 1;
    py::array rows = array_argument(x, "x", dtype_, flat ? flat_x_ : one_x_, flat ? "(I,)" : "(N, I)");
    const py::array y = out_argument(out, dtype_, flat ? flat_y_ : one_y_, flat ? "(H,)" : "(N, H)");
    rows = apart_from(rows, y);
    advance({data(rows), 0, stride(rows)}, {data(y), 0, stride(y)}, 1, one_step_.view(false),
            static_cast<T*>(between_.data()));
    return y;
  }

  py::array steps(const py::object& x, const py::object& out) override {
    py::array rows = array_argument(x, "x", dtype_, {-1, N_, I_},
                                    ("(T, " + std::to_string(N_) + ", " + std::to_string(I_) + ")").c_str());
    const int64_t T_ = rows.shape(0);
    const py::array y = out_argument(out, dtype_, {T_, N_, H_}, "(T, N, H)");
    rows = apart_from(rows, y);
    const Sequences<const T> from = sequences<const T>(rows);
    const Sequences<T> to = sequences<T>(y);
    const int64_t chunk =
        std::min({T_, kChunkSteps + kChunkRows / N_, std::max<int64_t>(1, kChunkTerms / terms_)});
    const Block between(size_t(2 * chunk * N_ * H_) * sizeof(T));
    const std::vector<T> before(state_of(0), state_of(states_));
    for (int64_t t = 0; t < T_; t += chunk) {
      const int64_t n = std::min(chunk, T_ - t);
      const OwnedSchedule schedule(n, N_, nullptr);
      advance({from.at(t, 0), from.step, from.sequence}, {to.at(t, 0), to.step, to.sequence}, n,
              schedule.view(false), static_cast<T*>(between.data()));
      if (PyErr_CheckSignals() != 0) {
        std::copy(before.begin(), before.end(), state_of(0));
        throw py::error_already_set();
      }
    }
    return y;
  }

  std::vector<py::array> state() const override {
    const Extents extents{L(), N_, H_};
    std::vector<py::array> parts;
    for (int i = 0; i < states_; ++i) parts.emplace_back(dtype_, extents, state_of(i));
    return parts;
  }

  void set_state(const py::args& given) override {
    if (int(given.size()) != states_) type_error("set_state takes " + std::to_string(states_) + " arrays");
    std::vector<py::array> parts;
    for (int i = 0; i < states_; ++i) {
      const std::string name = states_ == 1 ? "state" : "state[" + std::to_string(i) + "]";
      parts.push_back(contiguous_argument(PyTuple_GET_ITEM(given.ptr(), i), name.c_str(), dtype_,
                                          {L(), N_, H_}, "(num_layers, N, H)"));
    }
    for (int i = 0; i < states_; ++i)
      memcpy(state_of(i), parts[size_t(i)].data(), size_t(L() * N_ * H_) * sizeof(T));
  }

  void clear(const py::array_t<bool, py::array::c_style>& chosen) override {
    for (int64_t n = 0; n < std::min<int64_t>(N_, chosen.size()); ++n)
      if (chosen.data()[n])
        for (int64_t l = 0; l < states_ * L(); ++l) std::fill_n(state_of(0) + (l * N_ + n) * H_, H_, T(0));
  }

 private:
  // What the layers advance by in turn in one call: enough for a kernel that multiplies many rows at once and
  // for a call's own cost, and few enough that what a layer gives is in a cache for the next.
  static constexpr int64_t kChunkRows = 256, kChunkSteps = 16;
  static constexpr int64_t kChunkTerms = int64_t(1)
                                         << 30;  // of sums, in all layers, between questions for signals

  int64_t L() const { return int64_t(calls_.size()); }
  T* state_of(int i) const { return static_cast<T*>(state_.data()) + i * L() * N_ * H_; }

  static T* data(py::handle array) {
    return reinterpret_cast<T*>(py::detail::array_proxy(array.ptr())->data);
  }
  // of sequences, in elements
  static int64_t stride(const py::array& rows) {
    return rows.ndim() == 1 ? 0 : rows.strides(0) / py::ssize_t(sizeof(T));
  }
  bool are_ready(const py::object& x, const py::object& out) const {
    const auto of = [&](const Extents& x_extents, const Extents& y_extents) {
      return is_ready(x, dtype_, x_extents, false) && is_ready(out, dtype_, y_extents, true);
    };
    if (!of(one_x_, one_y_) && !(N_ == 1 && of(flat_x_, flat_y_))) return false;
    const T *a = data(x), *b = data(out);
    return a + N_ * I_ <= b || b + N_ * H_ <= a;
  }

  void add_layer(const LayerWeights& given, const CellInfo& cell) {
    const int64_t gates = cell.gates;
    const auto weights = [&](const py::object& argument, const char* name, const Extents& extents) {
      return contiguous_argument(argument, name, dtype_, extents, "the layer's");
    };
    const py::array w_ih = weights(given.w_ih, "w_ih", {-1, calls_.empty() ? -1 : H_});
    if (calls_.empty()) {
      I_ = w_ih.shape(1);
      H_ = w_ih.shape(0) / gates;
    }
    const py::array w_hh = weights(given.w_hh, "w_hh", {gates * H_, H_});
    Forward<T> call{};
    call.shape = {1, N_, w_ih.shape(1), H_};
    call.schedule = one_step_.view(false);
    call.options = address(options_);
    call.threads = 1;
    call.stop = [] { return false; };
    call.w_ih = static_cast<const T*>(w_ih.data());
    call.w_hh = static_cast<const T*>(w_hh.data());
    py::array b_ih, b_hh;
    if (!given.b_ih.is_none())
      call.b_ih = static_cast<const T*>((b_ih = weights(given.b_ih, "b_ih", {gates * H_})).data());
    if (!given.b_hh.is_none())
      call.b_hh = static_cast<const T*>((b_hh = weights(given.b_hh, "b_hh", {gates * H_})).data());
    py::array vectors;
    if (given.vectors)
      call.vectors =
          static_cast<const T*>((vectors = weights(given.vectors, "vectors", {cell.vectors, H_})).data());
    terms_ += N_ * gates * H_ * (w_ih.shape(1) + H_);
    panels_.emplace_back(kernels_.panel_bytes(call.shape));
    call.panels = panels_.back().data();
    kernels_.pack(call);
    call.w_ih = call.w_hh = call.b_ih = call.b_hh = call.vectors = nullptr;
    calls_.push_back(call);
  }

  // `between` has room for two blocks of y: what a layer gives and the next one reads.
  void advance(Sequences<const T> x, Sequences<T> y, int64_t steps, const Schedule& schedule, T* between) {
    for (int64_t l = 0; l < L(); ++l) {
      Forward<T>& call = calls_[size_t(l)];
      call.shape.T = steps;
      call.schedule = schedule;
      call.x = x;
      call.y = l + 1 < L() ? Sequences<T>{between + (l & 1) * steps * N_ * H_, N_ * H_, H_} : y;
      kernels_.forward(call);
      x = {call.y.data, call.y.step, call.y.sequence};
    }
  }

  const py::dtype dtype_ = py::dtype::of<T>();
  const CellKernels<T>& kernels_;
  const int states_;
  const Options options_;
  const int64_t N_;
  int64_t I_ = 0, H_ = 0;
  int64_t terms_ = 0;            // of sums in a step, all layers together
  Extents one_x_{}, one_y_{};    // (N,I), (N,H)
  Extents flat_x_{}, flat_y_{};  // (I), (H), with one sequence
  OwnedSchedule one_step_;
  std::vector<Block> panels_;
  std::vector<Forward<T>> calls_;  // one a layer
  Block state_;                    // (states,L,N,H)
  Block between_, scratch_;        // for one step
};

}  // namespace

std::unique_ptr<Stream> Stream::make(Cell cell, const Kernels& kernels,
                                     const std::vector<LayerWeights>& layers, int64_t batch,
                                     const Options& options) {
  return with_dtype(float_dtype(layers.at(0).w_ih, "w_ih"), [&](auto zero) -> std::unique_ptr<Stream> {
    return std::make_unique<StreamOf<decltype(zero)>>(cell, kernels, layers, batch, options);
  });
}

}  // namespace bptt
