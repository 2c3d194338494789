#include "tests/simulation/faulty_disk.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace marquee::simulation {
namespace {

std::string FolderOf(const std::string& path) { return path.substr(0, path.rfind('/')); }
bool IsIn(const std::string& folder, const std::string& path) { return path.rfind(folder + "/", 0) == 0; }

absl::Status Gone(const std::string& path) { return absl::CancelledError(fmt::format("{}: the process is dead", path)); }

}  // namespace

const char* NameOf(DiskOperation operation) {
  static constexpr const char* kNames[] = {"create", "append", "sync", "rename", "sync folder", "remove"};
  return kNames[static_cast<size_t>(operation)];
}

// ------------------------------------------------------------------------------------------------------ what goes wrong

std::shared_ptr<FaultyDisk::Machine> FaultyDisk::Boot(const std::string& name) {
  auto machine = std::make_shared<Machine>(*this, name);
  if (!name.empty()) machines_[name] = machine;
  return machine;
}

bool FaultyDisk::Die(const std::string& name) {
  const auto found = machines_.find(name);
  if (found == machines_.end()) return false;
  found->second->dead_ = true;
  machines_.erase(found);
  crashes_.erase(name);
  if (!random_.Chance(faults_.loses_power)) return false;
  LosePower(name);
  return true;
}

// Names are journaled: what stays is what came first. Of bytes that were not flushed anything may stay.
void FaultyDisk::LosePower(const std::string& name) {
  const auto own = static_cast<uint64_t>(
      std::count_if(changes_.begin(), changes_.end(), [&](const Change& change) { return change.machine == name; }));
  uint64_t lost = random_.Below(own + 1);
  std::deque<Change> others;
  for (; !changes_.empty(); changes_.pop_back()) {
    if (changes_.back().machine != name) {
      others.push_front(std::move(changes_.back()));
    } else if (lost > 0) {
      --lost;
      changes_.back().undo();
    }
  }
  changes_ = std::move(others);
  for (const auto& [path, file] : files_) {
    if (file->machine != name || file->flushed == file->content.size()) continue;
    const size_t stays = random_.Between(file->flushed, file->content.size());
    const size_t size = random_.OneIn(2) ? stays : file->content.size();
    file->content.resize(stays);
    file->content.resize(size, '\0');
    file->flushed = file->content.size();
  }
}

void FaultyDisk::CrashAt(const std::string& name, DiskOperation operation, bool after, std::function<void()> crash) {
  crashes_[name] = {operation, after, std::move(crash)};
}

void FaultyDisk::Crashes(Machine& machine) {
  machine.dead_ = true;
  const Crash crash = std::move(crashes_.extract(machine.name_).mapped());
  crash.crash();
}

const DiskFaults::Window* FaultyDisk::Find(const std::vector<DiskFaults::Window>& windows, const std::string& machine,
                                           absl::Time now) {
  const auto found = std::find_if(windows.begin(), windows.end(), [&](const DiskFaults::Window& window) {
    return (window.machine.empty() || window.machine == machine) && window.from <= now && now < window.until;
  });
  return found == windows.end() ? nullptr : &*found;
}

absl::Status FaultyDisk::Begin(Machine& machine, DiskOperation operation, const std::string& path) {
  if (machine.dead_) return Gone(path);
  if (machine.name_.empty()) return absl::OkStatus();
  const auto crash = crashes_.find(machine.name_);
  if (crash != crashes_.end() && crash->second.operation == operation && !crash->second.after) {
    Crashes(machine);
    return Gone(path);
  }
  const absl::Time now = clock_();
  const bool takes_space = operation == DiskOperation::kCreate || operation == DiskOperation::kAppend;
  if (takes_space && Find(faults_.full, machine.name_, now) != nullptr) {
    ++faults_met_;
    return absl::ResourceExhaustedError(fmt::format("{}: No space left on device", path));
  }
  const double fails = operation == DiskOperation::kRename ? faults_.fails_renaming : faults_.fails;
  if (now >= faults_.until || !random_.Chance(fails)) return absl::OkStatus();
  ++faults_met_;
  return absl::UnknownError(fmt::format("{}: {}: Input/output error", path, NameOf(operation)));
}

void FaultyDisk::End(Machine& machine, DiskOperation operation) {
  const auto crash = crashes_.find(machine.name_);
  if (crash != crashes_.end() && crash->second.operation == operation) Crashes(machine);
}

