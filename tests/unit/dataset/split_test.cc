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
