// exp, sigmoid and tanh on vectors.
//
// Largest error, against the exact value, where that is a normal number (elsewhere at most the smallest
// normal number, absolutely): exp 1 ULP, sigmoid 2 ULP, tanh 4 ULP in float and in double. All three take
// every argument: infinities give limits, NaN gives NaN. They share one reduction, e^x = 2^n * (1 + t) with
// t = e^r - 1, |r| <= ln(2)/2, and each combines n and t so that nothing cancels.
#pragma once

#include "simd.h"

namespace bptt::BPTT_ISA {

template <class T>
struct ExpConstants;

template <>
struct ExpConstants<float> {
  static constexpr int mantissa = 23, bias = 127;
  // x + magic rounds x to an integer; the low bits hold it, with the exponent's bias
  static constexpr float magic = 0x1.8p23f + bias;
  static constexpr float log2e = 0x1.715476p0f;
  // ln(2) in two parts; n times the first one is exact, with or without a fused multiply-add.
  static constexpr float ln2_high = 0x1.63p-1f, ln2_low = -0x1.bd0106p-13f;
  static constexpr float lowest = -105.f, highest = 90.f;
  static constexpr float sigmoid_low = -87.f, sigmoid_high = 88.3f, tanh_high = 20.f;
  // (e^r - 1 - r) / r^2: relative error of e^r - 1 below 1.5e-9. Chosen among near minimax polynomials for
  // the least error of exp, all roundings included, over all its arguments.
  static constexpr int degree = 5;
  static constexpr float poly[degree + 1] = {0x1.000000p-1f, 0x1.555552p-3f,  0x1.5554fep-5f,
                                             0x1.111670p-7f, 0x1.6d2b14p-10f, 0x1.986f86p-13f};
};

template <>
struct ExpConstants<double> {
  static constexpr int mantissa = 52, bias = 1023;
  static constexpr double magic = 0x1.8p52 + bias;
  static constexpr double log2e = 0x1.71547652b82fep0;
  static constexpr double ln2_high = 0x1.62e42fee00000p-1, ln2_low = 0x1.a39ef35793c76p-33;
  static constexpr double lowest = -746., highest = 711.;
  static constexpr double sigmoid_low = -708., sigmoid_high = 709., tanh_high = 40.;
  // relative error of e^r - 1 below 3.4e-18
  static constexpr int degree = 10;
  static constexpr double poly[degree + 1] = {
      0x1.0000000000000p-1,  0x1.5555555555557p-3,  0x1.5555555555512p-5,  0x1.1111111110439p-7,
      0x1.6c16c16c3aabbp-10, 0x1.a01a01aa00a2bp-13, 0x1.a01a00c5c434ep-16, 0x1.71de084aa53e1p-19,
      0x1.27e7145961cf0p-22, 0x1.af41398e2670ep-26, 0x1.1b85e749beb8cp-29};
};

// e^x = 2^n * (1 + t)
template <class T>
struct Reduced {
  ints<T> n;  // plus the exponent's bias; bits above those of an exponent are not meant
  vec<T> t;
};

template <class T>
BPTT_INLINE Reduced<T> reduce(vec<T> x) {
  using K = ExpConstants<T>;
  const vec<T> shifted = fma(x, splat(K::log2e), splat(K::magic));
  const vec<T> n = shifted - splat(K::magic);
  const vec<T> r = fma(n, splat(-K::ln2_low), fma(n, splat(-K::ln2_high), x)), r2 = r * r;
  vec<T> q = splat(K::poly[K::degree]);  // by twos, which halves the chain
  if constexpr (K::degree % 2) q = fma(q, r, splat(K::poly[K::degree - 1]));
#pragma GCC unroll 16
  for (int i = K::degree / 2 * 2; i >= 2; i -= 2)
    q = fma(q, r2, fma(splat(K::poly[i - 1]), r, splat(K::poly[i - 2])));
  return {bits<T>(shifted), fma(r2, q, r)};
}

// 2^n for a normal result, n with the bias
template <class T>
BPTT_INLINE vec<T> power_of_two(ints<T> n) {
  return from_bits<T>(n << ExpConstants<T>::mantissa);
}

template <class T>
BPTT_INLINE vec<T> exp(vec<T> x) {
  using K = ExpConstants<T>;
  const auto [biased, t] = reduce<T>(at_least(at_most(x, splat(K::highest)), splat(K::lowest)));
  const ints<T> n = biased - bits<T>(splat(K::magic)), half = n >> 1;  // 2^n may be out of range, e^x not
  const vec<T> scale = power_of_two<T>(half + splat_bits<T>(K::bias));
  return fma(scale, t, scale) * power_of_two<T>(n - half + splat_bits<T>(K::bias));
}

// 1 / (1 + e^-x); 1 and 2^n are added smaller first, so that neither is lost in the other
template <class T>
BPTT_INLINE vec<T> sigmoid(vec<T> x) {
  using K = ExpConstants<T>;
  const auto [n, t] = reduce<T>(at_least(at_most(-x, splat(K::sigmoid_high)), splat(K::sigmoid_low)));
  const vec<T> one = splat(T(1)), scale = power_of_two<T>(n);
  return one / (fma(scale, t, at_most(scale, one)) + at_least(scale, one));
}

// m / (m + 2) with m = e^(2|x|) - 1, and the sign of x
template <class T>
BPTT_INLINE vec<T> tanh(vec<T> x) {
  using K = ExpConstants<T>;
  const ints<T> sign = bits<T>(x) & bits<T>(splat(T(-0.0)));
  const vec<T> twice = from_bits<T>(bits<T>(x) ^ sign) * splat(T(2));
  const auto [n, t] = reduce<T>(at_most(twice, splat(K::tanh_high)));
  const vec<T> scale = power_of_two<T>(n);
  const vec<T> m = fma(scale, t, scale - splat(T(1)));
  return from_bits<T>(bits<T>(m / (m + splat(T(2)))) | sign);
}

}  // namespace bptt::BPTT_ISA
