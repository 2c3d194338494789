#ifndef MARQUEE_WORKER_CLIENT_ROW_SPLIT_H_
#define MARQUEE_WORKER_CLIENT_ROW_SPLIT_H_

// Cuts the rows of a pull or push into one request for each shard. This is the client's hot path: ids and gradients are
// gathered straight into the message, one pass over each, nothing is allocated per row.

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/id.h"
#include "common/message.h"
#include "common/view.h"

namespace marquee {

// Rows of one table, in the caller's arrays or in a message that is split again. A push reads gradients[i x dim]; a pull will
// write row i to values[position(i) x dim], where position(i) is positions[i], or i if there are none.
struct RowBlock {
  TableNumber table = 0;
  uint32_t dim = 0;
  absl::Span<const Id> ids;
  float learning_rate = 0;
  const float* gradients = nullptr;
  float* values = nullptr;
  const uint32_t* positions = nullptr;
};

// Where a section of a pull's reply goes: `count` positions of the request's list.
struct PullTarget {
  TableNumber table = 0;
  uint32_t dim = 0;
  uint32_t count = 0;
  float* values = nullptr;
};

// A request to one shard.
struct ShardRequest {
  uint64_t request_id = 0;
  ShardIndex shard = 0;
  OutgoingMessagePtr message;
  std::vector<PullTarget> targets;  // pulls: one for each section
  std::vector<uint32_t> positions;  // pulls: of all rows, section by section
};

// Cuts blocks into pieces whose rows take at most `max_bytes` in all (a single row may be larger).
std::vector<std::vector<RowBlock>> CutBlocks(const std::vector<RowBlock>& blocks, size_t max_bytes);

class RowSplitter {
 public:
  explicit RowSplitter(Identity self) : self_(std::move(self)) {}

  std::vector<ShardRequest> SplitPull(const View& view, absl::Span<const RowBlock> blocks, absl::Duration timeout);

  // InvalidArgument, naming the table, for a gradient that is NaN or infinite.
  absl::StatusOr<std::vector<ShardRequest>> SplitPush(const View& view, absl::Span<const RowBlock> blocks, uint64_t session,
                                                      uint64_t sequence);

 private:
  void FindOwners(const View& view, absl::Span<const RowBlock> blocks);
  uint32_t Rows(size_t block, ShardIndex shard) const { return counts_[block * shards_ + shard]; }
  uint32_t Sections(ShardIndex shard) const;

  Identity self_;
  uint64_t last_request_id_ = 0;
  // Scratch, kept for its memory.
  size_t shards_ = 0;
  std::vector<ShardIndex> owners_;  // of each row, block after block
  std::vector<uint32_t> counts_;    // rows by (block, shard)
};

// The blocks of a request that was split before, for another view. They point into the request.
std::vector<RowBlock> BlocksOfPull(const ShardRequest& request);
std::vector<RowBlock> BlocksOfPush(const ShardRequest& request);

}  // namespace marquee

#endif  // MARQUEE_WORKER_CLIENT_ROW_SPLIT_H_
