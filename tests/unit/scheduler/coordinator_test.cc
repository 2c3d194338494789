#include "scheduler/coordinator.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/scheduler/coordinator_testing.h"

namespace marquee {
namespace {

using Code = wire::Error::Code;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

CoordinatorOptions TwoWorkers() {
  CoordinatorOptions options = SmallOptions();
  options.workers_per_trial = 2;
  return options;
}

TrialConfig Synchronous(std::string name) {
  TrialConfig config = SmallTrial(std::move(name));
  config.consistency.mode = ConsistencyConfig::Mode::kSynchronous;
  return config;
}

TEST(CoordinatorTest, TrainsAndEvaluatesOneTrialAndLeavesNothingBehind) {
  Harness harness;
  ASSERT_TRUE(harness.Start({SmallTrial("a")}).ok());
  harness.RegisterServers();
  FakeWorker worker(harness, "w0");
  worker.JoinAndDefine();
  EXPECT_EQ(harness.Trial().phase, "training");
  for (const auto& [endpoint, shard] : harness.shards) {
    EXPECT_EQ(shard.sessions.size(), 1U);
    EXPECT_EQ(shard.tables.size(), 2U);
  }
  worker.WorkToTheEnd();

  const Coordinator::TrialView view = harness.Trial();
  EXPECT_EQ(view.trial.status, TrialStatus::kFinished);
  EXPECT_EQ(view.trial.result.examples, 200U);
  EXPECT_EQ(view.trial.result.repeated_examples, 0U);
  EXPECT_THAT(view.trial.result.epoch_losses, ElementsAre(1.0, 1.0));
  EXPECT_DOUBLE_EQ(view.trial.result.validation.at("top_100"), 0.5);
  EXPECT_DOUBLE_EQ(view.trial.result.test.at("top_100"), 0.5);
  EXPECT_EQ(harness.store.trials.at("a").status, TrialStatus::kFinished);
  for (const auto& [endpoint, shard] : harness.shards) {
    EXPECT_THAT(shard.sessions, IsEmpty());
    EXPECT_THAT(shard.tables, IsEmpty());
  }
  EXPECT_TRUE(harness.coordinator().done());
  EXPECT_EQ(worker.GetAssignment(), FakeWorker::Answer::kShutdown);
}

TEST(CoordinatorTest, ChunksAreLeasedInOrderAndAtMostTwoAtATime) {
  Harness harness;
  ASSERT_TRUE(harness.Start({SmallTrial("a")}).ok());
  harness.RegisterServers();
  FakeWorker worker(harness, "w0");
  worker.JoinAndDefine();
  for (uint64_t number = 0; number < 2; ++number) {
    const Message reply = worker.GetWork();
    const auto chunk = reply.envelope().getBody().getWork().getTrain();
    EXPECT_EQ(chunk.getNumber(), number);
    EXPECT_EQ(chunk.getBegin(), number * 20);
    EXPECT_EQ(chunk.getEnd(), number * 20 + 20);
  }
  EXPECT_TRUE(worker.GetWork().envelope().getBody().getWork().isWait());
  worker.Train(0, 20);
  EXPECT_EQ(worker.GetWork().envelope().getBody().getWork().getTrain().getNumber(), 2U);
}

TEST(CoordinatorTest, AskingTwiceGivesTheSameChunkAndALateCopyNothing) {
  Harness harness;
  ASSERT_TRUE(harness.Start({SmallTrial("a")}).ok());
  harness.RegisterServers();
  FakeWorker worker(harness, "w0");
  worker.JoinAndDefine();
  EXPECT_EQ(worker.GetWork(1000).envelope().getBody().getWork().getTrain().getNumber(), 0U);
  EXPECT_EQ(worker.GetWork(1000).envelope().getBody().getWork().getTrain().getNumber(), 0U);
  EXPECT_EQ(worker.GetWork(1001).envelope().getBody().getWork().getTrain().getNumber(), 1U);
  EXPECT_TRUE(worker.GetWork(999).envelope().getBody().getWork().isWait());
  EXPECT_EQ(harness.coordinator().counters().chunks_leased, 2U);
}

TEST(CoordinatorTest, LateCopiesOfTicksChangeNothing) {
  Harness harness;
  ASSERT_TRUE(harness.Start({SmallTrial("a")}).ok());
  harness.RegisterServers();
  FakeWorker worker(harness, "w0");
  worker.JoinAndDefine();
  worker.GetWork();
  worker.Train(0, 10);
  worker.Train(0, 5);
  FakeWorker late = worker;
  late.clock = 1;
  late.examples = 10;
  late.loss_sum = 1e6;
  late.held[0].first = 10;
  late.Tick();
  worker.Tick();
  EXPECT_EQ(harness.coordinator().counters().examples, 15U);
  EXPECT_DOUBLE_EQ(harness.Trial().loss, 1.0);
}

TEST(CoordinatorTest, DeadWorkersChunkIsLeasedAgainOnlyAfterItsSessionIsClosed) {
  Harness harness;
  ASSERT_TRUE(harness.Start({SmallTrial("a")}).ok());
  harness.RegisterServers();
  FakeWorker dead(harness, "w0");
  FakeWorker other(harness, "w1");
  dead.JoinAndDefine();
  dead.GetWork();
  dead.Train(0, 10);
  EXPECT_EQ(other.GetAssignment(), FakeWorker::Answer::kNone);

  harness.shards.at("shard:s1").loses_closing = true;
  harness.coordinator().OnProcessExit("w0", harness.now, harness);
  other.JoinAndDefine();
  EXPECT_EQ(other.GetWork().envelope().getBody().getWork().getTrain().getNumber(), 1U);
  EXPECT_TRUE(harness.shards.at("shard:s1").sessions.contains(dead.session));

  harness.shards.at("shard:s1").loses_closing = false;
  harness.Advance(harness.options().resend_after);
  EXPECT_FALSE(harness.shards.at("shard:s1").sessions.contains(dead.session));
  const Message again = other.GetWork();
  const auto chunk = again.envelope().getBody().getWork().getTrain();
  EXPECT_EQ(chunk.getNumber(), 0U);
  EXPECT_EQ(chunk.getNext(), 10U);
  for (const uint64_t number : {0U, 1U}) {
    while (other.held.contains(number)) other.Train(number, 10);
  }
  other.WorkToTheEnd();
  const TrialResult result = harness.Trial().trial.result;
  EXPECT_EQ(result.examples, 200U);
  EXPECT_EQ(result.repeated_examples, 10U);  // the rest of the chunk: at most so much was trained twice
}

TEST(CoordinatorTest, SilentWorkerIsDeadAfterItsLeaseAndRefusedWhenItWakesUp) {
  Harness harness;
  ASSERT_TRUE(harness.Start({SmallTrial("a")}).ok());
  harness.RegisterServers();
  FakeWorker worker(harness, "w0");
  worker.JoinAndDefine();
  worker.GetWork();
  for (int i = 0; i < 25; ++i) {
    harness.Advance(absl::Milliseconds(500));
    for (const char* server : {"s0", "s1"}) harness.Ask(server, 1, [](auto body) { body.initHeartbeat(); });
  }
  EXPECT_EQ(harness.coordinator().counters().workers_lost, 1U);
  EXPECT_EQ(ErrorOf(worker.Train(0, 10)), Code::UNKNOWN_INCARNATION);
  worker.Register();
  EXPECT_EQ(ErrorOf(worker.Tick()), Code::UNKNOWN_SESSION);
  const uint64_t before = worker.session;
  worker.JoinAndDefine();
  EXPECT_GT(worker.session, before);
  worker.WorkToTheEnd();
  EXPECT_EQ(harness.Trial().trial.result.examples, 200U);
}

TEST(CoordinatorTest, NewIncarnationEndsTheOldOneForGood) {
  Harness harness;
  ASSERT_TRUE(harness.Start({SmallTrial("a")}).ok());
  harness.RegisterServers();
  FakeWorker old(harness, "w0", 1);
  old.JoinAndDefine();
  FakeWorker young(harness, "w0", 2);
  EXPECT_EQ(ErrorOf(old.Tick()), Code::UNKNOWN_INCARNATION);
  EXPECT_EQ(ErrorOf(harness.RegisterWorker("w0", 1)), Code::CONFLICT);
  young.JoinAndDefine();
  young.WorkToTheEnd();
  EXPECT_EQ(harness.Trial().trial.status, TrialStatus::kFinished);
}

TEST(CoordinatorTest, OtherDataFileIsRefusedWithBothChecksums) {
  CoordinatorOptions options = SmallOptions();
  options.data_checksum = 0xabc;
  Harness harness(options);
  ASSERT_TRUE(harness.Start({SmallTrial("a")}).ok());
  const Message reply = harness.RegisterWorker("w0", 1, 0xdef);
  EXPECT_EQ(ErrorOf(reply), Code::DATA_MISMATCH);
  const std::string text = reply.envelope().getBody().getError().getMessage().cStr();
  EXPECT_THAT(text, HasSubstr("0abc"));
  EXPECT_THAT(text, HasSubstr("0def"));
}

TEST(CoordinatorTest, MembersOfTwoVersionsKeepToWhatAllSpeak) {
  const WireVersions own = OwnWireVersions();
  ASSERT_LT(own.oldest, own.newest) << "this test needs two versions";
  const WireVersions older{.oldest = own.oldest, .newest = own.oldest};
  const WireVersions newer{.oldest = own.newest, .newest = static_cast<uint16_t>(own.newest + 1)};
  Harness harness;
  ASSERT_TRUE(harness.Start({SmallTrial("a")}).ok());
  EXPECT_EQ(harness.coordinator().wire_version(), own.newest);
  harness.RegisterServer("s0");
  harness.wire = older;
  harness.RegisterServer("s1");
  EXPECT_EQ(harness.coordinator().wire_version(), own.oldest);

  // It could speak with the scheduler and one of the servers, but not with the other.
  harness.wire = newer;
  const Message reply = harness.RegisterWorker("w0");
  EXPECT_EQ(ErrorOf(reply), Code::WRONG_VERSION);
  EXPECT_EQ(reply.envelope().getBody().getError().getField(), "protocolVersion");
  EXPECT_THAT(std::string(reply.envelope().getBody().getError().getMessage().cStr()),
              AllOf(HasSubstr(fmt::format("'w0' speaks {} to {}", newer.oldest, newer.newest)),
                    HasSubstr(fmt::format("have {} in common", own.oldest)), HasSubstr("Upgrade 's1' first")));
  EXPECT_EQ(harness.coordinator().counters().rejected.at("wrongVersion"), 1U);

  // Once that one has been upgraded it may come, and then it is the older one that may not.
  harness.wire = own;
  harness.RegisterServer("s1", 2);
  EXPECT_EQ(harness.coordinator().wire_version(), own.newest);
  harness.wire = newer;
  EXPECT_TRUE(harness.RegisterWorker("w0").envelope().getBody().isRegistered());
  harness.wire = older;
  const Message late = harness.RegisterWorker("w1");
  EXPECT_EQ(ErrorOf(late), Code::WRONG_VERSION);
  EXPECT_THAT(std::string(late.envelope().getBody().getError().getMessage().cStr()),
              AllOf(HasSubstr("because of 'w0'"), HasSubstr("Upgrade this process first")));
}

TEST(CoordinatorTest, RanksAreByNameAndEveryWorkerGetsTheSameTables) {
  Harness harness(TwoWorkers());
  ASSERT_TRUE(harness.Start({SmallTrial("a")}).ok());
  harness.RegisterServers();
  FakeWorker second(harness, "w1");
  FakeWorker first(harness, "w0");
  EXPECT_EQ(second.GetAssignment(), FakeWorker::Answer::kNone);
  EXPECT_EQ(first.GetAssignment(), FakeWorker::Answer::kNone);
  second.Join();
  first.Join();
  EXPECT_EQ(first.rank, 0U);
  EXPECT_EQ(second.rank, 1U);
  EXPECT_EQ(ErrorOf(first.DefineTables()), Code::NOT_YET);
  for (FakeWorker* worker : {&first, &second}) {
    const Message reply = worker->DefineTables();
    ASSERT_TRUE(reply.envelope().getBody().isTables());
    const auto tables = reply.envelope().getBody().getTables().getDefinitions();
    EXPECT_STREQ(tables[0].getName().cStr(), "t1/users");
    EXPECT_EQ(tables[0].getNumber(), 1U);
    EXPECT_EQ(tables[1].getNumber(), 2U);
    EXPECT_EQ(tables[1].getTrial(), 1U);
  }
}

TEST(CoordinatorTest, DifferentTablesFailTheTrialAndTheSweepGoesOn) {
  Harness harness(TwoWorkers());
  ASSERT_TRUE(harness.Start({SmallTrial("a"), SmallTrial("b")}).ok());
  harness.RegisterServers();
  FakeWorker w0(harness, "w0");
  FakeWorker w1(harness, "w1");
  w0.GetAssignment();
  w1.Join();
  w0.Join();
  w0.DefineTables(8);
  EXPECT_EQ(ErrorOf(w1.DefineTables(16)), Code::CONFLICT);
  EXPECT_EQ(harness.Trial(0).trial.status, TrialStatus::kFailed);
  EXPECT_THAT(harness.Trial(0).trial.reason, HasSubstr("different tables"));
  EXPECT_EQ(ErrorOf(w0.GetWork()), Code::UNKNOWN_SESSION);
  w0.GetAssignment();
  w1.Join();
  w0.Join();
  EXPECT_EQ(w0.trial, 2U);
  EXPECT_THAT(harness.shards.at("shard:s0").tables, IsEmpty());
}

TEST(CoordinatorTest, WorkersReportOfFailureIsTheTrialsReason) {
  Harness harness;
  ASSERT_TRUE(harness.Start({SmallTrial("a"), SmallTrial("b")}).ok());
  harness.RegisterServers();
  FakeWorker worker(harness, "w0");
  worker.JoinAndDefine();
  const Message reply = worker.Ask([&](auto body) {
    auto failed = body.initTrialFailed();
    failed.setSession(worker.session);
    failed.setReason("loss is NaN");
  });
  EXPECT_TRUE(reply.envelope().getBody().isOk());
  EXPECT_EQ(harness.store.trials.at("a").reason, "loss is NaN");
  worker.JoinAndDefine();
  worker.WorkToTheEnd();
  EXPECT_EQ(harness.Trial(1).trial.status, TrialStatus::kFinished);
  EXPECT_TRUE(harness.coordinator().done());
}

TEST(CoordinatorTest, EvaluationWaitsForTheBarrierOfAllWorkers) {
  Harness harness(TwoWorkers());
  ASSERT_TRUE(harness.Start({SmallTrial("a")}).ok());
  harness.RegisterServers();
  FakeWorker w0(harness, "w0");
  FakeWorker w1(harness, "w1");
  w0.GetAssignment();
  w1.GetAssignment();
  w0.Join();
  w1.Join();
  w0.DefineTables();
  w0.DefineTables();
  w1.DefineTables();
  const Message first = w1.GetWork();
  const uint64_t chunk = first.envelope().getBody().getWork().getTrain().getNumber();
  while (!w0.GetWork().envelope().getBody().getWork().isWait()) {
    for (const auto& [number, progress] : std::map(w0.held)) w0.Train(number, progress.second - progress.first);
  }
  EXPECT_EQ(harness.Trial().phase, "training");
  w1.Train(chunk, 20);
  EXPECT_TRUE(w0.GetWork().envelope().getBody().getWork().isBarrier());
  w0.Tick(true);
  EXPECT_TRUE(w0.GetWork().envelope().getBody().getWork().isBarrier());
  w1.Tick(true);
  EXPECT_EQ(harness.Trial().phase, "validation");
  const Message work = w0.GetWork();
  ASSERT_TRUE(work.envelope().getBody().getWork().isEvaluate());
  EXPECT_EQ(work.envelope().getBody().getWork().getEvaluate().getPart(), wire::EvaluationChunk::Part::VALIDATION);
}

TEST(CoordinatorTest, EvaluationChunksCountOnceAndLostOnesAreLeasedAgain) {
  Harness harness(TwoWorkers());
  ASSERT_TRUE(harness.Start({SmallTrial("a")}).ok());
  harness.RegisterServers();
  FakeWorker w0(harness, "w0");
  FakeWorker w1(harness, "w1");
  w0.GetAssignment();
  w1.GetAssignment();
  w0.Join();
  w1.Join();
  w0.DefineTables();
  w0.DefineTables();
  while (harness.Trial().phase == "training") w0.WorkOnce();
  const Message lost = w1.GetWork();
  ASSERT_TRUE(lost.envelope().getBody().getWork().isEvaluate());
  const auto chunk = lost.envelope().getBody().getWork().getEvaluate();
  EXPECT_EQ(chunk.getChunk(), 0U);
  harness.coordinator().OnProcessExit("w1", harness.now, harness);
  const Message again = w0.GetWork();
  EXPECT_EQ(again.envelope().getBody().getWork().getEvaluate().getChunk(), 0U);
  EXPECT_TRUE(w0.Evaluate(chunk, 1.0).envelope().getBody().isOk());
  EXPECT_TRUE(w0.Evaluate(chunk, 99.0).envelope().getBody().isOk());  // again: not counted
  w0.WorkToTheEnd();
  // 10 examples at 1, 15 at 0.5.
  EXPECT_DOUBLE_EQ(harness.Trial().trial.result.validation.at("top_100"), (10 + 7.5) / 25);
}

// Two chunks of ten and one of five: in each, one positive above all negatives and one below.
TEST(CoordinatorTest, ScoreBinsOfAllChunksGiveOneAuc) {
  Harness harness;
  ASSERT_TRUE(harness.Start({SmallTrial("a")}).ok());
  harness.RegisterServers();
  FakeWorker worker(harness, "w0");
  worker.GetAssignment();
  worker.Join();
  worker.DefineTables();
  worker.DefineTables();
  while (harness.Trial().phase == "training") worker.WorkOnce();
  const auto evaluate = [&](wire::EvaluationChunk::Reader chunk, const std::vector<uint32_t>& bins) {
    return worker.Ask([&](auto body) {
      auto evaluated = body.initEvaluated();
      evaluated.setSession(worker.session);
      evaluated.setEvaluation(chunk.getEvaluation());
      evaluated.setChunk(chunk.getChunk());
      evaluated.setExamples(chunk.getEnd() - chunk.getBegin());
      auto sum = evaluated.initSums(1)[0];
      sum.setName("auc");
      sum.setWeight(4);
      auto counts = sum.initBins(static_cast<uint32_t>(bins.size()));
      for (uint32_t i = 0; i < bins.size(); ++i) {
        counts[i].setBin(bins[i]);
        (i == 1 ? counts[i].setNegatives(2) : counts[i].setPositives(1));
      }
    });
  };
  for (bool refused = false; harness.Trial().phase == "validation";) {
    const Message reply = worker.GetWork();
    const auto work = reply.envelope().getBody().getWork();
    ASSERT_TRUE(work.isEvaluate());
    if (!refused) {
      EXPECT_EQ(ErrorOf(evaluate(work.getEvaluate(), {5, 7, 5})), Code::MALFORMED);
      EXPECT_EQ(ErrorOf(evaluate(work.getEvaluate(), {5, 7, 65536})), Code::MALFORMED);
      refused = true;
    }
    EXPECT_TRUE(evaluate(work.getEvaluate(), {5, 7 + work.getEvaluate().getChunk(), 65535}).envelope().getBody().isOk());
  }
  worker.WorkToTheEnd();
  EXPECT_DOUBLE_EQ(harness.Trial().trial.result.validation.at("auc"), 0.5);
}

TEST(CoordinatorTest, SynchronousChunksHaveFixedRanks) {
  Harness harness(TwoWorkers());
  ASSERT_TRUE(harness.Start({Synchronous("a")}).ok());
  harness.RegisterServers();
  FakeWorker w0(harness, "w0");
  FakeWorker w1(harness, "w1");
  w0.GetAssignment();
  w1.GetAssignment();
  w0.Join();
  w1.Join();
  w0.DefineTables();
  w0.DefineTables();
  for (const uint64_t number : {0U, 2U}) {
    EXPECT_EQ(w0.GetWork().envelope().getBody().getWork().getTrain().getNumber(), number);
  }
  for (const uint64_t number : {1U, 3U}) {
    EXPECT_EQ(w1.GetWork().envelope().getBody().getWork().getTrain().getNumber(), number);
  }
}

TEST(CoordinatorTest, ClocksAreToldToTheOthersAndJoinersStartAtTheSlowest) {
  Harness harness(TwoWorkers());
  ASSERT_TRUE(harness.Start({Synchronous("a")}).ok());
  harness.RegisterServers();
  FakeWorker w0(harness, "w0");
  FakeWorker w1(harness, "w1");
  w0.GetAssignment();
  w1.GetAssignment();
  w0.Join();
  w1.Join();
  w0.DefineTables();
  w0.DefineTables();
  w0.GetWork();
  w1.GetWork();
  harness.TakeUnsolicited("w1");
  const Message reply = w0.Train(0, 10);
  EXPECT_EQ(reply.envelope().getBody().getClocks().getSlowest(), 0U);
  const std::vector<Message> told = harness.TakeUnsolicited("w1");
  ASSERT_EQ(told.size(), 1U);
  const auto clocks = told[0].envelope().getBody().getClocks();
  EXPECT_EQ(clocks.getSession(), w1.session);
  EXPECT_EQ(clocks.getClocks()[0], 1U);
  EXPECT_EQ(clocks.getClocks()[1], 0U);

  // The other one leaves: it holds nobody back, and who takes its place counts from 0 at the slowest clock.
  w0.Train(0, 10);
  harness.coordinator().OnProcessExit("w1", harness.now, harness);
  harness.LetShardsAnswer();
  const std::vector<Message> left = harness.TakeUnsolicited("w0");
  ASSERT_FALSE(left.empty());
  EXPECT_EQ(left.back().envelope().getBody().getClocks().getSlowest(), 2U);
  EXPECT_EQ(left.back().envelope().getBody().getClocks().getClocks()[1], UINT64_MAX);
  FakeWorker joiner(harness, "w2");
  joiner.JoinAndDefine();
  EXPECT_EQ(joiner.rank, 1U);
  const Message joined = joiner.Tick();
  EXPECT_EQ(joined.envelope().getBody().getClocks().getSlowest(), 0U);
  EXPECT_EQ(joined.envelope().getBody().getClocks().getClocks()[0], 0U);
  EXPECT_EQ(harness.Trial().slowest_clock, 2U);
}

TEST(CoordinatorTest, LostServerStartsRunningTrialsAnewAndFinishedOnesStay) {
  Harness harness;
  ASSERT_TRUE(harness.Start({SmallTrial("a"), SmallTrial("b")}).ok());
  harness.RegisterServers();
  FakeWorker worker(harness, "w0");
  worker.JoinAndDefine();
  worker.WorkToTheEnd();
  worker.JoinAndDefine();
  worker.WorkOnce();
  const uint64_t view = harness.coordinator().view().number;
  const uint64_t lost = worker.session;

  harness.coordinator().OnProcessExit("s1", harness.now, harness);
  EXPECT_EQ(ErrorOf(worker.GetWork()), Code::UNKNOWN_SESSION);
  EXPECT_EQ(worker.GetAssignment(), FakeWorker::Answer::kNone);
  EXPECT_EQ(harness.Trial(1).trial.status, TrialStatus::kPending);
  harness.RegisterServer("s1", 2);
  EXPECT_GT(harness.coordinator().view().number, view);
  EXPECT_FALSE(harness.shards.at("shard:s0").sessions.contains(lost));
  EXPECT_THAT(harness.shards.at("shard:s0").tables, IsEmpty());
  worker.JoinAndDefine();
  EXPECT_EQ(worker.trial, 3U);
  worker.WorkToTheEnd();
  EXPECT_EQ(harness.Trial(1).trial.result.examples, 200U);
}

TEST(CoordinatorTest, TrialWhoseServersAreLostTooOftenFails) {
  CoordinatorOptions options = SmallOptions();
  options.max_attempts = 2;
  Harness harness(options);
  ASSERT_TRUE(harness.Start({SmallTrial("a")}).ok());
  harness.RegisterServers();
  FakeWorker worker(harness, "w0");
  for (uint64_t incarnation = 2; incarnation <= 3; ++incarnation) {
    worker.JoinAndDefine();
    harness.RegisterServer("s0", incarnation);
  }
  EXPECT_EQ(harness.Trial().trial.status, TrialStatus::kFailed);
  EXPECT_THAT(harness.Trial().trial.reason, HasSubstr("s0"));
}

TEST(CoordinatorTest, RestartedSchedulerKeepsResultsAndDropsWhatTheOldOneLeft) {
  Harness harness;
  const std::vector<TrialConfig> trials = {SmallTrial("a"), SmallTrial("b")};
  ASSERT_TRUE(harness.Start(trials).ok());
  harness.RegisterServers();
  FakeWorker worker(harness, "w0");
  worker.JoinAndDefine();
  worker.WorkToTheEnd();
  worker.JoinAndDefine();
  worker.WorkOnce();
  const StateStore::Numbers before = harness.store.numbers;
  const uint64_t old_session = worker.session;

  harness.Restart();
  ASSERT_TRUE(harness.Start(trials).ok());
  EXPECT_EQ(harness.Trial(0).trial.status, TrialStatus::kFinished);
  EXPECT_EQ(harness.Trial(0).trial.result.examples, 200U);
  EXPECT_EQ(harness.Trial(1).trial.status, TrialStatus::kPending);
  EXPECT_EQ(ErrorOf(worker.GetWork()), Code::UNKNOWN_INCARNATION);
  harness.RegisterServers();
  EXPECT_GT(harness.coordinator().view().number, before.view);
  EXPECT_EQ(harness.coordinator().view().cluster_id, before.cluster_id);
  EXPECT_THAT(harness.shards.at("shard:s0").tables, IsEmpty());
  worker.Register();
  EXPECT_EQ(ErrorOf(worker.GetWork()), Code::UNKNOWN_SESSION);
  worker.JoinAndDefine();
  EXPECT_GT(worker.session, old_session);
  EXPECT_GT(worker.trial, before.trial);
  worker.WorkToTheEnd();
  EXPECT_TRUE(harness.coordinator().done());
}

std::set<ShardIndex> Serving(const View& view) { return {view.primaries.begin(), view.primaries.end()}; }

TEST(CoordinatorTest, PartitionsAreMovedToServersThatComeAndFromThoseThatGo) {
  Harness harness;
  ASSERT_TRUE(harness.Start({SmallTrial("a")}).ok());
  harness.RegisterServers();
  FakeWorker worker(harness, "w0");
  worker.JoinAndDefine();
  worker.GetWork();
  Coordinator& coordinator = harness.coordinator();
  EXPECT_EQ(ErrorOf(harness.RegisterServer("s2")), Code::CONFLICT);
  ASSERT_TRUE(coordinator.SetServers({"s0", "s1", "s2"}, harness.now, harness).ok());
  harness.LetShardsAnswer();
  harness.Advance(absl::Seconds(2));
  EXPECT_EQ(coordinator.view().number, 1U) << "the new server is not there yet";
  harness.RegisterServer("s2");
  for (int i = 0; i < 20; ++i) harness.Advance(absl::Milliseconds(500));
  EXPECT_EQ(Serving(coordinator.view()), (std::set<ShardIndex>{0, 1, 2}));
  EXPECT_EQ(std::count(coordinator.view().backups.begin(), coordinator.view().backups.end(), kNoShard), 4);
  EXPECT_FALSE(coordinator.IsEmptied("s0"));

  ASSERT_TRUE(coordinator.SetServers({"s2"}, harness.now, harness).ok());
  harness.LetShardsAnswer();
  EXPECT_FALSE(coordinator.IsEmptied("s0"));
  for (int i = 0; i < 20; ++i) harness.Advance(absl::Milliseconds(500));
  EXPECT_EQ(Serving(coordinator.view()), std::set<ShardIndex>{2});
  EXPECT_TRUE(coordinator.IsEmptied("s0") && coordinator.IsEmptied("s1"));
  for (const std::string name : {"s0", "s1"}) coordinator.OnProcessExit(name, harness.now, harness);
  harness.LetShardsAnswer();
  EXPECT_EQ(coordinator.counters().servers_lost, 0U);
  EXPECT_EQ(ErrorOf(harness.RegisterServer("s0", 2)), Code::CONFLICT) << "it has left";

  // Another has its place.
  ASSERT_TRUE(coordinator.SetServers({"s2", "s5"}, harness.now, harness).ok());
  harness.RegisterServer("s5");
  for (int i = 0; i < 20; ++i) harness.Advance(absl::Milliseconds(500));
  EXPECT_EQ(coordinator.view().shards.size(), 3U);
  EXPECT_EQ(Serving(coordinator.view()).size(), 2U);
  EXPECT_EQ(harness.Trial().trial.status, TrialStatus::kRunning);
  EXPECT_EQ(coordinator.counters().sessions_opened, 1U);
}

TEST(CoordinatorTest, ServersThatCannotBeAreRefused) {
  CoordinatorOptions options = SmallOptions();
  options.replication = 2;
  Harness harness(options);
  ASSERT_TRUE(harness.Start({SmallTrial("a")}).ok());
  harness.RegisterServers();
  harness.RegisterWorker("w0");
  const auto refusal = [&](const std::vector<std::string>& servers) {
    return std::string(harness.coordinator().SetServers(servers, harness.now, harness).message());
  };
  EXPECT_THAT(refusal({"s0"}), testing::HasSubstr("1 servers; replication 2 needs 2"));
  EXPECT_THAT(refusal({"s0", "w0"}), testing::HasSubstr("'w0' is the name of a worker"));
  EXPECT_FALSE(harness.coordinator().IsEmptied("s0"));
  EXPECT_FALSE(harness.coordinator().IsEmptied("s1"));
}

TEST(CoordinatorTest, WhatIsWrongIsRefusedAndChangesNothing) {
  Harness harness;
  ASSERT_TRUE(harness.Start({SmallTrial("a")}).ok());
  harness.RegisterServers();
  FakeWorker worker(harness, "w0");
  EXPECT_EQ(ErrorOf(harness.Ask("stranger", 1, [](auto body) { body.initHeartbeat(); })), Code::UNKNOWN_INCARNATION);
  EXPECT_EQ(ErrorOf(harness.RegisterWorker("s0")), Code::CONFLICT);
  EXPECT_EQ(ErrorOf(harness.RegisterServer("s7")), Code::CONFLICT);
  EXPECT_EQ(ErrorOf(harness.RegisterWorker("")), Code::MALFORMED);
  worker.JoinAndDefine();
  worker.GetWork();
  const auto tick = [&](uint64_t session, uint64_t chunk, uint64_t next, double loss) {
    return ErrorOf(worker.Ask([&](auto body) {
      auto message = body.initTick();
      message.setSession(session);
      message.setClock(1);
      message.setExamples(10);
      message.setLossSum(loss);
      auto progress = message.initChunks(1)[0];
      progress.setNumber(chunk);
      progress.setNext(next);
    }));
  };
  EXPECT_EQ(tick(99, 0, 10, 1), Code::UNKNOWN_SESSION);
  EXPECT_EQ(tick(worker.session, 77, 10, 1), Code::MALFORMED);
  EXPECT_EQ(tick(worker.session, 0, 21, 1), Code::MALFORMED);
  EXPECT_EQ(tick(worker.session, 0, 10, std::nan("")), Code::NOT_FINITE);
  EXPECT_EQ(ErrorOf(worker.Ask([](auto body) { body.initPull(); })), Code::WRONG_TYPE);
  EXPECT_EQ(ErrorOf(worker.Ask([&](auto body) { body.initEvaluated().setSession(worker.session); })), Code::MALFORMED);
  EXPECT_EQ(harness.coordinator().counters().rejected.at("malformed"), 4U);
  EXPECT_EQ(harness.coordinator().counters().ticks, 0U);
  EXPECT_EQ(harness.coordinator().counters().examples, 0U);
  worker.Train(0, 20);
  worker.WorkToTheEnd();
  EXPECT_EQ(harness.Trial().trial.status, TrialStatus::kFinished);
}

TEST(CoordinatorTest, BrokenStoreEndsTheSweepBeforeAnythingDependsOnIt) {
  Harness harness;
  ASSERT_TRUE(harness.Start({SmallTrial("a")}).ok());
  harness.store.broken = true;
  harness.coordinator().OnTimer(harness.now, harness);
  for (const char* name : {"s0", "s1"}) {
    OutgoingMessagePtr request = NewRequest({name, 1}, 0, 1, absl::ZeroDuration());
    auto reg = request->envelope().getBody().initRegister();
    reg.setRole(wire::Register::Role::SERVER);
    reg.setName(name);
    reg.initEndpoints(1).set(0, (std::string("shard:") + name).c_str());
    harness.coordinator().OnMessage(*Deliver("route", *request), harness.now, harness);
  }
  EXPECT_THAT(std::string(harness.coordinator().status().message()), HasSubstr("disk full"));
  EXPECT_EQ(harness.coordinator().view().number, 0U);
}

}  // namespace
}  // namespace marquee
