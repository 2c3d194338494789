#ifndef MARQUEE_WORKER_MODELS_TRAINING_ORDER_H_
#define MARQUEE_WORKER_MODELS_TRAINING_ORDER_H_

// The order in which an epoch goes through the training examples: one by one at random, or user by user, users at random and
// each one's examples side by side in the order of the data file. It follows from (seed, epoch) alone, so that all workers of a
// trial agree on what a range of positions means. Not thread-safe.

#include <cstdint>
#include <optional>
#include <vector>

#include "dataset/dataset.h"
#include "dataset/permutation.h"
#include "dataset/split.h"

namespace marquee {

class TrainingOrder {
 public:
  // `split` must outlive the object.
  TrainingOrder(const Dataset& data, const Split& split, uint64_t seed, bool users_together);

  // The interactions at positions [begin, end) of the epoch; at most split.train.size().
  std::vector<uint32_t> Range(uint32_t epoch, uint64_t begin, uint64_t end);

 private:
  void BeginEpoch(uint32_t epoch);

  const Split& split_;
  const uint64_t seed_;
  std::vector<uint32_t> user_offsets_;  // users with examples; empty where users are not together
  std::vector<uint32_t> by_user_;       // interactions

  // Of the epoch that was asked for last.
  std::optional<uint32_t> epoch_;
  std::optional<Permutation> permutation_;  // of examples or of users
  std::vector<uint64_t> position_of_;       // of the first example of each user, in the epoch's order, and the end
};

}  // namespace marquee

#endif  // MARQUEE_WORKER_MODELS_TRAINING_ORDER_H_
