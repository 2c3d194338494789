#ifndef MARQUEE_SCHEDULER_COORDINATOR_H_
#define MARQUEE_SCHEDULER_COORDINATOR_H_

// The scheduler's brain: membership, views, sessions, tables, chunks, clocks, trials and evaluations of one sweep.
//
// A state machine: no socket, thread, file, clock or global randomness. What must survive goes through a StateStore before any
// message that depends on it is put into the outbox. It answers members (workers and servers ask), and asks shards (its
// requests to a shard's endpoint are resent until they are answered). The `scheduler` program drives it; so does the simulator.
// Not thread-safe.
//
// Life of a trial: pending -> tables proposed by its workers and created on all shards -> loading, if it starts from a kept
// model
// -> training (chunks leased, clocks kept) -> barrier (each worker has nothing unacknowledged) -> validation, and back to
// training where more epochs are to come -> test, read once -> keeping, if its model may be the best -> tables dropped,
// sessions closed -> finished. A trial that successive halving stops (scheduler/asha.h) goes from validation straight to its
// end. A worker that dies leaves its chunks to be leased again, from its last reported position, once all shards have closed
// its session. A server that dies takes rows with it: running trials go back to their last checkpoint, or start anew, in new
// sessions and tables when it is back.

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "common/message.h"
#include "common/server_statistics.h"
#include "common/trial_config.h"
#include "common/view.h"
#include "scheduler/asha.h"

namespace marquee {

class ModelStore;       // scheduler/model_store.h
class CheckpointStore;  // scheduler/checkpoint_store.h

struct TrialResult {
  std::map<std::string, double> validation;  // after the last epoch
  std::map<std::string, double> test;        // likewise; empty if it was stopped
  std::vector<double> epoch_losses;          // mean training loss of each epoch
  struct Validation {
    uint32_t epoch = 0;  // after so many epochs
    std::map<std::string, double> metrics;
  };
  std::vector<Validation> validations;  // all of them, the last one too
  uint32_t epochs = 0;                  // trained to their end
  std::string stopped;                  // why not all that were planned: "asha", "early_stopping"; empty: they were
  bool kept = false;                    // its model is in the ModelStore
  double seconds = 0;
  double examples_per_second = 0;
  uint64_t examples = 0;           // trained and acknowledged, without the repeated ones
  uint64_t repeated_examples = 0;  // trained again after a worker's death (an upper bound)
};

// kStopped: successive halving ended it. Its test metrics were never read.
enum class TrialStatus { kPending, kRunning, kFinished, kFailed, kStopped };

// Finished or stopped: its result stays, also when the sweep is resumed.
inline bool HasResult(TrialStatus status) { return status == TrialStatus::kFinished || status == TrialStatus::kStopped; }

// What survives the scheduler's death. Each call returns after the change is durable. Implemented over SQLite, and in memory.
class StateStore {
 public:
  struct Numbers {  // the highest ones ever used
    uint64_t cluster_id = 0;
    uint64_t view = 0;
    uint64_t session = 0;
    uint32_t table = 0;
    uint64_t trial = 0;
  };
  struct Trial {
    std::string name;  // unique in a sweep
    std::string spec;  // YAML
    TrialStatus status = TrialStatus::kPending;
    std::string reason;  // of a failure
    TrialResult result;
  };

  virtual ~StateStore() = default;
  virtual absl::StatusOr<Numbers> LoadNumbers() = 0;
  virtual absl::StatusOr<std::vector<Trial>> LoadTrials() = 0;
  virtual absl::Status SaveNumbers(const Numbers& numbers) = 0;
  virtual absl::Status SaveView(const View& view) = 0;
  virtual absl::Status SaveTrial(const Trial& trial) = 0;

  // What goes on now, by key (scheduler/saved_progress.h): it survives the scheduler and need not survive its machine.
  // LoadProgress brings all of it as it was saved last, or nothing.
  virtual absl::StatusOr<std::map<std::string, std::string>> LoadProgress() = 0;
  virtual absl::Status SaveProgress(const std::string& key, const std::string& bytes) = 0;
  virtual absl::Status ForgetProgress(const std::string& key) = 0;
  virtual absl::Status ForgetAllProgress() = 0;
};

// Which finished trials' models are kept: the best by validation metric of each kind of model, all, or none.
enum class KeepModels { kBest, kAll, kNone };

struct CoordinatorOptions {
  std::vector<std::string> servers;  // names of the servers that the cluster has first; the view is made when all are there
  uint32_t partitions = 64;          // a power of two
  int replication = 1;               // 2: every partition has a second copy on another server
  uint32_t workers_per_trial = 1;
  absl::Duration heartbeat = absl::Seconds(1);
  absl::Duration lease = absl::Seconds(10);  // a member silent for longer is dead
  absl::Duration resend_after = absl::Seconds(1);
  uint64_t data_checksum = 0;   // workers with another data file are refused; 0: not checked
  uint64_t train_examples = 0;  // by the split; every trial of a sweep shares it
  uint64_t validation_examples = 0;
  uint64_t test_examples = 0;
  uint32_t chunk_batches = 4;        // batches in a training chunk
  uint64_t evaluation_chunk = 8192;  // examples in an evaluation chunk
  int max_attempts = 3;              // of a trial whose server was lost
  std::string metric;                // of validation, by which trials are compared; empty: DefaultMetric of each one's kind
  bool maximize = true;              // whether more of `metric` is better
  std::optional<AshaOptions> asha;   // trials that are not among the best are stopped early
  KeepModels keep = KeepModels::kNone;
  absl::Duration checkpoint_every = absl::InfiniteDuration();  // InfiniteDuration: on request only
  uint32_t checkpoint_full_every = 1;                          // one of so many is full; the others hold what has changed
  int64_t (*unix_seconds)() = nullptr;                         // what checkpoints say of when they were made
  bool take_over = false;  // servers and workers outlive the scheduler: the next one goes on with them
};

class Coordinator {
 public:
  // The stores must outlive the coordinator. Without one for models none is kept, and trials that start from one fail.
  // Without one for checkpoints there are none.
  Coordinator(Identity self, CoordinatorOptions options, StateStore& store, ModelStore* models = nullptr,
              CheckpointStore* checkpoints = nullptr);
  ~Coordinator();

