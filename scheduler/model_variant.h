#ifndef MARQUEE_SCHEDULER_MODEL_VARIANT_H_
#define MARQUEE_SCHEDULER_MODEL_VARIANT_H_

// A model with some of its values replaced, as sweeps make them: `optimizer.learning_rate` with 0.01.

#include <yaml-cpp/yaml.h>

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/trial_config.h"

namespace marquee {

struct ModelOverride {
  std::string path;   // dotted, into the model
  YAML::Node value;   // from the sweep file
  std::string where;  // the key that says so, for errors: "sweep.parameters.dim"
  int line = 0;       // its line, for values that have none of their own
};

// Parses `base` with the overrides in place. `base` alone must be a correct model. An error says which override is wrong, at
// its line of `label`, or, when only their combination is, stands at `line`.
absl::StatusOr<ModelConfig> ParseVariant(const YAML::Node& base, const std::vector<ModelOverride>& overrides,
                                         const std::string& label, int line);

// What a name shows of an override: "learning_rate=0.01", or with the whole path.
std::string VariantSuffix(const ModelOverride& override, bool whole_path);

}  // namespace marquee

#endif  // MARQUEE_SCHEDULER_MODEL_VARIANT_H_
