#include "worker/models/training_order.h"

#include <algorithm>
#include <numeric>

#include "common/id.h"

namespace marquee {
namespace {

uint64_t EpochKey(uint64_t seed, uint32_t epoch) { return MixId(seed * 0x9e3779b97f4a7c15U + epoch); }

}  // namespace

TrainingOrder::TrainingOrder(const Dataset& data, const Split& split, uint64_t seed, bool users_together)
    : split_(split), seed_(seed) {
  if (!users_together) return;
  const absl::Span<const uint32_t> user_of = data.user_of();
  by_user_ = split.train;
  std::stable_sort(by_user_.begin(), by_user_.end(), [&](uint32_t a, uint32_t b) { return user_of[a] < user_of[b]; });
  for (uint32_t i = 0; i < by_user_.size(); ++i) {
    if (i == 0 || user_of[by_user_[i]] != user_of[by_user_[i - 1]]) user_offsets_.push_back(i);
  }
  user_offsets_.push_back(static_cast<uint32_t>(by_user_.size()));
}

void TrainingOrder::BeginEpoch(uint32_t epoch) {
  if (epoch_ == epoch) return;
  epoch_ = epoch;
  const uint64_t key = EpochKey(seed_, epoch);
  if (by_user_.empty()) {
    permutation_.emplace(split_.train.size(), key);
    return;
  }
  permutation_.emplace(user_offsets_.size() - 1, key);
  position_of_.assign(1, 0);
  for (uint64_t i = 0; i < permutation_->size(); ++i) {
    const uint64_t user = permutation_->At(i);
    position_of_.push_back(position_of_.back() + user_offsets_[user + 1] - user_offsets_[user]);
  }
}

std::vector<uint32_t> TrainingOrder::Range(uint32_t epoch, uint64_t begin, uint64_t end) {
  BeginEpoch(epoch);
  std::vector<uint32_t> examples;
  examples.reserve(end - begin);
  if (by_user_.empty()) {
    for (uint64_t position = begin; position < end; ++position) examples.push_back(split_.train[permutation_->At(position)]);
    return examples;
  }
  auto place =
      static_cast<uint64_t>(std::upper_bound(position_of_.begin(), position_of_.end(), begin) - position_of_.begin()) - 1;
  for (uint64_t position = begin; position < end; ++place) {
    const uint64_t user = permutation_->At(place);
    const uint64_t until = std::min(end, position_of_[place + 1]);
    for (; position < until; ++position) {
      examples.push_back(by_user_[user_offsets_[user] + (position - position_of_[place])]);
    }
  }
  return examples;
}

}  // namespace marquee
