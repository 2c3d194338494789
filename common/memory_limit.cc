#include "common/memory_limit.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <limits>

namespace marquee {
namespace {

constexpr uint64_t kNoLimit = std::numeric_limits<uint64_t>::max();

uint64_t MachineBytes(const std::string& proc) {
  std::ifstream file(proc + "/meminfo");
  std::string word;
  uint64_t kib = 0;
  while (file >> word) {
    if (word == "MemTotal:" && file >> kib) return kib * 1024;
  }
  return kNoLimit;
}

// "max", or a file that is not there, is no limit.
uint64_t LimitIn(const std::filesystem::path& file) {
  std::ifstream stream(file);
  uint64_t bytes = 0;
  return stream >> bytes ? bytes : kNoLimit;
}

// Of a group and all that it lies in. In a container the path may be the host's, which is not there: then the root is the
// container's own.
uint64_t LeastLimit(const std::filesystem::path& root, const std::string& group, const char* file) {
  uint64_t least = LimitIn(root / file);
  for (std::filesystem::path path = group; path.has_relative_path(); path = path.parent_path()) {
    least = std::min(least, LimitIn(root / path.relative_path() / file));
  }
  return least;
}

}  // namespace

uint64_t MemoryLimitBytes(const std::string& proc, const std::string& groups) {
  uint64_t limit = MachineBytes(proc);
  std::ifstream file(proc + "/self/cgroup");
  for (std::string line; std::getline(file, line);) {  // "0::/a/b" in version 2, "4:memory:/a/b" in version 1
    const size_t first = line.find(':');
    const size_t second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controller = line.substr(first + 1, second - first - 1);
    const std::string group = line.substr(second + 1);
    if (controller.empty()) limit = std::min(limit, LeastLimit(groups, group, "memory.max"));
    if (controller == "memory") {
      limit = std::min(limit, LeastLimit(std::filesystem::path(groups) / "memory", group, "memory.limit_in_bytes"));
    }
  }
  return limit == kNoLimit ? 0 : limit;
}

}  // namespace marquee
