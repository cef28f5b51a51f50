// Python's interpreter lock, given up for the time of a kernel.
#pragma once

#include <pybind11/pybind11.h>
#include <unistd.h>

namespace bptt {

// A call so short that it keeps the lock, which takes longer to give and to get back.
constexpr double kShort = 10;  // microseconds

// Takes the lock again. At the interpreter's end that never returns: the thread is unwound instead, which
// must not pass through objects that need the lock, so the thread waits for the process's end.
template <class Lock>
void relock(const Lock& lock) {
  try {
    lock();
  } catch (...) {
    for (;;) pause();
  }
}

template <class Work>
void without_lock(const Work& work) {
  PyThreadState* const thread = PyEval_SaveThread();
  work();
  relock([&] { PyEval_RestoreThread(thread); });
}

}  // namespace bptt
