#include "scheduler/state_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/common/temporary_folder.h"

namespace marquee {
namespace {

using testing::HasSubstr;

class StateStoreTest : public testing::Test {
 protected:
  std::unique_ptr<SqliteStateStore> Open() {
    absl::StatusOr<std::unique_ptr<SqliteStateStore>> store = SqliteStateStore::Open(folder_.Path("out"));
    EXPECT_TRUE(store.ok()) << store.status();
    return store.ok() ? *std::move(store) : nullptr;
  }

  TemporaryFolder folder_;
};

TEST_F(StateStoreTest, BeginsEmpty) {
  EXPECT_FALSE(SqliteStateStore::HasState(folder_.Path("out")));
  const auto store = Open();
  EXPECT_TRUE(SqliteStateStore::HasState(folder_.Path("out")));
  EXPECT_EQ(store->LoadNumbers()->cluster_id, 0U);
  EXPECT_TRUE(store->LoadTrials()->empty());
}

TEST_F(StateStoreTest, KeepsWhatWasSaved) {
  StateStore::Trial trial{.name = "a", .spec = "name: \"a\"\n", .status = TrialStatus::kFinished, .reason = "", .result = {}};
  trial.result.validation = {{"top_100", 1.0 / 3.0}};
  trial.result.test = {{"rmse", 0.1}};
  trial.result.epoch_losses = {2.5, 1e-300};
  trial.result.seconds = 12.5;
  trial.result.examples_per_second = 1e6;
  trial.result.examples = 1ULL << 60U;
  trial.result.repeated_examples = 3;
  trial.result.validations = {{.epoch = 2, .metrics = {{"top_100", 0.25}}}, {.epoch = 4, .metrics = {{"top_100", 1.0 / 3.0}}}};
  trial.result.epochs = 4;
  trial.result.stopped = "early_stopping";
  trial.result.kept = true;
  {
    const auto store = Open();
    ASSERT_TRUE(
        store->SaveNumbers({.cluster_id = 0xffffffffffffffffU, .view = 2, .session = 3, .table = 0xffffffffU, .trial = 5})
            .ok());
    ASSERT_TRUE(
        store->SaveNumbers({.cluster_id = 0xfffffffffffffffeU, .view = 2, .session = 4, .table = 0xfffffffeU, .trial = 5})
            .ok());
    ASSERT_TRUE(store->SaveView(MakeEvenView(2, 7, {"tcp://a:1", "tcp://b:2"}, 4)).ok());
    StateStore::Trial pending{.name = "b", .spec = "s", .status = TrialStatus::kPending, .reason = "", .result = {}};
    StateStore::Trial early = trial;
    early.status = TrialStatus::kPending;
    ASSERT_TRUE(store->SaveTrial(early).ok());
    ASSERT_TRUE(store->SaveTrial(pending).ok());
    ASSERT_TRUE(store->SaveTrial(trial).ok());
  }
  const auto store = Open();
  const StateStore::Numbers numbers = *store->LoadNumbers();
  EXPECT_EQ(numbers.cluster_id, 0xfffffffffffffffeU);
  EXPECT_EQ(numbers.session, 4U);
  EXPECT_EQ(numbers.table, 0xfffffffeU);
  const std::vector<StateStore::Trial> trials = *store->LoadTrials();
  ASSERT_EQ(trials.size(), 2U);
  EXPECT_EQ(trials[0].name, "a");
  EXPECT_EQ(trials[0].spec, trial.spec);
  EXPECT_EQ(trials[0].status, TrialStatus::kFinished);
  EXPECT_EQ(trials[0].result.validation, trial.result.validation);
  EXPECT_EQ(trials[0].result.test, trial.result.test);
  EXPECT_EQ(trials[0].result.epoch_losses, trial.result.epoch_losses);
  EXPECT_EQ(trials[0].result.examples, trial.result.examples);
  ASSERT_EQ(trials[0].result.validations.size(), 2U);
  EXPECT_EQ(trials[0].result.validations[1].epoch, 4U);
  EXPECT_EQ(trials[0].result.validations[1].metrics, trial.result.validations[1].metrics);
  EXPECT_EQ(trials[0].result.epochs, 4U);
  EXPECT_EQ(trials[0].result.stopped, "early_stopping");
  EXPECT_TRUE(trials[0].result.kept);
  EXPECT_EQ(trials[1].status, TrialStatus::kPending);
}

TEST_F(StateStoreTest, SecondSchedulerIsRefusedUntilTheFirstIsGone) {
  auto store = Open();
  const auto second = SqliteStateStore::Open(folder_.Path("out"));
  EXPECT_EQ(second.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(second.status().message()), HasSubstr("another scheduler"));
  store.reset();
  EXPECT_NE(Open(), nullptr);
}

TEST_F(StateStoreTest, OtherDataFileIsRefused) {
  EXPECT_TRUE(Open()->BindData(0xabc).ok());
  EXPECT_TRUE(Open()->BindData(0xabc).ok());
  const absl::Status other = Open()->BindData(0xdef);
  EXPECT_THAT(std::string(other.message()), testing::AllOf(HasSubstr("0abc"), HasSubstr("0def")));
}

TEST_F(StateStoreTest, FileThatIsNoDatabaseIsAnError) {
  std::filesystem::create_directories(folder_.Path("out"));
  folder_.Write("out/state.db", std::string(4096, 'x'));
  const auto store = SqliteStateStore::Open(folder_.Path("out"));
  EXPECT_THAT(std::string(store.status().message()), HasSubstr("state.db"));
}

}  // namespace
}  // namespace marquee
