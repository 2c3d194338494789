#include "scheduler/launch_ssh.h"

#include <fmt/format.h>

#include <utility>
#include <vector>

#include "scheduler/shell.h"

namespace marquee {
namespace {

constexpr int kSshFailed = 255;

}  // namespace

absl::StatusOr<std::unique_ptr<LaunchEngine>> SshEngine::Create(const SshConfig& config) {
  absl::StatusOr<std::string> ssh = FindInPath("ssh", "openssh-client");
  if (!ssh.ok()) return ssh.status();
  return std::make_unique<SshEngine>(config, *std::move(ssh));
}

SshEngine::SshEngine(SshConfig config, std::string ssh)
    : config_(std::move(config)),
      ssh_(std::move(ssh)),
      host_command_{
          .programs = config_.programs, .prefix = config_.prefix, .environment = config_.environment, .more_arguments = {}} {}

// The login shell may be any, so it gets no more to do than to start another.
std::string SshEngine::RemoteCommand(const ProcessPlan& plan) const {
  std::string command = "exec";
  for (const std::string& word : host_command_.WordsFor(plan)) command += fmt::format(" {}", ShellWord(word));
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
  if (end.exit_code != kSshFailed) return host_command_.Judge(plan, end.exit_code, plan.host);
  return {LaunchEnd::Kind::kUnreachable, fmt::format("ssh cannot reach host {}, or has lost it", plan.host)};
}

}  // namespace marquee
