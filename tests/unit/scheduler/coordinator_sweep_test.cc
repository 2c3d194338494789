// What a sweep does with trials beyond training them to their end: validations on the way, stopping, repeating, keeping,
// starting from what was kept.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/scheduler/coordinator_testing.h"

namespace marquee {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

using Curves = std::map<std::string, std::vector<double>>;  // validation after each epoch, by trial

TrialConfig Trial(const std::string& name, int epochs, ValidationConfig validation = {}) {
  TrialConfig config = SmallTrial(name);
  config.model.epochs = epochs;
  config.validation = validation;
  return config;
}

TrialConfig Repeating(const std::string& name, const std::string& first, int epochs) {
  TrialConfig config = Trial(name, epochs);
  config.repeats = first;
  config.seed = 2;
  return config;
}

// One worker that runs the whole sweep. Its scores are those of the curves, or 0.5.
class Sweep {
 public:
  explicit Sweep(CoordinatorOptions options, Curves curves = {}) : harness(std::move(options)), curves_(std::move(curves)) {}

  absl::Status Run(const std::vector<TrialConfig>& trials) {
    if (absl::Status status = harness.Start(trials); !status.ok()) return status;
    if (harness.coordinator().done()) return absl::OkStatus();
    harness.RegisterServers();
    FakeWorker worker(harness, "w0", ++incarnation_);
    worker.score = [this] { return Score(); };
    worker.trial_may_fail = true;
    for (int i = 0; i < 1000 && !harness.coordinator().done(); ++i) {
      if (worker.GetAssignment() != FakeWorker::Answer::kTrial) continue;
      if (!worker.DefineTables().envelope().getBody().isTables()) worker.DefineTables();
      FillTables();
      worker.WorkToTheEnd();
    }
    EXPECT_TRUE(harness.coordinator().done());
    return absl::OkStatus();
  }

  const StateStore::Trial& Stored(const std::string& name) { return harness.store.trials.at(name); }
  std::vector<uint32_t> ValidatedAt(const std::string& name) {
    std::vector<uint32_t> epochs;
    for (const auto& validation : Stored(name).result.validations) epochs.push_back(validation.epoch);
    return epochs;
  }

  Harness harness;

 private:
  const Coordinator::TrialView* Running() {
    views_ = harness.coordinator().trials(harness.now);
    const auto found =
        std::find_if(views_.begin(), views_.end(), [](const auto& view) { return view.trial.status == TrialStatus::kRunning; });
    return found == views_.end() ? nullptr : &*found;
  }
  double Score() {
    const Coordinator::TrialView* view = Running();
    const auto curve = curves_.find(view->trial.name);
    if (curve == curves_.end()) return 0.5;
    const uint32_t epochs = view->epoch_progress == 1 ? view->epoch + 1 : view->epoch;
    return curve->second.at(epochs - 1);
  }
  // Three rows in the first table of each shard.
  void FillTables() {
    for (auto& [endpoint, shard] : harness.shards) {
      for (Id id = 0; id < 3 && !shard.tables.empty(); ++id) {
        const Id of_shard = id * 2 + (endpoint.back() == '1' ? 1 : 0);
        shard.rows[*shard.tables.begin()].try_emplace(of_shard, std::vector<float>(8, static_cast<float>(of_shard)));
      }
    }
  }

