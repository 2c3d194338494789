#include "common/initial_values.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>
#include <set>
#include <vector>

namespace marquee {
namespace {

TableDefinition Table(Initializer::Kind kind, float scale, uint64_t seed = 1, std::string name = "t1/users") {
  TableDefinition table;
  table.name = std::move(name);
  table.dim = 16;
  table.seed = seed;
  table.initializer = {.kind = kind, .scale = scale};
  return table;
}

std::vector<float> Values(const TableDefinition& table, Id id, size_t dim = 16) {
  std::vector<float> values(dim, 99);
  InitialValues(table).Fill(id, absl::MakeSpan(values));
  return values;
}

TEST(InitialValues, ZerosAndConstants) {
  EXPECT_EQ(Values(Table(Initializer::Kind::kZeros, 5), 3), std::vector<float>(16, 0.0F));
  EXPECT_EQ(Values(Table(Initializer::Kind::kConstant, -2.5F), 3), std::vector<float>(16, -2.5F));
}

TEST(InitialValues, DependOnSeedNameIdAndColumnAlone) {
  const auto kind = Initializer::Kind::kUniform;
  const std::vector<float> values = Values(Table(kind, 1), 42);
  EXPECT_EQ(values, Values(Table(kind, 1), 42));
  EXPECT_EQ(values, Values(Table(kind, 1, 1, "t99/users"), 42));  // another trial's table of the same model
  EXPECT_NE(values, Values(Table(kind, 1, 2), 42));
  EXPECT_NE(values, Values(Table(kind, 1, 1, "t1/movies"), 42));
  EXPECT_NE(values, Values(Table(kind, 1), 43));
  EXPECT_EQ(std::set<float>(values.begin(), values.end()).size(), values.size());
  const std::vector<float> longer = Values(Table(kind, 1), 42, 64);  // a column's value does not depend on the dim
  EXPECT_TRUE(std::equal(values.begin(), values.end(), longer.begin()));
}

// Written into checkpoints' worth of results: a change of the generator must be seen.
TEST(InitialValues, NeverChange) {
  const std::vector<float> values = Values(Table(Initializer::Kind::kUniform, 1), 42, 2);
  EXPECT_FLOAT_EQ(values[0], -0.60053021F);
  EXPECT_FLOAT_EQ(values[1], 0.39709979F);
}

struct Moments {
  double mean = 0, deviation = 0, least = 0, most = 0, fourth = 0;
};

Moments MomentsOf(Initializer::Kind kind, float scale) {
  const InitialValues generator(Table(kind, scale));
  std::vector<float> values(100 * 1000);
  for (Id id = 0; id < 1000; ++id) generator.Fill(id, absl::MakeSpan(&values[id * 100], 100));
  Moments moments;
  for (const float value : values) {
    moments.mean += value;
    moments.deviation += static_cast<double>(value) * value;
    moments.fourth += std::pow(value, 4);
    moments.least = std::min<double>(moments.least, value);
    moments.most = std::max<double>(moments.most, value);
  }
  moments.mean /= static_cast<double>(values.size());
  moments.deviation = std::sqrt(moments.deviation / static_cast<double>(values.size()));
  moments.fourth /= static_cast<double>(values.size()) * std::pow(moments.deviation, 4);
  return moments;
}

TEST(InitialValues, UniformHasItsMomentsAndBounds) {
  const Moments moments = MomentsOf(Initializer::Kind::kUniform, 0.05F);
  EXPECT_NEAR(moments.mean, 0, 0.0004);
  EXPECT_NEAR(moments.deviation, 0.05 / std::sqrt(3.0), 0.0004);
  EXPECT_GT(moments.least, -0.05);
  EXPECT_LT(moments.most, 0.05);
  EXPECT_LT(moments.least, -0.0499);
  EXPECT_GT(moments.most, 0.0499);
}

TEST(InitialValues, NormalHasItsMomentsAndTails) {
  const Moments moments = MomentsOf(Initializer::Kind::kNormal, 2);
  EXPECT_NEAR(moments.mean, 0, 0.03);
  EXPECT_NEAR(moments.deviation, 2, 0.03);
  EXPECT_NEAR(moments.fourth, 3, 0.1);
  EXPECT_GT(moments.most, 6);
  EXPECT_LT(moments.least, -6);
}

}  // namespace
}  // namespace marquee
