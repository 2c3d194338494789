#include "scheduler/evaluation_chunks.h"

#include <algorithm>

namespace marquee {

EvaluationChunks::EvaluationChunks(uint64_t number, uint64_t examples, uint64_t chunk_size)
    : number_(number),
      examples_(examples),
      chunk_size_(chunk_size),
      total_(static_cast<uint32_t>((examples + chunk_size - 1) / chunk_size)) {
  for (uint32_t chunk = 0; chunk < total_; ++chunk) waiting_.insert(waiting_.end(), chunk);
}

std::optional<EvaluationChunks::Lease> EvaluationChunks::Take(uint64_t session) {
  if (waiting_.empty()) return std::nullopt;
  const uint32_t chunk = *waiting_.begin();
  waiting_.erase(waiting_.begin());
  held_[chunk] = session;
  return LeaseOf(chunk);
}

std::optional<EvaluationChunks::Lease> EvaluationChunks::Again(uint64_t session) const {
  const auto held = std::find_if(held_.begin(), held_.end(), [&](const auto& entry) { return entry.second == session; });
  return held == held_.end() ? std::nullopt : std::optional<Lease>(LeaseOf(held->first));
}

void EvaluationChunks::Release(uint64_t session) {
  for (auto held = held_.begin(); held != held_.end();) {
    if (held->second == session) {
      waiting_.insert(held->first);
      held = held_.erase(held);
    } else {
      ++held;
    }
  }
}

uint64_t EvaluationChunks::SizeOf(uint32_t chunk) const { return std::min(chunk_size_, examples_ - chunk * chunk_size_); }

bool EvaluationChunks::Add(uint32_t chunk, MetricSums sums) {
  waiting_.erase(chunk);
  held_.erase(chunk);
  return results_.emplace(chunk, std::move(sums)).second;
}

std::map<std::string, double> EvaluationChunks::Result() const {
  MetricSums total;
  for (const auto& [chunk, sums] : results_) {
    for (const auto& [name, sum] : sums) total[name].Add(sum);
  }
  return Finish(total);
}

}  // namespace marquee
