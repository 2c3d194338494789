#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/scheduler/coordinator_testing.h"

namespace marquee {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::SizeIs;

// A trial of ten chunks of 20 examples in two epochs, of which the worker has trained `chunks`.
void TrainSome(Harness& harness, FakeWorker& worker, uint64_t chunks) {
  worker.JoinAndDefine();
  for (uint64_t number = 0; number < chunks; ++number) {
    ASSERT_TRUE(worker.GetWork().envelope().getBody().getWork().isTrain());
    worker.Train(number, 20);
    worker.Tick();
  }
  harness.LetShardsAnswer();
}

TEST(CoordinatorCheckpointTest, PausesUntilAllThatWasLeasedIsTrained) {
  Harness harness;
  ASSERT_TRUE(harness.Start({SmallTrial("a")}).ok());
  harness.RegisterServers();
  FakeWorker worker(harness, "w0");
  TrainSome(harness, worker, 1);
  EXPECT_TRUE(worker.GetWork().envelope().getBody().getWork().isTrain());
  harness.coordinator().RequestCheckpoint();
  harness.Advance(absl::Milliseconds(1));
  EXPECT_TRUE(worker.GetWork().envelope().getBody().getWork().isWait());
  EXPECT_THAT(harness.checkpoints.made, SizeIs(0));
  worker.Train(1, 20);
  worker.Tick();
  harness.LetShardsAnswer();
  ASSERT_THAT(harness.checkpoints.made, SizeIs(1));
  EXPECT_THAT(harness.checkpoints.made[0].files, SizeIs(2));
  ASSERT_THAT(harness.checkpoints.made[0].trials, SizeIs(1));
  EXPECT_EQ(harness.checkpoints.made[0].trials[0].name, "a");
  for (const auto& [endpoint, shard] : harness.shards) EXPECT_THAT(shard.cut, SizeIs(2));
  EXPECT_EQ(worker.GetWork().envelope().getBody().getWork().getTrain().getNumber(), 2U);
  EXPECT_EQ(harness.coordinator().counters().checkpoints, 1U);
  EXPECT_EQ(harness.coordinator().counters().checkpoints_failed, 0U);
}

TEST(CoordinatorCheckpointTest, WorkerThatDoesNotComeToAPauseEndsTheAttemptAlone) {
  Harness harness;
  ASSERT_TRUE(harness.Start({SmallTrial("a")}).ok());
  harness.RegisterServers();
  FakeWorker worker(harness, "w0");
  TrainSome(harness, worker, 1);
  worker.GetWork();
  harness.coordinator().RequestCheckpoint();
  for (int second = 0; second <= 10; ++second) {
    harness.Advance(absl::Seconds(1));
    worker.Tick();  // is alive
    for (const std::string& server : harness.options().servers) harness.RegisterServer(server);
  }
  EXPECT_EQ(harness.coordinator().counters().checkpoints_failed, 1U);
  EXPECT_THAT(harness.checkpoints.made, SizeIs(0));
  EXPECT_EQ(worker.GetWork().envelope().getBody().getWork().getTrain().getNumber(), 2U);
}

TEST(CoordinatorCheckpointTest, AgeIsThatOfTrainingWhichNoCheckpointHolds) {
  Harness harness;
  ASSERT_TRUE(harness.Start({SmallTrial("a")}).ok());
  harness.RegisterServers();
  harness.Advance(absl::Seconds(3));
  EXPECT_EQ(harness.coordinator().checkpoint_age(harness.now), absl::ZeroDuration());
  FakeWorker worker(harness, "w0");
  TrainSome(harness, worker, 1);
  harness.Advance(absl::Seconds(3));
  EXPECT_EQ(harness.coordinator().checkpoint_age(harness.now), absl::Seconds(3));
  harness.coordinator().RequestCheckpoint();
  harness.Advance(absl::Milliseconds(1));
  ASSERT_THAT(harness.checkpoints.made, SizeIs(1));
  harness.Advance(absl::Seconds(2));
  EXPECT_EQ(harness.coordinator().checkpoint_age(harness.now), absl::Seconds(2));
  for (const std::string& server : harness.options().servers) harness.RegisterServer(server);
  worker.WorkToTheEnd();
  EXPECT_EQ(harness.coordinator().checkpoint_age(harness.now), absl::ZeroDuration());
}

TEST(CoordinatorCheckpointTest, ServerLostWhileFilesAreWrittenLeavesNone) {
  Harness harness;
  ASSERT_TRUE(harness.Start({SmallTrial("a")}).ok());
  harness.RegisterServers();
  FakeWorker worker(harness, "w0");
  TrainSome(harness, worker, 1);
  harness.shards.at("shard:s1").loses_files = true;
  harness.coordinator().RequestCheckpoint();
  harness.Advance(absl::Milliseconds(1));
  EXPECT_TRUE(worker.GetWork().envelope().getBody().getWork().isTrain()) << "training goes on while files are written";
  harness.coordinator().OnProcessExit("s1", harness.now, harness);
  harness.Advance(absl::Milliseconds(1));
  harness.RegisterServer("s1", 2);
  harness.Advance(absl::Milliseconds(1));
  EXPECT_THAT(harness.checkpoints.made, SizeIs(0));
  EXPECT_EQ(harness.coordinator().counters().checkpoints_failed, 1U);
}

TEST(CoordinatorCheckpointTest, TrialGoesOnInNewTablesAfterARestart) {
  Harness harness;
  ASSERT_TRUE(harness.Start({SmallTrial("a")}).ok());
  harness.RegisterServers();
  {
    FakeWorker worker(harness, "w0");
    TrainSome(harness, worker, 3);
    harness.coordinator().RequestCheckpoint();
    harness.Advance(absl::Milliseconds(1));
    ASSERT_THAT(harness.checkpoints.made, SizeIs(1));
    worker.GetWork();
    worker.Train(3, 20);  // is lost
    worker.Tick();
  }
  harness.Restart();
  ASSERT_TRUE(harness.Start({SmallTrial("a")}).ok());
  harness.RegisterServers();
  FakeWorker worker(harness, "w0", 2);
  worker.JoinAndDefine();
  for (const auto& [endpoint, shard] : harness.shards) {
    ASSERT_THAT(shard.restored, SizeIs(2));
    for (const auto& [from, to] : shard.restored) EXPECT_EQ(to, from + 2);
  }
  EXPECT_EQ(harness.coordinator().counters().trials_restored, 1U);
  EXPECT_EQ(worker.GetWork().envelope().getBody().getWork().getTrain().getNumber(), 3U);
  worker.Train(3, 20);
  worker.Tick();
  worker.WorkToTheEnd();
  EXPECT_EQ(harness.Trial().trial.status, TrialStatus::kFinished);
  EXPECT_EQ(harness.Trial().trial.result.examples, 200U);
  EXPECT_EQ(harness.Trial().trial.result.repeated_examples, 0U);
  EXPECT_THAT(harness.Trial().trial.result.epoch_losses, ElementsAre(1.0, 1.0));
}

TEST(CoordinatorCheckpointTest, DamagedOneIsRefusedAndTheOneBeforeIsUsed) {
  Harness harness;
  ASSERT_TRUE(harness.Start({SmallTrial("a")}).ok());
  harness.RegisterServers();
  {
    FakeWorker worker(harness, "w0");
    TrainSome(harness, worker, 1);
    harness.coordinator().RequestCheckpoint();
    harness.Advance(absl::Milliseconds(1));
    worker.GetWork();
    worker.Train(1, 20);
    worker.Tick();
    harness.coordinator().RequestCheckpoint();
    harness.Advance(absl::Milliseconds(1));
    ASSERT_THAT(harness.checkpoints.made, SizeIs(2));
  }
  harness.Restart();
  ASSERT_TRUE(harness.Start({SmallTrial("a")}).ok());
  harness.shards.at("shard:s1").damaged = {2};
  harness.RegisterServers();
  FakeWorker worker(harness, "w0", 2);
  worker.Join();
  worker.DefineTables();  // and the trial finds out
  worker.JoinAndDefine();
  EXPECT_THAT(harness.checkpoints.refused.at(2), HasSubstr("flipped"));
  EXPECT_EQ(worker.GetWork().envelope().getBody().getWork().getTrain().getNumber(), 1U);
}

TEST(CoordinatorCheckpointTest, NobodyIsWokenForACheckpointOfNothing) {
  CoordinatorOptions options = SmallOptions();
  options.checkpoint_every = absl::Seconds(1);
  Harness harness(options);
  ASSERT_TRUE(harness.Start({SmallTrial("a"), SmallTrial("b")}).ok());
  harness.RegisterServers();
  FakeWorker worker(harness, "w0");
  worker.JoinAndDefine();
  worker.WorkToTheEnd();
  worker.Join();  // of the next trial, which has no tables yet
  harness.Advance(absl::Seconds(2));
  EXPECT_GT(harness.coordinator().next_timer(), harness.now) << "there is nothing to save";
  worker.JoinAndDefine();
  worker.GetWork();
  EXPECT_LE(harness.coordinator().next_timer(), harness.now + absl::Seconds(10));
}

TEST(CoordinatorCheckpointTest, TrialThatEndsDuringTheCutIsNotInIt) {
  Harness harness;
  ASSERT_TRUE(harness.Start({SmallTrial("a"), SmallTrial("b")}).ok());
  harness.RegisterServers();
  FakeWorker ends(harness, "w0");
  FakeWorker trains(harness, "w1");
  ends.JoinAndDefine();
  trains.JoinAndDefine();
  ASSERT_TRUE(trains.GetWork().envelope().getBody().getWork().isTrain());
  trains.Train(0, 20);
  trains.Tick();
  for (int i = 0; i < 100 && harness.Trial().phase != "validation"; ++i) ASSERT_TRUE(ends.WorkOnce());
  harness.shards.at("shard:s1").loses_cuts = true;
  harness.coordinator().RequestCheckpoint();
  harness.Advance(absl::Milliseconds(1));
  ends.WorkToTheEnd();
  EXPECT_EQ(harness.checkpoints.attempts, 1U);
  EXPECT_THAT(harness.checkpoints.made, SizeIs(0));
  harness.shards.at("shard:s1").loses_cuts = false;
  harness.Advance(absl::Seconds(1));
  harness.Advance(absl::Seconds(1));
  ASSERT_THAT(harness.checkpoints.made, SizeIs(1));
  ASSERT_THAT(harness.checkpoints.made[0].trials, SizeIs(1));
  EXPECT_EQ(harness.checkpoints.made[0].trials[0].name, "b");
}

// A trial that has trained one chunk and has a checkpoint of that, when the scheduler is started again.
void RestartAfterACheckpoint(Harness& harness) {
  ASSERT_TRUE(harness.Start({SmallTrial("a")}).ok());
  harness.RegisterServers();
  {
    FakeWorker worker(harness, "w0");
    TrainSome(harness, worker, 1);
    harness.coordinator().RequestCheckpoint();
    harness.Advance(absl::Milliseconds(1));
    ASSERT_THAT(harness.checkpoints.made, SizeIs(1));
  }
  harness.Restart();
  ASSERT_TRUE(harness.Start({SmallTrial("a")}).ok());
}

TEST(CoordinatorCheckpointTest, TrialWaitsForACheckpointThatCannotBeRead) {
  Harness harness;
  RestartAfterACheckpoint(harness);
  harness.checkpoints.unreadable = true;
  harness.RegisterServers();
  FakeWorker worker(harness, "w0", 2);
  worker.Register();
  EXPECT_EQ(worker.GetAssignment(), FakeWorker::Answer::kNone);
  EXPECT_EQ(harness.Trial().phase, "pending");
  EXPECT_THAT(harness.checkpoints.refused, SizeIs(0));
  harness.checkpoints.unreadable = false;
  EXPECT_LE(harness.coordinator().next_timer(), harness.now + absl::Seconds(10));
  harness.Advance(absl::Seconds(10));
  FakeWorker again(harness, "w0", 3);
  again.JoinAndDefine();
  EXPECT_EQ(again.GetWork().envelope().getBody().getWork().getTrain().getNumber(), 1U);
}

TEST(CoordinatorCheckpointTest, ShardThatCannotReadIsAskedAgainAndNothingIsRefused) {
  Harness harness;
  RestartAfterACheckpoint(harness);
  harness.shards.at("shard:s1").cannot_read = true;
  harness.RegisterServers();
  FakeWorker worker(harness, "w0", 2);
  worker.Join();
  worker.DefineTables();  // and the trial finds out
  EXPECT_THAT(harness.checkpoints.could_not_read.at(1), HasSubstr("permission denied"));
  EXPECT_THAT(harness.checkpoints.refused, SizeIs(0));
  EXPECT_EQ(harness.Trial().phase, "pending");
  harness.shards.at("shard:s1").cannot_read = false;
  harness.Advance(absl::Seconds(10));
  FakeWorker again(harness, "w0", 3);
  harness.RegisterServers();
  again.JoinAndDefine();
  EXPECT_EQ(again.GetWork().envelope().getBody().getWork().getTrain().getNumber(), 1U);
}

TEST(CoordinatorCheckpointTest, TrialWhoseCheckpointStaysUnreadableFailsAndSaysWhy) {
  Harness harness;
  RestartAfterACheckpoint(harness);
  harness.checkpoints.unreadable = true;
  harness.RegisterServers();
  FakeWorker worker(harness, "w0", 2);
  for (int second = 0; second < 400 && harness.Trial().phase == "pending"; ++second) {
    worker.Register();  // is alive, as are the servers
    EXPECT_EQ(worker.GetAssignment(), FakeWorker::Answer::kNone);
    for (const std::string& server : harness.options().servers) harness.RegisterServer(server);
    harness.Advance(absl::Seconds(1));
  }
  EXPECT_EQ(harness.Trial().phase, "failed");
  EXPECT_THAT(harness.Trial().trial.reason, HasSubstr("could not be read"));
  EXPECT_THAT(harness.Trial().trial.reason, HasSubstr("c/MANIFEST: permission denied"));
}

}  // namespace
}  // namespace marquee
