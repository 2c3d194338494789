// The judge of a campaign finds what it is there to find.

#include "tests/campaign/push_ledger.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <fstream>

namespace marquee::campaign {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class PushLedgerTest : public ::testing::Test {
 protected:
  PushLedgerTest() {
    Write(
        "tables 5 1 2\npush 5 1 10\npush 5 2 11\nacknowledged 5 2 12\npush 5 3 13\npush 5 4 14");  // the last line was cut off
    EXPECT_TRUE(ledger_.Read(path_).ok());
    for (const uint64_t sequence : {1, 2}) Apply({.session = 5, .sequence = sequence});
  }
  ~PushLedgerTest() override { std::remove(path_.c_str()); }

  void Write(const std::string& text) { std::ofstream(path_) << text; }
  void Apply(const Push& push, int times = 1) {
    rows_[{1, OwnRow(push)}] += static_cast<float>(times);
    for (const Id id : SharedRowsOf(push)) rows_[{2, id}] += static_cast<float>(times);
  }
  Verdict Judge() {
    const auto pull = [&](TableNumber table, uint32_t dim, const std::vector<Id>& ids) -> absl::StatusOr<std::vector<float>> {
      std::vector<float> values;
      for (const Id id : ids) values.insert(values.end(), dim, rows_[{table, id}]);
      if (torn_ && table == 1) values[1] += 1;
      return values;
    };
    return ledger_.Judge(pull).value();
  }

  const std::string path_ = ::testing::TempDir() + "/push_ledger_test";
  PushLedger ledger_;
  std::map<std::pair<TableNumber, Id>, float> rows_;
  bool torn_ = false;
};

TEST_F(PushLedgerTest, AcknowledgedOnceIsFine) {
  const Verdict verdict = Judge();
  EXPECT_EQ(verdict.attempted, 3);
  EXPECT_EQ(verdict.acknowledged, 2);
  EXPECT_EQ(verdict.lost + verdict.doubled + verdict.foreign, 0) << verdict.examples.front();
}

TEST_F(PushLedgerTest, WhatWasNotAcknowledgedMayBeThereOnce) {
  Apply({.session = 5, .sequence = 3});
  EXPECT_EQ(Judge().doubled + Judge().lost + Judge().foreign, 0);
  Apply({.session = 5, .sequence = 3});
  EXPECT_GT(Judge().doubled, 0);
}

TEST_F(PushLedgerTest, FindsALostPush) {
  Apply({.session = 5, .sequence = 2}, -1);
  const Verdict verdict = Judge();
  EXPECT_GT(verdict.lost, 1) << "its own row and those that it shares";
  EXPECT_THAT(verdict.examples.front(), HasSubstr("push 2 of session 5, acknowledged, reads 0"));
}

TEST_F(PushLedgerTest, FindsADoubledPush) {
  Apply({.session = 5, .sequence = 1});
  EXPECT_EQ(Judge().lost, 0);
  EXPECT_GT(Judge().doubled, 0);
}

TEST_F(PushLedgerTest, FindsATornRow) {
  torn_ = true;
  EXPECT_EQ(Judge().foreign, 1);
}

TEST_F(PushLedgerTest, TrialThatStartedOverHasLostEverything) {
  Write("tables 6 3 4\npush 6 1 20\n");
  ASSERT_TRUE(ledger_.Read(path_).ok());
  EXPECT_EQ(ledger_.own_table(), 3);
  EXPECT_EQ(Judge().lost, 2);
}

TEST_F(PushLedgerTest, RefusesLinesThatAreNone) {
  Write("push 1\n");
  EXPECT_THAT(std::string(ledger_.Read(path_).message()), HasSubstr("push_ledger_test:1: 'push 1'"));
  EXPECT_FALSE(ledger_.Read("/nowhere").ok());
}

}  // namespace
}  // namespace marquee::campaign
