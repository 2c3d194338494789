#include "scheduler/model_folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/common/temporary_folder.h"
#include "tests/unit/scheduler/coordinator_testing.h"

namespace marquee {
namespace {

using testing::HasSubstr;

TableDefinition Table(const std::string& name, uint32_t dim) {
  TableDefinition table;
  table.name = name;
  table.dim = dim;
  table.seed = 0xfedcba9876543210U;
  table.initializer = {.kind = Initializer::Kind::kUniform, .scale = 0.05F};
  return table;
}

class ModelFolderTest : public testing::Test {
 protected:
  ModelFolderTest() {
    ModelManifest origin;
    origin.data_name = "little";
    origin.data_file = "little.mq";
    origin.data_checksum = "00000000000000ab";
    origin.split_name = "random";
    origin.split_checksum = "00000000000000cd";
    store_ = std::make_unique<ModelFolder>(folder_.Path("models"), origin);
  }

  // Two tables; the first with `rows` rows of dim 2.
  void Write(const std::string& trial, Id rows, bool finish = true) {
    auto writer = store_->Create(trial);
    ASSERT_TRUE(writer.ok()) << writer.status();
    ASSERT_TRUE((*writer)->BeginTable(Table("t7/users", 2)).ok());
    for (Id id = 0; id < rows; ++id) {
      const float value = static_cast<float>(id);
      ASSERT_TRUE((*writer)->AddRows({id}, {value, -value}).ok());
    }
    ASSERT_TRUE((*writer)->BeginTable(Table("t7/a/b", 1)).ok());
    if (!finish) return;
    TrialResult result;
    result.validation = {{"top_100", 0.25}};
    result.test = {{"top_100", 1.0 / 3}};
    result.epochs = 4;
    result.stopped = "early_stopping";
    ASSERT_TRUE((*writer)->Finish(SmallTrial(trial), result).ok());
  }
  std::string Path(const std::string& trial) const { return folder_.Path("models/" + trial); }

  TemporaryFolder folder_;
  std::unique_ptr<ModelFolder> store_;
};

TEST_F(ModelFolderTest, ManifestSaysAllThereIsToKnow) {
  Write("a", 3);
  const absl::StatusOr<ModelManifest> manifest = ModelManifest::Load(Path("a"));
  ASSERT_TRUE(manifest.ok()) << manifest.status();
  EXPECT_EQ(manifest->trial, "a");
  EXPECT_EQ(ToYaml(*ParseTrialConfig(manifest->configuration)), ToYaml(SmallTrial("a")));
  EXPECT_EQ(manifest->data_file, "little.mq");
  EXPECT_EQ(manifest->data_checksum, "00000000000000ab");
  EXPECT_EQ(manifest->split_checksum, "00000000000000cd");
  EXPECT_EQ(manifest->result.test.at("top_100"), 1.0 / 3);
  EXPECT_EQ(manifest->result.epochs, 4U);
  EXPECT_EQ(manifest->result.stopped, "early_stopping");
  EXPECT_FALSE(manifest->version.empty());
  ASSERT_EQ(manifest->tables.size(), 2U);
  EXPECT_EQ(manifest->tables[0].name, "users");
  EXPECT_EQ(manifest->tables[0].rows, 3U);
  EXPECT_EQ(manifest->tables[0].seed, 0xfedcba9876543210U);
  EXPECT_EQ(manifest->tables[0].initializer, Table("", 1).initializer);
  EXPECT_EQ(manifest->tables[1].name, "a/b");
  EXPECT_EQ(manifest->tables[1].file, "01-a_b.rows");
  EXPECT_EQ(std::filesystem::file_size(Path("a/00-users.rows")), 3 * (8 + 2 * 4));
}

TEST_F(ModelFolderTest, RowsComeBackInSteps) {
  Write("a", 100);
  const auto reader = store_->Open(Path("a"));
  ASSERT_TRUE(reader.ok()) << reader.status();
  EXPECT_EQ((*reader)->tables()[0].rows, 100U);
  std::vector<Id> ids;
  std::vector<float> weights;
  for (size_t before = 1; before != ids.size();) {
    before = ids.size();
    ASSERT_TRUE((*reader)->Read(0, 7, &ids, &weights).ok());
    EXPECT_LE(ids.size(), before + 7);
  }
  ASSERT_EQ(ids.size(), 100U);
  ASSERT_EQ(weights.size(), 200U);
  for (size_t i = 0; i < ids.size(); ++i) {
    EXPECT_EQ(weights[2 * i], static_cast<float>(ids[i]));
    EXPECT_EQ(weights[2 * i + 1], -static_cast<float>(ids[i]));
  }
  ASSERT_TRUE((*reader)->Read(1, 7, &ids, &weights).ok());
  EXPECT_EQ(ids.size(), 100U);
}

TEST_F(ModelFolderTest, WhatIsNotFinishedIsNoModelAndLeavesNothing) {
  Write("a", 3, /*finish=*/false);
  EXPECT_FALSE(std::filesystem::exists(Path("a")));
  EXPECT_THAT(std::string(store_->Open(Path("a")).status().message()), HasSubstr("models/a/manifest.json"));
  // One of the same name is replaced, from the beginning on.
  Write("a", 3);
  Write("a", 5, /*finish=*/false);
  EXPECT_FALSE(ModelManifest::Load(Path("a")).ok());
  Write("a", 5);
  EXPECT_EQ(ModelManifest::Load(Path("a"))->tables[0].rows, 5U);
  EXPECT_TRUE(store_->Remove("a").ok());
  EXPECT_FALSE(std::filesystem::exists(Path("a")));
  EXPECT_TRUE(store_->Remove("a").ok());
}

TEST_F(ModelFolderTest, DamagedFilesAreFound) {
  const auto read = [&] {
    const auto reader = store_->Open(Path("a"));
    if (!reader.ok()) return reader.status();
    std::vector<Id> ids;
    std::vector<float> weights;
    for (size_t before = 1; before != ids.size();) {
      before = ids.size();
      if (absl::Status status = (*reader)->Read(0, 2, &ids, &weights); !status.ok()) return status;
    }
    return absl::OkStatus();
  };
  Write("a", 5);
  ASSERT_TRUE(read().ok());
  const std::string rows = folder_.Read("models/a/00-users.rows");
  folder_.Write("models/a/00-users.rows", rows.substr(1));
  EXPECT_THAT(std::string(read().message()), HasSubstr("00-users.rows: is missing, or has fewer than 5 rows"));
  folder_.Write("models/a/00-users.rows", rows + "x");
  EXPECT_THAT(std::string(read().message()), HasSubstr("checksum"));
  std::string changed = rows;
  changed[20] ^= 1;
  folder_.Write("models/a/00-users.rows", changed);
  EXPECT_THAT(std::string(read().message()), HasSubstr("checksum"));
  folder_.Write("models/a/manifest.json", "{}");
  EXPECT_THAT(std::string(read().message()), HasSubstr("manifest.json: is no manifest"));
}

}  // namespace
}  // namespace marquee
