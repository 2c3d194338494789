#include "scheduler/launcher.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <set>
#include <tuple>
#include <utility>

#include "absl/time/clock.h"

extern char** environ;

namespace marquee {
namespace {

constexpr absl::Duration kFirstRestart = absl::Milliseconds(500);  // doubles with each quick end
constexpr absl::Duration kLongestRestart = absl::Seconds(8);
constexpr absl::Duration kQuick = absl::Seconds(10);  // a process that ends sooner than this has ended quickly
constexpr int kMaxQuickEnds = 15;
constexpr absl::Duration kLongestConnect = absl::Seconds(40);  // until a place that does not answer is given up
constexpr int kMaxFirstConnects = 6;                           // to a place that never answered
constexpr absl::Duration kRetireGrace = absl::Seconds(10);     // from being asked to stop to being killed
constexpr absl::Duration kStopPoll = absl::Milliseconds(20);

// Everything that the child needs, made before the fork: after it, only calls that are safe in a copy of a process with
// threads.
struct Prepared {
  std::string program;
  std::vector<std::string> arguments;
  std::vector<std::string> environment;
  int input = -1;
  int log = -1;

  static std::vector<char*> Pointers(std::vector<std::string>& texts) {
    std::vector<char*> pointers;
    for (std::string& text : texts) pointers.push_back(text.data());
    pointers.push_back(nullptr);
    return pointers;
  }
};

// Ours, with these entries in the place of those of their names.
std::vector<std::string> EnvironmentWith(const std::vector<std::string>& entries) {
  const auto name_of = [](const std::string& entry) { return entry.substr(0, entry.find('=')); };
  std::set<std::string> replaced;
  for (const std::string& entry : entries) replaced.insert(name_of(entry));
  std::vector<std::string> environment = entries;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    if (!replaced.contains(name_of(*entry))) environment.emplace_back(*entry);
  }
  return environment;
}

[[noreturn]] void RunChild(const Prepared& prepared, char* const* arguments, char* const* environment, pid_t parent) {
  setpgid(0, 0);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(127);  // it died before the line above
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  dup2(prepared.input, STDIN_FILENO);
  dup2(prepared.log, STDOUT_FILENO);
  dup2(prepared.log, STDERR_FILENO);
#ifdef SYS_close_range
  syscall(SYS_close_range, 3U, ~0U, 0U);
#endif
  execve(prepared.program.c_str(), arguments, environment);
  _exit(127);
}

std::string HowItEnded(int wait_status) {
  if (WIFSIGNALED(wait_status)) {
    return fmt::format("killed by signal {} ({})", WTERMSIG(wait_status), strsignal(WTERMSIG(wait_status)));
  }
  return fmt::format("exit code {}", WEXITSTATUS(wait_status));
}

std::string LastLine(const std::string& file) {
  std::ifstream in(file);
  std::string last;
  for (std::string line; std::getline(in, line);) {
    if (!line.empty()) last = line;
  }
  return last;
}

// The end of a pipe that a child reads, and the end that keeps it open.
absl::StatusOr<std::pair<int, int>> MakePipe() {
  std::array<int, 2> ends{};
  if (pipe2(ends.data(), O_CLOEXEC) != 0) return absl::InternalError(fmt::format("pipe: {}", std::strerror(errno)));
  return std::make_pair(ends[0], ends[1]);
}

}  // namespace

Launcher::~Launcher() {
  KillAll();
  while (running() > 0) {
    Reap();
    absl::SleepFor(kStopPoll);
  }
  for (Child& child : children_) CutLifeline(child);
}

absl::Status Launcher::Want(std::vector<ProcessPlan> plans, absl::Time now) {
  std::error_code error;
  std::filesystem::create_directories(log_folder_, error);
  if (error) return absl::InternalError(fmt::format("{}: {}", log_folder_, error.message()));
  for (Child& child : children_) child.wanted = false;
  for (ProcessPlan& plan : plans) {
    Child* child = Find(plan.name);
    const bool fresh = child == nullptr;
    if (fresh) child = &children_.emplace_back();
    child->plan = std::move(plan);
    child->wanted = true;
    if (!fresh) continue;
    child->late = started_;
    if (absl::Status status = Spawn(*child, now); !status.ok()) return status;
  }
  started_ = true;
  std::erase_if(children_, [](const Child& child) { return !child.wanted && child.pid == 0; });
  return absl::OkStatus();
}

void Launcher::Retire(const std::string& name, absl::Time now) {
  Child* const child = Find(name);
  if (child == nullptr || child->pid == 0 || child->wanted || child->retired) return;
  child->retired = true;
  child->kill_at = now + kRetireGrace;
  AskToStop(*child);
}

Launcher::Child* Launcher::Find(const std::string& name) {
  const auto found =
      std::find_if(children_.begin(), children_.end(), [&](const Child& child) { return child.plan.name == name; });
  return found == children_.end() ? nullptr : &*found;
}

bool Launcher::MayStart(const Child& child, absl::Time now) const {
  return child.pid == 0 && child.wanted && restart_ && now >= child.restart_at;
}

std::string Launcher::LogOf(const Child& child) const {
  return (std::filesystem::path(log_folder_) / (child.plan.name + ".log")).string();
}

