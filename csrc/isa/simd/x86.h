// Vectors of x86-64: baseline, AVX2 with FMA, and AVX-512. The interface is that of simd.h, which includes
// this.
#pragma once

#pragma GCC diagnostic push
#ifndef __clang__
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // GCC's own "undefined" vectors
#endif
#include <immintrin.h>
#pragma GCC diagnostic pop

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

}  // namespace bptt::BPTT_ISA

#include "vectors.h"

namespace bptt::BPTT_ISA {

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

#if defined(__AVX512F__)
BPTT_INLINE vec<float> sqrt(vec<float> x) { return _mm512_sqrt_ps(x); }
BPTT_INLINE vec<double> sqrt(vec<double> x) { return _mm512_sqrt_pd(x); }
#elif defined(__AVX2__)
BPTT_INLINE vec<float> sqrt(vec<float> x) { return _mm256_sqrt_ps(x); }
BPTT_INLINE vec<double> sqrt(vec<double> x) { return _mm256_sqrt_pd(x); }
#else
BPTT_INLINE vec<float> sqrt(vec<float> x) { return _mm_sqrt_ps(x); }
BPTT_INLINE vec<double> sqrt(vec<double> x) { return _mm_sqrt_pd(x); }
#endif

// As many values as a vector of double has lanes.
BPTT_INLINE vec<double> load_double(const double* from) { return load(from); }
#if defined(__AVX512F__)
BPTT_INLINE vec<double> load_double(const float* from) { return _mm512_cvtps_pd(_mm256_loadu_ps(from)); }
#elif defined(__AVX2__)
BPTT_INLINE vec<double> load_double(const float* from) { return _mm256_cvtps_pd(_mm_loadu_ps(from)); }
#else
BPTT_INLINE vec<double> load_double(const float* from) { return vec<double>{from[0], from[1]}; }
#endif

// Keeps a value in a register of its own. Else compilers load it anew for each use, and loads run out first.
template <class T>
BPTT_INLINE vec<T> in_register(vec<T> v) {
#ifdef __AVX512F__
  __asm__("" : "+v"(v));
#else
  __asm__("" : "+x"(v));
#endif
  return v;
}

// Each 128-bit part's square of values, rows to columns.
#if defined(__AVX512F__)
#define BPTT_PARTS(name) _mm512_##name
#elif defined(__AVX2__)
#define BPTT_PARTS(name) _mm256_##name
#else
#define BPTT_PARTS(name) _mm_##name
#endif
BPTT_INLINE void transpose_parts(vec<double>* v) {
  const vec<double> a = v[0], b = v[1];
  v[0] = BPTT_PARTS(unpacklo_pd)(a, b);
  v[1] = BPTT_PARTS(unpackhi_pd)(a, b);
}
BPTT_INLINE void transpose_parts(vec<float>* v) {
  typedef vec<double> pairs;
  const pairs a = reinterpret_cast<pairs>(vec<float>(BPTT_PARTS(unpacklo_ps)(v[0], v[1])));
  const pairs b = reinterpret_cast<pairs>(vec<float>(BPTT_PARTS(unpackhi_ps)(v[0], v[1])));
  const pairs c = reinterpret_cast<pairs>(vec<float>(BPTT_PARTS(unpacklo_ps)(v[2], v[3])));
  const pairs d = reinterpret_cast<pairs>(vec<float>(BPTT_PARTS(unpackhi_ps)(v[2], v[3])));
  v[0] = reinterpret_cast<vec<float>>(pairs(BPTT_PARTS(unpacklo_pd)(a, c)));
  v[1] = reinterpret_cast<vec<float>>(pairs(BPTT_PARTS(unpackhi_pd)(a, c)));
  v[2] = reinterpret_cast<vec<float>>(pairs(BPTT_PARTS(unpacklo_pd)(b, d)));
  v[3] = reinterpret_cast<vec<float>>(pairs(BPTT_PARTS(unpackhi_pd)(b, d)));
}
#undef BPTT_PARTS

// Columns k..k+kSquare-1 of as many rows as a vector has lanes.
#if defined(__AVX512F__)
template <class T>
constexpr int kSquare = 32 / int(sizeof(T));
// halves of vectors: two rows' 256 bits
BPTT_INLINE vec<float> halves(const float* a, const float* b) {
  const __m512d low = _mm512_castpd256_pd512(_mm256_castps_pd(_mm256_loadu_ps(a)));
  return _mm512_castpd_ps(_mm512_insertf64x4(low, _mm256_castps_pd(_mm256_loadu_ps(b)), 1));
}
BPTT_INLINE vec<double> halves(const double* a, const double* b) {
  return _mm512_insertf64x4(_mm512_castpd256_pd512(_mm256_loadu_pd(a)), _mm256_loadu_pd(b), 1);
}
BPTT_INLINE vec<float> even_parts(vec<float> a, vec<float> b) { return _mm512_shuffle_f32x4(a, b, 0x88); }
BPTT_INLINE vec<float> odd_parts(vec<float> a, vec<float> b) { return _mm512_shuffle_f32x4(a, b, 0xDD); }
BPTT_INLINE vec<double> even_parts(vec<double> a, vec<double> b) { return _mm512_shuffle_f64x2(a, b, 0x88); }
BPTT_INLINE vec<double> odd_parts(vec<double> a, vec<double> b) { return _mm512_shuffle_f64x2(a, b, 0xDD); }

template <class T>
BPTT_INLINE void load_columns(const T* const* row, int64_t k, vec<T>* column) {
  constexpr int n = kSquare<T> / 2;
  vec<T> low[n], high[n];
#pragma GCC unroll 4
  for (int i = 0; i < n; ++i) {
    low[i] = halves(row[i] + k, row[n + i] + k);
    high[i] = halves(row[2 * n + i] + k, row[3 * n + i] + k);
  }
  transpose_parts(low);
  transpose_parts(high);
#pragma GCC unroll 4
  for (int i = 0; i < n; ++i) {
    column[i] = even_parts(low[i], high[i]);
    column[n + i] = odd_parts(low[i], high[i]);
  }
}
#else
template <class T>
constexpr int kSquare = 16 / int(sizeof(T));
#if defined(__AVX2__)
BPTT_INLINE vec<float> parts(const float* const* row, int64_t k) {
  return _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(row[0] + k)), _mm_loadu_ps(row[4] + k), 1);
}
BPTT_INLINE vec<double> parts(const double* const* row, int64_t k) {
  return _mm256_insertf128_pd(_mm256_castpd128_pd256(_mm_loadu_pd(row[0] + k)), _mm_loadu_pd(row[2] + k), 1);
}
#else
BPTT_INLINE vec<float> parts(const float* const* row, int64_t k) { return _mm_loadu_ps(row[0] + k); }
BPTT_INLINE vec<double> parts(const double* const* row, int64_t k) { return _mm_loadu_pd(row[0] + k); }
#endif

template <class T>
BPTT_INLINE void load_columns(const T* const* row, int64_t k, vec<T>* column) {
#pragma GCC unroll 4
  for (int i = 0; i < kSquare<T>; ++i) column[i] = parts(row + i, k);
  transpose_parts(column);
}
#endif

}  // namespace bptt::BPTT_ISA
