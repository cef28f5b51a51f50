#include "run_call.h"

#include <unistd.h>

#include <chrono>

#include "../runtime/platform.h"
#include "../runtime/team.h"

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
  FloatingPointMode mode;
};
thread_local Caller caller;
constexpr std::chrono::milliseconds kPatience{100};

// Whether Ctrl-C has been pressed. The interpreter is asked now and then, and runs what signal handlers there
// are.
bool interrupted() {
  const auto now = std::chrono::steady_clock::now();
  if (now < caller.ask_next) return false;
  caller.ask_next = now + kPatience;
  PyGILState_STATE state;
  relock([&] { state = PyGILState_Ensure(); });
  const FloatingPointMode mode = floating_point_mode();
  set_floating_point_mode(caller.mode);
  const Caller outer = caller;  // a handler may call
  const bool stop = PyErr_CheckSignals() != 0;
  caller = outer;
  set_floating_point_mode(mode);
  PyGILState_Release(state);
  return stop;
}

}  // namespace

Plan plan_call(double microseconds, bool in_parts) {
  const bool shared = in_parts || worth_a_team(microseconds);
  const auto never = [] { return false; };
  return {microseconds, shared ? team_size() : 1, microseconds < kShort ? never : interrupted};
}

Unlocked::Unlocked() {
  caller = {std::chrono::steady_clock::now() + kPatience, floating_point_mode()};
  thread_ = PyEval_SaveThread();
}

Unlocked::~Unlocked() {
  relock([&] { PyEval_RestoreThread(thread_); });
}

}  // namespace bptt
