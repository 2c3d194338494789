#ifndef MARQUEE_WORKER_CLIENT_SCHEDULER_LINK_H_
#define MARQUEE_WORKER_CLIENT_SCHEDULER_LINK_H_

// A worker's side of its talk with the scheduler: registers, sends heartbeats, gets an assignment, its tables and its work, and
// reports what it did. A state machine like Client, driven in the same way. Not thread-safe.
//
// Every request is resent until it is answered; every one may be answered twice. The flow of one trial:
//
//     assignment() -> DefineTables -> tables() -> { RequestWork -> TakeWork -> train: SetTick | evaluate: Report }* -> work
//     Done
//
// The caller looks at the state after each OnMessage; nothing calls back. If the scheduler closes the session (it took this
// worker for dead, or the trial was restarted) session_lost() turns true and the caller starts over with FinishSession.

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "common/message.h"
#include "common/table.h"
#include "common/view.h"

namespace marquee {

struct Registration {
  std::string host;
  uint32_t process_id = 0;
  std::string metrics_endpoint;
  uint64_t data_checksum = 0;
};

struct TrialAssignment {
  uint64_t trial = 0;
  std::string name;
  uint64_t session = 0;
  uint32_t rank = 0;
  uint32_t workers = 1;
  std::string spec;  // YAML; ParseTrialConfig
};

struct TrainChunk {
  uint64_t number = 0;
  uint32_t epoch = 0;
  uint64_t begin = 0;
  uint64_t end = 0;
  uint64_t next = 0;
};

struct EvaluationChunk {
  uint64_t evaluation = 0;
  bool test = false;  // else validation
  uint32_t chunk = 0;
  uint64_t begin = 0;
  uint64_t end = 0;
};

struct BarrierWork {};
struct DoneWork {};
using WorkItem = std::variant<TrainChunk, EvaluationChunk, BarrierWork, DoneWork>;

struct ChunkProgress {
  uint64_t number = 0;
  uint64_t next = 0;
};

struct TickReport {
  uint64_t clock = 0;
  std::vector<ChunkProgress> chunks = {};
  uint64_t examples = 0;
  double loss_sum = 0;
  bool drained = false;
  double pull_seconds = 0;
  double compute_seconds = 0;
  double push_seconds = 0;
  uint64_t pulled = 0;  // steps whose rows have been pulled; the scheduler uses it in synchronous mode
};

struct EvaluationReport {
  uint64_t evaluation = 0;
  uint32_t chunk = 0;
  uint64_t examples = 0;
  struct Sum {
    std::string name;
    double sum = 0;
    double weight = 0;
    struct Bin {
      uint32_t bin = 0;
      uint32_t positives = 0;
      uint32_t negatives = 0;
    };
    std::vector<Bin> bins = {};
  };
  std::vector<Sum> sums = {};
};

class SchedulerLink {
 public:
  SchedulerLink(Identity self, Registration registration, Peer scheduler);
  ~SchedulerLink();

  void OnMessage(const Message& message, absl::Time now, Outbox& outbox);
  void OnTimer(absl::Time now, Outbox& outbox);  // also the first call: it registers
  absl::Time next_timer() const;

  bool registered() const;
  // When the scheduler last said anything; InfinitePast if it never did. A worker that hears nothing for long may give up.
  absl::Time last_heard() const;
  // Not OK if the scheduler refuses this worker for good, for example for another data file.
  absl::Status status() const;
  bool shutdown() const;  // the sweep is over: exit

  // The newest view; fetched whenever a heartbeat or `WantView` names a newer one.
  const View& view() const;
  void WantView(uint64_t number);

  const std::optional<TrialAssignment>& assignment() const;

  // Proposes the trial's tables, once per session; numbers and trial are filled in by the scheduler.
  void DefineTables(std::vector<TableDefinition> definitions, absl::Time now, Outbox& outbox);
  const std::optional<std::vector<TableDefinition>>& tables() const;  // in the order proposed

  // Asks for the next work item; TakeWork returns it once it is there. At most one request is under way (a second is no-op).
  void RequestWork(absl::Time now, Outbox& outbox);
  std::optional<WorkItem> TakeWork();

  // The session's totals so far; sent at once, and again with each heartbeat: until the scheduler has confirmed this or a newer
  // one, and then since a worker that waits for others would not hear of lost clocks or of the end of its session otherwise.
  void SetTick(TickReport report, absl::Time now, Outbox& outbox);
  bool tick_confirmed() const;  // the newest one

  // The slowest clock of the trial's sessions and each rank's, as last heard. Only ever rises within a session.
  uint64_t slowest_clock() const;
  // How many steps' rows all workers of the trial have pulled, in this session's count; for synchronous mode. Likewise.
  uint64_t all_pulled() const;
  const std::vector<uint64_t>& clocks() const;  // by rank; UINT64_MAX for one that has left

  // Queues a chunk's sums; reports_pending() is 0 once all are confirmed.
  void Report(EvaluationReport report, absl::Time now, Outbox& outbox);
  size_t reports_pending() const;

  // The trial cannot go on (NaN loss, memory budget, a feature that the data lacks): the scheduler marks it failed. Once it
  // has, session_lost() turns true. The link does so by itself when the scheduler refuses the trial's tables or a report.
  void FailTrial(std::string reason, absl::Time now, Outbox& outbox);

  bool session_lost() const;
  // Forgets the session and asks for an assignment again.
  void FinishSession(absl::Time now, Outbox& outbox);

  struct Counters {
    uint64_t sent = 0, resent = 0, errors = 0, malformed = 0;  // malformed: messages that were ignored
  };
  const Counters& counters() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace marquee

#endif  // MARQUEE_WORKER_CLIENT_SCHEDULER_LINK_H_
