// The cells: each one a layout and its pointwise functions, forward and backward side by side.
//
// A tile of preactivations has `slots` vectors for each unit. `x` says which of them get the product of the
// input with which gates' weights; a phase says the same of a left vector, the state h for the first. Only
// the GRU has slots that get one product alone, because its reset gate stands between W_hn h + b_hn and the
// sum. Gradients of preactivations use the same slots. p is the previous state, s the new one, v what the
// backward pass needs, u the units' own parameters, whose gradients follow those of the slots.
//
// A cell of several phases has a function `part<i>` for each but the last, which puts activated values in the
// place of the preactivations of its slots, and `left<i>`, the left vector of phase i > 0 from these values;
// they are the first of v. Backward, `part_backward<i>` goes on from the gradient of left<i + 1>.
#pragma once

#include "../kernels.h"
#include "math.h"
#include "product.h"

namespace bptt::BPTT_ISA {

// The slots from `first` on, as many as `count`, get a product with the weights of these gates.
struct GateSlots {
  int first, count;
  int gate[4];
};

template <Cell cell>
struct Sizes {
  static constexpr int gates = info(cell).gates, states = info(cell).states, vectors = info(cell).vectors;
};

template <class T>
struct State {
  vec<T> h, c;
  explicit State(vec<T> h = vec<T>{}, vec<T> c = vec<T>{}) : h(h), c(c) {}
  BPTT_INLINE vec<T>& operator[](int i) { return i == 0 ? h : c; }
  BPTT_INLINE const vec<T>& operator[](int i) const { return i == 0 ? h : c; }
};

template <class T>
struct Rnn : Sizes<Cell::kRnn> {
  using Options = RnnOptions;
  static constexpr int saved = 0, slots = 1;
  static constexpr GateSlots x{0, 1, {0}}, phases[] = {{0, 1, {0}}};

  Nonlinearity f;
  T slope;
  explicit Rnn(const Options& options) : f(options.nonlinearity), slope(T(options.slope)) {}

  // h = f(a)
  BPTT_INLINE State<T> forward(const vec<T>*, const vec<T>* a, const State<T>&, vec<T>*) const {
    switch (f) {
      case Nonlinearity::kTanh:
        return State<T>(tanh<T>(a[0]));
      case Nonlinearity::kRelu:  // NaN stays
        return State<T>(select<T>(a[0] < vec<T>{}, vec<T>{}, a[0]));
      case Nonlinearity::kLeakyRelu:
        return State<T>(select<T>(a[0] < vec<T>{}, splat(slope) * a[0], a[0]));
      case Nonlinearity::kSigmoid:
        return State<T>(sigmoid<T>(a[0]));
      case Nonlinearity::kIdentity:
        break;
    }
    return State<T>(a[0]);
  }

  // da = dh * f'(a), written with h = f(a)
  BPTT_INLINE State<T> backward(const vec<T>*, const vec<T>*, const State<T>&, const State<T>& s,
                                const State<T>& ds, vec<T>* da) const {
    const vec<T> one = splat(T(1)), h = s.h;
    da[0] = ds.h;
    switch (f) {
      case Nonlinearity::kTanh:
        da[0] = ds.h * (one - h * h);
        break;
      case Nonlinearity::kRelu:
        da[0] = select<T>(h <= vec<T>{}, vec<T>{}, ds.h);  // NaN passes
        break;
      case Nonlinearity::kLeakyRelu:
        da[0] = select<T>(h <= vec<T>{}, splat(slope) * ds.h, ds.h);
        break;
      case Nonlinearity::kSigmoid:
        da[0] = ds.h * (h * (one - h));
        break;
      case Nonlinearity::kIdentity:
        break;
    }
    return State<T>();
  }
};

template <class T>
struct Lstm : Sizes<Cell::kLstm> {  // gates i f g o
  using Options = LstmOptions;
  static constexpr int saved = 4, slots = 4;
  static constexpr GateSlots x{0, 4, {0, 1, 2, 3}}, phases[] = {{0, 4, {0, 1, 2, 3}}};

  explicit Lstm(const Options&) {}

