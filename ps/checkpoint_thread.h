#ifndef MARQUEE_PS_CHECKPOINT_THREAD_H_
#define MARQUEE_PS_CHECKPOINT_THREAD_H_

// Writes and reads a shard's checkpoint files on a thread of its own, so that a slow disk never keeps the shard from answering.
// What waits for the disk is bounded: HasRoom says when there is enough of it, and reading stops until blocks are taken.
//
// For the shard's thread alone.

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>

#include "checkpoint/file_system.h"
#include "ps/block_reader.h"
#include "ps/checkpoint_io.h"

namespace marquee {

class CheckpointThread : public CheckpointIo {
 public:
  explicit CheckpointThread(FileSystem& files);
  ~CheckpointThread() override;

  void BeginFile(const std::string& folder, const std::string& name, const RowFileHeader& header) override;
  bool HasRoom() const override;
  void Add(RowBlock block) override;
  void Finish() override;
  void GiveUp() override;
  std::optional<absl::StatusOr<RowFileSummary>> TakeWritten() override;

  void BeginReading(Files files) override;
  void StopReading() override;
  std::optional<RowBlock> NextBlock() override;
  std::optional<absl::Status> TakeRead() override;

 private:
  void Run();
  void Do(std::function<void()> task, size_t bytes);

  FileSystem& files_;

  mutable std::mutex mutex_;
  std::condition_variable wake_;
  bool stop_ = false;
  std::deque<std::pair<std::function<void()>, size_t>> tasks_;  // of writing, and their bytes
  size_t task_bytes_ = 0;
  std::optional<absl::StatusOr<RowFileSummary>> written_;
  uint64_t reading_ = 0;                 // counts the times that reading began or was stopped
  std::shared_ptr<BlockReader> reader_;  // used by the thread alone
  std::deque<RowBlock> blocks_;
  size_t block_bytes_ = 0;
  std::optional<absl::Status> read_;

  std::unique_ptr<RowFileWriter> writer_;  // the thread's
  bool failed_ = false;                    // likewise: the rest of the file is not written
  std::thread thread_;
};

}  // namespace marquee

#endif  // MARQUEE_PS_CHECKPOINT_THREAD_H_
