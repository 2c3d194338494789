#include "common/cluster_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

namespace marquee {
namespace {

using testing::HasSubstr;

class ClusterConfigTest : public testing::Test {
 protected:
  ClusterConfigTest() {
    folder_ = std::filesystem::temp_directory_path() /
              ("marquee-cluster-" + std::string(testing::UnitTest::GetInstance()->current_test_info()->name()));
    std::filesystem::create_directories(folder_);
  }
  ~ClusterConfigTest() override { std::filesystem::remove_all(folder_); }

  absl::StatusOr<ClusterConfig> Load(const std::string& yaml) {
    std::ofstream(folder_ / "cluster.yaml") << yaml;
    return LoadClusterConfig((folder_ / "cluster.yaml").string());
  }
  std::string ErrorOf(const std::string& yaml) { return std::string(Load(yaml).status().message()); }

  std::filesystem::path folder_;
};

constexpr char kSmall[] = "cluster:\n  servers: {count: 2, shards: 3}\n  workers: {count: 1, threads: 4, device: cpu}\n";

TEST_F(ClusterConfigTest, CountsMakeNamesOnLoopback) {
  const absl::StatusOr<ClusterConfig> config =
      Load(std::string(kSmall) + "data: {file: some/data.mq}\nmodels: {}\nsweep: x.yaml\n");
  ASSERT_TRUE(config.ok()) << config.status();
  ASSERT_EQ(config->servers.size(), 2U);
  EXPECT_EQ(config->servers[1].name, "s1");
  EXPECT_EQ(config->servers[1].shards, 3U);
  EXPECT_EQ(config->servers[1].host, "127.0.0.1");
  ASSERT_NE(config->worker("w0"), nullptr);
  EXPECT_EQ(config->worker("w0")->threads, 4U);
  EXPECT_EQ(config->worker("w0")->device, "cpu");
  EXPECT_EQ(config->worker("s0"), nullptr);
  EXPECT_EQ(config->launcher, ClusterConfig::Launcher::kLocal);
  EXPECT_FALSE(config->curve);
  EXPECT_EQ(config->partitions, 64U);
  EXPECT_EQ(config->data_file, (folder_ / "some/data.mq").string());
}

TEST_F(ClusterConfigTest, CountsTakeMetricsPortsOneAfterTheOther) {
  const absl::StatusOr<ClusterConfig> config =
      Load("cluster:\n  servers: {count: 2, metrics_port: 9101}\n  workers: {count: 2, metrics_port: 9103}\n");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->servers[0].metrics_port, 9101);
  EXPECT_EQ(config->servers[1].metrics_port, 9102);
  EXPECT_EQ(config->workers[1].metrics_port, 9104);
  EXPECT_THAT(ErrorOf("cluster:\n  servers: {count: 2, metrics_port: 9101}\n  workers: {count: 2, metrics_port: 9102}\n"),
              HasSubstr("gives port 9102"));
  EXPECT_THAT(ErrorOf("cluster:\n  servers: {count: 2, metrics_port: 65535}\n  workers: {count: 1}\n"),
              HasSubstr("must leave room for 2 processes"));
}

TEST_F(ClusterConfigTest, ListsSayEveryPlace) {
  const absl::StatusOr<ClusterConfig> config = Load(R"(
cluster:
  name: three
  launcher: external
  security: none
  partitions: 16
  scheduler: {host: 10.0.0.1, port: 7700, metrics_port: 9700}
  servers:
    - {name: a, host: 10.0.0.1, port: 7710, shards: 2, metrics_port: 9710}
    - {name: b, host: 10.0.0.2, port: 7710}
  workers:
    - {name: c, host: 10.0.0.3, threads: 2, device: cuda, metrics_port: 9720}
  heartbeat_seconds: 0.5
  lease_seconds: 5
  longest_step_seconds: 90
  max_message_mib: 32
  max_queued_mib: 128
data: data.mq
)");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->launcher, ClusterConfig::Launcher::kExternal);
  EXPECT_EQ(config->scheduler.port, 7700);
  EXPECT_EQ(config->server("b")->host, "10.0.0.2");
  EXPECT_EQ(config->server("a")->metrics_port, 9710);
  EXPECT_EQ(config->worker("c")->device, "cuda");
  EXPECT_EQ(config->heartbeat, absl::Milliseconds(500));
  EXPECT_EQ(config->longest_step, absl::Seconds(90));
  EXPECT_EQ(config->max_message_bytes, 32U << 20U);
  EXPECT_EQ(config->data_file, (folder_ / "data.mq").string());
}

TEST_F(ClusterConfigTest, StatusPageOffLoopbackNeedsAToken) {
  const std::string yaml = kSmall;
  const absl::StatusOr<ClusterConfig> plain = Load(yaml);
  ASSERT_TRUE(plain.ok()) << plain.status();
  EXPECT_EQ(plain->status.host, "127.0.0.1");
  EXPECT_EQ(plain->status.port, 0);
  EXPECT_THAT(ErrorOf(yaml + "  status: {host: 0.0.0.0, port: 7701}\n"),
              testing::AllOf(HasSubstr("cluster.status.token_file"), HasSubstr("is missing"), HasSubstr("'0.0.0.0'")));
  const absl::StatusOr<ClusterConfig> open = Load(yaml + "  status: {host: 0.0.0.0, port: 7701, token_file: token}\n");
  ASSERT_TRUE(open.ok()) << open.status();
  EXPECT_EQ(open->status.port, 7701);
  EXPECT_EQ(open->status.token_file, (folder_ / "token").string());
  EXPECT_THAT(ErrorOf(yaml + "  status: {prot: 1}\n"), HasSubstr("did you mean 'port'?"));
  EXPECT_THAT(ErrorOf(yaml + "  scheduler: {port: 7701}\n  status: {port: 7701}\n"), HasSubstr("gives port 7701"));
}

TEST_F(ClusterConfigTest, OffLoopbackNeedsSecurity) {
  const std::string yaml =
      "cluster:\n  launcher: external\n  scheduler: {host: 10.0.0.1, port: 1}\n  servers: {count: 1}\n  workers: {count: 1}\n";
  EXPECT_THAT(ErrorOf(yaml),
              testing::AllOf(HasSubstr("cluster.security"), HasSubstr("'10.0.0.1'"), HasSubstr("'curve' or 'none'")));
  EXPECT_TRUE(Load(yaml + "  security: none\n").ok());
  EXPECT_THAT(ErrorOf(yaml + "  security: curve\n"), HasSubstr("cluster.keys"));
  const absl::StatusOr<ClusterConfig> curve = Load(yaml + "  security: curve\n  keys: keys\n");
  ASSERT_TRUE(curve.ok()) << curve.status();
  EXPECT_TRUE(curve->curve);
  EXPECT_EQ(curve->keys, (folder_ / "keys").string());
}

TEST_F(ClusterConfigTest, RefusesWhatIsWrong) {
  struct Case {
    const char* line;
    const char* error;
  };
  for (const Case& wrong : {
           Case{"partitions: 60", "cluster.yaml:4: key 'cluster.partitions': value '60': must be a power of two"},
           Case{"partitions: 4", "4 partitions for 6 shards"},
           Case{"lease_seconds: 2", "at least 3 heartbeats"},
           Case{"lease_second: 20", "did you mean 'lease_seconds'"},
           Case{"longest_step_seconds: 0", "cluster.longest_step_seconds"},
           Case{"launcher: magic", "'external', 'ssh', 'slurm' or 'kubernetes'"},
           Case{"launcher: external", "scheduler.port must be given"},
           Case{"keys: folder", "security 'curve' only"},
           Case{"max_queued_mib: 1", "must hold one message"},
           Case{"scheduler: {port: 70000}", "cluster.scheduler.port"},
           Case{"scheduler: {host: 'a b'}", "cluster.scheduler.host"},
           Case{"scheduler: {port: 5, metrics_port: 5}", "gives port 5"},
       }) {
    EXPECT_THAT(ErrorOf(std::string(kSmall) + "  " + wrong.line + "\n"), HasSubstr(wrong.error)) << wrong.line;
  }
  EXPECT_THAT(ErrorOf("cluster:\n  servers: {count: 0}\n  workers: {count: 1}\n"), HasSubstr("cluster.servers.count"));
  EXPECT_THAT(ErrorOf("cluster:\n  servers: {count: 1}\n"), HasSubstr("cluster.workers"));
  EXPECT_THAT(ErrorOf("servers: {count: 1}\n"), HasSubstr("'cluster': is missing"));
  EXPECT_THAT(ErrorOf(std::string(kSmall) + "sweeps: {}\n"), HasSubstr("did you mean 'sweep'"));
}

constexpr char kPods[] = R"(
cluster:
  launcher: kubernetes
  security: none
  scheduler: {host: sched-0.sched, port: 7700, metrics_port: 9700}
  servers: {count: 2, name: server-, host: "{name}.servers", port: 7710, metrics_port: 9710, shards: 4}
  workers: [{name: worker-0, host: "{name}.workers", metrics_port: 9720}]
)";

