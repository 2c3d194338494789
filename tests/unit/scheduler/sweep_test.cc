#include "scheduler/sweep.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "tests/unit/common/temporary_folder.h"

namespace marquee {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr char kCluster[] = "cluster:\n  servers: {count: 1}\n  workers: {count: 1}\n";
constexpr char kModels[] = R"(models:
  towers:
    kind: two_tower
    dim: 8
    query: {features: [user_id]}
    candidate: {features: [movie_id]}
    optimizer: {learning_rate: 0.1}
  stars:
    kind: ranking
    tower: {features: [user_id, movie_id], layers: [16]}
)";

class SweepTest : public testing::Test {
 protected:
  absl::StatusOr<Sweep> Load(const std::string& sweep, const std::string& cluster = kCluster) {
    folder_.Write("cluster.yaml", cluster);
    folder_.Write("sweep.yaml", sweep);
    return LoadSweep(folder_.Path("cluster.yaml"), folder_.Path("sweep.yaml"));
  }
  std::string ErrorOf(const std::string& sweep) { return std::string(Load(std::string(kModels) + sweep).status().message()); }
  static std::vector<std::string> Names(const Sweep& sweep) {
    std::vector<std::string> names;
    for (const TrialConfig& trial : sweep.trials) names.push_back(trial.name);
    return names;
  }

  TemporaryFolder folder_;
};

TEST_F(SweepTest, EveryModelIsATrialByDefault) {
  const absl::StatusOr<Sweep> sweep = Load(std::string(kModels) + "sweep: {method: grid}\n");
  ASSERT_TRUE(sweep.ok()) << sweep.status();
  EXPECT_THAT(Names(*sweep), ElementsAre("towers", "stars"));
  EXPECT_EQ(sweep->trials[0].model.dim, 8);
  EXPECT_EQ(sweep->trials[1].model.kind, ModelConfig::Kind::kRanking);
  EXPECT_EQ(sweep->workers_per_trial, 1U);
  EXPECT_EQ(sweep->chunk_batches, 4U);
}

TEST_F(SweepTest, FiguresToCompareWithBelongToConfigurations) {
  const absl::StatusOr<Sweep> sweep = Load(std::string(kModels) + R"(sweep:
  seeds: 2
  trials:
    - {name: plain, model: towers}
    - name: known
      model: towers
      parameters: {dim: {values: [4, 8]}}
      reference: {the report: {top_100: 0.21, top_10: 0.05}, a repetition: {top_100: 0.154}}
)");
  ASSERT_TRUE(sweep.ok()) << sweep.status();
  ASSERT_EQ(sweep->references.size(), 2U);
  for (const char* name : {"known-dim=4", "known-dim=8"}) {
    const std::vector<ReferenceFigures>& references = sweep->references.at(name);
    ASSERT_EQ(references.size(), 2U);
    EXPECT_EQ(references[0].source, "the report");
    EXPECT_EQ(references[0].metrics, (std::map<std::string, double>{{"top_100", 0.21}, {"top_10", 0.05}}));
    EXPECT_EQ(references[1].metrics, (std::map<std::string, double>{{"top_100", 0.154}}));
  }
  EXPECT_THAT(ErrorOf("sweep: {trials: [{name: a, model: towers, reference: {report: {top_100: high}}}]}\n"),
              HasSubstr("reference.report.top_100': value 'high'"));
  EXPECT_THAT(ErrorOf("sweep: {trials: [{name: a, model: towers, reference: {report: 0.2}}]}\n"),
              HasSubstr("reference.report"));
}

