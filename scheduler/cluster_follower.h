#ifndef MARQUEE_SCHEDULER_CLUSTER_FOLLOWER_H_
#define MARQUEE_SCHEDULER_CLUSTER_FOLLOWER_H_

// Has the servers and workers of the cluster file run, and follows its edits while the sweep goes on: tells the coordinator
// which servers are to hold partitions, starts processes that were added, and ends those that are not needed any more. A server
// that was taken out of the file goes on until nothing is left on it.
//
// With launcher 'local' it starts and ends processes itself; with 'external' it says which ones somebody else is to start and
// may end. An edit that cannot be followed is logged with what is wrong, and changes nothing. Uses the thread that drives the
// coordinator.

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "common/message.h"
#include "common/view.h"
#include "scheduler/cluster_file.h"
#include "scheduler/coordinator.h"
#include "scheduler/launcher.h"

namespace marquee {

class ClusterFollower {
 public:
  struct Options {
    ProcessInputs processes;  // the cluster file's own path
    std::string copy;         // where the file is written to as it is in use
    std::string log_folder;
    uint32_t workers_per_trial = 1;
  };
  // `file` must outlive the follower. `say` tells people what to do.
  ClusterFollower(ClusterFile& file, Options options, std::function<void(const std::string&)> say);

  absl::Status Start(absl::Time now);

  // Does what is due. `asked`: the file is to be looked at now. An error means that the sweep cannot go on.
  absl::Status Poll(bool asked, absl::Time now, Coordinator& coordinator, Outbox& outbox);

  const ClusterFile& file() const { return file_; }
  uint64_t refused() const { return refused_; }     // edits
  Launcher* launcher() { return launcher_.get(); }  // null with launcher: external

 private:
  bool UsesCopy() const;
  absl::Status Follow(ClusterFile::Version version, absl::Time now, Coordinator& coordinator, Outbox& outbox);
  absl::Status RunProcesses(const ClusterConfig& before, absl::Time now);
  void Refuse(const absl::Status& why);
  void SayWhatToRun(const ClusterConfig& before) const;
  void EndEmptied(const Coordinator& coordinator, absl::Time now);

  ClusterFile& file_;
  Options options_;
  const std::function<void(const std::string&)> say_;
  std::unique_ptr<Launcher> launcher_;
  uint64_t refused_ = 0;
};

// Partitions that have a copy, whole or in the making, on one of these servers.
uint64_t PartitionsOn(const std::vector<ServerPlace>& servers, const View& view,
                      const std::vector<Coordinator::Member>& members);

// Refuses a cluster with fewer workers than a trial needs. `where` names the file.
absl::Status CheckWorkers(const ClusterConfig& cluster, uint32_t workers_per_trial, const std::string& where);

}  // namespace marquee

#endif  // MARQUEE_SCHEDULER_CLUSTER_FOLLOWER_H_
