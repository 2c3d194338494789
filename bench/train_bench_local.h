#ifndef MARQUEE_BENCH_TRAIN_BENCH_LOCAL_H_
#define MARQUEE_BENCH_TRAIN_BENCH_LOCAL_H_

// The yardstick of train_bench: the same model, batch and optimizer in one process on plain LibTorch, with
// torch::nn::Embedding, torch::nn::Linear and torch::optim, as one would write it without a parameter server. Gradients of
// embeddings are dense or sparse, whichever the caller asks for; the faster of the two is the yardstick. Where LibTorch has no
// match for ours, the in-batch softmax over distinct candidates, it uses ours: the comparison is about the rows, not about the
// loss.
//
// Takes id and ids features, and SGD and Adagrad; refuses others. Not thread-safe.

#include <memory>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/trial_config.h"
#include "dataset/dataset.h"
#include "dataset/split.h"

namespace marquee {

class LocalTrainer {
 public:
  // `data` and `split` must outlive the trainer.
  static absl::StatusOr<std::unique_ptr<LocalTrainer>> Make(const TrialConfig& config, const Dataset& data, const Split& split,
                                                            bool sparse_gradients);
  virtual ~LocalTrainer() = default;

  // One step: forward, backward, update. Returns the sum of the examples' losses.
  virtual double Train(absl::Span<const uint32_t> examples) = 0;
};

// Trains batches in a pseudo-random order for at least `seconds`, after a few to warm up; the better of dense and sparse
// gradients.
absl::StatusOr<double> LocalExamplesPerSecond(const TrialConfig& config, const Dataset& data, const Split& split,
                                              double seconds);

}  // namespace marquee

#endif  // MARQUEE_BENCH_TRAIN_BENCH_LOCAL_H_
