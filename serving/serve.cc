#include "serving/serve.h"

#include <fmt/format.h>

#include <cstdio>
#include <utility>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "common/log.h"
#include "common/metrics.h"
#include "common/program.h"
#include "common/web_access.h"
#include "serving/movie_page.h"
#include "worker/models/compute_device.h"

namespace marquee {
namespace {

constexpr size_t kRecallUsers = 1000;
constexpr size_t kRecallMovies = 10;
constexpr absl::Duration kBetweenLooks = absl::Milliseconds(50);  // for a signal

absl::StatusOr<std::string> TokenOf(const ServeOptions& options) {
  if (!options.token_file.empty()) return ReadToken(options.token_file, "--token-file");
  if (IsLoopback(options.host)) return "";
  return absl::InvalidArgumentError(
      fmt::format("--host {}: is not loopback, so --token-file must name a file with a token that readers must know "
                  "(head -c 24 /dev/urandom | base64 > movies.token; chmod 600 movies.token)",
                  options.host));
}

// "http://127.0.0.1:7780/", as a person may type it.
std::string AddressOf(const std::string& host, const std::string& endpoint) {
  const std::string port = endpoint.substr(endpoint.rfind(':') + 1);
  return host.find(':') == std::string::npos ? fmt::format("http://{}:{}/", host, port)
                                             : fmt::format("http://[{}]:{}/", host, port);
}

}  // namespace

absl::StatusOr<std::unique_ptr<ServedModels>> ServedModels::Open(const std::string& model, const std::string& predictions,
                                                                 const std::string& data_file, Recommender::Index index) {
  auto served = std::make_unique<ServedModels>();
  absl::StatusOr<std::unique_ptr<KeptModel>> kept = KeptModel::Open(model, data_file);
  if (!kept.ok()) return kept.status();
  served->model_ = *std::move(kept);
  absl::StatusOr<std::unique_ptr<Recommender>> recommender = Recommender::Make(*served->model_, index);
  if (!recommender.ok()) return recommender.status();
  served->recommender_ = *std::move(recommender);
  const absl::Status guests = served->recommender_->PrepareForGuests();
  if (!guests.ok()) LogWarning("serves no guests", {{"reason", std::string(guests.message())}});
  std::string predictions_of = served->recommender_->predicts() ? served->model_->manifest().trial : "";
  if (!predictions.empty()) {
    if (absl::Status status = served->UsePredictionsOf(predictions, data_file); !status.ok()) return status;
    predictions_of = served->rating_model_->manifest().trial;
  }
  served->api_ = std::make_unique<MovieApi>(*served->model_, *served->recommender_, guests, predictions_of);
  return served;
}

absl::Status ServedModels::UsePredictionsOf(const std::string& folder, const std::string& data_file) {
  absl::StatusOr<std::unique_ptr<KeptModel>> kept = KeptModel::Open(folder, data_file);
  if (!kept.ok()) return kept.status();
  rating_model_ = *std::move(kept);
  absl::StatusOr<std::unique_ptr<Recommender>> rater = Recommender::Make(*rating_model_);
  if (!rater.ok()) return rater.status();
  rater_ = *std::move(rater);
  if (absl::Status status = rater_->PrepareForGuests(); !status.ok()) {
    LogWarning("predicts nothing for guests", {{"reason", std::string(status.message())}});
  }
  return recommender_->TakePredictionsOf(*rater_);
}

absl::Status Serve(const ServeOptions& options) {
  absl::StatusOr<std::string> token = TokenOf(options);
  if (!token.ok()) return token.status();
  // Requests are what goes on side by side.
  SetComputeThreads(1);
  Metrics metrics(kServe);
  MoviePage page(*std::move(token), metrics);
  const absl::StatusOr<std::string> endpoint = page.Start(options.host, options.port);
  if (!endpoint.ok()) return endpoint.status();
  fmt::print("Movies: {}\n", AddressOf(options.host, *endpoint));
  std::fflush(stdout);

  // A signal ends the process at once until here: there is nothing yet to be ended well.
  const auto index = options.approximate ? Recommender::Index::kApproximate : Recommender::Index::kExact;
  absl::StatusOr<std::unique_ptr<ServedModels>> opened =
      ServedModels::Open(options.model, options.predictions, options.data, index);
  if (!opened.ok()) return opened.status();
  const std::shared_ptr<const ServedModels> models = *std::move(opened);
  StopRequested();
  page.Show({models, &models->api()});
  LogInfo("ready", {{"model", models->model().manifest().trial}, {"data", models->model().data().name()}});
  if (options.approximate) {
    const double recall = models->recommender().IndexRecall(kRecallUsers, kRecallMovies);
    LogInfo("approximate index", {{"finds", fmt::format("{:.2f} %", 100 * recall)}, {"of the first", kRecallMovies}});
  }
  while (!StopRequested()) absl::SleepFor(kBetweenLooks);
  LogInfo("stopped: answers what it has begun, and ends");
  return absl::OkStatus();
}

}  // namespace marquee
