#include "checkpoint/commands.h"

#include <fmt/format.h>

#include <vector>

#include "absl/time/time.h"
#include "checkpoint/checkpoint_folder.h"

namespace marquee {
namespace {

absl::StatusOr<std::vector<uint64_t>> NumbersIn(const CheckpointFolder& checkpoints, const std::string& folder) {
  absl::StatusOr<std::vector<uint64_t>> numbers = checkpoints.List();
  if (numbers.ok() && numbers->empty()) {
    return absl::NotFoundError(fmt::format("{}: holds no checkpoint (folders checkpoint-NNNNNN with a MANIFEST)", folder));
  }
  return numbers;
}

std::string TrialNames(const CheckpointManifest& manifest) {
  std::string names;
  for (const CheckpointManifest::Trial& trial : manifest.trials) names += (names.empty() ? "" : ", ") + trial.name;
  return names;
}

}  // namespace

absl::StatusOr<std::string> ListCheckpoints(FileSystem& files, const std::string& folder) {
  const CheckpointFolder checkpoints(files, folder);
  const absl::StatusOr<std::vector<uint64_t>> numbers = NumbersIn(checkpoints, folder);
  if (!numbers.ok()) return numbers.status();
  std::string text = fmt::format("{:>6}  {:19}  {:>6}  {:>12}  {:>14}  {:>8}  {}\n", "number", "written (UTC)", "base", "rows",
                                 "bytes", "pause ms", "trials");
  for (const uint64_t number : *numbers) {
    const absl::StatusOr<CheckpointManifest> manifest = checkpoints.Load(number);
    if (!manifest.ok()) {
      text += fmt::format("{:>6}  {}\n", number, std::string(manifest.status().message()));
      continue;
    }
    text += fmt::format(
        "{:>6}  {:19}  {:>6}  {:>12}  {:>14}  {:>8.1f}  {}\n", number,
        absl::FormatTime("%Y-%m-%d %H:%M:%S", absl::FromUnixSeconds(manifest->written_unix_seconds), absl::UTCTimeZone()),
        manifest->base == 0 ? "full" : fmt::format("{}", manifest->base), manifest->rows(), manifest->bytes(),
        manifest->pause_seconds * 1000, TrialNames(*manifest));
  }
  return text;
}

absl::StatusOr<CheckpointsVerified> VerifyCheckpoints(FileSystem& files, const std::string& folder) {
  const CheckpointFolder checkpoints(files, folder);
  const absl::StatusOr<std::vector<uint64_t>> numbers = NumbersIn(checkpoints, folder);
  if (!numbers.ok()) return numbers.status();
  CheckpointsVerified verified;
  for (const uint64_t number : *numbers) {
    const absl::StatusOr<std::vector<CheckpointManifest>> chain = checkpoints.Chain(number);
    const absl::Status status = chain.ok() ? checkpoints.Verify(*chain) : chain.status();
    verified.all_good &= status.ok();
    if (status.ok()) {
      const CheckpointManifest& manifest = chain->back();
      verified.text +=
          fmt::format("checkpoint {}: good: {} files, {} rows, {} bytes{}\n", number, manifest.files.size(), manifest.rows(),
                      manifest.bytes(), manifest.base == 0 ? "" : fmt::format(", on top of {}", manifest.base));
    } else {
      verified.text += fmt::format("checkpoint {}: DAMAGED: {}\n", number, std::string(status.message()));
    }
  }
  return verified;
}

}  // namespace marquee
