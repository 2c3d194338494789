#ifndef MARQUEE_TESTS_FUZZ_FILE_FUZZ_H_
#define MARQUEE_TESTS_FUZZ_FILE_FUZZ_H_

// Wrong files for what reads files: data files, cluster and sweep files, kept models and checkpoints. Each reader gets right
// files that were spoilt, and must either refuse them or give something that can be used; whatever is behind it (splits,
// baselines, shards' checks) is then used. Crashes and what sanitizers see are the failures.

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "tests/fuzz/checkpoint_fuzz.h"
#include "tests/simulation/random.h"

namespace marquee::fuzz {

enum class FileKind { kData, kCluster, kSweep, kModel, kCheckpointManifest, kCheckpointRows };
inline constexpr int kFileKinds = 6;
std::string_view FileKindName(FileKind kind);

class FileFuzzer {
 public:
  // Files go to `folder`, which is there and empty.
  explicit FileFuzzer(std::string folder);

  // A right file's bytes; of a model, those of its manifest.
  const std::string& Right(FileKind kind) const { return right_.at(kind); }
  // Spoils them.
  static std::string Spoil(FileKind kind, std::string bytes, simulation::Random& random);
  // Has the file read and used. Returns what became of it: "accepted", or the code of the refusal.
  std::string Try(FileKind kind, std::string_view bytes);
  // A kept model whose manifest is right and whose rows are spoilt.
  std::string TrySpoiltRows(simulation::Random& random);

 private:
  std::string TryData(const std::string& path);
  std::string TryModel();

  std::string folder_;
  CheckpointFuzzer checkpoints_;
  std::string rows_;  // a model's file of rows
  std::map<FileKind, std::string> right_;
};

}  // namespace marquee::fuzz

#endif  // MARQUEE_TESTS_FUZZ_FILE_FUZZ_H_
