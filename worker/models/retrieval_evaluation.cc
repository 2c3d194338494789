#include "worker/models/retrieval_evaluation.h"

#include <fmt/format.h>

#include <Eigen/Core>
#include <algorithm>
#include <cmath>

#include "absl/status/status.h"

namespace marquee {
namespace {

constexpr int64_t kScoreBlock = 128;  // queries scored at once
constexpr int64_t kQueryGrain = 8;    // queries for one thread

}  // namespace

void RetrievalEvaluation::Begin(bool test) {
  if (seen_.has_value() && test_ == test) return;
  std::vector<const std::vector<uint32_t>*> parts = {&split_.train};
  if (test) parts.push_back(&split_.validation);
  seen_.emplace(data_, parts);
  test_ = test;
}

RetrievalEvaluation::QueryResult RetrievalEvaluation::EvaluateQuery(absl::Span<float> scores, const torch::Tensor& seen_bias,
                                                                    uint32_t user, absl::Span<const uint32_t> targets) const {
  QueryResult result;
  const absl::Span<const uint32_t> seen = seen_->Of(user);
  if (seen_bias.defined()) {
    for (const uint32_t item : seen) scores[item] += seen_bias.data_ptr<float>()[item];
  }
  const Eigen::Map<const Eigen::ArrayXf> row(scores.data(), static_cast<Eigen::Index>(scores.size()));
  result.finite = (row * 0.0F).sum() == 0.0F;
  if (!result.finite) return result;

  const float top = row.maxCoeff();
  const auto inverse_temperature = static_cast<float>(1 / temperature_);
  const double log_sum = std::log(static_cast<double>(((row - top) * inverse_temperature).exp().sum()));
  for (const uint32_t target : targets) {
    result.top_k.Add(scores, target, seen);
    result.loss += log_sum + static_cast<double>(top - scores[target]) * inverse_temperature;
  }
  return result;
}

absl::StatusOr<MetricSums> RetrievalEvaluation::Evaluate(const torch::Tensor& queries, const torch::Tensor& candidates,
                                                         const torch::Tensor& seen_bias, absl::Span<const uint32_t> users,
                                                         const SoftmaxExamples& examples) const {
  const torch::Tensor transposed = candidates.t();
  const int64_t columns = candidates.size(0);
  const auto count = static_cast<int64_t>(users.size());
  const absl::Span<const uint32_t> positives = examples.positives;

  std::vector<QueryResult> results(users.size());
  for (int64_t begin = 0; begin < count; begin += kScoreBlock) {
    const int64_t rows = std::min(kScoreBlock, count - begin);
    const torch::Tensor scores = torch::mm(queries.narrow(0, begin, rows), transposed).to(torch::kCPU);
    auto* data = scores.data_ptr<float>();
    at::parallel_for(0, rows, kQueryGrain, [&](int64_t from, int64_t to) {
      for (int64_t i = from; i < to; ++i) {
        const uint32_t first = examples.offsets[begin + i];
        results[begin + i] = EvaluateQuery({data + i * columns, static_cast<size_t>(columns)}, seen_bias, users[begin + i],
                                           positives.subspan(first, examples.offsets[begin + i + 1] - first));
      }
    });
  }

  TopKCounts top_k;
  MetricSum loss{.sum = 0, .weight = static_cast<double>(positives.size())};
  for (size_t i = 0; i < results.size(); ++i) {
    if (!results[i].finite) {
      return absl::OutOfRangeError(fmt::format("scores of user index {}: not all are finite", users[i]));
    }
    top_k.Add(results[i].top_k);
    loss.sum += results[i].loss;
  }
  MetricSums sums;
  top_k.AddTo(sums, split_.chronological());
  sums["loss"] = loss;
  return sums;
}

}  // namespace marquee
