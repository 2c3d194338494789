#include "dataset/evaluation.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <utility>

namespace marquee {
namespace {

constexpr std::array<const char*, kTopK.size()> kTopNames = {"top_1", "top_5", "top_10", "top_50", "top_100"};
constexpr std::array<const char*, kTopK.size()> kTopUnseenNames = {"top_1_unseen", "top_5_unseen", "top_10_unseen",
                                                                   "top_50_unseen", "top_100_unseen"};
constexpr std::array<const char*, kHitRateK.size()> kHitRateNames = {"hr_10", "hr_50", "hr_200"};
constexpr char kNdcgName[] = "ndcg_10";

void Add(const char* name, double value, MetricSums& sums) {
  MetricSum& sum = sums[name];
  sum.sum += value;
  sum.weight += 1;
}

// What the seen items take from a target's rank when they are no candidates.
double RankAmongSeen(absl::Span<const float> scores, uint32_t target, absl::Span<const uint32_t> seen) {
  const float score = scores[target];
  double rank = 0;
  for (const uint32_t item : seen) {
    if (item == target) continue;
    rank += scores[item] > score ? 1.0 : scores[item] == score ? 0.5 : 0.0;
  }
  return rank;
}

void AddHits(double rank, double rank_unseen, bool chronological, MetricSums& sums) {
  for (size_t k = 0; k < kTopK.size(); ++k) {
    Add(kTopNames[k], rank < kTopK[k] ? 1 : 0, sums);
    Add(kTopUnseenNames[k], rank_unseen < kTopK[k] ? 1 : 0, sums);
  }
  if (!chronological) return;
  for (size_t k = 0; k < kHitRateK.size(); ++k) Add(kHitRateNames[k], rank_unseen < kHitRateK[k] ? 1 : 0, sums);
  Add(kNdcgName, NdcgOfRank(rank_unseen), sums);
}

double Discount(double place) { return 1 / std::log2(place + 2); }

// Discounted gain of the first kNdcgK places. `order` holds positions in the list, best score first.
double DiscountedGain(absl::Span<const float> scores, absl::Span<const float> ratings, absl::Span<const uint32_t> order) {
  constexpr auto kPlaces = static_cast<size_t>(kNdcgK);
  double gain = 0;
  for (size_t begin = 0; begin < std::min(order.size(), kPlaces);) {
    size_t end = begin;
    double gain_of_ties = 0;
    for (; end < order.size() && scores[order[end]] == scores[order[begin]]; ++end) {
      gain_of_ties += std::exp2(ratings[order[end]]) - 1;
    }
    double discounts = 0;
    for (size_t place = begin; place < std::min(end, kPlaces); ++place) discounts += Discount(static_cast<double>(place));
    gain += gain_of_ties / static_cast<double>(end - begin) * discounts;
    begin = end;
  }
  return gain;
}

std::vector<uint32_t> DescendingOrder(absl::Span<const float> values) {
  std::vector<uint32_t> order(values.size());
  std::iota(order.begin(), order.end(), 0U);
  std::sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) { return values[a] > values[b]; });
  return order;
}

absl::Status CheckSeen(absl::Span<const float> scores, absl::Span<const uint32_t> seen) {
  if (seen.empty() || seen.back() < scores.size()) return absl::OkStatus();
  return absl::InvalidArgumentError(fmt::format("seen item {}: there are {} candidates", seen.back(), scores.size()));
}

// mean + user bias + item bias, each bias shrunk towards 0; of ratings, or of the log-odds of a positive.
struct BiasModel {
  double mean = 0;
  std::vector<double> user;
  std::vector<double> item;

  double Predict(const Dataset& data, uint32_t i) const { return mean + user[data.user_of()[i]] + item[data.item_of()[i]]; }
};

// The same for everybody: the mean, or its log-odds.
BiasModel MeanOnly(const Dataset& data, const Split& split, const std::vector<uint32_t>& interactions) {
  double sum = 0;
  for (const uint32_t i : interactions) sum += split.LabelOf(data, i);
  const double mean = sum / static_cast<double>(interactions.size());
  return BiasModel{split.binary() ? std::log(mean / (1 - mean)) : mean, std::vector<double>(data.users(), 0),
                   std::vector<double>(data.items(), 0)};
}

