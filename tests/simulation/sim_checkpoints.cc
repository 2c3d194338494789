#include "tests/simulation/sim_checkpoints.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <filesystem>
#include <sstream>
#include <utility>

namespace marquee::simulation {
namespace {

constexpr absl::Duration kLongestAttempt = absl::Minutes(2);  // from the cut to its end; disks are slow for a while only
constexpr double kClockSlack = 1.1;                           // the scheduler's clock may be slow

std::vector<TableNumber> TablesOf(const CheckpointManifest& manifest) {
  std::vector<TableNumber> tables;
  for (const CheckpointManifest::Trial& trial : manifest.trials) {
    const absl::StatusOr<TrialState> state = TrialState::FromJson(trial.state);
    if (!state.ok()) continue;
    for (const TrialState::Table& table : state->tables) tables.push_back(table.number);
  }
  return tables;
}

std::string FolderOfSweep() { return std::filesystem::path(kCheckpointFolder).parent_path().string(); }

}  // namespace

absl::Time CheckpointScenario::End() const {
  absl::Time end = disk.until;
  for (const absl::Time flip : disk.flips) end = std::max(end, flip);
  for (const auto* windows : {&disk.full, &disk.unreadable}) {
    for (const DiskFaults::Window& window : *windows) end = std::max(end, window.until);
  }
  for (const Crash& crash : crashes) end = std::max(end, crash.from + crash.down);
  return end;
}

std::string CheckpointScenario::Describe() const {
  const auto seconds = [](absl::Time time) { return absl::ToDoubleSeconds(time - absl::UnixEpoch()); };
  std::string text = fmt::format(
      "  checkpoints, {} are kept; the disk fails {:.3f}, {:.2f} of renames, takes up to {}, power is lost {:.2f}\n", keep,
      disk.fails, disk.fails_renaming, absl::FormatDuration(disk.slowest), disk.loses_power);
  for (const absl::Time flip : disk.flips) text += fmt::format("  a bit flips at {:.3f} s\n", seconds(flip));
  const auto windows = [&](const std::vector<DiskFaults::Window>& list, const char* what) {
    for (const DiskFaults::Window& window : list) {
      text += fmt::format("  the disk is {}{} for {} from {:.3f} to {:.3f} s\n", what, window.unmounted ? ", not mounted" : "",
                          window.machine.empty() ? "all" : window.machine, seconds(window.from), seconds(window.until));
    }
  };
  windows(disk.full, "full");
  windows(disk.unreadable, "unreadable");
  for (const Crash& crash : crashes) {
    text += fmt::format("  {} crashes from {:.3f} s on, {} it does {}, for {}\n", crash.name, seconds(crash.from),
                        crash.after ? "once" : "before", NameOf(crash.operation), absl::FormatDuration(crash.down));
  }
  return text;
}

CheckpointWatch::CheckpointWatch(World& world, Ledger& ledger, TrialNews& news, FaultyDisk& disk,
                                 const CoordinatorOptions& options, const CheckpointScenario& scenario, FindShard find_shard)
    : world_(world),
      ledger_(ledger),
      news_(news),
      disk_(disk),
      options_(options),
      scenario_(scenario),
      find_shard_(std::move(find_shard)),
      files_(disk.Inspect()),
      folder_(*files_, kCheckpointFolder) {
  files_->MakeFolders(FolderOfSweep()).IgnoreError();  // it cannot fail
}

CheckpointWatch::Rows CheckpointWatch::RowsOf(const std::string& dump) {
  Rows rows;
  std::istringstream lines(dump);
  for (std::string line; std::getline(lines, line);) {
    const size_t colon = line.find(": ");
    rows[std::stoull(line.substr(0, colon), nullptr, 16)] = line.substr(colon + 2);
  }
  return rows;
}

// -------------------------------------------------------------------------------------------------------------- cuts

void CheckpointWatch::OnCut(uint64_t number, const View& view) {
  world_.Trace(fmt::format("checkpoint {} is begun", number));
  const auto [entry, is_new] = cuts_.try_emplace(number);
  if (!is_new) return Violate(fmt::format("number {} was used before", number));
  Cut& cut = entry->second;
  begun_ = world_.now();
  cut.ledger = ledger_.CutNow();
  cut.trials = news_.newest_trial;
  for (PartitionNumber p = 0; p < view.partitions(); ++p) {
    const Shard* const shard = find_shard_(view.shards[view.primaries[p]]);
    if (shard == nullptr || shard->view() != view) {
      cut.missing.insert(p);
      continue;
    }
    for (const auto& [table, text] : shard->DumpPartition(p).tables) cut.image[{table, p}] = RowsOf(text);
  }
}

std::string CheckpointWatch::Difference(const Rows& found, const Rows& expected, TableNumber table,
                                        PartitionNumber partition) const {
  const auto say = [&](Id id, const std::string& one, const std::string& other) {
    return fmt::format("table {} partition {} row {:x} is [{}], and was [{}] at the cut", table, partition, id, one, other);
  };
  for (const auto& [id, row] : expected) {
    const auto there = found.find(id);
    if (there == found.end()) return say(id, "not there", row);
    if (there->second != row) return say(id, there->second, row);
  }
  for (const auto& [id, row] : found) {
    if (!expected.contains(id)) return say(id, row, "not there");
  }
  return "";
}

// What a restore would give. None where files are damaged.
std::optional<CheckpointWatch::Image> CheckpointWatch::Read(const CheckpointManifest& manifest) {
  Image image;
  std::vector<CheckpointManifest> chain;
  if (manifest.base != 0) {
    absl::StatusOr<std::vector<CheckpointManifest>> before = folder_.Chain(manifest.base);
    if (!before.ok()) return std::nullopt;
    chain = *std::move(before);
  }
  chain.push_back(manifest);
  for (const CheckpointManifest& link : chain) {
    for (const RowFileSummary& file : link.files) {
      const std::string path = fmt::format("{}/{}", folder_.FolderOf(link.number), file.name);
      auto reader = RowFileReader::Open(*files_, path, link.cluster_id, link.number);
      if (!reader.ok()) return std::nullopt;
      for (const RowFileReader::Place& place : (*reader)->blocks()) {
        const absl::StatusOr<RowBlock> block = (*reader)->Read(place);
        if (!block.ok()) return std::nullopt;
        const size_t width = block->dim + block->state_width;
        Rows& rows = image[{block->table, block->partition}];
        for (size_t i = 0; i < block->ids.size(); ++i) {
          const auto row = absl::MakeConstSpan(block->values).subspan(i * width, width);
          rows[block->ids[i]] = fmt::format("{:a}", fmt::join(row, " "));
        }
      }
    }
  }
  return image;
}

std::vector<std::string> CheckpointWatch::FilesOf(uint64_t number) const {
  std::vector<std::string> paths;
  for (uint64_t at = number; at != 0;) {
    const Cut& cut = cuts_.at(at);
    paths.push_back(folder_.ManifestOf(at));
    for (const RowFileSummary& file : cut.manifest.files) {
      paths.push_back(fmt::format("{}/{}", folder_.FolderOf(at), file.name));
    }
    at = cut.manifest.base;
  }
  return paths;
}

bool CheckpointWatch::IsDamaged(uint64_t number) const {
  const std::vector<std::string> paths = FilesOf(number);
  return std::any_of(paths.begin(), paths.end(), [this](const std::string& path) { return disk_.IsDamaged(path); });
}

bool CheckpointWatch::IsThere(uint64_t number) const {
  const std::vector<std::string> paths = FilesOf(number);
  return std::all_of(paths.begin(), paths.end(), [this](const std::string& path) { return files_->Open(path).ok(); });
}

void CheckpointWatch::BeforeCommit(const CheckpointManifest& manifest) {
  Cut& cut = cuts_.at(manifest.number);
  cut.offered = true;
  cut.manifest = manifest;
  for (const RowFileSummary& file : manifest.files) {
    const std::string path = fmt::format("{}/{}", folder_.FolderOf(manifest.number), file.name);
    if (disk_.IsDamaged(path) || disk_.IsDurable(path)) continue;
    return Violate(fmt::format("{} gets its manifest, and {} is not on the disk to stay", manifest.number, path));
  }
  if (absl::Seconds(manifest.pause_seconds) > options_.lease + scenario_.scheduler_pauses) {
    return Violate(fmt::format("{} made a pause of {} s", manifest.number, manifest.pause_seconds));
  }
  if (IsDamaged(manifest.number)) return;
  if (!cut.missing.empty()) {
    return Violate(fmt::format("{} was cut while nobody served partition {}", manifest.number, *cut.missing.begin()));
  }
  const std::optional<Image> image = Read(manifest);
  if (!image.has_value()) return Violate(fmt::format("{} cannot be read, and nothing damaged it", manifest.number));
  for (const TableNumber table : TablesOf(manifest)) {
    for (PartitionNumber p = 0; p < options_.partitions; ++p) {
      static const Rows kNone;
      const auto found = image->find({table, p});
      const auto expected = cut.image.find({table, p});
      const std::string wrong = Difference(found == image->end() ? kNone : found->second,
                                           expected == cut.image.end() ? kNone : expected->second, table, p);
      if (!wrong.empty()) return Violate(fmt::format("the files of {}: {}", manifest.number, wrong));
    }
  }
}

void CheckpointWatch::AfterCommit(const CheckpointManifest& manifest) {
  world_.Trace(fmt::format("checkpoint {} is made", manifest.number));
  cuts_.at(manifest.number).made = true;
  begun_.reset();
  ++made_;
}

void CheckpointWatch::Look(const Coordinator::Counters& counters) {
  if (counters.checkpoint_pause > options_.lease * kClockSlack + scenario_.scheduler_pauses) {
    Violate(fmt::format("training paused for {}", absl::FormatDuration(counters.checkpoint_pause)));
  }
  if (begun_.has_value() && world_.now() > *begun_ + kLongestAttempt + scenario_.scheduler_pauses) {
    Violate(fmt::format("an attempt that made its cut at {:.3f} s does not end",
                        absl::ToDoubleSeconds(*begun_ - absl::UnixEpoch())));
  }
}

// ----------------------------------------------------------------------------------------------------------- restoring

void CheckpointWatch::OnNewest(const std::string& trial, const std::string& spec, const std::optional<TrialCheckpoint>& newest,
                               uint64_t next_trial) {
  const uint64_t used = newest.has_value() ? newest->number : 0;
  world_.Trace(fmt::format("{} goes on from checkpoint {}", trial, used));
  const auto found = cuts_.find(used);
  if (used != 0 && (found == cuts_.end() || !found->second.offered)) {
    return Violate(fmt::format("{} was never made, and {} goes on from it", used, trial));
  }
  for (auto cut = cuts_.rbegin(); cut != cuts_.rend() && cut->first > used; ++cut) {
    const auto& trials = cut->second.manifest.trials;
    const bool has_it = std::any_of(trials.begin(), trials.end(), [&](const CheckpointManifest::Trial& saved) {
      return saved.name == trial && saved.spec == spec;
    });
    if (!cut->second.made || !has_it || IsDamaged(cut->first)) continue;
    if (IsThere(cut->first)) {
      return Violate(fmt::format("{} is whole, and {} goes on from {}", cut->first, trial, used));
    }
    // Removed since there is a newer one, which was damaged only then.
    const bool newer =
        std::any_of(cuts_.upper_bound(cut->first), cuts_.end(), [](const auto& later) { return later.second.made; });
    if (!newer) return Violate(fmt::format("{} was made, and a part of it is gone", cut->first));
  }
  if (used == 0) return;
  const Cut& cut = found->second;
  const absl::StatusOr<TrialState> state = TrialState::FromJson(newest->state);
  if (!state.ok()) return Violate(std::string(state.status().message()));
  ledger_.GoOn(cut.trials.at(trial), next_trial, cut.ledger);
  news_.epochs[next_trial] = state->trained_epochs;
}

void CheckpointWatch::OnRefuse(uint64_t number, const std::string& reason) {
  world_.Trace(fmt::format("checkpoint {} is refused: {}", number, reason));
  const auto cut = cuts_.find(number);
  if (cut == cuts_.end() || !cut->second.offered) return;  // what a crash left
  if (IsThere(number) && !IsDamaged(number)) Violate(fmt::format("{} is refused, and nothing damaged it: {}", number, reason));
}

void CheckpointWatch::OnRestoreAsked(wire::RestoreRows::Reader request) {
  if (request.getFiles().size() == 0) return;
  const auto cut = cuts_.find(request.getFiles()[request.getFiles().size() - 1].getCheckpoint());
  if (cut == cuts_.end()) return Violate("rows of a checkpoint that was never cut are asked for");
  for (const auto table : request.getTables()) ledger_.CopyTable(table.getFrom(), table.getTo(), cut->second.ledger);
}

void CheckpointWatch::OnRestored(const Shard& shard, wire::RestoreRows::Reader request) {
  if (request.getFiles().size() == 0) return;
  const uint64_t number = request.getFiles()[request.getFiles().size() - 1].getCheckpoint();
  const Cut& cut = cuts_.at(number);
  const View& view = shard.view();
  const auto is = [&](ShardIndex index) { return index != kNoShard && find_shard_(view.shards[index]) == &shard; };
  for (PartitionNumber p = 0; p < view.partitions(); ++p) {
    if (!is(view.primaries[p]) && !is(view.backups[p])) continue;
    const Shard::PartitionDump dump = shard.DumpPartition(p);
    for (const auto table : request.getTables()) {
      const auto here = dump.tables.find(table.getTo());
      if (here == dump.tables.end()) continue;  // dropped meanwhile
      static const Rows kNone;
      const auto expected = cut.image.find({table.getFrom(), p});
      const std::string wrong =
          Difference(RowsOf(here->second), expected == cut.image.end() ? kNone : expected->second, table.getFrom(), p);
      if (!wrong.empty()) return Violate(fmt::format("restored from {}: {}", number, wrong));
      ++restored_;
    }
  }
}

// --------------------------------------------------------------------------------------------------------------- store

absl::StatusOr<CheckpointStore::Attempt> SimCheckpointStore::Begin() {
  absl::StatusOr<Attempt> attempt = store_.Begin();
  if (attempt.ok()) watch_.OnCut(attempt->number, view_());
  return attempt;
}

absl::Status SimCheckpointStore::Commit(const CheckpointManifest& manifest, const std::set<std::string>& unfinished) {
  watch_.BeforeCommit(manifest);
  absl::Status status = store_.Commit(manifest, unfinished);
  if (status.ok()) watch_.AfterCommit(manifest);
  return status;
}

absl::StatusOr<std::optional<TrialCheckpoint>> SimCheckpointStore::Newest(const std::string& trial, const std::string& spec,
                                                                          uint64_t cluster_id) {
  auto newest = store_.Newest(trial, spec, cluster_id);
  if (newest.ok()) watch_.OnNewest(trial, spec, *newest, next_trial_());
  return newest;
}

void SimCheckpointStore::Refuse(uint64_t number, const std::string& reason) {
  watch_.OnRefuse(number, reason);
  store_.Refuse(number, reason);
}

void SimCheckpointStore::GaveUp(const std::string& reason) {
  watch_.OnGaveUp();
  store_.GaveUp(reason);
}

}  // namespace marquee::simulation
