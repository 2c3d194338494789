#include "worker/client/driver.h"

#include <algorithm>
#include <chrono>
#include <utility>

namespace marquee {

Driver::Driver(Transport& transport, const Identity& self, ClientOptions options, Registration registration, Peer scheduler,
               TraceFile* trace)
    : transport_(transport),
      scheduler_(scheduler),
      client_(self, options),
      link_(self, std::move(registration), std::move(scheduler)) {
  if (trace != nullptr) trace_.emplace(transport_, self, trace->AddTrack("requests"), now);
}

absl::Time Driver::now() { return absl::UnixEpoch() + absl::FromChrono(std::chrono::steady_clock::now().time_since_epoch()); }

absl::Status Driver::Pump(absl::Duration timeout) {
  const absl::Duration until_timer = std::min(client_.next_timer(), link_.next_timer()) - now();
  const absl::Duration wait = std::max(absl::ZeroDuration(), std::min(timeout, until_timer));
  transport_.Receive(wait, [this](const Message& message) {
    if (message.from() == scheduler_) {
      link_.OnMessage(message, now(), outbox());
    } else {
      TakeAnswer(message);
    }
  });
  RunTimers();
  return link_.status();
}

void Driver::TakeAnswer(const Message& message) {
  const absl::Time begin = now();
  client_.OnMessage(message, begin, outbox());
  if (trace_.has_value()) trace_->Received(message, begin, now());
}

void Driver::RunTimers() {
  const absl::Time time = now();
  if (link_.view().number > client_.view().number) {
    const View before = client_.view();
    client_.SetView(link_.view(), time, outbox());
    for (const std::string& endpoint : EndpointsLeft(before, client_.view())) transport_.Disconnect(endpoint);
  }
  if (client_.wanted_view() > client_.view().number) link_.WantView(client_.wanted_view());
  client_.OnTimer(time, outbox());
  link_.OnTimer(time, outbox());
}

}  // namespace marquee
