#include "common/machine_constants.h"

#include <fmt/format.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "common/id.h"

namespace marquee {
namespace {

using Json = nlohmann::ordered_json;

Json ToJson(const OperationCost& cost) {
  return {{"request_us", cost.request * 1e6}, {"row_ns", cost.row * 1e9}, {"value_ns", cost.value * 1e9}};
}

OperationCost CostOf(const Json& json) {
  return {.request = json.at("request_us").get<double>() / 1e6,
          .row = json.at("row_ns").get<double>() / 1e9,
          .value = json.at("value_ns").get<double>() / 1e9};
}

Json ToJson(const StepCost& step) {
  Json json = {{"name", step.name},
               {"examples", step.examples},
               {"seconds", step.seconds},
               {"busy_seconds", step.busy_seconds},
               {"tables", Json::array()}};
  for (const TableUse& table : step.tables) {
    json["tables"].push_back({{"name", table.name},
                              {"dim", table.dim},
                              {"state", table.state},
                              {"rows", table.rows},
                              {"rows_per_step", table.rows_per_step}});
  }
  return json;
}

StepCost StepOf(const Json& json) {
  StepCost step{
      .name = json.at("name"), .examples = json.at("examples"), .seconds = json.at("seconds"), .busy_seconds = 0, .tables = {}};
  step.busy_seconds = json.value("busy_seconds", step.seconds);  // older files have steps that were measured alone only
  for (const Json& table : json.at("tables")) {
    step.tables.push_back({.name = table.at("name"),
                           .dim = table.at("dim"),
                           .state = table.at("state"),
                           .rows = table.at("rows"),
                           .rows_per_step = table.at("rows_per_step")});
  }
  return step;
}

constexpr std::pair<const char*, OperationCost MachineConstants::*> kOperations[] = {
    {"shard_pull", &MachineConstants::shard_pull},   {"shard_push", &MachineConstants::shard_push},
    {"copy_push", &MachineConstants::copy_push},     {"client_pull", &MachineConstants::client_pull},
    {"client_push", &MachineConstants::client_push}, {"io_pull", &MachineConstants::io_pull},
    {"io_push", &MachineConstants::io_push},
};

}  // namespace

absl::StatusOr<MachineConstants> MachineConstants::Load(const std::string& path) {
  MachineConstants constants;
  std::ifstream file(path);
  if (!file) {
    if (!std::filesystem::exists(path)) return constants;
    return absl::UnavailableError(fmt::format("{}: cannot be read", path));
  }
  try {
    const Json json = Json::parse(file);
    constants.cores = json.at("cores");
    constants.row_overhead_bytes = json.at("row_overhead_bytes");
    for (const auto& [name, cost] : kOperations) constants.*cost = CostOf(json.at(name));
    for (const auto& [key, step] : json.at("steps").items()) constants.steps[key] = StepOf(step);
  } catch (const nlohmann::json::exception& error) {
    return absl::DataLossError(
        fmt::format("{}: not a file of constants as `ps_bench --store` writes it: {}", path, error.what()));
  }
  return constants;
}

absl::Status MachineConstants::Save(const std::string& path) const {
  Json json = {{"cores", cores}, {"row_overhead_bytes", row_overhead_bytes}};
  for (const auto& [name, cost] : kOperations) json[name] = ToJson(this->*cost);
  json["steps"] = Json::object();
  for (const auto& [key, step] : steps) json["steps"][key] = ToJson(step);
  std::ofstream file(path, std::ios::trunc);
  file << json.dump(2) << '\n';
  file.close();
  if (file) return absl::OkStatus();
  return absl::UnavailableError(fmt::format("{}: cannot be written", path));
}

std::string StepKey(const TrialConfig& config) {
  TrialConfig same;
  same.split = config.split;
  same.split.seed = 0;
  same.model = config.model;
  same.model.epochs = 1;
  same.model.optimizer.learning_rate = 1;
  same.model.dense_optimizer.learning_rate = 1;
  return fmt::format("{:016x}", FeatureId("step", ToYaml(same)));
}

}  // namespace marquee
