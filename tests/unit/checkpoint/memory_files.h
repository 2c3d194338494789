#ifndef MARQUEE_TESTS_UNIT_CHECKPOINT_MEMORY_FILES_H_
#define MARQUEE_TESTS_UNIT_CHECKPOINT_MEMORY_FILES_H_

// Files in memory with a disk that can fill up or stop at any operation, and that forgets in a crash what was not flushed:
// bytes without Sync, names without SyncFolder.

#include <fmt/format.h>

#include <limits>
#include <map>
#include <memory>
#include <set>
#include <string>

#include "checkpoint/file_system.h"

namespace marquee {

class MemoryFiles : public FileSystem {
 public:
  // The operation of this number (from 1) and all after it fail, half done: an append leaves half of its bytes.
  uint64_t fails_from = std::numeric_limits<uint64_t>::max();
  uint64_t operations = 0;
  bool denies_reading = false;

  void Crash() {
    names_ = durable_names_;
    for (auto& [path, content] : names_) content->live = content->synced;
    fails_from = std::numeric_limits<uint64_t>::max();
  }
  std::string& Content(const std::string& path) { return names_.at(path)->live; }
  std::map<std::string, std::string> All() const {
    std::map<std::string, std::string> all;
    for (const auto& [path, content] : names_) all[path] = content->live;
    return all;
  }

  absl::StatusOr<std::unique_ptr<Writer>> Create(const std::string& path) override {
    if (Fails()) return Full(path);
    names_[path] = std::make_shared<Stored>();
    return std::make_unique<MemoryWriter>(*this, path, names_[path]);
  }
  absl::StatusOr<std::unique_ptr<Reader>> Open(const std::string& path) override {
    if (denies_reading) return absl::UnknownError(fmt::format("{}: cannot read: Permission denied", path));
    const auto found = names_.find(path);
    if (found == names_.end()) return absl::NotFoundError(fmt::format("{}: no such file", path));
    return std::make_unique<MemoryReader>(found->second);
  }
  absl::Status Rename(const std::string& from, const std::string& to) override {
    if (Fails()) return Full(to);
    auto entry = names_.extract(from);
    if (entry.empty()) return absl::NotFoundError(from);
    names_[to] = entry.mapped();
    return absl::OkStatus();
  }
  absl::Status Remove(const std::string& path) override {
    if (Fails()) return Full(path);
    names_.erase(path);
    folders_.erase(path);
    return absl::OkStatus();
  }
  absl::Status MakeFolders(const std::string& path) override {
    if (Fails()) return Full(path);
    for (size_t slash = path.find('/'); slash != std::string::npos; slash = path.find('/', slash + 1)) {
      folders_.insert(path.substr(0, slash));
    }
    folders_.insert(path);
    return absl::OkStatus();
  }
  absl::StatusOr<std::vector<std::string>> List(const std::string& folder) override {
    if (!folders_.contains(folder)) return absl::NotFoundError(fmt::format("{}: no such folder", folder));
    std::set<std::string> found;
    const auto add = [&](const std::string& path) {
      if (path.rfind(folder + "/", 0) != 0) return;
      const std::string rest = path.substr(folder.size() + 1);
      found.insert(rest.substr(0, rest.find('/')));
    };
    for (const auto& [path, content] : names_) add(path);
    for (const std::string& path : folders_) add(path);
    return std::vector<std::string>(found.begin(), found.end());
  }
  absl::Status SyncFolder(const std::string& folder) override {
    if (Fails()) return Full(folder);
    const auto is_in = [&](const std::string& path) {
      return path.rfind(folder + "/", 0) == 0 && path.find('/', folder.size() + 1) == std::string::npos;
    };
    std::erase_if(durable_names_, [&](const auto& entry) { return is_in(entry.first); });
    for (const auto& [path, content] : names_) {
      if (is_in(path)) durable_names_[path] = content;
    }
    return absl::OkStatus();
  }

 private:
  struct Stored {
    std::string live;
    std::string synced;
  };
  class MemoryWriter : public Writer {
   public:
    MemoryWriter(MemoryFiles& files, std::string path, std::shared_ptr<Stored> content)
        : files_(files), path_(std::move(path)), content_(std::move(content)) {}
    absl::Status Append(std::string_view bytes) override {
      const bool fails = files_.Fails();
      content_->live += fails ? bytes.substr(0, bytes.size() / 2) : bytes;
      return fails ? Full(path_) : absl::OkStatus();
    }
    absl::Status Sync() override {
      if (files_.Fails()) return Full(path_);
      content_->synced = content_->live;
      return absl::OkStatus();
    }

   private:
    MemoryFiles& files_;
    std::string path_;
    std::shared_ptr<Stored> content_;
  };
  class MemoryReader : public Reader {
   public:
    explicit MemoryReader(std::shared_ptr<Stored> content) : content_(std::move(content)) {}
    uint64_t size() const override { return content_->live.size(); }
    absl::StatusOr<std::string> Read(uint64_t offset, uint64_t bytes) override {
      return offset >= size() ? std::string() : content_->live.substr(offset, bytes);
    }

   private:
    std::shared_ptr<Stored> content_;
  };

  bool Fails() { return ++operations >= fails_from; }
  static absl::Status Full(const std::string& path) {
    return absl::ResourceExhaustedError(fmt::format("{}: no space left on device", path));
  }

  std::map<std::string, std::shared_ptr<Stored>> names_;
  std::map<std::string, std::shared_ptr<Stored>> durable_names_;
  std::set<std::string> folders_;
};

}  // namespace marquee

#endif  // MARQUEE_TESTS_UNIT_CHECKPOINT_MEMORY_FILES_H_
