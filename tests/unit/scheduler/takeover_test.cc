// A scheduler that takes over from one that died, with servers and workers that live on.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "scheduler/saved_progress.h"
#include "tests/unit/scheduler/coordinator_testing.h"

namespace marquee {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;
using Code = wire::Error::Code;

CoordinatorOptions Options() {
  CoordinatorOptions options = SmallOptions();
  options.take_over = true;
  return options;
}

class TakeoverTest : public testing::Test {
 protected:
  TakeoverTest() : harness_(Options()), worker_(Begin(), "w0") { worker_.JoinAndDefine(); }

  Harness& Begin() {
    EXPECT_TRUE(harness_.Start({SmallTrial("a")}).ok());
    harness_.RegisterServers();
    return harness_;
  }
  // The scheduler dies and another one begins; nobody else notices.
  void Replace() {
    harness_.Restart();
    ASSERT_TRUE(harness_.Start({SmallTrial("a")}).ok());
    harness_.Advance(absl::ZeroDuration());
  }
  uint64_t TakenOver() { return harness_.coordinator().counters().trials_taken_over; }

  Harness harness_;
  FakeWorker worker_;
};

TEST_F(TakeoverTest, WorkersGoOnInTheirSessions) {
  worker_.WorkOnce();
  worker_.GetWork();
  worker_.Train(1, 10);
  const uint64_t session = worker_.session;
  const uint64_t view = harness_.coordinator().view().number;
  Replace();
  EXPECT_EQ(TakenOver(), 1U);
  EXPECT_GT(harness_.coordinator().view().number, view);
  worker_.Train(1, 10);
  worker_.WorkToTheEnd();
  EXPECT_EQ(worker_.session, session);
  EXPECT_EQ(harness_.coordinator().counters().sessions_opened, 0U);
  const StateStore::Trial& trial = harness_.store.trials.at("a");
  EXPECT_EQ(trial.status, TrialStatus::kFinished);
  EXPECT_EQ(trial.result.examples, 200U);
  EXPECT_EQ(trial.result.repeated_examples, 0U);
  EXPECT_THAT(trial.result.epoch_losses, ElementsAre(1, 1));
  EXPECT_THAT(harness_.shards.at("shard:s0").tables, IsEmpty());
  EXPECT_THAT(harness_.store.progress, testing::Not(testing::Contains(testing::Key("trial/a"))));
}

TEST_F(TakeoverTest, AChunkWhoseAnswerWasLostIsGivenAgain) {
  worker_.WorkOnce();
  const uint64_t asked = 1000;
  worker_.GetWork(asked);
  ASSERT_THAT(worker_.held, SizeIs(1));
  const auto lost = *worker_.held.begin();
  worker_.held.clear();
  --worker_.taken;
  for (const uint64_t request : {asked, asked + 1}) {
    Replace();
    worker_.GetWork(request);
    ASSERT_THAT(worker_.held, ElementsAre(lost)) << request;
    worker_.held.clear();
    --worker_.taken;
  }
  Replace();  // which knows nothing of those requests
  worker_.held.insert(lost);
  ++worker_.taken;
  worker_.Train(lost.first, lost.second.second - lost.second.first);
  worker_.WorkToTheEnd();
  EXPECT_EQ(harness_.store.trials.at("a").result.examples, 200U);
}

TEST_F(TakeoverTest, AWorkerWithMoreChunksThanAreKnownLosesItsSession) {
  worker_.taken = 5;
  EXPECT_EQ(ErrorOf(worker_.GetWork()), Code::UNKNOWN_SESSION);
}

TEST_F(TakeoverTest, WhoIsNotHeardForOneLeaseIsLost) {
  worker_.WorkOnce();
  worker_.GetWork();
  Replace();
  FakeWorker other(harness_, "w1");
  EXPECT_EQ(other.GetAssignment(), FakeWorker::Answer::kNone);
  harness_.Advance(harness_.options().lease / 2);
  harness_.RegisterServers();
  other.Register();
  EXPECT_EQ(other.GetAssignment(), FakeWorker::Answer::kNone);
  harness_.Advance(harness_.options().lease / 2 + absl::Milliseconds(1));
  EXPECT_EQ(harness_.coordinator().counters().workers_lost, 1U);
  other.JoinAndDefine();
  other.WorkToTheEnd();
  const TrialResult& result = harness_.store.trials.at("a").result;
  EXPECT_EQ(result.examples, 200U);
  EXPECT_EQ(result.repeated_examples, 20U);
}

TEST_F(TakeoverTest, ARunInValidationIsValidatedAnew) {
  while (harness_.Trial().phase != "validation") worker_.WorkOnce();
  const Message before = worker_.GetWork();
  const auto chunk = before.envelope().getBody().getWork().getEvaluate();
  Replace();
  // Of the evaluation that the scheduler before had begun.
  EXPECT_TRUE(worker_.Evaluate(chunk).envelope().getBody().isOk());
  worker_.WorkToTheEnd();
  EXPECT_EQ(harness_.store.trials.at("a").result.validation, (std::map<std::string, double>{{"top_100", 0.5}}));
}

TEST_F(TakeoverTest, AnEvaluationChunkThatALateCopyWasGivenIsGivenAgain) {
  while (harness_.Trial().phase != "validation") worker_.WorkOnce();
  Replace();
  worker_.WorkOnce();  // at the barrier, once more
  worker_.GetWork();   // of which the worker wants no answer any more
  worker_.WorkToTheEnd();
  EXPECT_EQ(harness_.store.trials.at("a").status, TrialStatus::kFinished);
}

TEST_F(TakeoverTest, AResultIsKeptThoughTablesWereNotYetDropped) {
  for (auto& [endpoint, shard] : harness_.shards) shard.loses_closing = true;
  for (int i = 0; i < 1000 && harness_.Trial().phase != "finished"; ++i) worker_.WorkOnce();
  ASSERT_EQ(harness_.Trial().trial.status, TrialStatus::kRunning);
  Replace();
  EXPECT_EQ(TakenOver(), 0U);
  EXPECT_EQ(harness_.store.trials.at("a").status, TrialStatus::kFinished);
  EXPECT_TRUE(harness_.coordinator().done());
}

TEST_F(TakeoverTest, AnOlderViewIsNotTakenOver) {
  worker_.WorkOnce();
  ++harness_.store.numbers.view;  // another scheduler, which notes nothing, was at work in between
  Replace();
  EXPECT_EQ(TakenOver(), 0U);
  EXPECT_THAT(harness_.store.progress, IsEmpty());
  EXPECT_EQ(ErrorOf(worker_.GetWork()), Code::UNKNOWN_INCARNATION);
}

TEST_F(TakeoverTest, AServerThatIsAnotherProcessBeginsTheTrialAnew) {
  worker_.WorkOnce();
  Replace();
  harness_.RegisterServer("s1", 2);
  EXPECT_EQ(harness_.Trial().trial.status, TrialStatus::kPending);
  worker_.Register();
  EXPECT_EQ(ErrorOf(worker_.GetWork()), Code::UNKNOWN_SESSION);
  worker_.JoinAndDefine();
  worker_.WorkToTheEnd();
  EXPECT_EQ(harness_.store.trials.at("a").result.examples, 200U);
}

TEST_F(TakeoverTest, WithoutNotesTheSweepGoesOnAndNobodyTakesOver) {
  harness_.store.no_notes = true;
  worker_.WorkOnce();
  EXPECT_TRUE(harness_.coordinator().status().ok());
  EXPECT_THAT(harness_.store.progress, IsEmpty());
  harness_.store.no_notes = false;
  worker_.WorkOnce();
  EXPECT_THAT(harness_.store.progress, IsEmpty());
  Replace();
  EXPECT_EQ(TakenOver(), 0U);
}

TEST_F(TakeoverTest, NotesThatAreDamagedCountForNothing) {
  worker_.WorkOnce();
  harness_.store.progress.at("trial/a").resize(24);
  Replace();
  EXPECT_EQ(TakenOver(), 0U);
  EXPECT_THAT(harness_.store.progress, IsEmpty());
}

TEST(SavedProgressTest, CutShortItIsRefused) {
  SavedTrial trial;
  trial.name = "a";
  trial.state = "{}";
  trial.sessions.resize(2);
  trial.sessions[1].held = {1, 2, 3};
  trial.clocks.ranks.resize(2);
  const std::string bytes = trial.ToBytes();
  ASSERT_TRUE(SavedTrial::FromBytes(bytes).ok());
  EXPECT_THAT(SavedTrial::FromBytes(bytes)->sessions[1].held, ElementsAre(1, 2, 3));
  for (size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_FALSE(SavedTrial::FromBytes(bytes.substr(0, size)).ok()) << size;
  }
}

}  // namespace
}  // namespace marquee
