#include "worker/models/top_k.h"

#include <fmt/format.h>

namespace marquee {
namespace {

// Twice the rank: two for each higher score, one for each equal one.
uint64_t DoubleRank(absl::Span<const float> scores, float score) {
  // Plain 32-bit counts in one array pass become vector instructions.
  uint32_t higher = 0;
  uint32_t not_lower = 0;
  for (const float other : scores) {
    higher += other > score ? 1U : 0U;
    not_lower += other >= score ? 1U : 0U;
  }
  return uint64_t{higher} + not_lower - 1;  // not the target itself
}

uint64_t DoubleRankAmong(absl::Span<const float> scores, uint32_t target, absl::Span<const uint32_t> items) {
  const float score = scores[target];
  uint64_t doubled = 0;
  for (const uint32_t item : items) {
    if (item != target) doubled += (scores[item] > score ? 1U : 0U) + (scores[item] >= score ? 1U : 0U);
  }
  return doubled;
}

}  // namespace

void TopKCounts::Add(absl::Span<const float> scores, uint32_t target, absl::Span<const uint32_t> seen) {
  const uint64_t rank = DoubleRank(scores, scores[target]);
  const uint64_t rank_unseen = rank - DoubleRankAmong(scores, target, seen);
  ++examples_;
  for (size_t k = 0; k < kTopK.size(); ++k) {
    const uint64_t limit = 2 * static_cast<uint64_t>(kTopK[k]);
    hits_[k] += rank < limit ? 1U : 0U;
    hits_unseen_[k] += rank_unseen < limit ? 1U : 0U;
  }
  for (size_t k = 0; k < kHitRateK.size(); ++k) {
    hit_rate_hits_[k] += rank_unseen < 2 * static_cast<uint64_t>(kHitRateK[k]) ? 1U : 0U;
  }
  ndcg_ += NdcgOfRank(static_cast<double>(rank_unseen) / 2);
}

void TopKCounts::Add(const TopKCounts& other) {
  examples_ += other.examples_;
  for (size_t k = 0; k < kTopK.size(); ++k) {
    hits_[k] += other.hits_[k];
    hits_unseen_[k] += other.hits_unseen_[k];
  }
  for (size_t k = 0; k < kHitRateK.size(); ++k) hit_rate_hits_[k] += other.hit_rate_hits_[k];
  ndcg_ += other.ndcg_;
}

void TopKCounts::AddTo(MetricSums& sums, bool chronological) const {
  const auto add = [&](const std::string& name, auto total) {
    sums[name].Add({.sum = static_cast<double>(total), .weight = static_cast<double>(examples_)});
  };
  for (size_t k = 0; k < kTopK.size(); ++k) {
    add(fmt::format("top_{}", kTopK[k]), hits_[k]);
    add(fmt::format("top_{}_unseen", kTopK[k]), hits_unseen_[k]);
  }
  if (!chronological) return;
  for (size_t k = 0; k < kHitRateK.size(); ++k) add(fmt::format("hr_{}", kHitRateK[k]), hit_rate_hits_[k]);
  add(fmt::format("ndcg_{}", kNdcgK), ndcg_);
}

}  // namespace marquee