  // Loads the numbers of the store and the results of the trials that it has, and adds those that it does not have. A trial
  // without a result is pending, with whatever configuration it has now, or is taken over where it stands; one with a result
  // and another configuration is an error. Trials of the store that are not among these stay there and count for nothing. Call
  // once, first.
  absl::Status Start(const std::vector<TrialConfig>& trials);

  void OnMessage(const Message& message, absl::Time now, Outbox& outbox);
  void OnTimer(absl::Time now, Outbox& outbox);
  absl::Time next_timer() const;

  // A launcher saw the process of this name end: its member is dead at once, without waiting for its lease.
  void OnProcessExit(const std::string& name, absl::Time now, Outbox& outbox);

  // These servers are to hold the partitions from now on. Partitions are moved, while trials train, once all of these servers
  // are there. An error means that this cannot be, and that all stays as it is.
  absl::Status SetServers(const std::vector<std::string>& wanted, absl::Time now, Outbox& outbox);
  // Whether a server is not to hold partitions and does not: its process may end.
  bool IsEmptied(const std::string& server) const;

  // A checkpoint is made as soon as may be.
  void RequestCheckpoint();

  // Every trial has ended, and its tables are dropped. Workers that ask for an assignment are told to shut down,
  // and heartbeats of servers are answered with the error `cancelled`.
  bool done() const;
  // done(), and every living member was told to go.
  bool dismissed() const;
  // Not OK if the sweep cannot go on at all (the store failed).
  absl::Status status() const;

  struct Member {
    std::string name;
    bool server = false;
    bool alive = false;
    uint64_t incarnation = 0;
    std::string host;
    std::string metrics_endpoint;
    std::vector<std::string> endpoints;  // of a server's shards
    ServerStatistics statistics;         // likewise: of the last heartbeat
    uint64_t most_rows = 0;              // that any heartbeat said
    uint64_t most_bytes = 0;
    absl::Time heard = absl::InfinitePast();
    std::string trial;  // that a worker has a session of; empty: none
  };
  // For progress and results. Of a trial that runs, `trial.result` has its validations and the losses of whole epochs so far.
  struct TrialView {
    StateStore::Trial trial;
    TrialConfig config;
    uint64_t number = 0;
    std::string
        phase;  // "pending", "tables", "loading", "training", "validation", "test", "keeping", "finished", "stopped", "failed"
    uint32_t epoch = 0;
    double epoch_progress = 0;  // [0, 1]
    double examples_per_second = 0;
    double loss = 0;  // mean of the current epoch so far
    std::optional<absl::Duration> time_left;
    std::optional<std::pair<std::string, double>> validation;  // the newest one of a running trial, by the metric that counts
    uint64_t slowest_clock = 0;
    uint64_t fastest_clock = 0;
  };
  std::vector<Member> members() const;
  std::vector<TrialView> trials(absl::Time now) const;
  const View& view() const;
  uint16_t wire_version() const;  // the highest that this program and all living members speak
  // Partitions that should have a second copy, and have none that is whole.
  uint64_t under_replicated_partitions() const;
  // How much training no checkpoint holds; zero if there is none, or checkpoints are off.
  absl::Duration checkpoint_age(absl::Time now) const;

  struct Counters {
    uint64_t partitions_promoted = 0;  // copies that took over
    uint64_t primaries_moved = 0;      // by plan
    uint64_t copies_moved = 0;         // likewise: second ones
    uint64_t heartbeats = 0, chunks_leased = 0, chunks_released = 0, ticks = 0, workers_lost = 0, servers_lost = 0,
             sessions_opened = 0, sessions_closed = 0, examples = 0, repeated_examples = 0;
    uint64_t checkpoints = 0, checkpoints_failed = 0;
    uint64_t checkpoint_number = 0, checkpoint_bytes = 0;  // of the last one
    absl::Duration checkpoint_pause;                       // of the last attempt
    uint64_t trials_restored = 0;                          // that went on from a checkpoint
    uint64_t trials_taken_over = 0;                        // that ran under the scheduler before, and run on
    std::map<std::string, uint64_t> rejected;              // by error code name
  };
  const Counters& counters() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace marquee

#endif  // MARQUEE_SCHEDULER_COORDINATOR_H_
