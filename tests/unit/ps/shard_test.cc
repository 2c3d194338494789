#include "ps/shard.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <random>
#include <set>
#include <string>

#include "common/initial_values.h"
#include "tests/unit/ps/seed.h"
#include "tests/unit/ps/shard_harness.h"

namespace marquee {
namespace {

using testing::ElementsAre;

// An id of each partition: PartitionOf(IdIn(p, bits), bits) == p.
Id IdIn(PartitionNumber partition, uint32_t bits, Id from = 0) {
  while (PartitionOf(from, bits) != partition) ++from;
  return from;
}

// ------------------------------------------------------------------------------------------------------- pull, push

TEST(Shard, PushedGradientsAreApplied) {
  ReadyShard ready({SgdTable(1, 2)});
  EXPECT_THAT(ready.Pull(1, 2, {10, 20}), ElementsAre(0, 0, 0, 0));
  EXPECT_EQ(ready.Push(1, {{1, 2, {10, 20}, {-1, -2, -3, -4}}}), "pushed");
  EXPECT_THAT(ready.Pull(1, 2, {20, 30, 10}), ElementsAre(3, 4, 0, 0, 1, 2));
  EXPECT_EQ(ready.Push(2, {{1, 2, {20}, {-10, -10}, 0.5F}}), "pushed");
  EXPECT_THAT(ready.Pull(1, 2, {20}), ElementsAre(8, 9));
}

TEST(Shard, OnePushMayCarrySeveralTables) {
  ReadyShard ready({SgdTable(1, 1), SgdTable(2, 3, "t7/movies")});
  EXPECT_EQ(ready.Push(1, {{2, 3, {5}, {-1, -2, -3}}, {1, 1, {5, 6}, {-7, -8}}, {1, 1, {7}, {-9}}}), "pushed");
  EXPECT_THAT(ready.Pull(1, 1, {5, 6, 7}), ElementsAre(7, 8, 9));
  EXPECT_THAT(ready.Pull(2, 3, {5}), ElementsAre(1, 2, 3));
}

TEST(Shard, OnePullMayAskForSeveralTables) {
  ReadyShard ready({SgdTable(1, 1), SgdTable(2, 2, "t7/movies")});
  ASSERT_EQ(ready.Push(1, {{1, 1, {5}, {-5}}, {2, 2, {6}, {-6, -7}}}), "pushed");
  const std::vector<Id> ids{6};
  const OutgoingMessagePtr request = MakeRequest(1, [&](wire::Envelope::Body::Builder body) {
    auto sections = body.initPull().initSections(3);
    for (const auto& [i, table] : {std::pair<uint32_t, TableNumber>{0, 2}, {1, 1}}) {
      sections[i].setTable(table);
      sections[i].setDim(table);
      sections[i].setCount(1);
      sections[i].setIds({reinterpret_cast<const kj::byte*>(ids.data()), sizeof(Id)});
    }
    sections[2].setTable(1);
    sections[2].setDim(1);
  });
  const Message reply = Ask(ready.shard, request);
  EXPECT_THAT(RowsOf(reply, 0), ElementsAre(6, 7));
  EXPECT_THAT(RowsOf(reply, 1), ElementsAre(0));
  EXPECT_THAT(RowsOf(reply, 2), ElementsAre());
  const auto sections = reply.envelope().getBody().getRows().getSections();
  EXPECT_EQ(sections[0].getTable(), 2U);
  EXPECT_EQ(sections[1].getTable(), 1U);
}

// An ensemble has hundreds of tables, and its last, small batch wants a row or two of each.
TEST(Shard, OneRequestMayHaveManySmallSections) {
  constexpr uint32_t kTables = 300;
  std::vector<TableDefinition> tables;
  std::vector<PushedSection> sections;
  for (TableNumber number = 1; number <= kTables; ++number) {
    tables.push_back(SgdTable(number, 1, "t7/table" + std::to_string(number)));
    sections.push_back({number, 1, {5}, {-static_cast<float>(number)}});
  }
  ReadyShard ready(tables);
  ASSERT_EQ(ready.Push(1, sections), "pushed");
  const Id id = 5;
  const Message reply = Ask(ready.shard, MakeRequest(1, [&](wire::Envelope::Body::Builder body) {
                              auto pulled = body.initPull().initSections(kTables);
                              for (uint32_t i = 0; i < kTables; ++i) {
                                pulled[i].setTable(i + 1);
                                pulled[i].setDim(1);
                                pulled[i].setCount(1);
                                pulled[i].setIds({reinterpret_cast<const kj::byte*>(&id), sizeof(id)});
                              }
                            }));
  ASSERT_EQ(Outcome(reply), "rows");
  EXPECT_THAT(RowsOf(reply, 0), ElementsAre(1));
  EXPECT_THAT(RowsOf(reply, kTables - 1), ElementsAre(kTables));
}

TEST(Shard, EveryIdIsLegal) {
  ReadyShard ready({SgdTable(1, 1)});
  EXPECT_EQ(ready.Push(1, {{1, 1, {0, 1, UINT64_MAX, UINT64_MAX - 1}, {-1, -2, -3, -4}}}), "pushed");
  EXPECT_THAT(ready.Pull(1, 1, {UINT64_MAX, 0, 1, UINT64_MAX - 1}), ElementsAre(3, 1, 2, 4));
}

TEST(Shard, PullsCreateNothing) {
  ReadyShard ready({SgdTable(1, 2)});
  const std::string before = ready.shard.DumpState();
  ready.Pull(1, 2, {1, 2, 3});
  EXPECT_EQ(ready.shard.DumpState(), before);
  EXPECT_EQ(ready.shard.Tables()[0].rows, 0U);
}

TEST(Shard, RowsComeInASegmentOfTheirOwn) {
  ReadyShard ready({SgdTable(1, 64)});
  std::vector<Id> ids(4000);
  std::iota(ids.begin(), ids.end(), 0);
  absl::StatusOr<Message> pull = Deliver("client", *MakePull(1, 1, 64, ids));
  class Count : public Outbox {
   public:
    void Send(const Peer&, OutgoingMessagePtr message) override { segments = message->segments().size(); }
    size_t segments = 0;
  } outbox;
  ready.shard.OnMessage(*pull, absl::UnixEpoch(), outbox);
  EXPECT_EQ(outbox.segments, 2U);
}

TEST(Shard, AnUpdateStartsFromTheInitialValues) {
  TableDefinition table = SgdTable(1, 8);
  table.initializer = {.kind = Initializer::Kind::kUniform, .scale = 0.1F};
  ReadyShard ready({table});
  const std::vector<float> initial = ready.Pull(1, 8, {77});
  std::vector<float> expected(8);
  InitialValues(table).Fill(77, absl::MakeSpan(expected));
  EXPECT_EQ(initial, expected);
  ASSERT_EQ(ready.Push(1, {{1, 8, {77}, std::vector<float>(8, 0)}}), "pushed");
  EXPECT_EQ(ready.Pull(1, 8, {77}), expected);
}

// The same pushes through 1 shard with 1 partition and through 3 shards with 64 partitions give the same bits.
TEST(Shard, RowsDoNotDependOnTheNumberOfPartitionsAndShards) {
  const uint64_t seed = TestSeed();
  SCOPED_TRACE(SeedTrace(seed));
  TableDefinition table = SgdTable(1, 5);
  table.optimizer = Optimizer::FromConfig({.kind = OptimizerConfig::Kind::kAdagrad, .l2 = 0.01, .clip_norm = 2});
  table.initializer = {.kind = Initializer::Kind::kNormal, .scale = 0.1F};
  std::vector<Id> all(300);
  std::iota(all.begin(), all.end(), 1000);

  const auto run = [&](uint32_t partitions, std::vector<std::string> endpoints) {
    const View view = MakeEvenView(1, kClusterId, endpoints, partitions);
    std::vector<std::unique_ptr<Shard>> shards;
    for (ShardIndex i = 0; i < endpoints.size(); ++i) {
      shards.push_back(std::make_unique<Shard>(Identity{.name = "s", .incarnation = 1}, ShardOptions{}));
      EXPECT_EQ(AskOutcome(*shards[i], MakeInstallView(view, i)), "ok");
      EXPECT_EQ(AskOutcome(*shards[i], MakeOpenSession(1)), "ok");
      EXPECT_EQ(AskOutcome(*shards[i], MakeCreateTables({table})), "ok");
    }
    std::mt19937_64 random(seed);
    for (uint64_t sequence = 1; sequence <= 50; ++sequence) {
      std::vector<PushedSection> parts(shards.size(), PushedSection{1, 5, {}, {}, 0.1F});
      for (const Id id : all) {
        const bool pushed = random() % 4 == 0;
        std::vector<float> gradient(5);
        for (float& value : gradient) value = static_cast<float>(random() % 2001) / 1000 - 1;
        if (!pushed) continue;
        PushedSection& part = parts[view.primaries[PartitionOf(id, view.partition_bits())]];
        part.ids.push_back(id);
        part.gradients.insert(part.gradients.end(), gradient.begin(), gradient.end());
      }
      for (size_t i = 0; i < shards.size(); ++i)
        EXPECT_EQ(AskOutcome(*shards[i], MakePush(1, 1, sequence, {parts[i]})), "pushed");
    }
    std::map<Id, std::vector<float>> rows;
    for (const Id id : all) {
      Shard& shard = *shards[view.primaries[PartitionOf(id, view.partition_bits())]];
      rows[id] = RowsOf(Ask(shard, MakePull(1, 1, 5, {id})));
    }
    return rows;
  };

  const auto one = run(1, {"tcp://a:1"});
  EXPECT_EQ(one, run(64, {"tcp://a:1", "tcp://a:2", "tcp://a:3"}));
  EXPECT_EQ(one, run(16, {"tcp://a:1", "tcp://a:2"}));
}

// ------------------------------------------------------------------------------------------------------ exactly once

TEST(Shard, ARepeatedPushIsAcknowledgedAndNotApplied) {
  ReadyShard ready({SgdTable(1, 1)});
  const std::vector<PushedSection> sections{{1, 1, {1, 2, 3}, {-1, -1, -1}}};
  EXPECT_EQ(ready.Push(1, sections), "pushed");
  const std::string before = ready.shard.DumpState();
  EXPECT_EQ(ready.Push(1, sections), "duplicate");
  EXPECT_EQ(ready.shard.DumpState(), before);
  EXPECT_EQ(ready.shard.counters().duplicates, 1U);
  EXPECT_EQ(ready.shard.counters().rows_pushed, 3U);
}

// After a view change a client splits the same push again: some partitions may have it, others not.
TEST(Shard, ARepeatedPushReachesThePartitionsThatLackIt) {
  ReadyShard ready({SgdTable(1, 1)}, 8);
  const Id first = IdIn(2, 3);
  const Id second = IdIn(5, 3);
  EXPECT_EQ(ready.Push(1, {{1, 1, {first}, {-1}}}), "pushed");
  EXPECT_EQ(ready.Push(1, {{1, 1, {first, second}, {-1, -1}}}), "pushed");
  EXPECT_THAT(ready.Pull(1, 1, {first, second}), ElementsAre(1, 1));
  EXPECT_EQ(ready.Push(1, {{1, 1, {first, second}, {-1, -1}}}), "duplicate");
  EXPECT_THAT(ready.Pull(1, 1, {first, second}), ElementsAre(1, 1));
}

TEST(Shard, PushesMayComeInAnyOrderWithinTheWindow) {
  ReadyShard ready({SgdTable(1, 1)});
  std::vector<uint64_t> order(64);
  std::iota(order.begin(), order.end(), 1);
  const uint64_t seed = TestSeed();
  SCOPED_TRACE(SeedTrace(seed));
  std::mt19937_64 random(seed);
  std::shuffle(order.begin(), order.end(), random);
  for (const uint64_t sequence : order) EXPECT_EQ(ready.Push(sequence, {{1, 1, {9}, {-1}}}), "pushed");
  for (const uint64_t sequence : order) EXPECT_EQ(ready.Push(sequence, {{1, 1, {9}, {-1}}}), "duplicate");
  EXPECT_THAT(ready.Pull(1, 1, {9}), ElementsAre(64));
}

TEST(Shard, APushBehindTheWindowIsRefusedAsAWhole) {
  ReadyShard ready({SgdTable(1, 1)}, 8);
  const Id ahead = IdIn(2, 3);
  const Id fresh = IdIn(5, 3);
  ASSERT_EQ(ready.Push(65, {{1, 1, {ahead}, {-1}}}), "pushed");
  const std::string before = ready.shard.DumpState();
  EXPECT_EQ(ready.Push(1, {{1, 1, {fresh, ahead}, {-1, -1}}}), "error outsideWindow");
  EXPECT_EQ(ready.shard.DumpState(), before);
  EXPECT_EQ(ready.Push(2, {{1, 1, {fresh, ahead}, {-1, -1}}}), "pushed");
  EXPECT_EQ(ready.Push(1, {{1, 1, {fresh}, {-1}}}), "pushed");  // its partition is not that far yet
}

TEST(Shard, SessionsHaveWindowsOfTheirOwn) {
  ReadyShard ready({SgdTable(1, 1)});
  ASSERT_EQ(AskOutcome(ready.shard, MakeOpenSession(2)), "ok");
  EXPECT_EQ(ready.Push(1, {{1, 1, {9}, {-1}}}, 1), "pushed");
  EXPECT_EQ(ready.Push(1, {{1, 1, {9}, {-1}}}, 2), "pushed");
  EXPECT_EQ(ready.Push(1, {{1, 1, {9}, {-1}}}, 2), "duplicate");
  EXPECT_THAT(ready.Pull(1, 1, {9}), ElementsAre(2));
}

TEST(Shard, AnEmptyPushIsAcknowledged) {
  ReadyShard ready({SgdTable(1, 1)});
  EXPECT_EQ(ready.Push(1, {}), "pushed");
  EXPECT_EQ(ready.Push(1, {{1, 1, {}, {}}}), "pushed");
}

// Against a map: random pushes, repeats and reorderings of several sessions.
TEST(Shard, AgreesWithAMapUnderRandomPushes) {
  const uint64_t seed = TestSeed();
  SCOPED_TRACE(SeedTrace(seed));
  std::mt19937_64 random(seed);
  ReadyShard ready({SgdTable(1, 2)}, 16);
  std::map<Id, std::vector<float>> reference;
  std::map<uint64_t, std::set<uint64_t>> applied;
  std::map<std::pair<uint64_t, uint64_t>, PushedSection> sent;
  for (uint64_t session = 2; session <= 3; ++session) ASSERT_EQ(AskOutcome(ready.shard, MakeOpenSession(session)), "ok");
  for (int step = 0; step < 3000; ++step) {
    const uint64_t session = 1 + random() % 3;
    const uint64_t highest = applied[session].empty() ? 0 : *applied[session].rbegin();
    const uint64_t least = highest > 60 ? highest - 60 : 1;
    const uint64_t sequence = least + random() % (highest + 3 - least);
    auto [found, fresh] = sent.try_emplace({session, sequence}, PushedSection{1, 2, {}, {}});
    PushedSection& section = found->second;
    if (fresh) {
      std::set<Id> ids;
      for (uint64_t i = 0; i < 1 + random() % 20; ++i) ids.insert(random() % 500);
      section.ids.assign(ids.begin(), ids.end());
      std::shuffle(section.ids.begin(), section.ids.end(), random);
      for (size_t i = 0; i < 2 * ids.size(); ++i) section.gradients.push_back(static_cast<float>(random() % 100));
    }
    // Every partition must see the highest sequence, so that each window is as far as the session.
    const bool is_new = applied[session].insert(sequence).second;
    ASSERT_EQ(ready.Push(sequence, {section}, session), is_new ? "pushed" : "duplicate");
    for (size_t i = 0; is_new && i < section.ids.size(); ++i) {
      std::vector<float>& row = reference[section.ids[i]];
      row.resize(2);
      row[0] -= section.gradients[2 * i];
      row[1] -= section.gradients[2 * i + 1];
    }
  }
  for (const auto& [id, row] : reference) ASSERT_EQ(ready.Pull(1, 2, {id}), row);
  EXPECT_EQ(ready.shard.Tables()[0].rows, reference.size());
}

// --------------------------------------------------------------------------------------------------------- sessions

TEST(Shard, SessionsOpenAndCloseMoreThanOnce) {
  ReadyShard ready({SgdTable(1, 1)});
  EXPECT_EQ(AskOutcome(ready.shard, MakeOpenSession(1)), "ok");
  ASSERT_EQ(ready.Push(1, {{1, 1, {9}, {-1}}}), "pushed");
  EXPECT_EQ(AskOutcome(ready.shard, MakeOpenSession(1)), "ok");
  EXPECT_EQ(ready.Push(1, {{1, 1, {9}, {-1}}}), "duplicate");  // opening again forgets nothing
  EXPECT_EQ(AskOutcome(ready.shard, MakeOpenSession(1, kTrial + 1)), "error conflict");
  EXPECT_EQ(ready.shard.open_sessions(), 1U);
  EXPECT_EQ(AskOutcome(ready.shard, MakeCloseSession(1)), "ok");
  EXPECT_EQ(AskOutcome(ready.shard, MakeCloseSession(1)), "ok");
  EXPECT_EQ(ready.shard.open_sessions(), 0U);
}

TEST(Shard, AClosedSessionStaysClosed) {
  ReadyShard ready({SgdTable(1, 1)});
  ASSERT_EQ(AskOutcome(ready.shard, MakeCloseSession(1)), "ok");
  EXPECT_EQ(AskOutcome(ready.shard, MakeOpenSession(1)), "error unknownSession");  // a late copy
  EXPECT_EQ(ready.Push(1, {{1, 1, {9}, {-1}}}), "error unknownSession");
  EXPECT_EQ(AskOutcome(ready.shard, MakeCloseSession(2)), "ok");  // overtook its own opening
  EXPECT_EQ(AskOutcome(ready.shard, MakeOpenSession(2)), "error unknownSession");
  EXPECT_THAT(ready.Pull(1, 1, {9}), ElementsAre(0));
}

// ----------------------------------------------------------------------------------------------------------- tables

TEST(Shard, TablesAreCreatedAllOrNone) {
  ReadyShard ready({SgdTable(1, 1)});
  TableDefinition other = SgdTable(1, 1);
  other.dim = 2;
  EXPECT_EQ(AskOutcome(ready.shard, MakeCreateTables({SgdTable(2, 1), other})), "error conflict");
  EXPECT_EQ(AskOutcome(ready.shard, MakeCreateTables({SgdTable(3, 1), SgdTable(0, 1)})), "error malformed");
  EXPECT_EQ(AskOutcome(ready.shard, MakeCreateTables({SgdTable(3, 1), SgdTable(3, 2)})), "error conflict");
  EXPECT_EQ(ready.shard.Tables().size(), 1U);
  EXPECT_EQ(AskOutcome(ready.shard, MakeCreateTables({SgdTable(1, 1), SgdTable(2, 1), SgdTable(2, 1)})), "ok");
  EXPECT_EQ(ready.shard.Tables().size(), 2U);
}

TEST(Shard, CreatingAgainKeepsTheRows) {
  ReadyShard ready({SgdTable(1, 1)});
  ASSERT_EQ(ready.Push(1, {{1, 1, {9}, {-1}}}), "pushed");
  EXPECT_EQ(AskOutcome(ready.shard, MakeCreateTables({SgdTable(1, 1)})), "ok");
  EXPECT_THAT(ready.Pull(1, 1, {9}), ElementsAre(1));
}

TEST(Shard, DroppedTablesStayDropped) {
  ReadyShard ready({SgdTable(1, 1), SgdTable(2, 1)});
  EXPECT_EQ(AskOutcome(ready.shard, MakeDropTables({1, 5})), "ok");
  EXPECT_EQ(AskOutcome(ready.shard, MakeDropTables({1})), "ok");
  EXPECT_EQ(AskOutcome(ready.shard, MakePull(1, 1, 1, {9})), "error unknownTable");
  EXPECT_EQ(AskOutcome(ready.shard, MakeCreateTables({SgdTable(1, 1)})), "error unknownTable");
  EXPECT_EQ(AskOutcome(ready.shard, MakeCreateTables({SgdTable(5, 1)})), "error unknownTable");  // its drop overtook it
  EXPECT_EQ(ready.shard.Tables().size(), 1U);
}

TEST(Shard, TablesAreDescribedAsTheyWereDefined) {
  TableDefinition table = SgdTable(4, 16, "t7/movies");
  table.optimizer = Optimizer::FromConfig({.kind = OptimizerConfig::Kind::kAdam, .max_norm = 3});
  table.initializer = {.kind = Initializer::Kind::kNormal, .scale = 0.5F};
  table.memory_budget_bytes = 1U << 20U;
  ReadyShard ready({SgdTable(1, 1), table});
  const Message reply = Ask(ready.shard, MakeRequest(1, [](wire::Envelope::Body::Builder body) { body.setDescribeTables(); }));
  ASSERT_EQ(Outcome(reply), "tables");
  const auto definitions = reply.envelope().getBody().getTables().getDefinitions();
  ASSERT_EQ(definitions.size(), 2U);
  EXPECT_EQ(*TableDefinition::FromWire(definitions[0]), SgdTable(1, 1));
  EXPECT_EQ(*TableDefinition::FromWire(definitions[1]), table);
}

// They may be meant for the process that listened here before.
TEST(Shard, TablesAndSessionsWaitForTheFirstView) {
  Shard shard({.name = "s0", .incarnation = 1}, {});
  EXPECT_EQ(AskOutcome(shard, MakeCreateTables({SgdTable(1, 1)})), "error viewAhead");
  EXPECT_EQ(AskOutcome(shard, MakeOpenSession(1)), "error viewAhead");
  EXPECT_EQ(AskOutcome(shard, MakePull(0, 1, 1, {9})), "error viewAhead");
  View view = MakeEvenView(3, kClusterId, {"tcp://a:1"}, 32);
  view.processes = {2};
  EXPECT_EQ(AskOutcome(shard, MakeInstallView(view, 0)), "error notYet");
  EXPECT_EQ(shard.view_number(), 0U);
  view.processes = {1};
  EXPECT_EQ(AskOutcome(shard, MakeInstallView(view, 0)), "ok");
  EXPECT_EQ(AskOutcome(shard, MakeCreateTables({SgdTable(1, 1)})), "ok");
  EXPECT_EQ(AskOutcome(shard, MakeOpenSession(1)), "ok");
  EXPECT_EQ(AskOutcome(shard, MakePush(3, 1, 1, {{1, 1, {1, 2, 3, 4, 5}, {-1, -1, -1, -1, -1}}})), "pushed");
  EXPECT_THAT(RowsOf(Ask(shard, MakePull(3, 1, 1, {5}))), ElementsAre(1));
}

TEST(Shard, AFullTableTakesNoNewRowsButUpdatesOldOnes) {
  TableDefinition table = SgdTable(1, 16);
  table.memory_budget_bytes = 64 << 10U;
  ReadyShard ready({table, SgdTable(2, 16)}, 4);
  Id next = 0;
  std::string outcome = "pushed";
  uint64_t sequence = 0;
  while (outcome == "pushed") {
    ASSERT_LT(next, 2000U);
    outcome = ready.Push(++sequence, {{1, 16, {next}, std::vector<float>(16, -1)}});
    ++next;
  }
  EXPECT_EQ(outcome, "error memoryFull");
  const Shard::TableStatistics full = ready.shard.Tables()[0];
  EXPECT_EQ(full.rows, next - 1);
  EXPECT_LE(full.bytes, table.memory_budget_bytes);
  EXPECT_GT(full.bytes, table.memory_budget_bytes / 2);

  // A push with one new row too many changes nothing: neither that table's old rows nor another table's.
  const std::string before = ready.shard.DumpState();
  std::vector<Id> many(2000);
  std::iota(many.begin(), many.end(), 0);
  EXPECT_EQ(ready.Push(++sequence,
                       {{2, 16, {1}, std::vector<float>(16, -1)}, {1, 16, many, std::vector<float>(16 * many.size(), -1)}}),
            "error memoryFull");
  EXPECT_EQ(ready.shard.DumpState(), before);
  // The same number of ids, all there: fine.
  many.resize(next - 1);
  EXPECT_EQ(ready.Push(++sequence, {{1, 16, many, std::vector<float>(16 * many.size(), -1)}}), "pushed");
  EXPECT_EQ(ready.Pull(1, 16, {3}), std::vector<float>(16, 2));
}

// ------------------------------------------------------------------------------------------------------------ views

View TwoShardView(uint64_t number, std::vector<ShardIndex> primaries, std::vector<uint64_t> changed) {
  View view = MakeEvenView(number, kClusterId, {"tcp://a:1", "tcp://a:2"}, static_cast<uint32_t>(primaries.size()));
  view.primaries = std::move(primaries);
  view.changed = std::move(changed);
  view.fresh = view.changed;  // with a single copy, who takes a partition over begins empty
  return view;
}

TEST(Shard, ViewsOnlyGoForward) {
  ReadyShard ready({});
  Shard& shard = ready.shard;
  const View third = MakeEvenView(3, kClusterId, {"tcp://a:1"}, 8);
  EXPECT_EQ(AskOutcome(shard, MakeInstallView(third, 0)), "ok");
  EXPECT_EQ(AskOutcome(shard, MakeInstallView(third, 0)), "ok");
  EXPECT_EQ(AskOutcome(shard, MakeInstallView(MakeEvenView(2, kClusterId, {"tcp://a:1"}, 8), 0)), "error staleView");
  EXPECT_EQ(AskOutcome(shard, MakeInstallView(MakeEvenView(3, kClusterId, {"tcp://a:2"}, 8), 0)), "error conflict");
  EXPECT_EQ(AskOutcome(shard, MakeInstallView(MakeEvenView(4, kClusterId + 1, {"tcp://a:1"}, 8), 0)), "error notYet");
  EXPECT_EQ(AskOutcome(shard, MakeInstallView(MakeEvenView(4, kClusterId, {"tcp://a:1"}, 16), 0)), "error conflict");
  EXPECT_EQ(AskOutcome(shard, MakeInstallView(MakeEvenView(4, kClusterId, {"tcp://a:1"}, 8), 1)), "error malformed");
  EXPECT_EQ(shard.view_number(), 3U);
}

TEST(Shard, MessagesOfAnotherViewAreToldSo) {
  ReadyShard ready({SgdTable(1, 1)}, 2);
  Shard& shard = ready.shard;
  const Id in_first = IdIn(0, 1);
  const Id in_second = IdIn(1, 1);
  ASSERT_EQ(AskOutcome(shard, MakeInstallView(TwoShardView(5, {0, 1}, {1, 5}), 0)), "ok");
  EXPECT_EQ(AskOutcome(shard, MakePull(1, 1, 1, {in_first})), "rows");  // unchanged since view 1
  EXPECT_EQ(AskOutcome(shard, MakePull(0, 1, 1, {in_first})), "error staleView");
  EXPECT_EQ(AskOutcome(shard, MakePull(5, 1, 1, {in_second})), "error staleView");  // the other shard's
  EXPECT_EQ(AskOutcome(shard, MakePull(6, 1, 1, {in_first})), "error viewAhead");
  EXPECT_EQ(AskOutcome(shard, MakePush(1, 1, 1, {{1, 1, {in_first}, {-1}}})), "pushed");
  const std::string before = shard.DumpState();
  EXPECT_EQ(AskOutcome(shard, MakePush(1, 1, 2, {{1, 1, {in_first, in_second}, {-1, -1}}})), "error staleView");
  EXPECT_EQ(AskOutcome(shard, MakePush(6, 1, 2, {{1, 1, {in_first}, {-1}}})), "error viewAhead");
  EXPECT_EQ(shard.DumpState(), before);
}

TEST(Shard, RowsAndWindowsOfALostPartitionAreForgotten) {
  for (const bool skipped_a_view : {false, true}) {
    ReadyShard ready({SgdTable(1, 1)}, 2);
    Shard& shard = ready.shard;
    const Id kept = IdIn(0, 1);
    const Id moved = IdIn(1, 1);
    ASSERT_EQ(ready.Push(1, {{1, 1, {kept, moved}, {-1, -1}}}), "pushed");
    if (!skipped_a_view) {
      ASSERT_EQ(AskOutcome(shard, MakeInstallView(TwoShardView(2, {0, 1}, {1, 2}), 0)), "ok");
    }
    ASSERT_EQ(AskOutcome(shard, MakeInstallView(TwoShardView(3, {0, 0}, {1, 3}), 0)), "ok");
    EXPECT_EQ(RowsOf(Ask(shard, MakePull(3, 1, 1, {kept, moved}))), (std::vector<float>{1, 0}));
    EXPECT_EQ(ready.Push(1, {{1, 1, {kept}, {-1}}}), "duplicate");
    EXPECT_EQ(ready.Push(1, {{1, 1, {moved}, {-1}}}), "pushed");
  }
}

// ------------------------------------------------------------------------------------------------------- statistics

TEST(Shard, StatisticsCountRowsAndNameTheHottestPartitions) {
  ReadyShard ready({SgdTable(1, 4), SgdTable(2, 4)}, 32);
  std::vector<Id> ids;
  for (PartitionNumber p = 0; p < 12; ++p) {
    Id id = 0;
    for (PartitionNumber n = 0; n <= p; ++n) ids.push_back(id = IdIn(p, 5, id + 1));
  }
  ASSERT_EQ(ready.Push(1, {{1, 4, ids, std::vector<float>(4 * ids.size(), 1)}}), "pushed");
  ready.Pull(2, 4, {IdIn(3, 5)});
  for (int i = 0; i < 20; ++i) ready.Pull(1, 4, {IdIn(31, 5)});

  const Message reply = Ask(ready.shard, MakeRequest(1, [](wire::Envelope::Body::Builder body) { body.setGetStatistics(); }));
  ASSERT_EQ(Outcome(reply), "statistics");
  const auto statistics = reply.envelope().getBody().getStatistics();
  ASSERT_EQ(statistics.getTables().size(), 2U);
  EXPECT_EQ(statistics.getTables()[0].getTable(), 1U);
  EXPECT_EQ(statistics.getTables()[0].getRows(), ids.size());
  EXPECT_GE(statistics.getTables()[0].getBytes(), ids.size() * 24);
  EXPECT_EQ(statistics.getTables()[1].getRows(), 0U);
  EXPECT_EQ(statistics.getTables()[1].getBytes(), 0U);
  const auto hottest = statistics.getHottest();
  ASSERT_EQ(hottest.size(), 8U);
  EXPECT_EQ(hottest[0].getPartition(), 31U);
  EXPECT_EQ(hottest[0].getRowsPulled(), 20U);
  EXPECT_EQ(hottest[1].getPartition(), 11U);
  EXPECT_EQ(hottest[1].getRowsPushed(), 12U);
  EXPECT_EQ(hottest[7].getPartition(), 5U);
}

TEST(Shard, CountersAddUp) {
  ReadyShard ready({SgdTable(1, 1)});
  ready.Push(1, {{1, 1, {1, 2}, {-1, -1}}});
  ready.Push(2, {{1, 1, {2, 3}, {-1, -1}}});
  ready.Push(2, {{1, 1, {2, 3}, {-1, -1}}});
  ready.Pull(1, 1, {1, 2, 3, 4});
  AskOutcome(ready.shard, MakePull(1, 9, 1, {1}));
  AskOutcome(ready.shard, MakePull(1, 9, 1, {1}));
  const Shard::Counters& counters = ready.shard.counters();
  EXPECT_EQ(counters.pulls, 1U);
  EXPECT_EQ(counters.pushes, 3U);
  EXPECT_EQ(counters.duplicates, 1U);
  EXPECT_EQ(counters.rows_pulled, 4U);
  EXPECT_EQ(counters.rows_pushed, 4U);
  EXPECT_EQ(counters.rows_created, 3U);
  EXPECT_EQ(counters.rejected, (std::map<std::string, uint64_t>{{"unknownTable", 2}}));
}

}  // namespace
}  // namespace marquee
