#include "tests/fuzz/checkpoint_fuzz.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <cstring>
#include <filesystem>
#include <utility>
#include <vector>

#include "checkpoint/commands.h"
#include "ps/shard.h"
#include "scheduler/checkpoint_files.h"
#include "scheduler/training_chunks.h"
#include "scheduler/trial_state.h"
#include "tests/fuzz/spoil.h"
#include "tests/simulation/sim_checkpoint_io.h"
#include "tests/simulation/tamper.h"

namespace marquee::fuzz {
namespace {

constexpr uint64_t kClusterId = 7;
constexpr uint64_t kNumber = 1;
constexpr uint32_t kPartitions = 4;
constexpr TableNumber kTable = 3;
constexpr uint32_t kDim = 3;
constexpr char kTrial[] = "trial";
constexpr TrainingChunks::Shape kShape{.examples = 50, .chunk_size = 8, .epochs = 2};
constexpr std::string_view kMagic = "MQROWS1\n";
constexpr size_t kFrameHead = sizeof(uint32_t) + 2 * sizeof(uint64_t);
constexpr uint32_t kHeaderKind = 1, kRowsKind = 2, kIndexKind = 3;  // docs/checkpoints.md
constexpr int kMostTimers = 100;
const Identity kScheduler{.name = "scheduler", .incarnation = 1};

template <typename T>
void Put(std::string& text, const T& value) {
  text.append(reinterpret_cast<const char*>(&value), sizeof(T));
}

template <typename T>
T Get(std::string_view text, size_t at) {
  T value{};
  if (at + sizeof(T) <= text.size()) std::memcpy(&value, text.data() + at, sizeof(T));
  return value;
}

// The parts of a file of rows, without their heads.
struct RowFileParts {
  std::string header;
  std::vector<std::string> blocks;
  std::string index;  // empty: that of the blocks

  static RowFileParts Of(std::string_view bytes) {
    RowFileParts parts;
    for (size_t at = kMagic.size(); at + kFrameHead <= bytes.size();) {
      const auto kind = Get<uint32_t>(bytes, at);
      const auto size = Get<uint64_t>(bytes, at + sizeof(uint32_t));
      if (size > bytes.size() - at - kFrameHead) break;
      const std::string payload(bytes.substr(at + kFrameHead, size));
      if (kind == kHeaderKind) parts.header = payload;
      if (kind == kRowsKind) parts.blocks.push_back(payload);
      at += kFrameHead + size;
    }
    return parts;
  }

  // With checksums and, where `index` is empty, the index that these parts should have.
  std::string ToBytes() const {
    std::string bytes(kMagic);
    const uint64_t key = Add(bytes, 0, kHeaderKind, header);
    std::string own_index;
    for (const std::string& block : blocks) {
      Put(own_index, uint64_t{bytes.size()});
      Put(own_index, uint64_t{kFrameHead + block.size()});
      Put(own_index, Get<uint32_t>(block, 0));
      Put(own_index, Get<uint32_t>(block, sizeof(uint32_t)));
      Add(bytes, key, kRowsKind, block);
    }
    const uint64_t index_at = bytes.size();
    Add(bytes, key, kIndexKind, index.empty() ? own_index : index);
    Put(bytes, index_at);
    return bytes;
  }

