#include "scheduler/cluster_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "scheduler/cluster_follower.h"
#include "tests/unit/common/temporary_folder.h"

namespace marquee {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr char kTwo[] = R"(cluster:
  partitions: 16
  replication: 2
  servers: {count: 2, shards: 2}
  workers: {count: 2}
models:
  ranking: {kind: ranking, epochs: 3}
)";

std::string With(std::string text, const std::string& old, const std::string& replacement) {
  const size_t at = text.find(old);
  return at == std::string::npos ? "not found: " + old : text.replace(at, old.size(), replacement);
}

std::string WithServers(const std::string& servers) { return With(kTwo, "{count: 2, shards: 2}", servers); }

class ClusterFileTest : public testing::Test {
 protected:
  ClusterFileTest() { folder_.Write("cluster.yaml", kTwo); }

  ClusterFile Load() {
    absl::StatusOr<ClusterFile> file = ClusterFile::Load(folder_.Path("cluster.yaml"));
    EXPECT_TRUE(file.ok()) << file.status();
    return *std::move(file);
  }
  void Edit(const std::string& text) const { folder_.Write("cluster.yaml", text); }
  // Of an edit that is asked for.
  std::string Refusal(ClusterFile& file, const std::string& text) {
    Edit(text);
    return std::string(file.Poll(now_, true).status().message());
  }
  // Follows an edit, if there is one to follow.
  bool Follow(ClusterFile& file, bool asked = false) {
    absl::StatusOr<std::optional<ClusterFile::Version>> version = file.Poll(now_, asked);
    EXPECT_TRUE(version.ok()) << version.status();
    if (!version.ok() || !version->has_value()) return false;
    file.Use(**std::move(version));
    return true;
  }
  std::vector<std::string> Leaving(const ClusterFile& file) {
    std::vector<std::string> names;
    for (const ServerPlace& place : file.leaving()) names.push_back(place.name);
    return names;
  }

  const TemporaryFolder folder_;
  absl::Time now_ = absl::UnixEpoch();
};

TEST_F(ClusterFileTest, EditIsFollowedOnceItHasSettled) {
  ClusterFile file = Load();
  EXPECT_FALSE(Follow(file));
  Edit(WithServers("{count: 4, shards: 2}"));
  now_ += absl::Seconds(1);
  EXPECT_FALSE(Follow(file)) << "seen for the first time";
  Edit(WithServers("{count: 3, shards: 2}"));
  now_ += absl::Seconds(1);
  EXPECT_FALSE(Follow(file)) << "was still being written";
  now_ += absl::Milliseconds(100);
  EXPECT_FALSE(Follow(file)) << "not looked at yet";
  now_ += absl::Seconds(1);
  ASSERT_TRUE(Follow(file));
  EXPECT_EQ(file.config().servers.size(), 3U);
  now_ += absl::Seconds(10);
  EXPECT_FALSE(Follow(file));
}

TEST_F(ClusterFileTest, EditIsFollowedAtOnceIfAsked) {
  ClusterFile file = Load();
  EXPECT_FALSE(Follow(file, true));
  Edit(WithServers("{count: 4, shards: 2}"));
  EXPECT_TRUE(Follow(file, true));
  EXPECT_EQ(file.config().servers.size(), 4U);
  EXPECT_FALSE(Follow(file, true));
}

TEST_F(ClusterFileTest, ReplacedFileIsAnEdit) {
  ClusterFile file = Load();
  folder_.Write("new.yaml", WithServers("{count: 4, shards: 2}"));
  std::filesystem::rename(folder_.Path("new.yaml"), folder_.Path("cluster.yaml"));
  EXPECT_TRUE(Follow(file, true));
}

TEST_F(ClusterFileTest, RefusedTextIsRefusedOnce) {
  ClusterFile file = Load();
  Edit("cluster: {servers: [");
  int refusals = 0;
  for (int second = 0; second < 10; ++second, now_ += absl::Seconds(1)) refusals += file.Poll(now_, false).ok() ? 0 : 1;
  EXPECT_EQ(refusals, 1);
  EXPECT_FALSE(file.Poll(now_, true).ok()) << "who asks is told again";
  Edit(kTwo);
  EXPECT_FALSE(Follow(file, true));
  EXPECT_EQ(file.config().servers.size(), 2U);
}

TEST_F(ClusterFileTest, MissingOrEmptyFileIsRefusedIfItStaysSo) {
  ClusterFile file = Load();
  std::filesystem::remove(folder_.Path("cluster.yaml"));
  EXPECT_TRUE(file.Poll(now_, false).ok()) << "it may be on its way";
  now_ += absl::Seconds(1);
  EXPECT_THAT(std::string(file.Poll(now_, false).status().message()), HasSubstr("cluster.yaml: cannot be read"));
  EXPECT_THAT(Refusal(file, ""), HasSubstr("cluster.yaml: cannot be read, or is empty"));
}

