#ifndef MARQUEE_WORKER_MODELS_HISTORY_H_
#define MARQUEE_WORKER_MODELS_HISTORY_H_

// What users have rated in given parts of a split: the input of history features. Made from test rows only where a trained
// model recommends.
//
// A training example's target must not be in its own history. Either each example's target is left out of its user's history,
// or a mask splits a user's interactions: those that it leaves out are targets, the others make the history of all of them.

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "common/id.h"
#include "dataset/dataset.h"

namespace marquee {

// What somebody who is not in the data says of a movie, a rated item.
struct GuestRating {
  uint32_t item = 0;
  float rating = 0;
};

// What is known of users.
enum class Known { kTrain, kTrainAndValidation, kAll };

class History {
 public:
  History(const Dataset& data, const std::vector<const std::vector<uint32_t>*>& parts);

  // A user's interactions, ordered by item and then by position in the data file.
  absl::Span<const uint32_t> Of(uint32_t user) const {
    return absl::MakeConstSpan(interactions_).subspan(begin(user), size(user));
  }
  size_t begin(uint32_t user) const { return offsets_[user]; }
  size_t size(uint32_t user) const { return offsets_[user + 1] - offsets_[user]; }
  absl::Span<const uint32_t> interactions() const { return interactions_; }  // of all users, one after the other

 private:
  std::vector<uint32_t> offsets_;
  std::vector<uint32_t> interactions_;
};

// Which interactions an epoch leaves out of histories: a share of them, drawn anew in each epoch. It depends on nothing else,
// so that a user whose interactions fall into two batches has the same history in both.
class HistoryMask {
 public:
  HistoryMask(uint64_t seed, uint32_t epoch, double share)
      : key_(MixId(MixId(seed ^ 0x6d61736bU) + epoch)), threshold_(static_cast<uint64_t>(share * 0x1.0p53)) {}

  bool LeavesOut(uint32_t interaction) const { return (MixId(key_ ^ interaction) >> 11U) < threshold_; }

 private:
  uint64_t key_;
  uint64_t threshold_;
};

}  // namespace marquee

#endif  // MARQUEE_WORKER_MODELS_HISTORY_H_
