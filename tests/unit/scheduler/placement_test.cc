#include "scheduler/placement.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

#include "scheduler/rebalancing.h"

namespace marquee {
namespace {

constexpr uint32_t kPartitions = 64;

// Servers of one shard each, on hosts of their own unless said otherwise.
struct Cluster {
  View view;
  Placement placement;

  Cluster(uint32_t servers, uint32_t holding, int replication) {
    std::vector<std::string> shards;
    std::vector<uint32_t> server_of;
    for (uint32_t i = 0; i < holding; ++i) {
      shards.push_back(fmt::format("e{}", i));
      server_of.push_back(i);
    }
    view = MakeEvenView(1, 1, shards, kPartitions, {}, server_of, replication);
    for (uint32_t i = holding; i < servers; ++i) {
      view.shards.push_back(fmt::format("e{}", i));
      view.processes.push_back(0);
    }
    for (uint32_t i = 0; i < servers; ++i) {
      placement.server_of.push_back(i);
      placement.host_of.push_back(fmt::format("h{}", i));
    }
    placement.able.assign(servers, true);
    placement.view = &view;
  }
  Cluster(const Cluster&) = delete;
  Cluster& operator=(const Cluster&) = delete;

  std::vector<double> Held(const std::vector<double>& weights, bool copies) const {
    std::vector<double> held(view.shards.size(), 0);
    for (PartitionNumber p = 0; p < kPartitions; ++p) {
      held[view.primaries[p]] += weights.empty() ? 1 : weights[p];
      if (copies && view.backups[p] != kNoShard) held[view.backups[p]] += weights.empty() ? 1 : weights[p];
    }
    return held;
  }
};

// Makes every step at once; how many rounds it took.
int RunToEnd(Cluster& cluster, int replication) {
  Rebalancing rebalancing(replication);
  rebalancing.Begin();
  for (int round = 0; round < 100; ++round) {
    const Rebalancing::Round next = rebalancing.Next(cluster.placement);
    if (!rebalancing.needed()) return round;
    for (const PartitionNumber p : next.handovers) std::swap(cluster.view.primaries[p], cluster.view.backups[p]);
    for (const PartitionNumber p : next.superfluous) cluster.view.backups[p] = kNoShard;
    for (const Refill& refill : next.refills) {
      EXPECT_NE(refill.to, cluster.view.primaries[refill.partition]);
      EXPECT_NE(refill.to, cluster.view.backups[refill.partition]);
      cluster.view.backups[refill.partition] = refill.to;
    }
    EXPECT_TRUE(cluster.view.Validate().ok()) << cluster.view.Validate();
  }
  ADD_FAILURE() << "does not come to an end";
  return 0;
}

void ExpectEven(const std::vector<double>& held, const std::vector<bool>& able) {
  double sum = 0;
  for (const double share : held) sum += share;
  const double mean = sum / static_cast<double>(std::count(able.begin(), able.end(), true));
  for (ShardIndex shard = 0; shard < held.size(); ++shard) {
    if (!able[shard]) {
      EXPECT_EQ(held[shard], 0) << "shard " << shard;
      continue;
    }
    EXPECT_NEAR(held[shard], mean, std::max(1.0, 0.2 * mean)) << "shard " << shard;
  }
}

TEST(Placement, NothingIsMovedWhereAllIsEven) {
  for (const int replication : {1, 2}) {
    for (const uint32_t servers : {2U, 3U, 5U}) {
      Cluster cluster(servers, servers, replication);
      EXPECT_EQ(RunToEnd(cluster, replication), 0) << servers << " servers";
    }
  }
}

TEST(Placement, ServersThatComeGetTheirShareOfCopiesAndPrimaries) {
  for (const int replication : {1, 2}) {
    for (const uint32_t servers : {3U, 4U, 7U}) {
      Cluster cluster(servers, 2, replication);
      RunToEnd(cluster, replication);
      ExpectEven(cluster.Held({}, false), cluster.placement.able);
      ExpectEven(cluster.Held({}, true), cluster.placement.able);
    }
  }
}

TEST(Placement, NothingIsLeftOnServersThatGo) {
  for (const int replication : {1, 2}) {
    Cluster cluster(5, 5, replication);
    for (const ShardIndex gone : {0U, 3U}) cluster.placement.able[gone] = false;
    RunToEnd(cluster, replication);
    ExpectEven(cluster.Held({}, false), cluster.placement.able);
    ExpectEven(cluster.Held({}, true), cluster.placement.able);
  }
}

TEST(Placement, AServerMayBeReplacedByAnother) {
  for (const int replication : {1, 2}) {
    Cluster cluster(3, 2, replication);
    cluster.placement.able[0] = false;
    RunToEnd(cluster, replication);
    ExpectEven(cluster.Held({}, true), cluster.placement.able);
  }
}

// What was lost and came back has copies only; it is given its share of the work without a row being copied.
TEST(Placement, AServerThatIsBackTakesOver) {
  Cluster cluster(3, 3, 2);
  for (PartitionNumber p = 0; p < kPartitions; ++p) {
    if (cluster.view.primaries[p] == 0) std::swap(cluster.view.primaries[p], cluster.view.backups[p]);
  }
  const std::vector<double> before = cluster.Held({}, true);
  RunToEnd(cluster, 2);
  ExpectEven(cluster.Held({}, false), cluster.placement.able);
  EXPECT_EQ(cluster.Held({}, true), before);
}

TEST(Placement, BytesAndLoadCountNotNumbers) {
  Cluster cluster(4, 2, 2);
  for (PartitionNumber p = 0; p < kPartitions; ++p) {
    cluster.placement.bytes.push_back(p % 4 == 0 ? 10 : 1);
    cluster.placement.load.push_back(p < 8 ? 20 : 1);
  }
  Rebalancing rebalancing(2);
  rebalancing.Begin();
  std::vector<ShardRequests::PartitionWeight> weights;
  for (int look = 0; look < 2; ++look) {
    weights.clear();
    for (PartitionNumber p = 0; p < kPartitions; ++p) {
      weights.push_back({.partition = p,
                         .rows = look == 0 ? 1000 : 1000 + static_cast<uint64_t>(cluster.placement.load[p]),
                         .bytes = static_cast<uint64_t>(cluster.placement.bytes[p])});
    }
    EXPECT_NE(rebalancing.next_look(), absl::InfiniteFuture());
    rebalancing.TakeWeights(weights, kPartitions, absl::UnixEpoch());
  }
  EXPECT_EQ(rebalancing.next_look(), absl::InfiniteFuture());
  while (true) {
    const Rebalancing::Round next = rebalancing.Next(cluster.placement);
    if (!rebalancing.needed()) break;
    for (const PartitionNumber p : next.handovers) std::swap(cluster.view.primaries[p], cluster.view.backups[p]);
    for (const Refill& refill : next.refills) cluster.view.backups[refill.partition] = refill.to;
  }
  const auto expect_even = [](const std::vector<double>& held) {
    const auto [least, most] = std::minmax_element(held.begin(), held.end());
    EXPECT_LT(*most, 1.5 * *least);
  };
  expect_even(cluster.Held(cluster.placement.bytes, true));
  expect_even(cluster.Held(cluster.placement.load, false));
}

TEST(Placement, TheTwoCopiesAreOnDifferentHostsWhereThereAreAny) {
  Cluster cluster(4, 4, 2);
  cluster.placement.host_of = {"a", "a", "b", "b"};
  RunToEnd(cluster, 2);
  for (PartitionNumber p = 0; p < kPartitions; ++p) {
    EXPECT_NE(cluster.placement.host_of[cluster.view.primaries[p]], cluster.placement.host_of[cluster.view.backups[p]]);
  }
  ExpectEven(cluster.Held({}, true), cluster.placement.able);

  Cluster single(3, 3, 2);
  single.placement.host_of = {"a", "a", "a"};
  EXPECT_EQ(RunToEnd(single, 2), 0);
}

TEST(Placement, MissingCopiesAreSpread) {
  Cluster cluster(4, 4, 2);
  for (PartitionNumber p = 0; p < kPartitions; ++p) {
    if (cluster.view.primaries[p] == 0) cluster.view.primaries[p] = std::exchange(cluster.view.backups[p], kNoShard);
    if (cluster.view.backups[p] == 0) cluster.view.backups[p] = kNoShard;
  }
  cluster.placement.able[0] = false;
  cluster.placement.apart.insert({1, 2});
  const std::vector<Refill> missing = MissingCopies(cluster.placement);
  EXPECT_EQ(missing.size(), std::count(cluster.view.backups.begin(), cluster.view.backups.end(), kNoShard));
  for (const Refill& refill : missing) {
    const ShardIndex primary = cluster.view.primaries[refill.partition];
    EXPECT_NE(refill.to, primary);
    EXPECT_FALSE(primary == 1 && refill.to == 2) << "they do not reach each other";
    cluster.view.backups[refill.partition] = refill.to;
  }
  EXPECT_TRUE(cluster.view.Validate().ok());
  ExpectEven(cluster.Held({}, true), cluster.placement.able);

  Cluster alone(2, 2, 1);
  alone.placement.able[1] = false;
  for (PartitionNumber p = 0; p < kPartitions; ++p) alone.view.primaries[p] = 0;
  EXPECT_TRUE(MissingCopies(alone.placement).empty());
}

// An overloaded server whose copies are all with one that is busy, too: there may be no step that helps.
TEST(Placement, ComesToAnEndWhateverTheWeights) {
  for (uint64_t seed = 0; seed < 50; ++seed) {
    Cluster cluster(5, 2 + seed % 4, 2);
    for (PartitionNumber p = 0; p < kPartitions; ++p) {
      cluster.placement.bytes.push_back(static_cast<double>(MixId(seed * 1000 + p) % 100));
      cluster.placement.load.push_back(static_cast<double>(MixId(seed * 2000 + p) % 100));
    }
    cluster.placement.able[seed % 5] = false;
    RunToEnd(cluster, 2);
    for (PartitionNumber p = 0; p < kPartitions; ++p) {
      EXPECT_TRUE(cluster.placement.able[cluster.view.primaries[p]]);
      EXPECT_TRUE(cluster.placement.able[cluster.view.backups[p]]);
    }
  }
}

}  // namespace
}  // namespace marquee
