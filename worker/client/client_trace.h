#ifndef MARQUEE_WORKER_CLIENT_CLIENT_TRACE_H_
#define MARQUEE_WORKER_CLIENT_CLIENT_TRACE_H_

// Writes a client's pulls and pushes into a trace: what sending and receiving them costs here, and, beside that, each request
// from when it is sent to its answer. Stands between a client and its transport. Belongs to whoever has the driver.

#include <map>
#include <string>

#include "absl/time/time.h"
#include "common/message.h"
#include "common/trace.h"

namespace marquee {

class ClientTrace : public Outbox {
 public:
  // `outbox` must outlive it. `now` is the clock of the trace.
  ClientTrace(Outbox& outbox, const Identity& self, TraceTrack track, absl::Time (*now)())
      : outbox_(outbox), incarnation_(self.incarnation), track_(std::move(track)), now_(now) {}

  void Send(const Peer& to, OutgoingMessagePtr message) override;
  // The client took an answer of a shard between `begin` and `end`.
  void Received(const Message& message, absl::Time begin, absl::Time end);

 private:
  struct Request {
    const char* name = "";
    absl::Time sent;
    uint64_t bytes = 0;
  };

  Outbox& outbox_;
  const uint64_t incarnation_;
  TraceTrack track_;
  absl::Time (*now_)();
  std::map<uint64_t, Request> requests_;  // not yet answered
};

}  // namespace marquee

#endif  // MARQUEE_WORKER_CLIENT_CLIENT_TRACE_H_
