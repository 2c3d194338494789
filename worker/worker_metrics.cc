#include "worker/worker_metrics.h"

namespace marquee {
namespace {

constexpr absl::Duration kUpdateInterval = absl::Seconds(1);

void AddGrowth(prometheus::Counter& counter, uint64_t before, uint64_t now) {
  counter.Increment(static_cast<double>(now - before));
}

}  // namespace

WorkerMetrics::WorkerMetrics(Metrics& metrics, const Transport& transport)
    : metrics_(metrics),
      transport_(transport),
      transport_metrics_(metrics),
      steps_(metrics.Get(metric::kSteps)),
      examples_(metrics.Get(metric::kExamples)),
      evaluated_(metrics.Get(metric::kEvaluatedExamples)),
      pull_seconds_(metrics.Get(metric::kStepSeconds, {"pull"})),
      wait_seconds_(metrics.Get(metric::kStepSeconds, {"wait"})),
      compute_seconds_(metrics.Get(metric::kStepSeconds, {"compute"})),
      push_seconds_(metrics.Get(metric::kStepSeconds, {"push"})),
      not_finite_(metrics.Get(metric::kNotFinite)),
      staleness_(metrics.Get(metric::kStaleness)),
      violations_(metrics.Get(metric::kStalenessViolations)) {}

void WorkerMetrics::TrialBegins(const std::string& trial) {
  TrialEnds();
  trial_ = trial;
  loss_ = &metrics_.Get(metric::kLoss, {trial});
  clock_ = &metrics_.Get(metric::kWorkerClock, {trial});
  slowest_clock_ = &metrics_.Get(metric::kSlowestClock, {trial});
}

void WorkerMetrics::TrialEnds() {
  if (loss_ == nullptr) return;
  loss_ = clock_ = slowest_clock_ = nullptr;
  for (const GaugeInfo* info : {&metric::kLoss, &metric::kWorkerClock, &metric::kSlowestClock}) {
    metrics_.Remove(*info, {trial_});
  }
}

void WorkerMetrics::StepBegins(const ConsistencyConfig& consistency, uint64_t clock, uint64_t slowest_at_pull) {
  const uint64_t ahead = clock > slowest_at_pull ? clock - slowest_at_pull : 0;
  staleness_.Observe(static_cast<double>(ahead));
  if (consistency.mode == ConsistencyConfig::Mode::kAsync) return;
  const bool bounded = consistency.mode == ConsistencyConfig::Mode::kBounded;
  if (ahead > (bounded ? static_cast<uint64_t>(consistency.staleness) : 0)) violations_.Increment();
}

void WorkerMetrics::StepComputed(const StepSeconds& seconds, double mean_loss) {
  pull_seconds_.Observe(seconds.pull);
  wait_seconds_.Observe(seconds.wait);
  compute_seconds_.Observe(seconds.compute);
  push_seconds_.Observe(seconds.push);
  if (loss_ != nullptr) loss_->Set(mean_loss);
}

void WorkerMetrics::StepsAcknowledged(int steps, uint64_t examples, uint64_t clock, uint64_t slowest_clock) {
  steps_.Increment(steps);
  examples_.Increment(static_cast<double>(examples));
  if (clock_ == nullptr) return;
  clock_->Set(static_cast<double>(clock));
  slowest_clock_->Set(static_cast<double>(slowest_clock));
}

void WorkerMetrics::Update(Driver& driver, absl::Time now) {
  if (now < next_update_) return;
  next_update_ = now + kUpdateInterval;
  transport_metrics_.Update(transport_);
  metrics_.SetMissing(driver.link().registered() ? "" : "not registered with the scheduler");
  CopyCounters(driver.client().counters());
  metrics_.Get(metric::kView).Set(static_cast<double>(driver.link().view().number));
  metrics_.Get(metric::kUnacknowledgedPushes)
      .Set(static_cast<double>(driver.client().pushes_started() - driver.client().pushes_acknowledged()));
  if (driver.link().last_heard() != absl::InfinitePast()) {
    metrics_.Get(metric::kSchedulerSilence).Set(absl::ToDoubleSeconds(now - driver.link().last_heard()));
  }
}

void WorkerMetrics::CopyCounters(const Client::Counters& counters) {
  AddGrowth(metrics_.Get(metric::kClientRequests, {"pull"}), copied_.pulls, counters.pulls);
  AddGrowth(metrics_.Get(metric::kClientRequests, {"push"}), copied_.pushes, counters.pushes);
  AddGrowth(metrics_.Get(metric::kClientRows, {"pull"}), copied_.rows_pulled, counters.rows_pulled);
  AddGrowth(metrics_.Get(metric::kClientRows, {"push"}), copied_.rows_pushed, counters.rows_pushed);
  AddGrowth(metrics_.Get(metric::kClientResent), copied_.resent, counters.resent);
  AddGrowth(metrics_.Get(metric::kClientDuplicates), copied_.duplicates_acknowledged, counters.duplicates_acknowledged);
  AddGrowth(metrics_.Get(metric::kClientErrors), copied_.errors, counters.errors);
  copied_ = counters;
}

}  // namespace marquee
