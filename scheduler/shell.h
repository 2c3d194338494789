#ifndef MARQUEE_SCHEDULER_SHELL_H_
#define MARQUEE_SCHEDULER_SHELL_H_

// What it takes to run other programs of this machine by name.

#include <string>

#include "absl/status/statusor.h"

namespace marquee {

// Path of a program that PATH leads to. `package` is the Debian package that has it, for the error.
absl::StatusOr<std::string> FindInPath(const std::string& name, const std::string& package);

// The text as one word for the shell, whatever is in it.
std::string ShellWord(const std::string& text);

// What a shell command writes to its standard output. An error if it cannot be started or fails.
absl::StatusOr<std::string> OutputOf(const std::string& command);

}  // namespace marquee

#endif  // MARQUEE_SCHEDULER_SHELL_H_