TEST_F(SweepTest, GridIsEveryCombination) {
  const absl::StatusOr<Sweep> sweep = Load(std::string(kModels) + R"(sweep:
  models: [towers]
  parameters:
    dim: {values: [4, 16]}
    optimizer.learning_rate: {values: [0.1, 1e-2]}
  workers_per_trial: 2
  consistency: {mode: bounded, staleness: 3}
  split: {test: 0.2, validation: 0.1, seed: 5}
  seed: 11
  chunk_batches: 7
  metric: {name: top_10, goal: maximize}
)");
  ASSERT_TRUE(sweep.ok()) << sweep.status();
  EXPECT_THAT(Names(*sweep), ElementsAre("towers-dim=4-learning_rate=0.1", "towers-dim=4-learning_rate=1e-2",
                                         "towers-dim=16-learning_rate=0.1", "towers-dim=16-learning_rate=1e-2"));
  EXPECT_EQ(sweep->trials[2].model.dim, 16);
  EXPECT_EQ(sweep->trials[3].model.optimizer.learning_rate, 0.01);
  EXPECT_EQ(sweep->trials[3].model.dense_optimizer.learning_rate, 0.01);
  EXPECT_EQ(sweep->trials[0].consistency.staleness, 3);
  EXPECT_EQ(sweep->trials[0].split.test, 0.2);
  EXPECT_EQ(sweep->trials[0].split.seed, 5U);
  EXPECT_EQ(sweep->trials[0].seed, 11U);
  EXPECT_EQ(sweep->workers_per_trial, 2U);
  EXPECT_EQ(sweep->chunk_batches, 7U);
  EXPECT_EQ(sweep->metric, "top_10");
  EXPECT_TRUE(sweep->maximize);
}

TEST_F(SweepTest, TrialsSetValuesAndMayHaveGridsOfTheirOwn) {
  const absl::StatusOr<Sweep> sweep = Load(std::string(kModels) + R"(sweep:
  trials:
    - {name: small, model: towers, set: {dim: 2, optimizer.kind: adam}}
    - {name: deep, model: stars, set: {tower.layers: [32, 8], tower.dropout: 0.5}, parameters: {seed: {values: [1, 2]}}}
)");
  ASSERT_TRUE(sweep.ok()) << sweep.status();
  EXPECT_THAT(Names(*sweep), ElementsAre("small", "deep-seed=1", "deep-seed=2"));
  EXPECT_EQ(sweep->trials[0].model.dim, 2);
  EXPECT_EQ(sweep->trials[0].model.optimizer.kind, OptimizerConfig::Kind::kAdam);
  EXPECT_EQ(sweep->trials[0].model.optimizer.learning_rate, 0.1);  // the model's stays
  EXPECT_THAT(sweep->trials[1].model.tower.layers, ElementsAre(32, 8));
  EXPECT_EQ(sweep->trials[1].model.tower.dropout, 0.5);
  EXPECT_EQ(sweep->trials[1].seed, 1U);
  EXPECT_EQ(sweep->trials[2].seed, 2U);
}

TEST_F(SweepTest, ListsInNamesAndKeysOfTheSameLastWord) {
  const absl::StatusOr<Sweep> sweep = Load(std::string(kModels) + R"(sweep:
  models: [stars]
  parameters:
    tower.layers: {values: [[32, 8]]}
    optimizer.learning_rate: {values: [0.5]}
    dense_optimizer.learning_rate: {values: [0.25]}
)");
  ASSERT_TRUE(sweep.ok()) << sweep.status();
  EXPECT_THAT(Names(*sweep), ElementsAre("stars-layers=32,8-optimizer.learning_rate=0.5-dense_optimizer.learning_rate=0.25"));
  EXPECT_EQ(sweep->trials[0].model.dense_optimizer.learning_rate, 0.25);
}

