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
#include <string.h>
#include <time.h>

#include <algorithm>
#include <atomic>

#include "cgroup.h"
#include "platform.h"

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
      wait_a_moment();
    else
      sched_yield();
  }
}

namespace {

std::atomic<int> chosen_size{0};        // by set_team_size; 0: none
std::atomic<int> default_size{1};       // what this process may use
std::atomic<int> openmp_size{1};        // omp_get_max_threads() when default_size was read
std::atomic<bool> openmp_usable{true};  // false in a child whose pool could not be released
std::atomic<bool> flush{true};
std::atomic<bool> always_share{false};

// Times are in nanoseconds.
constexpr int64_t kMicrosecond = 1000, kMillisecond = 1000 * kMicrosecond, kSecond = 1000 * kMillisecond;
int64_t now(clockid_t clock = CLOCK_MONOTONIC) {
  timespec time;
  clock_gettime(clock, &time);
  return time.tv_sec * kSecond + time.tv_nsec;
}

// This thread's calls that are worth sharing, without a rest between them, count as one run: its first ones
// stay on one thread, since waking libgomp's sleeping threads takes milliseconds.
constexpr int64_t kWorthSharing = 100 * kMicrosecond, kWorthWaking = 5 * kMillisecond;  // on one thread
constexpr int64_t kRest = 10 * kMillisecond;
thread_local int64_t last_work = -kRest;    // when the last of them ended, or should end by the estimate
thread_local int64_t last_region = -kRest;  // when its last call of several threads ended
thread_local int64_t run_length = 0;        // of the calls of this run

// Where other processes or other pools of threads have the cores, a team waits for that of its members who
// runs least, and may take longer than one thread would. Then all of this process's calls stay on one thread
// for a while: the longer, the more often in a row teams have been found slow. One call says little, since
// everybody loses a core for a moment now and then; and threads that have just been woken say nothing, since
// the system may have them share a core at first though another one is free.
constexpr int64_t kSettling = 20 * kMillisecond, kWatched = 20 * kMillisecond;
constexpr int64_t kLongAlone = 500 * kMillisecond;
constexpr int64_t kLongestAlone = 5 * kSecond;        // also after an hour in which the process was stopped
constexpr int64_t kWorthAsking = 250 * kMicrosecond;  // less is too little to ask for threads' times
thread_local int64_t woken = 0;                       // when this thread's team last began after a rest
thread_local int64_t took = 0, lost = 0;              // by its calls that are watched
thread_local bool asks_system = false;                // in this call
std::atomic<int64_t> alone_until{0};
std::atomic<int64_t> last_while{0};

// A call of a team ends, of whose time one of its members had no core for `without`.
void watch(int threads, int64_t begin, int64_t end, int64_t without) {
  if (end - woken < kSettling) return;
  took += end - begin;
  lost += without;
  if (took < kWatched) return;
  const int64_t before = last_while;
  if (double(threads) * double(took - lost) > 1.1 * double(took)) {
    last_while = before / 2;
  } else {
    const int64_t most = std::min(std::max(8 * took, kLongAlone), kLongestAlone);
    last_while = std::min(std::max(2 * took, 4 * before), most);
    alone_until = end + last_while;
  }
  took = lost = 0;
}

void read_limits() {
  openmp_size = omp_get_max_threads();
  int size = openmp_size;
  cpu_set_t cpus;
  if (sched_getaffinity(0, sizeof cpus, &cpus) == 0) size = std::min(size, CPU_COUNT(&cpus));
  if (const int cpus = cgroup_cpus("/proc/self/cgroup", "/sys/fs/cgroup")) size = std::min(size, cpus);
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
  const FloatingPointMode before = floating_point_mode();
  explicit KernelMode(bool flush) { set_floating_point_mode(standard_mode(flush)); }
  ~KernelMode() { set_floating_point_mode(before); }
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
  const int64_t time = int64_t(std::min(microseconds, 1e9) * kMicrosecond);
  asks_system = time >= kWorthAsking;
  if (team_size() == 1) return false;
  if (always_share.load(std::memory_order_relaxed)) return true;
  if (time < kWorthSharing) return false;
  const int64_t begin = now();
  if (begin - last_work > kRest) run_length = 0;
  last_work = begin + std::min(time, kSecond);
  run_length += time;
  return run_length >= kWorthWaking && begin >= alone_until.load(std::memory_order_relaxed);
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
  const int64_t begin = now();
  const bool awake = begin - last_region < kRest, asks = asks_system;
  if (!awake) {
    woken = begin;
    took = lost = 0;
  }
  std::atomic<int64_t> without{0};  // of the member who had no core for longest
#pragma omp parallel num_threads(threads)
  {
    const int64_t start = now(), ran = asks ? now(CLOCK_THREAD_CPUTIME_ID) : 0;
    {
      KernelMode guard(flushing);
      body(argument, Member{omp_get_thread_num(), omp_get_num_threads(), &barrier});
    }
    int64_t mine = awake ? start - begin : 0;
    if (asks) mine += now() - start - (now(CLOCK_THREAD_CPUTIME_ID) - ran);
    for (int64_t most = without; mine > most && !without.compare_exchange_weak(most, mine);) {
    }
  }
  last_region = last_work = now();
  watch(threads, begin, last_region, without);
}

const char* openmp_runtime() {
  Dl_info info;
  if (!dladdr(reinterpret_cast<void*>(&omp_get_max_threads), &info) || !info.dli_fname) return "unknown";
  const char* slash = strrchr(info.dli_fname, '/');
  return slash ? slash + 1 : info.dli_fname;
}

}  // namespace bptt
