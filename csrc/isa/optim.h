// One step of an optimiser on one parameter, each array read and written once; and the sum of squares that
// clipping needs.
//
// A rule takes a vector of the parameter p, of its gradient g and of what is kept of it, and returns the new
// p. `kept` stands in the order named at each rule; where an option needs none of it, `has` is false. The
// constants of a step are in the order of the fields.
#pragma once

#include "product.h"

namespace bptt::BPTT_ISA {

// The gradient with that of weight decay. No sum with zero: that would make NaN of an infinite parameter.
template <class T>
BPTT_INLINE vec<T> decayed(vec<T> g, T decay, vec<T> p) {
  return decay != 0 ? fma(splat(decay), p, g) : g;
}

// kept: velocity
template <class T>
struct Sgd {
  T lr, decay, momentum, gain, nesterov;

  BPTT_INLINE vec<T> operator()(vec<T> p, vec<T> g, vec<T>* kept, const bool* has) const {
    g = decayed(g, decay, p);
    if (has[0]) {
      kept[0] = fma(splat(momentum), kept[0], splat(gain) * g);
      g = nesterov != 0 ? fma(splat(momentum), kept[0], g) : kept[0];
    }
    return fma(splat(-lr), g, p);
  }
};

// kept: mean, mean square. Adam's decay is a part of the gradient, AdamW's shrinks p.
template <class T>
struct Adam {
  T lr, decay, shrink, rest1, beta2, rest2, scale, eps;  // rest = 1-beta; scale is that of the root

  BPTT_INLINE vec<T> operator()(vec<T> p, vec<T> g, vec<T>* kept, const bool*) const {
    g = decayed(g, decay, p);
    kept[0] = fma(splat(rest1), g - kept[0], kept[0]);
    kept[1] = fma(splat(rest2) * g, g, splat(beta2) * kept[1]);
    const vec<T> root = fma(sqrt(kept[1]), splat(scale), splat(eps));
    return fma(splat(-lr), kept[0] / root, splat(shrink) * p);
  }
};

// kept: mean square; mean, if centered; velocity, with momentum
template <class T>
struct Rmsprop {
  T lr, decay, alpha, rest, eps, momentum;  // rest = 1-alpha

  BPTT_INLINE vec<T> operator()(vec<T> p, vec<T> g, vec<T>* kept, const bool* has) const {
    g = decayed(g, decay, p);
    kept[0] = fma(splat(rest) * g, g, splat(alpha) * kept[0]);
    vec<T> variance = kept[0];
    if (has[1]) {
      kept[1] = fma(splat(rest), g - kept[1], kept[1]);
      // the difference of two that are nearly equal, where gradients do not change, may round below zero
      variance = at_least(fma(-kept[1], kept[1], variance), vec<T>{});
    }
    vec<T> move = g / (sqrt(variance) + splat(eps));
    if (has[2]) move = kept[2] = fma(splat(momentum), kept[2], move);
    return fma(splat(-lr), move, p);
  }
};

// kept: sum of squares
template <class T>
struct Adagrad {
  T lr, decay, eps;

  BPTT_INLINE vec<T> operator()(vec<T> p, vec<T> g, vec<T>* kept, const bool*) const {
    g = decayed(g, decay, p);
    kept[0] = fma(g, g, kept[0]);
    return fma(splat(-lr), g / (sqrt(kept[0]) + splat(eps)), p);
  }
};

template <template <class> class Rule, class T>
void update(const T* constants, const Update<T>& u, int64_t begin, int64_t end) {
  Rule<T> rule;
  memcpy(&rule, constants, sizeof rule);
  const auto step = [&](int64_t i, int64_t lanes) __attribute__((always_inline)) {
    vec<T> kept[kMostKept];
    bool has[kMostKept];
#pragma GCC unroll 3
    for (int k = 0; k < kMostKept; ++k) {
      has[k] = u.kept[k] != nullptr;
      kept[k] = has[k] ? load_first(u.kept[k] + i, lanes) : vec<T>{};
    }
    store_first(u.p + i, rule(load_first(u.p + i, lanes), load_first(u.g + i, lanes), kept, has), lanes);
#pragma GCC unroll 3
    for (int k = 0; k < kMostKept; ++k)
      if (has[k]) store_first(u.kept[k] + i, kept[k], lanes);
  };
  int64_t i = begin;
  for (; i + kLanes<T> <= end; i += kLanes<T>) step(i, kLanes<T>);
  if (i < end) step(i, end - i);
}

// In double, since the squares of exploded float gradients overflow. Blocks are added in ascending order,
// each made of four vectors of sums, whose order is fixed, too.
template <class T>
double sum_of_squares(const T* x, int64_t n) {
  constexpr int64_t L = kLanes<double>, chains = 4, block = 256 * chains * L;
  double total = 0;
  for (int64_t begin = 0; begin < n; begin += block) {
    const int64_t end = min(begin + block, n);
    vec<double> sums[chains] = {};
    int64_t i = begin;
    for (; i + chains * L <= end; i += chains * L) {
#pragma GCC unroll 4
      for (int64_t k = 0; k < chains; ++k) {
        const vec<double> v = load_double(x + i + k * L);
        sums[k] = fma(v, v, sums[k]);
      }
    }
    vec<double> sum = (sums[0] + sums[1]) + (sums[2] + sums[3]);
    for (; i < end; ++i) sum[0] += double(x[i]) * double(x[i]);
    for (int64_t lane = 0; lane < L; ++lane) total += sum[lane];
  }
  return total;
}

}  // namespace bptt::BPTT_ISA
