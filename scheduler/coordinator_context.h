#ifndef MARQUEE_SCHEDULER_COORDINATOR_CONTEXT_H_
#define MARQUEE_SCHEDULER_COORDINATOR_CONTEXT_H_

// What the parts of the coordinator share: who we are, who is there, the shards, the numbers that are never used twice.

#include <algorithm>
#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "common/view.h"
#include "scheduler/asha.h"
#include "scheduler/coordinator.h"
#include "scheduler/membership.h"
#include "scheduler/model_store.h"
#include "scheduler/shard_requests.h"

namespace marquee {

struct CoordinatorContext {
  Identity self;
  CoordinatorOptions options;
  StateStore& store;
  ModelStore* models;  // may be null
  std::optional<Asha> asha;
  StateStore::Numbers numbers;
  Membership members;
  ShardRequests shards;
  View view;                         // the one that all shards have installed; number 0 before there is one
  std::vector<std::string> wanted;   // servers that are to hold partitions
  std::vector<std::string> servers;  // that have shards in the view; empty: one that had is gone, and its place is free
  std::vector<uint32_t> server_of;   // by shard of the view: index into servers
  std::vector<bool> alive;           // by shard of the view: its server is the process that the view names
  Coordinator::Counters counters;
  absl::Status status;  // not OK: the sweep cannot go on
  bool takes_notes = false;

  bool IsWanted(const std::string& server) const { return std::find(wanted.begin(), wanted.end(), server) != wanted.end(); }
  // Those may register that are wanted, and those that still hold something.
  void AllowServers() {
    std::set<std::string> names(wanted.begin(), wanted.end());
    for (const std::string& server : servers) {
      if (!server.empty()) names.insert(server);
    }
    members.SetServers(std::move(names));
  }

  // Asks all shards that are alive.
  BroadcastNumber AskAll(const ShardRequests::Fill& fill, absl::Time now, Outbox& outbox) {
    return shards.StartAlive(view, alive, fill, now, outbox);
  }

  // Saves `numbers` as they stand now; numbers are saved before they are used. False: see status.
  bool SaveNumbers() { return Keep(store.SaveNumbers(numbers)); }
  // Keeps the first error.
  bool Keep(const absl::Status& result) {
    if (status.ok()) status = result;
    return result.ok();
  }

  // Notes for a scheduler that comes after this one (scheduler/saved_progress.h); nothing if nobody is to take over. Where they
  // cannot be written the sweep goes on, and all notes are removed.
  void Note(const std::string& key, const std::string& bytes);
  void ForgetNote(const std::string& key);
  void NoteMember(const std::string& name);
  bool NoteView(const View& next);  // false: see status
};

}  // namespace marquee

#endif  // MARQUEE_SCHEDULER_COORDINATOR_CONTEXT_H_
