#ifndef MARQUEE_WORKER_MODELS_INFERENCE_H_
#define MARQUEE_WORKER_MODELS_INFERENCE_H_

// What a trained model says of users and movies that need not have met, and the parts that it is made of: for programs that use
// a kept model. Training needs none of it.
//
// All of it is of the state that Model::BeginEvaluation has begun, and goes the same way: plan, fill the rows, ask. Tensors are
// on the CPU. Not thread-safe.

#include <torch/torch.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "worker/models/feature.h"
#include "worker/models/model.h"

namespace marquee {

// Ranks movies: by the product of a user's and a movie's vector.
class RetrievalInference {
 public:
  virtual ~RetrievalInference() = default;

  // `purpose` is kTest (known is what was known when the test part was read) or kNow (all ratings are).
  virtual std::unique_ptr<Step> PlanUsers(absl::Span<const uint32_t> users, Entities::For purpose) = 0;
  // Likewise of one user who is not in the data, all else about them unknown; ratings are in the order in which they were
  // given. Null for a model that makes nothing of what users have rated.
  virtual std::unique_ptr<Step> PlanGuest(absl::Span<const GuestRating> /*rated*/) { return nullptr; }
  // What the model's layers are given of the planned users, and of all rated items: each a row of every tensor. And the vectors
  // that they make of such rows.
  virtual std::vector<torch::Tensor> UserInputs(Step& filled) = 0;
  virtual torch::Tensor EncodeUsers(const std::vector<torch::Tensor>& inputs) const = 0;
  virtual std::vector<torch::Tensor> MovieInputs() const = 0;
  virtual torch::Tensor EncodeMovies(const std::vector<torch::Tensor>& inputs) const = 0;
  virtual torch::Tensor SeenBias() const { return {}; }  // [rated items], added for what a user has rated; or undefined

  torch::Tensor UserVectors(Step& filled) { return EncodeUsers(UserInputs(filled)); }  // [users, d]
  torch::Tensor MovieVectors() const { return EncodeMovies(MovieInputs()); }           // [rated items, d]

  // For each of `items`, how much each movie of a user's history adds to its score, to first order: in the order of History::Of
  // (kNow or kTest, as planned), or of a guest's ratings. Empty for a model that is not made of histories. `user` is a position
  // in the plan.
  virtual std::vector<std::vector<float>> HistoryShares(Step& /*filled*/, size_t /*user*/,
                                                        absl::Span<const uint32_t> /*items*/) {
    return {};
  }
};

// Predicts what a user would say of a movie.
class RatingInference {
 public:
  enum class Meaning {
    kRating,   // a number of stars
    kLogOdds,  // of liking it
    kScore,    // the higher the better, and no more than that
  };
  virtual ~RatingInference() = default;

  virtual Meaning meaning() const = 0;
  // Of pairs (users[i], items[i]); columns of interactions are null.
  virtual std::unique_ptr<Step> PlanPairs(absl::Span<const uint32_t> users, absl::Span<const uint32_t> items,
                                          Entities::For purpose) = 0;
  virtual std::vector<float> Predict(Step& filled) = 0;

  // The same, taken apart into what hangs on the user alone and on the movie alone:
  //
  //     prediction = constant + users[u] . movies[m] + the sum over parts of weight x part(users[u], movies[m], context)
  //
  // A row for each planned pair: users' rows are right whatever movie stands beside them, and the reverse.
  struct Sides {
    torch::Tensor users;
    torch::Tensor movies;
  };
  struct Decomposition {
    double constant = 0;
    Sides factors;                        // [pairs, d]; undefined: there are none
    std::vector<Sides> parts;             // inputs of each of parts()
    std::vector<torch::Tensor> contexts;  // likewise, [1, n]: those of interactions, all null
  };
  virtual Decomposition Decompose(Step& filled) = 0;

  // A function of (users, movies, context), each [pairs, n], that gives [pairs, 1].
  struct Part {
    std::string name;
    double weight = 1;
    std::function<torch::Tensor(const std::vector<torch::Tensor>&)> function;
  };
  virtual std::vector<Part> parts() const = 0;
};

}  // namespace marquee

#endif  // MARQUEE_WORKER_MODELS_INFERENCE_H_
