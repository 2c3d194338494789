#ifndef MARQUEE_SCHEDULER_STATUS_PAGE_H_
#define MARQUEE_SCHEDULER_STATUS_PAGE_H_

// Serves the status page of a scheduler: / for people, /status.json for programs, /report.html once there is one, /healthz and
// /readyz (these two for everybody, since they say nothing of the sweep). The page asks for /status.json again and again.
// Everything that it needs comes from here.
//
// Publish and refused_tokens may be called while it serves; they share texts with the threads that answer, no state.

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>

#include "absl/status/statusor.h"
#include "common/cluster_config.h"
#include "common/web_server.h"
#include "scheduler/status_access.h"

namespace marquee {

class StatusPage {
 public:
  // `report` is the report's path, there or not.
  StatusPage(StatusAccess access, std::string report);

  // Returns "host:port" with the port in use.
  absl::StatusOr<std::string> Serve(const StatusPlace& place);

  // What /status.json answers from now on, and what /readyz says is missing.
  void Publish(std::string json, std::string missing);

  // How many wrong tokens were shown.
  uint64_t refused_tokens() const { return refused_tokens_; }

 private:
  struct Published {
    std::string json;
    std::string missing;
  };

  std::shared_ptr<const Published> published() const;
  // Answers with what `handler` says to those that may read.
  WebServer::Handler Guarded(bool person, WebServer::Handler handler);
  WebResponse Enter(const WebRequest& request);
  WebResponse Refuse(bool person, const WebRequest& request) const;
  WebResponse Report() const;

  const StatusAccess access_;
  const std::string report_;
  std::atomic<uint16_t> port_{0};
  std::atomic<uint64_t> refused_tokens_{0};
  mutable std::mutex mutex_;
  std::shared_ptr<const Published> published_;  // under mutex_
  WebServer server_;                            // the last member: its threads use the others
};

}  // namespace marquee

#endif  // MARQUEE_SCHEDULER_STATUS_PAGE_H_
