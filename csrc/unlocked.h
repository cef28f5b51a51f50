// Work done without Python's interpreter lock, which Ctrl-C can end.
#pragma once

#include <Python.h>

namespace bptt {

// A call so short that it keeps the lock, which takes longer to give and to get back.
constexpr double kShort = 10;  // microseconds

// For kernels at such work: whether Ctrl-C has been pressed. The interpreter is asked now and then, and runs
// what signal handlers there are.
bool interrupted();

// Gives the interpreter lock back while it lives.
class Unlocked {
 public:
  Unlocked();
  ~Unlocked();
  Unlocked(const Unlocked&) = delete;

 private:
  PyThreadState* thread_;
};

// What work() returns, done without the lock unless it is short.
template <class Work>
auto run_unlocked(double microseconds, const Work& work) {
  if (microseconds < kShort) return work();
  const Unlocked unlocked;
  return work();
}

}  // namespace bptt
