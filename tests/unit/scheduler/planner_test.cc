#include "scheduler/planner.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "tests/unit/common/temporary_folder.h"

namespace marquee {
namespace {

using testing::HasSubstr;

// Costs that make sums by hand easy: a row costs a shard 1 us to pull and 2 us to push, and nothing else costs anything.
MachineConstants Constants() {
  MachineConstants constants;
  constants.cores = 8;
  constants.shard_pull.row = 1e-6;
  constants.shard_push.row = 2e-6;
  constants.row_overhead_bytes = 16;
  return constants;
}

PlannedLoad Load() {
  PlannedLoad load;
  load.step = {.name = "model",
               .examples = 1000,
               .seconds = 0.1,
               .busy_seconds = 0.1,
               .tables = {{.name = "users", .dim = 10, .state = 10, .rows = 1e6, .rows_per_step = 1000}}};
  load.workers_per_trial = 1;
  return load;
}

ClusterConfig Cluster(uint32_t servers, uint32_t workers) {
  ClusterConfig cluster;
  for (uint32_t i = 0; i < servers; ++i) cluster.servers.emplace_back().name = fmt::format("s{}", i);
  for (uint32_t i = 0; i < workers; ++i) cluster.workers.emplace_back().name = fmt::format("w{}", i);
  return cluster;
}

Plan PlanOf(const ClusterConfig& cluster, const PlannedLoad& load, const PlanOptions& options = {.cores_per_host = 1000}) {
  const absl::StatusOr<Plan> plan = MakePlan(cluster, load, options, Constants());
  EXPECT_TRUE(plan.ok()) << plan.status();
  return *plan;
}

TEST(PlannerTest, FewWorkersLimitTheRate) {
  const Plan plan = PlanOf(Cluster(1, 2), Load());
  EXPECT_EQ(plan.limits.front().what, "workers");
  EXPECT_DOUBLE_EQ(plan.examples_per_second, 2 * 1000 / 0.1);
  EXPECT_DOUBLE_EQ(plan.steps_per_second, 20);
  EXPECT_DOUBLE_EQ(plan.worker_use, 1);
  EXPECT_DOUBLE_EQ(plan.shard_use, 20 * 1000 * 3e-6);
  EXPECT_DOUBLE_EQ(plan.examples_per_second_per_trial, plan.examples_per_second / 2);
}

TEST(PlannerTest, BusyCoresAreSlower) {
  PlannedLoad load = Load();
  load.step.busy_seconds = 0.2;
  const auto rate = [&](uint32_t workers, double cores) {
    return PlanOf(Cluster(1, workers), load, {.cores_per_host = cores}).examples_per_second;
  };
  EXPECT_NEAR(rate(1, 1000), 1000 / 0.1, 10);
  EXPECT_NEAR(rate(9, 17), 9 * 1000 / 0.15, 9 * 1000 / 0.15 * 0.02) << "half of the other cores are in use";
  EXPECT_NEAR(rate(8, 8), 8 * 1000 / (0.2 + 0.003), 1) << "all of them, by workers and the shard";
}

TEST(PlannerTest, ManyWorkersRunIntoTheShards) {
  const Plan one = PlanOf(Cluster(1, 100), Load());
  EXPECT_EQ(one.limits.front().what, "shards");
  EXPECT_DOUBLE_EQ(one.examples_per_second, 1000 / (1000 * 3e-6));
  EXPECT_DOUBLE_EQ(one.shard_use, 1);
  const Plan two = PlanOf(Cluster(2, 100), Load());
  EXPECT_DOUBLE_EQ(two.examples_per_second, 2 * one.examples_per_second);
}

TEST(PlannerTest, ProcessesOfOneHostShareItsCores) {
  const Plan plan = PlanOf(Cluster(1, 4), Load(), {.cores_per_host = 2});
  EXPECT_EQ(plan.limits.front().what, "CPU of 127.0.0.1");
  EXPECT_DOUBLE_EQ(plan.steps_per_second, 2 / (0.1 + 0.003));
  const Plan apart = PlanOf(Cluster(1, 4), Load(), {.cores_per_host = 2, .servers_per_host = 1, .workers_per_host = 1});
  EXPECT_EQ(apart.limits.front().what, "workers");
}

TEST(PlannerTest, TheNetworkCountsBetweenHostsOnly) {
  PlannedLoad load = Load();
  load.step.seconds = load.step.busy_seconds = 1e-6;
  load.step.tables[0].dim = 1000;
  const PlanOptions slow{.cores_per_host = 1e9, .network_gbit = 0.001, .servers_per_host = 1, .workers_per_host = 2};
  const Plan plan = PlanOf(Cluster(1, 2), load, slow);
  EXPECT_THAT(plan.limits.front().what, HasSubstr("network of"));
  // 1 Mbit/s over what a step carries to the server: gradients, and ids twice.
  EXPECT_NEAR(plan.steps_per_second, 125e3 / (1000 * (4 * 1000 + 16) + 400), 1e-6);
  const Plan together = PlanOf(Cluster(1, 2), load, {.cores_per_host = 1e9, .network_gbit = 0.001});
  EXPECT_EQ(together.limits.front().what, "shards");
}

TEST(PlannerTest, MemoryIsThatOfRowsTheirStateTheirCopiesAndTrialsAtOnce) {
  const double row = 8 + 4 * 20 + 16;
  EXPECT_DOUBLE_EQ(PlanOf(Cluster(1, 1), Load()).memory_bytes_per_server, 1e6 * row);
  ClusterConfig two = Cluster(4, 6);
  two.replication = 2;
  PlannedLoad load = Load();
  load.workers_per_trial = 3;
  EXPECT_DOUBLE_EQ(PlanOf(two, load).memory_bytes_per_server, 1e6 * row * 2 * 2 / 4);
}

TEST(PlannerTest, WithoutMeasuredCostsItSaysHowToMeasure) {
  const auto plan = MakePlan(Cluster(1, 1), Load(), {}, MachineConstants());
  ASSERT_FALSE(plan.ok());
  EXPECT_THAT(std::string(plan.status().message()), HasSubstr("ps_bench --store"));
}

TEST(PlannerTest, TextSaysWhatLimits) {
  const std::string text = PlanText(Cluster(1, 2), Load(), PlanOf(Cluster(1, 2), Load()));
  EXPECT_THAT(text, HasSubstr("limited   by workers; next shards"));
  EXPECT_THAT(text, HasSubstr("20000 examples/s in all, 10000 for each trial"));
}

class PlanSectionTest : public testing::Test {
 protected:
  absl::StatusOr<PlanSection> Load(const std::string& plan) {
    const std::string path = folder_.path() + "/cluster.yaml";
    std::ofstream(path) << "cluster: {servers: {count: 1}, workers: {count: 4}}\n" << plan;
    const auto cluster = LoadClusterConfig(path);
    if (!cluster.ok()) return cluster.status();
    return LoadPlanSection(path, *cluster);
  }
  TemporaryFolder folder_;
};

TEST_F(PlanSectionTest, MayBeMissing) {
  const auto plan = Load("");
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_FALSE(plan->load.has_value());
}

TEST_F(PlanSectionTest, SaysTablesAndRates) {
  const auto plan = Load(
      "plan:\n  batch_size: 8192\n  step_seconds: 0.5\n  network_gbit: 25\n"
      "  tables: [{name: users, rows: 1000000000, dim: 64, optimizer: adam, rows_per_step: 8000}]\n");
  ASSERT_TRUE(plan.ok()) << plan.status();
  ASSERT_TRUE(plan->load.has_value());
  EXPECT_EQ(plan->options.network_gbit, 25);
  EXPECT_EQ(plan->load->workers_per_trial, 4U);
  EXPECT_EQ(plan->load->step.tables[0].rows, 1e9);
  EXPECT_EQ(plan->load->step.tables[0].state, 129U);
}

TEST_F(PlanSectionTest, RefusesWhatIsMissingOrWrongByName) {
  for (const auto& [text, named] : std::vector<std::pair<std::string, std::string>>{
           {"plan: {tables: [{name: users, rows: 10, dim: 4, rows_per_step: 1}], step_seconds: 1}", "batch_size"},
           {"plan: {tables: [{name: users, dim: 4, rows_per_step: 1}], batch_size: 1, step_seconds: 1}", "rows"},
           {"plan: {tables: [{name: users, rows: 0, dim: 4, rows_per_step: 1}], batch_size: 1, step_seconds: 1}", "rows"},
           {"plan: {core_per_host: 4}", "cores_per_host"},
           {"plan: {workers_per_trial: 5}", "workers_per_trial"},
       }) {
    const auto plan = Load(text);
    ASSERT_FALSE(plan.ok()) << text;
    EXPECT_THAT(std::string(plan.status().message()), HasSubstr(named));
  }
}

TEST(MachineConstantsTest, AreReadAsTheyWereWritten) {
  const TemporaryFolder folder;
  const std::string path = folder.path() + "/machine.json";
  MachineConstants written = Constants();
  written.steps["key"] = Load().step;
  written.steps["key"].busy_seconds = 0.15;
  ASSERT_TRUE(written.Save(path).ok());
  const auto read = MachineConstants::Load(path);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->cores, 8U);
  EXPECT_DOUBLE_EQ(read->shard_push.row, 2e-6);
  EXPECT_EQ(read->steps.at("key").tables.at(0).state, 10U);
  EXPECT_DOUBLE_EQ(read->steps.at("key").seconds, 0.1);
  EXPECT_DOUBLE_EQ(read->steps.at("key").busy_seconds, 0.15);
}

TEST(MachineConstantsTest, OlderFilesHaveStepsThatWereMeasuredAlone) {
  const TemporaryFolder folder;
  const std::string path = folder.path() + "/machine.json";
  MachineConstants written = Constants();
  written.steps["key"] = Load().step;
  ASSERT_TRUE(written.Save(path).ok());
  std::stringstream text;
  text << std::ifstream(path).rdbuf();
  std::string older = text.str();
  const size_t field = older.find("\"busy_seconds\"");
  ASSERT_NE(field, std::string::npos);
  older.erase(field, older.find('\n', field) - field);
  std::ofstream(path) << older;
  const auto read = MachineConstants::Load(path);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_DOUBLE_EQ(read->steps.at("key").busy_seconds, 0.1);
}

TEST(MachineConstantsTest, AFileThatIsNotTheirsIsRefusedAndAMissingOneIsEmpty) {
  const TemporaryFolder folder;
  const std::string path = folder.path() + "/machine.json";
  EXPECT_FALSE(MachineConstants::Load(path)->has_operations());
  std::ofstream(path) << "{\"cores\": \"many\"}";
  const auto read = MachineConstants::Load(path);
  ASSERT_FALSE(read.ok());
  EXPECT_THAT(std::string(read.status().message()), HasSubstr(path));
}

TEST(MachineConstantsTest, StepsThatCostTheSameHaveOneKey) {
  TrialConfig config;
  config.name = "one";
  TrialConfig other = config;
  other.name = "two";
  other.seed = 7;
  other.model.epochs = 30;
  other.model.optimizer.learning_rate = 0.5;
  EXPECT_EQ(StepKey(config), StepKey(other));
  other.model.dim = 64;
  EXPECT_NE(StepKey(config), StepKey(other));
}

}  // namespace
}  // namespace marquee
