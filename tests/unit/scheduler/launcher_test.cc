#include "scheduler/launcher.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <csignal>

#include "absl/time/clock.h"
#include "scheduler/launch_local.h"
#include "tests/unit/common/temporary_folder.h"

namespace marquee {
namespace {

using testing::HasSubstr;

constexpr absl::Duration kDeadline = absl::Seconds(30);

ProcessPlan Shell(const std::string& name, const std::string& script) {
  ProcessPlan plan;
  plan.name = name;
  plan.program = "/bin/sh";
  plan.arguments = {"-c", script};
  plan.threads = 3;
  return plan;
}

class LocalLauncher : public Launcher {
 public:
  explicit LocalLauncher(const TemporaryFolder& folder) : Launcher(std::make_unique<LocalEngine>(), folder.Path("logs")) {}
};

// Polls until a process has ended.
Launcher::Exit NextExit(Launcher& launcher) {
  const absl::Time deadline = absl::Now() + kDeadline;
  while (absl::Now() < deadline) {
    const absl::StatusOr<std::vector<Launcher::Exit>> exits = launcher.Poll(absl::Now());
    if (!exits.ok()) return Launcher::Exit{.name = "error", .how = std::string(exits.status().message()), .restarts_in = {}};
    if (!exits->empty()) return exits->front();
    absl::SleepFor(absl::Milliseconds(2));
  }
  return Launcher::Exit{.name = "nothing", .how = "", .restarts_in = {}};
}

TEST(LauncherTest, ReportsHowAProcessEndedAndStartsItAgain) {
  const TemporaryFolder folder;
  LocalLauncher launcher(folder);
  ASSERT_TRUE(launcher.Want({Shell("w0", "echo started; exit 7")}, absl::Now()).ok());
  const Launcher::Exit first = NextExit(launcher);
  EXPECT_EQ(first.name, "w0");
  EXPECT_EQ(first.how, "exit code 7");
  EXPECT_GT(first.restarts_in, absl::ZeroDuration());
  EXPECT_EQ(NextExit(launcher).how, "exit code 7");
  EXPECT_EQ(folder.Read("logs/w0.log"), "started\nstarted\n");
}

TEST(LauncherTest, ChildrenGetThreadCountsAndNothingElseOfOurs) {
  const TemporaryFolder folder;
  LocalLauncher launcher(folder);
  ASSERT_TRUE(
      launcher.Want({Shell("w0", "echo $OMP_NUM_THREADS $OPENBLAS_NUM_THREADS; ls /proc/self/fd | wc -l")}, absl::Now()).ok());
  NextExit(launcher);
  EXPECT_EQ(folder.Read("logs/w0.log"), "3 3\n4\n");  // the three standard ones, and the folder that ls reads
}

TEST(LauncherTest, KilledProcessIsReportedWithItsSignal) {
  const TemporaryFolder folder;
  LocalLauncher launcher(folder);
  ASSERT_TRUE(launcher.Want({Shell("w0", "kill -9 $$")}, absl::Now()).ok());
  EXPECT_THAT(NextExit(launcher).how, HasSubstr("signal 9"));
}

TEST(LauncherTest, StopEndsThoseThatIgnoreTheSignalToo) {
  const TemporaryFolder folder;
  LocalLauncher launcher(folder);
  ASSERT_TRUE(launcher
                  .Want({Shell("w0", "exec sleep 1000"), Shell("w1", "trap '' TERM; echo ready; while :; do sleep 0.1; done")},
                        absl::Now())
                  .ok());
  const absl::Time deadline = absl::Now() + kDeadline;
  while (folder.Read("logs/w1.log") != "ready\n" && absl::Now() < deadline) absl::SleepFor(absl::Milliseconds(2));
  EXPECT_EQ(launcher.running(), 2U);
  launcher.Stop(absl::Milliseconds(50));
  EXPECT_EQ(launcher.running(), 0U);
}

TEST(LauncherTest, LetGoMeansNoRestart) {
  const TemporaryFolder folder;
  LocalLauncher launcher(folder);
  ASSERT_TRUE(launcher.Want({Shell("w0", "true")}, absl::Now()).ok());
  launcher.LetGo();
  EXPECT_EQ(NextExit(launcher).how, "exit code 0");
  ASSERT_TRUE(launcher.Poll(absl::Now() + absl::Hours(1)).ok());
  EXPECT_EQ(launcher.running(), 0U);
}

TEST(LauncherTest, ProcessThatEndsAgainAndAgainIsAnError) {
  const TemporaryFolder folder;
  LocalLauncher launcher(folder);
  ASSERT_TRUE(launcher.Want({Shell("w0", "exit 1")}, absl::Now()).ok());
  const absl::Time deadline = absl::Now() + kDeadline;
  absl::Status status;
  absl::Time now = absl::Now();  // runs ahead, so that no restart has to be waited for
  while (status.ok() && absl::Now() < deadline) {
    now += absl::Milliseconds(100);
    const auto exits = launcher.Poll(now);
    status = exits.status();
    absl::SleepFor(absl::Milliseconds(1));
  }
  EXPECT_THAT(std::string(status.message()), testing::AllOf(HasSubstr("w0"), HasSubstr("w0.log")));
}

// An engine of one machine whose ends mean what the test says.
class JudgingEngine : public LocalEngine {
 public:
  explicit JudgingEngine(LaunchEnd end) : end_(std::move(end)) {}
  LaunchCommand CommandFor(const ProcessPlan& plan) override {
    LaunchCommand command = LocalEngine::CommandFor(plan);
    command.lifeline = true;
    return command;
  }
  LaunchEnd Judge(const ProcessPlan&, const ProcessEnd&) override { return end_; }

