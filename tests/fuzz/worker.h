#ifndef MARQUEE_TESTS_FUZZ_WORKER_H_
#define MARQUEE_TESTS_FUZZ_WORKER_H_

// The worker of a Conversation: trains whatever it is told to, one step at a time, on made-up rows and gradients.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "worker/client/client.h"
#include "worker/client/scheduler_link.h"

namespace marquee::fuzz {

class Worker {
 public:
  Worker(Identity self, Peer scheduler);

  void OnTimer(absl::Time now, Outbox& outbox);
  absl::Time next_timer() const { return std::min(client_.next_timer(), link_.next_timer()); }
  // Does what is possible now; after each message and timer.
  void Act(absl::Time now, Outbox& outbox);

  Client& client() { return client_; }
  SchedulerLink& link() { return link_; }
  uint64_t steps() const { return steps_; }
  const std::string& violation() const { return violation_; }

 private:
  bool ActOnce(absl::Time now, Outbox& outbox);
  void BeginSession(absl::Time now, Outbox& outbox);
  void EndSession(absl::Time now, Outbox& outbox);
  bool Train(TrainChunk& chunk, absl::Time now, Outbox& outbox);
  bool Evaluate(const EvaluationChunk& chunk, absl::Time now, Outbox& outbox);
  bool Drain(absl::Time now, Outbox& outbox);
  bool StartPull(absl::Time now, Outbox& outbox);
  bool StartPush(absl::Time now, Outbox& outbox);
  bool FinishPull(absl::Time now, Outbox& outbox, bool* read);
  void ReportStep(TrainChunk& chunk, absl::Time now, Outbox& outbox);

  enum class Phase { kIdle, kPulling, kPushing };

  Client client_;
  SchedulerLink link_;
  bool in_session_ = false;
  std::optional<WorkItem> work_;
  Phase phase_ = Phase::kIdle;
  Client::PullNumber pull_ = 0;
  std::vector<Id> ids_;
  std::vector<std::vector<float>> values_;  // by table; with a mark behind the last value
  TickReport tick_;                         // of the session
  bool drained_ = false;
  uint64_t steps_ = 0;
  std::string violation_;
};

}  // namespace marquee::fuzz

#endif  // MARQUEE_TESTS_FUZZ_WORKER_H_
