#include "common/initial_values.h"

#include <xxhash.h>

#include <algorithm>
#include <cmath>
#include <numbers>

namespace marquee {
namespace {

constexpr uint64_t kGolden = 0x9e3779b97f4a7c15U;

// Column number `column` of the SplitMix64 sequence that starts at `row_key`: a counter-based generator.
uint64_t Bits(uint64_t row_key, uint64_t column) { return MixId(row_key + column * kGolden); }

// Uniform in (-1, 1), symmetric: the middles of 2^24 equal steps.
float Symmetric(uint64_t bits) {
  return (static_cast<float>(static_cast<int32_t>(bits >> 40U) - (1 << 23U)) + 0.5F) * 0x1p-23F;
}

// Box-Muller: the halves of `bits` are two uniform numbers, the first in (0, 1].
float Normal(uint64_t bits) {
  const double radius = (static_cast<double>(bits >> 32U) + 1) * 0x1p-32;
  const double angle = static_cast<double>(bits & UINT32_MAX) * 0x1p-32;
  return static_cast<float>(std::sqrt(-2 * std::log(radius)) * std::cos(2 * std::numbers::pi * angle));
}

}  // namespace

InitialValues::InitialValues(const TableDefinition& table)
    : initializer_(table.initializer),
      key_(MixId(table.seed ^ XXH3_64bits(table.model_name().data(), table.model_name().size()))) {}

void InitialValues::Fill(Id id, absl::Span<float> weights) const {
  const uint64_t row_key = MixId(key_ ^ MixId(id));
  const float scale = initializer_.scale;
  switch (initializer_.kind) {
    case Initializer::Kind::kZeros:
      std::fill(weights.begin(), weights.end(), 0.0F);
      break;
    case Initializer::Kind::kConstant:
      std::fill(weights.begin(), weights.end(), scale);
      break;
    case Initializer::Kind::kUniform:
      for (size_t i = 0; i < weights.size(); ++i) weights[i] = scale * Symmetric(Bits(row_key, i));
      break;
    case Initializer::Kind::kNormal:
      for (size_t i = 0; i < weights.size(); ++i) weights[i] = scale * Normal(Bits(row_key, i));
      break;
  }
}

}  // namespace marquee
