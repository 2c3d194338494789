#include "common/memory_limit.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

namespace marquee {
namespace {

class MemoryLimitTest : public testing::Test {
 protected:
  MemoryLimitTest() {
    folder_ = std::filesystem::temp_directory_path() /
              ("marquee-memory-" + std::string(testing::UnitTest::GetInstance()->current_test_info()->name()));
    std::filesystem::remove_all(folder_);
    Write("proc/meminfo", "MemTotal:       16000 kB\nMemFree:        2000 kB\n");
  }
  ~MemoryLimitTest() override { std::filesystem::remove_all(folder_); }

  void Write(const std::string& name, const std::string& text) {
    std::filesystem::create_directories((folder_ / name).parent_path());
    std::ofstream(folder_ / name) << text;
  }
  uint64_t Limit() { return MemoryLimitBytes((folder_ / "proc").string(), (folder_ / "groups").string()); }

  std::filesystem::path folder_;
};

TEST_F(MemoryLimitTest, WithoutGroupsItIsTheMachine) { EXPECT_EQ(Limit(), 16000U * 1024); }

TEST_F(MemoryLimitTest, LeastOfAllGroupsThatItLiesIn) {
  Write("proc/self/cgroup", "0::/pods/server\n");
  Write("groups/pods/server/memory.max", "max\n");
  EXPECT_EQ(Limit(), 16000U * 1024);
  Write("groups/pods/memory.max", "5000000\n");
  EXPECT_EQ(Limit(), 5000000U);
  Write("groups/pods/server/memory.max", "4000000\n");
  EXPECT_EQ(Limit(), 4000000U);
}

TEST_F(MemoryLimitTest, PathOfTheHostWithinAContainer) {
  Write("proc/self/cgroup", "0::/docker/abc\n");
  Write("groups/memory.max", "3000000\n");
  EXPECT_EQ(Limit(), 3000000U);
}

TEST_F(MemoryLimitTest, VersionOneSaysAVeryLargeNumberForNone) {
  Write("proc/self/cgroup", "5:cpu:/\n4:memory:/job\n0::/\n");
  Write("groups/memory/job/memory.limit_in_bytes", "9223372036854771712\n");
  EXPECT_EQ(Limit(), 16000U * 1024);
  Write("groups/memory/job/memory.limit_in_bytes", "2000000\n");
  EXPECT_EQ(Limit(), 2000000U);
}

TEST_F(MemoryLimitTest, ThisMachineSaysSomething) { EXPECT_GT(MemoryLimitBytes(), 64U << 20U); }

}  // namespace
}  // namespace marquee