 private:
  static uint64_t Add(std::string& bytes, uint64_t key, uint32_t kind, const std::string& payload) {
    std::string head;
    Put(head, uint64_t{kind});
    Put(head, uint64_t{bytes.size()});
    Put(head, uint64_t{payload.size()});
    const uint64_t of_head = XXH3_64bits_withSeed(head.data(), head.size(), key);
    const uint64_t checksum = XXH3_64bits_withSeed(payload.data(), payload.size(), of_head);
    Put(bytes, kind);
    Put(bytes, uint64_t{payload.size()});
    Put(bytes, checksum);
    bytes += payload;
    return checksum;
  }
};

void SpoilParts(RowFileParts& parts, simulation::Random& random) {
  std::vector<std::string>& blocks = parts.blocks;
  switch (random.Below(6)) {
    case 0:
      SpoilBytes(parts.header, random);
      break;
    case 1: {  // an index of other blocks
      RowFileParts others = parts;
      if (!others.blocks.empty()) others.blocks.pop_back();
      parts.index = Get<uint64_t>(others.header, 0) == 0 ? "x" : others.ToBytes().substr(kMagic.size());
      SpoilBytes(parts.index, random);
      break;
    }
    case 2:
      if (!blocks.empty()) blocks.push_back(blocks[random.Below(blocks.size())]);
      break;
    case 3:
      if (!blocks.empty()) blocks.erase(blocks.begin() + static_cast<ptrdiff_t>(random.Below(blocks.size())));
      break;
    default: {
      if (blocks.empty()) break;
      std::string& block = blocks[random.Below(blocks.size())];
      if (random.OneIn(2) || block.size() < 24) {
        SpoilBytes(block, random);
        break;
      }
      // One of partition, table, dim, state width and count.
      constexpr uint64_t kNumbers[] = {0, 1, 2, 3, 4, 1U << 20U, UINT32_MAX, UINT64_MAX, uint64_t{1} << 62U};
      const uint64_t value = kNumbers[random.Below(std::size(kNumbers))];
      const size_t field = random.Below(5);
      std::memcpy(block.data() + field * sizeof(uint32_t), &value, field == 4 ? sizeof(uint64_t) : sizeof(uint32_t));
    }
  }
}

OutgoingMessagePtr Request(uint64_t id, uint64_t view) { return NewRequest(kScheduler, view, id, absl::ZeroDuration()); }

std::string StateOfTrial() {
  TrainingChunks chunks(kShape);
  chunks.Take(1, 0);
  chunks.Report(1, 0, kShape.chunk_size);
  chunks.Take(1, 0);
  chunks.Report(1, 1, kShape.chunk_size + 2);
  chunks.Release(1);
  TrialState state;
  state.tables = {{.number = kTable, .name = "users", .dim = kDim}};
  state.chunks = chunks.progress();
  state.trained_epochs = 1;
  state.losses = {{4.5, 10}, {0, 0}};
  state.validations = {{.epoch = 1, .metrics = {{"rmse", 0.9}}}};
  return state.ToJson();
}

// A trial that goes on from a state must come to its end.
absl::Status TrainToTheEnd(const std::string& text) {
  const absl::StatusOr<TrialState> state = TrialState::FromJson(text);
  if (!state.ok()) return state.status();
  TrainingChunks chunks(kShape);
  if (absl::Status status = chunks.GoOnFrom(state->chunks); !status.ok()) return status;
  while (const auto lease = chunks.Take(1, 0)) chunks.Report(1, lease->number, lease->end);
  return chunks.done() ? absl::OkStatus() : absl::InternalError("the trial does not come to its end");
}

}  // namespace

CheckpointFuzzer::CheckpointFuzzer(std::string folder) : folder_(std::move(folder)), checkpoints_(RealFileSystem(), folder_) {
  auto writer = RowFileWriter::Create(RealFileSystem(), checkpoints_.FolderOf(kNumber), "shard-000",
                                      {.cluster_id = kClusterId, .checkpoint = kNumber, .view = 1, .shard = 0});
  rows_path_ = checkpoints_.FolderOf(kNumber) + "/shard-000";
  CheckpointManifest manifest;
  manifest.number = kNumber;
  manifest.cluster_id = kClusterId;
  manifest.view = 1;
  manifest.version = "1";
  manifest.trials = {{.name = kTrial, .spec = "x: 1\n", .state = StateOfTrial()}};
  for (PartitionNumber p = 0; writer.ok() && p < kPartitions; ++p) {
    RowBlock block{.partition = p, .table = kTable, .dim = kDim, .state_width = kDim, .ids = {}, .values = {}};
    for (uint64_t i = 0; block.ids.size() < 5; ++i) {
      if (PartitionOf(i, 2) == p) block.ids.push_back(i);
    }
    block.values.assign(block.ids.size() * 2 * kDim, 0.5F);
    (*writer)->Add(block).IgnoreError();
  }
  if (writer.ok()) manifest.files = {(*writer)->Finish().value_or(RowFileSummary{})};
  checkpoints_.Commit(manifest).IgnoreError();
  right_manifest_ = ReadFrom(checkpoints_.ManifestOf(kNumber));
  right_rows_ = ReadFrom(rows_path_);
}

std::string CheckpointFuzzer::SpoilManifest(std::string bytes, simulation::Random& random) {
  if (random.OneIn(4)) {
    SpoilBytes(bytes, random);
    return bytes;
  }
  std::string text = bytes.substr(0, bytes.rfind("XXH3 "));
  for (uint64_t times = random.Between(1, 3); times > 0; --times) SpoilText(text, random);
  return text + fmt::format("XXH3 {:016x}\n", XXH3_64bits(text.data(), text.size()));
}

std::string CheckpointFuzzer::SpoilRows(const std::string& bytes, simulation::Random& random) {
  if (random.OneIn(4)) {
    std::string spoilt = bytes;
    SpoilBytes(spoilt, random);
    return spoilt;
  }
  RowFileParts parts = RowFileParts::Of(bytes);
  for (uint64_t times = random.Between(1, 2); times > 0; --times) SpoilParts(parts, random);
  return parts.ToBytes();
}

std::string CheckpointFuzzer::TryManifest(std::string_view bytes) {
  WriteTo(rows_path_, right_rows_);
  WriteTo(checkpoints_.ManifestOf(kNumber), bytes);
  return Use();
}

// Its manifest names the size and the checksum that it has now.
std::string CheckpointFuzzer::TryRows(std::string_view bytes) {
  WriteTo(rows_path_, bytes);
  absl::StatusOr<CheckpointManifest> manifest = CheckpointManifest::Parse(right_manifest_, "MANIFEST");
  if (!manifest.ok()) return OutcomeOf(manifest.status());
  manifest->files[0].bytes = bytes.size();
  manifest->files[0].checksum = XXH3_64bits(bytes.data(), bytes.size());
  WriteTo(checkpoints_.ManifestOf(kNumber), manifest->ToText());
  if (const std::string outcome = Use(); outcome != "accepted") return outcome;
  return OutcomeOf(Restore(rows_path_));
}

std::string CheckpointFuzzer::Use() {
  ListCheckpoints(RealFileSystem(), folder_).IgnoreError();
  VerifyCheckpoints(RealFileSystem(), folder_).IgnoreError();
  const auto chain = checkpoints_.Chain(kNumber);
  if (!chain.ok()) return OutcomeOf(chain.status());
  if (absl::Status status = checkpoints_.Look(*chain); !status.ok()) return OutcomeOf(status);
  for (const CheckpointManifest::Trial& trial : chain->back().trials) {
    if (absl::Status status = TrainToTheEnd(trial.state); !status.ok()) return OutcomeOf(status);
  }
  return "accepted";
}

absl::Status CheckpointFuzzer::Restore(const std::string& path) const {
  absl::Time now = absl::UnixEpoch();
  simulation::FaultyDisk no_faults(1, {}, [&] { return now; });
  simulation::SimCheckpointIo io(
      no_faults, RealFileSystem(), [&] { return now; }, 1);
  Shard shard({.name = "s0", .incarnation = 2}, ShardOptions{}, &io);
  simulation::Capture said;
  const auto ask = [&](OutgoingMessage& message) { shard.OnMessage(Deliver("scheduler", message).value(), now, said); };

  const OutgoingMessagePtr install = Request(1, 0);
  MakeEvenView(1, kClusterId, {"tcp://s0"}, kPartitions).ToWire(install->envelope().getBody().initInstallView());
  install->envelope().getBody().getInstallView().setYou(0);
  ask(*install);
  const OutgoingMessagePtr create = Request(2, 1);
  TableDefinition table;
  table.number = kTable + 1;
  table.name = "t1/users";
  table.dim = kDim;
  table.optimizer.kind = Optimizer::Kind::kMomentum;
  table.ToWire(create->envelope().getBody().initCreateTables().initDefinitions(1)[0]);
  ask(*create);
  const OutgoingMessagePtr restore = Request(3, 1);
  auto rows = restore->envelope().getBody().initRestoreRows();
  rows.setClusterId(kClusterId);
  auto file = rows.initFiles(1)[0];
  file.setPath(path.c_str());
  file.setCheckpoint(kNumber);
  auto numbers = rows.initTables(1)[0];
  numbers.setFrom(kTable);
  numbers.setTo(kTable + 1);
  ask(*restore);
  for (int i = 0; i < kMostTimers && said.sent().size() < 3; ++i) {
    now += absl::Milliseconds(2);
    shard.OnTimer(now, said);
  }
  shard.DumpState();
  if (said.sent().size() != 3) return absl::InternalError(fmt::format("{} answers to 3 requests", said.sent().size()));
  const auto answer = said.sent().back().message->envelope().asReader().getBody();
  if (answer.isOk()) return absl::OkStatus();
  return absl::DataLossError(answer.getError().getMessage().cStr());
}

}  // namespace marquee::fuzz