absl::Status Launcher::Spawn(Child& child, absl::Time now) {
  const LaunchCommand command = engine_->CommandFor(child.plan);
  Prepared prepared;
  prepared.program = command.program;
  prepared.arguments = command.arguments;
  prepared.arguments.insert(prepared.arguments.begin(), command.program);
  prepared.environment = EnvironmentWith(command.environment);
  if (command.lifeline) {
    const absl::StatusOr<std::pair<int, int>> pipe = MakePipe();
    if (!pipe.ok()) return pipe.status();
    std::tie(prepared.input, child.lifeline) = *pipe;
  } else {
    prepared.input = open("/dev/null", O_RDONLY | O_CLOEXEC);
  }
  const std::string log = LogOf(child);
  prepared.log = open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  const int log_error = errno;
  std::vector<char*> arguments = Prepared::Pointers(prepared.arguments);
  std::vector<char*> environment = Prepared::Pointers(prepared.environment);
  const pid_t parent = getpid();
  const pid_t pid = prepared.log < 0 ? -1 : fork();
  if (pid == 0) RunChild(prepared, arguments.data(), environment.data(), parent);
  const int fork_error = errno;
  close(prepared.input);
  if (prepared.log < 0) return absl::InternalError(fmt::format("{}: {}", log, std::strerror(log_error)));
  close(prepared.log);
  if (pid < 0) return absl::InternalError(fmt::format("{}: fork: {}", command.program, std::strerror(fork_error)));
  child.pid = pid;
  child.started = now;
  child.restart_at = absl::InfiniteFuture();
  child.retired = false;
  return absl::OkStatus();
}

void Launcher::Gone(Child& child) {
  child.pid = 0;
  child.kill_at = absl::InfiniteFuture();
  CutLifeline(child);
}

void Launcher::CutLifeline(Child& child) {
  if (child.lifeline >= 0) close(child.lifeline);
  child.lifeline = -1;
}

absl::StatusOr<Launcher::Exit> Launcher::Ended(Child& child, int wait_status, absl::Time now) {
  Gone(child);
  if (child.retired || !child.wanted || !restart_) {
    const absl::Duration wait = child.wanted && restart_ ? kFirstRestart : absl::InfiniteDuration();
    child.restart_at = now + wait;
    return Exit{.name = child.plan.name, .how = HowItEnded(wait_status), .restarts_in = wait};
  }
  const absl::Duration lasted = now - child.started;
  const LaunchEnd end = engine_->Judge(
      child.plan, ProcessEnd{.exit_code = WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : -1, .lasted = lasted});
  const bool unreachable = end.kind == LaunchEnd::Kind::kUnreachable;
  const bool quick = lasted < (unreachable ? kLongestConnect : kQuick);
  child.quick_ends = quick ? child.quick_ends + 1 : 0;
  if (!quick) child.came_up = true;
  const std::string how = HowItEnded(wait_status) + (end.explanation.empty() ? "" : fmt::format(" ({})", end.explanation));
  if (!child.late && end.kind == LaunchEnd::Kind::kHopeless && !child.came_up) {
    return absl::AbortedError(fmt::format("{} cannot be started: {}: {}", child.plan.name, how, LastLine(LogOf(child))));
  }
  const int enough = !unreachable ? kMaxQuickEnds : child.came_up ? INT_MAX : kMaxFirstConnects;
  if (!child.late && child.quick_ends >= enough) {
    return absl::AbortedError(fmt::format("{} ended {} times in a row right after its start, at last with {}: {}; see {}",
                                          child.plan.name, child.quick_ends, how, LastLine(LogOf(child)), LogOf(child)));
  }
  const absl::Duration wait = std::min(kLongestRestart, kFirstRestart * (1 << std::min(child.quick_ends, 10)));
  child.restart_at = now + wait;
  return Exit{.name = child.plan.name, .how = how, .restarts_in = wait};
}

absl::StatusOr<std::vector<Launcher::Exit>> Launcher::Poll(absl::Time now) {
  std::vector<Exit> exits;
  for (Child& child : children_) {
    int wait_status = 0;
    if (child.pid != 0 && waitpid(child.pid, &wait_status, WNOHANG) == child.pid) {
      absl::StatusOr<Exit> exit = Ended(child, wait_status, now);
      if (!exit.ok()) return exit.status();
      exits.push_back(*std::move(exit));
    } else if (child.pid != 0 && now >= child.kill_at) {
      kill(child.pid, SIGKILL);
      child.kill_at = absl::InfiniteFuture();
    } else if (MayStart(child, now)) {
      if (absl::Status status = Spawn(child, now); !status.ok()) return status;
    }
  }
  std::erase_if(children_, [](const Child& child) { return !child.wanted && child.pid == 0; });
  return exits;
}

bool Launcher::runs(const std::string& name) const {
  return std::any_of(children_.begin(), children_.end(),
                     [&](const Child& child) { return child.plan.name == name && child.pid != 0; });
}

void Launcher::CameUp(const std::string& name) {
  for (Child& child : children_) {
    if (child.plan.name == name) child.came_up = true;
  }
}

size_t Launcher::running() const {
  return static_cast<size_t>(
      std::count_if(children_.begin(), children_.end(), [](const Child& child) { return child.pid != 0; }));
}

void Launcher::AskToStop(Child& child) {
  if (child.lifeline >= 0) {
    CutLifeline(child);
  } else {
    kill(child.pid, SIGTERM);
  }
}

void Launcher::KillAll() const {
  for (const Child& child : children_) {
    if (child.pid != 0) kill(child.pid, SIGKILL);
  }
}

void Launcher::Reap() {
  for (Child& child : children_) {
    if (child.pid != 0 && waitpid(child.pid, nullptr, WNOHANG) == child.pid) Gone(child);
  }
}

void Launcher::Stop(absl::Duration grace) {
  LetGo();
  for (Child& child : children_) {
    if (child.pid != 0) AskToStop(child);
  }
  const absl::Time deadline = absl::Now() + grace;
  bool killed = false;
  while (running() > 0) {
    Reap();
    if (!killed && absl::Now() > deadline) {
      KillAll();
      killed = true;
    }
    if (running() > 0) absl::SleepFor(kStopPoll);
  }
}

}  // namespace marquee
