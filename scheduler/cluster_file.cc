#include "scheduler/cluster_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <utility>

namespace marquee {
namespace {

constexpr absl::Duration kLookInterval = absl::Seconds(1);
constexpr absl::Duration kSettle = absl::Milliseconds(900);  // less than the interval: seen twice is enough

std::optional<std::string> ReadText(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  if (!file || text.str().empty()) return std::nullopt;
  return text.str();
}

bool ShareAPort(const ServerPlace& a, const ServerPlace& b) {
  if (a.port == 0 || b.port == 0 || a.host != b.host) return false;
  return a.port < b.port + b.shards && b.port < a.port + a.shards;
}

std::string Where(const ServerPlace& place) {
  return fmt::format("host {}, port {}, {} shards, metrics_port {}", place.host, place.port, place.shards, place.metrics_port);
}

std::string Where(const WorkerPlace& place) {
  return fmt::format("host {}, {} threads, device {}, metrics_port {}", place.host, place.threads, place.device,
                     place.metrics_port);
}

template <typename Place>
absl::Status CheckSame(const std::string& path, std::string_view key, const Place& before, const Place& edited) {
  if (before == edited) return absl::OkStatus();
  return absl::InvalidArgumentError(
      fmt::format("{}: key '{}': '{}' has {}, but runs with {}; give what is to run there another name", path, key, edited.name,
                  Where(edited), Where(before)));
}

}  // namespace

absl::StatusOr<ClusterFile> ClusterFile::Load(const std::string& path) {
  const std::optional<std::string> text = ReadText(path);
  if (!text.has_value()) return absl::NotFoundError(fmt::format("{}: cannot be read, or is empty", path));
  const std::filesystem::path absolute = std::filesystem::absolute(path);
  std::string folder = absolute.parent_path().string();
  absl::StatusOr<ClusterConfig> config = ParseClusterConfig(*text, path, folder);
  if (!config.ok()) return config.status();
  return ClusterFile(absolute.string(), std::move(folder), Version{.text = *text, .config = *std::move(config)});
}

absl::StatusOr<std::optional<ClusterFile::Version>> ClusterFile::Poll(absl::Time now, bool asked) {
  if (!asked && now < next_look_) return std::nullopt;
  next_look_ = now + kLookInterval;
  std::optional<std::string> text = ReadText(path_);
  if (text != seen_) {
    seen_ = std::move(text);
    seen_since_ = now;
    judged_ = false;
  }
  if (!asked && (judged_ || now - seen_since_ < kSettle)) return std::nullopt;
  judged_ = true;
  return Judge();
}

absl::StatusOr<std::optional<ClusterFile::Version>> ClusterFile::Judge() const {
  if (!seen_.has_value()) return absl::NotFoundError(fmt::format("{}: cannot be read, or is empty", path_));
  if (*seen_ == now_.text) return std::nullopt;
  absl::StatusOr<ClusterConfig> edited = ParseClusterConfig(*seen_, path_, folder_);
  if (!edited.ok()) return edited.status();
  if (absl::Status status = CheckClusterEdit(now_.text, *seen_, path_); !status.ok()) return status;
  if (absl::Status status = CheckServers(*edited); !status.ok()) return status;
  if (absl::Status status = CheckWorkers(*edited); !status.ok()) return status;
  return Version{.text = *seen_, .config = *std::move(edited)};
}

absl::Status ClusterFile::CheckServers(const ClusterConfig& edited) const {
  std::vector<ServerPlace> running = now_.config.servers;
  running.insert(running.end(), leaving_.begin(), leaving_.end());
  for (const ServerPlace& place : edited.servers) {
    if (now_.config.worker(place.name) != nullptr) {
      return absl::InvalidArgumentError(
          fmt::format("{}: key 'cluster.servers': '{}' is the name of a worker; take another one", path_, place.name));
    }
    for (const ServerPlace& other : running) {
      if (other.name == place.name) {
        if (absl::Status status = CheckSame(path_, "cluster.servers", other, place); !status.ok()) return status;
      } else if (edited.server(other.name) == nullptr && ShareAPort(other, place)) {
        return absl::InvalidArgumentError(
            fmt::format("{}: key 'cluster.servers': '{}' has port {} of {}, which '{}' has until it has left; take another one",
                        path_, place.name, place.port, place.host, other.name));
      }
    }
  }
  return absl::OkStatus();
}

absl::Status ClusterFile::CheckWorkers(const ClusterConfig& edited) const {
  for (const WorkerPlace& place : edited.workers) {
    const bool leaves =
        std::any_of(leaving_.begin(), leaving_.end(), [&](const ServerPlace& other) { return other.name == place.name; });
    if (leaves || now_.config.server(place.name) != nullptr) {
      return absl::InvalidArgumentError(
          fmt::format("{}: key 'cluster.workers': '{}' is the name of a server; take another one", path_, place.name));
    }
    const WorkerPlace* const before = now_.config.worker(place.name);
    if (before == nullptr) continue;
    if (absl::Status status = CheckSame(path_, "cluster.workers", *before, place); !status.ok()) return status;
  }
  return absl::OkStatus();
}

void ClusterFile::Use(Version version) {
  for (const ServerPlace& place : now_.config.servers) {
    if (version.config.server(place.name) == nullptr) leaving_.push_back(place);
  }
  now_ = std::move(version);
  std::erase_if(leaving_, [this](const ServerPlace& place) { return now_.config.server(place.name) != nullptr; });
}

void ClusterFile::Gone(const std::string& server) {
  std::erase_if(leaving_, [&](const ServerPlace& place) { return place.name == server; });
}

}  // namespace marquee
