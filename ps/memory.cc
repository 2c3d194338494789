#include "ps/memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdint>
#include <new>
#include <utility>

namespace marquee {
namespace {

constexpr size_t kFirstAreaBytes = 64U << 10U;
constexpr size_t kLargestAreaBytes = 64U << 20U;

std::byte* Map(size_t bytes) {
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  return static_cast<std::byte*>(memory);
}

// Maps one huge page more than asked, then gives back what lies before the aligned start and after the end.
std::byte* MapHuge(size_t bytes) {
  std::byte* const whole = Map(bytes + kHugePageBytes);
  const size_t before = (kHugePageBytes - reinterpret_cast<uintptr_t>(whole) % kHugePageBytes) % kHugePageBytes;
  if (before != 0) munmap(whole, before);
  if (before != kHugePageBytes) munmap(whole + before + bytes, kHugePageBytes - before);
  madvise(whole + before, bytes, MADV_HUGEPAGE);  // a wish: without it everything works, slower
  return whole + before;
}

size_t RoundUp(size_t bytes, size_t unit) { return (bytes + unit - 1) / unit * unit; }

}  // namespace

MappedMemory::MappedMemory(size_t bytes) : size_(RoundUp(bytes, size_t{4096})) {
  data_ = size_ < kHugePageBytes ? Map(size_) : MapHuge(size_);
}

MappedMemory::~MappedMemory() {
  if (data_ != nullptr) munmap(data_, size_);
}

MappedMemory::MappedMemory(MappedMemory&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

MappedMemory& MappedMemory::operator=(MappedMemory&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

std::byte* SlabArena::Allocate(size_t bytes) {
  if (const auto found = free_.find(bytes); found != free_.end() && !found->second.empty()) {
    std::byte* const slab = found->second.back();
    found->second.pop_back();
    return slab;
  }
  if (areas_.empty() || areas_.back().size() - used_in_last_ < bytes) {
    const size_t next = areas_.empty() ? kFirstAreaBytes : std::min(2 * areas_.back().size(), kLargestAreaBytes);
    areas_.emplace_back(std::max(next, bytes));
    used_in_last_ = 0;
  }
  std::byte* const slab = areas_.back().data() + used_in_last_;
  used_in_last_ += bytes;
  return slab;
}

void SlabArena::Free(std::byte* slab, size_t bytes) { free_[bytes].push_back(slab); }

}  // namespace marquee
