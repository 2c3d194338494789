#include "serving/predictor.h"

#include <algorithm>
#include <numeric>

namespace marquee {
namespace {

constexpr size_t kBlock = 2048;  // users or movies that are asked about at once

std::vector<uint32_t> Numbers(size_t begin, size_t end) {
  std::vector<uint32_t> numbers(end - begin);
  std::iota(numbers.begin(), numbers.end(), static_cast<uint32_t>(begin));
  return numbers;
}

torch::Tensor Joined(const std::vector<torch::Tensor>& blocks) {
  return blocks.empty() ? torch::Tensor() : torch::cat(blocks, 0);
}

}  // namespace

Predictor::Predictor(KeptModel& model, RatingInference& rating) : model_(model), rating_(rating), parts_(rating.parts()) {
  std::vector<torch::Tensor> factors;
  std::vector<std::vector<torch::Tensor>> inputs(parts_.size());
  for (size_t begin = 0; begin < model.data().rated_items(); begin += kBlock) {
    const std::vector<uint32_t> movies = Numbers(begin, std::min(begin + kBlock, model.data().rated_items()));
    RatingInference::Decomposition block = Decompose(std::vector<uint32_t>(movies.size(), 0), movies);
    constant_ = block.constant;
    if (block.factors.movies.defined()) factors.push_back(block.factors.movies);
    for (size_t i = 0; i < parts_.size(); ++i) inputs[i].push_back(block.parts[i].movies);
    contexts_ = std::move(block.contexts);
  }
  factors_ = Joined(factors);
  for (const std::vector<torch::Tensor>& blocks : inputs) inputs_.push_back(Joined(blocks));
}

RatingInference::Decomposition Predictor::Decompose(const std::vector<uint32_t>& users, const std::vector<uint32_t>& movies) {
  const std::unique_ptr<Step> step = rating_.PlanPairs(users, movies, Entities::For::kNow);
  model_.Fill(*step);
  return rating_.Decompose(*step);
}

Predictor::User Predictor::Of(uint32_t user) {
  const RatingInference::Decomposition of_pair = Decompose({user}, {0});
  User side{of_pair.factors.users, {}};
  for (const RatingInference::Sides& part : of_pair.parts) side.inputs.push_back(part.users);
  return side;
}

torch::Tensor Predictor::FactorsOfUsers(size_t count) {
  std::vector<torch::Tensor> factors;
  for (size_t begin = 0; begin < count; begin += kBlock) {
    const std::vector<uint32_t> users = Numbers(begin, std::min(begin + kBlock, count));
    factors.push_back(Decompose(users, std::vector<uint32_t>(users.size(), 0)).factors.users);
  }
  return Joined(factors);
}

std::vector<float> Predictor::Predict(const User& user, absl::Span<const uint32_t> movies) const {
  const torch::NoGradGuard no_grad;
  const auto count = static_cast<int64_t>(movies.size());
  const torch::Tensor rows = torch::empty({count}, torch::kLong);
  std::copy(movies.begin(), movies.end(), rows.data_ptr<int64_t>());
  torch::Tensor sum = torch::full({count}, constant_, torch::kFloat);
  if (factors_.defined()) sum = sum + torch::mv(factors_.index_select(0, rows), user.factors.flatten());
  for (size_t i = 0; i < parts_.size(); ++i) {
    const torch::Tensor outputs = parts_[i].function(
        {user.inputs[i].expand({count, -1}), inputs_[i].index_select(0, rows), contexts_[i].expand({count, -1})});
    sum = sum + parts_[i].weight * outputs.flatten();
  }
  return {sum.data_ptr<float>(), sum.data_ptr<float>() + count};
}

torch::Tensor Predictor::MovieVectors() const {
  if (factors_.defined()) return factors_;
  return inputs_.empty() ? torch::Tensor() : inputs_.front();
}

}  // namespace marquee
