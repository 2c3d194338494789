#include "worker/models/deviations.h"

#include <algorithm>

#include "absl/types/span.h"

namespace marquee {
namespace {

constexpr double kShrinkage = 10;  // ratings that a deviation of 0 counts for

// The shrunk mean of `values` for each code.
std::vector<float> MeansOf(absl::Span<const uint32_t> code_of, size_t codes, const std::vector<uint32_t>& rows,
                           const std::vector<float>& values) {
  std::vector<double> sums(codes, 0);
  std::vector<double> counts(codes, kShrinkage);
  for (size_t i = 0; i < rows.size(); ++i) {
    sums[code_of[rows[i]]] += values[i];
    counts[code_of[rows[i]]] += 1;
  }
  std::vector<float> means(codes);
  for (size_t code = 0; code < codes; ++code) means[code] = static_cast<float>(sums[code] / counts[code]);
  return means;
}

}  // namespace

Deviations::Deviations(const Dataset& data, const Split& split) : data_(data), split_(split) {
  const std::vector<uint32_t>& train = split.train;
  for (const uint32_t example : train) mean_ += split.LabelOf(data, example);
  mean_ /= static_cast<double>(std::max<size_t>(train.size(), 1));

  std::vector<float> rest;
  for (const uint32_t example : train) rest.push_back(split.LabelOf(data, example) - static_cast<float>(mean_));
  items_ = MeansOf(data.item_of(), data.items(), train, rest);
  for (size_t i = 0; i < train.size(); ++i) rest[i] -= items_[data.item_of()[train[i]]];
  users_ = MeansOf(data.user_of(), data.users(), train, rest);
}

float Deviations::Of(uint32_t interaction) const {
  return split_.LabelOf(data_, interaction) - static_cast<float>(mean_) - items_[data_.item_of()[interaction]] -
         users_[data_.user_of()[interaction]];
}

std::vector<float> Deviations::OfGuest(absl::Span<const GuestRating> rated) const {
  std::vector<float> rest;
  double sum = 0;
  for (const GuestRating& one : rated) {
    rest.push_back(split_.LabelOfRating(one.rating) - static_cast<float>(mean_) - items_[one.item]);
    sum += rest.back();
  }
  const auto own = static_cast<float>(sum / (static_cast<double>(rated.size()) + kShrinkage));
  for (float& one : rest) one -= own;
  return rest;
}

}  // namespace marquee