// One half of an alternating least squares step: the best biases of one side, given those of the other. Of classes, a step of
// Newton's method, with the shrinkage as an L2 penalty.
void FitSide(const Dataset& data, const Split& split, const std::vector<uint32_t>& interactions,
             absl::Span<const uint32_t> side, std::vector<double>& bias, double shrinkage, const BiasModel& model) {
  std::vector<double> slope(bias.size());
  std::vector<double> curvature(bias.size(), shrinkage);
  for (size_t row = 0; row < bias.size(); ++row) slope[row] = -shrinkage * bias[row];
  for (const uint32_t i : interactions) {
    const double score = model.Predict(data, i);
    const double prediction = split.binary() ? 1 / (1 + std::exp(-score)) : score;
    slope[side[i]] += split.LabelOf(data, i) - prediction;
    curvature[side[i]] += split.binary() ? prediction * (1 - prediction) : 1;
  }
  for (size_t row = 0; row < bias.size(); ++row) {
    if (curvature[row] > 0) bias[row] += slope[row] / curvature[row];
  }
}

BiasModel FitBiases(const Dataset& data, const Split& split, const std::vector<uint32_t>& interactions, double user_shrinkage,
                    double item_shrinkage) {
  constexpr int kSweeps = 4;
  BiasModel model = MeanOnly(data, split, interactions);
  for (int sweep = 0; sweep < kSweeps; ++sweep) {
    FitSide(data, split, interactions, data.item_of(), model.item, item_shrinkage, model);
    FitSide(data, split, interactions, data.user_of(), model.user, user_shrinkage, model);
  }
  return model;
}

absl::StatusOr<MetricSums> ErrorsOf(const Dataset& data, const Split& split, const std::vector<uint32_t>& interactions,
                                    const BiasModel& model) {
  MetricSums sums;
  for (const uint32_t i : interactions) {
    const auto prediction = static_cast<float>(model.Predict(data, i));
    const float label = split.LabelOf(data, i);
    absl::Status status = split.binary() ? AddBinary(prediction, label > 0, sums) : AddRatingError(prediction, label, sums);
    if (!status.ok()) return status;
  }
  return sums;
}

// The shrinkage that does best on validation; a moderate one where there is no validation part.
absl::StatusOr<std::pair<double, double>> ChooseShrinkage(const Dataset& data, const Split& split) {
  constexpr std::array<double, 4> kUserShrinkage = {1, 3, 6, 12};
  constexpr std::array<double, 4> kItemShrinkage = {0.5, 2, 5, 12};
  std::pair<double, double> best = {3, 2};
  if (split.validation.empty()) return best;
  double best_error = std::numeric_limits<double>::infinity();
  for (const double user : kUserShrinkage) {
    for (const double item : kItemShrinkage) {
      absl::StatusOr<MetricSums> sums =
          ErrorsOf(data, split, split.validation, FitBiases(data, split, split.train, user, item));
      if (!sums.ok()) return sums.status();
      const double error = sums->at(split.binary() ? "log_loss" : "squared_error").sum;
      if (error >= best_error) continue;
      best_error = error;
      best = {user, item};
    }
  }
  return best;
}

std::vector<uint32_t> TrainAndValidation(const Split& split) {
  std::vector<uint32_t> both(split.train.size() + split.validation.size());
  std::merge(split.train.begin(), split.train.end(), split.validation.begin(), split.validation.end(), both.begin());
  return both;
}

absl::StatusOr<Baseline> Popularity(const Dataset& data, const Split& split, const std::vector<uint32_t>& known) {
  std::vector<float> scores(data.rated_items(), 0);
  for (const uint32_t i : known) scores[data.item_of()[i]] += 1;
  std::vector<double> ranks(scores.size());
  for (uint32_t item = 0; item < ranks.size(); ++item) {
    absl::StatusOr<double> rank = RankOf(scores, item);
    if (!rank.ok()) return rank.status();
    ranks[item] = *rank;
  }
  const SeenItems seen(data, {&split.train, &split.validation});
  MetricSums sums;
  for (const uint32_t i : split.test) {
    const uint32_t target = data.item_of()[i];
    AddHits(ranks[target], ranks[target] - RankAmongSeen(scores, target, seen.Of(data.user_of()[i])), split.chronological(),
            sums);
  }
  return Baseline{"popularity", Finish(sums)};
}

