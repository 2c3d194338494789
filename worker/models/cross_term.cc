#include "worker/models/cross_term.h"

#include <fmt/format.h>

#include <utility>

#include "absl/status/status.h"

namespace marquee {
namespace {

struct CrossStep : TermStep {
  TowerInputs inputs;
  // Of the last block.
  Tower::Pass pass;
  torch::Tensor output;
};

class CrossTerm : public ScoreTerm {
 public:
  CrossTerm(const CrossConfig& cross, const TowerConfig& deep, const torch::Device& device, Tower tower, DenseTensors dense)
      : cross_(cross), deep_(deep), device_(device), tower_(std::move(tower)), dense_(std::move(dense)) {}

  std::vector<const DenseTensors*> dense() const override { return {&dense_}; }

  std::unique_ptr<TermStep> Plan(const Entities& examples, float learning_rate, Step& step) override {
    auto term = std::make_unique<CrossStep>();
    term->inputs = tower_.Plan(examples, learning_rate, step);
    return term;
  }

  void Score(TermStep& term, const Step& step, size_t begin, size_t end, const DropoutKey* dropout,
             absl::Span<float> scores) const override {
    auto& state = static_cast<CrossStep&>(term);
    state.pass = tower_.Forward(state.inputs, begin, end, step, {}, device_, dropout);
    state.output = Output(state.pass.output, state.leaves[0], dropout);
    AddScores(state.output, scores);
  }

  void Backward(TermStep& term, absl::Span<const float> gradients, Step& step) const override {
    auto& state = static_cast<CrossStep&>(term);
    torch::autograd::backward({state.output}, {ScoreGradient(gradients, device_)});
    tower_.Backward(state.pass, state.pass.input.grad(), state.inputs, step);
  }

  void Decompose(TermStep& term, const Step& step, TermSides& sides) const override {
    sides.AddPart(tower_, tower_.Inputs(static_cast<CrossStep&>(term).inputs, step));
  }

  void AddParts(const std::vector<DenseLeaves>& leaves, std::vector<RatingInference::Part>& parts) const override {
    parts.push_back(
        {fmt::format("part{}", parts.size()), 1.0, [this, dense = leaves[0]](const std::vector<torch::Tensor>& sides) {
           return Output(tower_.Joined(sides[0], sides[1], sides[2]), dense, nullptr);
         }});
  }

  void Finish(TermStep& term, Step& step) const override { tower_.Finish(static_cast<CrossStep&>(term).inputs, step); }

 private:
  torch::Tensor Output(const torch::Tensor& x0, const DenseLeaves& leaves, const DropoutKey* dropout) const {
    size_t next = 0;
    torch::Tensor x = x0;
    for (int layer = 0; layer < cross_.layers; ++layer) {
      const torch::Tensor inner = cross_.rank == 0 ? x : at::linear(x, leaves[next++]);
      x = x0 * at::linear(inner, leaves[next], leaves[next + 1]) + x;
      next += 2;
    }
    const size_t layers = deep_.layers.size();
    if (layers > 0) {
      const torch::Tensor& input = cross_.structure == CrossConfig::Structure::kParallel ? x0 : x;
      const torch::Tensor deep = ForwardLayers(input, leaves, next, layers, deep_.dropout, dropout).relu();
      x = cross_.structure == CrossConfig::Structure::kParallel ? torch::cat({x, deep}, 1) : deep;
    }
    next += 2 * layers;
    return at::linear(x, leaves[next], leaves[next + 1]);
  }

  const CrossConfig cross_;
  const TowerConfig deep_;
  const torch::Device device_;
  Tower tower_;
  DenseTensors dense_;
};

absl::StatusOr<DenseTensors> MakeDense(const ModelConfig& model, const DenseTensors::Options& options, int inputs,
                                       std::vector<TableDefinition>& tables) {
  DenseTensors dense;
  for (int layer = 0; layer < model.cross->layers; ++layer) {
    const std::string name = fmt::format("cross{}", layer);
    absl::Status status;
    if (model.cross->rank == 0) {
      status = dense.AddWeight(options, name + "_weight", inputs, inputs, tables);
    } else {
      status = dense.AddWeight(options, name + "_v", inputs, model.cross->rank, tables);
      if (status.ok()) status = dense.AddWeight(options, name + "_u", model.cross->rank, inputs, tables);
    }
    if (status.ok()) status = dense.AddBias(options, name + "_bias", inputs, tables);
    if (!status.ok()) return status;
  }
  const std::vector<int>& layers = model.tower.layers;
  if (absl::Status status = dense.AddLayers(options, inputs, layers, tables); !status.ok()) return status;
  int width = layers.empty() ? inputs : layers.back();
  if (!layers.empty() && model.cross->structure == CrossConfig::Structure::kParallel) width += inputs;
  if (absl::Status status = dense.AddWeight(options, "output_weight", width, 1, tables); !status.ok()) return status;
  if (absl::Status status = dense.AddBias(options, "output_bias", 1, tables); !status.ok()) return status;
  return dense;
}

}  // namespace

absl::StatusOr<std::unique_ptr<ScoreTerm>> MakeCrossTerm(const ModelConfig& model, Tower::Options options, const Dataset& data,
                                                         const Split& split, const torch::Device& device,
                                                         std::vector<TableDefinition>& tables) {
  options.name += "tower";
  options.concatenate = true;
  TowerConfig inputs = model.tower;
  inputs.layers.clear();
  absl::StatusOr<Tower> tower = Tower::Make(inputs, options, data, split, tables);
  if (!tower.ok()) return tower.status();
  const DenseTensors::Options dense_options{.name = options.name, .seed = options.seed, .optimizer = options.dense_optimizer};
  absl::StatusOr<DenseTensors> dense = MakeDense(model, dense_options, tower->width(), tables);
  if (!dense.ok()) return absl::Status(dense.status().code(), "tower: " + std::string(dense.status().message()));
  return std::make_unique<CrossTerm>(*model.cross, model.tower, device, *std::move(tower), *std::move(dense));
}

}  // namespace marquee
