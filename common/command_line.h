#ifndef MARQUEE_COMMON_COMMAND_LINE_H_
#define MARQUEE_COMMON_COMMAND_LINE_H_

// What the command lines of all programs share: --version, --completion, and how a wrong one ends. Not thread-safe.

#include <optional>
#include <string>

namespace CLI {
class App;
}

namespace marquee {

// The exit code of a command line that is wrong.
constexpr int kUsageError = 2;

// Adds --version and --completion to `app`, reads the command line into what its options point to, and returns nothing if the
// program is to go on, else its exit code: 0 after --help, --version or --completion, kUsageError after saying on stderr what
// is wrong.
std::optional<int> ParseCommandLine(CLI::App& app, int argc, const char* const* argv);

// What --version prints: versions of the program, of the wire protocol, of the files of checkpoints, and what it was built
// with.
std::string VersionText(const std::string& program);

// A script for bash that completes the options and subcommands of `app`, and file names where an option takes one.
std::string BashCompletion(const CLI::App& app);

}  // namespace marquee

#endif  // MARQUEE_COMMON_COMMAND_LINE_H_