  Curves curves_;
  uint64_t incarnation_ = 0;
  std::vector<Coordinator::TrialView> views_;
};

TEST(ValidationTest, ComesEveryFewEpochsAndAfterTheLast) {
  Sweep sweep(SmallOptions(), {{"a", {0.1, 0.2, 0.3, 0.4, 0.35}}});
  ASSERT_TRUE(sweep.Run({Trial("a", 5, {.every = 2})}).ok());
  const TrialResult& result = sweep.Stored("a").result;
  EXPECT_THAT(sweep.ValidatedAt("a"), ElementsAre(2, 4, 5));
  EXPECT_DOUBLE_EQ(result.validations[0].metrics.at("top_100"), 0.2);
  EXPECT_DOUBLE_EQ(result.validations[1].metrics.at("top_100"), 0.4);
  EXPECT_DOUBLE_EQ(result.validation.at("top_100"), 0.35);
  EXPECT_EQ(result.epoch_losses.size(), 5U);
  EXPECT_EQ(result.epochs, 5U);
  EXPECT_EQ(result.examples, 500U);
  EXPECT_EQ(result.stopped, "");
  EXPECT_EQ(result.test.size(), 1U);
}

TEST(ValidationTest, NoChunkOfALaterEpochIsLeasedBeforeItIsDone) {
  Harness harness;
  ASSERT_TRUE(harness.Start({Trial("a", 2, {.every = 1})}).ok());
  harness.RegisterServers();
  FakeWorker worker(harness, "w0");
  worker.JoinAndDefine();
  for (uint64_t chunk = 0; chunk < 5; ++chunk) {
    ASSERT_TRUE(worker.GetWork().envelope().getBody().getWork().isTrain());
    if (chunk < 4) worker.Train(chunk, 20);
  }
  EXPECT_TRUE(worker.GetWork().envelope().getBody().getWork().isWait());
  worker.Train(4, 20);
  ASSERT_TRUE(worker.GetWork().envelope().getBody().getWork().isBarrier());
  worker.Tick(true);
  EXPECT_EQ(harness.Trial().phase, "validation");
  while (harness.Trial().phase == "validation") worker.WorkOnce();
  EXPECT_EQ(harness.Trial().phase, "training");
  const Message next = worker.GetWork();
  EXPECT_EQ(next.envelope().getBody().getWork().getTrain().getNumber(), 5U);
  EXPECT_EQ(next.envelope().getBody().getWork().getTrain().getEpoch(), 1U);
}

TEST(EarlyStoppingTest, EndsAfterSoManyValidationsWithoutABetterOne) {
  Sweep sweep(SmallOptions(), {{"a", {0.1, 0.3, 0.31, 0.2, 0.5, 0.6}}, {"b", {0.1, 0.2, 0.3, 0.4, 0.5, 0.6}}});
  const ValidationConfig validation = {.every = 1, .patience = 2, .min_delta = 0.05};
  ASSERT_TRUE(sweep.Run({Trial("a", 6, validation), Trial("b", 6, validation)}).ok());
  EXPECT_EQ(sweep.Stored("a").status, TrialStatus::kFinished);
  EXPECT_EQ(sweep.Stored("a").result.stopped, "early_stopping");
  EXPECT_EQ(sweep.Stored("a").result.epochs, 4U);  // 0.31 and 0.2 are not better than 0.3 by 0.05
  EXPECT_EQ(sweep.Stored("a").result.examples, 400U);
  EXPECT_DOUBLE_EQ(sweep.Stored("a").result.test.at("top_100"), 0.2);  // of the state at its end
  EXPECT_EQ(sweep.Stored("b").result.stopped, "");
  EXPECT_EQ(sweep.Stored("b").result.epochs, 6U);
}

TEST(EarlyStoppingTest, GoesByTheGoal) {
  CoordinatorOptions options = SmallOptions();
  options.metric = "top_100";
  options.maximize = false;
  Sweep sweep(options, {{"a", {0.5, 0.6, 0.1}}});
  ASSERT_TRUE(sweep.Run({Trial("a", 3, {.every = 1, .patience = 1})}).ok());
  EXPECT_EQ(sweep.Stored("a").result.epochs, 2U);
}

TEST(EarlyStoppingTest, MetricThatThereIsNotFailsTheTrial) {
  CoordinatorOptions options = SmallOptions();
  options.metric = "top_99";
  Sweep sweep(options);
  ASSERT_TRUE(sweep.Run({Trial("a", 3, {.every = 1, .patience = 1})}).ok());
  EXPECT_EQ(sweep.Stored("a").status, TrialStatus::kFailed);
  EXPECT_THAT(sweep.Stored("a").reason, HasSubstr("'top_99'"));
}

CoordinatorOptions WithAsha() {
  CoordinatorOptions options = SmallOptions();
  options.asha = AshaOptions{.grace_period = 1, .reduction_factor = 2};
  return options;
}

TEST(CoordinatorAshaTest, StopsTheWorseOnesAndDropsTheirTables) {
  Sweep sweep(WithAsha(), {{"a", {0.5, 0.5, 0.5, 0.5}}, {"b", {0.4, 0.9, 0.9, 0.9}}, {"c", {0.6, 0.4, 0.6, 0.6}}});
  ASSERT_TRUE(sweep.Run({Trial("a", 4), Trial("b", 4), Trial("c", 4)}).ok());
  EXPECT_THAT(sweep.ValidatedAt("a"), ElementsAre(1, 2, 4));
  EXPECT_EQ(sweep.Stored("a").status, TrialStatus::kFinished);
  EXPECT_EQ(sweep.Stored("b").status, TrialStatus::kStopped);
  EXPECT_EQ(sweep.Stored("b").result.epochs, 1U);
  EXPECT_EQ(sweep.Stored("b").result.examples, 100U);
  EXPECT_THAT(sweep.Stored("b").result.test, IsEmpty()) << "test is read of finished trials only";
  EXPECT_EQ(sweep.Stored("c").result.epochs, 2U);
  EXPECT_EQ(sweep.Stored("c").result.stopped, "asha");
  for (const auto& [endpoint, shard] : sweep.harness.shards) {
    EXPECT_THAT(shard.tables, IsEmpty());
    EXPECT_THAT(shard.sessions, IsEmpty());
  }
}

TEST(CoordinatorAshaTest, AResumedSweepRemembersTheRungs) {
  Sweep sweep(WithAsha(), {{"a", {0.5, 0.5}}, {"b", {0.4, 0.4}}});
  ASSERT_TRUE(sweep.Run({Trial("a", 2)}).ok());
  sweep.harness.Restart();
  ASSERT_TRUE(sweep.Run({Trial("a", 2), Trial("b", 2)}).ok());
  EXPECT_EQ(sweep.Stored("b").status, TrialStatus::kStopped);
  sweep.harness.Restart();
  ASSERT_TRUE(sweep.harness.Start({Trial("a", 2), Trial("b", 2)}).ok());
  EXPECT_TRUE(sweep.harness.coordinator().done()) << "a stopped trial has its result";
}

TEST(CoordinatorAshaTest, FurtherSeedsRunOnlyOfWhatCameThrough) {
  Sweep sweep(WithAsha(), {{"a", {0.5, 0.5}}, {"b", {0.4, 0.4}}, {"a-2", {0.1, 0.1}}});
  ASSERT_TRUE(sweep.Run({Repeating("b-2", "b", 2), Trial("a", 2), Repeating("a-2", "a", 2), Trial("b", 2)}).ok());
  EXPECT_EQ(sweep.Stored("b").status, TrialStatus::kStopped);
  EXPECT_EQ(sweep.Stored("b-2").status, TrialStatus::kStopped);
  EXPECT_THAT(sweep.Stored("b-2").reason, HasSubstr("'b'"));
  EXPECT_EQ(sweep.Stored("b-2").result.examples, 0U);
  EXPECT_EQ(sweep.Stored("a-2").status, TrialStatus::kFinished) << "a second seed is not compared";
  EXPECT_EQ(sweep.Stored("a-2").result.epochs, 2U);
}

CoordinatorOptions Keeping(KeepModels keep) {
  CoordinatorOptions options = SmallOptions();
  options.keep = keep;
  return options;
}

std::vector<std::string> Kept(const Harness& harness) {
  std::vector<std::string> names;
  for (const auto& [name, model] : harness.models.models) names.push_back(name);
  return names;
}

const Curves kThree = {{"a", {0.4}}, {"b", {0.6}}, {"c", {0.5}}};

TEST(KeepTest, TheBestModelIsKeptWithAllItsRows) {
  Sweep sweep(Keeping(KeepModels::kBest), kThree);
  ASSERT_TRUE(sweep.Run({Trial("a", 1), Trial("b", 1), Trial("c", 1)}).ok());
  EXPECT_THAT(Kept(sweep.harness), ElementsAre("b"));
  EXPECT_TRUE(sweep.Stored("b").result.kept);
  EXPECT_FALSE(sweep.Stored("a").result.kept);
  EXPECT_FALSE(sweep.Stored("c").result.kept);
  const simulation::SimModels::Model& model = sweep.harness.models.models.at("b");
  ASSERT_EQ(model.tables.size(), 2U);
  EXPECT_EQ(model.tables[0].name, "users");
  ASSERT_EQ(model.tables[0].rows.size(), 6U);  // three of each of two shards
  for (const auto& [id, row] : model.tables[0].rows) EXPECT_THAT(row, testing::Each(static_cast<float>(id)));
  EXPECT_DOUBLE_EQ(model.result.test.at("top_100"), 0.6);
  for (const auto& [endpoint, shard] : sweep.harness.shards) {
    EXPECT_EQ(shard.scans, 2 * 3) << "a and b, not c, which cannot be the best: two steps for one table, one for the other";
  }
}

TEST(KeepTest, AllOrNone) {
  Sweep all(Keeping(KeepModels::kAll), kThree);
  ASSERT_TRUE(all.Run({Trial("a", 1), Trial("b", 1), Trial("c", 1)}).ok());
  EXPECT_THAT(Kept(all.harness), ElementsAre("a", "b", "c"));
  Sweep none(Keeping(KeepModels::kNone), kThree);
  ASSERT_TRUE(none.Run({Trial("a", 1), Trial("b", 1), Trial("c", 1)}).ok());
  EXPECT_THAT(Kept(none.harness), IsEmpty());
}

TEST(KeepTest, AResumedSweepReplacesTheBest) {
  Sweep sweep(Keeping(KeepModels::kBest), kThree);
  ASSERT_TRUE(sweep.Run({Trial("a", 1)}).ok());
  EXPECT_THAT(Kept(sweep.harness), ElementsAre("a"));
  // Written whole by a scheduler that was killed before it had saved the result.
  sweep.harness.store.trials["b"] = {.name = "b", .spec = "", .status = TrialStatus::kPending, .reason = "", .result = {}};
  sweep.harness.models.models["b"] = {};
  sweep.harness.Restart();
  ASSERT_TRUE(sweep.harness.Start({Trial("a", 1), Trial("c", 1)}).ok());
  EXPECT_THAT(Kept(sweep.harness), ElementsAre("a"));
  sweep.harness.Restart();
  ASSERT_TRUE(sweep.Run({Trial("a", 1), Trial("c", 1)}).ok());
  EXPECT_THAT(Kept(sweep.harness), ElementsAre("c"));
  EXPECT_FALSE(sweep.Stored("a").result.kept);
}

TEST(KeepTest, ALostServerWhileItIsKeptStartsTheTrialAnew) {
  Harness harness(Keeping(KeepModels::kBest));
  ASSERT_TRUE(harness.Start({Trial("a", 1)}).ok());
  harness.RegisterServers();
  FakeWorker worker(harness, "w0");
  worker.JoinAndDefine();
  harness.shards.at("shard:s1").loses_scans = true;
  while (harness.Trial().phase != "keeping") worker.WorkOnce();
  EXPECT_THAT(Kept(harness), IsEmpty());
  harness.RegisterServer("s1", 2);
  EXPECT_EQ(harness.Trial().trial.status, TrialStatus::kPending);
  EXPECT_THAT(Kept(harness), IsEmpty());
  worker.JoinAndDefine();
  worker.WorkToTheEnd();
  EXPECT_EQ(harness.Trial().trial.status, TrialStatus::kFinished);
  EXPECT_THAT(Kept(harness), ElementsAre("a"));
}

TrialConfig Warm(const std::string& name, const std::string& from) {
  TrialConfig config = Trial(name, 1);
  config.model.start_from = from;
  return config;
}

TEST(StartFromTest, TablesOfTheSameNameBeginWithTheKeptRows) {
  Harness harness;
  std::map<Id, std::vector<float>> rows;
  for (Id id = 100; id < 120; ++id) rows[id] = std::vector<float>(8, static_cast<float>(id));
  harness.models.models["old"].tables = {{.name = "movies", .number = 0, .dim = 8, .rows = rows}};
  ASSERT_TRUE(harness.Start({Warm("a", "old")}).ok());
  harness.RegisterServers();
  FakeWorker worker(harness, "w0");
  worker.JoinAndDefine();
  EXPECT_EQ(harness.Trial().phase, "training");
  size_t loaded = 0;
  for (const auto& [endpoint, shard] : harness.shards) {
    EXPECT_EQ(shard.rows.size(), 1U) << "users are fresh";
    for (const auto& [id, row] : shard.rows.at(2)) {
      EXPECT_EQ(row, rows.at(id));
      const ShardIndex owner = harness.coordinator().view().primaries[PartitionOf(id, 2)];
      EXPECT_EQ(harness.coordinator().view().shards[owner], endpoint);
      ++loaded;
    }
  }
  EXPECT_EQ(loaded, rows.size());
  worker.WorkToTheEnd();
  EXPECT_EQ(harness.Trial().trial.status, TrialStatus::kFinished);
}

TEST(StartFromTest, ModelThatDoesNotFitFailsTheTrialByTheTablesName) {
  for (const auto& [table, dim, words] : {std::tuple<const char*, uint32_t, const char*>{"movies", 16, "'movies' has dim 16"},
                                          {"directors", 8, "'directors', which this trial's model has not"}}) {
    Sweep sweep(SmallOptions());
    sweep.harness.models.models["old"].tables = {{.name = table, .number = 0, .dim = dim, .rows = {}}};
    ASSERT_TRUE(sweep.Run({Warm("a", "old"), Trial("b", 1)}).ok());
    EXPECT_EQ(sweep.Stored("a").status, TrialStatus::kFailed);
    EXPECT_THAT(sweep.Stored("a").reason, HasSubstr(words));
    EXPECT_EQ(sweep.Stored("b").status, TrialStatus::kFinished);
  }
}

TEST(ResumeTest, AnEditedSweepKeepsResultsAddsTrialsAndForgetsWhatWasRemoved) {
  Sweep sweep(SmallOptions());
  ASSERT_TRUE(sweep.Run({Trial("a", 1), Trial("b", 1)}).ok());
  sweep.harness.Restart();
  ASSERT_TRUE(sweep.Run({Trial("b", 1), Trial("c", 1)}).ok());
  EXPECT_EQ(sweep.harness.coordinator().trials(sweep.harness.now).size(), 2U);
  EXPECT_EQ(sweep.Stored("a").status, TrialStatus::kFinished) << "in the state it stays";
  EXPECT_EQ(sweep.Stored("c").status, TrialStatus::kFinished);
  EXPECT_EQ(sweep.harness.store.numbers.trial, 3U) << "b did not run again";
}

TEST(ResumeTest, AnotherConfigurationIsAnErrorThatShowsBothUnlessThereIsNoResultYet) {
  Harness harness;
  ASSERT_TRUE(harness.Start({SmallTrial("a")}).ok());
  TrialConfig other = SmallTrial("a");
  other.model.dim = 7;
  harness.Restart();
  EXPECT_TRUE(harness.Start({other}).ok()) << "it has no result yet";
  EXPECT_THAT(harness.store.trials.at("a").spec, HasSubstr("dim: 7"));
  harness.store.trials.at("a").status = TrialStatus::kFinished;
  harness.Restart();
  EXPECT_THAT(std::string(harness.Start({SmallTrial("a")}).message()),
              testing::AllOf(HasSubstr("'a'"), HasSubstr("'dim: 7'"), HasSubstr("'dim: 32'")));
}

}  // namespace
}  // namespace marquee
