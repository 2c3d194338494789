#ifndef MARQUEE_TESTS_SIMULATION_SIM_CHECKPOINT_IO_H_
#define MARQUEE_TESTS_SIMULATION_SIM_CHECKPOINT_IO_H_

// What ps/checkpoint_thread.h does on a thread, done in simulated time: each step when the slow disk gets to it. Files are
// written and read by the same code.

#include <deque>
#include <functional>
#include <memory>
#include <optional>

#include "ps/block_reader.h"
#include "ps/checkpoint_io.h"
#include "tests/simulation/faulty_disk.h"

namespace marquee::simulation {

class SimCheckpointIo : public CheckpointIo {
 public:
  // `disk` must outlive the object. At most `room` steps wait for the disk.
  SimCheckpointIo(FaultyDisk& disk, FileSystem& files, FaultyDisk::Clock clock, size_t room)
      : disk_(disk), files_(files), clock_(std::move(clock)), room_(room) {}

  void BeginFile(const std::string& folder, const std::string& name, const RowFileHeader& header) override;
  bool HasRoom() const override { return steps_.size() < room_; }
  void Add(RowBlock block) override;
  void Finish() override;
  void GiveUp() override;
  std::optional<absl::StatusOr<RowFileSummary>> TakeWritten() override;

  void BeginReading(Files files) override;
  void StopReading() override;
  std::optional<RowBlock> NextBlock() override;
  std::optional<absl::Status> TakeRead() override { return std::exchange(read_, std::nullopt); }

 private:
  struct Step {
    absl::Time done;
    std::function<void()> act;
  };
  void Do(std::function<void()> act);
  void Fail(absl::Status status);

  FaultyDisk& disk_;
  FileSystem& files_;
  FaultyDisk::Clock clock_;
  size_t room_;
  std::deque<Step> steps_;
  std::unique_ptr<RowFileWriter> writer_;
  std::optional<absl::StatusOr<RowFileSummary>> written_;

  std::unique_ptr<BlockReader> reader_;
  absl::Time next_block_;  // is read by then
  std::optional<absl::Status> read_;
};

}  // namespace marquee::simulation

#endif  // MARQUEE_TESTS_SIMULATION_SIM_CHECKPOINT_IO_H_
