#include "serving/recommender.h"

#include <fmt/format.h>

#include <Eigen/Core>
#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "absl/status/status.h"
#include "dataset/evaluation.h"

namespace marquee {
namespace {

constexpr auto kNow = Entities::For::kNow;

std::vector<float> Values(const torch::Tensor& tensor) {
  const torch::Tensor flat = tensor.contiguous();
  return {flat.data_ptr<float>(), flat.data_ptr<float>() + flat.numel()};
}

std::vector<uint32_t> Movies(const KeptModel& model) {
  std::vector<uint32_t> movies(model.data().rated_items());
  std::iota(movies.begin(), movies.end(), 0U);
  return movies;
}

void KeepBest(size_t count, std::vector<MovieScore>& movies) {
  std::sort(movies.begin(), movies.end(), RanksBefore);
  if (movies.size() > count) movies.resize(count);
}

}  // namespace

Recommender::Recommender(KeptModel& model)
    : model_(model),
      retrieval_(model.model().retrieval()),
      rating_(model.model().rating()),
      known_(model.data(), {&model.split().train, &model.split().validation, &model.split().test}) {}

absl::StatusOr<std::unique_ptr<Recommender>> Recommender::Make(KeptModel& model, Index index) {
  std::unique_ptr<Recommender> recommender(new Recommender(model));
  if (recommender->retrieval_ != nullptr) {
    recommender->UseVectors(index);
  } else if (index == Index::kApproximate) {
    return absl::FailedPreconditionError(fmt::format(
        "trial {}: its kind of model predicts ratings and has no vectors for an approximate index; it asks for every movie",
        model.manifest().trial));
  } else if (recommender->rating_ != nullptr) {
    recommender->UseMovieFactors();
  } else {
    return absl::FailedPreconditionError(
        fmt::format("trial {}: its kind of model neither ranks movies nor predicts ratings", model.manifest().trial));
  }
  return recommender;
}

void Recommender::UseVectors(Index index) {
  const torch::Tensor vectors = retrieval_->MovieVectors();
  width_ = static_cast<size_t>(vectors.size(1));
  vectors_ = Values(vectors);
  if (const torch::Tensor bias = retrieval_->SeenBias(); bias.defined()) seen_bias_ = Values(bias);
  exact_ = MakeExactIndex(vectors_, width_);
  if (index == Index::kApproximate) approximate_ = MakeApproximateIndex(vectors_, width_);
  reason_kind_ = ReasonKind::kLikeness;
  const std::unique_ptr<Step> step = retrieval_->PlanUsers({0}, kNow);
  model_.Fill(*step);
  if (known_.size(0) > 0 && !retrieval_->HistoryShares(*step, 0, 0).empty()) reason_kind_ = ReasonKind::kHistory;
}

// What the model makes of movies: factors, or else what its layers are given of them.
void Recommender::UseMovieFactors() {
  const std::vector<uint32_t> movies = Movies(model_);
  const std::unique_ptr<Step> step = rating_->PlanPairs(std::vector<uint32_t>(movies.size(), 0), movies, kNow);
  model_.Fill(*step);
  const RatingInference::Decomposition decomposition = rating_->Decompose(*step);
  torch::Tensor vectors = decomposition.factors.movies;
  if (!vectors.defined() && !decomposition.parts.empty()) vectors = decomposition.parts.front().movies;
  if (!vectors.defined() || vectors.size(1) == 0) return;
  width_ = static_cast<size_t>(vectors.size(1));
  vectors_ = Values(vectors);
  reason_kind_ = ReasonKind::kLikeness;
}

absl::StatusOr<uint32_t> Recommender::FindUser(const std::string& id) const {
  const Column& key = model_.data().user_key();
  for (uint32_t user = 0; user < model_.data().users(); ++user) {
    if (key.code(user) != kNullCode && key.value(key.code(user)) == id) return user;
  }
  return absl::NotFoundError(
      fmt::format("{} {}: not among the {} users of {}", key.name(), id, model_.data().users(), model_.data().name()));
}

bool Recommender::Seen(uint32_t user, uint32_t movie) const {
  const absl::Span<const uint32_t> item_of = model_.data().item_of();
  const absl::Span<const uint32_t> rated = known_.Of(user);
  const auto* const found = std::partition_point(rated.begin(), rated.end(), [&](uint32_t i) { return item_of[i] < movie; });
  return found != rated.end() && item_of[*found] == movie;
}

std::vector<MovieScore> Recommender::RankByVectors(uint32_t user, const RecommendOptions& options) {
  const std::unique_ptr<Step> step = retrieval_->PlanUsers({user}, kNow);
  model_.Fill(*step);
  const std::vector<float> query = Values(retrieval_->UserVectors(*step));
  const MovieIndex& index = approximate_ != nullptr ? *approximate_ : *exact_;
  // Enough to fill the list when what the user has rated is left out or takes other places.
  std::vector<MovieScore> found = index.Search(query, options.count + known_.size(user));
  found.erase(std::remove_if(found.begin(), found.end(), [&](const MovieScore& m) { return Seen(user, m.movie); }),
              found.end());
  if (!options.unseen) {
    uint32_t last = UINT32_MAX;
    for (const uint32_t interaction : known_.Of(user)) {
      const uint32_t movie = model_.data().item_of()[interaction];
      if (movie == std::exchange(last, movie)) continue;
      const auto width = static_cast<Eigen::Index>(width_);
      const float score = Eigen::Map<const Eigen::VectorXf>(query.data(), width)
                              .dot(Eigen::Map<const Eigen::VectorXf>(vectors_.data() + movie * width_, width));
      found.push_back({movie, score + (seen_bias_.empty() ? 0.0F : seen_bias_[movie])});
    }
  }
  KeepBest(options.count, found);
  return found;
}

std::vector<float> Recommender::Predictions(uint32_t user, absl::Span<const uint32_t> movies) {
  const std::unique_ptr<Step> step = rating_->PlanPairs(std::vector<uint32_t>(movies.size(), user), movies, kNow);
  model_.Fill(*step);
  return rating_->Predict(*step);
}

std::vector<MovieScore> Recommender::RankByPredictions(uint32_t user, const RecommendOptions& options) {
  std::vector<uint32_t> movies;
  for (const uint32_t movie : Movies(model_)) {
    if (!options.unseen || !Seen(user, movie)) movies.push_back(movie);
  }
  const std::vector<float> predictions = Predictions(user, movies);
  std::vector<MovieScore> ranked;
  for (size_t i = 0; i < movies.size(); ++i) ranked.push_back({movies[i], predictions[i]});
  KeepBest(options.count, ranked);
  return ranked;
}

void Recommender::AddPrediction(float prediction, Recommendation& to) const {
  switch (rating_->meaning()) {
    case RatingInference::Meaning::kRating:
      to.rating = std::clamp(prediction, kLowestRating, kHighestRating);
      break;
    case RatingInference::Meaning::kLogOdds:
      to.liked = 1 / (1 + std::exp(-prediction));
      break;
    case RatingInference::Meaning::kScore:
      to.score = prediction;
      break;
  }
}

std::vector<Recommendation> Recommender::Recommend(uint32_t user, const RecommendOptions& options) {
  const std::vector<MovieScore> ranked =
      retrieval_ != nullptr ? RankByVectors(user, options) : RankByPredictions(user, options);
  std::vector<Recommendation> recommendations;
  for (const MovieScore& movie : ranked) {
    Recommendation& recommendation = recommendations.emplace_back();
    recommendation.movie = movie.movie;
    recommendation.seen = Seen(user, movie.movie);
    if (retrieval_ != nullptr) {
      recommendation.score = movie.score;
    } else {
      AddPrediction(movie.score, recommendation);
    }
  }
  if (retrieval_ != nullptr && rating_ != nullptr) {
    std::vector<uint32_t> movies;
    for (const MovieScore& movie : ranked) movies.push_back(movie.movie);
    const std::vector<float> predictions = Predictions(user, movies);
    for (size_t i = 0; i < movies.size(); ++i) AddPrediction(predictions[i], recommendations[i]);
  }
  if (options.reasons > 0) AddReasons(user, options.reasons, recommendations);
  return recommendations;
}

void Recommender::AddReasons(uint32_t user, size_t count, std::vector<Recommendation>& to) {
  if (reason_kind_ == ReasonKind::kNone) return;
  std::unique_ptr<Step> step;
  if (reason_kind_ == ReasonKind::kHistory) {
    step = retrieval_->PlanUsers({user}, kNow);
    model_.Fill(*step);
  }
  for (Recommendation& recommendation : to) {
    std::vector<Reason> reasons;
    if (reason_kind_ == ReasonKind::kHistory) {
      const std::vector<float> shares = retrieval_->HistoryShares(*step, 0, recommendation.movie);
      for (size_t i = 0; i < shares.size(); ++i) {
        const uint32_t interaction = known_.Of(user)[i];
        reasons.push_back({model_.data().item_of()[interaction], model_.data().label()[interaction], shares[i]});
      }
    } else {
      reasons = ByLikeness(user, recommendation.movie);
    }
    reasons.erase(std::remove_if(reasons.begin(), reasons.end(),
                                 [&](const Reason& r) { return r.movie == recommendation.movie || !(r.share > 0); }),
                  reasons.end());
    std::stable_sort(reasons.begin(), reasons.end(), [](const Reason& a, const Reason& b) { return a.share > b.share; });
    if (reasons.size() > count) reasons.resize(count);
    recommendation.reasons = std::move(reasons);
  }
}

// Only movies that the user has rated no lower than their mean speak for another.
std::vector<Reason> Recommender::ByLikeness(uint32_t user, uint32_t movie) const {
  const absl::Span<const uint32_t> rated = known_.Of(user);
  double sum = 0;
  for (const uint32_t interaction : rated) sum += model_.data().label()[interaction];
  const double mean = sum / static_cast<double>(std::max<size_t>(rated.size(), 1));
  const auto vector = [&](uint32_t of) {
    return Eigen::Map<const Eigen::VectorXf>(vectors_.data() + of * width_, static_cast<Eigen::Index>(width_));
  };
  std::vector<Reason> reasons;
  for (const uint32_t interaction : rated) {
    const float rating = model_.data().label()[interaction];
    if (rating < mean) continue;
    const uint32_t other = model_.data().item_of()[interaction];
    const float lengths = vector(movie).norm() * vector(other).norm();
    if (lengths > 0) reasons.push_back({other, rating, vector(movie).dot(vector(other)) / lengths});
  }
  return reasons;
}

std::string Recommender::KeyOf(uint32_t movie) const {
  const Column& key = model_.data().item_key();
  return key.code(movie) == kNullCode ? "" : std::string(key.value(key.code(movie)));
}

std::string Recommender::TitleOf(uint32_t movie) const {
  const Column* title = model_.data().column("movie_title");
  if (title == nullptr || title->type() != Column::Type::kId || title->code(movie) == kNullCode) return KeyOf(movie);
  return std::string(title->value(title->code(movie)));
}

std::vector<std::string> Recommender::GenresOf(uint32_t movie) const {
  const Column* genres = model_.data().column("movie_genres");
  if (genres == nullptr || genres->type() != Column::Type::kIds) return {};
  std::vector<std::string> names;
  for (const uint32_t code : genres->codes(movie)) names.emplace_back(genres->value(code));
  return names;
}

std::string Recommender::UserKeyOf(uint32_t user) const {
  const Column& key = model_.data().user_key();
  return key.code(user) == kNullCode ? "" : std::string(key.value(key.code(user)));
}

std::vector<Reason> Recommender::BestLiked(uint32_t user, size_t count) const {
  std::vector<uint32_t> rated(known_.Of(user).begin(), known_.Of(user).end());
  const absl::Span<const float> label = model_.data().label();
  std::sort(rated.begin(), rated.end(),
            [&](uint32_t a, uint32_t b) { return label[a] != label[b] ? label[a] > label[b] : a > b; });
  if (rated.size() > count) rated.resize(count);
  std::vector<Reason> best;
  for (const uint32_t interaction : rated) best.push_back({model_.data().item_of()[interaction], label[interaction], 0.0F});
  return best;
}

double Recommender::IndexRecall(size_t users, size_t count) {
  if (approximate_ == nullptr) return 1.0;
  std::vector<uint32_t> asked(std::min(users, model_.data().users()));
  std::iota(asked.begin(), asked.end(), 0U);
  const std::unique_ptr<Step> step = retrieval_->PlanUsers(asked, kNow);
  model_.Fill(*step);
  return Recall(*approximate_, *exact_, Values(retrieval_->UserVectors(*step)), width_, count);
}

}  // namespace marquee
