#include "scheduler/clock_table.h"

#include <algorithm>

namespace marquee {

void ClockTable::Changed() {
  ++changes_;
  uint64_t lowest = kLeft;
  for (const Rank& rank : ranks_) {
    if (rank.present && !rank.idle) lowest = std::min(lowest, rank.absolute());
  }
  if (lowest == kLeft || lowest <= slowest_) return;
  slowest_ = lowest;
  ++slowest_changes_;
}

void ClockTable::Join(uint32_t rank) {
  ranks_[rank] = Rank{.present = true, .idle = false, .base = slowest_, .clock = 0, .pulled = 0};
  Changed();
}

void ClockTable::Leave(uint32_t rank) {
  ranks_[rank].present = false;
  ++slowest_changes_;  // those who wait for it need not any more
  Changed();
}

bool ClockTable::SetIdle(uint32_t rank, bool idle) {
  Rank& entry = ranks_[rank];
  if (!entry.present || entry.idle == idle) return false;
  entry.idle = idle;
  if (!idle && entry.absolute() < slowest_) entry.base = slowest_ - entry.clock;
  Changed();
  return true;
}

void ClockTable::Report(uint32_t rank, uint64_t clock) {
  Rank& entry = ranks_[rank];
  if (!entry.present || clock <= entry.clock) return;
  entry.clock = clock;
  Changed();
}

void ClockTable::ReportPulled(uint32_t rank, uint64_t pulled) {
  Rank& entry = ranks_[rank];
  if (!entry.present || pulled <= entry.pulled) return;
  entry.pulled = pulled;
  ++changes_;
}

uint64_t ClockTable::AllPulledFor(uint32_t to) const {
  uint64_t lowest = kLeft;
  for (const Rank& rank : ranks_) {
    if (rank.present && !rank.idle) lowest = std::min(lowest, rank.absolute_pulled());
  }
  return lowest == kLeft ? 0 : Told(to, lowest);
}

uint64_t ClockTable::fastest() const {
  uint64_t highest = slowest_;
  for (const Rank& rank : ranks_) {
    if (rank.present) highest = std::max(highest, rank.absolute());
  }
  return highest;
}

uint64_t ClockTable::Told(uint32_t to, uint64_t absolute) const {
  const Rank& entry = ranks_[to];
  const uint64_t own = absolute > entry.base ? absolute - entry.base : 0;
  return entry.idle ? std::min(own, entry.clock) : own;
}

uint64_t ClockTable::ClockFor(uint32_t to, uint32_t rank) const {
  const Rank& entry = ranks_[rank];
  return entry.present && !(entry.idle && to != rank) ? Told(to, entry.absolute()) : kLeft;
}

}  // namespace marquee
