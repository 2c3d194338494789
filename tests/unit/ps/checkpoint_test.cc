// Cuts of a shard: what is written is the state at the cut, whatever is pushed while it is written.

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <random>

#include "ps/block_reader.h"
#include "ps/checkpoint_thread.h"
#include "ps/table_store.h"
#include "tests/unit/checkpoint/memory_files.h"
#include "tests/unit/ps/shard_harness.h"

namespace marquee {
namespace {

using Rows = std::map<Id, std::vector<float>>;

TableDefinition AdagradTable(TableNumber number, uint32_t dim) {
  TableDefinition table = SgdTable(number, dim);
  table.optimizer.kind = OptimizerConfig::Kind::kAdagrad;
  table.optimizer.epsilon = 1e-6F;
  table.initializer = {.kind = Initializer::Kind::kUniform, .scale = 0.5F};
  return table;
}

Rows RowsOfStore(const TableStore& table) {
  Rows rows;
  table.ForEachRow([&](const TableStore::RowView& row) {
    std::vector<float>& values = rows[row.id];
    values.assign(row.weights.begin(), row.weights.end());
    values.insert(values.end(), row.state.begin(), row.state.end());
  });
  return rows;
}

class TableCutTest : public testing::Test {
 protected:
  static constexpr uint32_t kBits = 2;
  static constexpr uint32_t kDim = 3;
  static constexpr uint32_t kPartitions = 1U << kBits;

  void PushSome(std::mt19937_64& random, int pushes) {
    for (int push = 0; push < pushes; ++push) {
      std::set<Id> distinct;
      while (distinct.size() < 20) distinct.insert(random() % 400);
      const std::vector<Id> ids(distinct.begin(), distinct.end());
      std::vector<float> gradients(ids.size() * kDim);
      for (float& gradient : gradients) gradient = static_cast<float>(random() % 1000) / 500 - 1;
      table_.Apply(ids, gradients.data(), 0.1F, {});
    }
  }

  // Reads the cut in small steps, with pushes in between, into `rows`.
  void ReadAll(std::mt19937_64& random, Rows* rows) {
    for (PartitionNumber p = 0; p < kPartitions; ++p) {
      bool more = true;
      while (more) {
        if (random() % 2 == 0) PushSome(random, 1);
        RowImages images;
        more = table_.ReadCut(p, 1 + random() % 9, &images);
        const size_t width = kDim + table_.state_width();
        ASSERT_EQ(images.values.size(), images.ids.size() * width);
        for (size_t i = 0; i < images.ids.size(); ++i) {
          (*rows)[images.ids[i]].assign(images.values.begin() + static_cast<ptrdiff_t>(i * width),
                                        images.values.begin() + static_cast<ptrdiff_t>((i + 1) * width));
        }
      }
    }
    EXPECT_EQ(table_.cut_bytes(), 0U);
  }

  TableStore table_{AdagradTable(1, kDim), kBits};
  const std::vector<uint8_t> all_ = std::vector<uint8_t>(kPartitions, 1);
};

TEST_F(TableCutTest, CutAndIncrementsAreTheStateAtTheCut) {
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    std::mt19937_64 random(seed);
    PushSome(random, 5);
    Rows restored;
    for (uint64_t cut = 1; cut <= 4; ++cut) {
      PushSome(random, static_cast<int>(random() % 4));
      const Rows at_cut = RowsOfStore(table_);
      const uint64_t number = seed * 10 + cut;
      const bool full = table_.BeginCut(number, cut == 1 ? 0 : number - 1, all_);
      EXPECT_EQ(full, cut == 1);
      Rows read;
      ReadAll(random, &read);
      EXPECT_LE(read.size(), at_cut.size());
      for (const auto& [id, values] : read) restored[id] = values;
      EXPECT_EQ(restored, at_cut);
      table_.EndCut();
    }
    for (PartitionNumber p = 0; p < kPartitions; ++p) table_.ClearPartition(p);
  }
}

TEST_F(TableCutTest, ChangesOfAFailedCutAreInTheNext) {
  std::mt19937_64 random(7);
  PushSome(random, 5);
  ASSERT_TRUE(table_.BeginCut(1, 0, all_));
  table_.EndCut();
  PushSome(random, 1);
  EXPECT_FALSE(table_.BeginCut(2, 1, all_));
  table_.EndCut();  // given up: 1 is still the base
  const Rows at_cut = RowsOfStore(table_);
  EXPECT_TRUE(table_.BeginCut(3, 1, all_));
  Rows read;
  ReadAll(random, &read);
  EXPECT_EQ(read, at_cut);
}

TEST_F(TableCutTest, IncrementHoldsOnlyWhatWasChanged) {
  std::mt19937_64 random(7);
  PushSome(random, 30);
  ASSERT_TRUE(table_.BeginCut(1, 0, all_));
  table_.EndCut();
  const std::vector<Id> ids = {3, 1000};
  const std::vector<float> gradients(ids.size() * kDim, 1.0F);
  table_.Apply(ids, gradients.data(), 0.1F, {});
  EXPECT_FALSE(table_.BeginCut(2, 1, all_));
  size_t rows = 0;
  for (PartitionNumber p = 0; p < kPartitions; ++p) {
    RowImages images;
    while (table_.ReadCut(p, 5, &images)) {
    }
    rows += images.ids.size();
  }
  EXPECT_EQ(rows, 2U);
}

// ---------------------------------------------------------------------------------------------------- a whole shard

class Sink : public Outbox {
 public:
  void Send(const Peer&, OutgoingMessagePtr message) override { sent.push_back(std::move(message)); }
  std::vector<OutgoingMessagePtr> sent;
};

class ShardCheckpointTest : public testing::Test {
 protected:
  static View MakeView(uint32_t shards) {
    std::vector<std::string> endpoints;
    std::vector<uint64_t> processes;
    std::vector<uint32_t> servers;
    for (uint32_t i = 0; i < shards; ++i) {
      endpoints.push_back(fmt::format("tcp://s{}", i));
      processes.push_back(100 + i);
      servers.push_back(i);
    }
    return MakeEvenView(1, kClusterId, endpoints, 8, processes, servers, 1);
  }

