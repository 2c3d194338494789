#include "ps/row_store.h"

#include <stdexcept>
#include <utility>

namespace marquee {
namespace {

constexpr size_t kFirstSlabBytes = 1024;
constexpr uint64_t kFirstIndexEntries = 8;
constexpr uint64_t kMostEntries = uint64_t{1} << 32U;  // a tag has 32 bits
constexpr uint64_t kMappedIndexBytes = 1U << 20U;
uint64_t no_entries[1] = {0};

// Probing a full run of entries costs as much as a second miss; four fifths is where that starts to show.
uint64_t MostRows(uint64_t entries) { return entries / 5 * 4; }

uint64_t EntriesFor(uint64_t rows, uint64_t entries) {
  if (rows == 0) return entries;
  entries = std::max(entries, kFirstIndexEntries);
  while (MostRows(entries) < rows) entries *= 2;
  return entries;
}

}  // namespace

RowLayout::RowLayout(uint32_t dim, uint32_t state_width)
    : dim_(dim),
      state_width_(state_width),
      row_words_(1 + (uint64_t{dim} + state_width + 1) / 2),
      first_slab_bits_(static_cast<uint32_t>(std::bit_width(std::max<size_t>(1, kFirstSlabBytes / row_bytes()))) - 1) {}

RowStore::RowStore(const RowLayout& layout, SlabArena& arena) : layout_(&layout), arena_(&arena), entries_(no_entries) {}

RowStore::RowStore(RowStore&& other) noexcept
    : layout_(other.layout_),
      arena_(other.arena_),
      entries_(std::exchange(other.entries_, no_entries)),
      mask_(std::exchange(other.mask_, 0)),
      shift_(std::exchange(other.shift_, 32)),
      rows_(std::exchange(other.rows_, 0)),
      slabs_(std::move(other.slabs_)),
      small_index_(std::move(other.small_index_)),
      large_index_(std::move(other.large_index_)) {
  other.slabs_.clear();
}

RowStore::~RowStore() { Clear(); }

void RowStore::Clear() {
  for (size_t i = 0; i < slabs_.size(); ++i) arena_->Free(slabs_[i], layout_->BytesOfSlab(i));
  slabs_.clear();
  small_index_ = {};
  large_index_ = MappedMemory();
  entries_ = no_entries;
  mask_ = 0;
  shift_ = 32;
  rows_ = 0;
}

uint64_t RowStore::BytesWith(uint64_t more) const {
  const uint64_t rows = rows_ + more;
  if (rows == 0) return 0;
  const uint64_t rows_in_slabs = layout_->RowsThroughSlab(layout_->PlaceOf(rows - 1).slab);
  return EntriesFor(rows, mask_ + 1) * sizeof(uint64_t) + rows_in_slabs * layout_->row_bytes();
}

Row RowStore::Find(uint64_t mixed, Id id) const {
  const uint32_t tag = Tag(mixed);
  for (uint64_t at = Home(tag);; at = (at + 1) & mask_) {
    const uint64_t entry = entries_[at];
    if (entry == 0) return Row();
    if (entry >> 32U != tag) continue;
    const Row row = RowAt(SlotOf(entry));
    if (row.id() == id) return row;
  }
}

Row RowStore::Insert(uint64_t mixed, Id id) {
  if (rows_ + 1 > MostRows(mask_ + 1)) Grow();
  const uint64_t slot = rows_++;
  const RowLayout::Place place = layout_->PlaceOf(slot);
  if (place.slab == slabs_.size()) slabs_.push_back(arena_->Allocate(layout_->BytesOfSlab(place.slab)));
  uint64_t* const words = reinterpret_cast<uint64_t*>(slabs_[place.slab]) + place.row * layout_->row_words();
  words[0] = id;
  Place(uint64_t{Tag(mixed)} << 32U | (slot + 1));
  return Row(words, slot);
}

void RowStore::Place(uint64_t entry) {
  uint64_t at = Home(static_cast<uint32_t>(entry >> 32U));
  while (entries_[at] != 0) at = (at + 1) & mask_;
  entries_[at] = entry;
}

void RowStore::Grow() {
  const uint64_t* const old_entries = entries_;
  const uint64_t old_size = mask_ + 1;
  const std::vector<uint64_t> old_small = std::move(small_index_);
  const MappedMemory old_large = std::move(large_index_);

  const uint64_t size = EntriesFor(rows_ + 1, old_size);
  if (size > kMostEntries) throw std::length_error("a table's partition is full: the cluster needs more partitions");
  if (size * sizeof(uint64_t) < kMappedIndexBytes) {
    small_index_.assign(size, 0);
    entries_ = small_index_.data();
  } else {
    large_index_ = MappedMemory(size * sizeof(uint64_t));
    entries_ = reinterpret_cast<uint64_t*>(large_index_.data());
  }
  mask_ = size - 1;
  shift_ = 32 - static_cast<uint32_t>(std::countr_zero(size));
  for (uint64_t i = 0; i < old_size; ++i) {
    if (old_entries[i] != 0) Place(old_entries[i]);
  }
}

}  // namespace marquee