TEST_F(ClusterConfigTest, PodsAreNamedByTheirPlace) {
  const absl::StatusOr<ClusterConfig> config = Load(kPods);
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->launcher, ClusterConfig::Launcher::kKubernetes);
  EXPECT_TRUE(config->all_interfaces);
  ASSERT_EQ(config->servers.size(), 2U);
  EXPECT_EQ(config->servers[1].name, "server-1");
  EXPECT_EQ(config->servers[1].host, "server-1.servers");
  EXPECT_EQ(config->servers[1].port, 7710U);
  EXPECT_EQ(config->servers[1].shards, 4U);
  EXPECT_EQ(config->worker("worker-0")->host, "worker-0.workers");
}

TEST_F(ClusterConfigTest, PodsNeedHostsAndPortsOfTheirOwn) {
  const auto with = [](std::string_view from, std::string_view to) {
    std::string yaml = kPods;
    return yaml.replace(yaml.find(from), from.size(), to);
  };
  EXPECT_THAT(ErrorOf(with("{name}.servers", "server.servers")), HasSubstr("gives port 7710"));
  EXPECT_THAT(ErrorOf(with("{name}.servers", "x-{name}.servers")), HasSubstr("'server-0.SERVICE'"));
  EXPECT_THAT(ErrorOf(with("{name}.servers", "{name}")), HasSubstr("'server-0.SERVICE'"));
  EXPECT_THAT(ErrorOf(with("{name}.servers", "{pod}.servers")), HasSubstr("{name} stands for"));
  EXPECT_THAT(ErrorOf(with(", metrics_port: 9720", "")), HasSubstr("'worker-0' must have a metrics_port"));
  EXPECT_THAT(ErrorOf(with("port: 7700, ", "")), HasSubstr("'scheduler' must have a port"));
  EXPECT_FALSE(Load(with("security: none", "security: none\n  bind: host"))->all_interfaces);
  EXPECT_THAT(ErrorOf(with("security: none", "security: none\n  bind: some")), HasSubstr("cluster.bind"));
}

