// Which checkpoint a trial goes on from when the disk is in a bad way.

#include "scheduler/checkpoint_files.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <xxhash.h>

#include "common/trial_config_yaml.h"
#include "common/version.h"
#include "tests/unit/checkpoint/memory_files.h"

namespace marquee {
namespace {

constexpr uint64_t kClusterId = 7;

class CheckpointFilesTest : public testing::Test {
 protected:
  void Make() {
    const auto attempt = checkpoints_.Begin();
    ASSERT_TRUE(attempt.ok()) << attempt.status();
    auto writer = RowFileWriter::Create(files_, attempt->folder, "shard-000",
                                        {.cluster_id = kClusterId, .checkpoint = attempt->number, .view = 1, .shard = 0});
    ASSERT_TRUE(writer.ok());
    const auto summary = (*writer)->Finish();
    ASSERT_TRUE(summary.ok());
    CheckpointManifest manifest;
    manifest.number = attempt->number;
    manifest.cluster_id = kClusterId;
    manifest.files = {*summary};
    manifest.trials = {{.name = "a", .spec = spec_, .state = "here"}};
    ASSERT_TRUE(checkpoints_.Commit(manifest, {"a"}).ok());
  }

  std::string spec_;
  MemoryFiles files_;
  CheckpointFiles checkpoints_{files_, "c", 3};
};

TEST_F(CheckpointFilesTest, WhatCannotBeReadIsNotRefused) {
  Make();
  Make();
  files_.denies_reading = true;
  EXPECT_TRUE(absl::IsUnavailable(checkpoints_.Newest("a", "", kClusterId).status()));
  files_.denies_reading = false;
  const auto newest = checkpoints_.Newest("a", "", kClusterId);
  ASSERT_TRUE(newest.ok() && newest->has_value());
  EXPECT_EQ((*newest)->number, 2U);
}

TEST_F(CheckpointFilesTest, ADamagedOneIsRefusedForGood) {
  Make();
  Make();
  files_.Content("c/checkpoint-000002/shard-000")[20] ^= 1;
  for (int look = 0; look < 2; ++look) {
    const auto newest = checkpoints_.Newest("a", "", kClusterId);
    ASSERT_TRUE(newest.ok() && newest->has_value());
    EXPECT_EQ((*newest)->number, 1U);
    files_.Content("c/checkpoint-000002/shard-000")[20] ^= 1;
  }
}

// What a newer marquee has written, in the eyes of an older one.
TEST_F(CheckpointFilesTest, OneOfAnotherFormatIsNeitherPassedOverNorRemoved) {
  Make();
  Make();
  EXPECT_TRUE(checkpoints_.CheckFormat().ok());
  std::string& manifest = files_.Content("c/checkpoint-000002/MANIFEST");
  const std::string now = fmt::format("\"format\": {}", kCheckpointVersion);
  manifest.replace(manifest.find(now), now.size(), fmt::format("\"format\": {}", kCheckpointVersion + 1));
  manifest.resize(manifest.size() - std::string("XXH3 0123456789abcdef\n").size());
  manifest += fmt::format("XXH3 {:016x}\n", XXH3_64bits(manifest.data(), manifest.size()));
  const absl::Status status = checkpoints_.CheckFormat();
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  EXPECT_THAT(std::string(status.message()), testing::HasSubstr("c/checkpoint-000002/MANIFEST"));
  EXPECT_TRUE(absl::IsUnavailable(checkpoints_.Newest("a", "", kClusterId).status()));
  for (int i = 0; i < 4; ++i) Make();
  EXPECT_THAT(*files_.List("c"), testing::SizeIs(6));
}

// A trial's configuration is known again when a later version has more keys.
TEST_F(CheckpointFilesTest, AConfigurationThatAnOlderMarqueeWroteIsTheSame) {
  TrialConfig config;
  config.name = "a";
  config.model.query.features = {FeatureConfig{.name = "user_id"}};
  config.model.candidate.features = {FeatureConfig{.name = "movie_id"}};
  const std::string spec = ToYaml(config);
  ASSERT_EQ(Rewritten(spec), spec);
  const size_t key = spec.find("batch_size: ");
  ASSERT_NE(key, std::string::npos);
  std::string older = spec;
  older.erase(key, older.find_first_of("\n,", key) + 1 - key);
  ASSERT_EQ(Rewritten(older), spec) << older;
  spec_ = older;
  Make();
  const auto newest = checkpoints_.Newest("a", spec, kClusterId);
  ASSERT_TRUE(newest.ok() && newest->has_value());
  EXPECT_EQ((*newest)->number, 1U);
}

TEST_F(CheckpointFilesTest, NothingIsRemovedWhileNothingCanBeRead) {
  Make();
  for (int i = 0; i < 4; ++i) Make();
  EXPECT_THAT(*files_.List("c"), testing::ElementsAre("checkpoint-000003", "checkpoint-000004", "checkpoint-000005"));
  files_.denies_reading = true;
  Make();
  EXPECT_THAT(*files_.List("c"), testing::SizeIs(4));
}

}  // namespace
}  // namespace marquee
