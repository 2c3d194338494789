#include "common/command_line.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <string_view>
#include <vector>

#include "common/version.h"
#include "common/wire_versions.h"

namespace marquee {
namespace {

// What bash is told of one command: the program itself, or a subcommand by its path ("/checkpoint/list").
struct Completion {
  std::string path;
  std::vector<std::string> subcommands;
  std::vector<std::string> options;
  std::vector<std::string> with_value;  // those of `options` that a value follows
};

void AddOptions(const CLI::App& app, Completion& completion) {
  for (const CLI::Option* const option : app.get_options()) {
    for (const std::string& name : option->get_lnames()) {
      if (std::find(completion.options.begin(), completion.options.end(), "--" + name) != completion.options.end()) continue;
      completion.options.push_back("--" + name);
      if (option->get_items_expected_max() > 0) completion.with_value.push_back("--" + name);
    }
  }
}

void AddCommands(const CLI::App& app, const std::string& path, std::vector<Completion>& completions) {
  Completion completion{.path = path, .subcommands = {}, .options = {}, .with_value = {}};
  AddOptions(app, completion);
  const std::vector<const CLI::App*> children = app.get_subcommands(std::function<bool(const CLI::App*)>());
  for (const CLI::App* const child : children) {
    if (child->get_name().empty()) {
      AddOptions(*child, completion);  // a group of options
    } else {
      completion.subcommands.push_back(child->get_name());
    }
  }
  completions.push_back(completion);
  for (const std::string& name : completion.subcommands) {
    AddCommands(*app.get_subcommand(name), fmt::format("{}/{}", path, name), completions);
  }
}

// Arms of a `case` on the path of a command and the word after it, which lead to the path of a subcommand.
std::string PathArms(const std::vector<Completion>& completions) {
  std::string arms;
  for (const Completion& completion : completions) {
    for (const std::string& name : completion.subcommands)
      arms += fmt::format("      {0}/{1}) path={0}/{1} ;;\n", completion.path, name);
  }
  return arms;
}

std::string WordArms(const std::vector<Completion>& completions) {
  std::string arms;
  for (const Completion& completion : completions) {
    arms += fmt::format("    '{}') options='{}' with_value='{}' commands='{}' ;;\n", completion.path,
                        fmt::join(completion.options, " "), fmt::join(completion.with_value, " "),
                        fmt::join(completion.subcommands, " "));
  }
  return arms;
}

// {0}: the program, {1}: PathArms, {2}: WordArms.
constexpr std::string_view kBash = R"(# Completion of {0} for bash, as `{0} --completion` prints it.
_marquee_{0}() {{
  local current=${{COMP_WORDS[COMP_CWORD]}} previous=${{COMP_WORDS[COMP_CWORD - 1]}} path='' word options='' with_value='' commands=''
  for word in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
    case $path/$word in
{1}      *) ;;
    esac
  done
  case $path in
{2}  esac
  if [[ " $with_value " == *" $previous "* ]]; then
    mapfile -t COMPREPLY < <(compgen -f -- "$current")
  elif [[ $current == -* ]]; then
    mapfile -t COMPREPLY < <(compgen -W "$options" -- "$current")
  elif [[ -n $commands ]]; then
    mapfile -t COMPREPLY < <(compgen -W "$commands" -- "$current")
  elif [[ -z $current && -n $options ]]; then
    mapfile -t COMPREPLY < <(compgen -W "$options" -- "$current")
  else
    mapfile -t COMPREPLY < <(compgen -f -- "$current")
  fi
}}
complete -o filenames -F _marquee_{0} {0}
)";

}  // namespace

std::string VersionText(const std::string& program) {
  std::string built = fmt::format("built by {}", Compiler());
  if (!LibTorchVersion().empty()) built += fmt::format(", with LibTorch {}", LibTorchVersion());
  return fmt::format("{} (marquee) {}\nwire protocol {}, checkpoints {}, state {} to {}\n{}", program, Version(),
                     ToText(OwnWireVersions()), kCheckpointVersion, kOldestStateVersion, kStateVersion, built);
}

std::string BashCompletion(const CLI::App& app) {
  std::vector<Completion> completions;
  AddCommands(app, "", completions);
  return fmt::format(kBash, app.get_name(), PathArms(completions), WordArms(completions));
}

std::optional<int> ParseCommandLine(CLI::App& app, int argc, const char* const* argv) {
  app.set_version_flag("--version", VersionText(app.get_name()),
                       "Print the versions of this program and of what it reads and writes");
  app.add_flag_callback(
      "--completion",
      [&app] {
        fmt::print("{}", BashCompletion(app));
        throw CLI::Success();
      },
      "Print completion for bash: source <(... --completion)");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : kUsageError;
  }
  return std::nullopt;
}

}  // namespace marquee
