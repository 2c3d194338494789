#include "common/table.h"

#include <fmt/format.h>

#include <cmath>

#include "absl/status/status.h"

namespace marquee {
namespace {

absl::Status CheckNonNegative(std::string_view field, float value) {
  if (std::isfinite(value) && value >= 0) return absl::OkStatus();
  return absl::InvalidArgumentError(fmt::format("table.{}: {}; must be a number of at least 0", field, value));
}

}  // namespace

Optimizer Optimizer::FromConfig(const OptimizerConfig& config) {
  return Optimizer{.kind = config.kind,
                   .momentum = static_cast<float>(config.momentum),
                   .beta1 = static_cast<float>(config.beta1),
                   .beta2 = static_cast<float>(config.beta2),
                   .epsilon = static_cast<float>(config.epsilon),
                   .initial_accumulator = static_cast<float>(config.initial_accumulator),
                   .ftrl_l1 = static_cast<float>(config.ftrl_l1),
                   .ftrl_l2 = static_cast<float>(config.ftrl_l2),
                   .ftrl_beta = static_cast<float>(config.ftrl_beta),
                   .l2 = static_cast<float>(config.l2),
                   .clip_norm = static_cast<float>(config.clip_norm),
                   .max_norm = static_cast<float>(config.max_norm)};
}

std::string_view TableDefinition::model_name() const {
  const std::string_view whole = name;
  const size_t slash = whole.find('/');
  return slash == std::string_view::npos ? whole : whole.substr(slash + 1);
}

absl::StatusOr<TableDefinition> TableDefinition::FromWire(wire::TableDefinition::Reader reader) {
  TableDefinition table;
  table.number = reader.getNumber();
  table.name = std::string(reader.getName().cStr(), reader.getName().size());
  table.trial = reader.getTrial();
  table.dim = reader.getDim();
  table.seed = reader.getSeed();
  table.memory_budget_bytes = reader.getMemoryBudgetBytes();
  if (table.name.empty()) return absl::InvalidArgumentError("table.name: empty");
  if (table.dim == 0 || table.dim > kMaxDim) {
    return absl::InvalidArgumentError(fmt::format("table.dim: {} in {}; must be 1 to {}", table.dim, table.name, kMaxDim));
  }

  const auto initializer = reader.getInitializer();
  const auto initializer_kind = static_cast<uint32_t>(initializer.getKind());
  if (initializer_kind > static_cast<uint32_t>(Initializer::Kind::kNormal)) {
    return absl::InvalidArgumentError(fmt::format("table.initializer.kind: unknown kind {}", initializer_kind));
  }
  table.initializer.kind = static_cast<Initializer::Kind>(initializer_kind);
  table.initializer.scale = initializer.getScale();
  if (!std::isfinite(table.initializer.scale)) return absl::InvalidArgumentError("table.initializer.scale: not finite");

  const auto optimizer = reader.getOptimizer();
  const auto optimizer_kind = static_cast<uint32_t>(optimizer.getKind());
  if (optimizer_kind > static_cast<uint32_t>(Optimizer::Kind::kFtrl)) {
    return absl::InvalidArgumentError(fmt::format("table.optimizer.kind: unknown kind {}", optimizer_kind));
  }
  table.optimizer = Optimizer{.kind = static_cast<Optimizer::Kind>(optimizer_kind),
                              .momentum = optimizer.getMomentum(),
                              .beta1 = optimizer.getBeta1(),
                              .beta2 = optimizer.getBeta2(),
                              .epsilon = optimizer.getEpsilon(),
                              .initial_accumulator = optimizer.getInitialAccumulator(),
                              .ftrl_l1 = optimizer.getFtrlL1(),
                              .ftrl_l2 = optimizer.getFtrlL2(),
                              .ftrl_beta = optimizer.getFtrlBeta(),
                              .l2 = optimizer.getL2(),
                              .clip_norm = optimizer.getClipNorm(),
                              .max_norm = optimizer.getMaxNorm()};
  const Optimizer& o = table.optimizer;
  for (const auto& [field, value] : {std::pair<std::string_view, float>{"momentum", o.momentum},
                                     {"beta1", o.beta1},
                                     {"beta2", o.beta2},
                                     {"epsilon", o.epsilon},
                                     {"initialAccumulator", o.initial_accumulator},
                                     {"ftrlL1", o.ftrl_l1},
                                     {"ftrlL2", o.ftrl_l2},
                                     {"ftrlBeta", o.ftrl_beta},
                                     {"l2", o.l2},
                                     {"clipNorm", o.clip_norm},
                                     {"maxNorm", o.max_norm}}) {
    if (absl::Status status = CheckNonNegative(field, value); !status.ok()) return status;
  }
  return table;
}

void TableDefinition::ToWire(wire::TableDefinition::Builder builder) const {
  builder.setNumber(number);
  builder.setName(name.c_str());
  builder.setTrial(trial);
  builder.setDim(dim);
  builder.setSeed(seed);
  builder.setMemoryBudgetBytes(memory_budget_bytes);
  auto init = builder.initInitializer();
  init.setKind(static_cast<wire::Initializer::Kind>(initializer.kind));
  init.setScale(initializer.scale);
  auto to = builder.initOptimizer();
  to.setKind(static_cast<wire::Optimizer::Kind>(optimizer.kind));
  to.setMomentum(optimizer.momentum);
  to.setBeta1(optimizer.beta1);
  to.setBeta2(optimizer.beta2);
  to.setEpsilon(optimizer.epsilon);
  to.setInitialAccumulator(optimizer.initial_accumulator);
  to.setFtrlL1(optimizer.ftrl_l1);
  to.setFtrlL2(optimizer.ftrl_l2);
  to.setFtrlBeta(optimizer.ftrl_beta);
  to.setL2(optimizer.l2);
  to.setClipNorm(optimizer.clip_norm);
  to.setMaxNorm(optimizer.max_norm);
}

uint32_t StateWidth(Optimizer::Kind kind, uint32_t dim) {
  switch (kind) {
    case Optimizer::Kind::kSgd:
      return 0;
    case Optimizer::Kind::kMomentum:
    case Optimizer::Kind::kAdagrad:
      return dim;
    case Optimizer::Kind::kRowwiseAdagrad:
      return 1;
    case Optimizer::Kind::kAdam:
      return 2 * dim + 1;
    case Optimizer::Kind::kFtrl:
      return 2 * dim;
  }
  return 0;
}

}  // namespace marquee
