#ifndef MARQUEE_PS_SERVER_LINK_H_
#define MARQUEE_PS_SERVER_LINK_H_

// A server's side of its talk with the scheduler: registers, sends heartbeats, and registers again if the scheduler does not
// know it any more. A state machine like Shard; its timers are run by the caller. Not thread-safe.
//
// A request is sent again until it is answered, and every one may be answered twice.

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "common/message.h"
#include "common/server_statistics.h"

namespace marquee {

struct ServerRegistration {
  std::string host;
  uint32_t process_id = 0;
  std::vector<std::string> endpoints;  // of the shards, by index
  std::string metrics_endpoint;
};

class ServerLink {
 public:
  ServerLink(Identity self, ServerRegistration registration, Peer scheduler);

  void OnMessage(const Message& message, absl::Time now, Outbox& outbox);
  void OnTimer(absl::Time now, Outbox& outbox);  // also the first call: it registers
  // What the next heartbeats say.
  void SetStatistics(const ServerStatistics& statistics) { statistics_ = statistics; }
  absl::Time next_timer() const;

  bool registered() const { return registered_; }
  // Not OK if the scheduler refuses this server for good, for example because another process has its name now.
  const absl::Status& status() const { return status_; }
  // The scheduler belongs to another cluster than the one that was joined at first: nothing of the shards' state is of use
  // any more, and this server must start over as a new incarnation.
  bool cluster_changed() const { return cluster_changed_; }
  // The sweep is over, and the scheduler needs this server no more.
  bool dismissed() const { return dismissed_; }
  absl::Time last_heard() const { return last_heard_; }  // of the scheduler; InfinitePast if never

 private:
  absl::Status Handle(const Message& message, absl::Time now);
  absl::Status HandleRegistered(wire::Registered::Reader reader, absl::Time now);
  void HandleError(wire::Error::Reader error, absl::Time now);
  OutgoingMessagePtr BuildRequest();

  Identity self_;
  ServerRegistration registration_;
  ServerStatistics statistics_;
  Peer scheduler_;
  bool registered_ = false;
  bool cluster_changed_ = false;
  bool dismissed_ = false;
  uint64_t cluster_id_ = 0;  // 0: not known yet
  absl::Status status_;
  absl::Duration heartbeat_;
  absl::Time last_heard_ = absl::InfinitePast();
  absl::Time due_ = absl::InfinitePast();  // of the next request, or of sending one again
  uint64_t last_request_ = 0;              // an answer to an older one says nothing new
  bool answered_ = true;                   // the last request
};

}  // namespace marquee

#endif  // MARQUEE_PS_SERVER_LINK_H_
