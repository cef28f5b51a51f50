// The threads of one call. This file only declares: all OpenMP is in team.cpp.
#pragma once

#include <stdint.h>

namespace bptt {

struct Barrier;

// One thread of a team at work.
struct Member {
  int index, count;
  Barrier* shared;

  void barrier() const;  // returns when all `count` members have come
};

// Runs body(argument, member) once on each of a team of `threads` or, where the runtime grants fewer, of
// those. Denormals are flushed meanwhile, unless set_flush_denormal(false); the caller's state is restored.
void run_team(int threads, void (*body)(void* argument, const Member&), void* argument);

// The same for a callable, body(member). Not for the kernels: no inline function outside their namespace may
// be compiled with their flags.
template <class Body>
void run_team(int threads, const Body& body) {
  run_team(
      threads, [](void* it, const Member& m) { (*static_cast<const Body*>(it))(m); },
      const_cast<Body*>(&body));
}

int team_size();          // threads for a call from this thread
void set_team_size(int);  // at least 1
void set_flush_denormal(bool);
bool flush_denormal();

// Whether work of so many microseconds on one thread is worth waking the others now; asked once a call.
bool worth_a_team(double microseconds);
void set_always_share(bool);  // for tests: all work is worth it

const char* openmp_runtime();  // the file it is in

}  // namespace bptt
