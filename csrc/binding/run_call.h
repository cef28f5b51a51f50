// How a call's work is run: by how many threads, with or without Python's interpreter lock, and until Ctrl-C.
#pragma once

#include <pybind11/pybind11.h>

namespace bptt {

// What a call that would take so many microseconds on one thread is to work with.
struct Plan {
  double microseconds;
  int threads;
  bool (*stop)();  // for the calling thread, now and then: whether to end early
};

// `in_parts`: the call asks part by part whether threads are worth waking.
Plan plan_call(double microseconds, bool in_parts = false);

// Gives the interpreter lock back while it lives.
class Unlocked {
 public:
  Unlocked();
  ~Unlocked();
  Unlocked(const Unlocked&) = delete;

 private:
  PyThreadState* thread_;
};

// A call so short that it keeps the lock, which takes longer to give and to get back.
constexpr double kShort = 10;  // microseconds

// Does work(), which returns false if stop() ended it: then what the signal's handler has raised is thrown.
template <class Work>
void run_call(const Plan& plan, const Work& work) {
  const auto without_lock = [&] {
    const Unlocked unlocked;
    return work();
  };
  if (!(plan.microseconds < kShort ? work() : without_lock())) throw pybind11::error_already_set();
}

}  // namespace bptt
