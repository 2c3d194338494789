// Several shards that talk to one another, one message at a time: what must hold of two copies.

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <deque>
#include <map>
#include <memory>
#include <numeric>
#include <utility>

#include "ps/shard.h"
#include "tests/unit/ps/shard_harness.h"

namespace marquee {
namespace {

using testing::ElementsAre;

constexpr absl::Duration kLease = absl::Seconds(2);

// Shards with endpoints "s0", "s1" ... and a client named "client". Messages wait in a queue until they are delivered.
class Shards {
 public:
  explicit Shards(size_t count, ReplicationOptions options = {.lease = kLease}) : options_(options) {
    for (size_t i = 0; i < count; ++i) Start(i);
  }

  void Start(size_t i) {
    shards_[Name(i)] = std::make_unique<Shard>(Identity{.name = Name(i), .incarnation = 10 * ++starts_ + i},
                                               ShardOptions{.replication = options_});
    processes_[i] = 10 * starts_ + i;
  }
  void Kill(size_t i) { shards_.erase(Name(i)); }

  static std::string Name(size_t i) { return fmt::format("s{}", i); }
  Shard& shard(size_t i) { return *shards_.at(Name(i)); }

  // A first view of these shards, each on a server of its own; all tables and sessions.
  View Begin(const std::vector<TableDefinition>& tables, uint32_t partitions = 8) {
    std::vector<std::string> endpoints;
    std::vector<uint64_t> processes;
    std::vector<uint32_t> server_of;
    for (uint32_t i = 0; i < shards_.size(); ++i) {
      endpoints.push_back(Name(i));
      processes.push_back(processes_[i]);
      server_of.push_back(i);
    }
    View view = MakeEvenView(1, kClusterId, endpoints, partitions, processes, server_of, 2);
    Install(view);
    for (uint32_t i = 0; i < endpoints.size(); ++i) Know(i, tables);
    Wait(options_.retry_after + absl::Milliseconds(50));
    return view;
  }
  void Know(size_t i, const std::vector<TableDefinition>& tables) {
    Tell(i, MakeCreateTables(tables));
    Tell(i, MakeOpenSession(1));
  }
  void Install(const View& view) {
    for (ShardIndex i = 0; i < view.shards.size(); ++i) {
      if (shards_.contains(view.shards[i])) Tell(i, MakeInstallView(view, i));
    }
  }
  void Tell(size_t i, const OutgoingMessagePtr& message) {
    Send("client", Name(i), message);
    Settle();
  }

  void Send(const std::string& from, const std::string& to, const OutgoingMessagePtr& message) {
    queue_.push_back({from, to, message});
  }
  // Delivers what waits, and what comes of it; not what `held` holds back.
  void Settle() {
    std::deque<Packet> kept;
    for (; !queue_.empty();) {
      const Packet packet = queue_.front();
      queue_.pop_front();
      if (held && held(packet.from, packet.to, *packet.message)) {
        kept.push_back(packet);
        continue;
      }
      Deliver(packet);
    }
    queue_ = std::move(kept);
  }
  void Lose() { queue_.clear(); }
  void Wait(absl::Duration time) {
    const absl::Time end = now + time;
    while (now < end) {
      now += absl::Milliseconds(50);
      for (auto& [name, shard] : shards_) {
        if (now < shard->next_timer()) continue;
        Outgoing outbox(*this, name);
        shard->OnTimer(now, outbox);
      }
      Settle();
    }
  }

  // What the client was told under a request's id, in order.
  std::vector<std::string> answers;
  std::function<bool(const std::string& from, const std::string& to, OutgoingMessage&)> held;
  absl::Time now = absl::UnixEpoch() + absl::Hours(1);

 private:
  struct Packet {
    std::string from;
    std::string to;
    OutgoingMessagePtr message;
  };
  class Outgoing : public Outbox {
   public:
    Outgoing(Shards& shards, std::string from) : shards_(shards), from_(std::move(from)) {}
    void Send(const Peer& to, OutgoingMessagePtr message) override { shards_.Send(from_, to, message); }

   private:
    Shards& shards_;
    std::string from_;
  };

