#include "scheduler/process_list.h"

#include <gtest/gtest.h>

namespace marquee {
namespace {

TEST(ProcessListTest, NamesEveryProcessAndItsPorts) {
  ClusterConfig config;
  config.replication = 2;
  config.servers = {{.name = "s0", .host = "10.0.0.1", .port = 7710, .shards = 4, .metrics_port = 9710},
                    {.name = "a-longer-name", .host = "10.0.0.2", .port = 0, .shards = 1, .metrics_port = 0}};
  config.workers = {{.name = "w0", .host = "10.0.0.3", .threads = 1, .device = "cpu", .metrics_port = 9720}};
  EXPECT_EQ(
      ProcessList(config),
      "Cluster local: 2 servers, 1 workers, started by the scheduler; 64 partitions, two copies of each row; not encrypted\n"
      "NAME           PROGRAM    PORTS        METRICS  HOST\n"
      "scheduler      scheduler  free         free     127.0.0.1\n"
      "s0             ps         7710-7713    9710     10.0.0.1\n"
      "a-longer-name  ps         free         free     10.0.0.2\n"
      "w0             worker     -            9720     10.0.0.3");
}

}  // namespace
}  // namespace marquee
