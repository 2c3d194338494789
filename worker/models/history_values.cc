#include "worker/models/history_values.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "absl/status/status.h"

namespace marquee {
namespace {

constexpr double kUnknown = std::numeric_limits<double>::quiet_NaN();

}  // namespace

absl::StatusOr<HistoryValues> HistoryValues::Make(const FeatureConfig& config, const Dataset& data, const Split& split) {
  const Column* time = nullptr;
  if (config.weight == FeatureConfig::Weight::kAge) {
    time = data.column(config.time_column);
    if (time == nullptr || time->level() != Column::Level::kInteraction || time->type() != Column::Type::kNumber) {
      return absl::InvalidArgumentError(
          fmt::format("feature {}: time_column: {}; must be a column of numbers or times of interactions", config.name,
                      config.time_column));
    }
  }
  return HistoryValues(config.weight, time, data, split);
}

HistoryValues::HistoryValues(FeatureConfig::Weight weight, const Column* time, const Dataset& data, const Split& split)
    : weight_(weight), time_(time), data_(&data), split_(&split), train_{History(data, {&split.train}), {}} {
  if (weight == FeatureConfig::Weight::kOne) return;
  if (weight == FeatureConfig::Weight::kDeviation) deviations_.emplace(data, split);
  double count = 0;
  double sum = 0;
  double squares = 0;
  for (const double x : Raw(train_.history)) {
    if (std::isnan(x)) continue;
    count += 1;
    sum += x;
    squares += x * x;
  }
  if (count > 0) {
    mean_ = sum / count;
    const double variance = squares / count - mean_ * mean_;
    if (variance > 1e-12) deviation_ = std::sqrt(variance);
  }
  train_ = MakePart({&split.train});
}

const HistoryValues::Part& HistoryValues::part(Known known) {
  if (known == Known::kTrain) return train_;
  std::vector<const std::vector<uint32_t>*> parts = {&split_->train, &split_->validation};
  if (known == Known::kAll) parts.push_back(&split_->test);
  std::optional<Part>& part = known == Known::kAll ? all_ : train_and_validation_;
  if (!part.has_value()) part = MakePart(parts);
  return *part;
}

HistoryValues::Part HistoryValues::MakePart(const std::vector<const std::vector<uint32_t>*>& parts) const {
  Part part{History(*data_, parts), {}};
  if (weight_ == FeatureConfig::Weight::kOne) return part;
  for (const double x : Raw(part.history)) part.weights.push_back(Normalized(x));
  return part;
}

std::vector<float> HistoryValues::WeightsOf(absl::Span<const GuestRating> rated) const {
  if (weight_ == FeatureConfig::Weight::kOne) return {};
  std::vector<float> deviations;
  if (weight_ == FeatureConfig::Weight::kDeviation) deviations = deviations_->OfGuest(rated);
  std::vector<float> weights;
  for (size_t i = 0; i < rated.size(); ++i) {
    const double raw = weight_ == FeatureConfig::Weight::kRating      ? rated[i].rating
                       : weight_ == FeatureConfig::Weight::kDeviation ? deviations[i]
                                                                      : kUnknown;
    weights.push_back(Normalized(raw));
  }
  return weights;
}

std::vector<double> HistoryValues::Raw(const History& history) const {
  std::vector<double> raw;
  raw.reserve(history.interactions().size());
  if (weight_ == FeatureConfig::Weight::kRating) {
    for (const uint32_t interaction : history.interactions()) raw.push_back(data_->label()[interaction]);
    return raw;
  }
  if (weight_ == FeatureConfig::Weight::kDeviation) {
    for (const uint32_t interaction : history.interactions()) raw.push_back(deviations_->Of(interaction));
    return raw;
  }
  for (uint32_t user = 0; user < data_->users(); ++user) {
    double last = -std::numeric_limits<double>::infinity();
    for (const uint32_t interaction : history.Of(user)) {
      if (!time_->is_null(interaction)) last = std::max(last, time_->number(interaction));
    }
    for (const uint32_t interaction : history.Of(user)) {
      raw.push_back(time_->is_null(interaction) ? kUnknown : std::log1p(last - time_->number(interaction)));
    }
  }
  return raw;
}

}  // namespace marquee
