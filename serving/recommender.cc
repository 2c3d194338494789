#include "serving/recommender.h"

#include <fmt/format.h>

#include <Eigen/Core>
#include <algorithm>
#include <cmath>
#include <numeric>

#include "absl/container/inlined_vector.h"
#include "absl/status/status.h"
#include "dataset/evaluation.h"

namespace marquee {
namespace {

constexpr auto kNow = Entities::For::kNow;
constexpr const char* kTraitColumns[] = {"movie_genres", "director", "star"};
constexpr size_t kUsersToFit = 20'000;     // whose vectors tell what users are like
constexpr size_t kRatingsToFit = 100'000;  // and how far their scores can be trusted
constexpr size_t kBlock = 1024;            // users that are asked about at once

std::vector<float> Values(const torch::Tensor& tensor) {
  const torch::Tensor flat = tensor.contiguous();
  return {flat.data_ptr<float>(), flat.data_ptr<float>() + flat.numel()};
}

std::vector<uint32_t> Movies(const KeptModel& model) {
  std::vector<uint32_t> movies(model.data().rated_items());
  std::iota(movies.begin(), movies.end(), 0U);
  return movies;
}

// A movie's values: none, one or, of genres, several.
absl::InlinedVector<uint32_t, 8> CodesOf(const Column& column, uint32_t movie) {
  if (column.type() == Column::Type::kIds) return {column.codes(movie).begin(), column.codes(movie).end()};
  if (column.type() != Column::Type::kId || column.code(movie) == kNullCode) return {};
  return {column.code(movie)};
}

// The first row of each key.
absl::flat_hash_map<std::string_view, uint32_t> KeysOf(const Column& key, size_t rows) {
  absl::flat_hash_map<std::string_view, uint32_t> keys;
  for (uint32_t row = 0; row < rows; ++row) {
    if (key.code(row) != kNullCode) keys.try_emplace(key.value(key.code(row)), row);
  }
  return keys;
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
      known_(model.data(), {&model.split().train, &model.split().validation, &model.split().test}) {
  if (rating_ != nullptr) predictor_ = std::make_unique<Predictor>(model_, *rating_);
  const Dataset& data = model_.data();
  users_ = KeysOf(data.user_key(), data.users());
  movies_ = KeysOf(data.item_key(), data.rated_items());
}

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

absl::Status Recommender::TakePredictionsOf(const Recommender& other) {
  const std::string& trial = other.model_.manifest().trial;
  if (other.model_.manifest().data_checksum != model_.manifest().data_checksum) {
    return absl::InvalidArgumentError(fmt::format("trial {}: was trained on other data ({}) than trial {} ({})", trial,
                                                  other.model_.data().name(), model_.manifest().trial, model_.data().name()));
  }
  if (other.rating_ == nullptr || other.rating_->meaning() == RatingInference::Meaning::kScore) {
    return absl::InvalidArgumentError(
        fmt::format("trial {}: its kind of model predicts no ratings; give one of kind ranking, dcn or joint", trial));
  }
  if (retrieval_ == nullptr) {
    return absl::InvalidArgumentError(fmt::format(
        "trial {}: ranks movies by what it predicts itself; give a model of kind two_tower, sequence or joint in its place",
        model_.manifest().trial));
  }
  rater_ = &other;
  return absl::OkStatus();
}

bool Recommender::predicts() const {
  return rater().rating_ != nullptr && rater().rating_->meaning() != RatingInference::Meaning::kScore;
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
  if (!retrieval_->HistoryShares(*step, 0, {0U}).empty()) reason_kind_ = ReasonKind::kHistory;
}

// What the model makes of movies: factors, or else what its layers are given of them.
void Recommender::UseMovieFactors() {
  const torch::Tensor vectors = predictor_->MovieVectors();
  if (!vectors.defined() || vectors.size(1) == 0) return;
  width_ = static_cast<size_t>(vectors.size(1));
  vectors_ = Values(vectors);
  reason_kind_ = ReasonKind::kLikeness;
}

absl::StatusOr<uint32_t> Recommender::FindUser(std::string_view id) const {
  if (const auto found = users_.find(id); found != users_.end()) return found->second;
  return absl::NotFoundError(fmt::format("{} {}: not among the {} users of {}", model_.data().user_key().name(), id,
                                         model_.data().users(), model_.data().name()));
}

absl::StatusOr<uint32_t> Recommender::FindMovie(std::string_view id) const {
  if (const auto found = movies_.find(id); found != movies_.end()) return found->second;
  return absl::NotFoundError(fmt::format("{} {}: not among the {} rated movies of {}", model_.data().item_key().name(), id,
                                         model_.data().rated_items(), model_.data().name()));
}

Recommender::Person Recommender::PersonOf(uint32_t user) const {
  Person person;
  for (const uint32_t interaction : known_.Of(user)) {
    person.rated.push_back({model_.data().item_of()[interaction], model_.data().label()[interaction]});
    if (person.seen.empty() || person.seen.back() != person.rated.back().item) person.seen.push_back(person.rated.back().item);
  }
  person.reasons = reason_kind_;
  if (retrieval_ != nullptr) {
    const std::lock_guard<std::mutex> lock(model_mutex_);
    AddQuery(retrieval_->PlanUsers({user}, kNow), person);
  }
  if (rater().predictor_ != nullptr) person.rating = rater().RatingOf(user);
  return person;
}

Predictor::User Recommender::RatingOf(uint32_t user) const {
  const std::lock_guard<std::mutex> lock(model_mutex_);
  return predictor_->Of(user);
}

Recommender::Person Recommender::GuestOf(absl::Span<const GuestRating> rated) const {
  Person guest;
  guest.rated.assign(rated.begin(), rated.end());
  for (const GuestRating& one : rated) guest.seen.push_back(one.item);
  std::sort(guest.seen.begin(), guest.seen.end());
  if (retrieval_fold_in_.has_value()) {
    guest.fitted = retrieval_fold_in_->Fit(rated);
    guest.query.assign(guest.fitted->vector.data(), guest.fitted->vector.data() + guest.fitted->vector.size());
  } else if (retrieval_ != nullptr) {
    const std::lock_guard<std::mutex> lock(model_mutex_);
    AddQuery(retrieval_->PlanGuest(rated), guest);
  }
  if (rater().rating_fold_in_.has_value()) {
    FoldIn::Fitted factors = rater().rating_fold_in_->Fit(rated);
    const torch::Tensor row = torch::empty({1, factors.vector.size()});
    std::copy_n(factors.vector.data(), factors.vector.size(), row.data_ptr<float>());
    guest.rating = Predictor::User{row, {}};
    if (retrieval_ == nullptr) guest.fitted = std::move(factors);
  }
  guest.reasons = guest_reason_kind();
  return guest;
}

// What is fitted to the ratings is made of them.
Recommender::ReasonKind Recommender::guest_reason_kind() const {
  const bool fitted = retrieval_fold_in_.has_value() || (retrieval_ == nullptr && rating_fold_in_.has_value());
  return fitted ? ReasonKind::kHistory : reason_kind_;
}

void Recommender::AddQuery(std::unique_ptr<Step> step, Person& to) const {
  const torch::NoGradGuard no_grad;
  model_.Fill(*step);
  to.query = Values(retrieval_->UserVectors(*step));
  to.step = std::move(step);
}

std::vector<MovieScore> Recommender::RankByVectors(const Person& person, const RecommendOptions& options) const {
  const MovieIndex& index = approximate_ != nullptr ? *approximate_ : *exact_;
  // Enough to fill the list when what the user has rated is left out or takes other places.
  std::vector<MovieScore> found = index.Search(person.query, options.count + person.seen.size());
  found.erase(std::remove_if(found.begin(), found.end(), [&](const MovieScore& m) { return person.Saw(m.movie); }),
              found.end());
  if (!options.unseen) {
    for (const uint32_t movie : person.seen) {
      const auto width = static_cast<Eigen::Index>(width_);
      const float score = Eigen::Map<const Eigen::VectorXf>(person.query.data(), width)
                              .dot(Eigen::Map<const Eigen::VectorXf>(vectors_.data() + movie * width_, width));
      found.push_back({movie, score + (seen_bias_.empty() ? 0.0F : seen_bias_[movie])});
    }
  }
  KeepBest(options.count, found);
  return found;
}

std::vector<MovieScore> Recommender::RankByPredictions(const Person& person, const RecommendOptions& options) const {
  std::vector<uint32_t> movies;
  for (const uint32_t movie : Movies(model_)) {
    if (!options.unseen || !person.Saw(movie)) movies.push_back(movie);
  }
  const std::vector<float> predictions = predictor_->Predict(*person.rating, movies);
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

std::vector<Recommendation> Recommender::Recommend(uint32_t user, const RecommendOptions& options) const {
  return RecommendTo(PersonOf(user), options);
}

std::vector<Recommendation> Recommender::RecommendToGuest(absl::Span<const GuestRating> rated,
                                                          const RecommendOptions& options) const {
  RecommendOptions unseen = options;
  unseen.unseen = true;
  return RecommendTo(GuestOf(rated), unseen);
}

std::vector<Recommendation> Recommender::RecommendTo(const Person& person, const RecommendOptions& options) const {
  const std::vector<MovieScore> ranked =
      retrieval_ != nullptr ? RankByVectors(person, options) : RankByPredictions(person, options);
  std::vector<Recommendation> recommendations;
  std::vector<uint32_t> movies;
  for (const MovieScore& movie : ranked) {
    Recommendation& recommendation = recommendations.emplace_back();
    recommendation.movie = movie.movie;
    recommendation.seen = person.Saw(movie.movie);
    if (retrieval_ != nullptr) recommendation.score = movie.score;
    movies.push_back(movie.movie);
  }
  if (person.rating.has_value()) {
    const std::vector<float> predictions = rater().predictor_->Predict(*person.rating, movies);
    for (size_t i = 0; i < movies.size(); ++i) rater().AddPrediction(predictions[i], recommendations[i]);
  }
  if (options.reasons > 0) AddReasons(person, options.reasons, recommendations);
  return recommendations;
}

// ---------------------------------------------------------------------------------------------------------- guests

absl::Status Recommender::PrepareForGuests() {
  const size_t users = std::min(model_.data().users(), kUsersToFit);
  if (retrieval_ != nullptr && retrieval_->PlanGuest({}) == nullptr) {
    std::vector<torch::Tensor> vectors;
    const torch::NoGradGuard no_grad;
    for (size_t begin = 0; begin < users; begin += kBlock) {
      std::vector<uint32_t> block(std::min(users - begin, kBlock));
      std::iota(block.begin(), block.end(), static_cast<uint32_t>(begin));
      const std::unique_ptr<Step> step = retrieval_->PlanUsers(block, kNow);
      model_.Fill(*step);
      vectors.push_back(retrieval_->UserVectors(*step));
    }
    retrieval_fold_in_ = MakeFoldIn(torch::cat(vectors, 0), vectors_, FoldIn::Wanted::kScore, 0);
  }
  const bool fits_ratings = predictor_ != nullptr && predictor_->only_factors();
  const bool of_stars = fits_ratings && rating_->meaning() == RatingInference::Meaning::kRating;
  if (of_stars || (fits_ratings && retrieval_ == nullptr)) {
    rating_fold_in_ =
        MakeFoldIn(predictor_->FactorsOfUsers(users), Values(predictor_->MovieVectors()),
                   of_stars ? FoldIn::Wanted::kRating : FoldIn::Wanted::kScore, static_cast<float>(predictor_->constant()));
  }
  if (retrieval_ != nullptr || rating_fold_in_.has_value()) return absl::OkStatus();
  return absl::FailedPreconditionError(
      fmt::format("trial {}: its layers take what they have learnt of each user, which cannot be fitted to a few ratings; ask "
                  "for a user of "
                  "the data, or serve a model of kind two_tower, sequence or joint",
                  model_.manifest().trial));
}

// Ratings that the model has not learnt from say best how far its scores can be trusted.
FoldIn Recommender::MakeFoldIn(const torch::Tensor& users, absl::Span<const float> movies, FoldIn::Wanted wanted,
                               float constant) const {
  const Split& split = model_.split();
  std::vector<FoldIn::Example> examples;
  for (const std::vector<uint32_t>* part : {&split.validation, &split.test, &split.train}) {
    if (!examples.empty()) break;
    const size_t stride = std::max<size_t>(part->size() / kRatingsToFit, 1);
    for (size_t i = 0; i < part->size(); i += stride) {
      const uint32_t interaction = (*part)[i];
      const uint32_t user = model_.data().user_of()[interaction];
      if (user >= users.size(0)) continue;
      examples.push_back({user, model_.data().item_of()[interaction], model_.data().label()[interaction]});
    }
  }
  return FoldIn(Values(users), movies, static_cast<size_t>(users.size(1)), examples, wanted, constant);
}

// --------------------------------------------------------------------------------------------------------- reasons

void Recommender::AddReasons(const Person& person, size_t count, std::vector<Recommendation>& to) const {
  if (person.reasons == ReasonKind::kNone || to.empty()) return;
  std::vector<std::vector<Reason>> all = AllReasons(person, to);
  for (size_t i = 0; i < to.size(); ++i) {
    std::vector<Reason>& reasons = all[i];
    reasons.erase(std::remove_if(reasons.begin(), reasons.end(),
                                 [&](const Reason& r) { return r.movie == to[i].movie || !(r.share > 0); }),
                  reasons.end());
    std::stable_sort(reasons.begin(), reasons.end(), [](const Reason& a, const Reason& b) { return a.share > b.share; });
    to[i].traits = TraitsOf(to[i].movie, reasons);
    if (reasons.size() > count) reasons.resize(count);
    to[i].reasons = std::move(reasons);
  }
}

std::vector<std::vector<Reason>> Recommender::AllReasons(const Person& person,
                                                         const std::vector<Recommendation>& movies) const {
  std::vector<std::vector<Reason>> reasons(movies.size());
  if (person.reasons == ReasonKind::kLikeness) {
    for (size_t i = 0; i < movies.size(); ++i) reasons[i] = ByLikeness(person, movies[i].movie);
    return reasons;
  }
  const std::vector<std::vector<float>> shares = SharesOf(person, movies);
  for (size_t i = 0; i < movies.size(); ++i) {
    for (size_t j = 0; j < shares[i].size(); ++j) {
      reasons[i].push_back({person.rated[j].item, person.rated[j].rating, shares[i][j]});
    }
  }
  return reasons;
}

std::vector<std::vector<float>> Recommender::SharesOf(const Person& person, const std::vector<Recommendation>& movies) const {
  std::vector<uint32_t> items;
  for (const Recommendation& movie : movies) items.push_back(movie.movie);
  if (!person.fitted.has_value()) {
    const std::lock_guard<std::mutex> lock(model_mutex_);
    return retrieval_->HistoryShares(*person.step, 0, items);
  }
  const FoldIn& fold_in = retrieval_ != nullptr ? *retrieval_fold_in_ : *rating_fold_in_;
  std::vector<std::vector<float>> shares;
  for (const uint32_t item : items) shares.push_back(fold_in.Shares(*person.fitted, item));
  return shares;
}

// Only movies that the user has rated no lower than their mean speak for another.
std::vector<Reason> Recommender::ByLikeness(const Person& person, uint32_t movie) const {
  double sum = 0;
  for (const GuestRating& one : person.rated) sum += one.rating;
  const double mean = sum / static_cast<double>(std::max<size_t>(person.rated.size(), 1));
  const auto vector = [&](uint32_t of) {
    return Eigen::Map<const Eigen::VectorXf>(vectors_.data() + of * width_, static_cast<Eigen::Index>(width_));
  };
  const float length = vector(movie).norm();
  std::vector<Reason> reasons;
  for (const GuestRating& one : person.rated) {
    if (one.rating < mean) continue;
    const float lengths = length * vector(one.item).norm();
    if (lengths > 0) reasons.push_back({one.item, one.rating, vector(movie).dot(vector(one.item)) / lengths});
  }
  return reasons;
}

std::vector<Trait> Recommender::TraitsOf(uint32_t movie, const std::vector<Reason>& reasons) const {
  float all = 0;
  for (const Reason& reason : reasons) all += reason.share;
  std::vector<Trait> traits;
  for (const char* name : kTraitColumns) {
    const Column* column = model_.data().column(name);
    if (column == nullptr || column->level() != Column::Level::kItem) continue;
    const absl::InlinedVector<uint32_t, 8> values = CodesOf(*column, movie);
    absl::InlinedVector<float, 8> shares(values.size(), 0.0F);
    for (const Reason& reason : reasons) {  // of which there may be thousands
      for (const uint32_t code : CodesOf(*column, reason.movie)) {
        const auto found = std::find(values.begin(), values.end(), code);
        if (found != values.end()) shares[static_cast<size_t>(found - values.begin())] += reason.share;
      }
    }
    for (size_t i = 0; i < values.size(); ++i) {
      if (shares[i] > 0) traits.push_back({name, std::string(column->value(values[i])), std::min(shares[i] / all, 1.0F)});
    }
  }
  std::stable_sort(traits.begin(), traits.end(), [](const Trait& a, const Trait& b) { return a.share > b.share; });
  return traits;
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

double Recommender::IndexRecall(size_t users, size_t count) const {
  if (approximate_ == nullptr) return 1.0;
  const std::lock_guard<std::mutex> lock(model_mutex_);
  std::vector<uint32_t> asked(std::min(users, model_.data().users()));
  std::iota(asked.begin(), asked.end(), 0U);
  const std::unique_ptr<Step> step = retrieval_->PlanUsers(asked, kNow);
  model_.Fill(*step);
  return Recall(*approximate_, *exact_, Values(retrieval_->UserVectors(*step)), width_, count);
}

}  // namespace marquee
