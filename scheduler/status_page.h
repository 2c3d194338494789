#ifndef MARQUEE_SCHEDULER_STATUS_PAGE_H_
#define MARQUEE_SCHEDULER_STATUS_PAGE_H_

// Serves the status page of a scheduler: / for people, /status.json for programs, /report.html once there is one, /healthz and
// /readyz (these two for everybody, since they say nothing of the sweep). The page asks for /status.json again and again.
// Everything that it needs comes from here.
//
// Publish and refused_tokens may be called while it serves; they share texts with the threads that answer, no state.

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>

#include "absl/status/statusor.h"
#include "common/cluster_config.h"
#include "common/guarded_pages.h"
#include "common/web_server.h"

namespace marquee {

class StatusPage {
 public:
  // An empty token: for this machine. `report` is the report's path, there or not.
  StatusPage(std::string token, std::string report);

  // Returns "host:port" with the port in use.
  absl::StatusOr<std::string> Serve(const StatusPlace& place);

  // What /status.json answers from now on, and what /readyz says is missing.
  void Publish(std::string json, std::string missing);

  // How many wrong tokens were shown.
  uint64_t refused_tokens() const { return pages_.refused_tokens(); }

 private:
  struct Published {
    std::string json;
    std::string missing;
  };

  std::shared_ptr<const Published> published() const;
  WebResponse Report() const;

  const std::string report_;
  mutable std::mutex mutex_;
  std::shared_ptr<const Published> published_;  // under mutex_
  GuardedPages pages_;                          // the last member: its threads use the others
};

}  // namespace marquee

#endif  // MARQUEE_SCHEDULER_STATUS_PAGE_H_
