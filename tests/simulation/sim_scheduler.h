#ifndef MARQUEE_TESTS_SIMULATION_SIM_SCHEDULER_H_
#define MARQUEE_TESTS_SIMULATION_SIM_SCHEDULER_H_

// A simulated `scheduler` process: the real coordinator, and a disk that outlives it.

#include <map>
#include <string>
#include <vector>

#include "scheduler/coordinator.h"
#include "scheduler/model_store.h"
#include "tests/simulation/world.h"

namespace marquee::simulation {

class SimDisk : public StateStore {
 public:
  absl::StatusOr<Numbers> LoadNumbers() override { return numbers_; }
  absl::StatusOr<std::vector<Trial>> LoadTrials() override {
    std::vector<Trial> trials;
    for (const auto& [name, trial] : trials_) trials.push_back(trial);
    return trials;
  }
  absl::Status SaveNumbers(const Numbers& numbers) override {
    numbers_ = numbers;
    return absl::OkStatus();
  }
  absl::Status SaveView(const View&) override { return absl::OkStatus(); }
  absl::Status SaveTrial(const Trial& trial) override {
    trials_[trial.name] = trial;
    return absl::OkStatus();
  }

  const std::map<std::string, Trial>& trials() const { return trials_; }

 private:
  Numbers numbers_;
  std::map<std::string, Trial> trials_;
};

class SimScheduler : public Process {
 public:
  SimScheduler(Identity self, const CoordinatorOptions& options, SimDisk& disk, ModelStore& models)
      : coordinator_(std::move(self), options, disk, &models) {}

  absl::Status Start(const std::vector<TrialConfig>& trials) { return coordinator_.Start(trials); }
  Coordinator& coordinator() { return coordinator_; }

  void OnMessage(const std::string&, const Message& message, absl::Time now, Outbox& outbox) override {
    coordinator_.OnMessage(message, now, outbox);
  }
  void OnTimer(absl::Time now, Outbox& outbox) override { coordinator_.OnTimer(now, outbox); }
  absl::Time next_timer() const override { return coordinator_.next_timer(); }

 private:
  Coordinator coordinator_;
};

}  // namespace marquee::simulation

#endif  // MARQUEE_TESTS_SIMULATION_SIM_SCHEDULER_H_
