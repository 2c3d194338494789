#ifndef MARQUEE_SERVING_RECOMMENDER_H_
#define MARQUEE_SERVING_RECOMMENDER_H_

// Movies for a user, from a kept model: what the model ranks first, the rating that it predicts, and what of the user's own
// movies speaks for each.
//
// A model with vectors of users and movies (two_tower, sequence, joint) finds movies through an index of them; any other is
// asked for every movie. What the model makes of movies is computed once. All of the user's ratings are known, those of the
// test part too.
//
// A guest is somebody who is not in the data and rates a few movies. A model whose query is made of histories is given these as
// the history; for any other a user's vector is fitted to them (serving/fold_in.h), and so are the factors of a rating.
//
// Once Make and PrepareForGuests have returned, several threads may ask at once. The model itself makes one user's vector (and
// explains one answer) at a time; all else, most of it, goes on side by side.

#include <algorithm>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "serving/fold_in.h"
#include "serving/kept_model.h"
#include "serving/movie_index.h"
#include "serving/predictor.h"
#include "worker/models/history.h"
#include "worker/models/inference.h"

namespace marquee {

// A movie that the user has rated.
struct Reason {
  uint32_t movie = 0;
  float rating = 0;
  float share = 0;  // of the score; or, where the model is not made of histories, how like the two movies' vectors are: -1 to 1
};

// What a movie has in common with those that speak for it.
struct Trait {
  std::string column;  // "movie_genres", "director", "star"
  std::string value;
  float share = 0;  // of what speaks for the movie, that of movies with this value: above 0, at most 1
};

struct Recommendation {
  uint32_t movie = 0;
  bool seen = false;            // the user has rated it
  std::optional<float> score;   // by which movies are ranked, where that is not the prediction
  std::optional<float> rating;  // predicted, 1 to 5
  std::optional<float> liked;   // predicted probability
  std::vector<Reason> reasons;  // the strongest first
  std::vector<Trait> traits;    // likewise
};

struct RecommendOptions {
  size_t count = 10;
  bool unseen = false;  // leave out what the user has rated
  size_t reasons = 3;   // at most so many
};

class Recommender {
 public:
  enum class Index { kExact, kApproximate };
  // What Reason::share is.
  enum class ReasonKind { kNone, kHistory, kLikeness };

  // `model` must outlive the recommender. FailedPrecondition for a model that neither ranks nor predicts, and for an
  // approximate index where there are no vectors.
  static absl::StatusOr<std::unique_ptr<Recommender>> Make(KeptModel& model, Index index = Index::kExact);

  // NotFound, naming the column, for a user who is not in the data, and for a movie that nobody in it has rated.
  absl::StatusOr<uint32_t> FindUser(std::string_view id) const;
  absl::StatusOr<uint32_t> FindMovie(std::string_view id) const;

  std::vector<Recommendation> Recommend(uint32_t user, const RecommendOptions& options) const;
  ReasonKind reason_kind() const { return reason_kind_; }

  // Once, before the first guest. FailedPrecondition, with the reason, for a model that can say nothing of guests.
  absl::Status PrepareForGuests();
  // `rated` are rated items, each once, in the order in which they were rated; they are never recommended.
  std::vector<Recommendation> RecommendToGuest(absl::Span<const GuestRating> rated, const RecommendOptions& options) const;
  ReasonKind guest_reason_kind() const;

  // From now on predictions are those of another model, for one that ranks movies and predicts nothing, or predicts worse. It
  // must outlive this one and be prepared for guests, if there are any. InvalidArgument for a model of other data, for one that
  // predicts neither ratings nor liking, and where this one ranks movies by its own predictions.
  absl::Status TakePredictionsOf(const Recommender& other);
  bool predicts() const;
  bool predicts_for_guests() const { return rater().rating_fold_in_.has_value(); }

  // The vector by whose product with movies' movies are ranked. Empty without vectors; a guest's needs PrepareForGuests.
  std::vector<float> VectorOf(uint32_t user) const { return PersonOf(user).query; }
  std::vector<float> GuestVectorOf(absl::Span<const GuestRating> rated) const { return GuestOf(rated).query; }

