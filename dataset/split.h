#ifndef MARQUEE_DATASET_SPLIT_H_
#define MARQUEE_DATASET_SPLIT_H_

// Which interactions train, validate and test a model: by a hash of (user id, movie id, split seed), never by file order, so
// that the same pair falls on the same side in every file that holds it. See docs/evaluation.md.

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/trial_config.h"
#include "dataset/dataset.h"

namespace marquee {

struct Split {
  std::string name;             // "random 75/25, validation 5% of train, seed 42"
  uint64_t checksum = 0;        // of which (user, movie) is in which part
  std::vector<uint32_t> train;  // interaction indices, ascending
  std::vector<uint32_t> validation;
  std::vector<uint32_t> test;
};

// An error if a (user, movie) pair would be in two parts (CheckDisjoint), or if train or test would be empty.
absl::StatusOr<Split> MakeSplit(const Dataset& data, const SplitConfig& config);

// An error that names the first (user, movie) pair which is in two parts.
absl::Status CheckDisjoint(const Dataset& data, const Split& split);

}  // namespace marquee

#endif  // MARQUEE_DATASET_SPLIT_H_
