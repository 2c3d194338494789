#include "tests/fuzz/file_fuzz.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <cstring>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "common/cluster_config.h"
#include "dataset/dataset.h"
#include "dataset/dataset_file.h"
#include "dataset/evaluation.h"
#include "dataset/split.h"
#include "dataset/writer.h"
#include "scheduler/model_folder.h"
#include "scheduler/sweep.h"
#include "tests/fuzz/spoil.h"

namespace marquee::fuzz {
namespace {

constexpr uint64_t kRowsAtOnce = 7;
constexpr std::string_view kCluster = R"(cluster:
  name: local
  launcher: external
  partitions: 64
  security: none
  scheduler: {host: 127.0.0.1, port: 7700, metrics_port: 0}
  servers: [{name: s0, host: 127.0.0.1, port: 7710, shards: 2}, {name: s1, host: 127.0.0.1}]
  workers: {count: 2, threads: 1, device: auto}
  heartbeat_seconds: 0.5
  lease_seconds: 5
)";
constexpr std::string_view kSweep = R"(models:
  towers:
    kind: two_tower
    dim: 16
    query: {features: [user_id, {name: movie_id, kind: history, pooling: mean, weight: rating}], layers: [32, 16], dropout: 0.2}
    candidate: {features: [movie_id, {name: movie_genres, dim: 8}], layers: [16]}
    loss: {kind: in_batch_softmax, logq: true, accidental_hits: remove, temperature: 0.5}
    optimizer: {kind: adam, learning_rate: 0.01, schedule: cosine, l2: 1.0e-6}
    epochs: 3
    batch_size: 512
  crossed:
    kind: dcn
    dim: 4
    tower: {features: [user_id, movie_id], layers: [16]}
    cross: {layers: 2, rank: 4, structure: parallel}
sweep:
  method: asha
  trials:
    - {name: a, model: towers, parameters: {dim: {values: [8, 16]}, lr: {distribution: log_uniform_values, min: 0.001, max: 0.1}}}
    - {name: b, model: crossed, set: {epochs: 2}, reference: {elsewhere: {rmse: 0.9}}}
  metric: {name: top_100, goal: maximize}
  max_trials: 6
  max_t: 4
  grace_period: 1
  reduction_factor: 2
  seeds: 2
  keep: best
  split: {test: 0.25, validation: 0.05, seed: 42}
  seed: 1
)";
DataTables LittleData() {
  DataTables tables;
  tables.name = "little";
  tables.synthetic = true;
  tables.users = 12;
  tables.items = 9;
  tables.rated_items = 9;
  ColumnTable user("user_id", Column::Level::kUser, Column::Type::kId);
  ColumnTable age("age", Column::Level::kUser, Column::Type::kNumber);
  ColumnTable movie("movie_id", Column::Level::kItem, Column::Type::kId);
  ColumnTable genres("movie_genres", Column::Level::kItem, Column::Type::kIds);
  ColumnTable time("timestamp", Column::Level::kInteraction, Column::Type::kNumber);
  for (uint32_t i = 0; i < 12; ++i) {
    user.AddId(fmt::format("{}", i));
    i % 3 == 0 ? age.AddNullNumber() : age.AddNumber(20 + i);
  }
  for (uint32_t i = 0; i < 9; ++i) {
    movie.AddId(fmt::format("{}", i));
    std::vector<std::string_view> list = {"Comedy", "War"};
    list.resize(i % 3);
    genres.AddIds(list);
  }
  for (uint32_t i = 0; i < 12 * 9; i += 2) {
    tables.user_of.push_back(i % 12);
    tables.item_of.push_back(i / 12);
    tables.label.push_back(static_cast<float>(1 + i % 5));
    time.AddNumber(1e9 + i);
  }
  for (ColumnTable* column : {&user, &age, &movie, &genres, &time}) tables.columns.push_back(std::move(*column));
  return tables;
}

}  // namespace

std::string_view FileKindName(FileKind kind) {
  switch (kind) {
    case FileKind::kData:
      return "data file";
    case FileKind::kCluster:
      return "cluster file";
    case FileKind::kSweep:
      return "sweep file";
    case FileKind::kModel:
      return "kept model";
    case FileKind::kCheckpointManifest:
      return "checkpoint's manifest";
    case FileKind::kCheckpointRows:
      return "checkpoint's rows";
  }
  return "unknown";
}

