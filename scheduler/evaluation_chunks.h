#ifndef MARQUEE_SCHEDULER_EVALUATION_CHUNKS_H_
#define MARQUEE_SCHEDULER_EVALUATION_CHUNKS_H_

// One evaluation of a trial: the positions of a part of the data, cut into chunks that are leased to sessions, and the sums
// that come back. The first sums of a chunk count; they are added in the order of chunks, so that the result does not depend on
// who was faster. Pure.

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "dataset/evaluation.h"

namespace marquee {

class EvaluationChunks {
 public:
  struct Lease {
    uint32_t chunk = 0;
    uint64_t begin = 0;
    uint64_t end = 0;
  };

  // `number` identifies the evaluation on the wire.
  EvaluationChunks(uint64_t number, uint64_t examples, uint64_t chunk_size);

  std::optional<Lease> Take(uint64_t session);
  // The first chunk that the session holds, once more.
  std::optional<Lease> Again(uint64_t session) const;
  // The session is lost: its chunks may be leased again.
  void Release(uint64_t session);

  uint64_t number() const { return number_; }
  uint32_t total() const { return total_; }
  uint64_t SizeOf(uint32_t chunk) const;
  // False if the chunk's sums are there already. `chunk` must be below total().
  bool Add(uint32_t chunk, MetricSums sums);
  bool done() const { return results_.size() == total_; }
  // Means over all chunks; empty if there are no examples. Call when done.
  std::map<std::string, double> Result() const;

 private:
  Lease LeaseOf(uint32_t chunk) const {
    return {.chunk = chunk, .begin = chunk * chunk_size_, .end = chunk * chunk_size_ + SizeOf(chunk)};
  }

  uint64_t number_;
  uint64_t examples_;
  uint64_t chunk_size_;
  uint32_t total_;
  std::set<uint32_t> waiting_;
  std::map<uint32_t, uint64_t> held_;  // chunk -> session
  std::map<uint32_t, MetricSums> results_;
};

}  // namespace marquee

#endif  // MARQUEE_SCHEDULER_EVALUATION_CHUNKS_H_