TEST_F(ClusterConfigTest, NamesAndPortsAreTakenOnce) {
  const auto with_servers = [](const std::string& servers) {
    return "cluster:\n  servers: " + servers + "\n  workers: [{name: w}]\n";
  };
  EXPECT_THAT(ErrorOf(with_servers("[{name: a}, {name: a}]")), HasSubstr("'a' twice"));
  EXPECT_THAT(ErrorOf(with_servers("[{name: w}]")), HasSubstr("'w'"));
  EXPECT_THAT(ErrorOf(with_servers("[{name: scheduler}]")), HasSubstr("not 'scheduler'"));
  EXPECT_THAT(ErrorOf(with_servers("[{host: localhost}]")), HasSubstr("name': is missing"));
  EXPECT_THAT(ErrorOf(with_servers("[{name: a, port: 7, shards: 2}, {name: b, port: 8}]")), HasSubstr("gives port 8"));
  EXPECT_THAT(ErrorOf(with_servers("[{name: a, port: 65535, shards: 2}]")), HasSubstr("leave room"));
  EXPECT_THAT(ErrorOf(with_servers("[{name: a, host: 10.1.1.1}]\n  security: none")), HasSubstr("must be 'ssh' or 'external'"));
}

TEST_F(ClusterConfigTest, SshSaysHowToConnect) {
  const std::string cluster =
      "cluster:\n  launcher: ssh\n  security: none\n  servers: [{name: a, host: 10.0.0.2}]\n  workers: {count: 1}\n";
  const std::string reached = cluster + "  scheduler: {host: 10.0.0.1}\n";
  const absl::StatusOr<ClusterConfig> config = Load(reached + R"(
  ssh:
    user: trainer
    port: 2222
    identity_file: id
    config_file: /etc/other
    options: [Compression=yes]
    programs: /opt/marquee
    prefix: [nice, "-n", "5"]
    environment: {LANG: C, A_1: "x y"}
)");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->launcher, ClusterConfig::Launcher::kSsh);
  EXPECT_EQ(config->ssh.user, "trainer");
  EXPECT_EQ(config->ssh.port, 2222);
  EXPECT_EQ(config->ssh.identity_file, (folder_ / "id").string());
  EXPECT_EQ(config->ssh.config_file, "/etc/other");
  EXPECT_EQ(config->ssh.programs, "/opt/marquee");
  EXPECT_EQ(config->ssh.prefix.size(), 3U);
  EXPECT_EQ(config->ssh.environment.at("A_1"), "x y");
  EXPECT_TRUE(Load(reached).ok()) << "all of it may be ssh's own";

  EXPECT_THAT(ErrorOf(cluster), HasSubstr("host '10.0.0.2' cannot reach"));
  EXPECT_THAT(ErrorOf(reached + "  checkpoints: {keep: 2}\n"), HasSubstr("cluster.checkpoints.folder"));
  EXPECT_THAT(ErrorOf(reached + "  ssh: {options: [Compression]}\n"), HasSubstr("NAME=VALUE"));
  EXPECT_THAT(ErrorOf(reached + "  ssh: {programs: bin}\n"), HasSubstr("absolute"));
  EXPECT_THAT(ErrorOf(reached + "  ssh: {identity_file: ~/.ssh/id}\n"), HasSubstr("without '~'"));
  EXPECT_THAT(ErrorOf(reached + "  ssh: {environment: {a-b: c}}\n"), HasSubstr("cluster.ssh.environment.a-b"));
  EXPECT_THAT(ErrorOf(reached + "  ssh: {users: x}\n"), HasSubstr("did you mean 'user'"));
  EXPECT_THAT(ErrorOf(std::string(kSmall) + "  ssh: {user: x}\n"), HasSubstr("launcher 'ssh' only"));
}