absl::StatusOr<Baseline> BiasBaseline(std::string name, const Dataset& data, const Split& split, const BiasModel& model) {
  absl::StatusOr<MetricSums> sums = ErrorsOf(data, split, split.test, model);
  if (!sums.ok()) return sums.status();
  return Baseline{std::move(name), Finish(*sums)};
}

}  // namespace

SeenItems::SeenItems(const Dataset& data, const std::vector<const std::vector<uint32_t>*>& parts)
    : offsets_(data.users() + 1, 0) {
  std::vector<uint64_t> counts(data.users() + 1, 0);
  for (const std::vector<uint32_t>* part : parts) {
    for (const uint32_t i : *part) ++counts[data.user_of()[i] + 1];
  }
  for (size_t user = 0; user < data.users(); ++user) counts[user + 1] += counts[user];
  std::vector<uint32_t> items(counts.back());
  std::vector<uint64_t> next(counts.begin(), counts.end() - 1);
  for (const std::vector<uint32_t>* part : parts) {
    for (const uint32_t i : *part) items[next[data.user_of()[i]]++] = data.item_of()[i];
  }
  items_.reserve(items.size());
  for (size_t user = 0; user < data.users(); ++user) {
    const auto begin = items.begin() + static_cast<ptrdiff_t>(counts[user]);
    const auto end = items.begin() + static_cast<ptrdiff_t>(counts[user + 1]);
    std::sort(begin, end);
    std::unique_copy(begin, end, std::back_inserter(items_));
    offsets_[user + 1] = items_.size();
  }
}

absl::Span<const uint32_t> SeenItems::Of(uint32_t user) const {
  return absl::Span<const uint32_t>(items_.data() + offsets_[user], offsets_[user + 1] - offsets_[user]);
}

absl::StatusOr<double> RankOf(absl::Span<const float> scores, uint32_t target) {
  if (target >= scores.size()) {
    return absl::InvalidArgumentError(fmt::format("target {}: there are {} candidates", target, scores.size()));
  }
  const float score = scores[target];
  // Plain counts of 32 bits, so that the loop becomes vector instructions.
  uint32_t higher = 0;
  uint32_t equal = 0;
  uint32_t not_a_number = 0;
  for (const float other : scores) {
    higher += other > score ? 1U : 0U;
    equal += other == score ? 1U : 0U;
    not_a_number += other != other ? 1U : 0U;
  }
  if (not_a_number > 0) {
    return absl::OutOfRangeError(fmt::format("{} of {} scores are NaN", not_a_number, scores.size()));
  }
  return higher + (equal - 1) / 2.0;
}

absl::Status AddTopK(absl::Span<const float> scores, uint32_t target, absl::Span<const uint32_t> seen, MetricSums& sums,
                     bool chronological) {
  const absl::StatusOr<double> rank = RankOf(scores, target);
  if (!rank.ok()) return rank.status();
  if (absl::Status status = CheckSeen(scores, seen); !status.ok()) return status;
  AddHits(*rank, *rank - RankAmongSeen(scores, target, seen), chronological, sums);
  return absl::OkStatus();
}

double NdcgOfRank(double rank) { return rank < kNdcgK ? Discount(rank) : 0; }

absl::Status AddListNdcg(absl::Span<const float> scores, absl::Span<const float> ratings, MetricSums& sums) {
  if (scores.size() != ratings.size()) {
    return absl::InvalidArgumentError(fmt::format("a list of {} scores and {} ratings", scores.size(), ratings.size()));
  }
  if (std::any_of(scores.begin(), scores.end(), [](float score) { return std::isnan(score); })) {
    return absl::OutOfRangeError("a list's scores are NaN");
  }
  const double best = DiscountedGain(ratings, ratings, DescendingOrder(ratings));
  if (best > 0) Add(kNdcgName, DiscountedGain(scores, ratings, DescendingOrder(scores)) / best, sums);
  return absl::OkStatus();
}