  // c = f * p.c + i * g,  h = o * tanh(c)
  BPTT_INLINE State<T> forward(const vec<T>*, const vec<T>* a, const State<T>& p, vec<T>* v) const {
    const vec<T> i = sigmoid<T>(a[0]), f = sigmoid<T>(a[1]), g = tanh<T>(a[2]), o = sigmoid<T>(a[3]);
    const vec<T> c = fma(f, p.c, i * g);
    v[0] = i, v[1] = f, v[2] = g, v[3] = o;
    return State<T>(o * tanh<T>(c), c);
  }

  BPTT_INLINE State<T> backward(const vec<T>*, const vec<T>* v, const State<T>& p, const State<T>& s,
                                const State<T>& ds, vec<T>* da) const {
    const vec<T> i = v[0], f = v[1], g = v[2], o = v[3], one = splat(T(1));
    const vec<T> k = tanh<T>(s.c);
    const vec<T> dc = fma(ds.h * o, one - k * k, ds.c);  // h = o * tanh(c)
    da[0] = dc * g * (i * (one - i));                    // c = f * p.c + i * g
    da[1] = dc * p.c * (f * (one - f));
    da[2] = dc * i * (one - g * g);
    da[3] = ds.h * k * (o * (one - o));
    return State<T>(vec<T>{}, dc * f);
  }
};

template <class T>
struct Gru : Sizes<Cell::kGru> {  // gates r z n; slots: n from x, r, z, q = W_hn h + b_hn
  using Options = GruOptions;
  static constexpr int saved = 4, slots = 4;
  static constexpr GateSlots x{0, 3, {2, 0, 1}}, phases[] = {{1, 3, {0, 1, 2}}};

  explicit Gru(const Options&) {}

  // n = tanh(gx + r * q),  h = n + z * (p.h - n)
  BPTT_INLINE State<T> forward(const vec<T>*, const vec<T>* a, const State<T>& p, vec<T>* v) const {
    const vec<T> r = sigmoid<T>(a[1]), z = sigmoid<T>(a[2]), q = a[3];
    const vec<T> n = tanh<T>(fma(r, q, a[0]));
    v[0] = r, v[1] = z, v[2] = n, v[3] = q;
    return State<T>(fma(z, p.h - n, n));
  }

  BPTT_INLINE State<T> backward(const vec<T>*, const vec<T>* v, const State<T>& p, const State<T>&,
                                const State<T>& ds, vec<T>* da) const {
    const vec<T> r = v[0], z = v[1], n = v[2], q = v[3], one = splat(T(1));
    const vec<T> dn = ds.h * (one - z) * (one - n * n);  // h = n + z * (p.h - n)
    da[0] = dn;                                          // n = tanh(gx + r * q)
    da[1] = dn * q * (r * (one - r));
    da[2] = ds.h * (p.h - n) * (z * (one - z));
    da[3] = dn * r;
    return State<T>(ds.h * z);
  }
};

// What a cell's phases amount to.
template <class C>
struct Phases {
  static constexpr int count = int(sizeof(C::phases) / sizeof(GateSlots));
  static_assert(count <= 2, "what a phase leaves for the next has one place");
  // recurrent products of a unit before phase i; of all phases, i = count
  static constexpr int products_before(int i) {
    return i == 0 ? 0 : products_before(i - 1) + C::phases[i - 1].count;
  }
  static constexpr int products = products_before(count);
  static constexpr int gate(int product) {  // of w_hh, whose product this is
    int i = 0;
    for (; product >= C::phases[i].count; ++i) product -= C::phases[i].count;
    return C::phases[i].gate[product];
  }
  static constexpr int widest(int i = count) {
    return i == 0 ? 0 : max_of(C::phases[i - 1].count, widest(i - 1));
  }
};

// f(i), with an i that is a constant, for each from `begin` to `end`
template <int i>
struct Index {
  constexpr operator int() const { return i; }
};
template <int begin, int end, class F>
BPTT_INLINE void for_each_index(const F& f) {
  if constexpr (begin < end) {
    f(Index<begin>{});
    for_each_index<begin + 1, end>(f);
  }
}

}  // namespace bptt::BPTT_ISA
