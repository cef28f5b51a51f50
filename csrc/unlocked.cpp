#include "unlocked.h"

#include <unistd.h>
#include <xmmintrin.h>

#include <chrono>

namespace bptt {

namespace {

// Takes the interpreter lock again. At the interpreter's end that never returns: the thread is unwound
// instead, which must not pass through objects that need the lock, so the thread waits for the process's end.
template <class Lock>
void relock(const Lock& lock) {
  try {
    lock();
  } catch (...) {
    for (;;) pause();
  }
}

// Of the call that this thread is in.
struct Caller {
  std::chrono::steady_clock::time_point ask_next;
  unsigned floating_point_mode;
};
thread_local Caller caller;
constexpr std::chrono::milliseconds kPatience{100};

}  // namespace

bool interrupted() {
  const auto now = std::chrono::steady_clock::now();
  if (now < caller.ask_next) return false;
  caller.ask_next = now + kPatience;
  PyGILState_STATE state;
  relock([&] { state = PyGILState_Ensure(); });
  const unsigned mode = _mm_getcsr();
  _mm_setcsr(caller.floating_point_mode);
  const Caller outer = caller;  // a handler may call
  const bool stop = PyErr_CheckSignals() != 0;
  caller = outer;
  _mm_setcsr(mode);
  PyGILState_Release(state);
  return stop;
}

Unlocked::Unlocked() {
  caller = {std::chrono::steady_clock::now() + kPatience, _mm_getcsr()};
  thread_ = PyEval_SaveThread();
}

Unlocked::~Unlocked() {
  relock([&] { PyEval_RestoreThread(thread_); });
}

}  // namespace bptt
