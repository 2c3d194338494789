#include "scheduler/launcher.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <filesystem>

#include "absl/time/clock.h"

extern char** environ;

namespace marquee {
namespace {

constexpr absl::Duration kFirstRestart = absl::Milliseconds(500);  // doubles with each quick end
constexpr absl::Duration kLongestRestart = absl::Seconds(8);
constexpr absl::Duration kQuick = absl::Seconds(10);  // a process that ends sooner than this has ended quickly
constexpr int kMaxQuickEnds = 15;
constexpr absl::Duration kRetireGrace = absl::Seconds(10);  // from SIGTERM to SIGKILL
constexpr absl::Duration kStopPoll = absl::Milliseconds(20);

// Everything that the child needs, made before the fork: after it, only calls that are safe in a copy of a process with
// threads.
struct Prepared {
  std::string program;
  std::vector<std::string> arguments;
  std::vector<std::string> environment;
  int log = -1;
  int null = -1;

  static std::vector<char*> Pointers(std::vector<std::string>& texts) {
    std::vector<char*> pointers;
    for (std::string& text : texts) pointers.push_back(text.data());
    pointers.push_back(nullptr);
    return pointers;
  }
};

std::vector<std::string> EnvironmentFor(uint32_t threads) {
  std::vector<std::string> environment;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string text = *entry;
    if (text.rfind("OMP_NUM_THREADS=", 0) != 0 && text.rfind("OPENBLAS_NUM_THREADS=", 0) != 0) environment.push_back(text);
  }
  environment.push_back(fmt::format("OMP_NUM_THREADS={}", threads));
  environment.push_back(fmt::format("OPENBLAS_NUM_THREADS={}", threads));
  return environment;
}

[[noreturn]] void RunChild(const Prepared& prepared, char* const* arguments, char* const* environment, pid_t parent) {
  setpgid(0, 0);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(127);  // it died before the line above
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  dup2(prepared.null, STDIN_FILENO);
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

}  // namespace

Launcher::~Launcher() {
  SignalAll(SIGKILL);
  while (running() > 0) {
    Reap();
    absl::SleepFor(kStopPoll);
  }
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
    if (absl::Status status = Spawn(*child, now); !status.ok()) return status;
  }
  std::erase_if(children_, [](const Child& child) { return !child.wanted && child.pid == 0; });
  return absl::OkStatus();
}

void Launcher::Retire(const std::string& name, absl::Time now) {
  Child* const child = Find(name);
  if (child == nullptr || child->pid == 0 || child->wanted || child->retired) return;
  child->retired = true;
  child->kill_at = now + kRetireGrace;
  kill(child->pid, SIGTERM);
}

Launcher::Child* Launcher::Find(const std::string& name) {
  const auto found =
      std::find_if(children_.begin(), children_.end(), [&](const Child& child) { return child.plan.name == name; });
  return found == children_.end() ? nullptr : &*found;
}

absl::Status Launcher::Spawn(Child& child, absl::Time now) {
  Prepared prepared;
  prepared.program = child.plan.program;
  prepared.arguments = child.plan.arguments;
  prepared.arguments.insert(prepared.arguments.begin(), child.plan.program);
  prepared.environment = EnvironmentFor(child.plan.threads);
  const std::string log = (std::filesystem::path(log_folder_) / (child.plan.name + ".log")).string();
  prepared.log = open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (prepared.log < 0) return absl::InternalError(fmt::format("{}: {}", log, std::strerror(errno)));
  prepared.null = open("/dev/null", O_RDONLY | O_CLOEXEC);
  std::vector<char*> arguments = Prepared::Pointers(prepared.arguments);
  std::vector<char*> environment = Prepared::Pointers(prepared.environment);
  const pid_t parent = getpid();
  const pid_t pid = fork();
  if (pid == 0) RunChild(prepared, arguments.data(), environment.data(), parent);
  const int fork_error = errno;
  close(prepared.log);
  close(prepared.null);
  if (pid < 0) return absl::InternalError(fmt::format("{}: fork: {}", child.plan.program, std::strerror(fork_error)));
  child.pid = pid;
  child.started = now;
  child.restart_at = absl::InfiniteFuture();
  child.kill_at = absl::InfiniteFuture();
  child.retired = false;
  return absl::OkStatus();
}

