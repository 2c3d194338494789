#ifndef MARQUEE_SCHEDULER_ASHA_H_
#define MARQUEE_SCHEDULER_ASHA_H_

// Asynchronous successive halving: which trials of a sweep are worth training on.
//
// Rungs lie at grace_period x reduction_factor^k epochs, below a trial's last epoch. At each rung a trial's validation metric
// joins those of the trials that were there before; it goes on if it is among the best 1/reduction_factor of them (at least one
// is: the best so far always goes on), and otherwise ends there. Nobody waits for anybody.
//
// This is the stopping variant of Li et al., "A System for Massively Parallel Hyperparameter Tuning", MLSys 2020 (arXiv
// 1810.05934), as Klein et al., "Model-based Asynchronous Hyperparameter and Neural Architecture Search" (arXiv 2003.10865)
// describe it and Ray Tune has it. The paper's own variant pauses every trial at a rung and promotes the best of the paused
// ones, which would keep the tables of all paused trials in the servers' memory; here a stopped trial's tables go at once. The
// price: a trial that comes to a rung early has few to be compared with, so that more trials go on than in the limit. Pure.

#include <cstdint>
#include <map>
#include <string>
#include <utility>

namespace marquee {

struct AshaOptions {
  uint32_t grace_period = 1;      // epochs, at least 1: nobody is stopped before
  uint32_t reduction_factor = 4;  // at least 2
};

class Asha {
 public:
  explicit Asha(const AshaOptions& options) : options_(options) {}

  // The first rung after so many epochs; 0 if it would not lie below `last_epoch`.
  uint32_t RungAfter(uint32_t epoch, uint32_t last_epoch) const;
  bool IsRung(uint32_t epoch, uint32_t last_epoch) const { return epoch > 0 && RungAfter(epoch - 1, last_epoch) == epoch; }

  // A trial has trained up to a rung and has this value there; larger is better. Only trials of one group are compared. Returns
  // whether it goes on. A trial that comes to the same rung again, started anew, replaces its value.
  bool Report(const std::string& group, uint32_t epoch, const std::string& trial, double value);

 private:
  AshaOptions options_;
  std::map<std::pair<std::string, uint32_t>, std::map<std::string, double>> rungs_;  // by group and epoch: value by trial
};

}  // namespace marquee

#endif  // MARQUEE_SCHEDULER_ASHA_H_
