#include "scheduler/feature_interactions.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "dataset/synthetic.h"
#include "tests/unit/common/temporary_folder.h"
#include "tests/unit/scheduler/coordinator_testing.h"

namespace marquee {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

// x0 is user_id (two columns), age (one, never null), release date (two, since it is null for one movie).
constexpr uint32_t kColumns = 5;

class FeatureInteractionsTest : public testing::Test {
 protected:
  FeatureInteractionsTest() {
    DataTables tables = *MakeSynthetic({.name = "tiny", .users = 30, .movies = 40, .ratings = 600});
    for (ColumnTable& column : tables.columns) {
      if (column.name != "release_date" && column.name != "bucketized_user_age") continue;
      column.valid.assign(column.rows(), 1);
      if (column.name == "release_date") column.valid[0] = 0;
    }
    EXPECT_TRUE(WriteDataset(tables, folder_.Path("tiny.mq")).ok());
    data_ = *Dataset::Open(folder_.Path("tiny.mq"));
    config_ = SmallTrial("crossed");
    config_.model.kind = ModelConfig::Kind::kDcn;
    config_.model.loss.kind = LossConfig::Kind::kSquaredError;
    config_.model.tower.features = {FeatureConfig{.name = "user_id", .dim = 2}, FeatureConfig{.name = "bucketized_user_age"},
                                    FeatureConfig{.name = "release_date"}};
    config_.model.tower.layers = {4};
    config_.model.cross = CrossConfig{.layers = 1};
    writer_ = *ModelFolder(folder_.Path("models"), {}).Create("crossed");
  }

  // Rows of `dim` numbers; the last one is written first: files have no order.
  void AddTable(const std::string& name, uint32_t dim, const std::vector<float>& rows) {
    TableDefinition table;
    table.name = "t1/" + name;
    table.dim = dim;
    ASSERT_TRUE(writer_->BeginTable(table).ok());
    for (size_t id = rows.size() / dim; id-- > 0;) {
      ASSERT_TRUE(writer_->AddRows({id}, absl::MakeSpan(rows).subspan(id * dim, dim)).ok());
    }
  }
  absl::StatusOr<FeatureInteractions> Load() {
    EXPECT_TRUE(writer_->Finish(config_, {}).ok());
    return LoadFeatureInteractions(folder_.Path("models/crossed"), *data_);
  }

  TemporaryFolder folder_;
  std::shared_ptr<const Dataset> data_;
  TrialConfig config_;
  std::unique_ptr<ModelWriter> writer_;
};

// One number in each of three blocks.
std::vector<float> Weight() {
  std::vector<float> weight(kColumns * kColumns, 0.0F);
  weight[0 * kColumns + 1] = 3;  // within user_id
  weight[1 * kColumns + 0] = 4;
  weight[1 * kColumns + 2] = 7;  // row user_id, column age
  weight[4 * kColumns + 2] = 2;  // row release date, column age
  return weight;
}

TEST_F(FeatureInteractionsTest, BlocksAreOfTheFeaturesColumns) {
  AddTable("tower_user_id", 2, {1, 2});
  AddTable("tower_cross0_weight", kColumns, Weight());
  const absl::StatusOr<FeatureInteractions> interactions = Load();
  ASSERT_TRUE(interactions.ok()) << interactions.status();
  EXPECT_EQ(interactions->trial, "crossed");
  EXPECT_THAT(interactions->features, ElementsAre("user_id", "bucketized_user_age", "release_date"));
  EXPECT_THAT(interactions->norms, ElementsAre(ElementsAre(5, 7, 0), ElementsAre(0, 0, 0), ElementsAre(0, 2, 0)));
}

TEST_F(FeatureInteractionsTest, LowRankAndMembersCount) {
  config_.model.cross->rank = 1;
  config_.model.ensemble = 2;
  for (const float scale : {1.0F, 3.0F}) {
    const std::string member = scale == 1 ? "member0_tower" : "member1_tower";
    AddTable(member + "_user_id", 2, {1, 2});
    AddTable(member + "_cross0_v", kColumns, {0, 0, 2, 0, 0});
    AddTable(member + "_cross0_u", 1, {0, scale, 0, 0, 0});
  }
  const absl::StatusOr<FeatureInteractions> interactions = Load();
  ASSERT_TRUE(interactions.ok()) << interactions.status();
  EXPECT_THAT(interactions->norms,
              ElementsAre(ElementsAre(0, 4, 0), ElementsAre(0, 0, 0), ElementsAre(0, 0, 0)));  // (2 + 6) / 2
}

TEST_F(FeatureInteractionsTest, WhatDoesNotFitIsSaid) {
  AddTable("tower_user_id", 1, {1, 2});  // four columns in all
  AddTable("tower_cross0_weight", kColumns, Weight());
  const std::string error(Load().status().message());
  EXPECT_THAT(error, HasSubstr("models/crossed: cross weight: 25 numbers; the features take 4 columns"));
}

TEST_F(FeatureInteractionsTest, MissingTablesAndOtherModelsAreRefused) {
  AddTable("tower_user_id", 2, {1, 2});
  EXPECT_THAT(std::string(Load().status().message()), HasSubstr("table tower_cross0_weight: is missing"));
  EXPECT_THAT(std::string(LoadFeatureInteractions(folder_.Path("models/other"), *data_).status().message()),
              HasSubstr("no kept model is there"));
}

TEST_F(FeatureInteractionsTest, ModelsWithoutCrossLayersAreRefused) {
  config_ = SmallTrial("crossed");
  AddTable("query_user_id", 2, {1, 2});
  EXPECT_THAT(std::string(Load().status().message()), HasSubstr("has no cross layers"));
}

}  // namespace
}  // namespace marquee
