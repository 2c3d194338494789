#ifndef MARQUEE_TESTS_SIMULATION_SIM_SCHEDULER_H_
#define MARQUEE_TESTS_SIMULATION_SIM_SCHEDULER_H_

// A simulated `scheduler` process: the real coordinator, and a disk that outlives it.

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "scheduler/checkpoint_store.h"
#include "scheduler/coordinator.h"
#include "scheduler/model_store.h"
#include "tests/simulation/faulty_disk.h"
#include "tests/simulation/tamper.h"
#include "tests/simulation/world.h"

namespace marquee::simulation {

class SimDisk : public StateStore {
 public:
  // `tamper` may be null.
  explicit SimDisk(Tamper* tamper = nullptr) : tamper_(tamper) {}

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

  absl::StatusOr<std::map<std::string, std::string>> LoadProgress() override { return progress_; }
  absl::Status SaveProgress(const std::string& key, const std::string& bytes) override {
    progress_[key] = tamper_ == nullptr ? bytes : tamper_->OnNote(key, bytes);
    return absl::OkStatus();
  }
  absl::Status ForgetProgress(const std::string& key) override {
    progress_.erase(key);
    return absl::OkStatus();
  }
  absl::Status ForgetAllProgress() override {
    progress_.clear();
    return absl::OkStatus();
  }
  // The machine goes down with the process: only what was flushed is there afterwards.
  void LosePower() { progress_.clear(); }

  const std::map<std::string, Trial>& trials() const { return trials_; }
  const Numbers& numbers() const { return numbers_; }

 private:
  Tamper* tamper_;
  Numbers numbers_;
  std::map<std::string, Trial> trials_;
  std::map<std::string, std::string> progress_;
};

class SimScheduler : public Process {
 public:
  // `checkpoints` may be null, and `files` with it: what it is written to, until the process dies.
  SimScheduler(Identity self, const CoordinatorOptions& options, SimDisk& disk, ModelStore& models,
               std::unique_ptr<CheckpointStore> checkpoints, std::shared_ptr<FaultyDisk::Machine> files)
      : checkpoints_(std::move(checkpoints)),
        files_(std::move(files)),
        coordinator_(std::move(self), options, disk, &models, checkpoints_.get()) {}

  absl::Status Start(const std::vector<TrialConfig>& trials) { return coordinator_.Start(trials); }
  Coordinator& coordinator() { return coordinator_; }

  void OnMessage(const std::string&, const Message& message, absl::Time now, Outbox& outbox) override {
    UntilDead sent(files_.get(), outbox);
    coordinator_.OnMessage(message, now, sent);
  }
  void OnTimer(absl::Time now, Outbox& outbox) override {
    UntilDead sent(files_.get(), outbox);
    coordinator_.OnTimer(now, sent);
  }
  absl::Time next_timer() const override { return coordinator_.next_timer(); }

 private:
  std::unique_ptr<CheckpointStore> checkpoints_;
  std::shared_ptr<FaultyDisk::Machine> files_;
  Coordinator coordinator_;
};

}  // namespace marquee::simulation

#endif  // MARQUEE_TESTS_SIMULATION_SIM_SCHEDULER_H_
