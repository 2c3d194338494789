#ifndef MARQUEE_SCHEDULER_STATUS_MODEL_H_
#define MARQUEE_SCHEDULER_STATUS_MODEL_H_

// What the status page shows, as one JSON text; docs/status.md lists its fields. The thread that drives the coordinator looks
// at it about once a second and makes the text; threads that answer readers only ever have the text. Keeps what the coordinator
// does not: recent events, and points of the loss curves of trials, in bounded number. Not thread-safe.

#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "common/cluster_config.h"
#include "scheduler/coordinator.h"
#include "scheduler/leaderboard.h"
#include "scheduler/status_events.h"
#include "scheduler/sweep.h"

namespace marquee {

class StatusModel {
 public:
  static constexpr size_t kMaxTrials = 500;       // in the list
  static constexpr size_t kMaxCurves = 12;        // of each kind of model: those that run, then the best
  static constexpr size_t kMaxCurvePoints = 200;  // of a trial; beyond it every second one is forgotten

  // `cluster` and `sweep` must outlive the model.
  StatusModel(std::string name, const ClusterConfig& cluster, const Sweep& sweep, Leaderboard::Data data, absl::Time started);

  // `now` is the coordinator's time, `time` the calendar's.
  void Look(const Coordinator& coordinator, absl::Time now, absl::Time time);
  StatusEvents& events() { return events_; }

  // What was seen by the last look. `report` says whether there is one to link to.
  std::string Json(bool report) const;

  // What the scheduler waits for before it can work; empty: nothing.
  static std::string Missing(const Coordinator& coordinator, const ClusterConfig& cluster);

 private:
  using Points = std::vector<std::pair<double, double>>;  // epochs, loss

  void AddPoints(const std::vector<Coordinator::TrialView>& trials);
  nlohmann::ordered_json Problems() const;
  nlohmann::ordered_json ViewJson() const;
  nlohmann::ordered_json ServersJson() const;
  nlohmann::ordered_json WorkersJson() const;
  nlohmann::ordered_json TrialsJson() const;
  nlohmann::ordered_json TrialJson(const Coordinator::TrialView& view, bool curve) const;
  nlohmann::ordered_json LeaderboardJson() const;
  nlohmann::ordered_json CheckpointJson() const;
  nlohmann::ordered_json EventsJson() const;
  std::vector<const Coordinator::TrialView*> WithCurves() const;
  const Coordinator::Member* Find(const std::string& name) const;

  std::string name_;
  const ClusterConfig& cluster_;
  const Sweep& sweep_;
  Leaderboard::Data data_;
  absl::Time started_;
  StatusEvents events_;
  std::map<std::string, Points> curves_;  // by trial
  size_t results_ = 0;                    // of trials, when the leaderboard was made
  nlohmann::ordered_json leaderboard_ = nlohmann::ordered_json::array();

  // As of the last look.
  absl::Time now_ = absl::InfinitePast();
  absl::Time time_ = absl::InfinitePast();
  bool done_ = false;
  std::vector<Coordinator::Member> members_;
  std::vector<Coordinator::TrialView> trials_;
  View view_;
  uint64_t single_ = 0;
  Coordinator::Counters counters_;
  absl::Time checkpoint_written_ = absl::InfinitePast();
  bool checkpoint_failed_ = false;  // the last attempt
};

}  // namespace marquee

#endif  // MARQUEE_SCHEDULER_STATUS_MODEL_H_
