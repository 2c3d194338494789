#include "worker/models/timelines.h"

#include <algorithm>
#include <limits>
#include <tuple>

#include "common/id.h"
#include "worker/models/history.h"

namespace marquee {

UserTimelines::UserTimelines(const Dataset& data, const Column& time, uint64_t seed,
                             const std::vector<const std::vector<uint32_t>*>& parts) {
  const History history(data, parts);
  interactions_.assign(history.interactions().begin(), history.interactions().end());
  offsets_.push_back(0);
  const auto key = [&](uint32_t interaction) {
    const double when = time.is_null(interaction) ? -std::numeric_limits<double>::infinity() : time.number(interaction);
    return std::tuple(when, MixId(MixId(seed) ^ interaction));
  };
  for (uint32_t user = 0; user < data.users(); ++user) {
    offsets_.push_back(static_cast<uint32_t>(history.begin(user) + history.size(user)));
    std::sort(interactions_.begin() + offsets_[user], interactions_.begin() + offsets_[user + 1],
              [&](uint32_t a, uint32_t b) { return key(a) < key(b); });
  }
}

}  // namespace marquee
