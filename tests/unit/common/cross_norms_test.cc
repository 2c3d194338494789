#include "common/cross_norms.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

namespace marquee {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

TEST(CrossNorms, BlocksAreThoseOfRowsAndColumns) {
  const std::vector<float> weight = {1, 2, 3,   //
                                     4, 5, 6,   //
                                     7, 8, 9};  //
  const std::vector<FeatureRange> features = {{"a", 0, 1}, {"b", 1, 3}};
  const auto norms = CrossBlockNorms(weight, features);
  ASSERT_TRUE(norms.ok());
  EXPECT_THAT((*norms)[0], ElementsAre(1.0, std::sqrt(4.0 + 9)));
  EXPECT_THAT((*norms)[1], ElementsAre(std::sqrt(16.0 + 49), std::sqrt(25.0 + 36 + 64 + 81)));
}

TEST(CrossNorms, LowRankIsMultipliedOut) {
  const auto weight = CrossWeight({1, 2, 3, 4, 5, 6}, {1, 0, 2, 0, 1, 3}, 2);  // U [3, 2], V [2, 3]
  ASSERT_TRUE(weight.ok());
  EXPECT_THAT(*weight, ElementsAre(1, 2, 8, 3, 4, 18, 5, 6, 28));
}

TEST(CrossNorms, WhatDoesNotFitIsRefused) {
  EXPECT_THAT(std::string(CrossBlockNorms({1, 2, 3}, {}).status().message()), HasSubstr("3 numbers; must be a square"));
  const std::vector<FeatureRange> outside = {{"a", 1, 3}};
  EXPECT_THAT(std::string(CrossBlockNorms({1, 2, 3, 4}, outside).status().message()), HasSubstr("feature a: columns 1 to 3"));
  EXPECT_FALSE(CrossWeight({1, 2}, {1, 2, 3}, 1).ok());
  EXPECT_FALSE(CrossWeight({1, 2}, {1, 2}, 0).ok());
}

}  // namespace
}  // namespace marquee
