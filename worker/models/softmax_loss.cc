#include "worker/models/softmax_loss.h"

#include <Eigen/Core>
#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <numeric>

#include "absl/types/span.h"

namespace marquee {
namespace {

using Row = Eigen::Map<Eigen::ArrayXf>;

// Floats in a block of scores: few enough to stay in cache, enough rows (128 of 2,800) for matrix products at full speed.
constexpr int64_t kBlockFloats = 352 * 1024;
constexpr int64_t kMinBlockRows = 16;
constexpr int64_t kRowGrain = 4;  // rows for one thread

// What is added to score / temperature: the bias, and the logarithm of how often a candidate stands among the classes.
std::vector<float> Offsets(const SoftmaxExamples& examples) {
  std::vector<float> offsets(examples.counts.size());
  for (size_t i = 0; i < offsets.size(); ++i) {
    offsets[i] = std::log(examples.counts[i]) + (examples.bias.empty() ? 0.0F : examples.bias[i]);
  }
  return offsets;
}

// log(1 + exp(x))
double SoftPlus(double x) { return std::max(x, 0.0) + std::log1p(std::exp(-std::abs(x))); }

class RowLoss {
 public:
  RowLoss(const SoftmaxExamples& examples, const SoftmaxOptions& options)
      : examples_(examples),
        offsets_(Offsets(examples)),
        inverse_temperature_(static_cast<float>(1 / options.temperature)),
        remove_hits_(options.remove_accidental_hits),
        hard_negatives_(options.hard_negatives),
        gradient_scale_(inverse_temperature_ / static_cast<float>(std::max<size_t>(examples.positives.size(), 1))) {}

  // Turns a query's scores into the gradient of the mean loss with respect to them; returns the sum of its examples' losses.
  //
  // With y = exp(x - max), an example's sum of exponentials is sum(y), less (1 - 1 / count) y of its positive where accidental
  // hits are removed. That difference loses at most a factor `count` in precision, since y / count stays in it.
  double operator()(size_t query, float* scores, std::vector<double>& sums) const {
    Row row(scores, static_cast<Eigen::Index>(offsets_.size()));
    row = row * inverse_temperature_ + Eigen::Map<const Eigen::ArrayXf>(offsets_.data(), row.size());
    const auto positives = absl::MakeConstSpan(examples_.positives)
                               .subspan(examples_.offsets[query], examples_.offsets[query + 1] - examples_.offsets[query]);
    if (hard_negatives_ > 0) return AmongHardNegatives(positives, row);
    const float top = row.maxCoeff();
    double loss = 0;
    for (const uint32_t positive : positives) loss += top - scores[positive] + std::log(examples_.counts[positive]);

    row = (row - top).exp();
    const double total = row.sum();
    double weight = 0;
    sums.clear();
    for (const uint32_t positive : positives) {
      sums.push_back(remove_hits_ ? total - scores[positive] * (1 - 1 / static_cast<double>(examples_.counts[positive]))
                                  : total);
      loss += std::log(sums.back());
      weight += 1 / sums.back();
    }

    row *= static_cast<float>(weight) * gradient_scale_;
    for (size_t e = 0; e < positives.size(); ++e) scores[positives[e]] -= gradient_scale_ * static_cast<float>(total / sums[e]);
    return loss;
  }

 private:
  // With z the logarithm of the negatives' sum of exponentials, an example's loss is log(1 + exp(z - x)), x its own
  // candidate's.
  double AmongHardNegatives(absl::Span<const uint32_t> positives, Row row) const {
    std::vector<float> own;
    for (const uint32_t positive : positives) own.push_back(row[positive]);
    constexpr float kNone = -std::numeric_limits<float>::infinity();
    for (const uint32_t positive : positives) row[positive] = kNone;
    KeepHighest(row);
    const float top = row.maxCoeff();
    if (top == kNone) {
      row.setZero();
      return 0;
    }
    row = (row - top).exp();
    const double total = row.sum();
    const double z = top + std::log(total);
    double loss = 0;
    double weight = 0;
    std::vector<float> gradients;
    for (size_t e = 0; e < positives.size(); ++e) {
      const double log_count = std::log(static_cast<double>(examples_.counts[positives[e]]));
      const double x = own[e] - (remove_hits_ ? log_count : 0);
      loss += SoftPlus(z - x) + (remove_hits_ ? 0 : log_count);
      gradients.push_back(static_cast<float>(1 / (1 + std::exp(x - z))));
      weight += gradients.back();
    }
    row *= static_cast<float>(weight / total) * gradient_scale_;
    for (size_t e = 0; e < positives.size(); ++e) row[positives[e]] -= gradient_scale_ * gradients[e];
    return loss;
  }

