#include "tests/unit/worker/models/model_testing.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <random>

#include "worker/models/training_order.h"

namespace marquee {

const TinyData& Tiny() {
  static const TinyData tiny = MakeTinyData();
  return tiny;
}

const TinyData& Small() {
  static const TinyData small = MakeTinyData(240, 160, 9000);
  return small;
}

FeatureConfig Named(const std::string& name, int dim) {
  FeatureConfig feature;
  feature.name = name;
  feature.dim = dim;
  return feature;
}

std::string TestDevice() {
  const char* const device = std::getenv("MARQUEE_TEST_DEVICE");
  return device == nullptr ? "cpu" : device;
}

std::unique_ptr<Model> Make(const TrialConfig& config, const TinyData& tiny) {
  auto model = MakeModel(config, *tiny.data, tiny.split, TestDevice());
  EXPECT_TRUE(model.ok()) << model.status().ToString();
  return model.ok() ? *std::move(model) : nullptr;
}

std::string ErrorOf(const TrialConfig& config, const std::string& device) {
  const auto model = MakeModel(config, *Tiny().data, Tiny().split, device);
  return model.ok() ? "ok" : std::string(model.status().message());
}

std::vector<uint32_t> Batch(const TinyData& tiny, size_t size) {
  std::vector<uint32_t> batch;
  for (size_t i = 0; i < size; ++i) batch.push_back(tiny.split.train[(i * 7) % tiny.split.train.size()]);
  return batch;
}

std::unique_ptr<Step> Planned(Model& model, absl::Span<const uint32_t> batch, uint32_t epoch, uint64_t number) {
  auto step = model.Plan(batch, epoch, number);
  EXPECT_TRUE(step.ok()) << step.status().ToString();
  return *std::move(step);
}

double ComputedLoss(Model& model, Step& step) {
  const auto loss = model.Compute(step);
  EXPECT_TRUE(loss.ok()) << loss.status().ToString();
  return loss.ok() ? *loss : std::nan("");
}

size_t TableNamed(const Model& model, const std::string& name) {
  for (size_t i = 0; i < model.tables().size(); ++i) {
    if (model.tables()[i].name == name) return i;
  }
  ADD_FAILURE() << "no table " << name;
  return 0;
}

TableRows& RowsOf(const Model& model, Step& step, const std::string& name) {
  const size_t table = TableNamed(model, name);
  for (TableRows& rows : step.rows) {
    if (rows.table == table) return rows;
  }
  ADD_FAILURE() << "no rows of " << name;
  return step.rows.front();
}

void CheckGradients(const TrialConfig& config, size_t batch_size, const TinyData& tiny) {
  const auto model = Make(config, tiny);
  ASSERT_NE(model, nullptr);
  RowMap rows(model->tables(), 0.4F);
  const std::vector<uint32_t> batch = Batch(tiny, batch_size);
  auto step = Planned(*model, batch, 1, 3);
  rows.Fill(*step);
  ComputedLoss(*model, *step);
  std::vector<std::vector<float>> gradients;
  for (const TableRows& table : step->rows) gradients.push_back(table.gradients);

  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  for (size_t t = 0; t < gradients.size(); ++t) {
    // The gradient's own direction, and a random one.
    for (const bool own : {true, false}) {
      std::vector<double> direction;
      double length = 0;
      for (const float g : gradients[t]) {
        direction.push_back(own ? g : normal(random));
        length += direction.back() * direction.back();
      }
      length = std::sqrt(length);
      if (own && length == 0) continue;  // which the random direction confirms, or not
      double want = 0;
      for (size_t i = 0; i < direction.size(); ++i) want += gradients[t][i] * direction[i] / length;
      const std::vector<float> values = step->rows[t].values;
      const double reach = 2e-3;
      double difference = 0;
      for (const double sign : {1.0, -1.0}) {
        for (size_t i = 0; i < values.size(); ++i) {
          step->rows[t].values[i] = static_cast<float>(values[i] + sign * reach * direction[i] / length);
        }
        difference += sign * ComputedLoss(*model, *step);
      }
      step->rows[t].values = values;
      const double got = difference / (2 * reach) / static_cast<double>(batch_size);
      const double scale = own ? want : 1.0;
      EXPECT_NEAR(got, want, 0.02 * std::abs(scale) + 2e-4) << model->tables()[step->rows[t].table].name << " own " << own;
    }
  }
}

Trained Train(const TrialConfig& config, const TinyData& tiny) {
  Trained trained;
  trained.model = Make(config, tiny);
  trained.rows = std::make_unique<RowMap>(trained.model->tables());
  const auto batch_size = static_cast<size_t>(config.model.batch_size);
  const size_t examples = tiny.split.train.size();
  TrainingOrder by_user(*tiny.data, tiny.split, 9, /*users_together=*/true);
  std::vector<uint32_t> order = tiny.split.train;
  std::mt19937 random(9);
  for (uint32_t epoch = 0; epoch < static_cast<uint32_t>(config.model.epochs); ++epoch) {
    std::shuffle(order.begin(), order.end(), random);
    if (trained.model->users_together()) order = by_user.Range(epoch, 0, examples);
    double sum = 0;
    for (size_t begin = 0; begin < examples; begin += batch_size) {
      const size_t size = std::min(batch_size, examples - begin);
      auto step = Planned(*trained.model, {order.data() + begin, size}, epoch, begin / batch_size);
      trained.rows->Fill(*step);
      sum += ComputedLoss(*trained.model, *step);
      trained.rows->Apply(*step);
    }
    trained.losses.push_back(sum / static_cast<double>(examples));
  }
  return trained;
}

std::map<std::string, double> Evaluated(Trained& trained, const std::vector<uint32_t>& examples, bool test, size_t chunk_size) {
  auto base = trained.model->PlanEvaluation();
  EXPECT_TRUE(base.ok());
  trained.rows->Fill(**base);
  EXPECT_TRUE(trained.model->BeginEvaluation(**base, test).ok());
  base->reset();  // what an evaluation needs must not live in the step
  MetricSums sums;
  for (size_t begin = 0; begin < examples.size(); begin += chunk_size) {
    auto chunk = trained.model->PlanEvaluationChunk({examples.data() + begin, std::min(chunk_size, examples.size() - begin)});
    EXPECT_TRUE(chunk.ok());
    trained.rows->Fill(**chunk);
    const auto part = trained.model->Evaluate(**chunk);
    EXPECT_TRUE(part.ok()) << part.status().ToString();
    for (const auto& [name, sum] : *part) sums[name].Add(sum);
  }
  return Finish(sums);
}

const Baseline& BaselineNamed(const std::vector<Baseline>& baselines, const std::string& name) {
  for (const Baseline& baseline : baselines) {
    if (baseline.name == name) return baseline;
  }
  ADD_FAILURE() << name;
  return baselines.front();
}

}  // namespace marquee
