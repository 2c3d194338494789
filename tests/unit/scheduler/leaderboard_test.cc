#include "scheduler/leaderboard.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "scheduler/sweep_progress.h"
#include "tests/unit/scheduler/coordinator_testing.h"

namespace marquee {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

Leaderboard::Data SmallData() {
  return {.name = "little",
          .synthetic = true,
          .ratings = 100,
          .users = 10,
          .movies = 20,
          .split = "random",
          .split_checksum = 0xff,
          .train = 70,
          .validation = 5,
          .test = 25};
}

Coordinator::TrialView Finished(const std::string& name, ModelConfig::Kind kind, const std::string& metric, double value) {
  Coordinator::TrialView view;
  view.config = SmallTrial(name);
  view.config.model.kind = kind;
  if (kind == ModelConfig::Kind::kRanking) {
    view.config.model.tower = view.config.model.query;
    view.config.model.loss = LossConfig{.kind = LossConfig::Kind::kSquaredError};
  }
  view.trial.name = name;
  view.trial.status = TrialStatus::kFinished;
  view.trial.result.validation = {{metric, value}};
  view.trial.result.test = {{metric, value / 2}};
  view.trial.result.epoch_losses = {2, 1};
  view.trial.result.seconds = 3;
  view.trial.result.examples = 140;
  return view;
}

std::vector<Coordinator::TrialView> Trials() {
  using Kind = ModelConfig::Kind;
  std::vector<Coordinator::TrialView> trials = {
      Finished("rank-bad", Kind::kRanking, "rmse", 0.95), Finished("towers-bad", Kind::kTwoTower, "top_100", 0.1),
      Finished("broken", Kind::kTwoTower, "top_100", 0), Finished("towers-good", Kind::kTwoTower, "top_100", 0.2),
      Finished("rank-good", Kind::kRanking, "rmse", 0.85)};
  trials[2].trial.status = TrialStatus::kFailed;
  trials[2].trial.reason = "no such feature";
  trials[2].trial.result = TrialResult{};
  return trials;
}

nlohmann::json Board(const Sweep& sweep) {
  return nlohmann::json::parse(
      Leaderboard(SmallData(), {{"popularity", {{"top_100", 0.15}}}, {"bias only", {{"rmse", 0.9}}}}, sweep, Trials()).Json());
}

std::vector<std::string> Names(const nlohmann::json& board) {
  std::vector<std::string> names;
  for (const auto& trial : board["trials"]) names.push_back(trial["name"]);
  return names;
}

TEST(LeaderboardTest, OrdersByValidationWithinAKindAndFailedOnesLast) {
  EXPECT_THAT(Names(Board(Sweep{})), ElementsAre("towers-good", "towers-bad", "broken", "rank-good", "rank-bad"));
  Sweep upside_down;
  upside_down.metric = "top_100";
  upside_down.maximize = false;
  EXPECT_THAT(Names(Board(upside_down))[0], "towers-bad");
}

TEST(LeaderboardTest, JsonHasDataBaselinesAndTrials) {
  const nlohmann::json board = Board(Sweep{});
  EXPECT_EQ(board["dataset"]["name"], "little");
  EXPECT_EQ(board["dataset"]["synthetic"], true);
  EXPECT_EQ(board["dataset"]["ratings"], 100);
  EXPECT_EQ(board["dataset"]["train"], 70);
  EXPECT_EQ(board["dataset"]["split_checksum"], "00000000000000ff");
  EXPECT_EQ(board["baselines"][0]["name"], "popularity");
  EXPECT_EQ(board["baselines"][0]["metrics"]["top_100"], 0.15);
  const nlohmann::json& best = board["trials"][0];
  EXPECT_EQ(best["model"], "two_tower");
  EXPECT_EQ(best["status"], "finished");
  EXPECT_EQ(best["params"]["dim"], 32);
  EXPECT_EQ(best["params"]["optimizer.kind"], "adagrad");
  EXPECT_EQ(best["params"]["loss.logq"], false);
  EXPECT_EQ(best["params"]["query.features"][0]["name"], "user_id");
  EXPECT_EQ(best["metrics"]["validation"]["top_100"], 0.2);
  EXPECT_EQ(best["metrics"]["test"]["top_100"], 0.1);
  EXPECT_EQ(best["metrics"]["train"]["loss"], 1);
  EXPECT_EQ(best["examples"], 140);
  EXPECT_EQ(board["trials"][2]["status"], "failed");
  EXPECT_EQ(board["trials"][2]["reason"], "no such feature");
}

// One configuration with three seeds, of which the last failed; one with one seed; one that was stopped.
std::vector<Coordinator::TrialView> Seeds() {
  using Kind = ModelConfig::Kind;
  std::vector<Coordinator::TrialView> trials = {
      Finished("twice", Kind::kTwoTower, "top_100", 0.2), Finished("twice-seed=2", Kind::kTwoTower, "top_100", 0.4),
      Finished("once", Kind::kTwoTower, "top_100", 0.35), Finished("cut", Kind::kTwoTower, "top_100", 0.9),
      Finished("twice-seed=3", Kind::kTwoTower, "top_100", 0.0)};
  trials[1].config.repeats = trials[4].config.repeats = "twice";
  trials[1].config.seed = 2;
  trials[1].trial.result.kept = true;
  trials[2].trial.result.epochs = 2;
  trials[2].trial.result.stopped = "early_stopping";
  trials[2].trial.result.validations = {{.epoch = 2, .metrics = {{"top_100", 0.35}}}};
  trials[3].trial.status = TrialStatus::kStopped;
  trials[3].trial.result.test.clear();
  trials[3].trial.result.stopped = "asha";
  trials[3].trial.result.epochs = 1;
  trials[4].trial.status = TrialStatus::kFailed;
  trials[4].trial.reason = "loss is NaN";
  trials[4].trial.result = TrialResult{};
  return trials;
}

TEST(LeaderboardTest, SeedsAreOneRowWithMeanAndDeviation) {
  const nlohmann::json board = nlohmann::json::parse(Leaderboard(SmallData(), {}, Sweep{}, Seeds()).Json());
  EXPECT_THAT(Names(board), ElementsAre("once", "twice", "cut"));  // .35, .3, and what never came to its end
  const nlohmann::json& twice = board["trials"][1];
  EXPECT_EQ(twice["status"], "finished");
  EXPECT_NEAR(twice["metrics"]["validation"]["top_100"].get<double>(), 0.3, 1e-12);
  EXPECT_NEAR(twice["metrics"]["test"]["top_100"].get<double>(), 0.15, 1e-12);
  EXPECT_NEAR(twice["deviation"]["validation"]["top_100"].get<double>(), std::sqrt(0.02), 1e-12);
  EXPECT_NEAR(twice["deviation"]["test"]["top_100"].get<double>(), std::sqrt(0.005), 1e-12);
  ASSERT_EQ(twice["seeds"].size(), 3U);
  EXPECT_EQ(twice["seeds"][1]["seed"], 2);
  EXPECT_EQ(twice["seeds"][1]["metrics"]["validation"]["top_100"], 0.4);
  EXPECT_EQ(twice["seeds"][1]["model_folder"], "models/twice-seed=2");
  EXPECT_EQ(twice["seeds"][2]["status"], "failed");
  EXPECT_EQ(twice["seeds"][2]["reason"], "loss is NaN");
  EXPECT_FALSE(board["trials"][0].contains("deviation"));
}

TEST(LeaderboardTest, ALaterSeedMayBeThereFirst) {
  std::vector<Coordinator::TrialView> trials = {Finished("twice-seed=2", ModelConfig::Kind::kTwoTower, "top_100", 0.2)};
  trials[0].config.repeats = "twice";
  const Leaderboard leaderboard(SmallData(), {}, Sweep{}, trials);
  const nlohmann::json board = nlohmann::json::parse(leaderboard.Json());
  EXPECT_THAT(Names(board), ElementsAre("twice"));
  EXPECT_EQ(board["trials"][0]["seeds"].size(), 1U);
  EXPECT_THAT(leaderboard.Text(), HasSubstr("twice"));
  EXPECT_EQ(leaderboard.Tables()[0].rows[0].name, "twice");
}

TEST(LeaderboardTest, CurvesAndEndsAreTold) {
  const Leaderboard leaderboard(SmallData(), {}, Sweep{}, Seeds());
  const nlohmann::json board = nlohmann::json::parse(leaderboard.Json());
  const nlohmann::json& once = board["trials"][0];
  EXPECT_EQ(once["stopped"], nlohmann::json({{"by", "early_stopping"}, {"epoch", 2}}));
  ASSERT_EQ(once["curve"].size(), 2U);
  EXPECT_EQ(once["curve"][0], nlohmann::json({{"epoch", 1}, {"loss", 2.0}}));
  EXPECT_EQ(once["curve"][1]["validation"]["top_100"], 0.35);
  EXPECT_EQ(board["trials"][2]["status"], "stopped");
  EXPECT_EQ(board["trials"][2]["stopped"]["epoch"], 1);
  const std::string table = leaderboard.Text();
  EXPECT_THAT(table, HasSubstr("0.3000 ±0.1414"));
  EXPECT_THAT(table, HasSubstr("stopped at epoch 1"));
  EXPECT_THAT(table, HasSubstr("twice-seed=3 failed: loss is NaN"));
}

TEST(LeaderboardTest, FiguresOfOthersStandBesideTheirTrial) {
  Sweep sweep;
  sweep.references["towers-bad"] = {{.source = "report", .metrics = {{"top_100", 0.2345}, {"top_10", 0.05}}},
                                    {.source = "repetition", .metrics = {{"top_100", 0.154}}}};
  const Leaderboard leaderboard(SmallData(), {{"popularity", {{"top_100", 0.15}}}}, sweep, Trials());
  const nlohmann::json board = nlohmann::json::parse(leaderboard.Json());
  EXPECT_EQ(board["trials"][1]["reference"],
            nlohmann::json({{"report", {{"top_100", 0.2345}, {"top_10", 0.05}}}, {"repetition", {{"top_100", 0.154}}}}));
  EXPECT_FALSE(board["trials"][0].contains("reference"));
  const std::vector<Leaderboard::Table> tables = leaderboard.Tables();
  ASSERT_EQ(tables.size(), 2U);
  EXPECT_THAT(tables[0].references, ElementsAre("report top_10", "report top_100", "repetition top_100"));
  ASSERT_EQ(tables[0].rows.size(), 4U);  // the baseline, then the trials
  EXPECT_EQ(tables[0].rows[0].trial, nullptr);
  EXPECT_THAT(tables[0].rows[1].references, ElementsAre("-", "-", "-"));
  EXPECT_THAT(tables[0].rows[2].references, ElementsAre("0.0500", "0.2345", "0.1540"));
  EXPECT_TRUE(tables[1].references.empty());
  EXPECT_THAT(leaderboard.Text(), HasSubstr("repetition top_100"));
}

TEST(LeaderboardTest, TableSaysWhatIsSyntheticAndWhatFailed) {
  const std::string table =
      Leaderboard(SmallData(), {{"popularity", {{"top_100", 0.15}}}, {"bias only", {{"rmse", 0.9}}}}, Sweep{}, Trials()).Text();
  EXPECT_THAT(table, HasSubstr("synthetic"));
  EXPECT_THAT(table, HasSubstr("(popularity)"));
  EXPECT_THAT(table, HasSubstr("broken failed: no such feature"));
  EXPECT_LT(table.find("towers-good"), table.find("towers-bad"));
  EXPECT_LT(table.find("(bias only)"), table.find("rank-good"));
}

TEST(LeaderboardTest, ColumnsFitTheProtocol) {
  using Kind = ModelConfig::Kind;
  Coordinator::TrialView towers = Finished("towers", Kind::kTwoTower, "hr_10", 0.25);
  towers.config.split = SplitConfig::Of(SplitConfig::Protocol::kLeaveLastOut);
  towers.trial.result.test = {{"hr_10", 0.2}, {"ndcg_10", 0.111}};
  Coordinator::TrialView better = towers;
  better.config.name = better.trial.name = "better";
  better.trial.result.validation = {{"hr_10", 0.3}};
  const Leaderboard last_out(SmallData(), {{"popularity", {{"hr_10", 0.033}}}}, Sweep{}, {towers, better});
  for (const char* text : {"validation hr_10", "test ndcg_10", "0.1110", "0.0330"}) {
    EXPECT_THAT(last_out.Text(), HasSubstr(text));
  }
  EXPECT_LT(last_out.Text().find("better"), last_out.Text().find("towers"));

  Coordinator::TrialView classes = Finished("classes", Kind::kRanking, "auc", 0.9);
  classes.config.split = SplitConfig::Of(SplitConfig::Protocol::kBinarized);
  classes.config.model.loss.kind = LossConfig::Kind::kBinaryCrossEntropy;
  const Leaderboard binary(SmallData(), {{"bias only", {{"auc", 0.88}, {"log_loss", 0.33}}}}, Sweep{}, {classes});
  for (const char* text : {"validation auc", "test log_loss", "0.8800", "0.9000"}) {
    EXPECT_THAT(binary.Text(), HasSubstr(text));
  }
}

TEST(SweepProgressTest, LineSaysEpochSpeedLossAndTimeLeft) {
  Coordinator::TrialView view;
  view.trial.name = "a";
  view.phase = "training";
  view.config.model.epochs = 5;
  view.epoch = 1;
  view.epoch_progress = 0.4;
  view.examples_per_second = 1234567;
  view.loss = 7.25;
  view.time_left = absl::Seconds(80);
  EXPECT_EQ(ProgressLine(view), "a: training, epoch 2/5 (40 %), 1,234,567 examples/s, loss 7.2500, 1m 20s left");
  view.phase = "test";
  EXPECT_EQ(ProgressLine(view), "a: test");
}

}  // namespace
}  // namespace marquee
