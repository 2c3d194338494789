#ifndef MARQUEE_SERVING_MOVIE_PAGE_H_
#define MARQUEE_SERVING_MOVIE_PAGE_H_

// Serves the movie page: / for people, /api/... for programs (serving/movie_api.h), /metrics for Prometheus, /healthz and
// /readyz for everybody. Everything that the page needs comes from here.
//
// It is there before the model is: until Show, questions are answered with 503. A recommendation costs much more than any other
// answer: more than a few dozen at once are refused, with 503, so that those in hand are answered in time.

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <string>

#include "absl/status/statusor.h"
#include "common/guarded_pages.h"
#include "common/metrics.h"
#include "serving/movie_api.h"

namespace marquee {

class MoviePage {
 public:
  // An empty token: for this machine. `metrics` are those of kServe and must outlive the page.
  MoviePage(std::string token, Metrics& metrics);

  // Returns "host:port" with the port in use. Once.
  absl::StatusOr<std::string> Start(const std::string& host, uint16_t port);

  // From now on questions are answered, by `api`.
  void Show(std::shared_ptr<const MovieApi> api);

 private:
  using Question = std::function<WebResponse(const MovieApi&, const WebRequest&)>;

  // Counted and timed under the name of a question.
  WebServer::Handler Counted(const std::string& name, WebServer::Handler handler);
  WebServer::Handler Asked(const std::string& name, Question question);
  Question Bounded(Question question);
  std::shared_ptr<const MovieApi> api() const;

  Metrics& metrics_;
  std::atomic<int> in_hand_{0};
  mutable std::mutex mutex_;
  std::shared_ptr<const MovieApi> api_;  // under mutex_
  GuardedPages pages_;                   // the last member: its threads use the others
};

}  // namespace marquee

#endif  // MARQUEE_SERVING_MOVIE_PAGE_H_
