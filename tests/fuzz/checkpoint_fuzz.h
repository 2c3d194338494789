#ifndef MARQUEE_TESTS_FUZZ_CHECKPOINT_FUZZ_H_
#define MARQUEE_TESTS_FUZZ_CHECKPOINT_FUZZ_H_

// Wrong checkpoints: a right one's manifest or file of rows is spoilt, most often with all checksums as they then should be, so
// that what stands behind the checksums has to find it. The folder is looked at as the scheduler and the tools do, trials go on
// from the state that it has, and a real shard restores its rows.

#include <string>
#include <string_view>

#include "checkpoint/checkpoint_folder.h"
#include "tests/simulation/random.h"

namespace marquee::fuzz {

class CheckpointFuzzer {
 public:
  // Files go to `folder`, which is there and empty.
  explicit CheckpointFuzzer(std::string folder);

  const std::string& right_manifest() const { return right_manifest_; }
  const std::string& right_rows() const { return right_rows_; }
  static std::string SpoilManifest(std::string bytes, simulation::Random& random);
  static std::string SpoilRows(const std::string& bytes, simulation::Random& random);

  // What became of it: "accepted", or the code of the refusal.
  std::string TryManifest(std::string_view bytes);
  std::string TryRows(std::string_view bytes);

 private:
  std::string Use();
  absl::Status Restore(const std::string& path) const;

  std::string folder_;
  CheckpointFolder checkpoints_;
  std::string rows_path_;
  std::string right_manifest_;
  std::string right_rows_;
};

}  // namespace marquee::fuzz

#endif  // MARQUEE_TESTS_FUZZ_CHECKPOINT_FUZZ_H_
