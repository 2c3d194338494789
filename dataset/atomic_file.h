#ifndef MARQUEE_DATASET_ATOMIC_FILE_H_
#define MARQUEE_DATASET_ATOMIC_FILE_H_

// A file that appears whole or not at all: written under a temporary name beside it, flushed to disk and renamed by Commit.
// Without a Commit the temporary file is removed, and what stood at `path` before stays. Errors name the path and the reason.
// Not thread-safe.

#include <cstddef>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace marquee {

class AtomicFile {
 public:
  static absl::StatusOr<AtomicFile> Create(const std::string& path);

  AtomicFile(AtomicFile&& other) noexcept;
  AtomicFile& operator=(AtomicFile&&) = delete;
  ~AtomicFile();

  absl::Status Write(const void* data, size_t bytes);
  absl::Status Commit();

 private:
  AtomicFile(std::string path, std::string temporary, int descriptor);

  std::string path_;
  std::string temporary_;
  int descriptor_;  // -1 once committed or moved from
};

}  // namespace marquee

#endif  // MARQUEE_DATASET_ATOMIC_FILE_H_
