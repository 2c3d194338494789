#include "common/table.h"

#include <capnp/message.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>
#include <string>
#include <vector>

namespace marquee {
namespace {

using ::testing::HasSubstr;

// Every field differs from its default and from the others.
TableDefinition FullDefinition() {
  return TableDefinition{.number = 9,
                         .name = "t7/users",
                         .trial = 7,
                         .dim = 64,
                         .seed = 0xfedcba9876543210U,
                         .initializer = {.kind = Initializer::Kind::kUniform, .scale = 0.05F},
                         .optimizer = {.kind = Optimizer::Kind::kFtrl,
                                       .momentum = 0.01F,
                                       .beta1 = 0.02F,
                                       .beta2 = 0.03F,
                                       .epsilon = 0.04F,
                                       .initial_accumulator = 0.06F,
                                       .ftrl_l1 = 0.07F,
                                       .ftrl_l2 = 0.08F,
                                       .ftrl_beta = 0.09F,
                                       .l2 = 0.11F,
                                       .clip_norm = 0.12F,
                                       .max_norm = 0.13F},
                         .memory_budget_bytes = 1U << 30U};
}

absl::StatusOr<TableDefinition> OverTheWire(const TableDefinition& table,
                                            const std::function<void(wire::TableDefinition::Builder)>& spoil) {
  capnp::MallocMessageBuilder message;
  auto builder = message.initRoot<wire::TableDefinition>();
  table.ToWire(builder);
  spoil(builder);
  return TableDefinition::FromWire(builder.asReader());
}

TEST(TableTest, ComesOverTheWireUnchanged) {
  const auto copy = OverTheWire(FullDefinition(), [](auto) {});
  ASSERT_TRUE(copy.ok()) << copy.status();
  EXPECT_EQ(*copy, FullDefinition());
}

TEST(TableTest, EveryKindComesOverTheWire) {
  for (int kind = 0; kind <= static_cast<int>(Optimizer::Kind::kFtrl); ++kind) {
    TableDefinition table = FullDefinition();
    table.optimizer.kind = static_cast<Optimizer::Kind>(kind);
    table.initializer.kind = static_cast<Initializer::Kind>(kind % 4);
    const auto copy = OverTheWire(table, [](auto) {});
    ASSERT_TRUE(copy.ok()) << copy.status();
    EXPECT_EQ(*copy, table);
  }
}

TEST(TableTest, ModelNameLeavesTheTrialOut) {
  EXPECT_EQ(FullDefinition().model_name(), "users");
  TableDefinition table;
  table.name = "users";
  EXPECT_EQ(table.model_name(), "users");
  table.name = "t7/query/0.weight";
  EXPECT_EQ(table.model_name(), "query/0.weight");
}

struct WrongTable {
  std::string says;
  std::function<void(wire::TableDefinition::Builder)> spoil;
};

TEST(TableTest, RefusesWhatIsNoTable) {
  const float nan = std::nanf("");
  const float infinite = std::numeric_limits<float>::infinity();
  const std::vector<WrongTable> wrong = {
      {"table.name", [](auto table) { table.setName(""); }},
      {"table.dim: 0", [](auto table) { table.setDim(0); }},
      {"table.dim: 8193", [](auto table) { table.setDim(kMaxDim + 1); }},
      {"table.initializer.kind", [](auto t) { t.getInitializer().setKind(static_cast<wire::Initializer::Kind>(4)); }},
      {"table.initializer.scale", [=](auto table) { table.getInitializer().setScale(nan); }},
      {"table.optimizer.kind", [](auto t) { t.getOptimizer().setKind(static_cast<wire::Optimizer::Kind>(6)); }},
      {"table.momentum", [=](auto table) { table.getOptimizer().setMomentum(nan); }},
      {"table.beta1", [](auto table) { table.getOptimizer().setBeta1(-1); }},
      {"table.beta2", [=](auto table) { table.getOptimizer().setBeta2(infinite); }},
      {"table.epsilon", [](auto table) { table.getOptimizer().setEpsilon(-1e-8F); }},
      {"table.initialAccumulator", [=](auto table) { table.getOptimizer().setInitialAccumulator(-infinite); }},
      {"table.ftrlL1", [](auto table) { table.getOptimizer().setFtrlL1(-1); }},
      {"table.ftrlL2", [](auto table) { table.getOptimizer().setFtrlL2(-1); }},
      {"table.ftrlBeta", [=](auto table) { table.getOptimizer().setFtrlBeta(nan); }},
      {"table.l2", [](auto table) { table.getOptimizer().setL2(-1); }},
      {"table.clipNorm", [](auto table) { table.getOptimizer().setClipNorm(-1); }},
      {"table.maxNorm", [=](auto table) { table.getOptimizer().setMaxNorm(infinite); }},
  };
  for (const WrongTable& one : wrong) {
    const auto parsed = OverTheWire(FullDefinition(), one.spoil);
    ASSERT_FALSE(parsed.ok()) << one.says;
    EXPECT_THAT(std::string(parsed.status().message()), HasSubstr(one.says));
  }
}

TEST(TableTest, OptimizerTakesEveryFieldFromConfiguration) {
  OptimizerConfig config;
  config.kind = OptimizerConfig::Kind::kAdam;
  config.momentum = 1;
  config.beta1 = 2;
  config.beta2 = 3;
  config.epsilon = 4;
  config.initial_accumulator = 5;
  config.ftrl_l1 = 6;
  config.ftrl_l2 = 7;
  config.ftrl_beta = 8;
  config.l2 = 9;
  config.clip_norm = 10;
  config.max_norm = 11;
  const Optimizer expected{.kind = Optimizer::Kind::kAdam,
                           .momentum = 1,
                           .beta1 = 2,
                           .beta2 = 3,
                           .epsilon = 4,
                           .initial_accumulator = 5,
                           .ftrl_l1 = 6,
                           .ftrl_l2 = 7,
                           .ftrl_beta = 8,
                           .l2 = 9,
                           .clip_norm = 10,
                           .max_norm = 11};
  EXPECT_EQ(Optimizer::FromConfig(config), expected);
}

}  // namespace
}  // namespace marquee