  struct Member {
    Member(FileSystem& files, const View& view, uint32_t index, TableNumber table)
        : io(files), shard({.name = "s", .incarnation = 100 + index}, {}, &io) {
      EXPECT_EQ(AskOutcome(shard, MakeInstallView(view, index)), "ok");
      EXPECT_EQ(AskOutcome(shard, MakeOpenSession(1)), "ok");
      EXPECT_EQ(AskOutcome(shard, MakeCreateTables({AdagradTable(table, 2)})), "ok");
    }
    // Lets time go on until the condition holds.
    template <typename Condition>
    void RunUntil(const Condition& condition) {
      Sink sink;
      while (!condition(sink)) shard.OnTimer(shard.next_timer(), sink);
    }
    OutgoingMessagePtr AskForFile(uint64_t number) {
      const auto get = MakeRequest(1, [&](wire::Envelope::Body::Builder body) { body.setGetCheckpoint(number); });
      Sink sink;
      shard.OnMessage(*Deliver("scheduler", *get), absl::UnixEpoch(), sink);
      while (sink.sent.empty()) shard.OnTimer(shard.next_timer(), sink);
      return sink.sent.front();
    }
    CheckpointThread io;
    Shard shard;
  };

  static OutgoingMessagePtr MakeCut(uint64_t number, uint64_t base) {
    return MakeRequest(1, [&](wire::Envelope::Body::Builder body) {
      auto cut = body.initCutCheckpoint();
      cut.setNumber(number);
      cut.setFolder("c");
      cut.setClusterId(kClusterId);
      cut.setBase(base);
      cut.initTables(1).set(0, 1);
    });
  }
  static std::string PushTo(Shard& shard, const View& view, uint64_t sequence, const std::vector<Id>& ids, uint32_t self) {
    PushedSection section{.table = 1, .dim = 2, .ids = {}, .gradients = {}};
    for (const Id id : ids) {
      if (view.primaries[PartitionOf(id, view.partition_bits())] != self) continue;
      section.ids.push_back(id);
      section.gradients.insert(section.gradients.end(), {0.5F, static_cast<float>(id)});
    }
    return AskOutcome(shard, MakePush(1, 1, sequence, {section}));
  }
};

TEST_F(ShardCheckpointTest, RestoresIntoAnotherNumberOfShards) {
  MemoryFiles files;
  const View two = MakeView(2);
  std::vector<Id> ids;
  for (Id id = 1; id <= 300; ++id) ids.push_back(id * 7919);
  std::vector<std::string> paths;
  std::map<Id, std::vector<float>> expected;
  for (uint32_t index = 0; index < 2; ++index) {
    Member member(files, two, index, 1);
    EXPECT_EQ(PushTo(member.shard, two, 1, ids, index), "pushed");
    for (const Id id : ids) {
      if (two.primaries[PartitionOf(id, two.partition_bits())] != index) continue;
      expected[id] = RowsOf(Ask(member.shard, MakePull(1, 1, 2, {id})));
    }
    EXPECT_EQ(AskOutcome(member.shard, MakeCut(4, 0)), "ok");
    EXPECT_EQ(AskOutcome(member.shard, MakeCut(4, 0)), "ok");  // a late copy
    EXPECT_EQ(AskOutcome(member.shard, MakeCut(3, 0)), "error conflict");
    EXPECT_EQ(PushTo(member.shard, two, 2, ids, index), "pushed");  // is not in it
    const OutgoingMessagePtr reply = member.AskForFile(4);
    ASSERT_TRUE(reply->envelope().getBody().isCheckpointFile());
    auto file = reply->envelope().getBody().getCheckpointFile();
    EXPECT_TRUE(file.getFull());
    paths.push_back(fmt::format("c/{}", file.getName().cStr()));
  }

  const View three = MakeView(3);
  std::map<Id, std::vector<float>> restored;
  for (uint32_t index = 0; index < 3; ++index) {
    Member member(files, three, index, 9);
    const auto restore = MakeRequest(1, [&](wire::Envelope::Body::Builder body) {
      auto rows = body.initRestoreRows();
      rows.setClusterId(kClusterId);
      auto list = rows.initFiles(2);
      for (uint32_t i = 0; i < 2; ++i) {
        list[i].setPath(paths[i].c_str());
        list[i].setCheckpoint(4);
      }
      auto table = rows.initTables(1)[0];
      table.setFrom(1);
      table.setTo(9);
    });
    Sink sink;
    absl::StatusOr<Message> message = Deliver("scheduler", *restore);
    member.shard.OnMessage(*message, absl::UnixEpoch(), sink);
    EXPECT_TRUE(sink.sent.empty());
    member.RunUntil([&](Sink& later) { return !later.sent.empty(); });
    member.shard.OnMessage(*message, absl::UnixEpoch(), sink);  // a late copy is answered, and changes nothing
    ASSERT_EQ(sink.sent.size(), 1U);
    EXPECT_TRUE(sink.sent[0]->envelope().getBody().isOk());
    for (const Id id : ids) {
      if (three.primaries[PartitionOf(id, three.partition_bits())] != index) continue;
      restored[id] = RowsOf(Ask(member.shard, MakePull(1, 9, 2, {id})));
    }
  }
  EXPECT_EQ(restored, expected);
}

TEST_F(ShardCheckpointTest, FullDiskIsSaidAndServingGoesOn) {
  MemoryFiles files;
  const View one = MakeView(1);
  Member member(files, one, 0, 1);
  EXPECT_EQ(PushTo(member.shard, one, 1, {1, 2, 3}, 0), "pushed");
  files.fails_from = 3;
  EXPECT_EQ(AskOutcome(member.shard, MakeCut(1, 0)), "ok");
  const OutgoingMessagePtr reply = member.AskForFile(1);
  ASSERT_TRUE(reply->envelope().getBody().isError());
  EXPECT_EQ(reply->envelope().getBody().getError().getCode(), wire::Error::Code::STORAGE);
  EXPECT_EQ(PushTo(member.shard, one, 2, {1, 2, 3}, 0), "pushed");
  EXPECT_EQ(member.shard.checkpoint_bytes(), 0U);
}

TEST(BlockReaderTest, TellsDamageFromADiskThatCannotBeRead) {
  MemoryFiles files;
  auto writer = RowFileWriter::Create(files, "c/checkpoint-000001", "shard-000", {.cluster_id = 7, .checkpoint = 1});
  ASSERT_TRUE(writer.ok());
  ASSERT_TRUE((*writer)->Add({.partition = 0, .table = 1, .dim = 1, .state_width = 0, .ids = {5}, .values = {1}}).ok());
  ASSERT_TRUE((*writer)->Finish().ok());
  const auto read = [&](const std::string& path) {
    BlockReader reader(files, {.files = {{.path = path, .checkpoint = 1}}, .cluster_id = 7, .partitions = {0}, .tables = {1}});
    return reader.Next().status();
  };
  const std::string path = "c/checkpoint-000001/shard-000";
  EXPECT_TRUE(read(path).ok());
  EXPECT_TRUE(absl::IsDataLoss(read("c/checkpoint-000001/shard-001")));
  EXPECT_TRUE(absl::IsUnavailable(read("elsewhere/checkpoint-000001/shard-000"))) << "not mounted";
  files.denies_reading = true;
  EXPECT_TRUE(absl::IsUnknown(read(path)));
  files.denies_reading = false;
  files.Content(path).back() ^= 1;
  EXPECT_TRUE(absl::IsDataLoss(read(path)));
}

}  // namespace
}  // namespace marquee
