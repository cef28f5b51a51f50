// The cells: each one a layout and its two pointwise functions, side by side.
//
// A tile of preactivations has `slots` vectors for each unit: those from x (x_count of them from x_first on,
// belonging to the gates x_gate) and those from h. Only the GRU has slots that get one product alone,
// because its reset gate stands between W_hn h + b_hn and the sum. Gradients of preactivations use the same
// slots. p is the previous state, s the new one, v what the backward pass needs.
#pragma once

#include "../kernels.h"
#include "math.h"

namespace bptt::BPTT_ISA {

template <class T>
struct State {
  vec<T> h, c;
  explicit State(vec<T> h = vec<T>{}, vec<T> c = vec<T>{}) : h(h), c(c) {}
};

template <class T>
struct Rnn {
  static constexpr int gates = 1, saved = 0, slots = 1, x_first = 0, x_count = 1, h_first = 0, h_count = 1;
  static constexpr bool has_c = false;
  static constexpr int x_gate(int j) { return j; }
  static constexpr int h_gate(int j) { return j; }

  Nonlinearity f;
  T slope;
  explicit Rnn(const Call<T>& call) : f(call.nonlinearity), slope(call.slope) {}

  // h = f(a)
  BPTT_INLINE State<T> forward(const vec<T>* a, const State<T>&, vec<T>*) const {
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
  BPTT_INLINE State<T> backward(const vec<T>*, const State<T>&, const State<T>& s, const State<T>& ds,
                                vec<T>* da) const {
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
struct Lstm {  // gates i f g o
  static constexpr int gates = 4, saved = 4, slots = 4, x_first = 0, x_count = 4, h_first = 0, h_count = 4;
  static constexpr bool has_c = true;
  static constexpr int x_gate(int j) { return j; }
  static constexpr int h_gate(int j) { return j; }

  explicit Lstm(const Call<T>&) {}

  // c = f * p.c + i * g,  h = o * tanh(c)
  BPTT_INLINE State<T> forward(const vec<T>* a, const State<T>& p, vec<T>* v) const {
    const vec<T> i = sigmoid<T>(a[0]), f = sigmoid<T>(a[1]), g = tanh<T>(a[2]), o = sigmoid<T>(a[3]);
    const vec<T> c = fma(f, p.c, i * g);
    v[0] = i, v[1] = f, v[2] = g, v[3] = o;
    return State<T>(o * tanh<T>(c), c);
  }

  BPTT_INLINE State<T> backward(const vec<T>* v, const State<T>& p, const State<T>& s, const State<T>& ds,
                                vec<T>* da) const {
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
struct Gru {  // gates r z n; slots: n from x, r, z, q = W_hn h + b_hn
  static constexpr int gates = 3, saved = 4, slots = 4, x_first = 0, x_count = 3, h_first = 1, h_count = 3;
  static constexpr bool has_c = false;
  static constexpr int x_gate(int j) { return (j + 2) % 3; }  // n r z
  static constexpr int h_gate(int j) { return j; }            // r z n

  explicit Gru(const Call<T>&) {}

  // n = tanh(gx + r * q),  h = n + z * (p.h - n)
  BPTT_INLINE State<T> forward(const vec<T>* a, const State<T>& p, vec<T>* v) const {
    const vec<T> r = sigmoid<T>(a[1]), z = sigmoid<T>(a[2]), q = a[3];
    const vec<T> n = tanh<T>(fma(r, q, a[0]));
    v[0] = r, v[1] = z, v[2] = n, v[3] = q;
    return State<T>(fma(z, p.h - n, n));
  }

  BPTT_INLINE State<T> backward(const vec<T>* v, const State<T>& p, const State<T>&, const State<T>& ds,
                                vec<T>* da) const {
    const vec<T> r = v[0], z = v[1], n = v[2], q = v[3], one = splat(T(1));
    const vec<T> dn = ds.h * (one - z) * (one - n * n);  // h = n + z * (p.h - n)
    da[0] = dn;                                          // n = tanh(gx + r * q)
    da[1] = dn * q * (r * (one - r));
    da[2] = ds.h * (p.h - n) * (z * (one - z));
    da[3] = dn * r;
    return State<T>(ds.h * z);
  }
};

}  // namespace bptt::BPTT_ISA
