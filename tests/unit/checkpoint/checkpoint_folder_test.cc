#include "checkpoint/checkpoint_folder.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <xxhash.h>

#include "checkpoint/commands.h"
#include "common/version.h"
#include "tests/unit/checkpoint/memory_files.h"

namespace marquee {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr uint64_t kCluster = 0xc1;
constexpr const char* kFolder = "runs/checkpoints";

RowBlock Block(uint64_t number) {
  return {.partition = 3,
          .table = 5,
          .dim = 2,
          .state_width = 1,
          .ids = {number, 70 + number},
          .values = {1, 2, 3, 4, 5, static_cast<float>(number)}};
}

// Writes a checkpoint of one file with one block.
absl::Status Write(MemoryFiles& files, uint64_t number, uint64_t base = 0, uint64_t cluster = kCluster) {
  CheckpointFolder folder(files, kFolder);
  auto writer = RowFileWriter::Create(files, folder.FolderOf(number), "shard-000",
                                      {.cluster_id = cluster, .checkpoint = number, .view = 2, .shard = 0});
  if (!writer.ok()) return writer.status();
  if (absl::Status status = (*writer)->Add(Block(number)); !status.ok()) return status;
  absl::StatusOr<RowFileSummary> summary = (*writer)->Finish();
  if (!summary.ok()) return summary.status();
  summary->full = base == 0;
  CheckpointManifest manifest;
  manifest.number = number;
  manifest.base = base;
  manifest.cluster_id = cluster;
  manifest.version = "test";
  manifest.files = {*summary};
  manifest.trials = {{.name = "a", .spec = "dim: 2\n", .state = "{\"x\":1}"}};
  return folder.Commit(manifest);
}

absl::Status VerifyNumber(MemoryFiles& files, uint64_t number) {
  const CheckpointFolder folder(files, kFolder);
  const auto chain = folder.Chain(number);
  return chain.ok() ? folder.Verify(*chain) : chain.status();
}

TEST(CheckpointFolderTest, GivesBackWhatWasWritten) {
  MemoryFiles files;
  ASSERT_TRUE(Write(files, 1).ok());
  const CheckpointFolder folder(files, kFolder);
  EXPECT_THAT(*folder.List(), ElementsAre(1));
  EXPECT_TRUE(VerifyNumber(files, 1).ok()) << VerifyNumber(files, 1);
  auto reader = RowFileReader::Open(files, folder.FolderOf(1) + "/shard-000", kCluster, 1);
  ASSERT_TRUE(reader.ok()) << reader.status();
  ASSERT_EQ((*reader)->blocks().size(), 1U);
  EXPECT_EQ((*reader)->blocks()[0].partition, 3U);
  EXPECT_EQ((*reader)->blocks()[0].table, 5U);
  EXPECT_EQ(*(*reader)->Read((*reader)->blocks()[0]), Block(1));
  EXPECT_EQ(CheckpointManifest::Parse(folder.Load(1)->ToText(), "x").value(), folder.Load(1).value());
}

// The manifest of a checkpoint as another marquee would have written it: whole, with a checksum that is right.
std::string OfFormat(int format, std::string manifest) {
  manifest.resize(manifest.size() - std::string("XXH3 0123456789abcdef\n").size());
  const std::string now = fmt::format("\"format\": {},", kCheckpointVersion);
  manifest.replace(manifest.find(now), now.size(), fmt::format("\"format\": {},", format));
  return manifest + fmt::format("XXH3 {:016x}\n", XXH3_64bits(manifest.data(), manifest.size()));
}

TEST(CheckpointFolderTest, FormatsThatThisProgramReadsAreTakenAndOthersRefusedByName) {
  MemoryFiles files;
  ASSERT_TRUE(Write(files, 1).ok());
  const CheckpointFolder folder(files, kFolder);
  const std::string path = folder.ManifestOf(1);
  const std::string written = files.Content(path);
  for (int format = kOldestCheckpointVersion; format <= kCheckpointVersion; ++format) {
    files.Content(path) = OfFormat(format, written);
    EXPECT_TRUE(VerifyNumber(files, 1).ok()) << VerifyNumber(files, 1);
  }
  for (const int format : {kOldestCheckpointVersion - 1, kCheckpointVersion + 1}) {
    files.Content(path) = OfFormat(format, written);
    const absl::Status status = VerifyNumber(files, 1);
    EXPECT_TRUE(absl::IsFailedPrecondition(status)) << "not damaged, and not to be thrown away as such: " << status;
    EXPECT_THAT(std::string(status.message()),
                AllOf(HasSubstr(path), HasSubstr(fmt::format("is of format {}, written by marquee test", format)),
                      HasSubstr(fmt::format("reads formats {} to {}", kOldestCheckpointVersion, kCheckpointVersion))));
  }
}

TEST(CheckpointFolderTest, EveryFlippedByteIsRefusedByName) {
  MemoryFiles files;
  ASSERT_TRUE(Write(files, 1).ok());
  ASSERT_TRUE(Write(files, 2, 1).ok());
  for (const auto& [path, content] : files.All()) {
    for (size_t i = 0; i < content.size(); ++i) {
      for (const int flip : {1, 64}) {
        files.Content(path)[i] = static_cast<char>(content[i] ^ flip);
        const absl::Status status = VerifyNumber(files, 2);
        EXPECT_TRUE(absl::IsDataLoss(status)) << path << " byte " << i << ": " << status;
        EXPECT_THAT(std::string(status.message()), HasSubstr(path));
      }
      files.Content(path)[i] = content[i];
    }
  }
  EXPECT_TRUE(VerifyNumber(files, 2).ok());
}

TEST(CheckpointFolderTest, EveryTruncationIsSeenWithoutReadingRows) {
  MemoryFiles files;
  ASSERT_TRUE(Write(files, 1).ok());
  const CheckpointFolder folder(files, kFolder);
  const auto chain = folder.Chain(1);
  for (const auto& [path, content] : files.All()) {
    for (size_t size = 0; size < content.size(); ++size) {
      files.Content(path) = content.substr(0, size);
      const absl::Status status = path == folder.ManifestOf(1) ? folder.Load(1).status() : folder.Look(*chain);
      EXPECT_TRUE(absl::IsDataLoss(status)) << path << " cut at " << size << ": " << status;
    }
    files.Content(path) = content + "x";
    EXPECT_TRUE(absl::IsDataLoss(VerifyNumber(files, 1))) << path;
    files.Content(path) = content;
  }
}

TEST(CheckpointFolderTest, ForeignAndMissingFilesAreRefused) {
  MemoryFiles files;
  ASSERT_TRUE(Write(files, 1).ok());
  ASSERT_TRUE(Write(files, 2).ok());
  ASSERT_TRUE(Write(files, 3, 0, 0xc2).ok());
  const CheckpointFolder folder(files, kFolder);
  const std::string path = folder.FolderOf(1) + "/shard-000";
  const std::string right = files.Content(path);

  files.Content(path) = files.Content(folder.FolderOf(2) + "/shard-000");
  EXPECT_THAT(std::string(VerifyNumber(files, 1).message()), HasSubstr("of checkpoint 2; 1 is expected"));
  files.Content(path) = files.Content(folder.FolderOf(3) + "/shard-000");
  EXPECT_THAT(std::string(VerifyNumber(files, 1).message()), HasSubstr("of cluster 00000000000000c2"));
  files.Content(path) = right;
  files.Content(folder.ManifestOf(1)) = files.Content(folder.ManifestOf(2));
  EXPECT_THAT(std::string(VerifyNumber(files, 1).message()), HasSubstr("is the manifest of checkpoint 2; 1 is expected"));
  ASSERT_TRUE(files.Remove(folder.FolderOf(2) + "/shard-000").ok());
  EXPECT_THAT(std::string(VerifyNumber(files, 2).message()), HasSubstr("checkpoint-000002/shard-000"));
}

// Whatever operation is the last one before the disk is full, or before a crash: the checkpoint before is there as it was, and
// the new one whole or not at all.
TEST(CheckpointFolderTest, NothingHalfIsEverVisible) {
  for (const bool crash : {false, true}) {
    bool finished = false;
    for (uint64_t fails_after = 0; !finished; ++fails_after) {
      SCOPED_TRACE(testing::Message() << (crash ? "crash" : "full disk") << " after operation " << fails_after);
      MemoryFiles files;
      ASSERT_TRUE(Write(files, 1).ok());
      files.fails_from = files.operations + fails_after + 1;
      const bool said_ok = Write(files, 2).ok();
      finished = said_ok;
      if (crash) files.Crash();
      files.fails_from = std::numeric_limits<uint64_t>::max();
      EXPECT_TRUE(VerifyNumber(files, 1).ok()) << VerifyNumber(files, 1);
      const CheckpointFolder folder(files, kFolder);
      const std::vector<uint64_t> numbers = *folder.List();
      if (said_ok) {
        EXPECT_THAT(numbers, ElementsAre(1, 2));
      }
      for (const uint64_t number : numbers) EXPECT_TRUE(VerifyNumber(files, number).ok()) << VerifyNumber(files, number);
      // A later attempt is not in the way of what this one left.
      const uint64_t next = *folder.NextNumber();
      EXPECT_GE(next, 2U);
      EXPECT_TRUE(Write(files, next).ok());
      EXPECT_TRUE(VerifyNumber(files, next).ok());
    }
  }
}

TEST(CheckpointFolderTest, RemovesWhatIsNotNeeded) {
  MemoryFiles files;
  ASSERT_TRUE(Write(files, 1).ok());
  ASSERT_TRUE(Write(files, 2, 1).ok());
  ASSERT_TRUE(Write(files, 3).ok());
  ASSERT_TRUE(Write(files, 4, 3).ok());
  ASSERT_TRUE(Write(files, 5, 4).ok());
  CheckpointFolder folder(files, kFolder);
  ASSERT_TRUE(files.MakeFolders(folder.FolderOf(6)).ok());  // never finished
  ASSERT_TRUE(folder.RemoveAllBut({5}).ok());
  EXPECT_THAT(*folder.List(), ElementsAre(3, 4, 5));
  EXPECT_EQ(*folder.NextNumber(), 6U);
  EXPECT_TRUE(VerifyNumber(files, 5).ok());
}

TEST(CheckpointCommandsTest, SayWhatIsThereAndWhatIsDamaged) {
  MemoryFiles files;
  EXPECT_TRUE(absl::IsNotFound(ListCheckpoints(files, kFolder).status()));
  ASSERT_TRUE(Write(files, 1).ok());
  ASSERT_TRUE(Write(files, 2, 1).ok());
  EXPECT_THAT(*ListCheckpoints(files, kFolder), HasSubstr("full"));
  EXPECT_TRUE(VerifyCheckpoints(files, kFolder)->all_good);
  const std::string path = CheckpointFolder(files, kFolder).FolderOf(2) + "/shard-000";
  files.Content(path)[90] = 'x';
  const auto verified = VerifyCheckpoints(files, kFolder);
  EXPECT_FALSE(verified->all_good);
  EXPECT_THAT(verified->text, HasSubstr("checkpoint 1: good"));
  EXPECT_THAT(verified->text, HasSubstr("checkpoint 2: DAMAGED: " + path));
}

}  // namespace
}  // namespace marquee
