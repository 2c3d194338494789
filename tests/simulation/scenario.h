#ifndef MARQUEE_TESTS_SIMULATION_SCENARIO_H_
#define MARQUEE_TESTS_SIMULATION_SCENARIO_H_

// What one simulated run consists of: the cluster, the sweep, and everything that goes wrong. Drawn from a seed.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "common/trial_config.h"
#include "ps/forwarding.h"
#include "scheduler/coordinator.h"
#include "tests/simulation/sim_checkpoints.h"
#include "tests/simulation/sim_worker.h"
#include "tests/simulation/tamper.h"
#include "tests/simulation/world.h"

namespace marquee::simulation {

// A kept model that is there from the start. Its rows hold what rows start with anyway, for the ledger's sake.
inline constexpr char kWarmModel[] = "warm";
inline constexpr uint32_t kWarmRows = 50;

struct Scenario {
  uint64_t seed = 0;

  // The cluster.
  uint32_t servers = 1;
  uint32_t shards_per_server = 1;
  uint32_t workers = 1;
  CoordinatorOptions coordinator;
  ReplicationOptions replication;
  std::vector<TrialConfig> trials;  // those with a `start_from` begin with the model kWarmModel
  SimWorkerOptions worker;
  bool compares_copies = true;         // again and again, where there are two
  bool launcher_reports_exits = true;  // else dead processes are found by their silence
  bool same_endpoints = true;          // a server that is started again listens where it did before
  bool scheduler_loses_power = false;  // with what it has not flushed, whenever it dies

  // What goes wrong, until network.until.
  NetworkFaults network;
  struct Kill {
    std::string name;
    absl::Time at;
    absl::Duration down;  // until it is started again
  };
  std::vector<Kill> kills;
  struct Cut {
    std::string one, other;
    absl::Time from, until;
    bool one_way = false;  // only what `one` sends is lost
  };
  std::vector<Cut> cuts;
  struct Pause {
    std::string name;
    absl::Time from, until;
  };
  std::vector<Pause> pauses;
  struct Crash {
    std::string name;
    absl::Time from;  // the first message of this kind after that
    wire::Envelope::Body::Which kind;
    CrashPoint point;
    absl::Duration down;
  };
  std::vector<Crash> crashes;
  struct Edit {
    absl::Time at;
    std::vector<std::string> servers;  // that are to hold the partitions from then on
  };
  std::vector<Edit> edits;
  double clock_drift = 0;
  std::optional<CheckpointScenario> checkpoints;

  // One in which the bug can show, if one is to be planted.
  static Scenario FromSeed(uint64_t seed, const PlantedBug* bug = nullptr);
  // A quiet network and a cluster of this size, with two copies of each row, that loses one server in the middle of a trial.
  static Scenario LossIn(uint32_t servers, uint32_t workers);
  std::string Describe() const;
};

struct Outcome {
  std::string violation;  // empty: all promises were kept
  std::string scenario;
  std::vector<std::string> trace;
  uint64_t fingerprint = 0;
  // How much was tried.
  uint64_t messages = 0;
  uint64_t steps = 0;
  uint64_t pushes = 0;
  uint64_t duplicates = 0;  // acknowledgements that said so
  uint64_t rows_checked = 0;
  uint64_t staleness_checks = 0;   // rows that were compared with the staleness bound
  uint64_t copies_checked = 0;     // partitions whose two copies were compared
  uint64_t primaries_moved = 0;    // partitions that another shard serves by plan
  uint64_t servers_left = 0;       // that were emptied and ended
  uint64_t trials_taken_over = 0;  // by a scheduler from the one before
  uint64_t sessions_lost = 0;
  uint64_t repeated_examples = 0;
  uint64_t checkpoints_made = 0;
  uint64_t copies_restored = 0;  // partitions of tables that were compared with their checkpoint
  uint64_t disk_faults = 0;      // operations that failed, and bits that flipped
  double seconds = 0;            // simulated

  // Of the first server that was killed in a cluster with two copies: until the view in which others serve what it did is on
  // all shards, and until every partition has two copies again; and the messages of that time. 0: never.
  double promoted_seconds = 0;
  double whole_seconds = 0;
  uint64_t recovery_messages = 0;

  // Adds what was tried.
  void Add(const Outcome& other);
  std::string Totals() const;
};

// Runs a scenario to its end. `bug` is planted in the shards if not null.
Outcome Simulate(const Scenario& scenario, const PlantedBug* bug = nullptr, bool trace = false);

// The command that runs a seed again and shows what happened.
std::string ReplayCommand(uint64_t seed);

}  // namespace marquee::simulation

#endif  // MARQUEE_TESTS_SIMULATION_SCENARIO_H_
