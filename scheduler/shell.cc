#include "scheduler/shell.h"

#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"

namespace marquee {

absl::StatusOr<std::string> FindInPath(const std::string& name, const std::string& package) {
  const char* const path = std::getenv("PATH");
  for (const absl::string_view folder : absl::StrSplit(path == nullptr ? "/usr/bin:/bin" : path, ':', absl::SkipEmpty())) {
    const std::string file = (std::filesystem::path(std::string(folder)) / name).string();
    if (access(file.c_str(), X_OK) == 0) return file;
  }
  return absl::NotFoundError(fmt::format("program '{}' is not in PATH; Debian has it in the package {}", name, package));
}

std::string ShellWord(const std::string& text) { return fmt::format("'{}'", absl::StrReplaceAll(text, {{"'", "'\\''"}})); }

absl::StatusOr<std::string> OutputOf(const std::string& command) {
  FILE* const pipe = popen(command.c_str(), "r");
  if (pipe == nullptr) return absl::InternalError(fmt::format("{}: cannot be started", command));
  std::string output;
  std::array<char, 4096> buffer{};
  while (const size_t read = fread(buffer.data(), 1, buffer.size(), pipe)) output.append(buffer.data(), read);
  if (const int status = pclose(pipe); status != 0) return absl::InternalError("it failed");
  return output;
}

}  // namespace marquee