absl::Status AddRatingError(float prediction, float rating, MetricSums& sums) {
  if (std::isnan(prediction)) return absl::OutOfRangeError("a predicted rating is NaN");
  const double error = static_cast<double>(std::clamp(prediction, kLowestRating, kHighestRating)) - rating;
  Add("squared_error", error * error, sums);
  Add("absolute_error", std::abs(error), sums);
  return absl::OkStatus();
}

absl::Status AddBinary(float logit, bool positive, MetricSums& sums) {
  if (std::isnan(logit)) return absl::OutOfRangeError("a predicted log-odds is NaN");
  Add("log_loss", LogisticLoss(logit, positive), sums);
  MetricSum& auc = sums["auc"];
  ScoreBin& bin = auc.bins[ScoreBinOf(logit)];
  ++(positive ? bin.positives : bin.negatives);
  auc.weight += 1;
  return absl::OkStatus();
}

double LogisticLoss(double logit, bool positive) {
  const double wrong = positive ? -logit : logit;
  return std::max(wrong, 0.0) + std::log1p(std::exp(-std::abs(wrong)));
}

uint32_t ScoreBinOf(float logit) {
  constexpr double kBinsPerUnit = 1024;
  const double bin = std::floor(static_cast<double>(logit) * kBinsPerUnit) + kScoreBins / 2.0;
  return static_cast<uint32_t>(std::clamp(bin, 0.0, kScoreBins - 1.0));
}

double Auc(const std::map<uint32_t, ScoreBin>& bins) {
  double positives = 0;
  double negatives = 0;
  double ordered = 0;  // pairs of a positive above a negative
  for (const auto& [bin, counts] : bins) {
    const auto in_bin = static_cast<double>(counts.positives);
    ordered += in_bin * (negatives + static_cast<double>(counts.negatives) / 2);
    positives += in_bin;
    negatives += static_cast<double>(counts.negatives);
  }
  return ordered / (positives * negatives);
}

void MetricSum::Add(const MetricSum& other) {
  sum += other.sum;
  weight += other.weight;
  for (const auto& [bin, counts] : other.bins) {
    bins[bin].positives += counts.positives;
    bins[bin].negatives += counts.negatives;
  }
}

std::map<std::string, double> Finish(const MetricSums& sums) {
  std::map<std::string, double> metrics;
  for (const auto& [name, sum] : sums) {
    if (!(sum.weight > 0)) continue;
    if (name == "auc") {
      // Without both classes it is no number.
      if (const double auc = Auc(sum.bins); !std::isnan(auc)) metrics[name] = auc;
      continue;
    }
    const double mean = sum.sum / sum.weight;
    if (name == "squared_error") {
      metrics["rmse"] = std::sqrt(mean);
    } else {
      metrics[name == "absolute_error" ? "mae" : name] = mean;
    }
  }
  return metrics;
}

absl::StatusOr<std::vector<Baseline>> Baselines(const Dataset& data, const Split& split) {
  const std::vector<uint32_t> known = TrainAndValidation(split);
  if (known.empty()) return absl::InvalidArgumentError(fmt::format("split '{}': nothing to train on", split.name));
  absl::StatusOr<Baseline> popularity = Popularity(data, split, known);
  if (!popularity.ok()) return popularity.status();
  const absl::StatusOr<std::pair<double, double>> shrinkage = ChooseShrinkage(data, split);
  if (!shrinkage.ok()) return shrinkage.status();
  absl::StatusOr<Baseline> bias =
      BiasBaseline("bias only", data, split, FitBiases(data, split, known, shrinkage->first, shrinkage->second));
  if (!bias.ok()) return bias.status();
  absl::StatusOr<Baseline> global = BiasBaseline("global mean", data, split, MeanOnly(data, split, known));
  if (!global.ok()) return global.status();
  return std::vector<Baseline>{*std::move(popularity), *std::move(bias), *std::move(global)};
}

}  // namespace marquee
