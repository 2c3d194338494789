#include "scheduler/asha.h"

#include <algorithm>

namespace marquee {

uint32_t Asha::RungAfter(uint32_t epoch, uint32_t last_epoch) const {
  uint64_t rung = options_.grace_period;
  while (rung <= epoch) rung *= options_.reduction_factor;
  return rung < last_epoch ? static_cast<uint32_t>(rung) : 0;
}

bool Asha::Report(const std::string& group, uint32_t epoch, const std::string& trial, double value) {
  std::map<std::string, double>& values = rungs_[{group, epoch}];
  values[trial] = value;
  const size_t places = std::max<size_t>(1, values.size() / options_.reduction_factor);
  const auto better = std::count_if(values.begin(), values.end(), [value](const auto& entry) { return entry.second > value; });
  return static_cast<size_t>(better) < places;
}

}  // namespace marquee
