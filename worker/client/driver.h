#ifndef MARQUEE_WORKER_CLIENT_DRIVER_H_
#define MARQUEE_WORKER_CLIENT_DRIVER_H_

// Connects a Client and a SchedulerLink to a Transport and a clock, so that a worker or a tool needs no dispatch code of its
// own: it calls Pump over and over and looks at the states in between. No thread of its own; belongs to the transport's.
//
//     Driver driver(*transport, self, {}, registration, "tcp://10.0.0.1:7700");
//     while (!driver.link().assignment()) if (auto status = driver.Pump(absl::Milliseconds(100)); !status.ok()) return status;
//     auto pull = driver.client().StartPull(tables, driver.now(), driver.outbox());

#include <optional>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "common/message.h"
#include "common/trace.h"
#include "common/transport.h"
#include "worker/client/client.h"
#include "worker/client/client_trace.h"
#include "worker/client/scheduler_link.h"

namespace marquee {

class Driver {
 public:
  // `transport` and `trace` must outlive the driver; nothing is traced without a trace.
  Driver(Transport& transport, const Identity& self, ClientOptions options, Registration registration, Peer scheduler,
         TraceFile* trace = nullptr);

  // Waits up to `timeout` for messages, less if a timer is due before, then hands them out and runs the timers. What the
  // scheduler says of views goes to the client, and what shards hint at to the link. Returns link().status(): not OK if the
  // scheduler refuses this worker for good.
  absl::Status Pump(absl::Duration timeout);

  Client& client() { return client_; }
  SchedulerLink& link() { return link_; }
  Outbox& outbox() { return trace_.has_value() ? static_cast<Outbox&>(*trace_) : transport_; }
  // What to pass as `now` to client() and link(): never goes back, and tells nothing of the date.
  static absl::Time now();

 private:
  void RunTimers();
  void TakeAnswer(const Message& message);

  Transport& transport_;
  Peer scheduler_;
  Client client_;
  SchedulerLink link_;
  std::optional<ClientTrace> trace_;
};

}  // namespace marquee

#endif  // MARQUEE_WORKER_CLIENT_DRIVER_H_