TEST_F(SweepTest, RandomDrawsFollowFromTheSeedAndStayWhenMoreAreAdded) {
  const auto draw = [&](const std::string& rest) {
    const absl::StatusOr<Sweep> sweep = Load(std::string(kModels) + R"(sweep:
  method: random
  models: [towers]
  parameters:
    lr: {distribution: log_uniform_values, min: 1e-4, max: 1}
    optimizer.l2: {distribution: uniform, min: 0, max: 0.5}
    dim: {min: 4, max: 64}
    epochs: {values: [1, 2, 3]}
    loss.temperature: {value: 0.5}
)" + rest);
    EXPECT_TRUE(sweep.ok()) << sweep.status();
    return *sweep;
  };
  const Sweep sweep = draw("  max_trials: 200\n");
  ASSERT_EQ(sweep.trials.size(), 200U);
  int low_rates = 0;
  std::set<int> dims;
  std::set<int> epochs;
  for (const TrialConfig& trial : sweep.trials) {
    const double rate = trial.model.optimizer.learning_rate;
    EXPECT_GE(rate, 1e-4);
    EXPECT_LE(rate, 1);
    low_rates += rate < 1e-2 ? 1 : 0;
    EXPECT_GE(trial.model.optimizer.l2, 0);
    EXPECT_LE(trial.model.optimizer.l2, 0.5);
    EXPECT_EQ(trial.model.loss.temperature, 0.5);
    dims.insert(trial.model.dim);
    epochs.insert(trial.model.epochs);
  }
  EXPECT_NEAR(low_rates, 100, 30);  // half of the logarithms
  EXPECT_GT(dims.size(), 40U);
  EXPECT_GE(*dims.begin(), 4);
  EXPECT_LE(*dims.rbegin(), 64);
  EXPECT_EQ(epochs.size(), 3U);

  const Sweep fewer = draw("  max_trials: 5\n");
  std::vector<std::string> first = Names(sweep);
  first.resize(5);
  EXPECT_EQ(Names(fewer), first);
  EXPECT_NE(Names(draw("  max_trials: 5\n  seed: 2\n")), Names(fewer));
}

TEST_F(SweepTest, DrawsGoRoundTheModelsAndNeverRepeatAConfiguration) {
  const absl::StatusOr<Sweep> sweep =
      Load(std::string(kModels) + "sweep: {method: random, max_trials: 5, parameters: {dim: {values: [4, 8]}}}\n");
  ASSERT_TRUE(sweep.ok()) << sweep.status();
  EXPECT_THAT(Names(*sweep), testing::UnorderedElementsAre("towers-dim=4", "towers-dim=8", "stars-dim=4", "stars-dim=8"));
}

TEST_F(SweepTest, AshaSetsEpochsAndRungs) {
  const absl::StatusOr<Sweep> sweep = Load(std::string(kModels) + R"(sweep:
  method: asha
  models: [towers]
  parameters: {dim: {min: 4, max: 64}}
  max_trials: 3
  max_t: 27
  grace_period: 2
  reduction_factor: 3
  keep: all
  early_stopping: {patience: 4, min_delta: 0.001}
)");
  ASSERT_TRUE(sweep.ok()) << sweep.status();
  EXPECT_EQ(sweep->asha->grace_period, 2U);
  EXPECT_EQ(sweep->asha->reduction_factor, 3U);
  EXPECT_EQ(sweep->keep, KeepModels::kAll);
  for (const TrialConfig& trial : sweep->trials) {
    EXPECT_EQ(trial.model.epochs, 27);
    EXPECT_EQ(trial.validation, (ValidationConfig{.every = 1, .patience = 4, .min_delta = 0.001}));
  }
  EXPECT_FALSE(Load(std::string(kModels) + "sweep: {}\n")->asha.has_value());
  EXPECT_EQ(Load(std::string(kModels) + "sweep: {}\n")->keep, KeepModels::kBest);
}

TEST_F(SweepTest, SeedsRepeatAConfigurationUnderNamesOfTheirOwn) {
  const absl::StatusOr<Sweep> sweep =
      Load(std::string(kModels) + "sweep: {models: [towers], seeds: 3, seed: 7, parameters: {dim: {values: [4]}}}\n");
  ASSERT_TRUE(sweep.ok()) << sweep.status();
  EXPECT_THAT(Names(*sweep), ElementsAre("towers-dim=4", "towers-dim=4-seed=8", "towers-dim=4-seed=9"));
  EXPECT_EQ(sweep->trials[0].seed, 7U);
  EXPECT_EQ(sweep->trials[0].repeats, "");
  EXPECT_EQ(sweep->trials[2].seed, 9U);
  EXPECT_EQ(sweep->trials[2].repeats, "towers-dim=4");
  const absl::StatusOr<Sweep> list = Load(std::string(kModels) + "sweep: {models: [stars], seeds: [5, 2]}\n");
  ASSERT_TRUE(list.ok()) << list.status();
  EXPECT_THAT(Names(*list), ElementsAre("stars", "stars-seed=2"));
  EXPECT_EQ(list->trials[0].seed, 5U);
}

