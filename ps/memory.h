#ifndef MARQUEE_PS_MEMORY_H_
#define MARQUEE_PS_MEMORY_H_

// Memory for rows and indexes. Rows are read at random: with pages of 4 KiB most reads also miss the TLB, so large pieces come
// straight from the kernel, aligned for huge pages. Not thread-safe; each shard has its own.

#include <cstddef>
#include <map>
#include <vector>

namespace marquee {

inline constexpr size_t kHugePageBytes = 2U << 20U;

// Zeroed memory that belongs to no one else. Pieces of a huge page and more are aligned to one and ask for huge pages.
class MappedMemory {
 public:
  MappedMemory() = default;
  explicit MappedMemory(size_t bytes);  // throws std::bad_alloc if the kernel has none left
  ~MappedMemory();
  MappedMemory(MappedMemory&& other) noexcept;
  MappedMemory& operator=(MappedMemory&& other) noexcept;

  std::byte* data() const { return data_; }
  size_t size() const { return size_; }

 private:
  std::byte* data_ = nullptr;
  size_t size_ = 0;
};

// Hands out the slabs of one table's partitions from areas that start small and double, so that even small slabs lie on huge
// pages once the table is large. Slabs that come back are handed out again for the same size; areas go with the arena.
class SlabArena {
 public:
  // Not zeroed. Aligned to 8 bytes, as `bytes` must be.
  std::byte* Allocate(size_t bytes);
  void Free(std::byte* slab, size_t bytes);

 private:
  std::vector<MappedMemory> areas_;
  size_t used_in_last_ = 0;                         // bytes of areas_.back()
  std::map<size_t, std::vector<std::byte*>> free_;  // by size
};

}  // namespace marquee

#endif  // MARQUEE_PS_MEMORY_H_