TEST_F(ClusterFileTest, OnlyServersAndWorkersMayChange) {
  ClusterFile file = Load();
  EXPECT_THAT(Refusal(file, With(kTwo, "partitions: 16", "partitions: 32")),
              AllOf(HasSubstr("cluster.yaml:2: key 'cluster.partitions': value '32': was '16'"), HasSubstr("--resume")));
  EXPECT_THAT(Refusal(file, With(kTwo, "  partitions: 16\n", "")),
              HasSubstr("key 'cluster.partitions': is not there any more, and was '16'"));
  EXPECT_THAT(Refusal(file, With(kTwo, "  partitions", "  heartbeat_seconds: 2\n  partitions")),
              HasSubstr("cluster.yaml:2: key 'cluster.heartbeat_seconds': value '2': was not there"));
  EXPECT_THAT(Refusal(file, With(kTwo, "epochs: 3", "epochs: 4")),
              HasSubstr("cluster.yaml:7: key 'models.ranking.epochs': value '4': was '3'"));
  EXPECT_THAT(Refusal(file, std::string(kTwo) + "data: x.mq\n"), HasSubstr("key 'data': value 'x.mq': was not there"));
  EXPECT_THAT(Refusal(file, WithServers("{count: 1}")), HasSubstr("replication is 2 and there is 1 server"));
  EXPECT_EQ(file.config().partitions, 16U);
}

TEST_F(ClusterFileTest, SpaceCommentsAndOrderAreNoChange) {
  ClusterFile file = Load();
  Edit(With(With(kTwo, "  partitions: 16\n", ""), "models", "  partitions: 16  # as before\n\nmodels"));
  EXPECT_TRUE(Follow(file, true));
  EXPECT_TRUE(file.leaving().empty());
}

TEST_F(ClusterFileTest, ServersLeaveAndMayComeBackAsTheyWere) {
  ClusterFile file = Load();
  Edit(WithServers("[{name: s2, shards: 2}, {name: s3, shards: 2}]"));
  ASSERT_TRUE(Follow(file, true));
  EXPECT_THAT(Leaving(file), ElementsAre("s0", "s1"));
  EXPECT_THAT(Refusal(file, WithServers("[{name: s2, shards: 2}, {name: s3, shards: 2}, {name: s0, shards: 1}]")),
              AllOf(HasSubstr("key 'cluster.servers': 's0' has"), HasSubstr("1 shards"), HasSubstr("2 shards")));
  file.Gone("s1");
  EXPECT_THAT(Leaving(file), ElementsAre("s0"));
  Edit(WithServers("[{name: s2, shards: 2}, {name: s3, shards: 2}, {name: s0, shards: 2}, {name: s1, shards: 1}]"));
  ASSERT_TRUE(Follow(file, true));
  EXPECT_TRUE(file.leaving().empty());
}

TEST_F(ClusterFileTest, ServerThatRunsKeepsItsPlace) {
  ClusterFile file = Load();
  EXPECT_THAT(Refusal(file, WithServers("{count: 2, shards: 1}")), HasSubstr("'s0' has host 127.0.0.1, port 0, 1 shards"));
  EXPECT_THAT(Refusal(file, With(kTwo, "workers: {count: 2}", "workers: {count: 2, threads: 2}")),
              AllOf(HasSubstr("key 'cluster.workers': 'w0' has"), HasSubstr("2 threads")));
}

TEST_F(ClusterFileTest, PortsAndNamesOfLeavingServersAreTaken) {
  folder_.Write("cluster.yaml", WithServers("[{name: a, port: 7710, shards: 2}, {name: b, port: 7720}]"));
  ClusterFile file = Load();
  EXPECT_THAT(Refusal(file, WithServers("[{name: b, port: 7720}, {name: c, port: 7711}]")),
              HasSubstr("'c' has port 7711 of 127.0.0.1, which 'a' has until it has left"));
  const std::string two = WithServers("[{name: b, port: 7720}, {name: c, port: 7712}]");
  EXPECT_THAT(Refusal(file, With(two, "{count: 2}", "[{name: a}]")), HasSubstr("'a' is the name of a server"));
  Edit(two);
  ASSERT_TRUE(Follow(file, true));
  EXPECT_THAT(Refusal(file, With(two, "{count: 2}", "[{name: a}]")), HasSubstr("'a' is the name of a server"));
  file.Gone("a");
  Edit(With(two, "{count: 2}", "[{name: a}]"));
  EXPECT_TRUE(Follow(file, true));
}

TEST_F(ClusterFileTest, ClusterNeedsTheWorkersOfOneTrial) {
  const ClusterFile file = Load();
  EXPECT_TRUE(CheckWorkers(file.config(), 2, "x.yaml").ok());
  EXPECT_EQ(CheckWorkers(file.config(), 3, "x.yaml").message(),
            "x.yaml: sweep.workers_per_trial is 3, but the cluster has 2 workers");
}

}  // namespace
}  // namespace marquee
