#include "worker/models/deep_term.h"

#include <fmt/format.h>

#include <utility>

namespace marquee {
namespace {

struct DeepStep : TermStep {
  TowerInputs inputs;
  Tower::Pass pass;  // of the last block
};

class DeepTerm : public ScoreTerm {
 public:
  DeepTerm(Tower tower, const torch::Device& device) : tower_(std::move(tower)), device_(device) {}

  std::vector<const DenseTensors*> dense() const override { return {&tower_.dense()}; }

  std::unique_ptr<TermStep> Plan(const Entities& examples, float learning_rate, Step& step) override {
    auto term = std::make_unique<DeepStep>();
    term->inputs = tower_.Plan(examples, learning_rate, step);
    return term;
  }

  void Score(TermStep& term, const Step& step, size_t begin, size_t end, const DropoutKey* dropout,
             absl::Span<float> scores) const override {
    auto& state = static_cast<DeepStep&>(term);
    state.pass = tower_.Forward(state.inputs, begin, end, step, state.leaves[0], device_, dropout);
    AddScores(state.pass.output, scores);
  }

  void Backward(TermStep& term, absl::Span<const float> gradients, Step& step) const override {
    auto& state = static_cast<DeepStep&>(term);
    tower_.Backward(state.pass, ScoreGradient(gradients, device_), state.inputs, step);
  }

  void Decompose(TermStep& term, const Step& step, TermSides& sides) const override {
    sides.AddPart(tower_, tower_.Inputs(static_cast<DeepStep&>(term).inputs, step));
  }

  void AddParts(const std::vector<DenseLeaves>& leaves, std::vector<RatingInference::Part>& parts) const override {
    parts.push_back(
        {fmt::format("part{}", parts.size()), 1.0, [this, dense = leaves[0]](const std::vector<torch::Tensor>& sides) {
           return tower_.Output(tower_.Joined(sides[0], sides[1], sides[2]), dense);
         }});
  }

  void Finish(TermStep& term, Step& step) const override { tower_.Finish(static_cast<DeepStep&>(term).inputs, step); }

 private:
  Tower tower_;
  torch::Device device_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<ScoreTerm>> MakeDeepTerm(const ModelConfig& model, Tower::Options options, const Dataset& data,
                                                        const Split& split, const torch::Device& device,
                                                        std::vector<TableDefinition>& tables) {
  options.name += "tower";
  TowerConfig with_output = model.tower;
  with_output.layers.push_back(1);
  absl::StatusOr<Tower> tower = Tower::Make(with_output, options, data, split, tables);
  if (!tower.ok()) return tower.status();
  return std::make_unique<DeepTerm>(*std::move(tower), device);
}

}  // namespace marquee
