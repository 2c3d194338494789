#include "scheduler/launch_ssh.h"

#include <fmt/format.h>

#include <filesystem>
#include <vector>

namespace marquee {
namespace {

// Exit codes of the host's side.
constexpr int kFileMissing = 66;  // EX_NOINPUT
constexpr int kNotExecutable = 126;
constexpr int kNoProgram = 127;
constexpr int kSignal = 128;  // and the signal's number
constexpr int kSshFailed = 255;

// Runs the words behind "--", if all files in front of it may be read. The login shell may be any, so this is sh's. It stays,
// since ssh itself would not tell a killed program from a lost connection.
constexpr char kScript[] =
    "while [ \"$1\" != -- ]; do"
    " [ -r \"$1\" ] || { echo \"$(uname -n): file $1 is missing, or may not be read\" >&2; exit 66; }; shift;"
    " done; shift; \"$@\"; exit $?";

}  // namespace

absl::StatusOr<std::unique_ptr<LaunchEngine>> SshEngine::Create(const SshConfig& config) {
  absl::StatusOr<std::string> ssh = FindInPath("ssh", "openssh-client");
  if (!ssh.ok()) return ssh.status();
  return std::make_unique<SshEngine>(config, *std::move(ssh));
}

std::string SshEngine::ProgramOf(const ProcessPlan& plan) const {
  if (config_.programs.empty()) return plan.program;
  return (std::filesystem::path(config_.programs) / std::filesystem::path(plan.program).filename()).string();
}

std::string SshEngine::RemoteCommand(const ProcessPlan& plan) const {
  std::vector<std::string> words = plan.files;
  words.insert(words.end(), {"--", "env"});
  for (const std::string& variable : ThreadVariables(plan.threads)) words.push_back(variable);
  for (const auto& [name, value] : config_.environment) words.push_back(fmt::format("{}={}", name, value));
  words.insert(words.end(), config_.prefix.begin(), config_.prefix.end());
  words.push_back(ProgramOf(plan));
  words.insert(words.end(), plan.arguments.begin(), plan.arguments.end());
  words.emplace_back("--until-input-ends");
  std::string command = fmt::format("exec /bin/sh -c {} sh", ShellWord(kScript));
  for (const std::string& word : words) command += fmt::format(" {}", ShellWord(word));
  return command;
}

// ssh takes the first value that it is given for an option, so ours that others must not change stand first, and those that
// they may change last.
LaunchCommand SshEngine::CommandFor(const ProcessPlan& plan) {
  std::vector<std::string> arguments = {"-T"};
  const auto option = [&](const std::string& text) { arguments.insert(arguments.end(), {"-o", text}); };
  option("BatchMode=yes");
  option("ControlMaster=no");  // a shared connection would let one process's end be another's
  option("ControlPath=none");
  option("ClearAllForwardings=yes");
  for (const std::string& text : config_.options) option(text);
  option("ConnectTimeout=10");
  option("ServerAliveInterval=5");
  option("ServerAliveCountMax=3");
  if (!config_.config_file.empty()) arguments.insert(arguments.end(), {"-F", config_.config_file});
  if (!config_.user.empty()) arguments.insert(arguments.end(), {"-l", config_.user});
  if (config_.port != 0) arguments.insert(arguments.end(), {"-p", fmt::format("{}", config_.port)});
  if (!config_.identity_file.empty()) arguments.insert(arguments.end(), {"-i", config_.identity_file});
  arguments.insert(arguments.end(), {"--", plan.host, RemoteCommand(plan)});
  return LaunchCommand{.program = ssh_, .arguments = std::move(arguments), .environment = {}, .lifeline = true};
}

LaunchEnd SshEngine::Judge(const ProcessPlan& plan, const ProcessEnd& end) {
  const bool killed = end.exit_code > kSignal && end.exit_code < kSshFailed;
  switch (end.exit_code) {
    case kFileMissing:
      return {LaunchEnd::Kind::kHopeless, fmt::format("host {} lacks a file that it needs", plan.host)};
    case kNotExecutable:
      return {LaunchEnd::Kind::kHopeless, fmt::format("host {} cannot run {}", plan.host, ProgramOf(plan))};
    case kNoProgram:
      return {LaunchEnd::Kind::kHopeless, fmt::format("host {} has no program {}", plan.host, ProgramOf(plan))};
    case kSshFailed:
      return {LaunchEnd::Kind::kUnreachable, fmt::format("ssh cannot reach host {}, or has lost it", plan.host)};
    default:
      return {LaunchEnd::Kind::kOfProcess,
              killed ? fmt::format("killed by signal {} on host {}", end.exit_code - kSignal, plan.host)
                     : fmt::format("on host {}", plan.host)};
  }
}

}  // namespace marquee
