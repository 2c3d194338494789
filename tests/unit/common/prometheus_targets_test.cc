#include "common/prometheus_targets.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

namespace marquee {
namespace {

using testing::HasSubstr;

ClusterConfig ThreeHosts() {
  ClusterConfig config;
  config.name = "three";
  config.scheduler = {.host = "10.0.0.1", .port = 7700, .metrics_port = 9700};
  config.servers = {{.name = "a", .host = "10.0.0.2", .port = 7710, .shards = 2, .metrics_port = 9710}};
  config.workers = {{.name = "c", .host = "fd00::3", .threads = 1, .device = "cpu", .metrics_port = 9720}};
  return config;
}

TEST(PrometheusTargetsTest, ListsAllProcessesOfTheFile) {
  const absl::StatusOr<std::string> text = PrometheusTargets(ThreeHosts(), "cluster.yaml", "");
  ASSERT_TRUE(text.ok()) << text.status();
  const nlohmann::json expected = {
      {{"targets", {"10.0.0.1:9700"}},
       {"labels", {{"cluster", "three"}, {"role", "scheduler"}, {"name", "scheduler"}, {"host", "10.0.0.1"}}}},
      {{"targets", {"10.0.0.2:9710"}},
       {"labels", {{"cluster", "three"}, {"role", "server"}, {"name", "a"}, {"host", "10.0.0.2"}}}},
      {{"targets", {"[fd00::3]:9720"}},
       {"labels", {{"cluster", "three"}, {"role", "worker"}, {"name", "c"}, {"host", "fd00::3"}}}}};
  EXPECT_EQ(nlohmann::json::parse(*text), expected) << *text;
}

TEST(PrometheusTargetsTest, FreePortsAreThoseOfTheRunningSweep) {
  ClusterConfig config = ThreeHosts();
  config.servers[0].metrics_port = 0;
  const absl::StatusOr<std::string> unknown = PrometheusTargets(config, "cluster.yaml", "");
  EXPECT_THAT(std::string(unknown.status().message()),
              testing::AllOf(HasSubstr("cluster.yaml: 'a' has no metrics_port"), HasSubstr("--run")));

  const std::filesystem::path run = std::filesystem::temp_directory_path() / "marquee-prometheus-targets";
  std::filesystem::remove_all(run);
  std::filesystem::create_directories(run);
  EXPECT_THAT(std::string(PrometheusTargets(config, "cluster.yaml", run.string()).status().message()),
              HasSubstr("no sweep runs in this folder"));
  std::ofstream(run / "endpoints.json") << R"({"scheduler": {"metrics": "10.0.0.1:9700"}})";
  EXPECT_THAT(std::string(PrometheusTargets(config, "cluster.yaml", run.string()).status().message()),
              HasSubstr("not among those that run"));
  std::ofstream(run / "endpoints.json") << "[1, 2";
  EXPECT_THAT(std::string(PrometheusTargets(config, "cluster.yaml", run.string()).status().message()),
              HasSubstr("not what a scheduler writes"));
  std::ofstream(run / "endpoints.json") << R"({"a": {"metrics": "10.0.0.2:41234", "listens": []}})";
  const absl::StatusOr<std::string> known = PrometheusTargets(config, "cluster.yaml", run.string());
  ASSERT_TRUE(known.ok()) << known.status();
  EXPECT_EQ(nlohmann::json::parse(*known)[1]["targets"][0], "10.0.0.2:41234");
  std::filesystem::remove_all(run);
}

}  // namespace
}  // namespace marquee
