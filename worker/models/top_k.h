#ifndef MARQUEE_WORKER_MODELS_TOP_K_H_
#define MARQUEE_WORKER_MODELS_TOP_K_H_

// Top-K accuracy of many examples that share a user's scores: the same figures as AddTopK (dataset/evaluation.h), which checks
// and looks up names for each example. Adding is thread-safe on different objects only.

#include <array>
#include <cstdint>

#include "absl/types/span.h"
#include "dataset/evaluation.h"

namespace marquee {

class TopKCounts {
 public:
  // Adds an example whose true item is `target`. `scores` must hold no NaN, and `seen` ascending indices into it.
  void Add(absl::Span<const float> scores, uint32_t target, absl::Span<const uint32_t> seen);
  void Add(const TopKCounts& other);
  // Under a chronological split hr_K and ndcg_10 as well.
  void AddTo(MetricSums& sums, bool chronological = false) const;

 private:
  uint64_t examples_ = 0;
  std::array<uint64_t, kTopK.size()> hits_ = {};
  std::array<uint64_t, kTopK.size()> hits_unseen_ = {};
  std::array<uint64_t, kHitRateK.size()> hit_rate_hits_ = {};
  double ndcg_ = 0;
};

}  // namespace marquee

#endif  // MARQUEE_WORKER_MODELS_TOP_K_H_
