// Walking over a table's rows and loading them: what keeping a model and starting from one ask of a shard.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <limits>
#include <map>
#include <numeric>

#include "ps/shard.h"
#include "tests/unit/ps/shard_harness.h"

namespace marquee {
namespace {

using testing::ElementsAre;

constexpr uint32_t kPartitions = 8;

struct Cursor {
  uint32_t partition = 0;
  uint64_t slot = 0;
};

OutgoingMessagePtr MakeScan(TableNumber table, Cursor from, uint32_t end = kPartitions, uint32_t limit = 1000,
                            uint64_t view = 1) {
  return MakeRequest(view, [&](wire::Envelope::Body::Builder body) {
    auto scan = body.initScanTable();
    scan.setTable(table);
    scan.setPartition(from.partition);
    scan.setSlot(from.slot);
    scan.setEnd(end);
    scan.setLimit(limit);
  });
}

OutgoingMessagePtr MakeLoad(TableNumber table, uint32_t dim, const std::vector<Id>& ids, const std::vector<float>& weights,
                            uint64_t view = 1) {
  return MakeRequest(view, [&](wire::Envelope::Body::Builder body) {
    auto load = body.initLoadRows();
    load.setTable(table);
    load.setDim(dim);
    load.setCount(static_cast<uint32_t>(ids.size()));
    std::memcpy(load.initIds(static_cast<uint32_t>(ids.size() * sizeof(Id))).begin(), ids.data(), ids.size() * sizeof(Id));
    std::memcpy(load.initWeights(static_cast<uint32_t>(weights.size() * sizeof(float))).begin(), weights.data(),
                weights.size() * sizeof(float));
  });
}

// Takes in the rows of one reply; returns where to go on.
Cursor TakeRows(const Message& reply, std::map<Id, std::vector<float>>* rows, uint32_t* count = nullptr) {
  EXPECT_EQ(Outcome(reply), "scannedRows");
  const auto scanned = reply.envelope().getBody().getScannedRows();
  const uint32_t dim = scanned.getDim();
  const capnp::Data::Reader ids = scanned.getIds();
  const capnp::Data::Reader weights = scanned.getWeights();
  EXPECT_EQ(ids.size(), scanned.getCount() * sizeof(Id));
  EXPECT_EQ(weights.size(), scanned.getCount() * dim * sizeof(float));
  for (uint32_t i = 0; i < scanned.getCount(); ++i) {
    Id id = 0;
    std::memcpy(&id, ids.begin() + i * sizeof(Id), sizeof(Id));
    std::vector<float> row(dim);
    std::memcpy(row.data(), weights.begin() + i * dim * sizeof(float), dim * sizeof(float));
    EXPECT_TRUE(rows->emplace(id, row).second) << "row " << id << " twice";
  }
  if (count != nullptr) *count = scanned.getCount();
  return {.partition = scanned.getPartition(), .slot = scanned.getSlot()};
}

// `rows` rows of dim 2, of which row i holds {i, -i}.
struct FilledShard : ReadyShard {
  explicit FilledShard(uint64_t rows, ShardOptions options = {}) : ReadyShard({SgdTable(1, 2)}, kPartitions, options) {
    std::vector<Id> ids(rows);
    std::iota(ids.begin(), ids.end(), 0);
    std::vector<float> gradients;
    for (const Id id : ids) gradients.insert(gradients.end(), {-static_cast<float>(id), static_cast<float>(id)});
    EXPECT_EQ(Push(1, {{1, 2, ids, gradients}}), "pushed");
  }
};

TEST(ShardWalk, MeetsEachRowOnceInStepsOfAnySize) {
  FilledShard ready(100);
  for (const uint32_t limit : {1U, 7U, 100U, 1000U}) {
    std::map<Id, std::vector<float>> rows;
    Cursor cursor;
    int steps = 0;
    while (cursor.partition < kPartitions) {
      uint32_t count = 0;
      cursor = TakeRows(Ask(ready.shard, MakeScan(1, cursor, kPartitions, limit)), &rows, &count);
      EXPECT_LE(count, limit);
      EXPECT_GT(count, 0U) << "a step that brings nothing";
      ASSERT_LE(++steps, 100);
    }
    ASSERT_EQ(rows.size(), 100U);
    for (const auto& [id, weights] : rows) {
      EXPECT_THAT(weights, ElementsAre(static_cast<float>(id), -static_cast<float>(id)));
    }
  }
}

TEST(ShardWalk, OnePartitionCanBeWalkedAloneAndNewRowsLieAhead) {
  FilledShard ready(100);
  std::map<Id, std::vector<float>> rows;
  Cursor cursor = TakeRows(Ask(ready.shard, MakeScan(1, {.partition = 3, .slot = 0}, 4, 5)), &rows);
  EXPECT_EQ(cursor.partition, 3U);
  EXPECT_EQ(cursor.slot, 5U);
  Id fresh = 1000;
  while (PartitionOf(fresh, 3) != 3) ++fresh;
  ASSERT_EQ(ready.Push(2, {{1, 2, {fresh}, {-1, -1}}}), "pushed");
  cursor = TakeRows(Ask(ready.shard, MakeScan(1, cursor, 4)), &rows);
  EXPECT_EQ(cursor.partition, 4U);
  EXPECT_TRUE(rows.contains(fresh));
  for (const auto& [id, weights] : rows) EXPECT_EQ(PartitionOf(id, 3), 3U);
  for (Id id = 0; id < 100; ++id) EXPECT_EQ(rows.contains(id), PartitionOf(id, 3) == 3) << id;
}

TEST(ShardWalk, ReplyIsNeverLargerThanAllowed) {
  FilledShard ready(100, ShardOptions{.max_rows_per_request = 1000, .max_reply_bytes = 10 * (8 + 2 * 4)});
  std::map<Id, std::vector<float>> rows;
  uint32_t count = 0;
  TakeRows(Ask(ready.shard, MakeScan(1, {})), &rows, &count);
  EXPECT_EQ(count, 10U);
}

TEST(ShardWalk, OfAnEmptyTableEndsAtOnce) {
  ReadyShard ready({SgdTable(1, 2)}, kPartitions);
  std::map<Id, std::vector<float>> rows;
  EXPECT_EQ(TakeRows(Ask(ready.shard, MakeScan(1, {})), &rows).partition, kPartitions);
  EXPECT_TRUE(rows.empty());
}

TEST(ShardWalk, WrongScansAreRefused) {
  FilledShard ready(10);
  EXPECT_EQ(AskOutcome(ready.shard, MakeScan(2, {})), "error unknownTable");
  EXPECT_EQ(AskOutcome(ready.shard, MakeScan(1, {}, kPartitions + 1)), "error malformed");
  EXPECT_EQ(AskOutcome(ready.shard, MakeScan(1, {.partition = 5, .slot = 0}, 4)), "error malformed");
  EXPECT_EQ(AskOutcome(ready.shard, MakeScan(1, {}, kPartitions, 0)), "error malformed");
  EXPECT_EQ(AskOutcome(ready.shard, MakeScan(1, {}, kPartitions, 5, 2)), "error viewAhead");
  std::map<Id, std::vector<float>> rows;
  EXPECT_EQ(TakeRows(Ask(ready.shard, MakeScan(1, {.partition = 0, .slot = UINT64_MAX}, 1)), &rows).partition, 1U);
}

TEST(ShardLoad, RowsBeginWithTheirWeightsAndALateCopyChangesNothing) {
  TableDefinition table = SgdTable(1, 2);
  table.optimizer.kind = Optimizer::Kind::kMomentum;
  table.optimizer.momentum = 0.5;
  ReadyShard ready({table}, kPartitions);
  EXPECT_EQ(AskOutcome(ready.shard, MakeLoad(1, 2, {5, 6}, {1, 2, 3, 4})), "ok");
  EXPECT_THAT(ready.Pull(1, 2, {6, 5, 7}), ElementsAre(3, 4, 1, 2, 0, 0));
  ASSERT_EQ(ready.Push(1, {{1, 2, {5}, {-1, -1}}}), "pushed");
  EXPECT_EQ(AskOutcome(ready.shard, MakeLoad(1, 2, {5, 6}, {1, 2, 3, 4})), "ok");
  EXPECT_THAT(ready.Pull(1, 2, {5}), ElementsAre(2, 3));
  EXPECT_EQ(ready.shard.counters().rows_created, 2U);
}

TEST(ShardLoad, WrongLoadsAreRefusedAndChangeNothing) {
  TableDefinition small = SgdTable(2, 2, "t7/small");
  small.memory_budget_bytes = 2000;
  ReadyShard ready({SgdTable(1, 2), small}, kPartitions);
  const std::string before = ready.shard.DumpState();
  EXPECT_EQ(AskOutcome(ready.shard, MakeLoad(9, 2, {5}, {1, 2})), "error unknownTable");
  EXPECT_EQ(AskOutcome(ready.shard, MakeLoad(1, 3, {5}, {1, 2, 3})), "error wrongDimension");
  EXPECT_EQ(AskOutcome(ready.shard, MakeLoad(1, 2, {5}, {1, 2, 3})), "error malformed");
  EXPECT_EQ(AskOutcome(ready.shard, MakeLoad(1, 2, {5}, {1, std::numeric_limits<float>::infinity()})), "error notFinite");
  EXPECT_EQ(AskOutcome(ready.shard, MakeLoad(1, 2, {5}, {1, 2}, 2)), "error viewAhead");
  std::vector<Id> many(1000);
  std::iota(many.begin(), many.end(), 0);
  EXPECT_EQ(AskOutcome(ready.shard, MakeLoad(2, 2, many, std::vector<float>(2000, 1))), "error memoryFull");
  EXPECT_EQ(ready.shard.DumpState(), before);
}

TEST(ShardWalkAndLoad, KnowOnlyThePartitionsThatTheShardOwns) {
  FilledShard ready(100);
  // The second half goes to another shard.
  View view = MakeEvenView(2, kClusterId, {"tcp://a:1", "tcp://b:1"}, kPartitions);
  for (uint32_t p = 0; p < kPartitions; ++p) {
    view.primaries[p] = p < 4 ? 0 : 1;
    view.changed[p] = p < 4 ? 1 : 2;
  }
  view.fresh = view.changed;
  ASSERT_EQ(AskOutcome(ready.shard, MakeInstallView(view, 0)), "ok");
  std::map<Id, std::vector<float>> rows;
  EXPECT_EQ(TakeRows(Ask(ready.shard, MakeScan(1, {}, kPartitions, 1000, 2)), &rows).partition, kPartitions);
  for (Id id = 0; id < 100; ++id) EXPECT_EQ(rows.contains(id), PartitionOf(id, 3) < 4) << id;
  Id there = 0;
  while (PartitionOf(there, 3) < 4) ++there;
  EXPECT_EQ(AskOutcome(ready.shard, MakeLoad(1, 2, {there}, {1, 2}, 2)), "error staleView");
}

}  // namespace
}  // namespace marquee
