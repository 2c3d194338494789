#ifndef MARQUEE_SCHEDULER_SWEEP_PROGRESS_H_
#define MARQUEE_SCHEDULER_SWEEP_PROGRESS_H_

// Tells people how a sweep goes: a line for each event (members, trials), and for each running trial its epoch, speed, loss and
// time left. On a terminal the latter are redrawn in place; elsewhere they are lines now and then. Writes to one stream; not
// thread-safe.

#include <cstdio>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "scheduler/coordinator.h"

namespace marquee {

class SweepProgress {
 public:
  // `terminal`: whether the stream is one.
  // `metric` is the sweep's; empty: by the kind of each trial's model.
  SweepProgress(std::FILE* stream, bool terminal, std::string metric = "")
      : stream_(stream), terminal_(terminal), metric_(std::move(metric)) {}
  ~SweepProgress() { Clear(); }

  void Say(const std::string& line);
  // Looks what has changed since the last call and says so.
  void Update(const Coordinator& coordinator, absl::Time now);

 private:
  void SayMembers(const std::vector<Coordinator::Member>& members);
  void SayTrials(const std::vector<Coordinator::TrialView>& trials);
  void Draw(const std::vector<Coordinator::TrialView>& trials);
  void Clear();

  std::FILE* stream_;
  bool terminal_;
  std::string metric_;
  int drawn_ = 0;  // lines on the terminal that are to be redrawn
  absl::Time next_draw_ = absl::InfinitePast();
  std::map<std::string, uint64_t> members_;    // living ones: name -> incarnation
  std::map<std::string, std::string> trials_;  // name -> what was last said of it
};

// "retrieval: training, epoch 2/5 (40 %), 12,345 examples/s, loss 7.123, 1m 20s left".
std::string ProgressLine(const Coordinator::TrialView& trial);

}  // namespace marquee

#endif  // MARQUEE_SCHEDULER_SWEEP_PROGRESS_H_
