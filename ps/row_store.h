#ifndef MARQUEE_PS_ROW_STORE_H_
#define MARQUEE_PS_ROW_STORE_H_

// The rows of one table in one partition: an index id -> slot, and slabs of rows.
//
// A row is `[id u64 | weights f32 x dim | optimizer state f32 x state_width]`, contiguous, padded to 8 bytes, and never moves.
// Slots are numbered in the order of insertion. Slabs come in octaves of eight equal ones, each octave twice as large as the
// one before: a small table costs little, a large one leaves at most an eighth unused.
//
// The index is an array of 8-byte entries `[tag u32 | slot + 1 u32]` with linear probing, 0 for a free one. The tag is the low
// half of the mixed id, and its top bits say where probing starts, so growing the index never touches a row. The other half
// of the mixed id, whose top bits chose the partition, is compared through the row's id.
//
// A lookup of a random row misses the cache in the index and in the row. Callers that look up many do it in phases, over
// groups of ids: PrefetchIndex for each, Candidate and PrefetchRow for each, then use. Not thread-safe.

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "common/id.h"
#include "ps/memory.h"

namespace marquee {

// Sizes that all row stores of a table share.
class RowLayout {
 public:
  RowLayout(uint32_t dim, uint32_t state_width);

  uint32_t dim() const { return dim_; }
  uint32_t state_width() const { return state_width_; }
  size_t row_bytes() const { return row_words_ * sizeof(uint64_t); }
  size_t row_words() const { return row_words_; }

  // Slabs: which one holds a slot, at which row of it; and how many rows a slab has.
  struct Place {
    size_t slab;
    size_t row;
  };
  Place PlaceOf(uint64_t slot) const {
    const uint64_t shifted = slot + (kSlabsPerOctave << first_slab_bits_);
    const uint32_t bits = static_cast<uint32_t>(std::bit_width(shifted)) - 1 - kOctaveBits;
    const uint64_t slab = ((uint64_t{bits} - first_slab_bits_) << kOctaveBits) + (shifted >> bits) - kSlabsPerOctave;
    return {.slab = slab, .row = shifted & ((uint64_t{1} << bits) - 1)};
  }
  size_t RowsOfSlab(size_t slab) const { return size_t{1} << (first_slab_bits_ + slab / kSlabsPerOctave); }
  size_t BytesOfSlab(size_t slab) const { return RowsOfSlab(slab) * row_bytes(); }
  // Of this slab and all before it.
  size_t RowsThroughSlab(size_t slab) const {
    const size_t first = kSlabsPerOctave << first_slab_bits_;
    return ((kSlabsPerOctave + slab % kSlabsPerOctave + 1) << (first_slab_bits_ + slab / kSlabsPerOctave)) - first;
  }

 private:
  static constexpr uint32_t kOctaveBits = 3;
  static constexpr uint64_t kSlabsPerOctave = 1U << kOctaveBits;

  uint32_t dim_;
  uint32_t state_width_;
  size_t row_words_;
  uint32_t first_slab_bits_;  // log2 of the rows in the first slab
};

// A row in its slab. Cheap to copy; null when there is none.
class Row {
 public:
  Row() = default;
  Row(uint64_t* words, uint64_t slot) : words_(words), slot_(slot) {}
  explicit operator bool() const { return words_ != nullptr; }

  Id id() const { return words_[0]; }
  uint64_t slot() const { return slot_; }
  float* weights() const { return reinterpret_cast<float*>(words_ + 1); }
  float* state(const RowLayout& layout) const { return weights() + layout.dim(); }

  // The first `bytes` of the row; what lies further on is left to the hardware's own prefetching.
  void Prefetch(size_t bytes) const {
    constexpr uintptr_t kLine = 64;
    constexpr size_t kMostBytes = 640;
    const auto begin = reinterpret_cast<uintptr_t>(words_);
    const uintptr_t end = begin + std::min(bytes, kMostBytes);
    for (uintptr_t line = begin & ~(kLine - 1); line < end; line += kLine) __builtin_prefetch(reinterpret_cast<void*>(line), 1);
  }

 private:
  uint64_t* words_ = nullptr;
  uint64_t slot_ = 0;
};

class RowStore {
 public:
  // Both must outlive the store.
  RowStore(const RowLayout& layout, SlabArena& arena);
  ~RowStore();
  RowStore(RowStore&& other) noexcept;
  RowStore& operator=(RowStore&&) = delete;

  uint64_t rows() const { return rows_; }
  // Memory in use, slabs and index, now and after `more` further rows.
  uint64_t bytes() const { return BytesWith(0); }
  uint64_t BytesWith(uint64_t more) const;

  // `mixed` is MixId(id) everywhere.
  void PrefetchIndex(uint64_t mixed) const { __builtin_prefetch(&entries_[Home(Tag(mixed))]); }
  // The first row with the id's tag: its own, or with a chance of rows / 2^32 another's. Null if there is none. Touches no row.
  Row Candidate(uint64_t mixed) const {
    const uint32_t tag = Tag(mixed);
    for (uint64_t at = Home(tag);; at = (at + 1) & mask_) {
      const uint64_t entry = entries_[at];
      if (entry == 0) return Row();
      if (entry >> 32U == tag) return RowAt(SlotOf(entry));
    }
  }
  Row Find(uint64_t mixed, Id id) const;
  // The row of an id that must not be there yet; at most 2^32 - 1 rows. Its weights and state are for the caller to fill.
  Row Insert(uint64_t mixed, Id id);

  // Forgets all rows and gives back their memory.
  void Clear();

  // In the order of insertion.
  Row RowAt(uint64_t slot) const {
    const RowLayout::Place place = layout_->PlaceOf(slot);
    return Row(reinterpret_cast<uint64_t*>(slabs_[place.slab]) + place.row * layout_->row_words(), slot);
  }

 private:
  static uint32_t Tag(uint64_t mixed) { return static_cast<uint32_t>(mixed); }
  static uint64_t SlotOf(uint64_t entry) { return (entry & UINT32_MAX) - 1; }
  uint64_t Home(uint32_t tag) const { return uint64_t{tag} >> shift_; }
  void Place(uint64_t entry);
  void Grow();

  const RowLayout* layout_;
  SlabArena* arena_;
  uint64_t* entries_;  // of the index, or one free entry that all empty stores share and none writes
  uint64_t mask_ = 0;
  uint32_t shift_ = 32;
  uint64_t rows_ = 0;
  std::vector<std::byte*> slabs_;
  std::vector<uint64_t> small_index_;  // one of the two, by size
  MappedMemory large_index_;
};

}  // namespace marquee

#endif  // MARQUEE_PS_ROW_STORE_H_
