#include "worker/models/list_loss.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <vector>

namespace marquee {
namespace {

// log(exp(a) + exp(b))
double LogAdd(double a, double b) { return std::max(a, b) + std::log1p(std::exp(-std::abs(a - b))); }

// Sets `shares` to the softmax of x; returns the logarithm of the sum of exp(x).
double Softmax(absl::Span<const float> x, std::vector<double>& shares) {
  const double top = *std::max_element(x.begin(), x.end());
  shares.clear();
  for (const float value : x) shares.push_back(std::exp(value - top));
  const double sum = std::accumulate(shares.begin(), shares.end(), 0.0);
  for (double& share : shares) share /= sum;
  return top + std::log(sum);
}

}  // namespace

double ListMle(absl::Span<const float> scores, absl::Span<const float> labels, absl::Span<float> gradients) {
  if (scores.empty()) return 0;
  std::vector<uint32_t> order(scores.size());
  std::iota(order.begin(), order.end(), 0U);
  std::stable_sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) { return labels[a] > labels[b]; });

  std::vector<double> log_tails(scores.size());  // by place: log of the sum of exp(s) from there to the end
  double log_tail = scores[order.back()];
  double loss = 0;
  for (size_t k = order.size(); k-- > 0;) {
    const double score = scores[order[k]];
    if (k + 1 < order.size()) log_tail = LogAdd(log_tail, score);
    log_tails[k] = log_tail;
    loss += log_tail - score;
  }
  // An item takes part in the sums of its own place and of all before it.
  double log_inverse = -log_tails.front();  // log of the sum of 1 / tail
  for (size_t k = 0; k < order.size(); ++k) {
    if (k > 0) log_inverse = LogAdd(log_inverse, -log_tails[k]);
    gradients[order[k]] = static_cast<float>(std::exp(scores[order[k]] + log_inverse) - 1);
  }
  return loss;
}

double ListSoftmax(absl::Span<const float> scores, absl::Span<const float> labels, absl::Span<float> gradients) {
  if (scores.empty()) return 0;
  std::vector<double> wanted;
  std::vector<double> shares;
  Softmax(labels, wanted);
  const double log_sum = Softmax(scores, shares);
  double loss = log_sum;
  for (size_t i = 0; i < scores.size(); ++i) {
    loss -= wanted[i] * scores[i];
    gradients[i] = static_cast<float>(shares[i] - wanted[i]);
  }
  return loss;
}

}  // namespace marquee
