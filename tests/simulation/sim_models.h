#ifndef MARQUEE_TESTS_SIMULATION_SIM_MODELS_H_
#define MARQUEE_TESTS_SIMULATION_SIM_MODELS_H_

// Kept models in memory, by the name of their trial; `start_from` names one. Outlives schedulers, as a disk does.

#include <fmt/format.h>

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "scheduler/model_store.h"

namespace marquee::simulation {

class SimModels : public ModelStore {
 public:
  struct Table {
    std::string name;
    TableNumber number = 0;
    uint32_t dim = 0;
    std::map<Id, std::vector<float>> rows;
  };
  struct Model {
    TrialResult result;
    std::vector<Table> tables;
  };

  absl::StatusOr<std::unique_ptr<ModelWriter>> Create(const std::string& trial) override {
    models.erase(trial);
    return std::make_unique<Writer>(*this, trial);
  }
  absl::Status Remove(const std::string& trial) override {
    models.erase(trial);
    return absl::OkStatus();
  }
  absl::StatusOr<std::unique_ptr<ModelReader>> Open(const std::string& model) override {
    const auto found = models.find(model);
    if (found == models.end()) return absl::NotFoundError(fmt::format("no model '{}'", model));
    return std::make_unique<Reader>(found->second);
  }

  std::map<std::string, Model> models;

 private:
  class Writer : public ModelWriter {
   public:
    Writer(SimModels& store, std::string trial) : store_(store), trial_(std::move(trial)) {}
    absl::Status BeginTable(const TableDefinition& table) override {
      model_.tables.push_back({.name = std::string(table.model_name()), .number = table.number, .dim = table.dim, .rows = {}});
      return absl::OkStatus();
    }
    absl::Status AddRows(absl::Span<const Id> ids, absl::Span<const float> weights) override {
      Table& table = model_.tables.back();
      for (size_t i = 0; i < ids.size(); ++i) {
        const auto row = weights.subspan(i * table.dim, table.dim);
        if (table.rows.emplace(ids[i], std::vector<float>(row.begin(), row.end())).second) continue;
        return absl::InternalError(fmt::format("row {:x} of {} was kept twice", ids[i], table.name));
      }
      return absl::OkStatus();
    }
    absl::Status Finish(const TrialConfig&, const TrialResult& result) override {
      model_.result = result;
      store_.models[trial_] = std::move(model_);
      return absl::OkStatus();
    }

   private:
    SimModels& store_;
    std::string trial_;
    Model model_;
  };

  class Reader : public ModelReader {
   public:
    explicit Reader(const Model& model) : model_(model) {
      for (const SimModels::Table& table : model.tables) {
        tables_.push_back({.name = table.name, .dim = table.dim, .rows = table.rows.size()});
      }
    }
    const std::vector<Table>& tables() const override { return tables_; }
    absl::Status Read(size_t table, uint64_t limit, std::vector<Id>* ids, std::vector<float>* weights) override {
      if (table != table_) read_ = 0;
      table_ = table;
      const auto& rows = model_.tables[table].rows;
      auto row = rows.begin();
      std::advance(row, read_);
      for (; row != rows.end() && limit > 0; ++row, --limit, ++read_) {
        ids->push_back(row->first);
        weights->insert(weights->end(), row->second.begin(), row->second.end());
      }
      return absl::OkStatus();
    }

   private:
    Model model_;
    std::vector<Table> tables_;
    size_t table_ = 0;
    size_t read_ = 0;
  };
};

}  // namespace marquee::simulation

#endif  // MARQUEE_TESTS_SIMULATION_SIM_MODELS_H_
