#ifndef MARQUEE_WORKER_CLIENT_CLIENT_H_
#define MARQUEE_WORKER_CLIENT_CLIENT_H_

// Talks to shards: splits pulls and pushes by partition, numbers pushes, resends what is not answered.
//
// A state machine: no socket, thread or clock. A driver (worker/client/driver.h) or the simulator gives it messages and time
// and carries what it puts into the outbox. Several pulls and pushes may be under way at once; nothing blocks. Not thread-safe.
//
// Exactly once (docs/architecture.md): pushes of a session are numbered 1, 2, 3 ...; one is resent with the same number and
// bytes until it is acknowledged, refused for good, or its session is closed; number n is not sent while n - 64 is
// unacknowledged.

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "common/id.h"
#include "common/message.h"
#include "common/view.h"

namespace marquee {

// Rows of one table to be read. `ids` holds each id at most once; `values` has room for ids.size() x dim floats, is written
// when replies arrive, and must stay valid until the pull is finished (PullResult not nullopt, or ForgetPull).
struct PullTable {
  TableNumber table = 0;
  uint32_t dim = 0;
  absl::Span<const Id> ids;
  float* values = nullptr;
};

// Gradients of one table. Copied before StartPush returns.
struct PushTable {
  TableNumber table = 0;
  uint32_t dim = 0;
  float learning_rate = 0;
  absl::Span<const Id> ids;
  const float* gradients = nullptr;  // ids.size() x dim
};

struct ClientOptions {
  absl::Duration resend_after = absl::Seconds(1);    // without an answer; doubles up to 8 x for each try
  absl::Duration pull_deadline = absl::Seconds(30);  // a pull fails with DeadlineExceeded
  size_t max_message_bytes = 8U << 20U;              // larger pushes and pulls are cut into several messages
  size_t max_unanswered_bytes = 64U << 20U;          // of pushes; CanPush is false above it
};

class Client {
 public:
  using PullNumber = uint64_t;

  Client(Identity self, ClientOptions options);
  ~Client();

  // A newer view replaces the one before, and what is under way is split again over the new owners. An older one is ignored.
  void SetView(const View& view, absl::Time now, Outbox& outbox);
  const View& view() const;
  // The newest view number that a shard has hinted at by `staleView`; the driver gets it from the scheduler when above
  // view().number.
  uint64_t wanted_view() const;

  // Begins a session: pushes are numbered from 1 again, and pushes of the session before are given up.
  void StartSession(uint64_t session);
  uint64_t session() const;

  // FailedPrecondition without a view; InvalidArgument for a dim of 0.
  absl::StatusOr<PullNumber> StartPull(absl::Span<const PullTable> tables, absl::Time now, Outbox& outbox);
  // nullopt while under way. Then OK, or why it failed: the shard's error (NotFound for an unknown table, ...),
  // DeadlineExceeded.
  std::optional<absl::Status> PullResult(PullNumber pull) const;
  void ForgetPull(PullNumber pull);

  // Whether a push would be within the 64-wide window and the byte limit now.
  bool CanPush() const;
  // Numbers and sends a push (several, if it is too large for one message). FailedPrecondition if !CanPush(), without a view or
  // session; InvalidArgument, before anything is numbered, for a NaN or infinite gradient or rate, naming the table.
  // An id that occurs twice in a table is a bug of the caller.
  absl::Status StartPush(absl::Span<const PushTable> tables, absl::Time now, Outbox& outbox);
  // Pushes numbered so far, and how many lowest-numbered ones are all acknowledged: equal when nothing is under way.
  uint64_t pushes_started() const;
  uint64_t pushes_acknowledged() const;
  // OK, or why the session cannot go on: closed (Aborted), or a push refused for good (the shard's error).
  absl::Status session_status() const;

  void OnMessage(const Message& message, absl::Time now, Outbox& outbox);
  void OnTimer(absl::Time now, Outbox& outbox);
  absl::Time next_timer() const;  // InfiniteFuture if there is nothing to wait for

  struct Counters {
    uint64_t pulls = 0, pushes = 0, rows_pulled = 0, rows_pushed = 0, bytes_sent = 0, bytes_received = 0, resent = 0,
             duplicates_acknowledged = 0, errors = 0;
  };
  const Counters& counters() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace marquee

#endif  // MARQUEE_WORKER_CLIENT_CLIENT_H_
