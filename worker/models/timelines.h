#ifndef MARQUEE_WORKER_MODELS_TIMELINES_H_
#define MARQUEE_WORKER_MODELS_TIMELINES_H_

// Each user's interactions of given parts of a split in the order of time. Those of equal time are in an order that is random
// but for `seed`, as in splits by time: the order of a file would tell what comes next. Unknown times come first. Immutable.

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "dataset/dataset.h"

namespace marquee {

class UserTimelines {
 public:
  UserTimelines(const Dataset& data, const Column& time, uint64_t seed, const std::vector<const std::vector<uint32_t>*>& parts);

  absl::Span<const uint32_t> Of(uint32_t user) const {
    return absl::MakeConstSpan(interactions_).subspan(offsets_[user], offsets_[user + 1] - offsets_[user]);
  }

 private:
  std::vector<uint32_t> offsets_;
  std::vector<uint32_t> interactions_;
};

}  // namespace marquee

#endif  // MARQUEE_WORKER_MODELS_TIMELINES_H_
