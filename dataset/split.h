#ifndef MARQUEE_DATASET_SPLIT_H_
#define MARQUEE_DATASET_SPLIT_H_

// Which interactions train, validate and test a model: by a hash of (user id, movie id, split seed) or by time, never by file
// order, so that the same pair falls on the same side in every file that holds the same ratings. docs/evaluation.md defines
// the protocols.

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/trial_config.h"
#include "dataset/dataset.h"

namespace marquee {

struct Split {
  std::string name;       // "random 75/25, validation 5% of train, seed 42"
  uint64_t checksum = 0;  // of which (user, movie) is in which part
  SplitConfig::Protocol protocol = SplitConfig::Protocol::kRandom;
  std::vector<uint32_t> train;  // interaction indices, ascending
  std::vector<uint32_t> validation;
  std::vector<uint32_t> test;

  // Labels are classes: 1 and 0.
  bool binary() const { return protocol == SplitConfig::Protocol::kBinarized; }
  bool chronological() const { return SplitConfig{.protocol = protocol}.chronological(); }
  // What a model learns and predicts of an interaction that is in a part: its rating, or its class.
  float LabelOf(const Dataset& data, uint32_t interaction) const { return LabelOfRating(data.label()[interaction]); }
  float LabelOfRating(float rating) const { return !binary() ? rating : rating > kNeutralRating ? 1.0F : 0.0F; }

  static constexpr float kNeutralRating = 3;  // of a binary split: in no part
};

// An error if a (user, movie) pair would be in two parts (CheckDisjoint), if train or test would be empty, if a binary split's
// train had one class only, or if an interaction's time is needed and null.
absl::StatusOr<Split> MakeSplit(const Dataset& data, const SplitConfig& config);

// Every interaction, by user, and each user's in the order of time. Equal times are ordered by the hash of (user, movie, split
// seed): not by the file, and not the same way under every seed.
struct Timelines {
  std::vector<size_t> offsets;         // users + 1 of them
  std::vector<uint32_t> interactions;  // user u's are [offsets[u], offsets[u + 1])

  absl::Span<const uint32_t> Of(uint32_t user) const {
    return absl::MakeConstSpan(interactions).subspan(offsets[user], offsets[user + 1] - offsets[user]);
  }
};

// Takes `seed` and `time_column` of the configuration, whatever its protocol. An error that names the column if the data has
// none of that name for interactions, or if it has nulls.
absl::StatusOr<Timelines> MakeTimelines(const Dataset& data, const SplitConfig& config);

// An error that names the first (user, movie) pair which is in two parts.
absl::Status CheckDisjoint(const Dataset& data, const Split& split);

}  // namespace marquee

#endif  // MARQUEE_DATASET_SPLIT_H_