TEST_F(ClusterConfigTest, SlurmTakesHostsFromTheJob) {
  const std::string cluster = "cluster:\n  launcher: slurm\n  servers: {count: 2}\n  workers: {count: 1}\n";
  const std::string said = cluster + "  security: none\n";
  const absl::StatusOr<ClusterConfig> config = Load(said + "  slurm: {options: [--mem=1G], worker_options: [--gpus=1]}\n");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->launcher, ClusterConfig::Launcher::kSlurm);
  EXPECT_EQ(config->slurm.options, std::vector<std::string>{"--mem=1G"});
  EXPECT_EQ(config->slurm.worker_options, std::vector<std::string>{"--gpus=1"});
  EXPECT_TRUE(Load(said + "  checkpoints: {keep: 2}\n").ok()) << "nodes share the sweep's own folder";

  EXPECT_THAT(ErrorOf(cluster), HasSubstr("cluster.security"));
  EXPECT_THAT(ErrorOf(said + "  scheduler: {host: 10.0.0.1}\n"), HasSubstr("host '10.0.0.1' must not stand here"));
  EXPECT_THAT(ErrorOf(said + "  slurm: {option: [x]}\n"), HasSubstr("did you mean 'options'"));
  EXPECT_THAT(ErrorOf(std::string(kSmall) + "  slurm: {}\n"), HasSubstr("launcher 'slurm' only"));
}

TEST_F(ClusterConfigTest, HostMayBeReplaced) {
  absl::StatusOr<ClusterConfig> config = Load(kSmall);
  ASSERT_TRUE(config.ok()) << config.status();
  std::string host = "127.0.0.1";
  EXPECT_TRUE(ReplaceHost(*config, "", &host).ok());
  EXPECT_EQ(host, "127.0.0.1");
  EXPECT_TRUE(ReplaceHost(*config, "127.0.0.2", &host).ok());
  EXPECT_EQ(host, "127.0.0.2");
  EXPECT_THAT(std::string(ReplaceHost(*config, "10.0.0.1", &host).message()), HasSubstr("cluster.security"));
  EXPECT_THAT(std::string(ReplaceHost(*config, "10.0.0.1/x", &host).message()), HasSubstr("10.0.0.1/x"));
  EXPECT_EQ(host, "127.0.0.2");
  config = Load(std::string(kSmall) + "  security: none\n");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_TRUE(ReplaceHost(*config, "10.0.0.1", &host).ok());
  EXPECT_EQ(host, "10.0.0.1");
}

}  // namespace
}  // namespace marquee
