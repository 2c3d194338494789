#include "scheduler/training_chunks.h"

#include <fmt/format.h>

#include <algorithm>

namespace marquee {

TrainingChunks::TrainingChunks(const Shape& shape)
    : shape_(shape),
      per_epoch_((shape.examples + shape.chunk_size - 1) / shape.chunk_size),
      total_(per_epoch_ * shape.epochs),
      limit_(total_),
      lanes_(shape.fixed_lanes ? shape.ranks : 1),
      released_(lanes_),
      trained_by_epoch_(shape.epochs, 0) {
  for (uint32_t lane = 0; lane < lanes_; ++lane) fresh_.push_back(lane);
}

uint64_t TrainingChunks::EndOf(uint64_t number) const { return std::min(BeginOf(number) + shape_.chunk_size, shape_.examples); }

std::optional<uint32_t> TrainingChunks::LaneFor(uint32_t rank) const {
  const uint32_t own = rank % lanes_;
  if (LaneHasWork(own)) return own;
  if (!shape_.fixed_lanes) return std::nullopt;
  for (const uint32_t lane : absent_) {
    if (LaneHasWork(lane)) return lane;
  }
  return std::nullopt;
}

bool TrainingChunks::Available(uint32_t rank) const { return LaneFor(rank).has_value(); }

void TrainingChunks::SetAbsent(uint32_t rank, bool absent) {
  if (absent) {
    absent_.insert(rank);
  } else {
    absent_.erase(rank);
  }
}

std::optional<TrainingChunks::Lease> TrainingChunks::Take(uint64_t session, uint32_t rank) {
  const std::optional<uint32_t> lane = LaneFor(rank);
  if (!lane.has_value()) return std::nullopt;
  Lease lease;
  if (auto& released = released_[*lane]; !released.empty() && !paused_) {
    lease.number = released.begin()->first;
    lease.next = released.begin()->second;
    released.erase(released.begin());
  } else {
    lease.number = fresh_[*lane];
    lease.next = BeginOf(lease.number);
    fresh_[*lane] += lanes_;
  }
  held_[lease.number] = Held{.session = session, .next = lease.next};
  ++held_by_[session];
  return LeaseOf(lease.number, lease.next);
}

TrainingChunks::Lease TrainingChunks::LeaseOf(uint64_t number, uint64_t next) const {
  return {.number = number, .epoch = EpochOf(number), .begin = BeginOf(number), .end = EndOf(number), .next = next};
}

std::vector<uint64_t> TrainingChunks::ChunksOf(uint64_t session) const {
  std::vector<uint64_t> numbers;
  for (const auto& [number, held] : held_) {
    if (held.session == session) numbers.push_back(number);
  }
  return numbers;
}

absl::Status TrainingChunks::Hold(uint64_t session, uint64_t number) {
  std::map<uint64_t, uint64_t>& released = released_[LaneOf(number)];
  const auto found = released.find(number);
  if (found == released.end()) {
    return absl::FailedPreconditionError(fmt::format("chunk {} is held by session {}, and was not left", number, session));
  }
  held_[number] = Held{.session = session, .next = found->second};
  ++held_by_[session];
  released.erase(found);
  return absl::OkStatus();
}

size_t TrainingChunks::HeldBy(uint64_t session) const {
  const auto held = held_by_.find(session);
  return held == held_by_.end() ? 0 : held->second;
}

absl::Status TrainingChunks::Check(uint64_t number, uint64_t next) const {
  if (number >= total_) return absl::InvalidArgumentError(fmt::format("chunk {} of {}", number, total_));
  if (next >= BeginOf(number) && next <= EndOf(number)) return absl::OkStatus();
  return absl::InvalidArgumentError(
      fmt::format("position {} of chunk {}, which goes from {} to {}", next, number, BeginOf(number), EndOf(number)));
}

uint64_t TrainingChunks::Report(uint64_t session, uint64_t number, uint64_t next) {
  const auto held = held_.find(number);
  if (held == held_.end() || held->second.session != session || next <= held->second.next) return 0;
  const uint64_t added = next - held->second.next;
  held->second.next = next;
  trained_ += added;
  trained_by_epoch_[EpochOf(number)] += added;
  if (next == EndOf(number)) {
    held_.erase(held);
    --held_by_[session];
    ++finished_;
  }
  return added;
}

TrainingChunks::Released TrainingChunks::Release(uint64_t session) {
  Released released;
  for (auto held = held_.begin(); held != held_.end();) {
    if (held->second.session != session) {
      ++held;
      continue;
    }
    ++released.chunks;
    released.examples += EndOf(held->first) - held->second.next;
    released_[LaneOf(held->first)][held->first] = held->second.next;
    held = held_.erase(held);
  }
  held_by_.erase(session);
  return released;
}

void TrainingChunks::Pause() {
  paused_ = true;
  const uint64_t most = *std::max_element(fresh_.begin(), fresh_.end());
  pause_limit_ = most / lanes_ * lanes_;
}

bool TrainingChunks::quiet() const {
  if (!held_.empty()) return false;
  for (uint32_t lane = 0; lane < lanes_; ++lane) {
    if (LaneHasWork(lane)) return false;
  }
  return true;
}

TrainingChunks::Progress TrainingChunks::progress() const {
  Progress progress{.examples = shape_.examples,
                    .chunk_size = shape_.chunk_size,
                    .fresh = fresh_,
                    .released = {},
                    .trained_by_epoch = trained_by_epoch_,
                    .finished = finished_};
  for (const auto& lane : released_) progress.released.insert(lane.begin(), lane.end());
  for (const auto& [number, held] : held_) progress.released.emplace(number, held.next);
  return progress;
}

absl::Status TrainingChunks::GoOnFrom(const Progress& progress) {
  if (progress.examples != shape_.examples || progress.chunk_size != shape_.chunk_size || progress.fresh.size() != lanes_ ||
      progress.trained_by_epoch.size() != shape_.epochs) {
    return absl::FailedPreconditionError(
        fmt::format("chunks of {} of {} examples in {} lanes over {} epochs; now they are {} of {} in {} over {}",
                    progress.chunk_size, progress.examples, progress.fresh.size(), progress.trained_by_epoch.size(),
                    shape_.chunk_size, shape_.examples, lanes_, shape_.epochs));
  }
  for (uint32_t lane = 0; lane < lanes_; ++lane) {
    if (progress.fresh[lane] % lanes_ != lane || progress.fresh[lane] >= total_ + lanes_) {
      return absl::FailedPreconditionError(
          fmt::format("chunk {} comes next in lane {} of {}", progress.fresh[lane], lane, lanes_));
    }
  }
  for (const auto& [number, next] : progress.released) {
    if (absl::Status status = Check(number, next); !status.ok()) return status;
  }
  if (absl::Status status = CheckSums(progress); !status.ok()) return status;
  fresh_ = progress.fresh;
  for (const auto& [number, next] : progress.released) released_[LaneOf(number)][number] = next;
  trained_by_epoch_ = progress.trained_by_epoch;
  finished_ = progress.finished;
  for (const uint64_t trained : trained_by_epoch_) trained_ += trained;
  return absl::OkStatus();
}

// A trial whose sums are not those of its chunks would never come to its end.
absl::Status TrainingChunks::CheckSums(const Progress& progress) const {
  uint64_t finished = 0;
  std::vector<uint64_t> trained(shape_.epochs, 0);
  for (uint64_t number = 0; number < total_; ++number) {
    const auto released = progress.released.find(number);
    if (number >= progress.fresh[LaneOf(number)]) {
      if (released == progress.released.end()) continue;
      return absl::FailedPreconditionError(fmt::format("chunk {} was released before it was leased", number));
    }
    finished += released == progress.released.end() ? 1 : 0;
    trained[EpochOf(number)] += (released == progress.released.end() ? EndOf(number) : released->second) - BeginOf(number);
  }
  if (finished == progress.finished && trained == progress.trained_by_epoch) return absl::OkStatus();
  return absl::FailedPreconditionError(
      fmt::format("{} chunks with [{}] examples by epoch are trained; {} with [{}] are said to be", finished,
                  fmt::join(trained, " "), progress.finished, fmt::join(progress.trained_by_epoch, " ")));
}

uint32_t TrainingChunks::epoch() const {
  for (uint32_t epoch = 0; epoch < shape_.epochs; ++epoch) {
    if (trained_by_epoch_[epoch] < shape_.examples) return epoch;
  }
  return shape_.epochs - 1;
}

}  // namespace marquee
