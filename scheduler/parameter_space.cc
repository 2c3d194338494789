#include "scheduler/parameter_space.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <utility>

#include "common/id.h"
#include "dataset/random.h"

namespace marquee {
namespace {

using Distribution = Parameter::Distribution;

constexpr double kMost = 1e15;       // whole numbers up to here are exact
constexpr int kMostRepeated = 1000;  // draws one after the other that bring nothing new: the space is used up

const ConfigWords<Distribution>& Distributions() {
  static const ConfigWords<Distribution> words = {{"categorical", Distribution::kValues},
                                                  {"constant", Distribution::kValues},
                                                  {"uniform", Distribution::kUniform},
                                                  {"int_uniform", Distribution::kIntUniform},
                                                  {"log_uniform_values", Distribution::kLogUniform}};
  return words;
}

bool IsWhole(double value) { return value == std::floor(value); }

bool LooksWhole(const YAML::Node& node) {
  return node.IsScalar() && node.Scalar().find_first_not_of("-0123456789") == std::string::npos;
}

void ReadValues(ConfigSection& section, Parameter* parameter) {
  const auto add = [parameter](const YAML::Node& value) {
    parameter->values.push_back({.path = parameter->path, .value = value, .where = parameter->where, .line = parameter->line});
  };
  if (section.Has("value")) {
    if (section.Has("values")) section.Refuse("value", "must be left out where there are 'values'");
    return add(section.node("value"));
  }
  const YAML::Node list = section.node("values");
  if (list.IsSequence()) std::for_each(list.begin(), list.end(), add);
  if (parameter->values.empty()) section.Refuse("values", "must be a list of at least one value");
}

void ReadRange(ConfigSection& section, Parameter* parameter) {
  section.Require("min", "the least value");
  section.Require("max", "the largest value");
  section.Read("min", &parameter->min, -kMost, kMost);
  section.Read("max", &parameter->max, -kMost, kMost);
  if (section.Has("values") || section.Has("value")) section.Refuse("distribution", "must have 'min' and 'max' and no values");
  if (parameter->min > parameter->max) section.Refuse("max", fmt::format("must be at least min, which is {}", parameter->min));
  if (parameter->distribution == Distribution::kLogUniform && parameter->min <= 0) {
    section.Refuse("min", "must be above 0: its logarithm is taken");
  }
  if (parameter->distribution == Distribution::kIntUniform && !(IsWhole(parameter->min) && IsWhole(parameter->max))) {
    section.Fail("must have whole numbers for 'min' and 'max' with int_uniform");
  }
}

Parameter ReadParameter(ConfigSection section, std::string path) {
  Parameter parameter{.path = std::move(path), .values = {}, .where = section.path(), .line = section.line()};
  if (parameter.path == "lr") parameter.path = "optimizer.learning_rate";
  const bool range = section.Has("min") || section.Has("max");
  if (range) {
    const bool whole = LooksWhole(section.node("min")) && LooksWhole(section.node("max"));
    parameter.distribution = whole ? Distribution::kIntUniform : Distribution::kUniform;
  } else if (!section.Has("value") && !section.Has("distribution")) {
    section.Require("values", "a list of the values to try (or 'min' and 'max', or a 'distribution')");
  }
  section.Read("distribution", &parameter.distribution, Distributions());
  if (parameter.distribution != Distribution::kValues) {
    ReadRange(section, &parameter);
  } else {
    if (range)
      section.Refuse("distribution", "must be uniform, int_uniform or log_uniform_values where there are 'min' and 'max'");
    ReadValues(section, &parameter);
  }
  section.Finish();
  return parameter;
}

// A number with six digits, which is enough for a search and short in a name; with all of them where six would leave the range.
std::string Shown(double value, const Parameter& parameter) {
  std::string text = fmt::format("{:.6g}", value);
  const double rounded = std::stod(text);
  return rounded < parameter.min || rounded > parameter.max ? fmt::format("{}", value) : text;
}

// `uniform` is in (0, 1).
ModelOverride ValueAt(const Parameter& parameter, double uniform) {
  const double width = parameter.max - parameter.min;
  std::string text;
  switch (parameter.distribution) {
    case Distribution::kValues:
      return parameter.values[static_cast<size_t>(uniform * static_cast<double>(parameter.values.size()))];
    case Distribution::kUniform:
      text = Shown(parameter.min + uniform * width, parameter);
      break;
    case Distribution::kIntUniform:
      text = fmt::format("{:.0f}", parameter.min + std::floor(uniform * (width + 1)));
      break;
    case Distribution::kLogUniform:
      text =
          Shown(std::exp(std::log(parameter.min) + uniform * (std::log(parameter.max) - std::log(parameter.min))), parameter);
      break;
  }
  return {.path = parameter.path, .value = YAML::Node(text), .where = parameter.where, .line = parameter.line};
}

std::string TextOf(const std::vector<ModelOverride>& combination) {
  std::string text;
  for (const ModelOverride& value : combination) text += VariantSuffix(value, true) + "\n";
  return text;
}

}  // namespace

std::vector<Parameter> ReadParameters(ConfigSection section) {
  std::vector<Parameter> parameters;
  for (const std::string& path : section.keys()) {
    parameters.push_back(ReadParameter(section.Section(path), path));
    const auto twin = std::find_if(parameters.begin(), parameters.end() - 1,
                                   [&](const Parameter& other) { return other.path == parameters.back().path; });
    if (twin != parameters.end() - 1) section.Refuse(path, fmt::format("must be left out: '{}' says the same", twin->where));
  }
  return parameters;
}

std::vector<std::vector<ModelOverride>> Grid(const std::vector<Parameter>& parameters, size_t most) {
  std::vector<std::vector<ModelOverride>> combinations(1);
  for (const Parameter& parameter : parameters) {
    std::vector<std::vector<ModelOverride>> longer;
    for (const auto& combination : combinations) {
      for (const ModelOverride& value : parameter.values) {
        if (longer.size() == most) break;
        longer.push_back(combination);
        longer.back().push_back(value);
      }
    }
    combinations = std::move(longer);
  }
  return combinations;
}

std::vector<std::vector<ModelOverride>> Draws(const std::vector<Parameter>& parameters, uint64_t seed, const std::string& salt,
                                              size_t count) {
  std::vector<std::vector<ModelOverride>> combinations;
  std::set<std::string> drawn;
  int repeated = 0;
  for (uint64_t draw = 0; combinations.size() < count && repeated < kMostRepeated; ++draw) {
    std::vector<ModelOverride> combination;
    for (const Parameter& parameter : parameters) {
      Random random(FeatureId(fmt::format("{}/{}", salt, parameter.path), fmt::format("{}/{}", seed, draw)));
      combination.push_back(ValueAt(parameter, random.Uniform()));
    }
    repeated = drawn.insert(TextOf(combination)).second ? 0 : repeated + 1;
    if (repeated == 0) combinations.push_back(std::move(combination));
  }
  return combinations;
}

}  // namespace marquee
