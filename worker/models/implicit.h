#ifndef MARQUEE_WORKER_MODELS_IMPLICIT_H_
#define MARQUEE_WORKER_MODELS_IMPLICIT_H_

// Implicit feedback: a vector for a user from the items that the user has rated in the training rows,
//
//     |N|^-1/2 * (sum over j in N of y(j) [+ d(u, j) x(j)])
//
// as in SVD++ (Koren, "Factorization meets the neighborhood", KDD 2008) and, with ratings, Koren's asymmetric SVD. d(u, j) is
// what the rating says beyond its item and user (deviations.h). With `leave_out`, N is without the
// example's own item: what the model is asked in training is then what it is asked of new items.
//
// The sums are made once for each distinct user of a step, in both directions; what is left out is taken off for each example.
// A user without items gives zeros. Tables "implicit_movie_id" (y) and "implicit_ratings_movie_id" (x). Not thread-safe.

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "common/trial_config.h"
#include "dataset/dataset.h"
#include "dataset/split.h"
#include "worker/models/distinct.h"
#include "worker/models/tower.h"

namespace marquee {

// The items that each user has rated in the training rows, ascending, each once; and d(u, j) of each.
class RatedItems {
 public:
  RatedItems(const Dataset& data, const Split& split);

  absl::Span<const uint32_t> Items(uint32_t user) const { return Of(items_, user); }
  absl::Span<const float> Deviations(uint32_t user) const { return Of(deviations_, user); }

 private:
  template <typename T>
  absl::Span<const T> Of(const std::vector<T>& values, uint32_t user) const {
    return absl::MakeConstSpan(values).subspan(offsets_[user], offsets_[user + 1] - offsets_[user]);
  }

  std::vector<size_t> offsets_;
  std::vector<uint32_t> items_;
  std::vector<float> deviations_;
};

// One step's.
struct ImplicitInputs {
  size_t rows = 0;         // position of y in Step::rows
  size_t rating_rows = 0;  // of x
  // By distinct user: the rated items of user i are [offsets[i], offsets[i + 1]) of slots and deviations.
  std::vector<size_t> offsets = {0};
  std::vector<uint32_t> slots;
  std::vector<float> deviations;
  std::vector<float> sums;
  std::vector<float> gradients;  // of the sums
  // By example.
  std::vector<uint32_t> user_of;
  std::vector<size_t> left_out;  // index into slots, or kNone
  std::vector<float> scale;

  static constexpr size_t kNone = ~size_t{0};
};

class ImplicitFeedback {
 public:
  // Adds its tables to `tables`.
  ImplicitFeedback(const ImplicitConfig& config, const Tower::Options& options, size_t width, const Dataset& data,
                   const Split& split, std::vector<TableDefinition>& tables);

  ImplicitInputs Plan(const Entities& examples, float learning_rate, Step& step);
  void Begin(ImplicitInputs& inputs, const Step& step) const;
  // Adds an example's vector to `vector`.
  void Add(const ImplicitInputs& inputs, const Step& step, size_t example, float* vector) const;
  // The reverse, for `scale` times `gradient`; some of it reaches the step at Finish only.
  void Scatter(ImplicitInputs& inputs, size_t example, const float* gradient, float scale, Step& step) const;
  void Finish(const ImplicitInputs& inputs, Step& step) const;

 private:
  size_t PlanTable(size_t table, const std::vector<Id>& ids, float learning_rate, Step& step) const;

  ImplicitConfig config_;
  const Dataset& data_;
  size_t width_;
  size_t table_;
  RatedItems rated_;
  DistinctCodes users_;
  DistinctCodes items_;
};

}  // namespace marquee

#endif  // MARQUEE_WORKER_MODELS_IMPLICIT_H_
