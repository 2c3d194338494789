#include "ps/checkpoint_thread.h"

#include <utility>

namespace marquee {
namespace {

constexpr size_t kMostWaitingBytes = 8U << 20U;

size_t BytesOf(const RowBlock& block) { return block.ids.size() * sizeof(Id) + block.values.size() * sizeof(float); }

}  // namespace

CheckpointThread::CheckpointThread(FileSystem& files) : files_(files), thread_([this] { Run(); }) {}

CheckpointThread::~CheckpointThread() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  wake_.notify_one();
  thread_.join();
}

void CheckpointThread::Do(std::function<void()> task, size_t bytes) {
  {
    const std::lock_guard lock(mutex_);
    tasks_.emplace_back(std::move(task), bytes);
    task_bytes_ += bytes;
  }
  wake_.notify_one();
}

void CheckpointThread::Run() {
  std::unique_lock lock(mutex_);
  while (true) {
    const auto may_read = [this] { return reader_ != nullptr && !read_.has_value() && block_bytes_ < kMostWaitingBytes; };
    wake_.wait(lock, [&] { return stop_ || !tasks_.empty() || may_read(); });
    if (stop_) return;
    if (!tasks_.empty()) {
      const auto [task, bytes] = std::move(tasks_.front());
      tasks_.pop_front();
      lock.unlock();
      task();
      lock.lock();
      task_bytes_ -= bytes;
      continue;
    }
    const uint64_t reading = reading_;
    const std::shared_ptr<BlockReader> reader = reader_;
    lock.unlock();
    absl::StatusOr<std::optional<RowBlock>> block = reader->Next();
    lock.lock();
    if (reading != reading_) continue;  // given up meanwhile
    if (!block.ok() || !block->has_value()) {
      read_ = block.status();
    } else {
      block_bytes_ += BytesOf(**block);
      blocks_.push_back(**std::move(block));
    }
  }
}

// ------------------------------------------------------------------------------------------------------------ writing

void CheckpointThread::BeginFile(const std::string& folder, const std::string& name, const RowFileHeader& header) {
  GiveUp();
  Do(
      [this, folder, name, header] {
        absl::StatusOr<std::unique_ptr<RowFileWriter>> writer = RowFileWriter::Create(files_, folder, name, header);
        failed_ = !writer.ok();
        if (writer.ok()) {
          writer_ = *std::move(writer);
          return;
        }
        const std::lock_guard lock(mutex_);
        written_ = writer.status();
      },
      0);
}

bool CheckpointThread::HasRoom() const {
  const std::lock_guard lock(mutex_);
  return task_bytes_ < kMostWaitingBytes;
}

void CheckpointThread::Add(RowBlock block) {
  const size_t bytes = BytesOf(block);
  Do(
      [this, shared = std::make_shared<RowBlock>(std::move(block))] {
        if (failed_) return;
        const absl::Status status = writer_->Add(*shared);
        if (status.ok()) return;
        failed_ = true;
        writer_ = nullptr;
        const std::lock_guard lock(mutex_);
        written_ = status;
      },
      bytes);
}

void CheckpointThread::Finish() {
  Do(
      [this] {
        if (failed_) return;
        absl::StatusOr<RowFileSummary> summary = writer_->Finish();
        writer_ = nullptr;
        const std::lock_guard lock(mutex_);
        written_ = std::move(summary);
      },
      0);
}

// What waits is not written any more; what is being written at this moment ends first.
void CheckpointThread::GiveUp() {
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [task, bytes] : tasks_) task_bytes_ -= bytes;
    tasks_.clear();
  }
  Do(
      [this] {
        writer_ = nullptr;
        failed_ = true;
        const std::lock_guard lock(mutex_);
        written_.reset();
      },
      0);
}

std::optional<absl::StatusOr<RowFileSummary>> CheckpointThread::TakeWritten() {
  const std::lock_guard lock(mutex_);
  if (!tasks_.empty()) return std::nullopt;  // it may be of the file before
  return std::exchange(written_, std::nullopt);
}

// ------------------------------------------------------------------------------------------------------------ reading

void CheckpointThread::BeginReading(Files files) {
  StopReading();
  {
    const std::lock_guard lock(mutex_);
    reader_ = std::make_shared<BlockReader>(files_, std::move(files));
  }
  wake_.notify_one();
}

void CheckpointThread::StopReading() {
  const std::lock_guard lock(mutex_);
  ++reading_;
  reader_ = nullptr;
  blocks_.clear();
  block_bytes_ = 0;
  read_.reset();
}

std::optional<RowBlock> CheckpointThread::NextBlock() {
  std::optional<RowBlock> block;
  {
    const std::lock_guard lock(mutex_);
    if (blocks_.empty()) return std::nullopt;
    block = std::move(blocks_.front());
    blocks_.pop_front();
    block_bytes_ -= BytesOf(*block);
  }
  wake_.notify_one();
  return block;
}

std::optional<absl::Status> CheckpointThread::TakeRead() {
  const std::lock_guard lock(mutex_);
  if (!read_.has_value() || !blocks_.empty()) return std::nullopt;
  reader_ = nullptr;
  return std::exchange(read_, std::nullopt);
}

}  // namespace marquee
