#ifndef MARQUEE_PS_OPTIMIZER_H_
#define MARQUEE_PS_OPTIMIZER_H_

// Updates one row by one gradient. docs/configuration.md gives the formulas.
//
// The gradient is first scaled down to `clip_norm`, then l2 x weight is added, then the optimizer's own rule applies, and last
// the weights are scaled down to `max_norm`. An update depends on row, gradient and learning rate alone: what a rule needs to
// remember (accumulators, Adam's step count) is the row's state.
//
// Plain loops and not Eigen maps: Eigen sums in an order that depends on a row's address, and equal pushes must give equal
// bits on every shard. Not thread-safe (it has scratch space).

#include <cstdint>
#include <vector>

#include "common/table.h"

namespace marquee {

class RowUpdater {
 public:
  RowUpdater(const Optimizer& optimizer, uint32_t dim);

  // The state of a row that was never pushed.
  void InitializeState(float* state) const;

  // `learning_rate` is finite and at least 0; `gradient` is finite.
  void Update(float* weights, float* state, const float* gradient, float learning_rate);

 private:
  const float* Adjusted(const float* weights, const float* gradient);

  Optimizer optimizer_;
  uint32_t dim_;
  uint32_t state_width_;
  std::vector<float> scratch_;
};

}  // namespace marquee

#endif  // MARQUEE_PS_OPTIMIZER_H_
