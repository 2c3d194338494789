#include "scheduler/scheduler_metrics.h"

#include <algorithm>
#include <iterator>

namespace marquee {
namespace {

// How long a trial's last loss and validation are served after its end: Prometheus asks now and then.
constexpr absl::Duration kLastValues = absl::Minutes(1);

}  // namespace

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
  add(metrics_.Get(metric::kMoves, {"primary"}), counters.primaries_moved, before_.primaries_moved);
  add(metrics_.Get(metric::kMoves, {"second"}), counters.copies_moved, before_.copies_moved);
  add(metrics_.Get(metric::kSessionsOpened), counters.sessions_opened, before_.sessions_opened);
  add(metrics_.Get(metric::kSessionsClosed), counters.sessions_closed, before_.sessions_closed);
  add(metrics_.Get(metric::kTrainedExamples), counters.examples, before_.examples);
  add(metrics_.Get(metric::kRepeatedExamples), counters.repeated_examples, before_.repeated_examples);
  add(metrics_.Get(metric::kCheckpoints), counters.checkpoints, before_.checkpoints);
  add(metrics_.Get(metric::kCheckpointsFailed), counters.checkpoints_failed, before_.checkpoints_failed);
  metrics_.Get(metric::kCheckpointNumber).Set(static_cast<double>(counters.checkpoint_number));
  metrics_.Get(metric::kCheckpointBytes).Set(static_cast<double>(counters.checkpoint_bytes));
  metrics_.Get(metric::kCheckpointPause).Set(absl::ToDoubleSeconds(counters.checkpoint_pause));
  add(metrics_.Get(metric::kTrialsRestored), counters.trials_restored, before_.trials_restored);
  add(metrics_.Get(metric::kTrialsTakenOver), counters.trials_taken_over, before_.trials_taken_over);
  metrics_.Get(metric::kCheckpointAge).Set(absl::ToDoubleSeconds(coordinator.checkpoint_age(now)));
  AddRejected(metrics_, counters.rejected, before_.rejected);
  before_ = counters;
  metrics_.Get(metric::kSinglePartitions).Set(static_cast<double>(coordinator.under_replicated_partitions()));
  metrics_.Get(metric::kView).Set(static_cast<double>(coordinator.view().number));
  metrics_.Get(metric::kWireVersion).Set(static_cast<double>(coordinator.wire_version()));
  UpdateMembers(coordinator);
  UpdateTrials(coordinator.trials(now), now);
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

void SchedulerMetrics::UpdateTrials(const std::vector<Coordinator::TrialView>& trials, absl::Time now) {
  std::map<TrialStatus, double> count;
  for (const Coordinator::TrialView& trial : trials) {
    ++count[trial.trial.status];
    if (trial.trial.status == TrialStatus::kRunning) ShowTrial(trial, now);
  }
  for (auto trial = shown_.begin(); trial != shown_.end();) {
    trial = HideTrial(trial->first, trial->second, now) ? shown_.erase(trial) : std::next(trial);
  }
  metrics_.Get(metric::kTrials, {"pending"}).Set(count[TrialStatus::kPending]);
  metrics_.Get(metric::kTrials, {"running"}).Set(count[TrialStatus::kRunning]);
  metrics_.Get(metric::kTrials, {"finished"}).Set(count[TrialStatus::kFinished]);
  metrics_.Get(metric::kTrials, {"stopped"}).Set(count[TrialStatus::kStopped]);
  metrics_.Get(metric::kTrials, {"failed"}).Set(count[TrialStatus::kFailed]);
}

void SchedulerMetrics::ShowTrial(const Coordinator::TrialView& trial, absl::Time now) {
  const std::string& name = trial.trial.name;
  Shown& shown = shown_[name];
  shown.last_seen = now;
  metrics_.Get(metric::kSlowestClock, {name}).Set(static_cast<double>(trial.slowest_clock));
  metrics_.Get(metric::kFastestClock, {name}).Set(static_cast<double>(trial.fastest_clock));
  metrics_.Get(metric::kTrialRate, {name}).Set(trial.examples_per_second);
  metrics_.Get(metric::kTrialLoss, {name}).Set(trial.loss);
  metrics_.Get(metric::kTrialEpoch, {name}).Set(trial.epoch + trial.epoch_progress);
  if (!trial.validation.has_value()) return;
  shown.validation = trial.validation->first;
  metrics_.Get(metric::kTrialValidation, {name, shown.validation}).Set(trial.validation->second);
}

bool SchedulerMetrics::HideTrial(const std::string& name, const Shown& shown, absl::Time now) {
  if (shown.last_seen == now) return false;
  for (const GaugeInfo* info : {&metric::kSlowestClock, &metric::kFastestClock, &metric::kTrialRate}) {
    metrics_.Remove(*info, {name});
  }
  if (now - shown.last_seen < kLastValues) return false;
  for (const GaugeInfo* info : {&metric::kTrialLoss, &metric::kTrialEpoch}) metrics_.Remove(*info, {name});
  if (!shown.validation.empty()) metrics_.Remove(metric::kTrialValidation, {name, shown.validation});
  return true;
}

}  // namespace marquee
