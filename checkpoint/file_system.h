#ifndef MARQUEE_CHECKPOINT_FILE_SYSTEM_H_
#define MARQUEE_CHECKPOINT_FILE_SYSTEM_H_

// The few things that checkpoints do with files, so that tests can have a disk that fills up, tears and loses what was not
// flushed. Errors name the path and the system's reason: ResourceExhausted where no space is left, NotFound where there is no
// such file, Unknown otherwise. Implementations may be used by several threads, each file by one.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace marquee {

class FileSystem {
 public:
  class Writer {
   public:
    virtual ~Writer() = default;  // closes the file
    virtual absl::Status Append(std::string_view bytes) = 0;
    // What was appended survives a crash once this has returned OK.
    virtual absl::Status Sync() = 0;
  };
  class Reader {
   public:
    virtual ~Reader() = default;
    virtual uint64_t size() const = 0;
    // Fewer than `bytes` only at the end of the file.
    virtual absl::StatusOr<std::string> Read(uint64_t offset, uint64_t bytes) = 0;
  };

  virtual ~FileSystem() = default;
  virtual absl::StatusOr<std::unique_ptr<Writer>> Create(const std::string& path) = 0;  // replaces one that is there
  virtual absl::StatusOr<std::unique_ptr<Reader>> Open(const std::string& path) = 0;
  virtual absl::Status Rename(const std::string& from, const std::string& to) = 0;  // replaces one that is there
  virtual absl::Status Remove(const std::string& path) = 0;       // a file or an empty folder; OK if there is none
  virtual absl::Status MakeFolders(const std::string& path) = 0;  // with those above it; OK if it is there
  virtual absl::StatusOr<std::vector<std::string>> List(const std::string& folder) = 0;  // names, in order
  // Files that were created, renamed and removed in it stay so after a crash.
  virtual absl::Status SyncFolder(const std::string& folder) = 0;
};

// The machine's own.
FileSystem& RealFileSystem();

// All of a file. Refuses one of more than `limit` bytes.
absl::StatusOr<std::string> ReadWhole(FileSystem& files, const std::string& path, uint64_t limit);

}  // namespace marquee

#endif  // MARQUEE_CHECKPOINT_FILE_SYSTEM_H_
