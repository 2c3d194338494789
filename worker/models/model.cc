#include "worker/models/model.h"

#include <fmt/format.h>
#include <torch/torch.h>

#include <exception>
#include <utility>

#include "absl/status/status.h"
#include "worker/models/joint.h"
#include "worker/models/listwise.h"
#include "worker/models/ranking.h"
#include "worker/models/sequence.h"
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

// LibTorch throws: when a GPU's memory is full, or where a BLAS is missing. Here that ends, and becomes an error of the trial.
template <typename Result, typename Function>
Result Caught(Function&& function) {
  try {
    return std::forward<Function>(function)();
  } catch (const c10::Error& error) {
    return absl::InternalError(fmt::format("LibTorch: {}", error.what_without_backtrace()));
  } catch (const std::exception& error) {
    return absl::InternalError(fmt::format("LibTorch: {}", error.what()));
  }
}

class CatchingModel : public Model {
 public:
  explicit CatchingModel(std::unique_ptr<Model> model) : model_(std::move(model)) {}

  const std::vector<TableDefinition>& tables() const override { return model_->tables(); }
  bool users_together() const override { return model_->users_together(); }
  absl::StatusOr<std::unique_ptr<Step>> Plan(absl::Span<const uint32_t> examples, uint32_t epoch, uint64_t step) override {
    return Caught<absl::StatusOr<std::unique_ptr<Step>>>([&] { return model_->Plan(examples, epoch, step); });
  }
  absl::StatusOr<double> Compute(Step& step) override {
    return Caught<absl::StatusOr<double>>([&] { return model_->Compute(step); });
  }
  absl::StatusOr<std::unique_ptr<Step>> PlanEvaluation() override { return model_->PlanEvaluation(); }
  absl::Status BeginEvaluation(Step& filled, bool test) override {
    return Caught<absl::Status>([&] { return model_->BeginEvaluation(filled, test); });
  }
  absl::StatusOr<std::unique_ptr<Step>> PlanEvaluationChunk(absl::Span<const uint32_t> examples) override {
    return Caught<absl::StatusOr<std::unique_ptr<Step>>>([&] { return model_->PlanEvaluationChunk(examples); });
  }
  absl::StatusOr<MetricSums> Evaluate(Step& filled) override {
    return Caught<absl::StatusOr<MetricSums>>([&] { return model_->Evaluate(filled); });
  }
  RetrievalInference* retrieval() override { return model_->retrieval(); }
  RatingInference* rating() override { return model_->rating(); }

 private:
  std::unique_ptr<Model> model_;
};

absl::StatusOr<std::unique_ptr<Model>> MakeKind(const TrialConfig& config, const Dataset& data, const Split& split,
                                                const torch::Device& device) {
  switch (config.model.kind) {
    case ModelConfig::Kind::kTwoTower:
      return MakeTwoTower(config, data, split, device);
    case ModelConfig::Kind::kRanking:
    case ModelConfig::Kind::kDcn:
      return MakeRanking(config, data, split, device);
    case ModelConfig::Kind::kListwise:
      return MakeListwise(config, data, split, device);
    case ModelConfig::Kind::kSequence:
      return MakeSequence(config, data, split, device);
    case ModelConfig::Kind::kJoint:
      return MakeJoint(config, data, split, device);
  }
  return absl::InvalidArgumentError("kind: unknown");
}

}  // namespace

absl::StatusOr<std::unique_ptr<Model>> MakeModel(const TrialConfig& config, const Dataset& data, const Split& split,
                                                 const std::string& device) {
  const absl::StatusOr<torch::Device> found = FindDevice(device);
  if (!found.ok()) return found.status();
  absl::StatusOr<std::unique_ptr<Model>> model = MakeKind(config, data, split, *found);
  if (!model.ok()) {
    return absl::Status(model.status().code(), fmt::format("model.{}", std::string(model.status().message())));
  }
  return std::make_unique<CatchingModel>(*std::move(model));
}

}  // namespace marquee
