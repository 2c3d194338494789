#ifndef MARQUEE_SCHEDULER_STATUS_EVENTS_H_
#define MARQUEE_SCHEDULER_STATUS_EVENTS_H_

// What has happened to a cluster of late, for its status page: members that came and went, copies that took over, trials,
// checkpoints, messages that were refused. Found by looking at the coordinator and comparing with the last look, so that the
// coordinator knows nothing of it. The newest ones are kept, in bounded number and length. Not thread-safe.

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/time/time.h"
#include "scheduler/coordinator.h"

namespace marquee {

class StatusEvents {
 public:
  enum class Level { kInfo, kWarning, kError };
  struct Event {
    absl::Time time;  // of the calendar
    Level level = Level::kInfo;
    std::string text;
  };
  static constexpr size_t kKept = 200;
  static constexpr size_t kMaxLength = 400;  // bytes of a text; what is longer is cut

  void Add(Level level, std::string text, absl::Time time);
  // Adds what has changed since the last look. `now` is the coordinator's time, `time` the calendar's.
  void Look(const Coordinator& coordinator, absl::Time now, absl::Time time);

  const std::deque<Event>& events() const { return events_; }  // oldest first

 private:
  void LookAtMembers(const Coordinator& coordinator, absl::Time time);
  void LookAtCopies(const Coordinator& coordinator, absl::Time time);
  void LookAtTrials(const std::vector<Coordinator::TrialView>& trials, absl::Time time);
  void LookAtCheckpoints(const Coordinator::Counters& counters, absl::Time time);
  void LookAtRefused(const Coordinator::Counters& counters, absl::Time time);

  std::deque<Event> events_;
  bool first_ = true;
  std::map<std::string, uint64_t> members_;  // living ones: name -> incarnation
  struct Trial {
    TrialStatus status = TrialStatus::kPending;
    uint64_t number = 0;  // of the attempt
  };
  std::map<std::string, Trial> trials_;
  Coordinator::Counters before_;
  uint64_t view_ = 0;
  std::optional<uint64_t> view_of_loss_;  // a server was lost, and no view without it was seen yet
  uint64_t single_ = 0;                   // partitions with one copy that should have two
  absl::Time next_refused_ = absl::InfinitePast();
};

std::string_view LevelWord(StatusEvents::Level level);  // "info", "warning", "error"

}  // namespace marquee

#endif  // MARQUEE_SCHEDULER_STATUS_EVENTS_H_
