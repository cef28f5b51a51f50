#include "blocks.h"

#include <stdint.h>
#include <sys/mman.h>

#include <cstddef>
#include <new>
#include <vector>

#if __has_include(<sanitizer/asan_interface.h>)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(data, bytes)
#define ASAN_UNPOISON_MEMORY_REGION(data, bytes)
#endif

namespace bptt {

namespace {

struct Free {
  char* data;
  size_t bytes;
  char* origin;
};

constexpr size_t kMostKept = size_t(512) << 20;  // bytes
// Sizes are rounded up to multiples of this. Of pages, and of no power of two: blocks that all began at the
// same sets of the caches cost 2 to 7 % (*measured*).
constexpr size_t kSmall = size_t(68) << 10;
constexpr size_t kCut = size_t(1) << 20;  // bytes; a rest of so many is cut off and kept

// Whether a block of so many bytes may be used for fewer: twice as large at most, or three times with a cut.
bool fits(size_t block, size_t bytes) {
  return block >= bytes && (block / 2 <= bytes || (block / 3 <= bytes && block - bytes >= kCut));
}

std::vector<Free>& pool() {
  static std::vector<Free>* blocks = [] {  // outlives the caches of a process that ends
    auto* empty = new std::vector<Free>;
    empty->reserve(kMostKept / kSmall);  // so that giving a block back cannot fail
    return empty;
  }();
  return *blocks;
}
size_t kept = 0;

Free take(size_t i) {
  auto& free = pool();
  const Free block = free[i];
  free.erase(free.begin() + std::ptrdiff_t(i));
  kept -= block.bytes;
  return block;
}

void keep(const Free& block) {
  pool().push_back(block);
  kept += block.bytes;
}

void unmap(const Free& block) {
  ASAN_UNPOISON_MEMORY_REGION(block.data, block.bytes);
  munmap(block.data, block.bytes);
}

char* map(size_t bytes) {
  void* data = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return data == MAP_FAILED ? nullptr : static_cast<char*>(data);
}

// Joins the block with what is free of the same origin before and behind it.
Free joined(Free block) {
  auto& free = pool();
  for (size_t i = free.size(); i-- > 0;) {
    if (free[i].origin != block.origin) continue;
    const bool before = free[i].data + free[i].bytes == block.data;
    if (!before && block.data + block.bytes != free[i].data) continue;
    const Free other = take(i);
    if (before) block.data = other.data;
    block.bytes += other.bytes;
  }
  return block;
}

}  // namespace

Block::Block(size_t bytes) : bytes_((bytes / kSmall + 1) * kSmall) {
  if (bytes > SIZE_MAX / 2) throw std::bad_alloc();
  auto& free = pool();
  size_t best = free.size();
  for (size_t i = 0; i < free.size(); ++i)
    if (fits(free[i].bytes, bytes_) && (best == free.size() || free[i].bytes < free[best].bytes)) best = i;
  if (best < free.size()) {
    const Free block = take(best);
    const size_t rest = block.bytes - bytes_;
    if (rest >= kCut)
      keep({block.data + bytes_, rest, block.origin});
    else
      bytes_ = block.bytes;
    data_ = block.data;
    origin_ = block.origin;
  } else {
    data_ = map(bytes_);
    if (!data_) {
      free_blocks();
      data_ = map(bytes_);
    }
    if (!data_) throw std::bad_alloc();
    origin_ = data_;
  }
  ASAN_POISON_MEMORY_REGION(data_, bytes_);
  ASAN_UNPOISON_MEMORY_REGION(data_, bytes);
}

Block::~Block() {
  if (!data_) return;
  ASAN_POISON_MEMORY_REGION(data_, bytes_);
  const Free block = joined({data_, bytes_, origin_});
  if (block.bytes > kMostKept) {
    unmap(block);
    return;
  }
  while (kept + block.bytes > kMostKept) unmap(take(0));  // the oldest goes first
  keep(block);
}

void free_blocks() {
  while (!pool().empty()) unmap(take(pool().size() - 1));
}

}  // namespace bptt
