#include "worker/models/dense.h"

#include <fmt/format.h>

#include <cmath>
#include <numeric>
#include <utility>

namespace marquee {
namespace {

// A bijection of 32 bits that leaves no bit alone (lowbias32, Chris Wellons, public domain). It becomes vector instructions.
inline uint32_t Mix32(uint32_t x, uint32_t key) {
  x = (x ^ (x >> 16U)) * 0x7feb352dU;
  x = (x ^ (x >> 15U) ^ key) * 0x846ca68bU;
  return x ^ (x >> 16U);
}

absl::Status CheckWidth(const std::string& name, std::string_view what, int width) {
  constexpr auto kMax = static_cast<int>(kMaxDim);
  if (width >= 1 && width <= kMax) return absl::OkStatus();
  return absl::InvalidArgumentError(fmt::format("{}: {} {}; must be 1 to {}", name, width, what, kMax));
}

torch::Tensor OverBuffer(std::vector<float>& buffer, const std::vector<int64_t>& shape) {
  return torch::from_blob(buffer.data(), shape);
}

}  // namespace

torch::Tensor DropoutMask(int64_t rows, int64_t columns, double rate, const DropoutKey& key, size_t number) {
  torch::Tensor mask = torch::empty({rows, columns});
  auto* out = mask.data_ptr<float>();
  const auto threshold = static_cast<uint32_t>(rate * 0x1.0p32);
  const auto kept = static_cast<float>(1 / (1 - rate));
  const uint64_t stream = MixId(MixId(MixId(MixId(MixId(key.seed) ^ key.epoch) ^ key.step) ^ key.block) ^ number);
  const auto first = static_cast<uint32_t>(stream);
  const auto stream_key = static_cast<uint32_t>(stream >> 32U);
  const auto size = static_cast<uint32_t>(rows * columns);
  for (uint32_t i = 0; i < size; ++i) out[i] = Mix32(first + i, stream_key) < threshold ? 0.0F : kept;
  return mask;
}

absl::Status DenseTensors::AddWeight(const Options& options, const std::string& name, int inputs, int units,
                                     std::vector<TableDefinition>& tables) {
  if (absl::Status status = CheckWidth(name, "units", units); !status.ok()) return status;
  if (absl::Status status = CheckWidth(name, "inputs", inputs); !status.ok()) return status;
  TableDefinition table;
  table.name = fmt::format("{}_{}", options.name, name);
  table.dim = static_cast<uint32_t>(inputs);
  table.seed = options.seed;
  table.initializer = {Initializer::Kind::kUniform, std::sqrt(6.0F / static_cast<float>(inputs + units))};
  table.optimizer = options.optimizer;
  tensors_.push_back({tables.size(), inputs, units});
  tables.push_back(std::move(table));
  return absl::OkStatus();
}

absl::Status DenseTensors::AddBias(const Options& options, const std::string& name, int units,
                                   std::vector<TableDefinition>& tables) {
  if (absl::Status status = CheckWidth(name, "units", units); !status.ok()) return status;
  TableDefinition table;
  table.name = fmt::format("{}_{}", options.name, name);
  table.dim = static_cast<uint32_t>(units);
  table.seed = options.seed;
  table.optimizer = options.optimizer;
  table.optimizer.max_norm = 0;
  table.optimizer.l2 = 0;
  tensors_.push_back({tables.size(), units, 0});
  tables.push_back(std::move(table));
  return absl::OkStatus();
}

absl::Status DenseTensors::AddLayers(const Options& options, int inputs, const std::vector<int>& widths,
                                     std::vector<TableDefinition>& tables) {
  for (size_t i = 0; i < widths.size(); ++i) {
    const std::string layer = fmt::format("layers[{}]", i);
    if (absl::Status status = CheckWidth(layer, "units", widths[i]); !status.ok()) return status;
    if (absl::Status status = CheckWidth(layer, "inputs", inputs); !status.ok()) return status;
    const absl::Status weight = AddWeight(options, fmt::format("layer{}_weight", i), inputs, widths[i], tables);
    if (!weight.ok()) return weight;
    const absl::Status bias = AddBias(options, fmt::format("layer{}_bias", i), widths[i], tables);
    if (!bias.ok()) return bias;
    inputs = widths[i];
  }
  return absl::OkStatus();
}

size_t DenseTensors::Plan(float learning_rate, Step& step) const {
  const size_t first = step.rows.size();
  for (const Tensor& tensor : tensors_) {
    TableRows rows;
    rows.table = tensor.table;
    rows.dim = static_cast<uint32_t>(tensor.inputs);
    rows.learning_rate = learning_rate;
    rows.ids.resize(std::max(tensor.units, 1));
    std::iota(rows.ids.begin(), rows.ids.end(), Id{0});
    rows.values.resize(rows.ids.size() * rows.dim);
    step.rows.push_back(std::move(rows));
  }
  return first;
}

DenseLeaves DenseTensors::Leaves(Step& step, size_t first, const torch::Device& device, bool train) const {
  DenseLeaves leaves;
  for (const Tensor& tensor : tensors_) {
    TableRows& rows = step.rows[first + leaves.size()];
    const auto shape =
        tensor.units > 0 ? std::vector<int64_t>{tensor.units, tensor.inputs} : std::vector<int64_t>{tensor.inputs};
    torch::Tensor leaf = OverBuffer(rows.values, shape).to(device);
    if (train) {
      leaf.requires_grad_(true);
      if (device.is_cpu()) leaf.mutable_grad() = OverBuffer(rows.gradients, shape);
    }
    leaves.push_back(std::move(leaf));
  }
  return leaves;
}

DenseLeaves Kept(const DenseLeaves& leaves) {
  DenseLeaves kept;
  for (const torch::Tensor& leaf : leaves) kept.push_back(leaf.detach().clone());
  return kept;
}

void CollectGradients(const DenseLeaves& leaves, size_t first, Step& step) {
  for (size_t i = 0; i < leaves.size(); ++i) {
    // One that the loss does not depend on has none.
    if (leaves[i].device().is_cpu() || !leaves[i].grad().defined()) continue;
    OverBuffer(step.rows[first + i].gradients, leaves[i].sizes().vec()).copy_(leaves[i].grad());
  }
}

torch::Tensor ForwardLayers(const torch::Tensor& input, const DenseLeaves& leaves, size_t first, size_t layers, double dropout,
                            const DropoutKey* key, size_t first_mask) {
  torch::Tensor x = input;
  for (size_t i = 0; i < layers; ++i) {
    x = at::linear(x, leaves[first + 2 * i], leaves[first + 2 * i + 1]);
    if (i + 1 == layers) break;
    x = x.relu_();
    if (key != nullptr && dropout > 0) {
      x = x * DropoutMask(x.size(0), x.size(1), dropout, *key, first_mask + i).to(x.device());
    }
  }
  return x;
}

absl::Status CheckLoss(double loss, const DropoutKey& step) {
  if (std::isfinite(loss)) return absl::OkStatus();
  return absl::OutOfRangeError(
      fmt::format("loss: {} in epoch {}, step {}; a lower learning rate may help", loss, step.epoch, step.step));
}

}  // namespace marquee
