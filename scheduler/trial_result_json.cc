#include "scheduler/trial_result_json.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

namespace marquee {

std::string ToJson(const TrialResult& result) {
  nlohmann::json validations = nlohmann::json::array();
  for (const auto& [epoch, metrics] : result.validations) validations.push_back({{"epoch", epoch}, {"metrics", metrics}});
  return nlohmann::json({{"validation", result.validation},
                         {"test", result.test},
                         {"epoch_losses", result.epoch_losses},
                         {"seconds", result.seconds},
                         {"examples_per_second", result.examples_per_second},
                         {"examples", result.examples},
                         {"repeated_examples", result.repeated_examples},
                         {"validations", validations},
                         {"epochs", result.epochs},
                         {"stopped", result.stopped},
                         {"kept", result.kept}})
      .dump();
}

absl::StatusOr<TrialResult> TrialResultFromJson(const std::string& text) {
  try {
    const nlohmann::json json = nlohmann::json::parse(text);
    TrialResult result;
    json.at("validation").get_to(result.validation);
    json.at("test").get_to(result.test);
    json.at("epoch_losses").get_to(result.epoch_losses);
    json.at("seconds").get_to(result.seconds);
    json.at("examples_per_second").get_to(result.examples_per_second);
    json.at("examples").get_to(result.examples);
    json.at("repeated_examples").get_to(result.repeated_examples);
    for (const auto& validation : json.at("validations")) {
      result.validations.push_back({.epoch = validation.at("epoch"), .metrics = validation.at("metrics")});
    }
    json.at("epochs").get_to(result.epochs);
    json.at("stopped").get_to(result.stopped);
    json.at("kept").get_to(result.kept);
    return result;
  } catch (const nlohmann::json::exception& exception) {
    return absl::InvalidArgumentError(fmt::format("a trial's result cannot be read: {}", exception.what()));
  }
}

}  // namespace marquee
