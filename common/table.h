#ifndef MARQUEE_COMMON_TABLE_H_
#define MARQUEE_COMMON_TABLE_H_

// What a table is: one embedding table, or one dense tensor cut into blocks (block number = id). A value type; on the wire it
// is wire::TableDefinition.

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "common/id.h"
#include "common/trial_config.h"
#include "schemas/wire.capnp.h"

namespace marquee {

inline constexpr uint32_t kMaxDim = 8192;

struct Initializer {
  enum class Kind { kZeros, kConstant, kUniform, kNormal };
  Kind kind = Kind::kZeros;
  float scale = 0;  // the constant; half width of the uniform; standard deviation

  bool operator==(const Initializer&) const = default;
};

// How a shard updates rows. The learning rate is not here: it comes with each push. See OptimizerConfig for the fields.
struct Optimizer {
  using Kind = OptimizerConfig::Kind;
  Kind kind = Kind::kSgd;
  float momentum = 0;
  float beta1 = 0;
  float beta2 = 0;
  float epsilon = 0;
  float initial_accumulator = 0;
  float ftrl_l1 = 0;
  float ftrl_l2 = 0;
  float ftrl_beta = 0;
  float l2 = 0;
  float clip_norm = 0;
  float max_norm = 0;

  static Optimizer FromConfig(const OptimizerConfig& config);
  bool operator==(const Optimizer&) const = default;
};

// Floats of optimizer state in each row of so many weights.
uint32_t StateWidth(Optimizer::Kind kind, uint32_t dim);

struct TableDefinition {
  TableNumber number = 0;  // 0: a proposal that has none yet
  std::string name;        // "t7/users"
  uint64_t trial = 0;
  uint32_t dim = 0;  // 1 to kMaxDim
  uint64_t seed = 0;
  Initializer initializer;
  Optimizer optimizer;
  uint64_t memory_budget_bytes = 0;  // per shard; 0 = none

  // The name without the trial's prefix ("users"): initial values hang on it, so that they do not depend on the trial's number.
  std::string_view model_name() const;

  // Refuses an empty name, a dim out of range, and numbers that are negative, NaN or infinite.
  static absl::StatusOr<TableDefinition> FromWire(wire::TableDefinition::Reader reader);
  void ToWire(wire::TableDefinition::Builder builder) const;
  bool operator==(const TableDefinition&) const = default;
};

}  // namespace marquee

#endif  // MARQUEE_COMMON_TABLE_H_
