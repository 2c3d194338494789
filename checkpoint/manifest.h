#ifndef MARQUEE_CHECKPOINT_MANIFEST_H_
#define MARQUEE_CHECKPOINT_MANIFEST_H_

// What a checkpoint consists of, written last: without it there is no checkpoint. A text file, JSON with its own checksum as
// the last line, so that people can read it. A value type.

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "checkpoint/row_file.h"

namespace marquee {

struct CheckpointManifest {
  struct Trial {
    std::string name;
    std::string spec;   // its configuration (YAML)
    std::string state;  // where it stood: the scheduler's own words (JSON)

    bool operator==(const Trial&) const = default;
  };

  uint64_t number = 0;  // from 1
  uint64_t base = 0;    // the checkpoint that this one only adds to; 0: it is full
  uint64_t cluster_id = 0;
  uint64_t view = 0;
  int64_t written_unix_seconds = 0;
  std::string version;  // of the software
  double pause_seconds = 0;
  std::vector<RowFileSummary> files;
  std::vector<Trial> trials;  // those that ran

  uint64_t rows() const;
  uint64_t bytes() const;

  std::string ToText() const;
  // DataLoss for a text that is not what ToText made; FailedPrecondition for one that is whole, but of a format that this
  // program does not read: a newer marquee's, nearly always. `path` is for the message.
  static absl::StatusOr<CheckpointManifest> Parse(const std::string& text, const std::string& path);

  bool operator==(const CheckpointManifest&) const = default;
};

}  // namespace marquee

#endif  // MARQUEE_CHECKPOINT_MANIFEST_H_
