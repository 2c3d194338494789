#ifndef MARQUEE_TESTS_UNIT_WORKER_MODELS_MODEL_TESTING_H_
#define MARQUEE_TESTS_UNIT_WORKER_MODELS_MODEL_TESTING_H_

// What tests of models share: small data, models over it, a training loop with rows in a map, and gradients against finite
// differences.

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "dataset/evaluation.h"
#include "tests/unit/worker/models/row_map.h"
#include "tests/unit/worker/models/tiny_data.h"
#include "worker/models/model.h"

namespace marquee {

const TinyData& Tiny();
const TinyData& Small();  // a larger one

FeatureConfig Named(const std::string& name, int dim = 0);

// "cpu", or what MARQUEE_TEST_DEVICE says: "cuda" runs these tests on a GPU.
std::string TestDevice();
std::unique_ptr<Model> Make(const TrialConfig& config, const TinyData& tiny = Tiny());
std::string ErrorOf(const TrialConfig& config, const std::string& device = "cpu");  // "ok" where there is none

// Examples of the training rows.
std::vector<uint32_t> Batch(const TinyData& tiny, size_t size);
std::unique_ptr<Step> Planned(Model& model, absl::Span<const uint32_t> batch, uint32_t epoch = 0, uint64_t number = 0);
double ComputedLoss(Model& model, Step& step);
size_t TableNamed(const Model& model, const std::string& name);
TableRows& RowsOf(const Model& model, Step& step, const std::string& name);

// Walks each table's rows a little in random directions and compares the loss's change with the gradients.
void CheckGradients(const TrialConfig& config, size_t batch_size = 90, const TinyData& tiny = Tiny());

struct Trained {
  std::vector<double> losses;  // mean of each epoch
  std::unique_ptr<Model> model;
  std::unique_ptr<RowMap> rows;
};

Trained Train(const TrialConfig& config, const TinyData& tiny);
std::map<std::string, double> Evaluated(Trained& trained, const std::vector<uint32_t>& examples, bool test,
                                        size_t chunk_size = 100);
const Baseline& BaselineNamed(const std::vector<Baseline>& baselines, const std::string& name);

}  // namespace marquee

#endif  // MARQUEE_TESTS_UNIT_WORKER_MODELS_MODEL_TESTING_H_
