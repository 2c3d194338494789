#include "worker/models/history.h"

#include <algorithm>
#include <numeric>

namespace marquee {

History::History(const Dataset& data, const std::vector<const std::vector<uint32_t>*>& parts) : offsets_(data.users() + 1, 0) {
  for (const std::vector<uint32_t>* part : parts) {
    for (const uint32_t interaction : *part) ++offsets_[data.user_of()[interaction] + 1];
  }
  std::partial_sum(offsets_.begin(), offsets_.end(), offsets_.begin());
  interactions_.resize(offsets_.back());
  std::vector<uint32_t> next(offsets_.begin(), offsets_.end() - 1);
  for (const std::vector<uint32_t>* part : parts) {
    for (const uint32_t interaction : *part) interactions_[next[data.user_of()[interaction]]++] = interaction;
  }
  for (uint32_t user = 0; user < data.users(); ++user) {
    std::sort(interactions_.begin() + offsets_[user], interactions_.begin() + offsets_[user + 1], [&](uint32_t a, uint32_t b) {
      const uint32_t item_a = data.item_of()[a];
      const uint32_t item_b = data.item_of()[b];
      return item_a != item_b ? item_a < item_b : a < b;
    });
  }
}

}  // namespace marquee
