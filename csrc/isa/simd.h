// Vectors of one instruction set: the only file that asks which one this is.
//
// Everything in csrc/isa is compiled once per instruction set, in namespace bptt::BPTT_ISA (a macro that
// the build sets together with the compiler flags). No std:: template and no inline function outside that
// namespace may be used here: the linker could keep the AVX-512 copy for every caller.
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <immintrin.h>

#include "../kernels.h"

namespace bptt::BPTT_ISA {

#if defined(__AVX512F__)
constexpr int kVectorBytes = 64;
constexpr int kAccumulators = 24;  // of 32 registers; the others hold the panel's vectors and a broadcast
#elif defined(__AVX2__)
constexpr int kVectorBytes = 32;
constexpr int kAccumulators = 12;  // of 16 registers
#else
constexpr int kVectorBytes = 16;
constexpr int kAccumulators = 12;
#endif

template <class T>
struct VectorOf;
template <>
struct VectorOf<float> {
  typedef float type __attribute__((vector_size(kVectorBytes)));
  typedef int32_t ints __attribute__((vector_size(kVectorBytes)));
  typedef float loose __attribute__((vector_size(kVectorBytes), aligned(4), may_alias));
};
template <>
struct VectorOf<double> {
  typedef double type __attribute__((vector_size(kVectorBytes)));
  typedef int64_t ints __attribute__((vector_size(kVectorBytes)));
  typedef double loose __attribute__((vector_size(kVectorBytes), aligned(8), may_alias));
};

template <class T>
using vec = typename VectorOf<T>::type;
template <class T>
using ints = typename VectorOf<T>::ints;

template <class T>
constexpr int kLanes = kVectorBytes / int(sizeof(T));

template <class T>
BPTT_INLINE vec<T> splat(T value) {
  return value - vec<T>{};  // not a sum: that would turn -0 into 0, so it could not be folded
}
template <class T>
BPTT_INLINE ints<T> splat_bits(int64_t value) {
  return ints<T>{} + static_cast<decltype(ints<T>{}[0] + 0)>(value);
}
template <class T>
BPTT_INLINE ints<T> bits(vec<T> v) {
  return reinterpret_cast<ints<T>>(v);
}
template <class T>
BPTT_INLINE vec<T> from_bits(ints<T> v) {
  return reinterpret_cast<vec<T>>(v);
}

// Any address; the compiler emits the unaligned form, which costs nothing where the address is aligned.
template <class T>
BPTT_INLINE vec<T> load(const T* from) {
  return *reinterpret_cast<const typename VectorOf<T>::loose*>(from);
}
template <class T>
BPTT_INLINE void store(T* to, vec<T> v) {
  *reinterpret_cast<typename VectorOf<T>::loose*>(to) = v;
}

// The first n lanes (0 <= n <= lanes); the others are zero and their memory is not touched.
template <class T>
BPTT_INLINE vec<T> load_first(const T* from, int64_t n) {
  if (n == kLanes<T>) return load(from);
  vec<T> v{};
  memcpy(&v, from, size_t(n) * sizeof(T));
  return v;
}
template <class T>
BPTT_INLINE void store_first(T* to, vec<T> v, int64_t n) {
  if (n == kLanes<T>) return store(to, v);
  memcpy(to, &v, size_t(n) * sizeof(T));
}

// a*b + c, rounded once where the instruction set has it.
#if defined(__AVX512F__)
BPTT_INLINE vec<float> fma(vec<float> a, vec<float> b, vec<float> c) { return _mm512_fmadd_ps(a, b, c); }
BPTT_INLINE vec<double> fma(vec<double> a, vec<double> b, vec<double> c) { return _mm512_fmadd_pd(a, b, c); }
#elif defined(__AVX2__)
BPTT_INLINE vec<float> fma(vec<float> a, vec<float> b, vec<float> c) { return _mm256_fmadd_ps(a, b, c); }
BPTT_INLINE vec<double> fma(vec<double> a, vec<double> b, vec<double> c) { return _mm256_fmadd_pd(a, b, c); }
#else
BPTT_INLINE vec<float> fma(vec<float> a, vec<float> b, vec<float> c) { return a * b + c; }
BPTT_INLINE vec<double> fma(vec<double> a, vec<double> b, vec<double> c) { return a * b + c; }
#endif

// The smaller of x and a limit, and the larger; NaN stays.
#if defined(__AVX512F__)
BPTT_INLINE vec<float> at_most(vec<float> x, vec<float> limit) { return _mm512_min_ps(limit, x); }
BPTT_INLINE vec<double> at_most(vec<double> x, vec<double> limit) { return _mm512_min_pd(limit, x); }
BPTT_INLINE vec<float> at_least(vec<float> x, vec<float> limit) { return _mm512_max_ps(limit, x); }
BPTT_INLINE vec<double> at_least(vec<double> x, vec<double> limit) { return _mm512_max_pd(limit, x); }
#elif defined(__AVX2__)
BPTT_INLINE vec<float> at_most(vec<float> x, vec<float> limit) { return _mm256_min_ps(limit, x); }
BPTT_INLINE vec<double> at_most(vec<double> x, vec<double> limit) { return _mm256_min_pd(limit, x); }
BPTT_INLINE vec<float> at_least(vec<float> x, vec<float> limit) { return _mm256_max_ps(limit, x); }
BPTT_INLINE vec<double> at_least(vec<double> x, vec<double> limit) { return _mm256_max_pd(limit, x); }
#else
BPTT_INLINE vec<float> at_most(vec<float> x, vec<float> limit) { return _mm_min_ps(limit, x); }
BPTT_INLINE vec<double> at_most(vec<double> x, vec<double> limit) { return _mm_min_pd(limit, x); }
BPTT_INLINE vec<float> at_least(vec<float> x, vec<float> limit) { return _mm_max_ps(limit, x); }
BPTT_INLINE vec<double> at_least(vec<double> x, vec<double> limit) { return _mm_max_pd(limit, x); }
#endif

// condition's lanes are all ones or all zeros.
template <class T>
BPTT_INLINE vec<T> select(ints<T> condition, vec<T> yes, vec<T> no) {
  return condition ? yes : no;
}

// One square of lanes x lanes values, rows to columns: lane halves are exchanged log2(lanes) times.
template <class T>
BPTT_INLINE void transpose(vec<T> (&rows)[kLanes<T>]) {
  constexpr int n = kLanes<T>;
#pragma GCC unroll 4
  for (int half = n / 2; half >= 1; half /= 2) {
    ints<T> low, high;
#pragma GCC unroll 16
    for (int lane = 0; lane < n; ++lane) {
      const bool upper = (lane & half) != 0;
      low[lane] = upper ? n + lane - half : lane;
      high[lane] = upper ? n + lane : lane + half;
    }
#pragma GCC unroll 16
    for (int i = 0; i < n; ++i) {
      if (i & half) continue;
#ifdef __clang__
      vec<T> a, b;
      for (int lane = 0; lane < n; ++lane) {
        a[lane] = low[lane] < n ? rows[i][low[lane]] : rows[i + half][low[lane] - n];
        b[lane] = high[lane] < n ? rows[i][high[lane]] : rows[i + half][high[lane] - n];
      }
#else
      const vec<T> a = __builtin_shuffle(rows[i], rows[i + half], low);
      const vec<T> b = __builtin_shuffle(rows[i], rows[i + half], high);
#endif
      rows[i] = a;
      rows[i + half] = b;
    }
  }
}

}  // namespace bptt::BPTT_ISA
