#include "scheduler/host_command.h"

#include <fmt/format.h>

#include <filesystem>

namespace marquee {
namespace {

constexpr int kFileMissing = 66;  // EX_NOINPUT
constexpr int kNotExecutable = 126;
constexpr int kNoProgram = 127;
constexpr int kSignal = 128;  // and the signal's number
constexpr int kMaxSignal = 64;

// Runs the words behind "--", if all files in front of it may be read. It stays while they run, since neither ssh nor Slurm
// would tell a killed program from a lost one.
constexpr char kScript[] =
    "while [ \"$1\" != -- ]; do"
    " [ -r \"$1\" ] || { echo \"$(uname -n): file $1 is missing, or may not be read\" >&2; exit 66; }; shift;"
    " done; shift; \"$@\"; exit $?";

}  // namespace

std::string HostCommand::ProgramOf(const ProcessPlan& plan) const {
  if (programs.empty()) return plan.program;
  return (std::filesystem::path(programs) / std::filesystem::path(plan.program).filename()).string();
}

std::vector<std::string> HostCommand::WordsFor(const ProcessPlan& plan) const {
  std::vector<std::string> words = {"/bin/sh", "-c", kScript, "sh"};
  words.insert(words.end(), plan.files.begin(), plan.files.end());
  words.insert(words.end(), {"--", "env"});
  for (const std::string& variable : ThreadVariables(plan.threads)) words.push_back(variable);
  for (const auto& [name, value] : environment) words.push_back(fmt::format("{}={}", name, value));
  words.insert(words.end(), prefix.begin(), prefix.end());
  words.push_back(ProgramOf(plan));
  words.insert(words.end(), plan.arguments.begin(), plan.arguments.end());
  words.insert(words.end(), more_arguments.begin(), more_arguments.end());
  words.emplace_back("--until-input-ends");
  return words;
}

LaunchEnd HostCommand::Judge(const ProcessPlan& plan, int exit_code, const std::string& host) const {
  switch (exit_code) {
    case kFileMissing:
      return {LaunchEnd::Kind::kHopeless, fmt::format("host {} lacks a file that it needs", host)};
    case kNotExecutable:
      return {LaunchEnd::Kind::kHopeless, fmt::format("host {} cannot run {}", host, ProgramOf(plan))};
    case kNoProgram:
      return {LaunchEnd::Kind::kHopeless, fmt::format("host {} has no program {}", host, ProgramOf(plan))};
    default:
      if (exit_code > kSignal && exit_code <= kSignal + kMaxSignal) {
        return {LaunchEnd::Kind::kOfProcess, fmt::format("killed by signal {} on host {}", exit_code - kSignal, host)};
      }
      return {LaunchEnd::Kind::kOfProcess, fmt::format("on host {}", host)};
  }
}

}  // namespace marquee
