#ifndef MARQUEE_SCHEDULER_PARAMETER_SPACE_H_
#define MARQUEE_SCHEDULER_PARAMETER_SPACE_H_

// The `parameters` of a sweep: which values a search may give to which path of a model. The words are those of Weights &
// Biases' sweep files:
//
//     dim: {values: [16, 32]}                                                        # one of these
//     bias: {value: true}                                                            # just this one
//     optimizer.learning_rate: {distribution: log_uniform_values, min: 1e-4, max: 1}  # the logarithm is uniform
//     tower.dropout: {distribution: uniform, min: 0, max: 0.5}                        # or without `distribution`
//     query.layers: ...                                                               # any value, lists too, under `values`
//     epochs: {distribution: int_uniform, min: 3, max: 9}                             # both ends included; likewise
//
// `lr` is short for `optimizer.learning_rate`.

#include <cstdint>
#include <string>
#include <vector>

#include "common/config.h"
#include "scheduler/model_variant.h"

namespace marquee {

struct Parameter {
  enum class Distribution { kValues, kUniform, kIntUniform, kLogUniform };
  std::string path;
  Distribution distribution = Distribution::kValues;
  std::vector<ModelOverride> values;  // kValues: at least one
  double min = 0;                     // the others
  double max = 0;
  std::string where;  // the key that says so: "sweep.parameters.dim"
  int line = 0;
};

// One parameter for each key of the section.
std::vector<Parameter> ReadParameters(ConfigSection section);

// Every combination of the parameters' values, the last one's changing fastest. All must be of kind kValues. Stops after
// `most`.
std::vector<std::vector<ModelOverride>> Grid(const std::vector<Parameter>& parameters, size_t most);

// The first `count` distinct combinations of a random sequence, which follows from the seed and the salt alone; fewer if the
// parameters have no more. What one parameter draws does not depend on the others.
std::vector<std::vector<ModelOverride>> Draws(const std::vector<Parameter>& parameters, uint64_t seed, const std::string& salt,
                                              size_t count);

}  // namespace marquee

#endif  // MARQUEE_SCHEDULER_PARAMETER_SPACE_H_
