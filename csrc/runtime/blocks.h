// Blocks of memory for scratch, for what forward passes keep and for large arrays that are returned, reused
// from call to call: fresh pages cost up to half as much again as the work done in them, and several times as
// much where large gradients come from few steps. What one call leaves is cut up for the next: the gradients
// of weights take the place that their panels had.
//
// Everything here is called with Python's interpreter lock held, which is what makes it safe without a lock
// of its own, also across a fork.
#pragma once

#include <stddef.h>

#include <utility>

namespace bptt {

class Block {
 public:
  Block() = default;
  explicit Block(size_t bytes);  // std::bad_alloc if there is no memory
  Block(Block&& other) noexcept { *this = static_cast<Block&&>(other); }
  Block& operator=(Block&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    std::swap(origin_, other.origin_);
    return *this;
  }
  ~Block();  // the memory is kept for the next Block, up to a bound

  void* data() const { return data_; }

 private:
  char* data_ = nullptr;
  size_t bytes_ = 0;
  char* origin_ = nullptr;  // of what the system gave at once: only such pieces are joined again
};

void free_blocks();  // gives back to the system what is kept and not in use

}  // namespace bptt
