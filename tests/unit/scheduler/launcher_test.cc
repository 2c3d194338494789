#include "scheduler/launcher.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <csignal>

#include "absl/time/clock.h"
#include "scheduler/launch_local.h"
#include "tests/unit/scheduler/temporary_folder.h"

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
  ASSERT_TRUE(launcher.Start({Shell("w0", "echo started; exit 7")}).ok());
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
  ASSERT_TRUE(launcher.Start({Shell("w0", "echo $OMP_NUM_THREADS $OPENBLAS_NUM_THREADS; ls /proc/self/fd | wc -l")}).ok());
  NextExit(launcher);
  EXPECT_EQ(folder.Read("logs/w0.log"), "3 3\n4\n");  // the three standard ones, and the folder that ls reads
}

TEST(LauncherTest, KilledProcessIsReportedWithItsSignal) {
  const TemporaryFolder folder;
  LocalLauncher launcher(folder);
  ASSERT_TRUE(launcher.Start({Shell("w0", "kill -9 $$")}).ok());
  EXPECT_THAT(NextExit(launcher).how, HasSubstr("signal 9"));
}

TEST(LauncherTest, StopEndsThoseThatIgnoreTheSignalToo) {
  const TemporaryFolder folder;
  LocalLauncher launcher(folder);
  ASSERT_TRUE(
      launcher.Start({Shell("w0", "exec sleep 1000"), Shell("w1", "trap '' TERM; echo ready; while :; do sleep 1000; done")})
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
  ASSERT_TRUE(launcher.Start({Shell("w0", "true")}).ok());
  launcher.LetGo();
  EXPECT_EQ(NextExit(launcher).how, "exit code 0");
  ASSERT_TRUE(launcher.Poll(absl::Now() + absl::Hours(1)).ok());
  EXPECT_EQ(launcher.running(), 0U);
}

TEST(LauncherTest, ProcessThatEndsAgainAndAgainIsAnError) {
  const TemporaryFolder folder;
  LocalLauncher launcher(folder);
  ASSERT_TRUE(launcher.Start({Shell("w0", "exit 1")}).ok());
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

TEST(LauncherTest, MissingProgramIsNamed) {
  EXPECT_THAT(std::string(FindProgram("no-such-program").status().message()), HasSubstr("no-such-program"));
}

}  // namespace
}  // namespace marquee
