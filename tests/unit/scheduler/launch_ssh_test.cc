#include "scheduler/launch_ssh.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <algorithm>
#include <cstdlib>

#include "tests/unit/common/temporary_folder.h"

namespace marquee {
namespace {

using testing::HasSubstr;

ProcessPlan Plan(const std::string& program, std::vector<std::string> arguments, std::vector<std::string> files) {
  return ProcessPlan{.role = ProcessPlan::Role::kWorker,
                     .name = "w0",
                     .host = "10.0.0.2",
                     .program = program,
                     .arguments = std::move(arguments),
                     .files = std::move(files),
                     .threads = 3};
}

// Runs what ssh would give to the host's login shell, in this machine's; the exit code.
int RunAtHost(SshEngine& engine, const ProcessPlan& plan, const std::string& output) {
  const LaunchCommand command = engine.CommandFor(plan);
  const int status = std::system(fmt::format("( {} ) >{} 2>&1", command.arguments.back(), output).c_str());
  return WEXITSTATUS(status);
}

TEST(SshEngineTest, ArgumentsArriveAsTheyAreAndWithTheEnvironment) {
  const TemporaryFolder folder;
  folder.Write("it's \"$HOME\" *;", "");
  SshConfig config;
  config.environment = {{"WORD", "a 'b' $c `d`"}};
  SshEngine engine(config, "ssh");
  const std::string argument = "x'; touch /injected; \"$(id)\"\n\\ $HOME *";
  const std::string script = "printf '%s|' \"$1\" \"$2\" \"$WORD\" \"$OMP_NUM_THREADS\"";
  const ProcessPlan plan = Plan("/bin/sh", {"-c", script, "sh", argument}, {folder.Path("it's \"$HOME\" *;")});
  EXPECT_EQ(RunAtHost(engine, plan, folder.Path("output")), 0);
  EXPECT_EQ(folder.Read("output"), argument + "|--until-input-ends|" + config.environment.at("WORD") + "|3|");
}

TEST(SshEngineTest, WhatTheHostLacksIsSaid) {
  const TemporaryFolder folder;
  folder.Write("file", "");
  SshEngine engine(SshConfig{}, "ssh");
  const auto judged = [&](const ProcessPlan& plan) {
    return engine.Judge(plan, ProcessEnd{.exit_code = RunAtHost(engine, plan, folder.Path("output")), .lasted = {}});
  };
  const LaunchEnd no_program = judged(Plan("/nowhere/worker", {}, {}));
  EXPECT_EQ(no_program.kind, LaunchEnd::Kind::kHopeless);
  EXPECT_EQ(no_program.explanation, "host 10.0.0.2 has no program /nowhere/worker");
  EXPECT_EQ(judged(Plan(folder.Path("file"), {}, {})).explanation, "host 10.0.0.2 cannot run " + folder.Path("file"));
  const LaunchEnd no_file = judged(Plan("/bin/true", {}, {folder.Path("file"), "/nowhere/cluster.yaml"}));
  EXPECT_EQ(no_file.kind, LaunchEnd::Kind::kHopeless);
  EXPECT_THAT(folder.Read("output"), HasSubstr("file /nowhere/cluster.yaml is missing"));
}

TEST(SshEngineTest, KilledProcessAndLostConnectionDiffer) {
  const TemporaryFolder folder;
  SshEngine engine(SshConfig{}, "ssh");
  const ProcessPlan plan = Plan("/bin/sh", {"-c", "kill -9 $$"}, {});
  const ProcessEnd end{.exit_code = RunAtHost(engine, plan, folder.Path("output")), .lasted = {}};
  EXPECT_EQ(engine.Judge(plan, end).kind, LaunchEnd::Kind::kOfProcess);
  EXPECT_EQ(engine.Judge(plan, end).explanation, "killed by signal 9 on host 10.0.0.2");
  EXPECT_EQ(engine.Judge(plan, ProcessEnd{.exit_code = 255, .lasted = {}}).kind, LaunchEnd::Kind::kUnreachable);
}

TEST(SshEngineTest, SshIsToldWhatTheClusterFileSays) {
  SshConfig config{.user = "trainer",
                   .port = 2222,
                   .identity_file = "/id",
                   .config_file = "/config",
                   .options = {"ConnectTimeout=3"},
                   .programs = "/opt/marquee",
                   .prefix = {"nice", "-n", "5"},
                   .environment = {}};
  SshEngine engine(config, "/usr/bin/ssh");
  const LaunchCommand command = engine.CommandFor(Plan("/here/worker", {"--name", "w0"}, {"/f"}));
  EXPECT_EQ(command.program, "/usr/bin/ssh");
  EXPECT_TRUE(command.lifeline);
  const std::vector<std::string>& words = command.arguments;
  EXPECT_THAT(words, testing::IsSupersetOf({"BatchMode=yes", "-l", "trainer", "-p", "2222", "-i", "/id", "-F", "/config"}));
  const auto at = [&](const std::string& word) { return std::find(words.begin(), words.end(), word); };
  EXPECT_LT(at("ConnectTimeout=3"), at("ConnectTimeout=10")) << "ssh takes the first";
  EXPECT_EQ(*(at("--") + 1), "10.0.0.2");
  EXPECT_THAT(words.back(), HasSubstr("'nice' '-n' '5' '/opt/marquee/worker' '--name' 'w0' '--until-input-ends'"));
  for (const std::string& word : words) EXPECT_THAT(word, testing::Not(HasSubstr("StrictHostKeyChecking")));
}

}  // namespace
}  // namespace marquee
