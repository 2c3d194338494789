#ifndef MARQUEE_TESTS_SIMULATION_SIM_CHECKPOINTS_H_
#define MARQUEE_TESTS_SIMULATION_SIM_CHECKPOINTS_H_

// Looks after the checkpoints of a run. At each cut it takes down what every row holds, with its optimizer state, and compares
// with that, exactly: the files once the scheduler makes them a checkpoint, and the rows of every shard once it has restored
// them. What else is promised:
//   files are on the disk, whatever loses power, before their manifest is;
//   only what a scheduler has made a checkpoint is used, and the newest of these that is whole;
//   none is refused that is whole;
//   numbers are never used twice; no pause is longer than a lease; every attempt ends.

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "ps/shard.h"
#include "scheduler/checkpoint_files.h"
#include "scheduler/coordinator.h"
#include "scheduler/trial_state.h"
#include "tests/simulation/faulty_disk.h"
#include "tests/simulation/ledger.h"
#include "tests/simulation/sim_worker.h"
#include "tests/simulation/tamper.h"
#include "tests/simulation/world.h"

namespace marquee::simulation {

inline constexpr char kCheckpointFolder[] = "/sweep/checkpoints";

// What a run with checkpoints consists of beside its other faults.
struct CheckpointScenario {
  uint32_t keep = 3;
  size_t room = 2;  // steps that may wait for a shard's disk
  DiskFaults disk;
  struct Crash {
    std::string name;
    absl::Time from;  // the first operation of this kind after that
    DiskOperation operation;
    bool after = false;
    absl::Duration down;
  };
  std::vector<Crash> crashes;
  absl::Duration scheduler_pauses;  // all together: a pause of training may be so much longer

  absl::Time End() const;  // of all of these
  std::string Describe() const;
};

class CheckpointWatch {
 public:
  using FindShard = std::function<const Shard*(const std::string& endpoint)>;
  // All that is referred to must outlive the object.
  CheckpointWatch(World& world, Ledger& ledger, TrialNews& news, FaultyDisk& disk, const CoordinatorOptions& options,
                  const CheckpointScenario& scenario, FindShard find_shard);

  // ---- the scheduler's side
  void SchedulerStarts() { begun_.reset(); }
  void OnCut(uint64_t number, const View& view);
  void BeforeCommit(const CheckpointManifest& manifest);
  void AfterCommit(const CheckpointManifest& manifest);
  void OnNewest(const std::string& trial, const std::string& spec, const std::optional<TrialCheckpoint>& newest,
                uint64_t next_trial);
  void OnRefuse(uint64_t number, const std::string& reason);
  void OnGaveUp() { begun_.reset(); }
  void Look(const Coordinator::Counters& counters);

  // ---- a server's side
  void OnRestoreAsked(wire::RestoreRows::Reader request);
  void OnRestored(const Shard& shard, wire::RestoreRows::Reader request);

  uint64_t made() const { return made_; }
  uint64_t restored() const { return restored_; }  // partitions of tables that were compared

 private:
  using Rows = std::map<Id, std::string>;  // weights and optimizer state, as text
  using Image = std::map<std::pair<TableNumber, PartitionNumber>, Rows>;
  struct Cut {
    Image image;
    std::set<PartitionNumber> missing;  // partitions that nobody served
    Ledger::Cut ledger;
    std::map<std::string, uint64_t> trials;  // by name: their number
    bool offered = false;                    // its manifest was begun
    bool made = false;                       // the scheduler was told that it is on the disk
    CheckpointManifest manifest;
  };

  void Violate(const std::string& what) { world_.Violate(fmt::format("checkpoints: {}", what)); }
  static Rows RowsOf(const std::string& dump);
  // Of a checkpoint that was offered, with all that it builds on.
  std::vector<std::string> FilesOf(uint64_t number) const;
  bool IsDamaged(uint64_t number) const;  // a bit was flipped
  bool IsThere(uint64_t number) const;
  std::string Difference(const Rows& found, const Rows& expected, TableNumber table, PartitionNumber partition) const;
  std::optional<Image> Read(const CheckpointManifest& manifest);

  World& world_;
  Ledger& ledger_;
  TrialNews& news_;
  FaultyDisk& disk_;
  const CoordinatorOptions& options_;
  const CheckpointScenario& scenario_;
  FindShard find_shard_;
  std::shared_ptr<FaultyDisk::Machine> files_;
  CheckpointFolder folder_;
  std::map<uint64_t, Cut> cuts_;
  std::optional<absl::Time> begun_;  // when the attempt under way made its cut
  uint64_t made_ = 0;
  uint64_t restored_ = 0;
};

// The real store of checkpoints over the faulty disk, of one scheduler process.
class SimCheckpointStore : public CheckpointStore {
 public:
  // `next_trial` is the number that the next trial to start will have.
  SimCheckpointStore(CheckpointWatch& watch, std::shared_ptr<FileSystem> files, uint32_t keep, std::function<View()> view,
                     std::function<uint64_t()> next_trial)
      : watch_(watch),
        files_(std::move(files)),
        store_(*files_, kCheckpointFolder, keep),
        view_(std::move(view)),
        next_trial_(std::move(next_trial)) {
    watch_.SchedulerStarts();
  }

  absl::StatusOr<Attempt> Begin() override;
  absl::Status Commit(const CheckpointManifest& manifest, const std::set<std::string>& unfinished) override;
  absl::StatusOr<std::optional<TrialCheckpoint>> Newest(const std::string& trial, const std::string& spec,
                                                        uint64_t cluster_id) override;
  void Refuse(uint64_t number, const std::string& reason) override;
  void CouldNotRead(uint64_t number, const std::string& reason) override { store_.CouldNotRead(number, reason); }
  void GaveUp(const std::string& reason) override;

 private:
  CheckpointWatch& watch_;
  std::shared_ptr<FileSystem> files_;
  CheckpointFiles store_;
  std::function<View()> view_;
  std::function<uint64_t()> next_trial_;
};

}  // namespace marquee::simulation

#endif  // MARQUEE_TESTS_SIMULATION_SIM_CHECKPOINTS_H_
