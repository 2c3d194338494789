#include "scheduler/scheduler_metrics.h"

#include <algorithm>

namespace marquee {

void SchedulerMetrics::Handled(wire::Envelope::Body::Which request, absl::Duration took) {
  const std::string operation(BodyName(request));
  metrics_.Get(metric::kRequests, {operation}).Increment();
  metrics_.Get(metric::kRequestDuration, {operation}).Observe(absl::ToDoubleSeconds(took));
}

void SchedulerMetrics::Update(const Coordinator& coordinator, const Transport& transport, absl::Time now) {
  transport_.Update(transport);
  const Coordinator::Counters& counters = coordinator.counters();
  const auto add = [](prometheus::Counter& counter, uint64_t value, uint64_t before) {
    counter.Increment(static_cast<double>(value - before));
  };
  add(metrics_.Get(metric::kHeartbeats), counters.heartbeats, before_.heartbeats);
  add(metrics_.Get(metric::kChunksLeased), counters.chunks_leased, before_.chunks_leased);
  add(metrics_.Get(metric::kChunksReleased), counters.chunks_released, before_.chunks_released);
  add(metrics_.Get(metric::kTicks), counters.ticks, before_.ticks);
  add(metrics_.Get(metric::kMembersLost, {"worker"}), counters.workers_lost, before_.workers_lost);
  add(metrics_.Get(metric::kMembersLost, {"server"}), counters.servers_lost, before_.servers_lost);
  add(metrics_.Get(metric::kPromotions), counters.partitions_promoted, before_.partitions_promoted);
  add(metrics_.Get(metric::kSessionsOpened), counters.sessions_opened, before_.sessions_opened);
  add(metrics_.Get(metric::kSessionsClosed), counters.sessions_closed, before_.sessions_closed);
  add(metrics_.Get(metric::kTrainedExamples), counters.examples, before_.examples);
  add(metrics_.Get(metric::kRepeatedExamples), counters.repeated_examples, before_.repeated_examples);
  add(metrics_.Get(metric::kCheckpoints), counters.checkpoints, before_.checkpoints);
  add(metrics_.Get(metric::kCheckpointsFailed), counters.checkpoints_failed, before_.checkpoints_failed);
  metrics_.Get(metric::kCheckpointNumber).Set(static_cast<double>(counters.checkpoint_number));
  metrics_.Get(metric::kCheckpointBytes).Set(static_cast<double>(counters.checkpoint_bytes));
  metrics_.Get(metric::kCheckpointPause).Set(absl::ToDoubleSeconds(counters.checkpoint_pause));
  AddRejected(metrics_, counters.rejected, before_.rejected);
  before_ = counters;
  metrics_.Get(metric::kSinglePartitions).Set(static_cast<double>(coordinator.under_replicated_partitions()));
  metrics_.Get(metric::kView).Set(static_cast<double>(coordinator.view().number));
  UpdateMembers(coordinator);
  UpdateTrials(coordinator.trials(now));
}

void SchedulerMetrics::Update(const ClusterFollower& follower, const Coordinator& coordinator) {
  const std::vector<ServerPlace>& leaving = follower.file().leaving();
  metrics_.Get(metric::kServersWanted).Set(static_cast<double>(follower.file().config().servers.size()));
  metrics_.Get(metric::kServersLeaving).Set(static_cast<double>(leaving.size()));
  metrics_.Get(metric::kPartitionsLeaving)
      .Set(static_cast<double>(PartitionsOn(leaving, coordinator.view(), coordinator.members())));
  metrics_.Get(metric::kEditsRefused).Increment(static_cast<double>(follower.refused() - refused_before_));
  refused_before_ = follower.refused();
}

void SchedulerMetrics::UpdateMembers(const Coordinator& coordinator) {
  double servers = 0;
  double workers = 0;
  for (const Coordinator::Member& member : coordinator.members()) {
    if (member.alive) ++(member.server ? servers : workers);
  }
  metrics_.Get(metric::kMembers, {"server"}).Set(servers);
  metrics_.Get(metric::kMembers, {"worker"}).Set(workers);
}

void SchedulerMetrics::UpdateTrials(const std::vector<Coordinator::TrialView>& trials) {
  std::map<TrialStatus, double> count;
  std::set<std::string> running;
  for (const Coordinator::TrialView& trial : trials) {
    ++count[trial.trial.status];
    if (trial.trial.status != TrialStatus::kRunning) continue;
    const std::string& name = trial.trial.name;
    running.insert(name);
    metrics_.Get(metric::kSlowestClock, {name}).Set(static_cast<double>(trial.slowest_clock));
    metrics_.Get(metric::kFastestClock, {name}).Set(static_cast<double>(trial.fastest_clock));
    metrics_.Get(metric::kTrialLoss, {name}).Set(trial.loss);
    metrics_.Get(metric::kTrialEpoch, {name}).Set(trial.epoch + trial.epoch_progress);
    metrics_.Get(metric::kTrialRate, {name}).Set(trial.examples_per_second);
  }
  for (const std::string& name : running_) {
    if (running.contains(name)) continue;
    for (const GaugeInfo* info :
         {&metric::kSlowestClock, &metric::kFastestClock, &metric::kTrialLoss, &metric::kTrialEpoch, &metric::kTrialRate}) {
      metrics_.Remove(*info, {name});
    }
  }
  running_ = std::move(running);
  metrics_.Get(metric::kTrials, {"pending"}).Set(count[TrialStatus::kPending]);
  metrics_.Get(metric::kTrials, {"running"}).Set(count[TrialStatus::kRunning]);
  metrics_.Get(metric::kTrials, {"finished"}).Set(count[TrialStatus::kFinished]);
  metrics_.Get(metric::kTrials, {"stopped"}).Set(count[TrialStatus::kStopped]);
  metrics_.Get(metric::kTrials, {"failed"}).Set(count[TrialStatus::kFailed]);
}

}  // namespace marquee
