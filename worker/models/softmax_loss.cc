#include "worker/models/softmax_loss.h"

#include <Eigen/Core>
#include <algorithm>
#include <cmath>
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

class RowLoss {
 public:
  RowLoss(const SoftmaxExamples& examples, const SoftmaxOptions& options)
      : examples_(examples),
        offsets_(Offsets(examples)),
        inverse_temperature_(static_cast<float>(1 / options.temperature)),
        remove_hits_(options.remove_accidental_hits),
        gradient_scale_(inverse_temperature_ / static_cast<float>(std::max<size_t>(examples.positives.size(), 1))) {}

  // Turns a query's scores into the gradient of the mean loss with respect to them; returns the sum of its examples' losses.
  //
  // With y = exp(x - max), an example's sum of exponentials is sum(y), less (1 - 1 / count) y of its positive where accidental
  // hits are removed. That difference loses at most a factor `count` in precision, since y / count stays in it.
  double operator()(size_t query, float* scores, std::vector<double>& sums) const {
    Row row(scores, static_cast<Eigen::Index>(offsets_.size()));
    row = row * inverse_temperature_ + Eigen::Map<const Eigen::ArrayXf>(offsets_.data(), row.size());
    const float top = row.maxCoeff();
    const auto positives = absl::MakeConstSpan(examples_.positives)
                               .subspan(examples_.offsets[query], examples_.offsets[query + 1] - examples_.offsets[query]);
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
  const SoftmaxExamples& examples_;
  std::vector<float> offsets_;
  float inverse_temperature_;
  bool remove_hits_;
  float gradient_scale_;
};

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

SoftmaxResult SoftmaxLossInBlocks(const torch::Tensor& queries, const torch::Tensor& candidates,
                                  const SoftmaxExamples& examples, const SoftmaxOptions& options) {
  const torch::NoGradGuard no_grad;
  const int64_t rows = queries.size(0);
  const int64_t columns = candidates.size(0);
  const int64_t block = std::max(kMinBlockRows, kBlockFloats / std::max<int64_t>(columns, 1));

  SoftmaxResult result;
  result.query_gradient = torch::empty_like(queries);
  result.candidate_gradient = torch::zeros_like(candidates);
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
      for (int64_t i = from; i < to; ++i) losses[begin + i] = row_loss(begin + i, data + i * columns, sums);
    });
    torch::Tensor block_gradient = result.query_gradient.narrow(0, begin, count);
    at::mm_out(block_gradient, scores, candidates);
    result.candidate_gradient.addmm_(scores.t(), block_queries);
  }
  for (const double loss : losses) result.loss += loss;
  return result;
}

SoftmaxResult SoftmaxLossWhole(const torch::Tensor& queries, const torch::Tensor& candidates, const SoftmaxExamples& examples,
                               const SoftmaxOptions& options) {
  const torch::NoGradGuard no_grad;
  const torch::Device device = queries.device();
  std::vector<int64_t> query_of(examples.positives.size());
  for (size_t q = 0; q + 1 < examples.offsets.size(); ++q) {
    std::fill(query_of.begin() + examples.offsets[q], query_of.begin() + examples.offsets[q + 1], static_cast<int64_t>(q));
  }
  const torch::Tensor query = torch::tensor(query_of, torch::kLong).to(device);
  const torch::Tensor positive =
      torch::tensor(std::vector<int64_t>(examples.positives.begin(), examples.positives.end()), torch::kLong).to(device);
  const torch::Tensor counts = torch::tensor(examples.counts).to(device).index({positive});
  const torch::Tensor offsets = torch::tensor(Offsets(examples)).to(device);

  const torch::Tensor x = torch::mm(queries, candidates.t()) / options.temperature + offsets;
  const torch::Tensor top = x.amax(1);
  const torch::Tensor y = (x - top.unsqueeze(1)).exp();
  torch::Tensor removed = torch::zeros_like(counts);
  if (options.remove_accidental_hits) removed = y.index({query, positive}) * (1 - 1 / counts);
  const torch::Tensor sum = y.sum(1).index({query}) - removed;
  const torch::Tensor loss = top.index({query}) + sum.log() - x.index({query, positive}) + counts.log();

  const torch::Tensor weight = torch::zeros_like(top).index_add(0, query, 1 / sum);
  torch::Tensor gradient = y * weight.unsqueeze(1);
  gradient.index_put_({query, positive}, -(1 + removed / sum), /*accumulate=*/true);
  gradient /= options.temperature * static_cast<double>(std::max<size_t>(examples.positives.size(), 1));
  return {loss.sum(torch::kDouble).item<double>(), torch::mm(gradient, candidates), torch::mm(gradient.t(), queries)};
}

SoftmaxResult SoftmaxLoss(const torch::Tensor& queries, const torch::Tensor& candidates, const SoftmaxExamples& examples,
                          const SoftmaxOptions& options) {
  return queries.device().is_cpu() ? SoftmaxLossInBlocks(queries, candidates, examples, options)
                                   : SoftmaxLossWhole(queries, candidates, examples, options);
}

}  // namespace marquee
