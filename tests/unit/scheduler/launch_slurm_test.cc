#include "scheduler/launch_slurm.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

namespace marquee {
namespace {

using testing::Contains;
using testing::HasSubstr;
using testing::Not;

ProcessPlan Plan(ProcessPlan::Role role, const std::string& name) {
  return ProcessPlan{.role = role,
                     .name = name,
                     .host = "127.0.0.1",
                     .program = "/opt/marquee/program",
                     .arguments = {"--name", name},
                     .files = {"/shared/cluster.yaml"},
                     .threads = 2};
}

ProcessPlan Server(const std::string& name) { return Plan(ProcessPlan::Role::kServer, name); }
ProcessPlan Worker(const std::string& name) { return Plan(ProcessPlan::Role::kWorker, name); }

class SlurmEngineTest : public testing::Test {
 protected:
  std::string NodeOf(const ProcessPlan& plan) {
    for (const std::string& word : engine_.CommandFor(plan).arguments) {
      if (word.rfind("--nodelist=", 0) == 0) return word.substr(word.find('=') + 1);
    }
    return "";
  }
  LaunchEnd Judge(const ProcessPlan& plan, int exit_code, absl::Duration lasted) {
    return engine_.Judge(plan, ProcessEnd{.exit_code = exit_code, .lasted = lasted});
  }

  SlurmEngine engine_{SlurmConfig{.options = {"--mem=1G"},
                                  .server_options = {"--exact"},
                                  .worker_options = {"--gpus=1"},
                                  .environment = {{"WORD", "a b"}}},
                      {{"n1", "10.0.0.1"}, {"n2", "10.0.0.2"}, {"n3", "10.0.0.3"}},
                      "/usr/bin/srun"};
};

TEST_F(SlurmEngineTest, ServersAndWorkersGoRoundTheNodes) {
  EXPECT_EQ(NodeOf(Server("s0")), "n1");
  EXPECT_EQ(NodeOf(Server("s1")), "n2");
  EXPECT_EQ(NodeOf(Worker("w0")), "n1");
  EXPECT_EQ(NodeOf(Server("s2")), "n3");
  EXPECT_EQ(NodeOf(Server("s3")), "n1");
  EXPECT_EQ(NodeOf(Server("s1")), "n2") << "each stays where it is";
}

TEST_F(SlurmEngineTest, StepHasItsOptionsAndTheProcessItsNodesAddress) {
  const LaunchCommand server = engine_.CommandFor(Server("s0"));
  EXPECT_EQ(server.program, "/usr/bin/srun");
  EXPECT_TRUE(server.lifeline);
  EXPECT_THAT(server.arguments, testing::IsSupersetOf({"--overlap", "--mem=1G", "--exact", "/opt/marquee/program", "WORD=a b",
                                                       "OMP_NUM_THREADS=2", "--until-input-ends", "/shared/cluster.yaml"}));
  EXPECT_THAT(server.arguments, Not(Contains("--gpus=1")));
  EXPECT_EQ(*(std::find(server.arguments.begin(), server.arguments.end(), "--host") + 1), "10.0.0.1");
  EXPECT_THAT(engine_.CommandFor(Worker("w0")).arguments, Contains("--gpus=1"));
}

TEST_F(SlurmEngineTest, ProcessThatRanIsStartedOnItsNodeAgain) {
  NodeOf(Server("s0"));
  const LaunchEnd end = Judge(Server("s0"), 137, absl::Minutes(1));
  EXPECT_EQ(end.kind, LaunchEnd::Kind::kOfProcess);
  EXPECT_EQ(end.explanation, "killed by signal 9 on host n1");
  EXPECT_EQ(NodeOf(Server("s0")), "n1");
}

TEST_F(SlurmEngineTest, LostNodeMeansTheNextOne) {
  NodeOf(Server("s0"));
  const LaunchEnd lost = Judge(Server("s0"), 0, absl::Minutes(1));
  EXPECT_EQ(lost.kind, LaunchEnd::Kind::kUnreachable);
  EXPECT_THAT(lost.explanation, testing::AllOf(HasSubstr("lost node n1"), HasSubstr("next is node n2")));
  EXPECT_EQ(NodeOf(Server("s0")), "n2");
  EXPECT_EQ(Judge(Server("s0"), 200, absl::ZeroDuration()).kind, LaunchEnd::Kind::kUnreachable);
  EXPECT_EQ(NodeOf(Server("s0")), "n3");
  EXPECT_EQ(Judge(Server("s0"), 1, absl::Seconds(1)).kind, LaunchEnd::Kind::kOfProcess);
  EXPECT_EQ(NodeOf(Server("s0")), "n1");
}

TEST(SlurmNodesTest, NamesAndAddressesAreRead) {
  const absl::StatusOr<std::vector<SlurmNode>> nodes = ParseSlurmNodes(
      "NodeName=n1 Arch=x86_64 Gres=(null) NodeAddr=10.0.0.1 NodeHostName=vm Port=1\nNodeName=n2 NodeAddr=n2.lan Port=2 \n");
  ASSERT_TRUE(nodes.ok()) << nodes.status();
  ASSERT_EQ(nodes->size(), 2U);
  EXPECT_EQ((*nodes)[0].name, "n1");
  EXPECT_EQ((*nodes)[0].address, "10.0.0.1");
  EXPECT_EQ((*nodes)[1].address, "n2.lan");
  EXPECT_THAT(std::string(ParseSlurmNodes("NodeName=n1 Arch=x86_64\n").status().message()), HasSubstr("NodeAddr"));
  EXPECT_FALSE(ParseSlurmNodes("").ok());
}

}  // namespace
}  // namespace marquee
