#include "scheduler/trial_state.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

namespace marquee {

std::string TrialState::ToJson() const {
  nlohmann::json json;
  json["tables"] = nlohmann::json::array();
  for (const Table& table : tables) json["tables"].push_back({table.number, table.name, table.dim});
  json["examples"] = chunks.examples;
  json["chunk_size"] = chunks.chunk_size;
  json["fresh"] = chunks.fresh;
  json["released"] = nlohmann::json::array();
  for (const auto& [chunk, next] : chunks.released) json["released"].push_back({chunk, next});
  json["trained_by_epoch"] = chunks.trained_by_epoch;
  json["finished"] = chunks.finished;
  json["trained_epochs"] = trained_epochs;
  json["losses"] = losses;
  json["validations"] = nlohmann::json::array();
  for (const TrialResult::Validation& validation : validations) {
    json["validations"].push_back({{"epoch", validation.epoch}, {"metrics", validation.metrics}});
  }
  json["repeated_examples"] = repeated_examples;
  json["seconds"] = seconds;
  json["trained_seconds"] = trained_seconds;
  return json.dump();
}

absl::StatusOr<TrialState> TrialState::FromJson(const std::string& text) {
  const auto json = nlohmann::json::parse(text, nullptr, false);
  try {
    TrialState state;
    for (const auto& table : json.at("tables")) {
      state.tables.push_back({.number = table.at(0).get<TableNumber>(),
                              .name = table.at(1).get<std::string>(),
                              .dim = table.at(2).get<uint32_t>()});
    }
    state.chunks.examples = json.at("examples").get<uint64_t>();
    state.chunks.chunk_size = json.at("chunk_size").get<uint64_t>();
    state.chunks.fresh = json.at("fresh").get<std::vector<uint64_t>>();
    for (const auto& chunk : json.at("released"))
      state.chunks.released[chunk.at(0).get<uint64_t>()] = chunk.at(1).get<uint64_t>();
    state.chunks.trained_by_epoch = json.at("trained_by_epoch").get<std::vector<uint64_t>>();
    state.chunks.finished = json.at("finished").get<uint64_t>();
    state.trained_epochs = json.at("trained_epochs").get<uint32_t>();
    state.losses = json.at("losses").get<std::vector<std::pair<double, double>>>();
    for (const auto& validation : json.at("validations")) {
      state.validations.push_back({.epoch = validation.at("epoch").get<uint32_t>(),
                                   .metrics = validation.at("metrics").get<std::map<std::string, double>>()});
    }
    state.repeated_examples = json.at("repeated_examples").get<uint64_t>();
    state.seconds = json.at("seconds").get<double>();
    state.trained_seconds = json.at("trained_seconds").get<double>();
    return state;
  } catch (const nlohmann::json::exception& error) {
    return absl::DataLossError(fmt::format("the trial's state in the checkpoint: {}", error.what()));
  }
}

}  // namespace marquee