  void Deliver(const Packet& packet) {
    absl::StatusOr<Message> message = marquee::Deliver(packet.from, *packet.message);
    ASSERT_TRUE(message.ok());
    if (packet.to == "client") {
      answers.push_back(Outcome(*message));
      return;
    }
    const auto shard = shards_.find(packet.to);
    if (shard == shards_.end()) return;
    Outgoing outbox(*this, packet.to);
    shard->second->OnMessage(*message, now, outbox);
  }

  ReplicationOptions options_;
  uint64_t starts_ = 0;
  std::map<size_t, uint64_t> processes_;
  std::map<std::string, std::unique_ptr<Shard>> shards_;
  std::deque<Packet> queue_;

 public:
  uint64_t process(size_t i) { return processes_[i]; }
};

bool IsForward(OutgoingMessage& message) { return message.envelope().getBody().isForward(); }

std::vector<Id> Ids(size_t count) {
  std::vector<Id> ids(count);
  std::iota(ids.begin(), ids.end(), 100);
  return ids;
}

// The ids whose primary is this shard.
std::vector<Id> Of(const View& view, ShardIndex shard, size_t count = 60) {
  std::vector<Id> ids;
  for (const Id id : Ids(count)) {
    if (view.primaries[PartitionOf(id, view.partition_bits())] == shard) ids.push_back(id);
  }
  return ids;
}

OutgoingMessagePtr PushTo(const View& view, uint64_t sequence, const std::vector<Id>& ids, float gradient = -1) {
  return MakePush(view.number, 1, sequence, {{1, 2, ids, std::vector<float>(2 * ids.size(), gradient)}});
}

std::string Rows(Shard& shard) {
  const std::string state = shard.DumpState();
  return state.substr(state.find("table "));
}

TableDefinition Adagrad() {
  TableDefinition table = SgdTable(1, 2);
  table.optimizer = Optimizer::FromConfig({.kind = OptimizerConfig::Kind::kAdagrad});
  return table;
}

TEST(Replication, APushIsAcknowledgedOnceItsBackupHasAppliedIt) {
  Shards shards(2);
  const View view = shards.Begin({Adagrad()});
  shards.answers.clear();
  shards.held = [](const auto&, const auto&, OutgoingMessage& message) { return IsForward(message); };
  shards.Tell(0, PushTo(view, 1, Of(view, 0)));
  EXPECT_THAT(shards.answers, ElementsAre());
  shards.held = nullptr;
  shards.Settle();
  EXPECT_THAT(shards.answers, ElementsAre("pushed"));
  EXPECT_EQ(Rows(shards.shard(0)), Rows(shards.shard(1)));
}

TEST(Replication, ADuplicateIsAcknowledgedNoEarlierThanItsOriginal) {
  Shards shards(2);
  const View view = shards.Begin({Adagrad()});
  shards.answers.clear();
  shards.held = [](const auto&, const auto&, OutgoingMessage& message) { return IsForward(message); };
  shards.Tell(0, PushTo(view, 1, Of(view, 0)));
  shards.Tell(0, PushTo(view, 1, Of(view, 0)));
  EXPECT_THAT(shards.answers, ElementsAre());
  shards.held = nullptr;
  shards.Settle();
  EXPECT_THAT(shards.answers, ElementsAre("pushed", "pushed"));
}

TEST(Replication, LostForwardsAreSentAgain) {
  Shards shards(2);
  const View view = shards.Begin({Adagrad()});
  shards.answers.clear();
  shards.held = [](const auto&, const auto&, OutgoingMessage& message) { return IsForward(message); };
  for (uint64_t sequence = 1; sequence <= 5; ++sequence) shards.Tell(0, PushTo(view, sequence, Of(view, 0)));
  shards.Lose();
  shards.held = nullptr;
  shards.Wait(kLease / 2);
  EXPECT_EQ(shards.answers.size(), 5U);
  EXPECT_EQ(Rows(shards.shard(0)), Rows(shards.shard(1)));
}

TEST(Replication, ForwardsThatOvertakeOneAnotherAreAppliedInOrder) {
  Shards shards(2);
  const View view = shards.Begin({Adagrad()});
  std::vector<OutgoingMessagePtr> forwards;
  shards.held = [&](const auto&, const auto&, OutgoingMessage& message) { return IsForward(message); };
  for (uint64_t sequence = 1; sequence <= 3; ++sequence) {
    shards.Tell(0, PushTo(view, sequence, Of(view, 0), -static_cast<float>(sequence)));
  }
  // The last one alone first: it is not taken before the others.
  int seen = 0;
  shards.held = [&](const auto&, const auto&, OutgoingMessage& message) { return IsForward(message) && ++seen < 3; };
  shards.Settle();
  EXPECT_NE(Rows(shards.shard(0)), Rows(shards.shard(1)));
  shards.held = nullptr;
  shards.Wait(kLease / 2);
  EXPECT_EQ(Rows(shards.shard(0)), Rows(shards.shard(1)));
}

TEST(Replication, APrimaryServesOnlyWithinItsLease) {
  Shards shards(2);
  const View view = shards.Begin({Adagrad()});
  shards.Kill(1);
  shards.answers.clear();
  shards.Tell(0, MakePull(view.number, 1, 2, Of(view, 0)));
  EXPECT_THAT(shards.answers, ElementsAre("rows"));
  shards.Wait(kLease + absl::Milliseconds(100));
  shards.answers.clear();
  shards.Tell(0, MakePull(view.number, 1, 2, Of(view, 0)));
  shards.Tell(0, PushTo(view, 1, Of(view, 0)));
  EXPECT_THAT(shards.answers, ElementsAre("error notYet", "error notYet"));
}

// The view after the loss of shard 0 of 2 or 3.
View WithoutFirst(View view, ShardIndex fill) {
  ++view.number;
  for (PartitionNumber p = 0; p < view.partitions(); ++p) {
    if (view.primaries[p] == 0) {
      view.primaries[p] = view.backups[p];
      view.changed[p] = view.number;
      view.backups[p] = kNoShard;
    }
    if (view.backups[p] == 0) view.backups[p] = kNoShard;
    if (view.backups[p] == kNoShard && view.primaries[p] != fill) view.fills[p] = fill;
  }
  return view;
}

TEST(Replication, APromotedBackupHasWhatWasAcknowledgedAndServesAfterTheLease) {
  Shards shards(2);
  const View view = shards.Begin({SgdTable(1, 2)});
  shards.Tell(0, PushTo(view, 1, Of(view, 0)));
  shards.Kill(0);
  const View next = WithoutFirst(view, kNoShard);
  shards.Install(next);
  shards.answers.clear();
  shards.Tell(1, MakePull(next.number, 1, 2, Of(view, 0)));
  EXPECT_THAT(shards.answers, ElementsAre("error notYet"));
  shards.Wait(kLease * 1.1 + absl::Milliseconds(100));
  shards.answers.clear();
  shards.Tell(1, MakePull(next.number, 1, 2, Of(view, 0)));
  // What was acknowledged is applied once, asked again or not.
  shards.Tell(1, PushTo(next, 1, Of(view, 0)));
  shards.Tell(1, PushTo(next, 2, Of(view, 0)));
  EXPECT_THAT(shards.answers, ElementsAre("rows", "pushed", "pushed"));
  EXPECT_THAT(Rows(shards.shard(1)), testing::HasSubstr("0x1p+1 0x1p+1"));
  EXPECT_THAT(Rows(shards.shard(1)), testing::Not(testing::HasSubstr("0x1.8p+1")));
}

TEST(Replication, ADeposedPrimaryAcknowledgesNothing) {
  Shards shards(2);
  const View view = shards.Begin({Adagrad()});
  const View next = WithoutFirst(view, kNoShard);
  shards.Tell(1, MakeInstallView(next, 1));  // shard 0 has not heard of it
  shards.answers.clear();
  shards.Tell(0, PushTo(view, 1, Of(view, 0)));
  shards.Wait(kLease);
  EXPECT_THAT(shards.answers, ElementsAre());
  shards.Tell(0, MakeInstallView(next, 0));
  shards.Wait(kLease);
  EXPECT_THAT(shards.answers, ElementsAre("ok"));
}

TEST(Replication, ALossOfTheBackupReleasesWhatWaitsForIt) {
  Shards shards(3);
  const View view = shards.Begin({Adagrad()});
  shards.Kill(1);  // backup of what shard 0 has
  shards.answers.clear();
  shards.Tell(0, PushTo(view, 1, Of(view, 0)));
  EXPECT_THAT(shards.answers, ElementsAre());
  View next = view;
  ++next.number;
  for (PartitionNumber p = 0; p < next.partitions(); ++p) {
    if (next.backups[p] == 1) next.backups[p] = kNoShard;
    if (next.primaries[p] != 1) continue;
    next.primaries[p] = next.backups[p];
    next.backups[p] = kNoShard;
    next.changed[p] = next.number;
  }
  shards.Install(next);
  EXPECT_THAT(shards.answers, testing::Contains("pushed"));
}

TEST(Replication, ACopyIsFilledWhilePushesGoOn) {
  ReplicationOptions options{.lease = kLease, .fill_bytes = 100, .fill_ahead_bytes = 200};
  Shards shards(2, options);
  TableDefinition second = SgdTable(2, 3, "t7/movies");
  second.optimizer = Optimizer::FromConfig({.kind = OptimizerConfig::Kind::kAdam});
  const View view = shards.Begin({Adagrad(), second});
  const auto push = [&](const View& by, uint64_t sequence, const std::vector<Id>& ids) {
    return MakePush(by.number, 1, sequence,
                    {{1, 2, ids, std::vector<float>(2 * ids.size(), -1)}, {2, 3, ids, std::vector<float>(3 * ids.size(), 2)}});
  };
  shards.Tell(1, push(view, 1, Of(view, 1, 400)));
  shards.Kill(0);
  View next = WithoutFirst(view, kNoShard);
  shards.Install(next);
  shards.Wait(kLease * 1.2);
  shards.Tell(1, push(next, 2, Ids(300)));

  // Shard 0 comes as a new process, and is told of tables and sessions before it is filled.
  shards.Start(0);
  ++next.number;
  next.processes[0] = shards.process(0);
  shards.Install(next);
  shards.Know(0, {Adagrad(), second});
  ++next.number;
  for (PartitionNumber p = 0; p < next.partitions(); ++p) next.fills[p] = 0;
  int forwards = 0;
  shards.held = [&](const auto& from, const auto&, OutgoingMessage& message) {
    return from == "s1" && IsForward(message) && ++forwards > 10;
  };
  shards.Install(next);
  for (uint64_t sequence = 3; sequence <= 20; ++sequence) {
    forwards = 0;
    shards.Tell(1, push(next, sequence, Ids(300 + 10 * sequence)));
  }
  shards.held = nullptr;
  shards.Settle();
  shards.Wait(kLease);
  shards.answers.clear();
  shards.Tell(1, MakeRequest(next.number, [](wire::Envelope::Body::Builder body) { body.setGetFills(); }));
  EXPECT_THAT(shards.answers, ElementsAre("fills"));
  EXPECT_EQ(Rows(shards.shard(0)), Rows(shards.shard(1)));

  // Named the backup, it takes over, and its windows came with it.
  ++next.number;
  std::swap(next.fills, next.backups);
  shards.Install(next);
  shards.Kill(1);
  ++next.number;
  for (PartitionNumber p = 0; p < next.partitions(); ++p) {
    next.primaries[p] = 0;
    next.backups[p] = kNoShard;
    next.changed[p] = next.number;
  }
  shards.Install(next);
  shards.Wait(kLease * 1.2);
  const std::string before = Rows(shards.shard(0));
  shards.answers.clear();
  shards.Tell(0, push(next, 20, Ids(500)));
  EXPECT_THAT(shards.answers, ElementsAre("pushed"));
  EXPECT_EQ(Rows(shards.shard(0)), before);
}

// ------------------------------------------------------------------------------------------------------------- moves

OutgoingMessagePtr MakeYield(const View& view, const std::vector<PartitionNumber>& partitions) {
  OutgoingMessagePtr message = NewRequest({.name = "scheduler", .incarnation = 1}, view.number, 77, absl::ZeroDuration());
  auto list = message->envelope().getBody().initYield().initPartitions(static_cast<uint32_t>(partitions.size()));
  for (uint32_t i = 0; i < list.size(); ++i) list.set(i, partitions[i]);
  return message;
}

std::vector<PartitionNumber> PartitionsWith(const View& view, ShardIndex primary) {
  std::vector<PartitionNumber> partitions;
  for (PartitionNumber p = 0; p < view.partitions(); ++p) {
    if (view.primaries[p] == primary) partitions.push_back(p);
  }
  return partitions;
}

View HandedOver(View view, const std::vector<PartitionNumber>& partitions) {
  ++view.number;
  for (const PartitionNumber p : partitions) {
    std::swap(view.primaries[p], view.backups[p]);
    view.changed[p] = view.number;
  }
  return view;
}

TEST(Moves, APartitionIsYieldedOnceItsBackupHasAll) {
  Shards shards(2);
  const View view = shards.Begin({Adagrad()});
  shards.held = [](const auto&, const auto&, OutgoingMessage& message) { return IsForward(message); };
  shards.Tell(0, PushTo(view, 1, Of(view, 0)));
  shards.answers.clear();
  shards.Tell(0, MakeYield(view, PartitionsWith(view, 0)));
  EXPECT_THAT(shards.answers, ElementsAre()) << "the backup lacks a push";
  shards.Tell(0, PushTo(view, 2, Of(view, 0)));
  shards.Tell(0, MakePull(view.number, 1, 2, Of(view, 0)));
  EXPECT_THAT(shards.answers, ElementsAre("error notYet", "error notYet")) << "it is served no more";
  shards.held = nullptr;
  shards.answers.clear();
  shards.Settle();
  EXPECT_THAT(shards.answers, ElementsAre("pushed", "ok"));

  const View next = HandedOver(view, PartitionsWith(view, 0));
  shards.Install(next);
  shards.Wait(absl::Milliseconds(100));
  shards.answers.clear();
  shards.Tell(1, PushTo(next, 1, Of(view, 0)));
  shards.Tell(1, PushTo(next, 2, Of(view, 0)));
  shards.Tell(1, MakePull(next.number, 1, 2, Of(view, 0)));
  EXPECT_THAT(shards.answers, ElementsAre("pushed", "pushed", "rows")) << "at once: the old primary's lease is not waited for";
  EXPECT_EQ(Rows(shards.shard(0)), Rows(shards.shard(1))) << "the old primary is the backup, and nothing was copied";
}

TEST(Moves, ANewerViewPutsAnEndToAYield) {
  Shards shards(2);
  const View view = shards.Begin({Adagrad()});
  shards.Tell(0, MakeYield(view, PartitionsWith(view, 0)));
  View next = view;
  ++next.number;
  shards.Install(next);
  shards.Wait(absl::Milliseconds(100));
  shards.answers.clear();
  shards.Tell(0, PushTo(next, 1, Of(view, 0)));
  EXPECT_THAT(shards.answers, ElementsAre("pushed"));
  shards.answers.clear();
  shards.Tell(0, MakeYield(view, PartitionsWith(view, 0)));
  shards.Tell(0, PushTo(next, 2, Of(view, 0)));
  EXPECT_THAT(shards.answers, ElementsAre("error staleView", "pushed"))
      << "what was asked under the view before comes too late";
}

// The one that it had yielded to is lost before the old primary hears that it took over.
TEST(Moves, AnOldPrimaryTakesOverAgain) {
  Shards shards(2);
  const View view = shards.Begin({SgdTable(1, 2)});
  const std::vector<PartitionNumber> own = PartitionsWith(view, 0);
  shards.Tell(0, PushTo(view, 1, Of(view, 0)));
  shards.Tell(0, MakeYield(view, own));
  const View next = HandedOver(view, own);
  shards.Tell(1, MakeInstallView(next, 1));
  shards.Kill(1);
  View again = HandedOver(next, own);
  for (PartitionNumber p = 0; p < again.partitions(); ++p) {
    again.primaries[p] = 0;
    again.backups[p] = kNoShard;
  }
  const std::string before = Rows(shards.shard(0));
  shards.Tell(0, MakeInstallView(again, 0));
  EXPECT_EQ(Rows(shards.shard(0)), before);
  shards.answers.clear();
  shards.Tell(0, MakePull(again.number, 1, 2, Of(view, 0)));
  EXPECT_THAT(shards.answers, ElementsAre("error notYet")) << "the other may still serve, by what it was answered";
  shards.Wait(kLease * 1.2);
  shards.answers.clear();
  shards.Tell(0, MakePull(again.number, 1, 2, Of(view, 0)));
  EXPECT_THAT(shards.answers, ElementsAre("rows"));
}

TEST(Moves, OnlyAPrimaryWithABackupYields) {
  Shards shards(2);
  const View view = shards.Begin({Adagrad()});
  View alone = view;
  ++alone.number;
  for (const PartitionNumber p : PartitionsWith(view, 0)) alone.backups[p] = kNoShard;
  shards.Install(alone);
  shards.answers.clear();
  shards.Tell(1, MakeYield(alone, PartitionsWith(view, 0)));
  shards.Tell(0, MakeYield(alone, PartitionsWith(view, 0)));
  shards.Tell(0, MakeYield(alone, {99}));
  EXPECT_THAT(shards.answers, ElementsAre("error conflict", "error conflict", "error conflict"));
  shards.answers.clear();
  shards.Tell(0, PushTo(alone, 1, Of(view, 0)));
  EXPECT_THAT(shards.answers, ElementsAre("pushed"));
}

// A copy is filled beside the backup and takes its place; from the moment that it may be named, both have to answer.
TEST(Moves, ACopyIsFilledBesideTheBackup) {
  Shards shards(3);
  const View view = shards.Begin({Adagrad()});
  shards.Tell(0, PushTo(view, 1, Of(view, 0)));
  View filling = view;
  ++filling.number;
  for (const PartitionNumber p : PartitionsWith(view, 0)) filling.fills[p] = 2;
  ASSERT_TRUE(filling.Validate().ok());
  shards.Install(filling);
  shards.Wait(absl::Milliseconds(100));

  for (const std::string slow : {"s1", "s2"}) {
    shards.answers.clear();
    shards.held = [&](const auto&, const auto& to, OutgoingMessage& message) { return IsForward(message) && to == slow; };
    shards.Tell(0, PushTo(filling, slow == "s1" ? 2 : 3, Of(view, 0)));
    EXPECT_THAT(shards.answers, ElementsAre()) << slow << " has not answered";
    shards.held = nullptr;
    shards.Wait(absl::Milliseconds(100));
    EXPECT_THAT(shards.answers, ElementsAre("pushed"));
  }
  View named = filling;
  ++named.number;
  for (const PartitionNumber p : PartitionsWith(view, 0)) named.backups[p] = std::exchange(named.fills[p], kNoShard);
  shards.Install(named);
  shards.Wait(absl::Milliseconds(100));
  for (const PartitionNumber p : PartitionsWith(view, 0)) {
    EXPECT_EQ(shards.shard(0).DumpPartition(p).tables, shards.shard(2).DumpPartition(p).tables);
    EXPECT_EQ(shards.shard(0).DumpPartition(p).sessions, shards.shard(2).DumpPartition(p).sessions);
    EXPECT_EQ(shards.shard(1).DumpPartition(p).tables.at(1), "");
  }
}

// What is left in a stream from before the partition was another's must not be applied to what that one has given.
TEST(Moves, EntriesFromBeforeAHandoverAreNothingToThePartition) {
  Shards shards(3);
  const View view = shards.Begin({Adagrad()});
  const std::vector<PartitionNumber> own = PartitionsWith(view, 0);
  // Shard 2 has a copy of one partition of shard 0 all along, so that the stream between them goes on, and does not hear of it.
  View filling = view;
  ++filling.number;
  for (const PartitionNumber p : own) filling.fills[p] = 2;
  shards.Install(filling);
  shards.Wait(absl::Milliseconds(100));
  shards.held = [](const auto& from, const auto& to, OutgoingMessage& message) {
    return IsForward(message) && from == "s0" && to == "s2";
  };
  const PartitionNumber moved = own.front();
  std::vector<Id> ids;
  for (const Id id : Of(view, 0)) {
    if (PartitionOf(id, view.partition_bits()) == moved) ids.push_back(id);
  }
  ASSERT_FALSE(ids.empty());
  shards.Tell(0, PushTo(filling, 1, ids));  // shard 1 has it, shard 2 does not

  View given_up = filling;
  ++given_up.number;
  given_up.fills[moved] = kNoShard;
  shards.Install(given_up);
  shards.Tell(0, MakeYield(given_up, {moved}));
  const View handed_over = HandedOver(given_up, {moved});
  shards.Install(handed_over);
  View filled_again = handed_over;
  ++filled_again.number;
  filled_again.fills[moved] = 2;  // by shard 1, from its rows, which have the push
  shards.Install(filled_again);
  shards.Wait(absl::Milliseconds(100));
  shards.held = nullptr;
  shards.Wait(absl::Seconds(1));
  EXPECT_EQ(shards.shard(1).DumpPartition(moved).tables, shards.shard(2).DumpPartition(moved).tables);
}

}  // namespace
}  // namespace marquee
