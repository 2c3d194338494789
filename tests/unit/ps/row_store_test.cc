#include "ps/row_store.h"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <set>
#include <vector>

#include "tests/unit/ps/seed.h"

namespace marquee {
namespace {

TEST(RowLayout, RowsAreWholeWords) {
  EXPECT_EQ(RowLayout(16, 16).row_bytes(), 8U + 128U);
  EXPECT_EQ(RowLayout(1, 0).row_bytes(), 16U);
  EXPECT_EQ(RowLayout(3, 0).row_bytes(), 24U);
  EXPECT_EQ(RowLayout(2, 5).row_bytes(), 40U);
}

TEST(RowLayout, SlotsFillSlabAfterSlab) {
  for (const auto& [dim, state] : {std::pair<uint32_t, uint32_t>{1, 0}, {16, 16}, {64, 129}, {8192, 8192}}) {
    const RowLayout layout(dim, state);
    size_t slab = 0;
    size_t row = 0;
    for (uint64_t slot = 0; slot < 100000; ++slot) {
      const RowLayout::Place place = layout.PlaceOf(slot);
      ASSERT_EQ(place.slab, slab) << slot;
      ASSERT_EQ(place.row, row) << slot;
      if (++row == layout.RowsOfSlab(slab)) {
        ASSERT_EQ(layout.RowsThroughSlab(slab), slot + 1);
        ++slab;
        row = 0;
      }
    }
  }
}

TEST(RowLayout, UnusedRowsAreAtMostAnEighthOfALargeStore) {
  const RowLayout layout(16, 16);
  for (uint64_t rows = 1000; rows < 5000000; rows = rows * 17 / 16 + 1) {
    const uint64_t there = layout.RowsThroughSlab(layout.PlaceOf(rows - 1).slab);
    EXPECT_GE(there, rows);
    EXPECT_LE(there - rows, rows / 8 + 1) << rows;
  }
}

TEST(RowStore, EmptyStoreFindsNothingAndTakesNothing) {
  const RowLayout layout(4, 0);
  SlabArena arena;
  const RowStore store(layout, arena);
  EXPECT_FALSE(store.Find(MixId(7), 7));
  EXPECT_FALSE(store.Candidate(MixId(7)));
  EXPECT_EQ(store.rows(), 0U);
  EXPECT_EQ(store.bytes(), 0U);
}

// Ids whose mixed forms share the low half, tag and place, told apart by the id alone.
TEST(RowStore, EqualTagsAreToldApart) {
  const RowLayout layout(1, 0);
  SlabArena arena;
  RowStore store(layout, arena);
  const auto mixed = [](uint64_t number) { return number << 32U | 0xabcdef01U; };
  for (uint64_t i = 0; i < 50; ++i) *store.Insert(mixed(i), i).weights() = static_cast<float>(i);
  for (uint64_t i = 0; i < 50; ++i) {
    const Row row = store.Find(mixed(i), i);
    ASSERT_TRUE(row);
    EXPECT_EQ(row.id(), i);
    EXPECT_EQ(*row.weights(), static_cast<float>(i));
    EXPECT_TRUE(store.Candidate(mixed(i)));  // one of the fifty
  }
  EXPECT_FALSE(store.Find(mixed(50), 50));
}

// Tags at the end of the index wrap around to its begin.
TEST(RowStore, ProbingWrapsAround) {
  const RowLayout layout(1, 0);
  SlabArena arena;
  RowStore store(layout, arena);
  for (uint64_t i = 0; i < 1000; ++i) store.Insert(0xffffffffU - i, i);
  for (uint64_t i = 0; i < 1000; ++i) EXPECT_EQ(store.Find(0xffffffffU - i, i).id(), i);
  EXPECT_FALSE(store.Find(0xffffffffU - 1000, 1000));
}

TEST(RowStore, AgreesWithAMapUnderRandomOperations) {
  const uint64_t seed = TestSeed();
  SCOPED_TRACE(SeedTrace(seed));
  std::mt19937_64 random(seed);
  for (int round = 0; round < 20; ++round) {
    const auto dim = static_cast<uint32_t>(1 + random() % 40);
    const auto state = static_cast<uint32_t>(random() % 40);
    const RowLayout layout(dim, state);
    SlabArena arena;
    RowStore store(layout, arena);
    std::map<Id, std::vector<float>> reference;
    std::vector<Id> order;
    const uint64_t id_range = 1 + random() % 20000;
    for (int step = 0; step < 20000; ++step) {
      // Small numbers, as the blocks of dense tensors have, and the ends of the range.
      const Id id = random() % 3 == 0 ? UINT64_MAX - random() % id_range : random() % id_range;
      const auto expected = reference.find(id);
      Row row = store.Find(MixId(id), id);
      ASSERT_EQ(static_cast<bool>(row), expected != reference.end());
      if (row) {
        ASSERT_EQ(row.id(), id);
        ASSERT_EQ(std::vector<float>(row.weights(), row.weights() + dim + state), expected->second);
        ASSERT_EQ(row.state(layout), row.weights() + dim);
      } else {
        row = store.Insert(MixId(id), id);
        order.push_back(id);
      }
      std::vector<float>& values = reference[id];
      values.resize(dim + state);
      for (float& value : values) value = static_cast<float>(random() % 1000);
      std::copy(values.begin(), values.end(), row.weights());
      ASSERT_EQ(store.rows(), reference.size());
    }
    for (uint64_t slot = 0; slot < store.rows(); ++slot) ASSERT_EQ(store.RowAt(slot).id(), order[slot]);
  }
}

TEST(RowStore, BytesAreForeseenExactly) {
  const RowLayout layout(16, 16);
  SlabArena arena;
  RowStore ahead(layout, arena);
  RowStore store(layout, arena);
  for (uint64_t rows = 1; rows < 5000; ++rows) {
    const uint64_t foreseen = store.BytesWith(1);
    store.Insert(MixId(rows), rows);
    ASSERT_EQ(store.bytes(), foreseen) << rows;
    ASSERT_EQ(ahead.BytesWith(rows), store.bytes()) << rows;
    ASSERT_GE(store.bytes(), rows * layout.row_bytes());
  }
}

TEST(RowStore, ClearedRowsAreGoneAndTheirSlabsUsedAgain) {
  const RowLayout layout(16, 16);
  SlabArena arena;
  RowStore store(layout, arena);
  const auto fill = [&] {
    std::set<const float*> places;
    for (Id id = 0; id < layout.RowsThroughSlab(40); ++id) places.insert(store.Insert(MixId(id), id).weights());
    return places;
  };
  const std::set<const float*> before = fill();
  store.Clear();
  EXPECT_EQ(store.rows(), 0U);
  EXPECT_EQ(store.bytes(), 0U);
  EXPECT_FALSE(store.Find(MixId(5), 5));
  EXPECT_EQ(fill(), before);
}

TEST(SlabArena, SlabsAreApartAndAligned) {
  SlabArena arena;
  std::vector<std::pair<std::byte*, size_t>> slabs;
  for (size_t bytes = 8; bytes < (200U << 20U); bytes *= 8) {
    for (int i = 0; i < 3; ++i) {
      std::byte* const slab = arena.Allocate(bytes);
      ASSERT_EQ(reinterpret_cast<uintptr_t>(slab) % 8, 0U);
      for (const auto& [other, size] : slabs) ASSERT_TRUE(slab + bytes <= other || other + size <= slab);
      slab[0] = slab[bytes - 1] = std::byte{1};
      slabs.emplace_back(slab, bytes);
    }
  }
}

}  // namespace
}  // namespace marquee
