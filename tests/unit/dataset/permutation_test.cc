#include "dataset/permutation.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

namespace marquee {
namespace {

std::vector<uint64_t> AllOf(const Permutation& permutation) {
  std::vector<uint64_t> elements;
  for (uint64_t i = 0; i < permutation.size(); ++i) elements.push_back(permutation.At(i));
  return elements;
}

TEST(Permutation, HoldsEveryElementOnce) {
  for (const uint64_t size : {1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 63, 64, 65, 100, 255, 256, 257, 1000, 65537}) {
    for (uint64_t key = 0; key < 3; ++key) {
      std::vector<uint8_t> seen(size, 0);
      for (const uint64_t element : AllOf(Permutation(size, key))) {
        ASSERT_LT(element, size);
        EXPECT_EQ(seen[element]++, 0) << size << " " << key << " " << element;
      }
    }
  }
}

// Workers of different builds must agree on it.
TEST(Permutation, IsTheSameEverywhere) {
  EXPECT_THAT(AllOf(Permutation(10, 1)), testing::ElementsAreArray(AllOf(Permutation(10, 1))));
  const Permutation million(1000209, 42);
  EXPECT_EQ(million.At(0), 596958);
  EXPECT_EQ(million.At(1), 504003);
  EXPECT_EQ(million.At(1000208), 944933);
}

TEST(Permutation, KeysGiveUnrelatedOrders) {
  const std::vector<uint64_t> a = AllOf(Permutation(10000, 7));
  const std::vector<uint64_t> b = AllOf(Permutation(10000, 8));
  size_t equal = 0;
  size_t in_place = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    equal += a[i] == b[i] ? 1 : 0;
    in_place += a[i] == i ? 1 : 0;
  }
  EXPECT_LT(equal, 12);  // one is expected by chance
  EXPECT_LT(in_place, 12);
}

TEST(Permutation, SpreadsNeighbours) {
  // The mean of the first tenth, for many keys: far from it if the order kept anything of the numbers.
  constexpr uint64_t kSize = 10000;
  for (uint64_t key = 0; key < 20; ++key) {
    const Permutation permutation(kSize, key);
    double sum = 0;
    for (uint64_t i = 0; i < kSize / 10; ++i) sum += static_cast<double>(permutation.At(i));
    EXPECT_NEAR(sum / (kSize / 10.0), kSize / 2.0, 450) << key;  // five standard deviations
  }
}

}  // namespace
}  // namespace marquee
