#include "scheduler/report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "common/version.h"
#include "tests/unit/scheduler/coordinator_testing.h"

namespace marquee {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

constexpr char kHostile[] = "</script><img src=x onerror=alert(1)>";

Leaderboard::Data SmallData() {
  return {.name = "little",
          .synthetic = true,
          .checksum = 0xab,
          .ratings = 12345,
          .users = 10,
          .movies = 20,
          .split = "random",
          .split_checksum = 0xff,
          .train = 70,
          .validation = 5,
          .test = 25};
}

Coordinator::TrialView Finished(const std::string& name, double value, std::vector<double> losses = {2}) {
  Coordinator::TrialView view;
  view.config = SmallTrial(name);
  view.trial.name = name;
  view.trial.status = TrialStatus::kFinished;
  TrialResult& result = view.trial.result;
  result.validation = {{"top_100", value}};
  result.test = {{"top_100", value / 2}};
  result.epochs = static_cast<uint32_t>(losses.size());
  result.epoch_losses = std::move(losses);
  result.seconds = 3;
  result.examples = 140000;
  result.examples_per_second = 46666.7;
  return view;
}

Coordinator::TrialView Rating(const std::string& name, double value) {
  Coordinator::TrialView view = Finished(name, value);
  view.config.model.kind = ModelConfig::Kind::kRanking;
  view.config.model.tower = view.config.model.query;
  view.config.model.loss.kind = LossConfig::Kind::kSquaredError;
  view.trial.result.validation = {{"rmse", value}};
  view.trial.result.test = {{"rmse", value + 0.01}};
  return view;
}

Coordinator::Member MemberNamed(const std::string& name, const std::string& host) {
  Coordinator::Member member;
  member.name = name;
  member.host = host;
  return member;
}

// What a page holds: its text before the chart library, and its charts' titles and options.
struct Shown {
  std::string text;
  std::vector<std::string> titles;
  nlohmann::json charts = nlohmann::json::array();
};

Shown Read(const std::string& html) {
  Shown shown;
  const size_t body = html.find("<body>");
  shown.text = html.substr(body, html.find("<script>", body) - body);
  const std::string tag = "<figcaption>";
  for (size_t at = shown.text.find(tag); at != std::string::npos; at = shown.text.find(tag, at + 1)) {
    const size_t begin = at + tag.size();
    shown.titles.push_back(shown.text.substr(begin, shown.text.find('<', begin) - begin));
  }
  const std::string charts = "id=\"charts\">";
  if (const size_t at = html.find(charts); at != std::string::npos) {
    const size_t begin = at + charts.size();
    shown.charts = nlohmann::json::parse(html.substr(begin, html.find("</script>", begin) - begin));
  }
  return shown;
}

Shown Page(std::vector<Coordinator::TrialView> trials, const ReportSources& sources = {}, const Sweep& sweep = {}) {
  const Leaderboard board(SmallData(), {{"popularity", {{"top_100", 0.15}}}, {"bias only", {{"rmse", 0.91}}}}, sweep,
                          std::move(trials));
  return Read(ReportPage(board, sources));
}

TEST(ReportTest, SaysWhatWasReachedAndWithWhat) {
  Sweep sweep;
  sweep.references["good"] = {{.source = "the report", .metrics = {{"top_100", 0.2345}}}};
  const Shown page = Page({Finished("bad", 0.1), Finished("good", 0.2), Rating("stars", 0.875)}, {.name = "demo"}, sweep);
  for (const char* part : {"<h1>demo</h1>", "synthetic: made up by a program",
                           "Best two_tower by validation top_100: good, 0.2000, and 0.1000 on "
                           "test; popularity: 0.1500.",
                           "the report top_100", "0.2345",
                           "Best ranking by validation rmse: stars, 0.8750, and 0.8850 "
                           "on test; bias only: 0.9100.",
                           "larger is better", "smaller is better", "12,345", "00000000000000ab", "00000000000000ff", "46,667",
                           "140,000", "<summary>good</summary><pre>name: &quot;good&quot;", "initial_accumulator"}) {
    EXPECT_THAT(page.text, HasSubstr(part));
  }
  EXPECT_THAT(page.text, HasSubstr(std::string(Version())));
  EXPECT_THAT(page.text, HasSubstr(std::string(Compiler())));
  EXPECT_LT(page.text.find("<td>good</td>"), page.text.find("<td>bad</td>"));
  EXPECT_THAT(page.text, HasSubstr("<tr class=\"emphasized\"><td>good</td>"));
}

TEST(ReportTest, RealDataIsNotCalledSynthetic) {
  Leaderboard::Data data = SmallData();
  data.synthetic = false;
  const Leaderboard board(data, {}, {}, {Finished("a", 0.1)});
  EXPECT_THAT(ReportPage(board, {}), Not(HasSubstr("synthetic")));
}

TEST(ReportTest, WhatASweepDoesNotHaveIsNotMentioned) {
  const Shown page = Page({Finished("only", 0.1)});
  EXPECT_THAT(page.titles, IsEmpty());
  for (const char* part : {"Learning curves", "Parameters", "Feature interactions", "Failed trials", "Movies for",
                           "<caption>Servers", "±", "Kept:"}) {
    EXPECT_THAT(page.text, Not(HasSubstr(part)));
  }
}

TEST(ReportTest, CurvesAreOfLossAndOfValidationWhereItWasLookedAt) {
  Coordinator::TrialView looked = Finished("looked", 0.3, {2, 1.5, 1.25});
  looked.trial.result.validations = {{.epoch = 1, .metrics = {{"top_100", 0.1}}}, {.epoch = 3, .metrics = {{"top_100", 0.3}}}};
  const Shown page = Page({looked, Finished("not", 0.2, {3, 2}), Rating("one epoch", 0.9)});
  EXPECT_THAT(page.titles, ElementsAre("Training loss by epoch: two_tower", "Validation top_100 by epoch: two_tower"));
  ASSERT_EQ(page.charts.size(), 2U);
  const nlohmann::json& losses = page.charts[0]["series"];
  ASSERT_EQ(losses.size(), 2U);
  EXPECT_EQ(losses[0]["data"], nlohmann::json({2.0, 1.5, 1.25}));
  EXPECT_EQ(losses[1]["data"], nlohmann::json({3.0, 2.0, nullptr}));
  const nlohmann::json& validations = page.charts[1]["series"];
  ASSERT_EQ(validations.size(), 1U);
  EXPECT_EQ(validations[0]["name"], "looked");
  EXPECT_EQ(validations[0]["data"], nlohmann::json({0.1, nullptr, 0.3}));
}

TEST(ReportTest, OneParameterIsAScatter) {
  std::vector<Coordinator::TrialView> trials = {Finished("small", 0.1), Finished("large", 0.2)};
  trials[1].config.model.dim = 64;
  const Shown page = Page(trials);
  ASSERT_THAT(page.titles, ElementsAre("top_100 against dim: two_tower"));
  EXPECT_EQ(page.charts[0]["xAxis"]["data"], nlohmann::json({"32", "64"}));
  EXPECT_EQ(page.charts[0]["series"][0]["data"][0], nlohmann::json({{"name", "large"}, {"value", {1, 0.2}}}));
}

TEST(ReportTest, SeveralParametersAreParallelCoordinates) {
  std::vector<Coordinator::TrialView> trials;
  for (int i = 0; i < 8; ++i) {
    trials.push_back(Rating("t" + std::to_string(i), 0.9 - 0.01 * i));
    ModelConfig& model = trials.back().config.model;
    model.optimizer.learning_rate = model.dense_optimizer.learning_rate = std::pow(2.0, i);
    model.tower.layers = i % 2 == 0 ? std::vector<int>{16} : std::vector<int>{32, 16};
  }
  trials[0].trial.status = TrialStatus::kStopped;
  trials.push_back(Rating("failed", 0));
  trials.back().trial.status = TrialStatus::kFailed;
  trials.back().trial.result = TrialResult{};
  const Shown page = Page(trials);
  ASSERT_THAT(page.titles, ElementsAre("Parameters and validation rmse: ranking"));
  const nlohmann::json& axes = page.charts[0]["parallelAxis"];
  ASSERT_EQ(axes.size(), 3U);  // the dense layers' equal rate is no axis of its own
  EXPECT_EQ(axes[0]["name"], "tower.layers");
  EXPECT_EQ(axes[0]["data"], nlohmann::json({"[32,16]", "[16]"}));
  EXPECT_EQ(axes[1]["name"], "optimizer.learning_rate");
  EXPECT_EQ(axes[1]["type"], "log");
  EXPECT_EQ(axes[2]["name"], "rmse");
  EXPECT_EQ(axes[2]["inverse"], true);
  const nlohmann::json& lines = page.charts[0]["series"][0]["data"];
  ASSERT_EQ(lines.size(), 8U);
  EXPECT_EQ(lines[7]["name"], "t7");  // the best on top
  EXPECT_EQ(lines[7]["value"], nlohmann::json({0, 128.0, 0.83}));
  EXPECT_THAT(page.text, HasSubstr("Stopped trials stand where they had come to."));
}

TEST(ReportTest, HeatMapIsThereForCrossLayersOnly) {
  const FeatureInteractions interactions{
      .trial = "crossed", .features = {"user_id", "movie_id"}, .norms = {{1.23456, 2}, {0.5, 4}}};
  const Shown page = Page({Finished("a", 0.1)}, {.name = "s", .interactions = {interactions}});
  ASSERT_THAT(page.titles, ElementsAre("What the first cross layer multiplies: crossed"));
  const nlohmann::json& chart = page.charts[0];
  EXPECT_EQ(chart["yAxis"]["data"], nlohmann::json({"user_id", "movie_id"}));
  EXPECT_EQ(chart["series"][0]["data"], nlohmann::json({{0, 0, 1.23}, {1, 0, 2.0}, {0, 1, 0.5}, {1, 1, 4.0}}));  // x, y
  EXPECT_EQ(chart["visualMap"]["max"], 4.0);
  EXPECT_THAT(page.text, HasSubstr("A cell says how strongly"));
}

TEST(ReportTest, TellsOfSeedsStopsFailuresAndServers) {
  std::vector<Coordinator::TrialView> trials = {Finished("twice", 0.2), Finished("twice-seed=2", 0.4), Finished("cut", 0.1),
                                                Finished("early", 0.3, {2, 1}), Finished("broken", 0)};
  trials[1].config.repeats = "twice";
  trials[1].config.seed = 2;
  trials[1].trial.result.kept = true;
  trials[2].trial.status = TrialStatus::kStopped;
  trials[2].trial.result.stopped = "asha";
  trials[3].trial.result.stopped = "early_stopping";
  trials[4].trial.status = TrialStatus::kFailed;
  trials[4].trial.reason = "loss is NaN";
  trials[4].trial.result = TrialResult{};
  ReportSources sources{.name = "s"};
  sources.members = {MemberNamed("server-0", "here"), MemberNamed("worker-0", "there")};
  sources.members[0].server = true;
  sources.members[0].most_rows = 1234;
  sources.members[0].most_bytes = 5500000;
  sources.counters.servers_lost = 1;
  const Shown page = Page(trials, sources);
  for (const char* part :
       {"0.3000 ±0.1414", "standard deviation over seeds", "stopped at epoch 1 (asha)", "finished, early at epoch 2",
        "Kept: models/twice-seed=2.", "<td>broken</td><td>loss is NaN</td>", "first of the seeds 1, 2",
        "<td>server-0</td><td>here</td>", "1,234</td><td>5.5 MB</td>", "<td>worker-0</td><td>there</td>", "Servers lost: 1"}) {
    EXPECT_THAT(page.text, HasSubstr(part));
  }
}

TEST(ReportTest, MoviesOfExampleUsersSayWhy) {
  ReportSources sources{.name = "s"};
  sources.examples = {
      {.trial = "good",
       .users = {{.user = "42",
                  .rated = 1231,
                  .best_liked = "Alien (1979)",
                  .movies = {{.title = "Brazil <1985>", .genres = "Sci-Fi", .says = "predicted 4.1", .because = "Tron"}}}}}};
  const Shown page = Page({Finished("good", 0.1)}, sources);
  for (const char* part : {"Movies for a few users", "good: user 42", "Brazil &lt;1985&gt;", "predicted 4.1", "<td>Tron</td>",
                           "Has rated 1,231; liked best: Alien (1979)."}) {
    EXPECT_THAT(page.text, HasSubstr(part));
  }
}

TEST(ReportTest, NamesBecomeNoMarkup) {
  Sweep sweep;
  sweep.references[kHostile] = {{.source = kHostile, .metrics = {{kHostile, 1}}}};
  std::vector<Coordinator::TrialView> trials = {Finished(kHostile, 0.1, {2, 1}), Finished("b", 0.2, {2, 1})};
  trials[1].config.model.dim = 64;
  trials[1].trial.status = TrialStatus::kFailed;
  trials[1].trial.reason = kHostile;
  ReportSources sources{.name = kHostile};
  sources.interactions = {{.trial = kHostile, .features = {kHostile}, .norms = {{1}}}};
  sources.members = {MemberNamed(kHostile, kHostile)};
  const Shown page = Page(trials, sources, sweep);
  EXPECT_THAT(page.text, Not(HasSubstr("<img")));
  EXPECT_THAT(page.text, HasSubstr("&lt;img src=x onerror=alert(1)&gt;"));
  EXPECT_THAT(page.titles,
              ElementsAre("Training loss by epoch: two_tower", "top_100 against dim: two_tower",
                          "What the first cross layer multiplies: &lt;/script&gt;&lt;img src=x onerror=alert(1)&gt;"));
}

}  // namespace
}  // namespace marquee