TEST_F(SweepTest, MaxTrialsCutsAGridAndLongNamesStayShort) {
  const absl::StatusOr<Sweep> sweep =
      Load(std::string(kModels) + "sweep: {max_trials: 3, parameters: {dim: {values: [4, 8]}, seed: {values: [1, 2]}}}\n");
  ASSERT_TRUE(sweep.ok()) << sweep.status();
  EXPECT_THAT(Names(*sweep), ElementsAre("towers-dim=4-seed=1", "towers-dim=4-seed=2", "towers-dim=8-seed=1"));
  std::string widths = "1024";
  for (int i = 0; i < 30; ++i) widths += ", 1024";
  const absl::StatusOr<Sweep> long_name =
      Load(std::string(kModels) + "sweep: {models: [stars], parameters: {tower.layers: {values: [[" + widths + "]]}}}\n");
  ASSERT_TRUE(long_name.ok()) << long_name.status();
  EXPECT_THAT(Names(*long_name)[0], testing::MatchesRegex("stars-[0-9a-f]{16}"));
}

TEST_F(SweepTest, StartFromIsRelativeToTheFile) {
  const absl::StatusOr<Sweep> sweep = Load(std::string(kModels) + R"(sweep:
  trials:
    - {name: cold, model: towers}
    - {name: warm, model: towers, start_from: runs/one/models/best}
    - {name: absolute, model: towers, set: {start_from: /kept/best}}
)");
  ASSERT_TRUE(sweep.ok()) << sweep.status();
  EXPECT_EQ(sweep->trials[0].model.start_from, "");
  EXPECT_EQ(sweep->trials[1].model.start_from, folder_.Path("runs/one/models/best"));
  EXPECT_EQ(sweep->trials[2].model.start_from, "/kept/best");
}

TEST_F(SweepTest, ErrorsSayWhereAndWhat) {
  struct Case {
    const char* sweep;
    const char* error;
  };
  for (const Case& wrong : {
           Case{"sweep: {models: [tower]}\n", "did you mean 'towers'"},
           Case{"sweep: {parameters: {dimm: {values: [1]}}}\n",
                "sweep.yaml:11: key 'sweep.parameters.dimm': in the model, key 'dimm': unknown; did you mean 'dim'?"},
           Case{"sweep:\n  models: [towers]\n  parameters:\n    dim: {values: [4, -1]}\n",
                "sweep.yaml:14: key 'sweep.parameters.dim': in the model, key 'dim': value '-1'"},
           Case{"sweep: {parameters: {dim: {values: []}}}\n", "at least one value"},
           Case{"sweep: {parameters: {dim: {vals: [1]}}}\n", "values': is missing"},
           Case{"sweep: {method: bayes}\n", "must be 'grid', 'random' or 'asha'"},
           Case{"sweep: {method: random}\n", "sweep.max_trials': is missing"},
           Case{"sweep: {parameters: {dim: {min: 1, max: 4}}}\n", "must be random or asha"},
           Case{"sweep: {method: random, max_trials: 2, parameters: {dim: {min: 4, max: 1}}}\n", "must be at least min"},
           Case{"sweep: {method: random, max_trials: 2, parameters: {dim: {min: 1}}}\n", "max': is missing"},
           Case{
               "sweep: {method: random, max_trials: 2, parameters: {lr: {distribution: log_uniform_values, min: 0, max: 1}}}\n",
               "must be above 0"},
           Case{"sweep: {method: random, max_trials: 2, parameters: {lr: {distribution: normal, min: 0, max: 1}}}\n",
                "'log_uniform_values'"},
           Case{"sweep: {method: random, max_trials: 2, parameters: {lr: {values: [1]}, optimizer.learning_rate: {values: "
                "[2]}}}\n",
                "says the same"},
           Case{"sweep: {method: random, max_trials: 9, models: [towers], parameters: {dim: {min: 0, max: 3}}}\n",
                "sweep.yaml:11: key 'sweep.parameters.dim': in the model, key 'dim': value '0'"},
           Case{"sweep: {max_t: 3}\n", "for method 'asha' only"},
           Case{"sweep: {method: asha, max_trials: 2, reduction_factor: 1}\n", "reduction_factor"},
           Case{"sweep: {early_stopping: {min_delta: 0.1}}\n", "patience': is missing"},
           Case{"sweep: {validate_every: 1, split: {validation: 0}}\n", "validation part"},
           Case{"sweep: {seeds: 0}\n", "sweep.seeds"},
           Case{"sweep: {seeds: [1, 1]}\n", "each once"},
           Case{"sweep: {seeds: 2, parameters: {seed: {values: [1, 2]}}}\n", "must be left out"},
           Case{"sweep: {keep: some}\n", "'best', 'all' or 'none'"},
           Case{"sweep: {workers_per_trial: 0}\n", "sweep.workers_per_trial"},
           Case{"sweep: {models: [towers], parameters: {dim: {values: [4, 4]}}}\n", "'towers-dim=4'"},
           Case{"sweep: {trials: [{name: a, model: towers, set: {dim: 0}}]}\n", "sweep.trials[0].set.dim"},
           Case{"sweep: {trials: [{name: a, model: x}]}\n", "sweep.trials[0].model"},
           Case{"sweep: {trials: [{name: a, model: towers}], models: [towers]}\n", "must be left out"},
           Case{"sweep: {trials: [{name: a/b, model: towers}]}\n", "letters, digits"},
           Case{"sweep: {split: {test: 2}}\n", "sweep.split.test"},
           Case{"sweep: {split: {protocol: leave_last_out, validation: 0.1}}\n", "sweep.split.validation"},
           Case{"sweep: {models: [stars], split: {protocol: binarized}}\n", "must be binary_cross_entropy"},
           Case{"sweep: {}\nmodel: {}\n", "did you mean 'models'"},
       }) {
    EXPECT_THAT(ErrorOf(wrong.sweep), HasSubstr(wrong.error)) << wrong.sweep;
  }
}

