#ifndef MARQUEE_PS_SHARD_TRACE_H_
#define MARQUEE_PS_SHARD_TRACE_H_

// Writes what a shard does into a trace: "pull", "apply" (a push), "apply copy" (a push that its primary forwards), other
// requests by their names; and beside them "replicate", from when a push is applied here to when its copies have answered.
// Stands between a shard and its transport, and sees just what goes in and out. Belongs to the shard's thread.

#include <map>
#include <optional>
#include <string>
#include <utility>

#include "absl/time/time.h"
#include "common/message.h"
#include "common/trace.h"

namespace marquee {

class ShardTrace : public Outbox {
 public:
  // `outbox` must outlive it. `now` is the clock of the trace.
  ShardTrace(Outbox& outbox, TraceTrack track, absl::Time (*now)()) : outbox_(outbox), track_(std::move(track)), now_(now) {}

  // Around Shard::OnMessage.
  void Begin(const Message& message, absl::Time begin);
  void End(absl::Time end);

  void Send(const Peer& to, OutgoingMessagePtr message) override;

 private:
  using Request = std::pair<Peer, uint64_t>;  // who asked, and its number
  struct Handling {
    Request request;
    uint64_t incarnation = 0;  // of the sender
    std::string sender;
    std::string name;
    std::string arrow;  // to it; empty: none
    uint64_t rows = 0;
    absl::Time begin;
    bool is_push = false;
    bool answered = false;
  };
  struct Applied {
    std::string sender;
    uint64_t incarnation = 0;
    absl::Time time;
  };

  void Answers(const Request& request);

  Outbox& outbox_;
  TraceTrack track_;
  absl::Time (*now_)();
  std::optional<Handling> handling_;
  std::map<Request, Applied> applied_;  // pushes that wait for copies
};

}  // namespace marquee

#endif  // MARQUEE_PS_SHARD_TRACE_H_