Launcher::Exit Launcher::Ended(Child& child, int wait_status, absl::Time now) {
  child.pid = 0;
  child.kill_at = absl::InfiniteFuture();
  child.quick_ends = now - child.started < kQuick && !child.retired ? child.quick_ends + 1 : 0;
  absl::Duration wait = absl::InfiniteDuration();
  if (child.wanted && restart_) wait = std::min(kLongestRestart, kFirstRestart * (1 << std::min(child.quick_ends, 10)));
  child.restart_at = now + wait;
  return Exit{.name = child.plan.name, .how = HowItEnded(wait_status), .restarts_in = wait};
}

absl::StatusOr<std::vector<Launcher::Exit>> Launcher::Poll(absl::Time now) {
  std::vector<Exit> exits;
  for (Child& child : children_) {
    int wait_status = 0;
    if (child.pid != 0 && waitpid(child.pid, &wait_status, WNOHANG) == child.pid) {
      exits.push_back(Ended(child, wait_status, now));
      if (child.quick_ends < kMaxQuickEnds) continue;
      return absl::AbortedError(fmt::format("{} ended {} times in a row right after its start, at last with {}; see {}/{}.log",
                                            child.plan.name, child.quick_ends, exits.back().how, log_folder_, child.plan.name));
    }
    if (child.pid != 0 && now >= child.kill_at) {
      kill(child.pid, SIGKILL);
      child.kill_at = absl::InfiniteFuture();
    }
    if (child.pid == 0 && child.wanted && restart_ && now >= child.restart_at) {
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

size_t Launcher::running() const {
  return static_cast<size_t>(
      std::count_if(children_.begin(), children_.end(), [](const Child& child) { return child.pid != 0; }));
}

void Launcher::SignalAll(int signal) const {
  for (const Child& child : children_) {
    if (child.pid != 0) kill(child.pid, signal);
  }
}

void Launcher::Reap() {
  for (Child& child : children_) {
    if (child.pid != 0 && waitpid(child.pid, nullptr, WNOHANG) == child.pid) child.pid = 0;
  }
}

void Launcher::Stop(absl::Duration grace) {
  LetGo();
  SignalAll(SIGTERM);
  const absl::Time deadline = absl::Now() + grace;
  bool killed = false;
  while (running() > 0) {
    Reap();
    if (!killed && absl::Now() > deadline) {
      SignalAll(SIGKILL);
      killed = true;
    }
    if (running() > 0) absl::SleepFor(kStopPoll);
  }
}

absl::StatusOr<std::string> FindProgram(const std::string& name) {
  std::error_code error;
  const std::filesystem::path self = std::filesystem::read_symlink("/proc/self/exe", error);
  if (error) return absl::InternalError(fmt::format("/proc/self/exe: {}", error.message()));
  const std::filesystem::path folder = self.parent_path();
  for (const std::filesystem::path& path : {folder / name, folder.parent_path() / "libexec" / "marquee" / name}) {
    if (access(path.c_str(), X_OK) == 0) return path.string();
  }
  return absl::NotFoundError(fmt::format("program '{}': neither in {} nor in ../libexec/marquee of it", name, folder.string()));
}

absl::StatusOr<std::vector<ProcessPlan>> PlanProcesses(const ClusterConfig& config, const ProcessInputs& inputs) {
  const absl::StatusOr<std::string> ps = FindProgram("ps");
  if (!ps.ok()) return ps.status();
  const absl::StatusOr<std::string> worker = FindProgram("worker");
  if (!worker.ok()) return worker.status();
  std::vector<ProcessPlan> plans;
  const auto common = [&](const std::string& name) {
    std::vector<std::string> arguments{"--cluster", inputs.cluster_file, "--cluster-folder", inputs.cluster_folder, "--name",
                                       name,        "--scheduler",       inputs.scheduler};
    if (!inputs.trace_folder.empty()) arguments.insert(arguments.end(), {"--trace-folder", inputs.trace_folder});
    return arguments;
  };
  for (const ServerPlace& place : config.servers) {
    plans.push_back(ProcessPlan{.name = place.name, .program = *ps, .arguments = common(place.name), .threads = 1});
  }
  for (const WorkerPlace& place : config.workers) {
    ProcessPlan plan{.name = place.name, .program = *worker, .arguments = common(place.name), .threads = place.threads};
    plan.arguments.insert(plan.arguments.end(), {"--data", inputs.data_file});
    plans.push_back(std::move(plan));
  }
  return plans;
}

}  // namespace marquee
