#include "scheduler/sweep_progress.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "scheduler/metric_goal.h"

namespace marquee {
namespace {

constexpr absl::Duration kRedraw = absl::Milliseconds(500);
constexpr absl::Duration kPlainLines = absl::Seconds(10);

std::string WithCommas(double value) {
  std::string digits = fmt::format("{:.0f}", value);
  for (int i = static_cast<int>(digits.size()) - 3; i > 0; i -= 3) digits.insert(static_cast<size_t>(i), 1, ',');
  return digits;
}

std::string ShortDuration(absl::Duration duration) {
  const int64_t seconds = std::max<int64_t>(0, absl::ToInt64Seconds(duration));
  if (seconds < 60) return fmt::format("{}s", seconds);
  if (seconds < 3600) return fmt::format("{}m {:02}s", seconds / 60, seconds % 60);
  return fmt::format("{}h {:02}m", seconds / 3600, seconds % 3600 / 60);
}

// ", validation top_100 0.2345" by the newest validation.
std::string ScoreOf(const Coordinator::TrialView& view, const std::string& sweep_metric) {
  const std::string metric = MetricGoal::Of(view.config, sweep_metric, true).metric;
  const auto found = view.trial.result.validation.find(metric);
  return found == view.trial.result.validation.end() ? "" : fmt::format(", validation {} {:.4f}", metric, found->second);
}

// What is said of a trial when its status changes; empty while it is pending.
std::string StatusLine(const Coordinator::TrialView& view, const std::string& metric) {
  const StateStore::Trial& trial = view.trial;
  const TrialResult& result = trial.result;
  switch (trial.status) {
    case TrialStatus::kPending:
      return "";
    case TrialStatus::kRunning:
      return fmt::format("{}: started", trial.name);
    case TrialStatus::kFailed:
      return fmt::format("{}: failed: {}", trial.name, trial.reason);
    case TrialStatus::kStopped:
      if (!trial.reason.empty()) return fmt::format("{}: not run: {}", trial.name, trial.reason);
      return fmt::format("{}: stopped at epoch {} of {}{}", trial.name, result.epochs, view.config.model.epochs,
                         ScoreOf(view, metric));
    case TrialStatus::kFinished: {
      const std::string early = result.stopped.empty() ? "" : fmt::format(", early, at epoch {}", result.epochs);
      return fmt::format("{}: finished in {}{}{}, {} examples/s", trial.name, ShortDuration(absl::Seconds(result.seconds)),
                         early, ScoreOf(view, metric), WithCommas(result.examples_per_second));
    }
  }
  return "";
}

}  // namespace

std::string ProgressLine(const Coordinator::TrialView& view) {
  std::string line = fmt::format("{}: {}", view.trial.name, view.phase);
  if (view.phase != "training") return line;
  line += fmt::format(", epoch {}/{} ({:.0f} %), {} examples/s", view.epoch + 1, view.config.model.epochs,
                      100 * view.epoch_progress, WithCommas(view.examples_per_second));
  if (view.loss != 0) line += fmt::format(", loss {:.4f}", view.loss);
  if (view.time_left.has_value()) line += fmt::format(", {} left", ShortDuration(*view.time_left));
  return line;
}

void SweepProgress::Clear() {
  if (drawn_ > 0) fmt::print(stream_, "\x1b[{}A\x1b[J", drawn_);
  drawn_ = 0;
}

void SweepProgress::Say(const std::string& line) {
  Clear();
  fmt::print(stream_, "{}\n", line);
  std::fflush(stream_);
}

void SweepProgress::SayMembers(const std::vector<Coordinator::Member>& members) {
  for (const Coordinator::Member& member : members) {
    const std::string role = member.server ? "server" : "worker";
    const auto known = members_.find(member.name);
    if (member.alive && (known == members_.end() || known->second != member.incarnation)) {
      Say(fmt::format("{} {} is there, on {}", role, member.name, member.host));
      members_[member.name] = member.incarnation;
    } else if (!member.alive && known != members_.end()) {
      Say(fmt::format("{} {} is gone", role, member.name));
      members_.erase(known);
    }
  }
}

void SweepProgress::SayTrials(const std::vector<Coordinator::TrialView>& trials) {
  for (const Coordinator::TrialView& trial : trials) {
    std::string& said = trials_[trial.trial.name];
    std::string line = StatusLine(trial, metric_);
    if (trial.trial.status == TrialStatus::kPending && !said.empty()) line = fmt::format("{}: starts anew", trial.trial.name);
    if (line != said && !line.empty()) Say(line);
    said = line;
  }
}

void SweepProgress::Draw(const std::vector<Coordinator::TrialView>& trials) {
  Clear();
  size_t waiting = 0;
  for (const Coordinator::TrialView& trial : trials) {
    if (trial.trial.status == TrialStatus::kPending) ++waiting;
    if (trial.trial.status != TrialStatus::kRunning) continue;
    fmt::print(stream_, "{}\n", ProgressLine(trial));
    ++drawn_;
  }
  if (terminal_ && waiting > 0) {
    fmt::print(stream_, "{} more to run\n", waiting);
    ++drawn_;
  }
  if (!terminal_) drawn_ = 0;
  std::fflush(stream_);
}

void SweepProgress::Update(const Coordinator& coordinator, absl::Time now) {
  SayMembers(coordinator.members());
  const std::vector<Coordinator::TrialView> trials = coordinator.trials(now);
  SayTrials(trials);
  if (next_draw_ == absl::InfinitePast()) next_draw_ = now + (terminal_ ? absl::ZeroDuration() : kPlainLines);
  if (now < next_draw_) return;
  next_draw_ = now + (terminal_ ? kRedraw : kPlainLines);
  Draw(trials);
}

}  // namespace marquee
