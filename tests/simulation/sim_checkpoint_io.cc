#include "tests/simulation/sim_checkpoint_io.h"

#include <algorithm>
#include <utility>

namespace marquee::simulation {

void SimCheckpointIo::Do(std::function<void()> act) {
  const absl::Time begins = steps_.empty() ? clock_() : std::max(clock_(), steps_.back().done);
  steps_.push_back({.done = begins + disk_.Delay(), .act = std::move(act)});
}

void SimCheckpointIo::Fail(absl::Status status) {
  writer_ = nullptr;
  written_ = std::move(status);
}

void SimCheckpointIo::BeginFile(const std::string& folder, const std::string& name, const RowFileHeader& header) {
  GiveUp();
  Do([this, folder, name, header] {
    auto writer = RowFileWriter::Create(files_, folder, name, header);
    if (!writer.ok()) return Fail(writer.status());
    writer_ = *std::move(writer);
  });
}

void SimCheckpointIo::Add(RowBlock block) {
  Do([this, block = std::move(block)] {
    if (writer_ == nullptr) return;
    if (absl::Status status = writer_->Add(block); !status.ok()) Fail(status);
  });
}

void SimCheckpointIo::Finish() {
  Do([this] {
    if (writer_ == nullptr) return;
    absl::StatusOr<RowFileSummary> summary = writer_->Finish();
    writer_ = nullptr;
    written_ = std::move(summary);
  });
}

void SimCheckpointIo::GiveUp() {
  steps_.clear();
  writer_ = nullptr;
  written_.reset();
}

std::optional<absl::StatusOr<RowFileSummary>> SimCheckpointIo::TakeWritten() {
  while (!steps_.empty() && steps_.front().done <= clock_()) {
    const Step step = std::move(steps_.front());
    steps_.pop_front();
    step.act();
  }
  if (!steps_.empty()) return std::nullopt;
  return std::exchange(written_, std::nullopt);
}

void SimCheckpointIo::BeginReading(Files files) {
  reader_ = std::make_unique<BlockReader>(files_, std::move(files));
  next_block_ = clock_() + disk_.Delay();
  read_.reset();
}

void SimCheckpointIo::StopReading() {
  reader_ = nullptr;
  read_.reset();
}

std::optional<RowBlock> SimCheckpointIo::NextBlock() {
  if (reader_ == nullptr || clock_() < next_block_) return std::nullopt;
  absl::StatusOr<std::optional<RowBlock>> block = reader_->Next();
  next_block_ = clock_() + disk_.Delay();
  if (block.ok() && block->has_value()) return **std::move(block);
  read_ = block.status();
  reader_ = nullptr;
  return std::nullopt;
}

}  // namespace marquee::simulation
