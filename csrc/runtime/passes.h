// One problem forward and backward through time: whole or, with checkpoints, one segment after the other.
#pragma once

#include "../kernels.h"
#include "blocks.h"
#include "schedule.h"

namespace bptt {

struct Problem {
  const Kernels* kernels;
  Cell cell;
  Shape shape;
  OwnedSchedule schedule;
  bool reverse;
  int64_t segment;  // steps between checkpoints, a whole number of blocks of sums; 0 without

  template <class T>
  const CellKernels<T>& cell_kernels() const {
    return kernels->table<T>().cells[int(cell)];
  }
  // A rough estimate of the time of so many passes over it on one thread, with what is cleared.
  double microseconds(int passes, size_t itemsize) const;
};

// What a forward pass for training leaves: all that the kernels keep, or with checkpoints the states before
// each segment.
template <class T>
Block kept_of(const Problem& problem);

// A pass takes its blocks when it is made, and works when it is called: false if stop() ended it. The call is
// filled in but for the shape, the schedule, what is kept and scratch. `microseconds` is the estimate of all
// segments.
template <class T>
class ForwardRun {
 public:
  // `kept` is a block of kept_of, or null
  ForwardRun(const Problem& problem, const Forward<T>& call, void* kept, double microseconds);
  bool operator()() const;

 private:
  const Problem& problem_;
  Forward<T> call_;
  void* kept_;
  double microseconds_;
  Block scratch_;
};

template <class T>
class BackwardRun {
 public:
  // `again` is the forward call, with no more than its arguments: with checkpoints it is made again
  BackwardRun(const Problem& problem, const Backward<T>& call, const Forward<T>& again, void* kept,
              double microseconds);
  bool operator()() const;

 private:
  const Problem& problem_;
  Backward<T> call_;
  Forward<T> again_;
  void* kept_;
  double microseconds_;
  Block segment_, scratch_, forward_scratch_;
};

// Copies what a forward pass has kept; with checkpoints it is made again by `again`, which has as many
// threads as it may.
template <class T>
class Unpacking {
 public:
  Unpacking(const Problem& problem, const Forward<T>& again, const void* kept, const Unpacked<T>& to);
  bool operator()() const;

 private:
  const Problem& problem_;
  Forward<T> again_;
  const void* kept_;
  Unpacked<T> to_;
  Block made_again_, scratch_;
};

}  // namespace bptt