  void KeepHighest(Row row) const {
    if (row.size() <= hard_negatives_) return;
    std::vector<float> sorted(row.data(), row.data() + row.size());
    std::nth_element(sorted.begin(), sorted.begin() + hard_negatives_ - 1, sorted.end(), std::greater<>());
    const float least = sorted[hard_negatives_ - 1];
    row = (row < least).select(-std::numeric_limits<float>::infinity(), row);
  }

  const SoftmaxExamples& examples_;
  std::vector<float> offsets_;
  float inverse_temperature_;
  bool remove_hits_;
  int hard_negatives_;
  float gradient_scale_;
};

absl::Span<const uint32_t> SeenOf(const SoftmaxExamples& examples, int64_t query) {
  const uint32_t begin = examples.seen_offsets[query];
  return absl::MakeConstSpan(examples.seen).subspan(begin, examples.seen_offsets[query + 1] - begin);
}

torch::Tensor IndexTensor(const std::vector<uint32_t>& values) {
  return torch::tensor(std::vector<int64_t>(values.begin(), values.end()), torch::kLong);
}

// The query of each of `count` elements that are grouped by query.
torch::Tensor QueryOfEach(const std::vector<uint32_t>& offsets, size_t count) {
  std::vector<int64_t> query_of(count);
  for (size_t q = 0; q + 1 < offsets.size(); ++q) {
    std::fill(query_of.begin() + offsets[q], query_of.begin() + offsets[q + 1], static_cast<int64_t>(q));
  }
  return torch::tensor(query_of, torch::kLong);
}

}  // namespace

void GroupByQuery(absl::Span<const uint32_t> query_of, absl::Span<const uint32_t> candidate_of, size_t queries,
                  SoftmaxExamples& examples) {
  examples.offsets.assign(queries + 1, 0);
  for (const uint32_t query : query_of) ++examples.offsets[query + 1];
  std::partial_sum(examples.offsets.begin(), examples.offsets.end(), examples.offsets.begin());
  std::vector<uint32_t> next(examples.offsets.begin(), examples.offsets.end() - 1);
  examples.positives.resize(candidate_of.size());
  for (size_t i = 0; i < candidate_of.size(); ++i) examples.positives[next[query_of[i]]++] = candidate_of[i];
}

std::vector<float> LogShares(const Dataset& data, const Split& split) {
  std::vector<double> counts(data.items(), 0);
  for (const uint32_t example : split.train) counts[data.item_of()[example]] += 1;
  std::vector<float> shares;
  for (const double count : counts) {
    shares.push_back(static_cast<float>(std::log(std::max(count, 1.0) / static_cast<double>(split.train.size()))));
  }
  return shares;
}

SoftmaxResult SoftmaxLossInBlocks(const torch::Tensor& queries, const torch::Tensor& candidates, const torch::Tensor& seen_bias,
                                  const SoftmaxExamples& examples, const SoftmaxOptions& options) {
  const torch::NoGradGuard no_grad;
  const int64_t rows = queries.size(0);
  const int64_t columns = candidates.size(0);
  const int64_t block = std::max(kMinBlockRows, kBlockFloats / std::max<int64_t>(columns, 1));

  SoftmaxResult result;
  result.query_gradient = torch::empty_like(queries);
  result.candidate_gradient = torch::zeros_like(candidates);
  if (seen_bias.defined()) result.seen_bias_gradient = torch::zeros_like(seen_bias);
  const float* seen_values = seen_bias.defined() ? seen_bias.data_ptr<float>() : nullptr;
  const torch::Tensor transposed = candidates.t();
  const torch::Tensor buffer = torch::empty({std::min(block, rows), columns});
  std::vector<double> losses(rows);
  const RowLoss row_loss(examples, options);

  for (int64_t begin = 0; begin < rows; begin += block) {
    const int64_t count = std::min(block, rows - begin);
    torch::Tensor scores = buffer.narrow(0, 0, count);
    const torch::Tensor block_queries = queries.narrow(0, begin, count);
    at::mm_out(scores, block_queries, transposed);
    auto* data = scores.data_ptr<float>();
    at::parallel_for(0, count, kRowGrain, [&](int64_t from, int64_t to) {
      std::vector<double> sums;
      for (int64_t i = from; i < to; ++i) {
        float* row = data + i * columns;
        if (seen_values != nullptr) {
          for (const uint32_t candidate : SeenOf(examples, begin + i)) row[candidate] += seen_values[candidate];
        }
        losses[begin + i] = row_loss(begin + i, row, sums);
      }
    });
    if (seen_values != nullptr) {
      auto* seen_gradient = result.seen_bias_gradient.data_ptr<float>();
      for (int64_t i = 0; i < count; ++i) {
        for (const uint32_t candidate : SeenOf(examples, begin + i)) seen_gradient[candidate] += data[i * columns + candidate];
      }
    }
    torch::Tensor block_gradient = result.query_gradient.narrow(0, begin, count);
    at::mm_out(block_gradient, scores, candidates);
    result.candidate_gradient.addmm_(scores.t(), block_queries);
  }
  for (const double loss : losses) result.loss += loss;
  return result;
}

SoftmaxResult SoftmaxLossWhole(const torch::Tensor& queries, const torch::Tensor& candidates, const torch::Tensor& seen_bias,
                               const SoftmaxExamples& examples, const SoftmaxOptions& options) {
  const torch::NoGradGuard no_grad;
  const torch::Device device = queries.device();
  const torch::Tensor query = QueryOfEach(examples.offsets, examples.positives.size()).to(device);
  const torch::Tensor positive = IndexTensor(examples.positives).to(device);
  const torch::Tensor log_counts = torch::tensor(examples.counts).to(device).index({positive}).log();
  const torch::Tensor seen_query = QueryOfEach(examples.seen_offsets, examples.seen.size()).to(device);
  const torch::Tensor seen = IndexTensor(examples.seen).to(device);

  torch::Tensor scores = torch::mm(queries, candidates.t());
  if (seen_bias.defined()) scores.index_put_({seen_query, seen}, seen_bias.index({seen}), /*accumulate=*/true);
  const torch::Tensor x = scores / options.temperature + torch::tensor(Offsets(examples)).to(device);
  // What is a class for all examples of a query; where negatives are hard, a query's positives are classes of their own
  // examples only.
  torch::Tensor shared = x;
  if (options.hard_negatives > 0) {
    shared = x.clone();
    shared.index_put_({query, positive}, torch::full({}, -std::numeric_limits<float>::infinity(), x.options()));
    if (options.hard_negatives < shared.size(1)) {
      const torch::Tensor least = std::get<0>(shared.topk(options.hard_negatives, 1)).narrow(1, options.hard_negatives - 1, 1);
      shared = shared.masked_fill(shared < least, -std::numeric_limits<float>::infinity());
    }
  }
  const torch::Tensor top = x.amax(1);
  const torch::Tensor y = (shared - top.unsqueeze(1)).exp();
  // An example's own candidate in its sum: it is already there with its count, unless negatives are hard.
  const torch::Tensor own = x.index({query, positive}) - (options.remove_accidental_hits ? log_counts : 0 * log_counts);
  const torch::Tensor added = (own - top.index({query})).exp() - y.index({query, positive});
  const torch::Tensor sum = y.sum(1).index({query}) + added;
  const torch::Tensor loss = top.index({query}) + sum.log() - x.index({query, positive}) + log_counts;

  const torch::Tensor weight = torch::zeros_like(top).index_add(0, query, 1 / sum);
  torch::Tensor gradient = y * weight.unsqueeze(1);
  gradient.index_put_({query, positive}, added / sum - 1, /*accumulate=*/true);
  gradient /= options.temperature * static_cast<double>(std::max<size_t>(examples.positives.size(), 1));
  SoftmaxResult result{
      loss.sum(torch::kDouble).item<double>(), torch::mm(gradient, candidates), torch::mm(gradient.t(), queries), {}};
  if (seen_bias.defined()) {
    result.seen_bias_gradient = torch::zeros_like(seen_bias).index_add(0, seen, gradient.index({seen_query, seen}));
  }
  return result;
}

SoftmaxResult SoftmaxLoss(const torch::Tensor& queries, const torch::Tensor& candidates, const torch::Tensor& seen_bias,
                          const SoftmaxExamples& examples, const SoftmaxOptions& options) {
  return queries.device().is_cpu() ? SoftmaxLossInBlocks(queries, candidates, seen_bias, examples, options)
                                   : SoftmaxLossWhole(queries, candidates, seen_bias, examples, options);
}

}  // namespace marquee
