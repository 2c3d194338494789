#ifndef MARQUEE_WORKER_PROGRESS_H_
#define MARQUEE_WORKER_PROGRESS_H_

// What a worker has trained and had acknowledged in a session, as the scheduler wants to hear it: a step counts once every push
// of it is acknowledged, in order. A value type; no I/O.

#include <cstdint>
#include <deque>
#include <map>

#include "worker/client/scheduler_link.h"

namespace marquee {

class Progress {
 public:
  void ChunkTaken(const TrainChunk& chunk);

  // A step was computed and its pushes numbered up to and including `last_push`.
  struct Step {
    uint64_t last_push = 0;
    uint64_t chunk = 0;
    uint64_t chunk_next = 0;  // position after the step
    uint64_t examples = 0;
    double loss_sum = 0;
  };
  void StepPushed(const Step& step) { unacknowledged_.push_back(step); }

  // All pushes up to `acknowledged` have been acknowledged. Returns how many steps were finished by it.
  int Acknowledged(uint64_t acknowledged);

  // A report has been confirmed by the scheduler: chunks that it named as finished need not be named again.
  void Confirmed();

  uint64_t clock() const { return report_.clock; }
  uint64_t examples() const { return report_.examples; }
  bool drained() const { return unacknowledged_.empty(); }

  // The rows of a step have been pulled.
  void StepPulled() { ++report_.pulled; }

  void AddSeconds(double pull, double compute, double push);
  TickReport Report(bool at_barrier) const;

 private:
  struct Chunk {
    uint64_t next = 0;
    uint64_t end = 0;
  };

  std::deque<Step> unacknowledged_;
  std::map<uint64_t, Chunk> chunks_;
  TickReport report_;
};

}  // namespace marquee

#endif  // MARQUEE_WORKER_PROGRESS_H_
