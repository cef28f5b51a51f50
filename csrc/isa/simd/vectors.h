// Vectors of a given size, with the compiler's own operators: + - * / < ? : and the bits' & | ^ << >>.
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "../../kernels.h"

namespace bptt::BPTT_ISA {

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

// condition's lanes are all ones or all zeros.
template <class T>
BPTT_INLINE vec<T> select(ints<T> condition, vec<T> yes, vec<T> no) {
  return condition ? yes : no;
}

// All ones in the first n lanes, zeros in the others.
template <class T>
BPTT_INLINE ints<T> first_lanes(int64_t n) {
  ints<T> lane;
#pragma GCC unroll 16
  for (int i = 0; i < kLanes<T>; ++i) lane[i] = i;
  return lane < splat_bits<T>(n);
}

}  // namespace bptt::BPTT_ISA
