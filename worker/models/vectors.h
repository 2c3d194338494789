#ifndef MARQUEE_WORKER_MODELS_VECTORS_H_
#define MARQUEE_WORKER_MODELS_VECTORS_H_

// Sums and products of short rows of floats. Compilers turn them into vector instructions.

#include <Eigen/Core>
#include <cstddef>

namespace marquee {

inline void AddScaled(const float* __restrict from, float scale, size_t count, float* __restrict to) {
  for (size_t i = 0; i < count; ++i) to[i] += scale * from[i];
}

inline float Product(const float* a, const float* b, size_t count) {
  const auto size = static_cast<Eigen::Index>(count);
  return Eigen::Map<const Eigen::VectorXf>(a, size).dot(Eigen::Map<const Eigen::VectorXf>(b, size));
}

}  // namespace marquee

#endif  // MARQUEE_WORKER_MODELS_VECTORS_H_
