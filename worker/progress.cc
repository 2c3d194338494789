#include "worker/progress.h"

namespace marquee {

void Progress::ChunkTaken(const TrainChunk& chunk) { chunks_[chunk.number] = Chunk{.next = chunk.next, .end = chunk.end}; }

int Progress::Acknowledged(uint64_t acknowledged) {
  int finished = 0;
  while (!unacknowledged_.empty() && unacknowledged_.front().last_push <= acknowledged) {
    const Step& step = unacknowledged_.front();
    ++report_.clock;
    report_.examples += step.examples;
    report_.loss_sum += step.loss_sum;
    if (auto chunk = chunks_.find(step.chunk); chunk != chunks_.end()) chunk->second.next = step.chunk_next;
    unacknowledged_.pop_front();
    ++finished;
  }
  return finished;
}

void Progress::Confirmed() {
  std::erase_if(chunks_, [](const auto& entry) { return entry.second.next == entry.second.end; });
}

void Progress::AddSeconds(double pull, double compute, double push) {
  report_.pull_seconds += pull;
  report_.compute_seconds += compute;
  report_.push_seconds += push;
}

TickReport Progress::Report(bool at_barrier) const {
  TickReport report = report_;
  for (const auto& [number, chunk] : chunks_) report.chunks.push_back(ChunkProgress{.number = number, .next = chunk.next});
  report.drained = at_barrier && drained();
  return report;
}

}  // namespace marquee