 private:
  const LaunchEnd end_;
};

// Polls, with a clock that runs ahead, until there is an error or there were so many ends.
absl::Status AfterEnds(Launcher& launcher, int ends) {
  const absl::Time deadline = absl::Now() + kDeadline;
  absl::Time now = absl::Now();
  while (ends > 0 && absl::Now() < deadline) {
    now += absl::Milliseconds(100);
    const auto exits = launcher.Poll(now);
    if (!exits.ok()) return exits.status();
    ends -= static_cast<int>(exits->size());
    absl::SleepFor(absl::Milliseconds(1));
  }
  return ends > 0 ? absl::DeadlineExceededError("too few ends") : absl::OkStatus();
}

TEST(LauncherTest, HopelessPlaceIsGivenUpAtOnce) {
  const TemporaryFolder folder;
  Launcher launcher(std::make_unique<JudgingEngine>(LaunchEnd{LaunchEnd::Kind::kHopeless, "host h has no such program"}),
                    folder.Path("logs"));
  ASSERT_TRUE(launcher.Want({Shell("s0", "echo not found; exit 127")}, absl::Now()).ok());
  EXPECT_EQ(AfterEnds(launcher, 2).message(), "s0 cannot be started: exit code 127 (host h has no such program): not found");
}

TEST(LauncherTest, PlaceThatNeverAnsweredIsGivenUpAndOneThatDidIsNot) {
  const TemporaryFolder folder;
  const LaunchEnd unreachable{LaunchEnd::Kind::kUnreachable, "h is away"};
  Launcher launcher(std::make_unique<JudgingEngine>(unreachable), folder.Path("logs"));
  ASSERT_TRUE(launcher.Want({Shell("s0", "echo who are you; exit 255")}, absl::Now()).ok());
  EXPECT_THAT(std::string(AfterEnds(launcher, 100).message()),
              testing::AllOf(HasSubstr("s0 ended 6 times"), HasSubstr("h is away"), HasSubstr("who are you")));

  Launcher known(std::make_unique<JudgingEngine>(unreachable), folder.Path("logs"));
  ASSERT_TRUE(known.Want({Shell("s1", "exit 255")}, absl::Now()).ok());
  known.CameUp("s1");
  EXPECT_TRUE(AfterEnds(known, 20).ok());
}

TEST(LauncherTest, CommandWithALifelineStopsWhenItIsCut) {
  const TemporaryFolder folder;
  Launcher launcher(std::make_unique<JudgingEngine>(LaunchEnd{}), folder.Path("logs"));
  ASSERT_TRUE(
      launcher.Want({Shell("s0", "trap '' TERM; echo started; cat; echo stopped"), Shell("s1", "exec cat")}, absl::Now()).ok());
  const absl::Time deadline = absl::Now() + kDeadline;
  while (folder.Read("logs/s0.log") != "started\n" && absl::Now() < deadline) absl::SleepFor(absl::Milliseconds(2));
  EXPECT_EQ(launcher.running(), 2U);
  launcher.Stop(kDeadline);
  EXPECT_LT(absl::Now(), deadline) << "nobody had to be killed";
  EXPECT_EQ(folder.Read("logs/s0.log"), "started\nstopped\n");
}

TEST(LauncherTest, WhatIsNotWantedAnyMoreGoesOnUntilItEndsAndIsNotStartedAgain) {
  const TemporaryFolder folder;
  LocalLauncher launcher(folder);
  ASSERT_TRUE(launcher.Want({Shell("s0", "exec sleep 1000"), Shell("s1", "exec sleep 1000")}, absl::Now()).ok());
  ASSERT_TRUE(launcher.Want({Shell("s1", "exec sleep 1000"), Shell("s2", "exec sleep 1000")}, absl::Now()).ok());
  EXPECT_EQ(launcher.running(), 3U);
  EXPECT_TRUE(launcher.runs("s0"));
  launcher.Retire("s0", absl::Now());
  const Launcher::Exit exit = NextExit(launcher);
  EXPECT_EQ(exit.name, "s0");
  EXPECT_EQ(exit.restarts_in, absl::InfiniteDuration());
  ASSERT_TRUE(launcher.Poll(absl::Now() + absl::Hours(1)).ok());
  EXPECT_FALSE(launcher.runs("s0"));
  EXPECT_EQ(launcher.running(), 2U);
}

TEST(LauncherTest, OnlyWhatIsNotWantedIsRetired) {
  const TemporaryFolder folder;
  LocalLauncher launcher(folder);
  ASSERT_TRUE(launcher.Want({Shell("s0", "exec sleep 1000")}, absl::Now()).ok());
  launcher.Retire("s0", absl::Now());
  ASSERT_TRUE(launcher.Poll(absl::Now()).ok());
  EXPECT_TRUE(launcher.runs("s0"));
}

TEST(LauncherTest, RetiredProcessThatIgnoresTheSignalIsKilled) {
  const TemporaryFolder folder;
  LocalLauncher launcher(folder);
  ASSERT_TRUE(launcher.Want({Shell("s0", "trap '' TERM; echo ready; while :; do sleep 0.1; done")}, absl::Now()).ok());
  const absl::Time deadline = absl::Now() + kDeadline;
  while (folder.Read("logs/s0.log") != "ready\n" && absl::Now() < deadline) absl::SleepFor(absl::Milliseconds(2));
  ASSERT_TRUE(launcher.Want({}, absl::Now()).ok());
  launcher.Retire("s0", absl::Now() - absl::Hours(1));  // long ago
  EXPECT_THAT(NextExit(launcher).how, HasSubstr("signal 9"));
}

TEST(LauncherTest, WantedAgainWhileItEndsItIsStartedAnew) {
  const TemporaryFolder folder;
  LocalLauncher launcher(folder);
  ASSERT_TRUE(launcher.Want({Shell("s0", "exec sleep 1000")}, absl::Now()).ok());
  ASSERT_TRUE(launcher.Want({}, absl::Now()).ok());
  launcher.Retire("s0", absl::Now());
  ASSERT_TRUE(launcher.Want({Shell("s0", "exec sleep 1000")}, absl::Now()).ok());
  EXPECT_LT(NextExit(launcher).restarts_in, absl::Minutes(1));
  EXPECT_FALSE(launcher.runs("s0"));
  ASSERT_TRUE(launcher.Poll(absl::Now() + absl::Minutes(1)).ok());
  EXPECT_TRUE(launcher.runs("s0"));
}

TEST(LauncherTest, WhatIsAddedLaterAndCannotRunDoesNotEndTheOthers) {
  const TemporaryFolder folder;
  LocalLauncher launcher(folder);
  ASSERT_TRUE(launcher.Want({Shell("s0", "exec sleep 1000")}, absl::Now()).ok());
  ASSERT_TRUE(launcher.Want({Shell("s0", "exec sleep 1000"), Shell("s1", "exit 1")}, absl::Now()).ok());
  EXPECT_TRUE(AfterEnds(launcher, 20).ok());
  EXPECT_TRUE(launcher.runs("s0"));
}

TEST(LauncherTest, MissingProgramIsNamed) {
  EXPECT_THAT(std::string(FindProgram("no-such-program").status().message()), HasSubstr("no-such-program"));
}

}  // namespace
}  // namespace marquee
