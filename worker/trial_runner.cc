#include "worker/trial_runner.h"

#include <fmt/format.h>

#include <utility>

#include "common/log.h"
namespace marquee {
namespace {

constexpr absl::Duration kPumpInterval = absl::Milliseconds(100);

}  // namespace

TrialRunner::TrialRunner(WorkerContext& context) : context_(context), driver_(context.driver) {}

absl::Status TrialRunner::Run() {
  while (true) {
    if (absl::Status status = WaitForAssignment(); !status.ok()) return status;
    if (!driver_.link().assignment().has_value()) return absl::OkStatus();
    const TrialAssignment assignment = *driver_.link().assignment();
    LogInfo("trial begins", {{"trial", assignment.name},
                             {"session", assignment.session},
                             {"rank", assignment.rank},
                             {"workers", assignment.workers}});
    context_.metrics.TrialBegins(assignment.name);
    absl::Status result = RunTrial(assignment);
    context_.metrics.TrialEnds();
    if (!driver_.link().status().ok()) return driver_.link().status();
    if (!result.ok()) {
      LogError("trial failed", {{"trial", assignment.name}, {"reason", result.ToString()}});
      if (result = ReportFailure(result); !result.ok()) return result;
    } else {
      LogInfo("trial ends", {{"trial", assignment.name}, {"lost", driver_.link().session_lost()}});
    }
    driver_.client().StartSession(0);
    driver_.link().FinishSession(Driver::now(), driver_.outbox());
  }
}

absl::Status TrialRunner::WaitForAssignment() {
  while (!driver_.link().assignment().has_value()) {
    if (driver_.link().shutdown() || context_.stop) return absl::OkStatus();
    if (context_.Leaving()) {
      return absl::UnavailableError(
          fmt::format("the scheduler has not answered for {}", absl::FormatDuration(context_.orphan_after)));
    }
    if (absl::Status status = driver_.Pump(kPumpInterval); !status.ok()) return status;
    context_.metrics.Update(driver_, Driver::now());
  }
  return absl::OkStatus();
}

absl::Status TrialRunner::RunTrial(const TrialAssignment& assignment) {
  absl::StatusOr<TrialConfig> config = ParseTrialConfig(assignment.spec);
  if (!config.ok()) return config.status();
  absl::StatusOr<const Split*> split = SplitFor(config->split);
  if (!split.ok()) return split.status();
  TrialSession session(context_, assignment, *std::move(config), **split);
  return session.Run();
}

absl::StatusOr<const Split*> TrialRunner::SplitFor(const SplitConfig& config) {
  if (split_ == nullptr || !(config == split_config_)) {
    absl::StatusOr<Split> split = context_.keep_alive.During([&] { return MakeSplit(context_.data, config); });
    if (!split.ok()) return split.status();
    split_ = std::make_unique<Split>(*std::move(split));
    split_config_ = config;
  }
  return split_.get();
}

absl::Status TrialRunner::ReportFailure(const absl::Status& failure) {
  driver_.link().FailTrial(failure.ToString(), Driver::now(), driver_.outbox());
  while (!driver_.link().session_lost() && !context_.Leaving()) {
    if (absl::Status status = driver_.Pump(kPumpInterval); !status.ok()) return status;
  }
  return absl::OkStatus();
}

}  // namespace marquee
