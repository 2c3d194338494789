#ifndef MARQUEE_SCHEDULER_TRAINING_CHUNKS_H_
#define MARQUEE_SCHEDULER_TRAINING_CHUNKS_H_

// The training positions of a trial, cut into chunks that are leased to sessions: chunk k covers the (k mod n)-th piece of
// epoch k / n. Chunks are leased in order; those of a session that was closed are leased again from their first position that
// it had not reported. Pure; every example is counted once.

#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <unordered_map>
#include <vector>

#include "absl/status/status.h"

namespace marquee {

class TrainingChunks {
 public:
  struct Shape {
    uint64_t examples = 0;  // of an epoch, at least 1
    uint64_t chunk_size = 1;
    uint32_t epochs = 1;
    // With fixed lanes, chunk k goes to rank k mod ranks, so that a run can be repeated; otherwise to whoever asks first.
    bool fixed_lanes = false;
    uint32_t ranks = 1;
  };
  struct Lease {
    uint64_t number = 0;
    uint32_t epoch = 0;
    uint64_t begin = 0;  // positions of the epoch
    uint64_t end = 0;
    uint64_t next = 0;  // first position still to train
  };

  explicit TrainingChunks(const Shape& shape);

  // Only chunks of the first `epochs` epochs are leased for now. At first: all.
  void LimitTo(uint32_t epochs) { limit_ = per_epoch_ * epochs; }

  // The next chunk for a rank; nullopt if there is none now. With fixed lanes, chunks of absent ranks go to others once these
  // have none of their own left.
  std::optional<Lease> Take(uint64_t session, uint32_t rank);
  bool Available(uint32_t rank) const;
  void SetAbsent(uint32_t rank, bool absent);
  size_t HeldBy(uint64_t session) const;
  std::vector<uint64_t> ChunksOf(uint64_t session) const;
  // The chunk as it was leased from position `next` on; Check has passed both.
  Lease LeaseOf(uint64_t number, uint64_t next) const;

  // An error for a chunk that does not exist or a position outside it.
  absl::Status Check(uint64_t number, uint64_t next) const;
  // A session has trained a chunk that it holds up to `next`, which Check has passed. Returns how many examples that adds: 0
  // for old news, for chunks that it had finished, and for those that it does not hold.
  uint64_t Report(uint64_t session, uint64_t number, uint64_t next);

  struct Released {
    uint64_t chunks = 0;
    uint64_t examples = 0;  // not reported as trained; some of them may have been
  };
  // The session is closed: its chunks may be leased again.
  Released Release(uint64_t session);

  // Leases nothing for now; with fixed lanes only until each has had as many chunks as the one that has had most, so that a
  // pause does not change who trains what when.
  void Pause();
  // Leases nothing at all until Resume: a cut is made.
  void Stop() {
    paused_ = true;
    pause_limit_ = 0;
  }
  void Resume() { paused_ = false; }
  // While it pauses: all that was leased is trained and reported.
  bool quiet() const;

  // What is trained and what is not. Chunks that are held are among those that were released.
  struct Progress {
    uint64_t examples = 0;  // these two as in Shape
    uint64_t chunk_size = 0;
    std::vector<uint64_t> fresh;
    std::map<uint64_t, uint64_t> released;
    std::vector<uint64_t> trained_by_epoch;
    uint64_t finished = 0;
  };
  Progress progress() const;
  // Of a new object. An error where the progress is of another shape.
  absl::Status GoOnFrom(const Progress& progress);
  // Then: a released chunk is the session's, which was given it before. An error if it is not to be had.
  absl::Status Hold(uint64_t session, uint64_t number);

  // All that may be leased are trained.
  bool done() const { return finished_ == limit_; }
  uint64_t total() const { return total_; }
  uint64_t trained_examples() const { return trained_; }
  uint32_t EpochOf(uint64_t number) const { return static_cast<uint32_t>(number / per_epoch_); }
  uint64_t EpochExamples(uint32_t epoch) const { return trained_by_epoch_[epoch]; }
  // The first epoch that is not trained to its end; the last one when all are.
  uint32_t epoch() const;

 private:
  struct Held {
    uint64_t session = 0;
    uint64_t next = 0;
  };

  absl::Status CheckSums(const Progress& progress) const;
  uint32_t LaneOf(uint64_t number) const { return static_cast<uint32_t>(number % lanes_); }
  std::optional<uint32_t> LaneFor(uint32_t rank) const;
  bool LaneHasWork(uint32_t lane) const {
    if (paused_) return shape_.fixed_lanes && fresh_[lane] < std::min(pause_limit_, limit_);
    return !released_[lane].empty() || fresh_[lane] < limit_;
  }
  uint64_t BeginOf(uint64_t number) const { return number % per_epoch_ * shape_.chunk_size; }
  uint64_t EndOf(uint64_t number) const;

  Shape shape_;
  uint64_t per_epoch_;
  uint64_t total_;
  uint64_t limit_;
  uint32_t lanes_;
  std::vector<uint64_t> fresh_;                         // by lane: the lowest chunk never leased
  std::vector<std::map<uint64_t, uint64_t>> released_;  // by lane: chunk -> next
  std::map<uint64_t, Held> held_;
  std::unordered_map<uint64_t, size_t> held_by_;  // how many of them, by session
  std::set<uint32_t> absent_;
  bool paused_ = false;
  uint64_t pause_limit_ = 0;  // with fixed lanes
  uint64_t finished_ = 0;
  uint64_t trained_ = 0;
  std::vector<uint64_t> trained_by_epoch_;
};

}  // namespace marquee

#endif  // MARQUEE_SCHEDULER_TRAINING_CHUNKS_H_