TEST_F(SweepTest, ValuesThatAreWrongOnlyTogetherAreTheTrialsError) {
  EXPECT_THAT(ErrorOf("sweep:\n  trials:\n    - {name: a, model: towers, set: {query.layers: [4], candidate.layers: [5]}}\n"),
              HasSubstr("sweep.yaml:13: with the values that it sets, query is 4 wide and candidate 5"));
  const absl::StatusOr<Sweep> both = Load(
      std::string(kModels) + "sweep: {trials: [{name: a, model: towers, set: {query.layers: [4], candidate.layers: [4]}}]}\n");
  EXPECT_TRUE(both.ok()) << both.status();
}

TEST_F(SweepTest, ErrorInAModelIsAtItsOwnLine) {
  std::string models = kModels;
  models.replace(models.find("dim: 8"), 6, "dim: 0");
  EXPECT_THAT(std::string(Load(models + "sweep: {}\n").status().message()), HasSubstr("sweep.yaml:4: key 'models.towers.dim'"));
}

TEST_F(SweepTest, SectionsOfTheSweepFileComeFirstAndMayBeInOtherFiles) {
  const std::string cluster = std::string(kCluster) + "data: {file: first.mq}\nmodels: models.yaml\nsweep: {seed: 1}\n";
  folder_.Write("models.yaml", kModels);
  const absl::StatusOr<Sweep> sweep = Load("sweep: {seed: 2}\n", cluster);
  ASSERT_TRUE(sweep.ok()) << sweep.status();
  EXPECT_EQ(sweep->trials.size(), 2U);
  EXPECT_EQ(sweep->trials[0].seed, 2U);
  EXPECT_EQ(sweep->data_file, folder_.Path("first.mq"));
  const absl::StatusOr<Sweep> alone = LoadSweep(folder_.Path("cluster.yaml"), "");
  ASSERT_TRUE(alone.ok()) << alone.status();
  EXPECT_EQ(alone->trials[0].seed, 1U);
  EXPECT_THAT(std::string(Load("data: second.mq\n", kCluster).status().message()), HasSubstr("key 'models': is missing"));
  EXPECT_EQ(Load("data: second.mq\n", cluster)->data_file, folder_.Path("second.mq"));
}

}  // namespace
}  // namespace marquee
