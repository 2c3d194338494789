#ifndef MARQUEE_SCHEDULER_MEMBERSHIP_H_
#define MARQUEE_SCHEDULER_MEMBERSHIP_H_

// Who is there: servers and workers by name, the incarnation that speaks for each name, and when each was last heard. No I/O.

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "common/message.h"
#include "common/server_statistics.h"
#include "scheduler/rejection.h"

namespace marquee {

struct MemberRecord {
  std::string name;
  bool server = false;
  bool alive = false;
  uint64_t incarnation = 0;
  WireVersions wire;  // that it speaks
  std::string host;
  std::vector<std::string> endpoints;  // of a server's shards
  std::string metrics_endpoint;
  Peer route;  // the newest on which it was heard
  absl::Time heard = absl::InfinitePast();
  bool dismissed = false;  // was told that the sweep is over
  // Of servers: as of the last heartbeat, and the most that any heartbeat of this incarnation said.
  ServerStatistics statistics;
  uint64_t most_rows = 0;
  uint64_t most_bytes = 0;
  // Of workers.
  uint64_t session = 0;        // 0: free
  bool wants_session = false;  // asked for an assignment since it had the last one
};

class Membership {
 public:
  struct Options {
    std::set<std::string> servers;  // names: nobody else may register as a server, and no worker under these
    absl::Duration lease;
    uint64_t data_checksum = 0;  // 0: not checked
  };
  explicit Membership(Options options) : options_(std::move(options)) {}

  // Takes in a process, or refuses it. `lost` names a member that this ends: the process that had the name before. A process
  // whose name was taken over by a later one, or that was seen to end, stays refused; so does one that has no version of the
  // wire in common with this program and all living members, since servers and workers speak to one another.
  MaybeRejection Register(const Message& message, absl::Time now, std::string* lost);

  // The living member that sent a message; nullptr if there is none of that name and incarnation.
  MemberRecord* Find(const std::string& name, uint64_t incarnation);
  MemberRecord* FindByName(const std::string& name);             // alive or not
  const MemberRecord* FindAlive(const std::string& name) const;  // nullptr if it is not

  // Takes the members for dead that were silent for longer than the lease, and returns their names, in order.
  std::vector<std::string> Expire(absl::Time now);
  // The process of that name is known to have ended. False if it was not alive.
  bool End(const std::string& name);
  // Gives every member a new lease: nobody could be heard for a while.
  void Forgive(absl::Time now);
  absl::Time next_expiry() const;

  // Incarnations of a name that may not come back.
  std::set<uint64_t> EndedOf(const std::string& name) const;
  // A member of the scheduler before this one. If it was alive it has a lease from now on to be heard.
  void Restore(MemberRecord record, std::set<uint64_t> ended, absl::Time now);

  void SetServers(std::set<std::string> names) { options_.servers = std::move(names); }
  // Whether all of these are alive. If so, of all their shards, in the order of names: endpoints, the index of each one's
  // server among the names, and its incarnation.
  bool AllAlive(const std::vector<std::string>& servers) const;
  std::vector<std::string> ShardEndpoints(const std::vector<std::string>& servers) const;
  std::vector<uint32_t> ShardServers(const std::vector<std::string>& servers) const;
  std::vector<uint64_t> ShardProcesses(const std::vector<std::string>& servers) const;
  std::vector<std::string> FreeWorkers() const;  // alive, without a session, asking for one; by name
  // The highest version of the wire that this program and all living members speak: what needs a later one has to wait.
  uint16_t wire_version() const { return WireWithout("").newest; }
  const std::map<std::string, MemberRecord>& all() const { return members_; }

 private:
  MaybeRejection CheckRegister(wire::Register::Reader reader, const std::string& name, uint64_t incarnation) const;
  MaybeRejection CheckEndpoints(wire::Register::Reader reader, const std::string& name) const;
  MaybeRejection CheckWire(WireVersions wire, const std::string& name) const;
  // What this program and all living members but that one have in common; never empty.
  WireVersions WireWithout(const std::string& name) const;

  Options options_;
  std::map<std::string, MemberRecord> members_;
  std::map<std::string, std::set<uint64_t>> ended_;  // incarnations of a name that may not come back
};

}  // namespace marquee

#endif  // MARQUEE_SCHEDULER_MEMBERSHIP_H_
