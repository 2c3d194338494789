#ifndef MARQUEE_DATASET_RANDOM_H_
#define MARQUEE_DATASET_RANDOM_H_

// Random numbers that are the same with every standard library, whose own distributions are not. SplitMix64. Not thread-safe.

#include <cmath>
#include <cstdint>
#include <numbers>
#include <utility>
#include <vector>

#include "common/id.h"

namespace marquee {

class Random {
 public:
  explicit Random(uint64_t seed) : state_(MixId(seed)) {}

  uint64_t Next() { return MixId(state_ += 0x9e3779b97f4a7c15U); }

  // In (0, 1): never 0, so that its logarithm is finite.
  double Uniform() { return (static_cast<double>(Next() >> 12U) + 0.5) * 0x1.0p-52; }

  uint64_t Below(uint64_t limit) { return static_cast<uint64_t>(Uniform() * static_cast<double>(limit)); }

  // Mean 0, standard deviation 1 (Box and Muller).
  double Normal() { return std::sqrt(-2 * std::log(Uniform())) * std::cos(2 * std::numbers::pi * Uniform()); }

  double Exponential(double mean) { return -mean * std::log(Uniform()); }

  // Mean 0.577: the largest of `log(weight) + Gumbel()` draws an element in proportion to its weight.
  double Gumbel() { return -std::log(-std::log(Uniform())); }

  // An index, in proportion to its weight.
  template <typename Weights>
  size_t Choose(const Weights& weights) {
    double total = 0;
    for (const double weight : weights) total += weight;
    double left = Uniform() * total;
    size_t index = 0;
    while (index + 1 < weights.size() && left >= weights[index]) left -= weights[index++];
    return index;
  }

  template <typename T>
  void Shuffle(std::vector<T>& values) {
    for (size_t i = values.size(); i > 1; --i) std::swap(values[i - 1], values[Below(i)]);
  }

 private:
  uint64_t state_;
};

}  // namespace marquee

#endif  // MARQUEE_DATASET_RANDOM_H_
