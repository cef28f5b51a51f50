// All OpenMP there is: the team of threads, its barrier, how many there are, and what happens at a fork.
//
// A call opens at most one parallel region, always of the same size, since libgomp rebuilds its pool at every
// change of size. libgomp hangs in a child forked after its first use; releasing the pool of the forking
// thread before the fork mends that.
#include "team.h"

#include <dlfcn.h>
#include <omp.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xmmintrin.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>

// OpenMP 5.0's; without it a child runs on one thread.
#pragma weak omp_pause_resource_all

namespace bptt {

struct Barrier {
  alignas(64) std::atomic<int> arrived{0};
  alignas(64) std::atomic<unsigned> generation{0};
};

void Member::barrier() const {
  if (count == 1) return;
  constexpr int kSpins = 1000;  // then yield, since another process may need this core to let us go on
  const unsigned generation = shared->generation.load(std::memory_order_relaxed);
  if (shared->arrived.fetch_add(1, std::memory_order_acq_rel) == count - 1) {
    shared->arrived.store(0, std::memory_order_relaxed);
    shared->generation.store(generation + 1, std::memory_order_release);
    return;
  }
  for (int spins = 0; shared->generation.load(std::memory_order_acquire) == generation;) {
    if (++spins < kSpins)
      _mm_pause();
    else
      sched_yield();
  }
}

namespace {

using Clock = std::chrono::steady_clock;

std::atomic<int> chosen_size{0};        // by set_team_size; 0: none
std::atomic<int> default_size{1};       // what this process may use
std::atomic<int> openmp_size{1};        // omp_get_max_threads() when default_size was read
std::atomic<bool> openmp_usable{true};  // false in a child whose pool could not be released
std::atomic<bool> flush{true};
std::atomic<bool> always_share{false};

// This thread's calls that are worth sharing, without a rest between them, count as one run: its first ones
// stay on one thread, since waking libgomp's sleeping threads takes milliseconds. Where the others come late
// although they were awake, because another pool of threads or another process has their cores, the next run
// must be longer.
constexpr double kWorthSharing = 100, kWorthWaking = 5000, kLongestWait = 1e6;  // microseconds on one thread
constexpr std::chrono::milliseconds kRest{10};
constexpr std::chrono::microseconds kLate{300};
thread_local Clock::time_point last_work;    // when the last of them ended, or should end by the estimate
thread_local Clock::time_point last_region;  // when its last call of several threads ended
thread_local double run_length = 0;          // of the calls of this run
thread_local double needed_length = kWorthWaking;

// CPUs' worth of time that the cgroup allows, rounded up; 0 if it sets no limit.
int cgroup_quota() {
  double quota = -1, period = 0;
  if (FILE* file = fopen("/sys/fs/cgroup/cpu.max", "r")) {  // version 2: "max 100000" or "150000 100000"
    if (fscanf(file, "%lf %lf", &quota, &period) != 2) quota = -1;
    fclose(file);
  } else {
    const auto read = [](const char* path, double& value) {
      FILE* f = fopen(path, "r");
      if (!f) return;
      if (fscanf(f, "%lf", &value) != 1) value = -1;
      fclose(f);
    };
    read("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", quota);
    read("/sys/fs/cgroup/cpu/cpu.cfs_period_us", period);
  }
  return quota > 0 && period > 0 ? int(std::ceil(quota / period)) : 0;
}

void read_limits() {
  openmp_size = omp_get_max_threads();
  int size = openmp_size;
  cpu_set_t cpus;
  if (sched_getaffinity(0, sizeof cpus, &cpus) == 0) size = std::min(size, CPU_COUNT(&cpus));
  if (const int quota = cgroup_quota()) size = std::min(size, quota);
  if (const char* text = getenv("BPTT_NUM_THREADS")) {
    char* end;
    const long n = strtol(text, &end, 10);
    if (end != text && *end == '\0' && n >= 1 && n <= 1024) size = int(n);
  }
  default_size = std::max(1, size);
}

void before_fork() {
  if (omp_pause_resource_all)
    omp_pause_resource_all(omp_pause_soft);
  else
    openmp_usable = false;
}
void after_fork_in_parent() { openmp_usable = true; }
void after_fork_in_child() { read_limits(); }

struct Setup {
  Setup() {
    read_limits();
    pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
  }
} setup;

// The floating-point mode that results are promised for, whatever the caller's is, for as long as it lives.
struct KernelMode {
  static constexpr unsigned kDefault = 0x1F80, kFlush = 0x8040;  // flush-to-zero, denormals-are-zero
  const unsigned before = _mm_getcsr();
  explicit KernelMode(bool flush) { _mm_setcsr(kDefault | (flush ? kFlush : 0)); }
  ~KernelMode() { _mm_setcsr(before); }
};

}  // namespace

int team_size() {
  if (!openmp_usable.load(std::memory_order_relaxed)) return 1;
  const int chosen = chosen_size.load(std::memory_order_relaxed);
  const int size = chosen ? chosen : default_size.load(std::memory_order_relaxed);
  const int openmp = omp_get_max_threads();
  const bool changed = openmp != openmp_size.load(std::memory_order_relaxed);
  return std::min({size, omp_get_thread_limit(), changed ? openmp : size});
}

void set_team_size(int n) { chosen_size = n; }

void set_flush_denormal(bool on) { flush = on; }
bool flush_denormal() { return flush; }

bool worth_a_team(double microseconds) {
  if (team_size() == 1) return false;
  if (always_share.load(std::memory_order_relaxed)) return true;
  if (microseconds < kWorthSharing) return false;
  const Clock::time_point now = Clock::now();
  if (now - last_work > kRest) run_length = 0;
  last_work = now + std::chrono::microseconds(int64_t(std::min(microseconds, kLongestWait)));
  run_length += microseconds;
  return microseconds >= kWorthWaking || run_length >= needed_length;
}

void set_always_share(bool on) { always_share = on; }

void run_team(int threads, void (*body)(void*, const Member&), void* argument) {
  const bool flushing = flush;  // the same for the whole team
  if (threads == 1) {
    KernelMode guard(flushing);
    body(argument, Member{0, 1, nullptr});
    return;
  }
  Barrier barrier;
  const Clock::time_point begin = Clock::now();
  std::atomic<bool> late{false};
#pragma omp parallel num_threads(threads)
  {
    if (Clock::now() - begin > kLate) late = true;
    KernelMode guard(flushing);
    body(argument, Member{omp_get_thread_num(), omp_get_num_threads(), &barrier});
  }
  const bool awake = begin - last_region < kRest;
  if (late && awake) {  // which costs as much as some fifty prompt starts gain
    run_length = 0;
    needed_length = std::min(8 * needed_length, kLongestWait);
  } else if (!late) {
    needed_length = std::max(0.95 * needed_length, kWorthWaking);
  }
  last_region = Clock::now();
  last_work = last_region;
}

const char* openmp_runtime() {
  Dl_info info;
  if (!dladdr(reinterpret_cast<void*>(&omp_get_max_threads), &info) || !info.dli_fname) return "unknown";
  const char* slash = strrchr(info.dli_fname, '/');
  return slash ? slash + 1 : info.dli_fname;
}

}  // namespace bptt
