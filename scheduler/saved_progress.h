#ifndef MARQUEE_SCHEDULER_SAVED_PROGRESS_H_
#define MARQUEE_SCHEDULER_SAVED_PROGRESS_H_

// What a scheduler notes of what goes on, so that the one that is started when it has died takes the running trials over: the
// newest view, who is there, and each trial's sessions, chunks and clocks (docs/architecture.md, "A new scheduler"). As bytes
// (schemas/progress.capnp) in the StateStore. Value types; no I/O.

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "common/table.h"
#include "common/view.h"
#include "scheduler/clock_table.h"
#include "scheduler/coordinator.h"
#include "scheduler/membership.h"

namespace marquee {

struct SavedCluster {
  View view;
  std::vector<std::string> servers;  // as in CoordinatorContext, like the next one
  std::vector<uint32_t> server_of;
  int replication = 1;

  static std::string Key() { return "cluster"; }
  std::string ToBytes() const;
  // DataLoss for anything that ToBytes did not write; so do the others.
  static absl::StatusOr<SavedCluster> FromBytes(const std::string& bytes);
};

struct SavedMember {
  MemberRecord record;  // without what only the next messages of the member tell: route, time, statistics, session
  std::set<uint64_t> ended;

  static std::string Key(const std::string& name) { return "member/" + name; }
  static bool IsKey(const std::string& key) { return key.rfind("member/", 0) == 0; }
  std::string ToBytes() const;
  static absl::StatusOr<SavedMember> FromBytes(const std::string& bytes);
};

struct SavedTrial {
  struct Session {
    uint64_t number = 0;
    std::string worker;
    uint64_t incarnation = 0;  // of the worker
    uint32_t rank = 0;
    bool lost = false;
    bool trained = false;
    uint64_t clock = 0;
    uint64_t examples = 0;
    double loss_sum = 0;
    std::vector<uint64_t> held;  // chunks
    uint64_t given = 0;          // chunks so far
    uint64_t last_chunk = 0;     // the last one of them, and where it began
    uint64_t last_next = 0;
  };

  std::string name;
  std::string spec;
  std::optional<StateStore::Trial> outcome;  // it has ended, and only its tables and sessions were left; else:
  uint64_t number = 0;
  std::string state;  // TrialState, with the chunks that are held among those that were released
  uint64_t evaluations = 0;
  std::vector<TableDefinition> tables;
  std::vector<Session> sessions;
  ClockTable::Saved clocks;

  static std::string Key(const std::string& name) { return "trial/" + name; }
  static bool IsKey(const std::string& key) { return key.rfind("trial/", 0) == 0; }
  std::string ToBytes() const;
  static absl::StatusOr<SavedTrial> FromBytes(const std::string& bytes);
};

}  // namespace marquee

#endif  // MARQUEE_SCHEDULER_SAVED_PROGRESS_H_
