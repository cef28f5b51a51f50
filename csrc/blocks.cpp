#include "blocks.h"

#include <stdint.h>
#include <stdlib.h>

#include <cstddef>
#include <new>
#include <vector>

namespace bptt {

namespace {

struct Free {
  void* data;
  size_t bytes;
};

constexpr size_t kMostKept = size_t(512) << 20;  // bytes
constexpr size_t kAlignment = 64;                // bytes: a line of the cache
constexpr size_t kSmall = size_t(64) << 10;      // sizes are rounded up to multiples of this

std::vector<Free>& pool() {
  static std::vector<Free>* blocks = [] {  // outlives the caches of a process that ends
    auto* empty = new std::vector<Free>;
    empty->reserve(kMostKept / kSmall);  // so that giving a block back cannot fail
    return empty;
  }();
  return *blocks;
}
size_t kept = 0;

}  // namespace

Block::Block(size_t bytes) : bytes_((bytes / kSmall + 1) * kSmall) {
  if (bytes > SIZE_MAX / 2) throw std::bad_alloc();
  auto& free = pool();
  size_t best = free.size();
  for (size_t i = 0; i < free.size(); ++i)
    if (free[i].bytes >= bytes_ && free[i].bytes <= 2 * bytes_ &&
        (best == free.size() || free[i].bytes < free[best].bytes))
      best = i;
  if (best < free.size()) {
    data_ = free[best].data;
    bytes_ = free[best].bytes;
    kept -= bytes_;
    free.erase(free.begin() + std::ptrdiff_t(best));
    return;
  }
  data_ = aligned_alloc(kAlignment, bytes_);
  if (!data_) {
    free_blocks();
    data_ = aligned_alloc(kAlignment, bytes_);
  }
  if (!data_) throw std::bad_alloc();
}

Block::~Block() {
  if (!data_) return;
  if (bytes_ > kMostKept) {
    ::free(data_);
    return;
  }
  auto& free = pool();
  while (kept + bytes_ > kMostKept) {  // the oldest goes first
    kept -= free.front().bytes;
    ::free(free.front().data);
    free.erase(free.begin());
  }
  free.push_back({data_, bytes_});
  kept += bytes_;
}

void free_blocks() {
  for (const Free& block : pool()) ::free(block.data);
  pool().clear();
  kept = 0;
}

}  // namespace bptt
