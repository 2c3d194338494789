#ifndef MARQUEE_TESTS_CAMPAIGN_LEDGER_WORKER_H_
#define MARQUEE_TESTS_CAMPAIGN_LEDGER_WORKER_H_

// A worker that trains no model: each step pushes what tests/campaign/push_ledger.h says, and now and then reads a push back
// that was acknowledged. Everything else is as in the real worker: client, link to the scheduler, transport, chunks, ticks.

#include <cstdint>
#include <deque>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "tests/campaign/push_ledger.h"
#include "worker/client/driver.h"
#include "worker/progress.h"

namespace marquee::campaign {

class LedgerWorker {
 public:
  // `driver` must outlive it.
  explicit LedgerWorker(Driver& driver) : driver_(driver) {}
  ~LedgerWorker();

  // Appends to the file from now on.
  absl::Status OpenLedger(const std::string& path);

  // Until the scheduler sends it away, or a row is read that breaks a promise (DataLoss).
  // While `hold` is true it begins no push, and waits for those that are under way.
  absl::Status Run(const std::atomic<bool>& stop, const std::atomic<bool>& hold);

 private:
  absl::Status Act(bool hold);
  void BeginSession();
  void EndSession();
  void NoteAcknowledged();
  void TakeWork();
  bool StartPush();
  absl::Status CheckReads();
  void StartRead();
  void Report(const EvaluationChunk& chunk);
  void Write(const std::string& line);

  Driver& driver_;
  int ledger_ = -1;
  bool in_session_ = false;
  bool has_tables_ = false;
  bool at_barrier_ = false;
  bool drained_reported_ = false;
  std::optional<TrainChunk> chunk_;
  std::optional<EvaluationChunk> evaluation_;
  Progress progress_;
  uint64_t acknowledged_ = 0;
  uint64_t steps_ = 0;
  Client::PullNumber read_ = 0;
  Push read_push_;
  float read_values_[kOwnDim] = {};
  Id read_id_ = 0;
};

}  // namespace marquee::campaign

#endif  // MARQUEE_TESTS_CAMPAIGN_LEDGER_WORKER_H_
