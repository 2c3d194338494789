#include "tests/unit/serving/kept_models.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>

#include "dataset/synthetic.h"
#include "dataset/writer.h"
#include "scheduler/model_folder.h"
#include "tests/unit/worker/models/row_map.h"
#include "worker/models/training_order.h"

namespace marquee {
namespace {

FeatureConfig Named(const std::string& name) {
  FeatureConfig feature;
  feature.name = name;
  return feature;
}

TrialConfig Config(const std::string& name, ModelConfig::Kind kind) {
  TrialConfig config;
  config.name = name;
  config.seed = 3;
  config.model.kind = kind;
  config.model.dim = 8;
  config.model.epochs = 3;
  config.model.batch_size = 512;
  config.model.optimizer.kind = OptimizerConfig::Kind::kAdagrad;
  config.model.optimizer.learning_rate = 0.1;
  return config;
}

ModelManifest OriginOf(const std::string& file, const Dataset& data, const Split& split) {
  ModelManifest origin;
  origin.data_name = data.name();
  origin.data_file = file;
  origin.data_checksum = fmt::format("{:016x}", data.checksum());
  origin.split_name = split.name;
  origin.split_checksum = fmt::format("{:016x}", split.checksum);
  return origin;
}

RowMap Trained(const TrialConfig& config, const Dataset& data, const Split& split, Model& model) {
  RowMap rows(model.tables());
  const auto batch = static_cast<uint64_t>(config.model.batch_size);
  TrainingOrder order(data, split, config.seed, model.users_together());
  uint64_t number = 0;
  for (uint32_t epoch = 0; epoch < static_cast<uint32_t>(config.model.epochs); ++epoch) {
    for (uint64_t begin = 0; begin < split.train.size(); begin += batch) {
      const std::vector<uint32_t> examples = order.Range(epoch, begin, std::min<uint64_t>(begin + batch, split.train.size()));
      auto step = model.Plan(examples, epoch, number++);
      EXPECT_TRUE(step.ok()) << step.status();
      rows.Fill(**step);
      EXPECT_TRUE(model.Compute(**step).ok());
      rows.Apply(**step);
    }
  }
  return rows;
}

}  // namespace

TrialConfig HistoryTowers() {
  TrialConfig config = Config("history", ModelConfig::Kind::kTwoTower);
  FeatureConfig plain = Named("movie_id");
  plain.kind = FeatureConfig::Kind::kHistory;
  FeatureConfig weighted = plain;
  weighted.weight = FeatureConfig::Weight::kRating;
  config.model.query.features = {plain, weighted};
  config.model.query.layers = {16, 8};
  config.model.candidate.features = {Named("movie_id"), Named("movie_genres")};
  config.model.bias = true;
  config.model.ensemble = 2;
  config.model.loss.kind = LossConfig::Kind::kFullSoftmax;
  config.model.loss.mask = 0.4;
  return config;
}

TrialConfig IdTowers() {
  TrialConfig config = Config("ids", ModelConfig::Kind::kTwoTower);
  config.model.query.features = {Named("user_id")};
  config.model.candidate.features = {Named("movie_id")};
  config.model.loss.kind = LossConfig::Kind::kFullSoftmax;
  return config;
}

TrialConfig FactorRatings() {
  TrialConfig config = Config("factors", ModelConfig::Kind::kRanking);
  DotConfig dot;
  dot.user.features = {Named("user_id")};
  dot.item.features = {Named("movie_id")};
  config.model.dot = dot;
  config.model.bias = true;
  config.model.loss.kind = LossConfig::Kind::kSquaredError;
  return config;
}

TrialConfig LayerRatings() {
  TrialConfig config = Config("layers", ModelConfig::Kind::kRanking);
  config.model.tower.features = {Named("user_id"), Named("movie_id")};
  config.model.tower.layers = {8};
  config.model.bias = true;
  config.model.loss.kind = LossConfig::Kind::kSquaredError;
  return config;
}

KeptModels::KeptModels() : data_file_(folder_.Path("small.mq")) {
  const absl::StatusOr<SyntheticShape> shape = SyntheticShapeOf("small");
  const absl::StatusOr<DataTables> tables = MakeSynthetic(*shape);
  EXPECT_TRUE(tables.ok()) << tables.status();
  EXPECT_TRUE(WriteDataset(*tables, data_file_).ok());
  absl::StatusOr<std::shared_ptr<const Dataset>> data = Dataset::Open(data_file_);
  EXPECT_TRUE(data.ok()) << data.status();
  data_ = *std::move(data);
}

void KeptModels::Keep(const TrialConfig& config) {
  const absl::StatusOr<Split> split = MakeSplit(*data_, config.split);
  ASSERT_TRUE(split.ok()) << split.status();
  const absl::StatusOr<std::unique_ptr<Model>> model = MakeModel(config, *data_, *split, "cpu");
  ASSERT_TRUE(model.ok()) << model.status();
  const RowMap rows = Trained(config, *data_, *split, **model);
  ModelFolder folder(folder_.Path("models"), OriginOf(data_file_, *data_, *split));
  absl::StatusOr<std::unique_ptr<ModelWriter>> writer = folder.Create(config.name);
  ASSERT_TRUE(writer.ok()) << writer.status();
  for (size_t table = 0; table < (*model)->tables().size(); ++table) {
    TableDefinition definition = (*model)->tables()[table];
    definition.name = "t/" + definition.name;
    ASSERT_TRUE((*writer)->BeginTable(definition).ok());
    for (const auto& [key, row] : rows.rows()) {
      if (key.first != table) continue;
      ASSERT_TRUE((*writer)->AddRows({key.second}, row).ok());
    }
  }
  const absl::Status finished = (*writer)->Finish(config, {});
  ASSERT_TRUE(finished.ok()) << finished;
}

std::string KeptModels::Folder(const TrialConfig& config) {
  const std::string path = folder_.Path("models/" + config.name);
  if (!std::filesystem::exists(path)) Keep(config);
  return path;
}

std::unique_ptr<ServedModels> KeptModels::Open(const TrialConfig& config, const std::string& predictions,
                                               Recommender::Index index) {
  absl::StatusOr<std::unique_ptr<ServedModels>> served = ServedModels::Open(Folder(config), predictions, "", index);
  EXPECT_TRUE(served.ok()) << served.status();
  return *std::move(served);
}

KeptModels& Kept() {
  static KeptModels kept;
  return kept;
}

}  // namespace marquee
