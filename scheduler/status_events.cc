#include "scheduler/status_events.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace marquee {
namespace {

constexpr absl::Duration kBetweenRefused = absl::Seconds(10);  // so that a flood of them does not drive out the rest

std::string Count(uint64_t number, std::string_view one, std::string_view many) {
  return fmt::format("{} {}", number, number == 1 ? one : many);
}

// At most `length` bytes, cut between characters.
std::string Cut(std::string text, size_t length) {
  if (text.size() <= length) return text;
  while (length > 0 && (static_cast<unsigned char>(text[length]) & 0xc0U) == 0x80U) --length;
  text.resize(length);
  return text + "…";
}

std::string MegabytesOf(uint64_t bytes) { return fmt::format("{:.1f} MB", static_cast<double>(bytes) / 1e6); }

}  // namespace

std::string_view LevelWord(StatusEvents::Level level) {
  switch (level) {
    case StatusEvents::Level::kInfo:
      return "info";
    case StatusEvents::Level::kWarning:
      return "warning";
    case StatusEvents::Level::kError:
      return "error";
  }
  return "";
}

void StatusEvents::Add(Level level, std::string text, absl::Time time) {
  events_.push_back({.time = time, .level = level, .text = Cut(std::move(text), kMaxLength)});
  if (events_.size() > kKept) events_.pop_front();
}

void StatusEvents::Look(const Coordinator& coordinator, absl::Time now, absl::Time time) {
  LookAtMembers(coordinator, time);
  LookAtCopies(coordinator, time);
  LookAtTrials(coordinator.trials(now), time);
  const Coordinator::Counters& counters = coordinator.counters();
  if (const uint64_t taken = counters.trials_taken_over - before_.trials_taken_over; taken > 0) {
    Add(Level::kInfo, fmt::format("{} on as under the scheduler before", Count(taken, "trial runs", "trials run")), time);
  }
  LookAtCheckpoints(counters, time);
  if (now >= next_refused_) {
    next_refused_ = now + kBetweenRefused;
    LookAtRefused(counters, time);
  }
  std::map<std::string, uint64_t> rejected = std::exchange(before_.rejected, {});
  before_ = counters;
  before_.rejected = std::move(rejected);
  first_ = false;
}

void StatusEvents::LookAtMembers(const Coordinator& coordinator, absl::Time time) {
  for (const Coordinator::Member& member : coordinator.members()) {
    const std::string_view role = member.server ? "server" : "worker";
    const auto known = members_.find(member.name);
    const bool same = known != members_.end() && known->second == member.incarnation && member.alive;
    if (same) continue;
    if (known != members_.end()) {
      Add(member.server ? Level::kError : Level::kWarning, fmt::format("{} {} is lost", role, member.name), time);
      members_.erase(known);
    }
    if (!member.alive) continue;
    Add(Level::kInfo, fmt::format("{} {} has joined, on {}", role, member.name, member.host), time);
    members_[member.name] = member.incarnation;
  }
}

void StatusEvents::LookAtCopies(const Coordinator& coordinator, absl::Time time) {
  const uint64_t promoted = coordinator.counters().partitions_promoted - before_.partitions_promoted;
  const uint64_t view = coordinator.view().number;
  if (promoted > 0) {
    Add(Level::kWarning, fmt::format("second copies of {} took over", Count(promoted, "partition", "partitions")), time);
  }
  // Copies may be filled again before anybody looks: then they were missing and whole again between two looks.
  const uint64_t lost = coordinator.counters().servers_lost - before_.servers_lost;
  const std::vector<ShardIndex>& backups = coordinator.view().backups;
  const bool copies = std::any_of(backups.begin(), backups.end(), [](ShardIndex shard) { return shard != kNoShard; });
  if (lost > 0 && copies) view_of_loss_ = view_;
  if (view != view_ && view_ == 0) {
    Add(Level::kInfo, fmt::format("all servers are there: view {}", view), time);
  } else if (view != view_) {
    Add(Level::kInfo, fmt::format("view {} is installed", view), time);
  }
  view_ = view;
  const uint64_t single = coordinator.under_replicated_partitions();
  if (single > 0 && single_ == 0) {
    Add(Level::kWarning, fmt::format("{} without a second copy", Count(single, "partition is", "partitions are")), time);
  } else if (single == 0 && (single_ > 0 || (view_of_loss_.has_value() && view > *view_of_loss_))) {
    Add(Level::kInfo, "every partition has its second copy again", time);
  }
  if (single > 0 || (view_of_loss_.has_value() && view > *view_of_loss_)) view_of_loss_.reset();
  single_ = single;
}

void StatusEvents::LookAtTrials(const std::vector<Coordinator::TrialView>& trials, absl::Time time) {
  for (const Coordinator::TrialView& view : trials) {
    const std::string& name = view.trial.name;
    const TrialStatus status = view.trial.status;
    Trial& before = trials_[name];
    const Trial now{.status = status, .number = view.number};
    const bool again = status == TrialStatus::kRunning && before.status == status && before.number != view.number;
    const Trial last = std::exchange(before, now);
    if (last.status == status && !again) continue;
    if (first_) continue;  // ended before this process began
    switch (status) {
      case TrialStatus::kPending:
        Add(Level::kWarning, fmt::format("trial {} waits to start again", name), time);
        break;
      case TrialStatus::kRunning:
        Add(Level::kInfo, fmt::format("trial {} {}", name, again ? "was started again" : "started"), time);
        break;
      case TrialStatus::kFinished:
        Add(Level::kInfo, fmt::format("trial {} finished after {}", name, Count(view.trial.result.epochs, "epoch", "epochs")),
            time);
        break;
      case TrialStatus::kStopped:
        Add(Level::kInfo,
            fmt::format("trial {} stopped: {}", name,
                        view.trial.reason.empty() ? "others of the sweep are better" : view.trial.reason),
            time);
        break;
      case TrialStatus::kFailed:
        Add(Level::kError, fmt::format("trial {} failed: {}", name, view.trial.reason), time);
        break;
    }
  }
}

void StatusEvents::LookAtCheckpoints(const Coordinator::Counters& counters, absl::Time time) {
  if (counters.checkpoints_failed > before_.checkpoints_failed) {
    Add(Level::kError, "a checkpoint was given up; training goes on (the scheduler's log says why)", time);
  }
  if (counters.checkpoints > before_.checkpoints) {
    Add(Level::kInfo,
        fmt::format("checkpoint {} is written, {}; training paused for {:.2f} s", counters.checkpoint_number,
                    MegabytesOf(counters.checkpoint_bytes), absl::ToDoubleSeconds(counters.checkpoint_pause)),
        time);
  }
  const uint64_t restored = counters.trials_restored - before_.trials_restored;
  if (restored > 0) {
    Add(Level::kWarning, fmt::format("{} on from a checkpoint", Count(restored, "trial goes", "trials go")), time);
  }
}

void StatusEvents::LookAtRefused(const Coordinator::Counters& counters, absl::Time time) {
  for (const auto& [reason, count] : counters.rejected) {
    uint64_t& before = before_.rejected[reason];
    // A member that the scheduler does not know is told to register: that is how members come back.
    if (count > before && reason != "unknownIncarnation" && reason != "unknownSession") {
      Add(Level::kWarning, fmt::format("{} refused: {}", Count(count - before, "message was", "messages were"), reason), time);
    }
    before = count;
  }
}

}  // namespace marquee
