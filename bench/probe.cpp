// What this machine can do: FMA peak, bandwidth of each cache, activations a second, clock.
//
// probe.py compiles this once per instruction set, with the flags of the kernels, and calls it through
// ctypes. Every function runs `threads` threads through `windows` windows of `seconds` each and returns the
// rate of the best window, summed over the threads: a peak, so a neighbour on the core cannot lower it.
#include <stddef.h>
#include <stdint.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <new>
#include <thread>
#include <vector>

#include "isa/math.h"

namespace {

using namespace bptt::BPTT_ISA;
using Vec = vec<float>;
constexpr int kWide = kLanes<float>;

struct Windows {
  int threads, count;
  double seconds;
};

class SpinBarrier {
 public:
  explicit SpinBarrier(int threads) : threads_(threads) {}
  void wait() {
    const int round = round_.load();
    if (arrived_.fetch_add(1) + 1 == threads_) {
      arrived_.store(0);
      round_.store(round + 1);
    } else {
      while (round_.load() == round) std::this_thread::yield();
    }
  }

 private:
  const int threads_;
  std::atomic<int> arrived_{0}, round_{0};
};

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// make() gives each thread its own functor, which does some work and returns how many units that was.
template <class Make>
double best_rate(Windows windows, Make make) {
  SpinBarrier barrier(windows.threads);
  std::vector<double> rates(size_t(windows.threads) * size_t(windows.count));
  const auto body = [&](int thread) {
    auto work = make();
    work();
    for (int window = 0; window < windows.count; ++window) {
      barrier.wait();
      const double start = now();
      double units = 0, elapsed = 0;
      while (elapsed < windows.seconds) {
        units += work();
        elapsed = now() - start;
      }
      rates[size_t(window * windows.threads + thread)] = units / elapsed;
    }
  };
  std::vector<std::thread> others;
  for (int thread = 1; thread < windows.threads; ++thread) others.emplace_back(body, thread);
  body(0);
  for (auto& other : others) other.join();

  double best = 0;
  for (int window = 0; window < windows.count; ++window) {
    double sum = 0;
    for (int thread = 0; thread < windows.threads; ++thread)
      sum += rates[size_t(window * windows.threads + thread)];
    if (sum > best) best = sum;
  }
  return best;
}

BPTT_INLINE void keep(
    Vec& value) {  // the compiler must compute value here and knows nothing of it afterwards
  __asm__ volatile("" : "+x"(value));
}

struct FreeAligned {
  void operator()(float* p) const { operator delete[](p, std::align_val_t(64)); }
};
using Buffer = std::unique_ptr<float[], FreeAligned>;

Buffer filled(size_t count) {
  Buffer buffer(static_cast<float*>(operator new[](count * sizeof(float), std::align_val_t(64))));
  for (size_t i = 0; i < count; ++i) buffer[i] = float(i % 1024) / 128.f - 4.f;
  return buffer;
}

struct Fma {
  static constexpr int kChains = 12, kTurns = 2000;  // 2 units of latency 4 or 5 need at most 10 chains

  double operator()() {
    const Vec a = splat(0.999f), b = splat(0.001f);
    Vec chain[kChains];
#pragma GCC unroll 12
    for (int i = 0; i < kChains; ++i) keep(chain[i] = b);  // else they are one chain to the compiler
    for (int turn = 0; turn < kTurns; ++turn) {
#pragma GCC unroll 12
      for (int i = 0; i < kChains; ++i) chain[i] = fma(chain[i], a, b);
    }
#pragma GCC unroll 12
    for (int i = 0; i < kChains; ++i) keep(chain[i]);
    return 2.0 * kChains * kTurns * kWide;
  }
};

struct Read {
  static constexpr int kChains = 8;
  Buffer buffer;
  size_t floats, passes;

  // A cached buffer is read several times a call, so that asking the clock costs nothing.
  explicit Read(size_t bytes) {
    const size_t step = kChains * kWide;
    floats = (bytes / sizeof(float) + step - 1) / step * step;
    passes = 1 + (size_t(1) << 20) / (floats * sizeof(float));
    buffer = filled(floats);
  }
  double operator()() {
    Vec chain[kChains] = {};
    for (size_t pass = 0; pass < passes; ++pass) {
      __asm__ volatile("" : : : "memory");  // the buffer is read again
      for (size_t k = 0; k < floats; k += kChains * kWide) {
#pragma GCC unroll 8
        for (int i = 0; i < kChains; ++i) chain[i] += load(&buffer[k + size_t(i * kWide)]);
      }
    }
#pragma GCC unroll 8
    for (int i = 0; i < kChains; ++i) keep(chain[i]);
    return double(passes * floats * sizeof(float));
  }
};

template <class Function>
struct Activate {
  static constexpr size_t kFloats = 2048;        // in and out stay in L1
  static constexpr int kPasses = 8, kGroup = 4;  // the kernels finish four vectors at a time
  Function function;
  Buffer in = filled(kFloats), out = filled(kFloats);

  double operator()() {
    for (int pass = 0; pass < kPasses; ++pass) {
      __asm__ volatile("" : : : "memory");
      for (size_t k = 0; k < kFloats; k += kGroup * kWide) {
#pragma GCC unroll 4
        for (int i = 0; i < kGroup; ++i) {
          const size_t at = k + size_t(i * kWide);
          store(&out[at], function(load(&in[at])));
        }
      }
    }
    __asm__ volatile("" : : : "memory");
    return double(kPasses * kFloats);
  }
};

struct Clock {
  double operator()() {
    constexpr int kSteps = 10000, kLatency = 3;  // of imul, on every x86-64 core of the last decade
    uint64_t value = 3;
    for (int i = 0; i < kSteps; ++i) __asm__ volatile("imul %0, %0" : "+r"(value));
    return double(kSteps * kLatency);
  }
};

template <class Function>
double activations(Windows windows, Function function) {
  return best_rate(windows, [=] { return Activate<Function>{function}; });
}

}  // namespace

extern "C" {

double fma_rate(int threads, int count, double seconds) {
  return best_rate({threads, count, seconds}, [] { return Fma{}; });
}

double read_rate(int threads, int count, double seconds, size_t bytes_a_thread) {
  return best_rate({threads, count, seconds}, [=] { return Read(bytes_a_thread); });
}

double sigmoid_rate(int threads, int count, double seconds) {
  return activations({threads, count, seconds}, [](Vec x) { return sigmoid<float>(x); });
}

double tanh_rate(int threads, int count, double seconds) {
  return activations({threads, count, seconds}, [](Vec x) { return tanh<float>(x); });
}

double clock_rate(int threads, int count, double seconds) {
  return best_rate({threads, count, seconds}, [] { return Clock{}; }) / threads;
}
}
