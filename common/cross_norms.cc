#include "common/cross_norms.h"

#include <fmt/format.h>

#include <cmath>

#include "absl/status/status.h"

namespace marquee {

absl::StatusOr<std::vector<float>> CrossWeight(absl::Span<const float> u, absl::Span<const float> v, size_t rank) {
  if (rank == 0 || u.size() != v.size() || u.size() % rank != 0) {
    return absl::InvalidArgumentError(
        fmt::format("cross weights: {} and {} numbers; must be [n, {}] and [{}, n]", u.size(), v.size(), rank, rank));
  }
  const size_t n = u.size() / rank;
  std::vector<float> weight(n * n, 0.0F);
  for (size_t i = 0; i < n; ++i) {
    for (size_t r = 0; r < rank; ++r) {
      for (size_t j = 0; j < n; ++j) weight[i * n + j] += u[i * rank + r] * v[r * n + j];
    }
  }
  return weight;
}

absl::StatusOr<std::vector<std::vector<double>>> CrossBlockNorms(absl::Span<const float> weight,
                                                                 absl::Span<const FeatureRange> features) {
  const auto n = static_cast<size_t>(std::llround(std::sqrt(static_cast<double>(weight.size()))));
  if (n * n != weight.size()) {
    return absl::InvalidArgumentError(fmt::format("cross weight: {} numbers; must be a square matrix", weight.size()));
  }
  for (const FeatureRange& feature : features) {
    if (feature.begin > feature.end || feature.end > n) {
      return absl::InvalidArgumentError(
          fmt::format("feature {}: columns {} to {}; must lie within {}", feature.name, feature.begin, feature.end, n));
    }
  }
  std::vector<std::vector<double>> norms;
  for (const FeatureRange& a : features) {
    norms.emplace_back();
    for (const FeatureRange& b : features) {
      double squares = 0;
      for (size_t i = a.begin; i < a.end; ++i) {
        for (size_t j = b.begin; j < b.end; ++j) squares += static_cast<double>(weight[i * n + j]) * weight[i * n + j];
      }
      norms.back().push_back(std::sqrt(squares));
    }
  }
  return norms;
}

}  // namespace marquee
