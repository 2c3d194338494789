#include "bench/step_costs.h"

#include <algorithm>
#include <chrono>
#include <memory>
#include <random>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "worker/models/model.h"
#include "worker/models/training_order.h"

namespace marquee {
namespace {

constexpr size_t kWarmUp = 2;
constexpr size_t kLeastSteps = 5;

double Now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

// What the steps of the first epoch ask for.
class UseOfTables {
 public:
  explicit UseOfTables(const std::vector<TableDefinition>& tables) : ids_(tables.size()), asked_(tables.size()) {}

  void Add(const Step& step) {
    ++steps_;
    for (const TableRows& rows : step.rows) {
      ids_[rows.table].insert(rows.ids.begin(), rows.ids.end());
      asked_[rows.table] += static_cast<double>(rows.ids.size());
    }
  }

  std::vector<TableUse> Result(const std::vector<TableDefinition>& tables) const {
    std::vector<TableUse> uses;
    for (size_t i = 0; i < tables.size(); ++i) {
      uses.push_back({.name = std::string(tables[i].model_name()),
                      .dim = tables[i].dim,
                      .state = StateWidth(tables[i].optimizer.kind, tables[i].dim),
                      .rows = static_cast<double>(ids_[i].size()),
                      .rows_per_step = asked_[i] / std::max(1.0, steps_)});
    }
    return uses;
  }

 private:
  std::vector<absl::flat_hash_set<Id>> ids_;
  std::vector<double> asked_;
  double steps_ = 0;
};

void Fill(Step& step, std::mt19937& random) {
  std::uniform_real_distribution<float> values(-0.05F, 0.05F);
  for (TableRows& rows : step.rows) {
    rows.values.resize(rows.ids.size() * rows.dim);
    for (float& value : rows.values) value = values(random);
  }
}

}  // namespace

absl::StatusOr<StepCost> MeasureStepCost(const TrialConfig& config, const Dataset& data, const Split& split, double seconds) {
  absl::StatusOr<std::unique_ptr<Model>> made = MakeModel(config, data, split, "cpu");
  if (!made.ok()) return made.status();
  Model& model = **made;
  TrainingOrder order(data, split, config.seed, model.users_together());
  UseOfTables use(model.tables());
  std::mt19937 random(1);
  std::vector<double> times;
  const uint64_t batch = static_cast<uint64_t>(config.model.batch_size);
  const double end = Now() + seconds;
  const uint64_t examples = split.train.size();
  for (uint64_t begin = 0; begin < examples; begin += batch) {
    const double plan_begin = Now();
    absl::StatusOr<std::unique_ptr<Step>> step =
        model.Plan(order.Range(0, begin, std::min(begin + batch, examples)), 0, begin / batch);
    if (!step.ok()) return step.status();
    const double planned = Now() - plan_begin;
    use.Add(**step);
    if (times.size() >= kWarmUp + kLeastSteps && Now() > end) continue;  // the rest of the epoch is counted only
    if (begin + batch > examples && !times.empty()) continue;            // a smaller batch would look cheaper
    Fill(**step, random);
    const double compute_begin = Now();
    if (absl::StatusOr<double> loss = model.Compute(**step); !loss.ok()) return loss.status();
    times.push_back(planned + Now() - compute_begin);
  }
  times.erase(times.begin(), times.begin() + static_cast<std::ptrdiff_t>(std::min(kWarmUp, times.size() - 1)));
  std::sort(times.begin(), times.end());
  return StepCost{.name = config.name,
                  .examples = static_cast<double>(std::min(batch, examples)),
                  .seconds = times[times.size() / 2],
                  .busy_seconds = 0,
                  .tables = use.Result(model.tables())};
}

absl::Status ComputeSteps(const TrialConfig& config, const Dataset& data, const Split& split, const std::function<void()>& warm,
                          const std::function<bool()>& go_on) {
  absl::StatusOr<std::unique_ptr<Model>> model = MakeModel(config, data, split, "cpu");
  if (!model.ok()) return model.status();
  TrainingOrder order(data, split, config.seed, (*model)->users_together());
  std::mt19937 random(1);
  const uint64_t batch = std::min<uint64_t>(static_cast<uint64_t>(config.model.batch_size), split.train.size());
  const uint64_t steps = split.train.size() / batch;
  for (uint64_t done = 0; done < kWarmUp || go_on(); ++done) {
    const uint64_t number = done % steps;
    absl::StatusOr<std::unique_ptr<Step>> step =
        (*model)->Plan(order.Range(0, number * batch, (number + 1) * batch), 0, number);
    if (!step.ok()) return step.status();
    Fill(**step, random);
    if (absl::StatusOr<double> loss = (*model)->Compute(**step); !loss.ok()) return loss.status();
    if (done + 1 == kWarmUp) warm();
  }
  return absl::OkStatus();
}

}  // namespace marquee