absl::Status FaultyDisk::BeginReading(const Machine& machine, const std::string& path) {
  if (machine.dead_) return Gone(path);
  if (machine.name_.empty()) return absl::OkStatus();
  const DiskFaults::Window* const window = Find(faults_.unreadable, machine.name_, clock_());
  if (window == nullptr) return absl::OkStatus();
  ++faults_met_;
  if (window->unmounted) return absl::NotFoundError(fmt::format("{}: No such file or directory", path));
  return absl::UnknownError(fmt::format("{}: Permission denied", path));
}

void FaultyDisk::FlipABit() {
  std::vector<FilePtr> candidates;
  for (const auto& [path, file] : files_) {
    if (!file->content.empty()) candidates.push_back(file);
  }
  if (candidates.empty()) return;
  File& file = *candidates[random_.Below(candidates.size())];
  char& byte = file.content[random_.Below(file.content.size())];
  byte = static_cast<char>(byte ^ (1 << random_.Below(8)));
  file.damaged = true;
  ++faults_met_;
}

bool FaultyDisk::IsDamaged(const std::string& path) const {
  const auto found = files_.find(path);
  return found != files_.end() && found->second->damaged;
}

bool FaultyDisk::IsDurable(const std::string& path) const {
  const auto found = files_.find(path);
  if (found == files_.end() || found->second->flushed != found->second->content.size()) return false;
  return std::none_of(changes_.begin(), changes_.end(),
                      [&](const Change& change) { return change.path == path || IsIn(change.path, path); });
}

void FaultyDisk::Note(const std::string& machine, const std::string& path, std::function<void()> undo) {
  if (!machine.empty()) changes_.push_back({.machine = machine, .path = path, .undo = std::move(undo)});
}

// ---------------------------------------------------------------------------------------------------- a machine's view

class FaultyDisk::Machine::FileWriter : public Writer {
 public:
  FileWriter(std::shared_ptr<Machine> machine, std::string path, FilePtr file)
      : machine_(std::move(machine)), path_(std::move(path)), file_(std::move(file)) {}

  absl::Status Append(std::string_view bytes) override {
    const absl::Status status = machine_->disk_.Begin(*machine_, DiskOperation::kAppend, path_);
    if (machine_->dead_) return Gone(path_);
    file_->content += status.ok() ? bytes : bytes.substr(0, bytes.size() / 2);
    if (!status.ok()) return status;
    machine_->disk_.End(*machine_, DiskOperation::kAppend);
    return machine_->dead_ ? Gone(path_) : absl::OkStatus();
  }
  absl::Status Sync() override {
    if (absl::Status status = machine_->disk_.Begin(*machine_, DiskOperation::kSync, path_); !status.ok()) return status;
    file_->flushed = file_->content.size();
    machine_->disk_.End(*machine_, DiskOperation::kSync);
    return machine_->dead_ ? Gone(path_) : absl::OkStatus();
  }

 private:
  std::shared_ptr<Machine> machine_;
  std::string path_;
  FilePtr file_;
};

class FaultyDisk::Machine::FileReader : public Reader {
 public:
  FileReader(std::shared_ptr<Machine> machine, std::string path, FilePtr file)
      : machine_(std::move(machine)), path_(std::move(path)), file_(std::move(file)) {}
  uint64_t size() const override { return file_->content.size(); }
  absl::StatusOr<std::string> Read(uint64_t offset, uint64_t bytes) override {
    const absl::Status status = machine_->disk_.BeginReading(*machine_, path_);
    if (absl::IsNotFound(status)) return absl::UnknownError(fmt::format("{}: Stale file handle", path_));
    if (!status.ok()) return status;
    return offset >= size() ? std::string() : file_->content.substr(offset, bytes);
  }

 private:
  std::shared_ptr<Machine> machine_;
  std::string path_;
  FilePtr file_;
};

absl::StatusOr<std::unique_ptr<FileSystem::Writer>> FaultyDisk::Machine::Create(const std::string& path) {
  if (absl::Status status = disk_.Begin(*this, DiskOperation::kCreate, path); !status.ok()) return status;
  if (!disk_.folders_.contains(FolderOf(path))) return absl::NotFoundError(fmt::format("{}: no such folder", path));
  auto file = std::make_shared<File>();
  file->machine = name_;
  FilePtr before = std::exchange(disk_.files_[path], file);
  disk_.Note(name_, path, [this, path, file, before, &disk = disk_] {
    if (disk.files_[path] == file) disk.files_[path] = before;
    if (disk.files_[path] == nullptr) disk.files_.erase(path);
  });
  disk_.End(*this, DiskOperation::kCreate);
  if (dead_) return Gone(path);
  return std::make_unique<FileWriter>(disk_.machines_.at(name_), path, file);
}

