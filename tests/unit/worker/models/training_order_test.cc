#include "worker/models/training_order.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "tests/unit/worker/models/model_testing.h"

namespace marquee {
namespace {

std::vector<uint32_t> Epoch(bool users_together, uint32_t epoch, size_t step, uint64_t seed = 7) {
  const TinyData& tiny = Tiny();
  TrainingOrder order(*tiny.data, tiny.split, seed, users_together);
  std::vector<uint32_t> all;
  for (size_t begin = 0; begin < tiny.split.train.size(); begin += step) {
    const std::vector<uint32_t> range = order.Range(epoch, begin, std::min(begin + step, tiny.split.train.size()));
    all.insert(all.end(), range.begin(), range.end());
  }
  return all;
}

TEST(TrainingOrder, HasEachExampleOnceHoweverItIsCut) {
  for (const bool users_together : {false, true}) {
    std::vector<uint32_t> all = Epoch(users_together, 2, 97);
    EXPECT_EQ(all, Epoch(users_together, 2, 1)) << users_together;
    EXPECT_EQ(all, Epoch(users_together, 2, 100000)) << users_together;
    EXPECT_NE(all, Epoch(users_together, 3, 97)) << users_together;
    EXPECT_NE(all, Epoch(users_together, 2, 97, 8)) << users_together;
    std::sort(all.begin(), all.end());
    EXPECT_EQ(all, Tiny().split.train) << users_together;
  }
}

TEST(TrainingOrder, KeepsUsersTogether) {
  const std::vector<uint32_t> all = Epoch(true, 0, 64);
  const absl::Span<const uint32_t> user_of = Tiny().data->user_of();
  std::map<uint32_t, size_t> last;  // place of each user's last example so far
  std::vector<uint32_t> users;
  for (size_t i = 0; i < all.size(); ++i) {
    const uint32_t user = user_of[all[i]];
    if (const auto found = last.find(user); found != last.end()) {
      ASSERT_EQ(found->second, i - 1) << "user " << user << " comes twice";
    } else {
      users.push_back(user);
    }
    last[user] = i;
  }
  EXPECT_FALSE(std::is_sorted(users.begin(), users.end()));
}

TEST(TrainingOrder, GoesBackToAnEpochThatHasBeen) {
  TrainingOrder order(*Tiny().data, Tiny().split, 7, true);
  const std::vector<uint32_t> first = order.Range(0, 10, 50);
  const std::vector<uint32_t> second = order.Range(1, 10, 50);
  EXPECT_NE(first, second);
  EXPECT_EQ(order.Range(0, 10, 50), first);
}

}  // namespace
}  // namespace marquee