FileFuzzer::FileFuzzer(std::string folder) : folder_(std::move(folder)), checkpoints_(folder_ + "/checkpoints") {
  right_[FileKind::kCheckpointManifest] = checkpoints_.right_manifest();
  right_[FileKind::kCheckpointRows] = checkpoints_.right_rows();
  WriteDataset(LittleData(), folder_ + "/right.mq").IgnoreError();
  right_[FileKind::kData] = ReadFrom(folder_ + "/right.mq");
  right_[FileKind::kCluster] = kCluster;
  right_[FileKind::kSweep] = kSweep;

  ModelManifest origin;
  origin.data_name = "little";
  origin.data_checksum = "0123456789abcdef";
  ModelFolder models(folder_, origin);
  TrialConfig config;
  config.name = "model";
  TableDefinition table;
  table.name = "t1/users";
  table.dim = 3;
  table.initializer = {Initializer::Kind::kUniform, 0.05F};
  auto writer = models.Create("model");
  if (writer.ok()) {
    const std::vector<Id> ids = {1, 2, 3, 4, 5, 6, 7, 8, 9};
    const std::vector<float> weights(ids.size() * table.dim, 0.25F);
    (*writer)->BeginTable(table).IgnoreError();
    (*writer)->AddRows(ids, weights).IgnoreError();
    (*writer)->Finish(config, TrialResult{}).IgnoreError();
  }
  right_[FileKind::kModel] = ReadFrom(folder_ + "/model/manifest.json");
  rows_ = ReadFrom(folder_ + "/model/" + SafeFileName(0, "users") + ".rows");
}

std::string FileFuzzer::Spoil(FileKind kind, std::string bytes, simulation::Random& random) {
  if (kind == FileKind::kCheckpointManifest) return CheckpointFuzzer::SpoilManifest(std::move(bytes), random);
  if (kind == FileKind::kCheckpointRows) return CheckpointFuzzer::SpoilRows(bytes, random);
  if (kind != FileKind::kData) {
    for (uint64_t times = random.Between(1, 3); times > 0; --times) SpoilText(bytes, random);
    if (random.OneIn(4)) SpoilBytes(bytes, random);
    return bytes;
  }
  if (random.OneIn(4) || bytes.size() < sizeof(DataFileHeader)) {
    SpoilBytes(bytes, random);
    return bytes;
  }
  // Spoilt before its checksum was taken: what stands behind the checksum has to find it.
  std::string content = bytes.substr(sizeof(DataFileHeader));
  SpoilBytes(content, random);
  content.resize(content.size() / 8 * 8);
  const DataFileHeader header{.content_bytes = content.size(), .checksum = XXH3_64bits(content.data(), content.size())};
  std::string whole(sizeof(header), '\0');
  std::memcpy(whole.data(), &header, sizeof(header));
  return whole + content;
}

std::string FileFuzzer::Try(FileKind kind, std::string_view bytes) {
  if (kind == FileKind::kCheckpointManifest) return checkpoints_.TryManifest(bytes);
  if (kind == FileKind::kCheckpointRows) return checkpoints_.TryRows(bytes);
  const std::string path = folder_ + "/spoilt";
  if (kind == FileKind::kModel) {
    WriteTo(folder_ + "/model/" + SafeFileName(0, "users") + ".rows", rows_);
    WriteTo(folder_ + "/model/manifest.json", bytes);
    return TryModel();
  }
  WriteTo(path, bytes);
  if (kind == FileKind::kCluster) return OutcomeOf(LoadClusterConfig(path).status());
  if (kind == FileKind::kData) return TryData(path);
  WriteTo(folder_ + "/right.yaml", kCluster);
  return OutcomeOf(LoadSweep(folder_ + "/right.yaml", path).status());
}

std::string FileFuzzer::TryData(const std::string& path) {
  const auto data = Dataset::Open(path);
  if (!data.ok()) return OutcomeOf(data.status());
  const auto split = MakeSplit(**data, {});
  if (split.ok()) Baselines(**data, *split).IgnoreError();
  return "accepted";
}

std::string FileFuzzer::TryModel() {
  ModelFolder models(folder_, {});
  auto model = models.Open(folder_ + "/model");
  if (!model.ok()) return OutcomeOf(model.status());
  for (size_t table = 0; table < (*model)->tables().size(); ++table) {
    std::vector<Id> ids;
    std::vector<float> weights;
    for (size_t before = 1; before != ids.size();) {
      before = ids.size();
      const absl::Status status = (*model)->Read(table, kRowsAtOnce, &ids, &weights);
      if (!status.ok()) return OutcomeOf(status);
    }
  }
  return "accepted";
}

std::string FileFuzzer::TrySpoiltRows(simulation::Random& random) {
  std::string spoilt = rows_;
  SpoilBytes(spoilt, random);
  WriteTo(folder_ + "/model/manifest.json", right_.at(FileKind::kModel));
  WriteTo(folder_ + "/model/" + SafeFileName(0, "users") + ".rows", spoilt);
  const std::string outcome = TryModel();
  return outcome == "accepted" && spoilt != rows_ ? "spoilt rows were accepted" : outcome;
}

}  // namespace marquee::fuzz
