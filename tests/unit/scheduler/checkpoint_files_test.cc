// Which checkpoint a trial goes on from when the disk is in a bad way.

#include "scheduler/checkpoint_files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

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
    manifest.trials = {{.name = "a", .spec = "", .state = "here"}};
    ASSERT_TRUE(checkpoints_.Commit(manifest, {"a"}).ok());
  }

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
