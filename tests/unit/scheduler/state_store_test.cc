#include "scheduler/state_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sqlite3.h>

#include <filesystem>

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

using Progress = std::map<std::string, std::string>;

TEST_F(StateStoreTest, ProgressSurvivesTheProcess) {
  const std::string zeros("a\0b", 3);
  {
    const auto store = Open();
    EXPECT_EQ(*store->LoadProgress(), Progress());
    ASSERT_TRUE(store->SaveProgress("one", "before").ok());
    ASSERT_TRUE(store->SaveProgress("two", zeros).ok());
    ASSERT_TRUE(store->SaveProgress("three", "").ok());
    ASSERT_TRUE(store->SaveProgress("one", "now").ok());
    ASSERT_TRUE(store->ForgetProgress("three").ok());
  }
  EXPECT_EQ(*Open()->LoadProgress(), (Progress{{"one", "now"}, {"two", zeros}}));
  {
    const auto store = Open();
    ASSERT_TRUE(store->ForgetAllProgress().ok());
    EXPECT_EQ(*store->LoadProgress(), Progress());
  }
  EXPECT_EQ(*Open()->LoadProgress(), Progress());
}

TEST_F(StateStoreTest, ProgressIsNothingOnceTheMachineWasStartedAgain) {
  ASSERT_TRUE(Open()->SaveProgress("one", "1").ok());
  sqlite3* database = nullptr;
  ASSERT_EQ(sqlite3_open(folder_.Path("out/progress.db").c_str(), &database), SQLITE_OK);
  EXPECT_EQ(sqlite3_exec(database, "UPDATE progress SET boot = 'before'", nullptr, nullptr, nullptr), SQLITE_OK);
  sqlite3_close(database);
  EXPECT_EQ(*Open()->LoadProgress(), Progress());
}

// A state as a scheduler of version 2 left it: statements of its own, from its own source.
constexpr const char* kVersion2 = R"sql(
CREATE TABLE numbers (one INTEGER PRIMARY KEY CHECK (one = 1),
  cluster_id INTEGER, view INTEGER, session INTEGER, table_number INTEGER, trial INTEGER);
CREATE TABLE views (number INTEGER PRIMARY KEY, shards TEXT, primaries TEXT);
CREATE TABLE data (one INTEGER PRIMARY KEY CHECK (one = 1), checksum INTEGER);
CREATE TABLE trials (position INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT UNIQUE, spec TEXT, status INTEGER, reason TEXT, result TEXT);
INSERT INTO numbers VALUES (1, 77, 2, 3, 4, 5);
INSERT INTO views VALUES (2, 'tcp://a:1 tcp://b:2', '0 1 0 1');
INSERT INTO data VALUES (1, 2748);
INSERT INTO trials (name, spec, status, reason, result) VALUES ('a', 's', STATUS, '',
  '{"validation":{"top_100":0.25},"test":{},"epoch_losses":[2.5],"seconds":1,"examples_per_second":2,"examples":3,
    "repeated_examples":0,"validations":[],"epochs":1,"stopped":"","kept":false}');
PRAGMA user_version=2;
)sql";

class OldStateTest : public StateStoreTest {
 protected:
  void Write(const std::string& sql) {
    std::filesystem::create_directories(folder_.Path("out"));
    sqlite3* database = nullptr;
    ASSERT_EQ(sqlite3_open(folder_.Path("out/state.db").c_str(), &database), SQLITE_OK);
    char* error = nullptr;
    EXPECT_EQ(sqlite3_exec(database, sql.c_str(), nullptr, nullptr, &error), SQLITE_OK) << error;
    sqlite3_free(error);
    sqlite3_close(database);
  }
  void WriteVersion2() {
    std::string sql = kVersion2;
    sql.replace(sql.find("STATUS"), 6, std::to_string(static_cast<int>(TrialStatus::kFinished)));
    Write(sql);
  }
  std::string Refusal() {
    const auto store = SqliteStateStore::Open(folder_.Path("out"));
    EXPECT_EQ(store.status().code(), absl::StatusCode::kFailedPrecondition) << store.status();
    return std::string(store.status().message());
  }
};

TEST_F(OldStateTest, IsTakenOverAndACopyStays) {
  WriteVersion2();
  for (int i = 0; i < 2; ++i) {
    const auto store = Open();
    ASSERT_NE(store, nullptr);
    EXPECT_TRUE(store->BindData(2748).ok());
    EXPECT_EQ(store->LoadNumbers()->cluster_id, 77U);
    const std::vector<StateStore::Trial> trials = *store->LoadTrials();
    ASSERT_EQ(trials.size(), 1U);
    EXPECT_EQ(trials[0].status, TrialStatus::kFinished);
    EXPECT_EQ(trials[0].result.validation.at("top_100"), 0.25);
    EXPECT_TRUE(store->SaveView(MakeEvenView(3, 77, {"tcp://a:1", "tcp://b:2"}, 4)).ok()) << "has the new columns";
  }
  // Whoever goes back puts the copy in its place.
  std::filesystem::rename(folder_.Path("out/state.db.version-2"), folder_.Path("out/state.db"));
  EXPECT_EQ(Open()->LoadNumbers()->view, 2U);
}

TEST_F(OldStateTest, OtherVersionsAreRefusedWithBoth) {
  Write("PRAGMA user_version=99");
  EXPECT_THAT(Refusal(),
              testing::AllOf(HasSubstr("state.db"), HasSubstr("version 99"), HasSubstr("reads 2 to 3"), HasSubstr("newer")));
  Write("PRAGMA user_version=1");
  EXPECT_THAT(Refusal(), testing::AllOf(HasSubstr("version 1;"), HasSubstr("reads 2 to 3"), HasSubstr("reads both")));
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
