#include "scheduler/checkpoint_files.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "common/log.h"
#include "common/trial_config_yaml.h"

namespace marquee {
namespace {

const CheckpointManifest::Trial* Find(const CheckpointManifest& manifest, const std::string& name) {
  const auto found = std::find_if(manifest.trials.begin(), manifest.trials.end(),
                                  [&](const CheckpointManifest::Trial& trial) { return trial.name == name; });
  return found == manifest.trials.end() ? nullptr : &*found;
}

}  // namespace

absl::Status CheckpointFiles::CheckFormat() const {
  const absl::StatusOr<std::vector<uint64_t>> numbers = folder_.List();
  if (!numbers.ok() || numbers->empty()) return absl::OkStatus();  // one who needs them will look again
  const absl::Status status = folder_.Load(numbers->back()).status();
  return absl::IsFailedPrecondition(status) ? status : absl::OkStatus();
}

absl::StatusOr<CheckpointStore::Attempt> CheckpointFiles::Begin() {
  if (absl::Status status = files_.MakeFolders(folder_path_); !status.ok()) return status;
  const std::string parent = std::filesystem::path(folder_path_).parent_path().string();
  if (absl::Status status = files_.SyncFolder(parent.empty() ? "." : parent); !status.ok()) return status;
  absl::StatusOr<uint64_t> number = folder_.NextNumber();
  if (!number.ok()) return number.status();
  // Takes the number, whatever becomes of it, also for a scheduler that comes after a loss of power: shards know it by then.
  if (absl::Status status = files_.MakeFolders(folder_.FolderOf(*number)); !status.ok()) return status;
  if (absl::Status status = files_.SyncFolder(folder_path_); !status.ok()) return status;
  return Attempt{.number = *number, .folder = folder_.FolderOf(*number)};
}

absl::StatusOr<std::set<uint64_t>> CheckpointFiles::Needed(const std::set<std::string>& unfinished) const {
  std::set<uint64_t> needed;
  const absl::StatusOr<std::vector<uint64_t>> numbers = folder_.List();
  if (!numbers.ok()) return numbers.status();
  std::set<std::string> without = unfinished;
  size_t good = 0;
  for (auto number = numbers->rbegin(); number != numbers->rend(); ++number) {
    const absl::StatusOr<CheckpointManifest> manifest = folder_.Load(*number);
    if (!manifest.ok() && !absl::IsDataLoss(manifest.status())) return manifest.status();
    if (!manifest.ok() || refused_.contains(*number)) continue;
    bool wanted = good++ < keep_;
    for (const CheckpointManifest::Trial& trial : manifest->trials) wanted |= without.erase(trial.name) > 0;
    if (wanted) needed.insert(*number);
  }
  return needed;
}

absl::Status CheckpointFiles::Commit(const CheckpointManifest& manifest, const std::set<std::string>& unfinished) {
  if (absl::Status status = folder_.Commit(manifest); !status.ok()) return status;
  const absl::StatusOr<std::set<uint64_t>> needed = Needed(unfinished);
  const absl::Status status = needed.ok() ? folder_.RemoveAllBut(*needed) : needed.status();
  if (!status.ok()) {
    LogWarning("an old checkpoint cannot be removed", {{"error", std::string(status.message())}});
  }
  return absl::OkStatus();
}

absl::StatusOr<std::optional<TrialCheckpoint>> CheckpointFiles::Newest(const std::string& trial, const std::string& spec,
                                                                       uint64_t cluster_id) {
  const auto unreadable = [](const absl::Status& status) {
    LogWarning("checkpoints cannot be read; trying again", {{"error", std::string(status.message())}});
    return absl::UnavailableError(status.message());
  };
  const absl::StatusOr<std::vector<uint64_t>> numbers = folder_.List();
  if (!numbers.ok()) return unreadable(numbers.status());
  for (auto number = numbers->rbegin(); number != numbers->rend(); ++number) {
    if (refused_.contains(*number)) continue;
    const absl::StatusOr<std::vector<CheckpointManifest>> chain = folder_.Chain(*number);
    const absl::Status status = chain.ok() ? folder_.Look(*chain) : chain.status();
    if (!status.ok() && !absl::IsDataLoss(status)) return unreadable(status);
    if (!status.ok()) {
      Refuse(*number, std::string(status.message()));
      continue;
    }
    const CheckpointManifest& manifest = chain->back();
    if (manifest.cluster_id != cluster_id) {
      Refuse(*number, fmt::format("{}: is of cluster {:016x}; this one is {:016x}", folder_.ManifestOf(*number),
                                  manifest.cluster_id, cluster_id));
      continue;
    }
    const CheckpointManifest::Trial* const found = Find(manifest, trial);
    if (found == nullptr || Rewritten(found->spec) != spec) continue;
    TrialCheckpoint point{.number = *number, .cluster_id = cluster_id, .files = {}, .state = found->state};
    for (const CheckpointManifest& link : *chain) {
      for (const RowFileSummary& file : link.files) {
        point.files.push_back(
            {.path = fmt::format("{}/{}", folder_.FolderOf(link.number), file.name), .checkpoint = link.number});
      }
    }
    LogInfo("a trial goes on from a checkpoint", {{"trial", trial}, {"number", *number}});
    return point;
  }
  return std::optional<TrialCheckpoint>();
}

void CheckpointFiles::CouldNotRead(uint64_t number, const std::string& reason) {
  LogWarning("a checkpoint cannot be read; trying again", {{"number", number}, {"reason", reason}});
}

void CheckpointFiles::GaveUp(const std::string& reason) {
  LogWarning("a checkpoint is given up; training goes on", {{"reason", reason}});
}

void CheckpointFiles::Refuse(uint64_t number, const std::string& reason) {
  if (refused_.insert(number).second) LogWarning("a checkpoint is not used", {{"number", number}, {"reason", reason}});
}

}  // namespace marquee
