#include "worker/models/model.h"

#include <fmt/format.h>
#include <torch/torch.h>

#include "absl/status/status.h"
#include "worker/models/ranking.h"
#include "worker/models/two_tower.h"

namespace marquee {
namespace {

absl::StatusOr<torch::Device> FindDevice(const std::string& name) {
  const bool cuda = torch::cuda::is_available();
  if (name == "cpu" || (name == "auto" && !cuda)) return torch::Device(torch::kCPU);
  if (name == "cuda" && !cuda) return absl::FailedPreconditionError("device: cuda, but LibTorch finds none here; try auto");
  if (name == "cuda" || name == "auto") return torch::Device(torch::kCUDA);
  return absl::InvalidArgumentError(fmt::format("device: {}; must be cpu, cuda or auto", name));
}

}  // namespace

absl::StatusOr<std::unique_ptr<Model>> MakeModel(const TrialConfig& config, const Dataset& data, const Split& split,
                                                 const std::string& device) {
  const absl::StatusOr<torch::Device> found = FindDevice(device);
  if (!found.ok()) return found.status();
  absl::StatusOr<std::unique_ptr<Model>> model = config.model.kind == ModelConfig::Kind::kTwoTower
                                                     ? MakeTwoTower(config, data, split, *found)
                                                     : MakeRanking(config, data, split, *found);
  if (!model.ok()) {
    return absl::Status(model.status().code(), fmt::format("model.{}", std::string(model.status().message())));
  }
  return model;
}

}  // namespace marquee
