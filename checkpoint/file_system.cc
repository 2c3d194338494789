#include "checkpoint/file_system.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>

namespace marquee {
namespace {

absl::Status SystemError(const std::string& path, std::string_view what, int error) {
  const std::string text = fmt::format("{}: {}: {}", path, what, std::strerror(error));
  if (error == ENOSPC || error == EDQUOT) return absl::ResourceExhaustedError(text);
  if (error == ENOENT) return absl::NotFoundError(text);
  return absl::UnknownError(text);
}

class RealWriter : public FileSystem::Writer {
 public:
  RealWriter(std::string path, int descriptor) : path_(std::move(path)), descriptor_(descriptor) {}
  ~RealWriter() override { close(descriptor_); }

  absl::Status Append(std::string_view bytes) override {
    while (!bytes.empty()) {
      const ssize_t written = write(descriptor_, bytes.data(), bytes.size());
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) return SystemError(path_, "cannot write", errno);
      bytes.remove_prefix(static_cast<size_t>(written));
    }
    return absl::OkStatus();
  }
  absl::Status Sync() override {
    return fsync(descriptor_) == 0 ? absl::OkStatus() : SystemError(path_, "cannot flush", errno);
  }

 private:
  const std::string path_;
  const int descriptor_;
};

class RealReader : public FileSystem::Reader {
 public:
  RealReader(std::string path, int descriptor, uint64_t size) : path_(std::move(path)), descriptor_(descriptor), size_(size) {}
  ~RealReader() override { close(descriptor_); }

  uint64_t size() const override { return size_; }
  absl::StatusOr<std::string> Read(uint64_t offset, uint64_t bytes) override {
    if (offset >= size_) return std::string();
    std::string text(std::min(bytes, size_ - offset), '\0');
    size_t filled = 0;
    while (filled < text.size()) {
      const ssize_t got = pread(descriptor_, text.data() + filled, text.size() - filled, static_cast<off_t>(offset + filled));
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) return SystemError(path_, "cannot read", errno);
      if (got == 0) break;  // it became shorter
      filled += static_cast<size_t>(got);
    }
    text.resize(filled);
    return text;
  }

 private:
  const std::string path_;
  const int descriptor_;
  const uint64_t size_;
};

class Real : public FileSystem {
 public:
  absl::StatusOr<std::unique_ptr<Writer>> Create(const std::string& path) override {
    const int descriptor = open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (descriptor < 0) return SystemError(path, "cannot write", errno);
    return std::make_unique<RealWriter>(path, descriptor);
  }
  absl::StatusOr<std::unique_ptr<Reader>> Open(const std::string& path) override {
    const int descriptor = open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (descriptor < 0) return SystemError(path, "cannot read", errno);
    struct stat status = {};
    if (fstat(descriptor, &status) != 0 || !S_ISREG(status.st_mode)) {
      close(descriptor);
      return absl::UnknownError(fmt::format("{}: is no file", path));
    }
    return std::make_unique<RealReader>(path, descriptor, static_cast<uint64_t>(status.st_size));
  }
  absl::Status Rename(const std::string& from, const std::string& to) override {
    return std::rename(from.c_str(), to.c_str()) == 0 ? absl::OkStatus() : SystemError(to, "cannot rename to this", errno);
  }
  absl::Status Remove(const std::string& path) override {
    if (std::remove(path.c_str()) == 0 || errno == ENOENT) return absl::OkStatus();
    return SystemError(path, "cannot remove", errno);
  }
  absl::Status MakeFolders(const std::string& path) override {
    std::error_code error;
    std::filesystem::create_directories(path, error);
    return error ? SystemError(path, "cannot make the folder", error.value()) : absl::OkStatus();
  }
  absl::StatusOr<std::vector<std::string>> List(const std::string& folder) override {
    std::error_code error;
    std::vector<std::string> names;
    for (auto entry = std::filesystem::directory_iterator(folder, error);
         !error && entry != std::filesystem::directory_iterator(); entry.increment(error)) {
      names.push_back(entry->path().filename().string());
    }
    if (error) return SystemError(folder, "cannot list", error.value());
    std::sort(names.begin(), names.end());
    return names;
  }
  absl::Status SyncFolder(const std::string& folder) override {
    const int descriptor = open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (descriptor < 0) return SystemError(folder, "cannot open the folder", errno);
    const int result = fsync(descriptor);
    const int error = errno;
    close(descriptor);
    return result == 0 ? absl::OkStatus() : SystemError(folder, "cannot flush the folder", error);
  }
};

}  // namespace

FileSystem& RealFileSystem() {
  static Real files;
  return files;
}

absl::StatusOr<std::string> ReadWhole(FileSystem& files, const std::string& path, uint64_t limit) {
  absl::StatusOr<std::unique_ptr<FileSystem::Reader>> reader = files.Open(path);
  if (!reader.ok()) return reader.status();
  if ((*reader)->size() > limit) {
    return absl::DataLossError(fmt::format("{}: {} bytes; such a file has at most {}", path, (*reader)->size(), limit));
  }
  return (*reader)->Read(0, (*reader)->size());
}

}  // namespace marquee