absl::StatusOr<std::unique_ptr<FileSystem::Reader>> FaultyDisk::Machine::Open(const std::string& path) {
  if (absl::Status status = disk_.BeginReading(*this, path); !status.ok()) return status;
  const auto found = disk_.files_.find(path);
  if (found == disk_.files_.end()) return absl::NotFoundError(fmt::format("{}: no such file", path));
  const auto self = disk_.machines_.find(name_);
  return std::make_unique<FileReader>(self == disk_.machines_.end() ? disk_.Inspect() : self->second, path, found->second);
}

absl::Status FaultyDisk::Machine::Rename(const std::string& from, const std::string& to) {
  if (absl::Status status = disk_.Begin(*this, DiskOperation::kRename, to); !status.ok()) return status;
  auto entry = disk_.files_.extract(from);
  if (entry.empty()) return absl::NotFoundError(fmt::format("{}: no such file", from));
  FilePtr file = entry.mapped();
  FilePtr before = std::exchange(disk_.files_[to], file);
  disk_.Note(name_, to, [from, to, file, before, &disk = disk_] {
    if (disk.files_[to] == file) {
      disk.files_[to] = before;
      disk.files_[from] = file;
    }
    if (disk.files_[to] == nullptr) disk.files_.erase(to);
  });
  disk_.End(*this, DiskOperation::kRename);
  return dead_ ? Gone(to) : absl::OkStatus();
}

absl::Status FaultyDisk::Machine::Remove(const std::string& path) {
  if (absl::Status status = disk_.Begin(*this, DiskOperation::kRemove, path); !status.ok()) return status;
  if (auto entry = disk_.files_.extract(path); !entry.empty()) {
    disk_.Note(name_, path, [path, file = entry.mapped(), &disk = disk_] { disk.files_.emplace(path, file); });
  } else if (disk_.folders_.contains(path)) {
    const bool used =
        std::any_of(disk_.files_.begin(), disk_.files_.end(), [&](const auto& file) { return IsIn(path, file.first); });
    if (used) return absl::UnknownError(fmt::format("{}: Directory not empty", path));
    disk_.folders_.erase(path);
    disk_.Note(name_, path, [path, &disk = disk_] { disk.folders_.insert(path); });
  }
  disk_.End(*this, DiskOperation::kRemove);
  return dead_ ? Gone(path) : absl::OkStatus();
}

absl::Status FaultyDisk::Machine::MakeFolders(const std::string& path) {
  if (absl::Status status = disk_.Begin(*this, DiskOperation::kCreate, path); !status.ok()) return status;
  for (size_t slash = path.find('/', 1); true; slash = path.find('/', slash + 1)) {
    const std::string folder = path.substr(0, slash);
    if (disk_.folders_.insert(folder).second) {
      disk_.Note(name_, folder, [folder, &disk = disk_] {
        disk.folders_.erase(folder);
        std::erase_if(disk.files_, [&](const auto& file) { return IsIn(folder, file.first); });
      });
    }
    if (slash == std::string::npos) break;
  }
  disk_.End(*this, DiskOperation::kCreate);
  return dead_ ? Gone(path) : absl::OkStatus();
}

absl::StatusOr<std::vector<std::string>> FaultyDisk::Machine::List(const std::string& folder) {
  if (absl::Status status = disk_.BeginReading(*this, folder); !status.ok()) return status;
  if (!disk_.folders_.contains(folder)) return absl::NotFoundError(fmt::format("{}: no such folder", folder));
  std::set<std::string> names;
  const auto add = [&](const std::string& path) {
    if (FolderOf(path) == folder) names.insert(path.substr(folder.size() + 1));
  };
  for (const auto& [path, file] : disk_.files_) add(path);
  for (const std::string& path : disk_.folders_) add(path);
  return std::vector<std::string>(names.begin(), names.end());
}

absl::Status FaultyDisk::Machine::SyncFolder(const std::string& folder) {
  if (absl::Status status = disk_.Begin(*this, DiskOperation::kSyncFolder, folder); !status.ok()) return status;
  std::erase_if(disk_.changes_, [&](const Change& change) { return FolderOf(change.path) == folder; });
  disk_.End(*this, DiskOperation::kSyncFolder);
  return dead_ ? Gone(folder) : absl::OkStatus();
}

}  // namespace marquee::simulation
