#include "worker/models/bias_term.h"

#include <array>
#include <utility>

namespace marquee {
namespace {

struct BiasStep : TermStep {
  TowerInputs inputs;
  size_t begin = 0;  // of the last block
};

// A tower: the sum of two embeddings of dim 1.
class BiasTerm : public ScoreTerm {
 public:
  explicit BiasTerm(Tower tower) : tower_(std::move(tower)) {}

  std::unique_ptr<TermStep> Plan(const Entities& examples, float learning_rate, Step& step) override {
    auto term = std::make_unique<BiasStep>();
    term->inputs = tower_.Plan(examples, learning_rate, step);
    return term;
  }

  void Score(TermStep& term, const Step& step, size_t begin, size_t end, const DropoutKey* /*dropout*/,
             absl::Span<float> scores) const override {
    auto& state = static_cast<BiasStep&>(term);
    state.begin = begin;
    for (size_t f = 0; f < tower_.features().size(); ++f) {
      const FeatureInput& input = state.inputs.features[f];
      tower_.features()[f].Gather(input, begin, end, step.rows[input.rows].values.data(), scores.data(), 1);
    }
  }

  void Decompose(TermStep& term, const Step& step, TermSides& sides) const override {
    auto& state = static_cast<BiasStep&>(term);
    std::array<torch::Tensor, 2> biases;  // of users and items
    for (size_t f = 0; f < biases.size(); ++f) {
      const FeatureInput& input = state.inputs.features[f];
      biases[f] = torch::zeros({static_cast<int64_t>(state.inputs.count), 1});
      tower_.features()[f].Gather(input, 0, state.inputs.count, step.rows[input.rows].values.data(),
                                  biases[f].data_ptr<float>(), 1);
    }
    sides.users.push_back(torch::cat({biases[0], torch::ones_like(biases[0])}, 1));
    sides.movies.push_back(torch::cat({torch::ones_like(biases[1]), biases[1]}, 1));
  }

  void Backward(TermStep& term, absl::Span<const float> gradients, Step& step) const override {
    auto& state = static_cast<BiasStep&>(term);
    for (size_t f = 0; f < tower_.features().size(); ++f) {
      FeatureInput& input = state.inputs.features[f];
      tower_.features()[f].Scatter(input, state.begin, state.begin + gradients.size(), gradients.data(), 1,
                                   step.rows[input.rows].gradients.data());
    }
  }

 private:
  Tower tower_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<ScoreTerm>> MakeBiasTerm(Tower::Options options, const Dataset& data, const Split& split,
                                                        std::vector<TableDefinition>& tables) {
  options.name += "bias";
  options.embedding_optimizer.max_norm = 0;
  TowerConfig config;
  for (const Column* key : {&data.user_key(), &data.item_key()}) {
    config.features.push_back({.name = key->name(), .kind = FeatureConfig::Kind::kId, .dim = 1, .init_scale = 0});
  }
  absl::StatusOr<Tower> tower = Tower::Make(config, options, data, split, tables);
  if (!tower.ok()) return tower.status();
  return std::make_unique<BiasTerm>(*std::move(tower));
}

}  // namespace marquee
