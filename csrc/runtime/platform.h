// What depends on the machine, outside the kernels: floating-point mode, and how a thread waits for a moment.
#pragma once

#if defined(__x86_64__)
#include <xmmintrin.h>
#else
#error "csrc/runtime/platform.h does not know this architecture"
#endif

namespace bptt {

// Of the calling thread: rounding, exceptions, denormals.
using FloatingPointMode = unsigned;

inline FloatingPointMode floating_point_mode() { return _mm_getcsr(); }
inline void set_floating_point_mode(FloatingPointMode mode) { _mm_setcsr(mode); }

// That in which programs begin; with `flush`, denormal numbers count as zero.
constexpr FloatingPointMode standard_mode(bool flush) {
  return 0x1F80 | (flush ? 0x8040 : 0);  // flush-to-zero, denormals-are-zero
}

inline void wait_a_moment() { _mm_pause(); }

// Before the first __builtin_cpu_supports.
inline void find_cpu_features() { __builtin_cpu_init(); }

}  // namespace bptt