  // Of a movie. Without a column movie_title, its title is its key; without movie_genres, it has none.
  std::string TitleOf(uint32_t movie) const;
  std::vector<std::string> GenresOf(uint32_t movie) const;
  std::string KeyOf(uint32_t movie) const;

  // The share of the first `count` movies of the first `users` users that the index in use finds. Needs vectors.
  double IndexRecall(size_t users, size_t count) const;

  // What the user has rated: how many movies, and the best liked, the latest in the data file first among equals.
  std::string UserKeyOf(uint32_t user) const;
  size_t RatedBy(uint32_t user) const { return known_.size(user); }
  std::vector<Reason> BestLiked(uint32_t user, size_t count) const;

 private:
  // A user or a guest, as far as a question needs them.
  struct Person {
    std::vector<GuestRating> rated;  // in the order of HistoryShares
    std::vector<uint32_t> seen;      // ascending, each once
    std::unique_ptr<Step> step;      // of retrieval's query; not where it was fitted
    std::vector<float> query;
    std::optional<Predictor::User> rating;  // of rater()
    std::optional<FoldIn::Fitted> fitted;   // what ranks movies, if it was fitted
    ReasonKind reasons = ReasonKind::kNone;

    bool Saw(uint32_t movie) const { return std::binary_search(seen.begin(), seen.end(), movie); }
  };

  explicit Recommender(KeptModel& model);

  void UseVectors(Index index);
  void UseMovieFactors();
  const Recommender& rater() const { return rater_ != nullptr ? *rater_ : *this; }
  Predictor::User RatingOf(uint32_t user) const;
  FoldIn MakeFoldIn(const torch::Tensor& users, absl::Span<const float> movies, FoldIn::Wanted wanted, float constant) const;
  Person PersonOf(uint32_t user) const;
  Person GuestOf(absl::Span<const GuestRating> rated) const;
  void AddQuery(std::unique_ptr<Step> step, Person& to) const;  // under model_mutex_
  std::vector<Recommendation> RecommendTo(const Person& person, const RecommendOptions& options) const;
  std::vector<MovieScore> RankByVectors(const Person& person, const RecommendOptions& options) const;
  std::vector<MovieScore> RankByPredictions(const Person& person, const RecommendOptions& options) const;
  void AddPrediction(float prediction, Recommendation& to) const;
  void AddReasons(const Person& person, size_t count, std::vector<Recommendation>& to) const;
  // Of each movie: everything that speaks for it or against it.
  std::vector<std::vector<Reason>> AllReasons(const Person& person, const std::vector<Recommendation>& movies) const;
  std::vector<std::vector<float>> SharesOf(const Person& person, const std::vector<Recommendation>& movies) const;
  std::vector<Reason> ByLikeness(const Person& person, uint32_t movie) const;
  std::vector<Trait> TraitsOf(uint32_t movie, const std::vector<Reason>& reasons) const;

  KeptModel& model_;
  mutable std::mutex model_mutex_;  // for what retrieval_, rating_ and predictor_->Of are asked
  RetrievalInference* retrieval_;
  RatingInference* rating_;
  const History known_;         // everything that the split's parts have
  std::vector<float> vectors_;  // of movies, for the index and for likeness
  size_t width_ = 0;
  std::vector<float> seen_bias_;
  std::unique_ptr<MovieIndex> exact_;
  std::unique_ptr<MovieIndex> approximate_;  // where it is used
  ReasonKind reason_kind_ = ReasonKind::kNone;
  std::unique_ptr<Predictor> predictor_;                   // where there is a rating
  const Recommender* rater_ = nullptr;                     // whose predictions are used, if not the own ones
  std::optional<FoldIn> retrieval_fold_in_;                // for guests, where it is needed
  std::optional<FoldIn> rating_fold_in_;                   // likewise
  absl::flat_hash_map<std::string_view, uint32_t> users_;  // by key; texts are the data's
  absl::flat_hash_map<std::string_view, uint32_t> movies_;
};

}  // namespace marquee

#endif  // MARQUEE_SERVING_RECOMMENDER_H_
