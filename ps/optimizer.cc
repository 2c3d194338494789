#include "ps/optimizer.h"

#include <algorithm>
#include <cmath>
#include <cstddef>

namespace marquee {
namespace {

// Keeps 0 / 0 out of the rules that divide by a root, where epsilon and the accumulator may both be 0.
constexpr float kLeastDivisor = 1e-30F;

// Eight partial sums, so that it vectorizes, in an order that depends on nothing but the length.
float SquaredNorm(const float* values, size_t count) {
  float sums[8] = {};
  size_t i = 0;
  for (; i + 8 <= count; i += 8) {
    for (size_t lane = 0; lane < 8; ++lane) sums[lane] += values[i + lane] * values[i + lane];
  }
  for (; i < count; ++i) sums[i % 8] += values[i] * values[i];
  return ((sums[0] + sums[4]) + (sums[1] + sums[5])) + ((sums[2] + sums[6]) + (sums[3] + sums[7]));
}

void Scale(float* values, size_t count, float factor) {
  for (size_t i = 0; i < count; ++i) values[i] *= factor;
}

void Sgd(float* __restrict weights, const float* __restrict gradient, size_t dim, float rate) {
  for (size_t i = 0; i < dim; ++i) weights[i] -= rate * gradient[i];
}

void Momentum(float* __restrict weights, float* __restrict velocity, const float* __restrict gradient, size_t dim, float rate,
              float momentum) {
  for (size_t i = 0; i < dim; ++i) {
    velocity[i] = momentum * velocity[i] + gradient[i];
    weights[i] -= rate * velocity[i];
  }
}

void Adagrad(float* __restrict weights, float* __restrict sums, const float* __restrict gradient, size_t dim, float rate,
             float epsilon) {
  for (size_t i = 0; i < dim; ++i) {
    sums[i] += gradient[i] * gradient[i];
    weights[i] -= rate * gradient[i] / (std::sqrt(sums[i]) + epsilon);
  }
}

void RowwiseAdagrad(float* __restrict weights, float* __restrict sum, const float* __restrict gradient, size_t dim, float rate,
                    float epsilon) {
  *sum += SquaredNorm(gradient, dim) / static_cast<float>(dim);
  Sgd(weights, gradient, dim, rate / (std::sqrt(*sum) + epsilon));
}

// State: first moments, second moments, step count. The count stops at 2^24, where the corrections have long been 1.
void Adam(float* __restrict weights, float* __restrict state, const float* __restrict gradient, size_t dim, float rate,
          const Optimizer& optimizer) {
  float* __restrict first = state;
  float* __restrict second = state + dim;
  float& steps = state[2 * dim];
  steps += 1;
  const float beta1 = optimizer.beta1;
  const float beta2 = optimizer.beta2;
  const double correction1 = 1 - std::pow(static_cast<double>(beta1), static_cast<double>(steps));
  const double correction2 = 1 - std::pow(static_cast<double>(beta2), static_cast<double>(steps));
  const float step_size = static_cast<float>(rate / correction1);
  const float root_scale = static_cast<float>(1 / std::sqrt(correction2));
  const float epsilon = std::max(optimizer.epsilon, kLeastDivisor);
  for (size_t i = 0; i < dim; ++i) {
    first[i] = beta1 * first[i] + (1 - beta1) * gradient[i];
    second[i] = beta2 * second[i] + (1 - beta2) * gradient[i] * gradient[i];
    weights[i] -= step_size * first[i] / (std::sqrt(second[i]) * root_scale + epsilon);
  }
}

// McMahan et al., 2013. State: z, then the sums of squares. At a rate of 0 (a warm-up's first step) nothing is learned.
void Ftrl(float* __restrict weights, float* __restrict state, const float* __restrict gradient, size_t dim, float rate,
          const Optimizer& optimizer) {
  if (rate == 0) return;
  float* __restrict z = state;
  float* __restrict sums = state + dim;
  for (size_t i = 0; i < dim; ++i) {
    const float root = std::sqrt(sums[i]);
    sums[i] += gradient[i] * gradient[i];
    const float new_root = std::sqrt(sums[i]);
    z[i] += gradient[i] - (new_root - root) / rate * weights[i];
    const float shrunk = std::max(std::abs(z[i]) - optimizer.ftrl_l1, 0.0F);
    const float divisor = std::max((optimizer.ftrl_beta + new_root) / rate + optimizer.ftrl_l2, kLeastDivisor);
    weights[i] = -std::copysign(shrunk, z[i]) / divisor;
  }
}

}  // namespace

RowUpdater::RowUpdater(const Optimizer& optimizer, uint32_t dim)
    : optimizer_(optimizer), dim_(dim), state_width_(StateWidth(optimizer.kind, dim)), scratch_(dim) {}

void RowUpdater::InitializeState(float* state) const {
  std::fill(state, state + state_width_, 0.0F);
  switch (optimizer_.kind) {
    case Optimizer::Kind::kAdagrad:
    case Optimizer::Kind::kRowwiseAdagrad:
      std::fill(state, state + state_width_, optimizer_.initial_accumulator);
      break;
    case Optimizer::Kind::kFtrl:
      std::fill(state + dim_, state + state_width_, optimizer_.initial_accumulator);
      break;
    default:
      break;
  }
}

const float* RowUpdater::Adjusted(const float* weights, const float* gradient) {
  if (optimizer_.clip_norm == 0 && optimizer_.l2 == 0) return gradient;
  float factor = 1;
  if (optimizer_.clip_norm > 0) {
    const float norm = std::sqrt(SquaredNorm(gradient, dim_));
    if (norm > optimizer_.clip_norm) factor = optimizer_.clip_norm / norm;
  }
  for (size_t i = 0; i < dim_; ++i) scratch_[i] = factor * gradient[i] + optimizer_.l2 * weights[i];
  return scratch_.data();
}

void RowUpdater::Update(float* weights, float* state, const float* gradient, float learning_rate) {
  gradient = Adjusted(weights, gradient);
  const float epsilon = std::max(optimizer_.epsilon, kLeastDivisor);
  switch (optimizer_.kind) {
    case Optimizer::Kind::kSgd:
      Sgd(weights, gradient, dim_, learning_rate);
      break;
    case Optimizer::Kind::kMomentum:
      Momentum(weights, state, gradient, dim_, learning_rate, optimizer_.momentum);
      break;
    case Optimizer::Kind::kAdagrad:
      Adagrad(weights, state, gradient, dim_, learning_rate, epsilon);
      break;
    case Optimizer::Kind::kRowwiseAdagrad:
      RowwiseAdagrad(weights, state, gradient, dim_, learning_rate, epsilon);
      break;
    case Optimizer::Kind::kAdam:
      Adam(weights, state, gradient, dim_, learning_rate, optimizer_);
      break;
    case Optimizer::Kind::kFtrl:
      Ftrl(weights, state, gradient, dim_, learning_rate, optimizer_);
      break;
  }
  if (optimizer_.max_norm == 0) return;
  const float norm = std::sqrt(SquaredNorm(weights, dim_));
  if (norm > optimizer_.max_norm) Scale(weights, dim_, optimizer_.max_norm / norm);
}

}  // namespace marquee
