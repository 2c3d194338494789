#ifndef MARQUEE_SERVING_SERVE_H_
#define MARQUEE_SERVING_SERVE_H_

// A kept model made ready to answer on the web, and `marquee serve` itself.

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "serving/kept_model.h"
#include "serving/movie_api.h"
#include "serving/recommender.h"

namespace marquee {

// Models with all that hangs on them; from then on nothing changes.
class ServedModels {
 public:
  // Folders and data file as in KeptModel::Open; `predictions` is the model whose predictions are shown (empty: those of
  // `model` itself, if it makes any).
  static absl::StatusOr<std::unique_ptr<ServedModels>> Open(const std::string& model, const std::string& predictions,
                                                            const std::string& data_file, Recommender::Index index);

  const KeptModel& model() const { return *model_; }
  const Recommender& recommender() const { return *recommender_; }
  const MovieApi& api() const { return *api_; }

 private:
  absl::Status UsePredictionsOf(const std::string& folder, const std::string& data_file);

  std::unique_ptr<KeptModel> model_, rating_model_;
  std::unique_ptr<Recommender> recommender_, rater_;
  std::unique_ptr<MovieApi> api_;
};

struct ServeOptions {
  std::string model;
  std::string predictions;
  std::string data;
  std::string host = "127.0.0.1";
  uint16_t port = 7780;  // 0: a free one
  std::string token_file;
  bool approximate = false;
};

// Until SIGTERM or SIGINT. A host that is not loopback without a token file is refused.
absl::Status Serve(const ServeOptions& options);

}  // namespace marquee

#endif  // MARQUEE_SERVING_SERVE_H_
