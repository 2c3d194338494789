#include "common/view.h"

#include <capnp/message.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

namespace marquee {
namespace {

using ::testing::HasSubstr;

View SmallView() { return MakeEvenView(3, 77, {"tcp://10.0.0.1:1", "tcp://10.0.0.2:1", "tcp://10.0.0.3:1"}, 8); }

absl::StatusOr<View> OverTheWire(const View& view) {
  capnp::MallocMessageBuilder message;
  view.ToWire(message.initRoot<wire::View>());
  return View::FromWire(message.getRoot<wire::View>().asReader());
}

TEST(ViewTest, SpreadsPartitionsEvenly) {
  const View view = SmallView();
  EXPECT_EQ(view.primaries, (std::vector<ShardIndex>{0, 1, 2, 0, 1, 2, 0, 1}));
  EXPECT_EQ(view.changed, std::vector<uint64_t>(8, 3));
  EXPECT_EQ(view.partitions(), 8U);
  EXPECT_EQ(view.partition_bits(), 3U);
  EXPECT_EQ(MakeEvenView(1, 1, {"tcp://a:1"}, 1).partition_bits(), 0U);
  EXPECT_EQ(View().partition_bits(), 0U);
}

TEST(ViewTest, SaysWhichEndpointsHaveLeft) {
  View next = SmallView();
  next.shards[1] = "tcp://10.0.0.2:2";
  EXPECT_EQ(EndpointsLeft(SmallView(), next), std::vector<std::string>{"tcp://10.0.0.2:1"});
  EXPECT_TRUE(EndpointsLeft(View(), next).empty());
}

TEST(ViewTest, ComesOverTheWireUnchanged) {
  const auto copy = OverTheWire(SmallView());
  ASSERT_TRUE(copy.ok()) << copy.status();
  EXPECT_EQ(*copy, SmallView());
}

TEST(ViewTest, LargestViewIsLegal) {
  const View view = MakeEvenView(1, 1, {"tcp://a:1"}, kMaxPartitions);
  ASSERT_TRUE(OverTheWire(view).ok());
  EXPECT_EQ(view.partition_bits(), 16U);
}

struct WrongView {
  std::string says;
  std::function<void(View&)> spoil;
};

TEST(ViewTest, RefusesWhatIsNoView) {
  const std::vector<WrongView> wrong = {
      {"view.number", [](View& v) { v.number = 0; }},
      {"0 partitions", [](View& v) { v.primaries.clear(), v.changed.clear(); }},
      {"7 partitions", [](View& v) { v.primaries.pop_back(), v.changed.pop_back(); }},
      {"131072 partitions",
       [](View& v) { v.primaries.assign(2 * kMaxPartitions, 0), v.changed.assign(2 * kMaxPartitions, 1); }},
      {"7 entries for 8", [](View& v) { v.changed.pop_back(); }},
      {"shard 3 of 3", [](View& v) { v.primaries[5] = 3; }},
      {"empty endpoint", [](View& v) { v.shards[1] = ""; }},
      {"tcp://10.0.0.1:1 twice", [](View& v) { v.shards[1] = v.shards[0]; }},
      {"shard 0 of 0", [](View& v) { v.shards.clear(), v.processes.clear(); }},
      {"3 entries for 0 shards", [](View& v) { v.shards.clear(); }},
      {"view.backups: shard 3 of 3", [](View& v) { v.backups[4] = 3; }},
      {"no two may be one", [](View& v) { v.backups[4] = v.primaries[4]; }},
      {"no two may be one", [](View& v) { v.backups[4] = v.fills[4] = 2; }},
  };
  for (const WrongView& one : wrong) {
    View view = SmallView();
    one.spoil(view);
    const auto parsed = OverTheWire(view);
    ASSERT_FALSE(parsed.ok()) << one.says;
    EXPECT_THAT(std::string(parsed.status().message()), HasSubstr(one.says));
  }
}

}  // namespace
}  // namespace marquee
