// Work done without Python's interpreter lock, which Ctrl-C can end.
#pragma once

#include <Python.h>

namespace bptt {

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

}  // namespace bptt
