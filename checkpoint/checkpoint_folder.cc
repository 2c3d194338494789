#include "checkpoint/checkpoint_folder.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

namespace marquee {
namespace {

constexpr std::string_view kPrefix = "checkpoint-";
constexpr std::string_view kManifest = "MANIFEST";
constexpr uint64_t kMaxManifestBytes = 256U << 20U;

absl::Status Missing(const absl::Status& status) {
  return absl::IsNotFound(status) ? absl::DataLossError(status.message()) : status;
}

}  // namespace

std::string CheckpointFolder::FolderOf(uint64_t number) const { return fmt::format("{}/{}{:06}", folder_, kPrefix, number); }
std::string CheckpointFolder::ManifestOf(uint64_t number) const { return fmt::format("{}/{}", FolderOf(number), kManifest); }

absl::StatusOr<std::vector<uint64_t>> CheckpointFolder::Numbers() const {
  absl::StatusOr<std::vector<std::string>> names = files_.List(folder_);
  if (absl::IsNotFound(names.status())) return std::vector<uint64_t>();
  if (!names.ok()) return names.status();
  std::vector<uint64_t> numbers;
  for (const std::string& name : *names) {
    uint64_t number = 0;
    if (name.rfind(kPrefix, 0) != 0) continue;
    const char* const end = name.data() + name.size();
    const auto [stop, error] = std::from_chars(name.data() + kPrefix.size(), end, number);
    if (error == std::errc() && stop == end && number != 0) numbers.push_back(number);
  }
  std::sort(numbers.begin(), numbers.end());
  return numbers;
}

absl::StatusOr<std::vector<uint64_t>> CheckpointFolder::List() const {
  absl::StatusOr<std::vector<uint64_t>> numbers = Numbers();
  if (!numbers.ok()) return numbers;
  std::vector<uint64_t> finished;
  for (const uint64_t number : *numbers) {
    absl::StatusOr<std::vector<std::string>> names = files_.List(FolderOf(number));
    if (!names.ok()) return names.status();
    if (std::find(names->begin(), names->end(), kManifest) != names->end()) finished.push_back(number);
  }
  return finished;
}

absl::StatusOr<uint64_t> CheckpointFolder::NextNumber() const {
  absl::StatusOr<std::vector<uint64_t>> numbers = Numbers();
  if (!numbers.ok()) return numbers.status();
  return numbers->empty() ? 1 : numbers->back() + 1;
}

absl::StatusOr<CheckpointManifest> CheckpointFolder::Load(uint64_t number) const {
  absl::StatusOr<std::string> text = ReadWhole(files_, ManifestOf(number), kMaxManifestBytes);
  if (!text.ok()) return Missing(text.status());
  absl::StatusOr<CheckpointManifest> manifest = CheckpointManifest::Parse(*text, ManifestOf(number));
  if (!manifest.ok() || manifest->number == number) return manifest;
  return absl::DataLossError(
      fmt::format("{}: is the manifest of checkpoint {}; {} is expected", ManifestOf(number), manifest->number, number));
}

absl::StatusOr<std::vector<CheckpointManifest>> CheckpointFolder::Chain(uint64_t number) const {
  std::vector<CheckpointManifest> chain;
  while (number != 0) {
    absl::StatusOr<CheckpointManifest> manifest = Load(number);
    if (!manifest.ok()) return manifest.status();
    if (!chain.empty() && manifest->cluster_id != chain.front().cluster_id) {
      return absl::DataLossError(fmt::format("{}: is of cluster {:016x}; checkpoint {}, which builds on it, of {:016x}",
                                             ManifestOf(number), manifest->cluster_id, chain.front().number,
                                             chain.front().cluster_id));
    }
    if (manifest->base >= number) {
      return absl::DataLossError(
          fmt::format("{}: builds on checkpoint {}, which is not before it", ManifestOf(number), manifest->base));
    }
    number = manifest->base;
    chain.insert(chain.begin(), *std::move(manifest));
  }
  return chain;
}

absl::Status CheckpointFolder::Look(const std::vector<CheckpointManifest>& chain) const {
  for (const CheckpointManifest& manifest : chain) {
    for (const RowFileSummary& file : manifest.files) {
      const std::string path = fmt::format("{}/{}", FolderOf(manifest.number), file.name);
      absl::StatusOr<std::unique_ptr<FileSystem::Reader>> opened = files_.Open(path);
      if (!opened.ok()) return Missing(opened.status());
      if ((*opened)->size() != file.bytes) {
        return absl::DataLossError(fmt::format("{}: {} bytes; the manifest names {}", path, (*opened)->size(), file.bytes));
      }
      const auto reader = RowFileReader::Open(files_, path, manifest.cluster_id, manifest.number);
      if (!reader.ok()) return reader.status();
    }
  }
  return absl::OkStatus();
}

absl::Status CheckpointFolder::Verify(const std::vector<CheckpointManifest>& chain) const {
  for (const CheckpointManifest& manifest : chain) {
    for (const RowFileSummary& file : manifest.files) {
      const absl::Status status = VerifyRowFile(files_, fmt::format("{}/{}", FolderOf(manifest.number), file.name),
                                                manifest.cluster_id, manifest.number, file);
      if (!status.ok()) return Missing(status);
    }
  }
  return absl::OkStatus();
}

absl::Status CheckpointFolder::Commit(const CheckpointManifest& manifest) {
  const std::string path = ManifestOf(manifest.number);
  const std::string temporary = path + ".tmp";
  const auto write = [&]() -> absl::Status {
    if (absl::Status status = files_.MakeFolders(FolderOf(manifest.number)); !status.ok()) return status;
    absl::StatusOr<std::unique_ptr<FileSystem::Writer>> file = files_.Create(temporary);
    if (!file.ok()) return file.status();
    if (absl::Status status = (*file)->Append(manifest.ToText()); !status.ok()) return status;
    return (*file)->Sync();
  };
  if (absl::Status status = write(); !status.ok()) {
    files_.Remove(temporary).IgnoreError();
    return status;
  }
  // The folder's own name first: what it holds is of no use without it.
  if (absl::Status status = files_.SyncFolder(folder_); !status.ok()) return status;
  if (absl::Status status = files_.Rename(temporary, path); !status.ok()) return status;
  return files_.SyncFolder(FolderOf(manifest.number));
}

absl::Status CheckpointFolder::Remove(uint64_t number) {
  const std::string folder = FolderOf(number);
  absl::StatusOr<std::vector<std::string>> names = files_.List(folder);
  if (absl::IsNotFound(names.status())) return absl::OkStatus();
  if (!names.ok()) return names.status();
  if (absl::Status status = files_.Remove(ManifestOf(number)); !status.ok()) return status;
  if (absl::Status status = files_.SyncFolder(folder); !status.ok()) return status;
  for (const std::string& name : *names) {
    if (absl::Status status = files_.Remove(fmt::format("{}/{}", folder, name)); !status.ok()) return status;
  }
  return files_.Remove(folder);
}

absl::Status CheckpointFolder::RemoveAllBut(const std::set<uint64_t>& kept) {
  std::set<uint64_t> needed = kept;
  for (const uint64_t number : kept) {
    // One whose chain is broken keeps what of it can be read.
    for (uint64_t at = number; at != 0;) {
      needed.insert(at);
      const absl::StatusOr<CheckpointManifest> manifest = Load(at);
      at = manifest.ok() && manifest->base < at ? manifest->base : 0;
    }
  }
  absl::StatusOr<std::vector<uint64_t>> numbers = Numbers();
  if (!numbers.ok()) return numbers.status();
  // Those that build on others before these: what an error leaves is whole.
  for (auto number = numbers->rbegin(); number != numbers->rend(); ++number) {
    if (needed.contains(*number)) continue;
    if (absl::Status status = Remove(*number); !status.ok()) return status;
  }
  return absl::OkStatus();
}

}  // namespace marquee
