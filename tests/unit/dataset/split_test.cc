#include "dataset/split.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "dataset/random.h"
#include "dataset/synthetic.h"
#include "tests/unit/dataset/small_tables.h"
#include "tests/unit/dataset/test_files.h"

namespace marquee {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using Pair = std::pair<std::string, std::string>;

class SplitTest : public testing::Test {
 protected:
  std::shared_ptr<const Dataset> Open(const DataTables& tables) {
    const absl::Status written = WriteDataset(tables, folder_ / "split.mq");
    EXPECT_TRUE(written.ok()) << written;
    return *Dataset::Open(folder_ / "split.mq");
  }

  static std::set<Pair> PairsOf(const Dataset& data, const std::vector<uint32_t>& part) {
    std::set<Pair> pairs;
    for (const uint32_t i : part) {
      const Column& users = data.user_key();
      const Column& items = data.item_key();
      pairs.emplace(users.value(users.code(data.user_of()[i])), items.value(items.code(data.item_of()[i])));
    }
    return pairs;
  }

  TempFolder folder_;
};

std::vector<SmallRow> ManyRows(size_t users, size_t items, size_t rows) {
  Random random(5);
  std::set<std::pair<uint32_t, uint32_t>> pairs;
  while (pairs.size() < rows) {
    pairs.emplace(static_cast<uint32_t>(random.Below(users)), static_cast<uint32_t>(random.Below(items)));
  }
  std::vector<SmallRow> result;
  for (const auto& [user, item] : pairs) result.push_back({user, item, 3});
  return result;
}

TEST_F(SplitTest, CutsInTheWantedShares) {
  const auto data = Open(KeysOnly(500, 300, ManyRows(500, 300, 40000)));
  const Split split = *MakeSplit(*data, SplitConfig{});
  EXPECT_EQ(split.name, "random 75/25, validation 5% of train, seed 42");
  EXPECT_EQ(split.train.size() + split.validation.size() + split.test.size(), 40000);
  EXPECT_NEAR(static_cast<double>(split.test.size()), 10000, 450);  // five standard deviations
  EXPECT_NEAR(static_cast<double>(split.validation.size()), 1500, 200);
  for (const auto* part : {&split.train, &split.validation, &split.test}) {
    EXPECT_TRUE(std::is_sorted(part->begin(), part->end()));
  }
  EXPECT_TRUE(CheckDisjoint(*data, split).ok());
}

TEST_F(SplitTest, DoesNotDependOnTheOrderOfTheFile) {
  std::vector<SmallRow> rows = ManyRows(50, 40, 1000);
  const auto data = Open(KeysOnly(50, 40, rows));
  const Split split = *MakeSplit(*data, SplitConfig{});

  // The same pairs, with rows, users and items in another order.
  DataTables tables = KeysOnly(50, 40, rows);
  Random random(9);
  random.Shuffle(rows);
  for (size_t i = 0; i < rows.size(); ++i) {
    tables.user_of[i] = 49 - rows[i].user;
    tables.item_of[i] = 39 - rows[i].item;
  }
  for (ColumnTable& column : tables.columns) std::reverse(column.codes.begin(), column.codes.end());
  tables.rated_items = 40;
  const auto shuffled_data = Open(tables);
  const Split shuffled = *MakeSplit(*shuffled_data, SplitConfig{});
  EXPECT_EQ(PairsOf(*data, split.test), PairsOf(*shuffled_data, shuffled.test));
  EXPECT_EQ(PairsOf(*data, split.validation), PairsOf(*shuffled_data, shuffled.validation));
  EXPECT_EQ(split.checksum, shuffled.checksum);
  EXPECT_EQ(split.name, shuffled.name);
}

TEST_F(SplitTest, StaysOnItsSideWhenRowsAreAdded) {
  const std::vector<SmallRow> rows = ManyRows(50, 40, 1000);
  const auto all = Open(KeysOnly(50, 40, rows));
  const std::set<Pair> test_of_all = PairsOf(*all, MakeSplit(*all, SplitConfig{})->test);
  const auto half = Open(KeysOnly(50, 40, {rows.begin(), rows.begin() + 500}));
  const Split split = *MakeSplit(*half, SplitConfig{});
  for (const Pair& pair : PairsOf(*half, split.test)) EXPECT_TRUE(test_of_all.contains(pair)) << pair.first << pair.second;
  for (const Pair& pair : PairsOf(*half, split.train)) EXPECT_FALSE(test_of_all.contains(pair)) << pair.first << pair.second;
}

TEST_F(SplitTest, ChecksumTellsSplitsApart) {
  const auto data = Open(KeysOnly(50, 40, ManyRows(50, 40, 1000)));
  std::set<uint64_t> checksums;
  for (const SplitConfig& config :
       {SplitConfig{}, SplitConfig{.seed = 43}, SplitConfig{.test = 0.2}, SplitConfig{.validation = 0}}) {
    checksums.insert(MakeSplit(*data, config)->checksum);
  }
  EXPECT_EQ(checksums.size(), 4);
  EXPECT_TRUE(MakeSplit(*data, SplitConfig{.validation = 0})->validation.empty());
}

// Checksums stand in results: they must not change from one version to the next.
TEST_F(SplitTest, IsTheSameInEveryVersion) {
  const auto data = Open(KeysOnly(50, 40, ManyRows(50, 40, 1000)));
  const Split split = *MakeSplit(*data, SplitConfig{});
  EXPECT_EQ(split.test.size(), 270);
  EXPECT_EQ(fmt::format("{:016x}", split.checksum), "92fd8e5af3b853c1");
}

TEST_F(SplitTest, KeepsRepeatedPairsTogether) {
  std::vector<SmallRow> rows = ManyRows(50, 40, 1000);
  const std::vector<SmallRow> again = rows;
  rows.insert(rows.end(), again.begin(), again.end());
  const auto data = Open(KeysOnly(50, 40, rows));
  EXPECT_TRUE(MakeSplit(*data, SplitConfig{}).ok());
}

TEST_F(SplitTest, BinarizedDropsThreesAndLabelsTheRest) {
  std::vector<SmallRow> rows = ManyRows(500, 300, 40000);
  for (size_t i = 0; i < rows.size(); ++i) rows[i].label = static_cast<float>(1 + i % 5);
  const auto data = Open(KeysOnly(500, 300, rows));
  const Split split = *MakeSplit(*data, SplitConfig::Of(SplitConfig::Protocol::kBinarized));
  EXPECT_EQ(split.name, "binarized 80/10/10, seed 42");
  EXPECT_EQ(split.train.size() + split.validation.size() + split.test.size(), 32000);
  EXPECT_NEAR(static_cast<double>(split.test.size()), 3200, 270);
  EXPECT_NEAR(static_cast<double>(split.validation.size()), 3200, 270);
  for (const auto* part : {&split.train, &split.validation, &split.test}) {
    for (const uint32_t i : *part) {
      ASSERT_NE(data->label()[i], 3);
      ASSERT_EQ(split.LabelOf(*data, i), data->label()[i] > 3 ? 1 : 0);
    }
  }
  const Split ratings = *MakeSplit(*data, SplitConfig{});
  EXPECT_EQ(ratings.LabelOf(*data, 4), 5);

  for (SmallRow& row : rows) row.label = 4;
  EXPECT_THAT(MessageOf(MakeSplit(*Open(KeysOnly(500, 300, rows)), SplitConfig::Of(SplitConfig::Protocol::kBinarized))),
              HasSubstr("training labels are above 3; both classes are needed"));
}

TEST_F(SplitTest, LeaveLastOutTakesEachUsersLastTwo) {
  // u0 in the order of time: rows 2, 0, 3, 1. u1 has two rows only: both train. u2: 6, 8, 7.
  const std::vector<SmallRow> rows = {{0, 0, 3}, {0, 1, 3}, {0, 2, 3}, {0, 3, 3}, {1, 0, 3},
                                      {1, 1, 3}, {2, 0, 3}, {2, 1, 3}, {2, 2, 3}};
  const auto data = Open(WithTimes(KeysOnly(3, 4, rows), {20, 40, 10, 30, 5, 6, 7, 9, 8}));
  const Split split = *MakeSplit(*data, {.protocol = SplitConfig::Protocol::kLeaveLastOut});
  EXPECT_EQ(split.name, "leave last out, seed 42");
  EXPECT_TRUE(split.chronological());
  EXPECT_THAT(split.test, ElementsAre(1, 7));
  EXPECT_THAT(split.validation, ElementsAre(3, 8));
  EXPECT_THAT(split.train, ElementsAre(0, 2, 4, 5, 6));

  const Split both = *MakeSplit(
      *data, {.protocol = SplitConfig::Protocol::kLeaveLastOut, .train_on = SplitConfig::TrainOn::kTrainAndValidation});
  EXPECT_EQ(both.name, "leave last out, seed 42, validation trained on too");
  EXPECT_EQ(both.test, split.test);
  EXPECT_TRUE(both.validation.empty());
  EXPECT_THAT(both.train, ElementsAre(0, 2, 3, 4, 5, 6, 8));
  EXPECT_NE(both.checksum, split.checksum);
}

// All times of a user are equal: who is last is drawn by the seed, and the file's order has no say.
TEST_F(SplitTest, EqualTimesAreOrderedByTheSeedAndNotByTheFile) {
  std::vector<SmallRow> rows = ManyRows(60, 40, 1000);
  const std::vector<double> times(rows.size(), 7);
  const auto data = Open(WithTimes(KeysOnly(60, 40, rows), times));
  Random(9).Shuffle(rows);
  TempFolder other;
  ASSERT_TRUE(WriteDataset(WithTimes(KeysOnly(60, 40, rows), times), other / "b.mq").ok());
  const auto shuffled = *Dataset::Open(other / "b.mq");
  const SplitConfig config{.protocol = SplitConfig::Protocol::kLeaveLastOut};
  const Split split = *MakeSplit(*data, config);
  EXPECT_EQ(split.test.size(), 60);
  EXPECT_EQ(PairsOf(*data, split.test), PairsOf(*shuffled, MakeSplit(*shuffled, config)->test));
  EXPECT_EQ(PairsOf(*data, split.validation), PairsOf(*shuffled, MakeSplit(*shuffled, config)->validation));
  SplitConfig other_seed = config;
  other_seed.seed = 43;
  EXPECT_NE(PairsOf(*data, split.test), PairsOf(*data, MakeSplit(*data, other_seed)->test));
}

TEST_F(SplitTest, TimelinesAreInTheOrderOfTime) {
  std::vector<SmallRow> rows = ManyRows(60, 40, 1000);
  std::vector<double> times;
  for (size_t i = 0; i < rows.size(); ++i) times.push_back(static_cast<double>((i * 7919) % 50));
  const auto data = Open(WithTimes(KeysOnly(60, 40, rows), times));
  const Timelines timelines = *MakeTimelines(*data, SplitConfig{});
  size_t all = 0;
  for (uint32_t user = 0; user < data->users(); ++user) {
    const auto own = timelines.Of(user);
    all += own.size();
    for (size_t i = 0; i < own.size(); ++i) {
      ASSERT_EQ(data->user_of()[own[i]], user);
      ASSERT_LE(times[own[i == 0 ? 0 : i - 1]], times[own[i]]);
    }
  }
  EXPECT_EQ(all, data->interactions());
  const Split split = *MakeSplit(*data, {.protocol = SplitConfig::Protocol::kLeaveLastOut});
  for (const uint32_t i : split.test) EXPECT_EQ(timelines.Of(data->user_of()[i]).back(), i);
}

TEST_F(SplitTest, TimeCutsAtOneMomentForAll) {
  std::vector<SmallRow> rows = ManyRows(60, 40, 1000);
  std::vector<double> times;
  for (size_t i = 0; i < rows.size(); ++i) times.push_back(static_cast<double>((i * 7919) % 1000));
  const auto data = Open(WithTimes(KeysOnly(60, 40, rows), times));
  const Split split = *MakeSplit(*data, SplitConfig::Of(SplitConfig::Protocol::kTime));
  EXPECT_EQ(split.name, "time 80/10/10");
  EXPECT_EQ(split.test.size(), 100);
  EXPECT_EQ(split.validation.size(), 100);
  for (const uint32_t i : split.test) EXPECT_GE(times[i], 900);
  for (const uint32_t i : split.train) EXPECT_LT(times[i], 800);
}

TEST_F(SplitTest, EqualTimesFallIntoOnePart) {
  // Ten moments of a hundred rows: 15 % would cut one in two; all of it tests.
  const std::vector<SmallRow> rows = ManyRows(60, 40, 1000);
  std::vector<double> times;
  for (size_t i = 0; i < rows.size(); ++i) times.push_back(static_cast<double>(i % 10));
  const auto data = Open(WithTimes(KeysOnly(60, 40, rows), times));
  const Split split = *MakeSplit(*data, {.protocol = SplitConfig::Protocol::kTime, .test = 0.15, .validation = 0});
  EXPECT_EQ(split.test.size(), 200);
  EXPECT_TRUE(split.validation.empty());
  EXPECT_THAT(MessageOf(MakeSplit(*Open(WithTimes(KeysOnly(60, 40, rows), std::vector<double>(1000, 1))),
                                  {.protocol = SplitConfig::Protocol::kTime})),
              HasSubstr("leaves 0 to train"));
}

TEST_F(SplitTest, ByTimeRefusesWhatHasNoTime) {
  for (const auto protocol : {SplitConfig::Protocol::kLeaveLastOut, SplitConfig::Protocol::kTime}) {
    EXPECT_THAT(MessageOf(MakeSplit(*Open(KeysOnly(50, 40, ManyRows(50, 40, 1000))), {.protocol = protocol})),
                HasSubstr("split.time_column: timestamp; must be a column of numbers or times"));
    EXPECT_EQ(MessageOf(MakeSplit(*Open(SmallTables()), {.protocol = protocol, .time_column = "time"})),
              "split.time_column: time is null for 1 of 3 interactions; a split by time needs the time of each");
    EXPECT_THAT(MessageOf(MakeSplit(*Open(SmallTables()), {.protocol = protocol, .time_column = "city"})),
                HasSubstr("split.time_column: city; must be"));
    // u0 has i0 twice.
    const std::vector<SmallRow> rows = {{0, 0, 3}, {0, 1, 3}, {0, 2, 3}, {0, 0, 3}};
    EXPECT_THAT(
        MessageOf(MakeSplit(*Open(WithTimes(KeysOnly(1, 3, rows), {1, 2, 3, 4})), {.protocol = protocol})),
        HasSubstr("user u0 and item i0 are in two parts; a split by time takes data in which no user has an item twice"));
  }
}

TEST_F(SplitTest, FindsAPairInTwoParts) {
  const auto data = Open(KeysOnly(3, 2, {{0, 0, 1}, {1, 0, 1}, {1, 1, 1}, {2, 1, 1}, {1, 0, 1}}));
  Split split{.name = "by hand", .train = {0, 1}, .validation = {2}, .test = {3, 4}};
  EXPECT_EQ(MessageOf(CheckDisjoint(*data, split)), "split 'by hand': user u1 and item i0 are in two parts");
  split.test = {3};
  EXPECT_TRUE(CheckDisjoint(*data, split).ok());
  split.test = {3, 2};
  EXPECT_THAT(MessageOf(CheckDisjoint(*data, split)), HasSubstr("interaction 2 is in two parts"));
}

TEST_F(SplitTest, RefusesEmptyPartsAndWrongShares) {
  const auto data = Open(KeysOnly(1, 1, {{0, 0, 1}}));
  EXPECT_THAT(MessageOf(MakeSplit(*data, SplitConfig{})), HasSubstr("of 1 interactions leaves"));
  EXPECT_THAT(MessageOf(MakeSplit(*data, SplitConfig{.test = 0})), HasSubstr("0 to test"));
  EXPECT_THAT(MessageOf(MakeSplit(*data, SplitConfig{.test = 1})), HasSubstr("split.test: 1; must be"));
  EXPECT_THAT(MessageOf(MakeSplit(*data, SplitConfig{.test = -0.1})), HasSubstr("split.test: -0.1; must be"));
  EXPECT_THAT(MessageOf(MakeSplit(*data, SplitConfig{.validation = 1})), HasSubstr("split.validation: 1; must be"));
}

}  // namespace
}  // namespace marquee
