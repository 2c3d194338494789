#ifndef MARQUEE_COMMON_TRIAL_CONFIG_YAML_H_
#define MARQUEE_COMMON_TRIAL_CONFIG_YAML_H_

// The parts of a trial's YAML form, for files that hold them in other places than a trial does: a sweep file's `models` and
// `sweep` sections. Each reads one section to its end (ConfigSection::Finish included) and leaves errors in its document.

#include "common/config.h"
#include "common/trial_config.h"

namespace marquee {

void ReadModel(ConfigSection section, ModelConfig* model);
// A trial's `data` section has the split's seed under another word than a sweep's `split` section.
void ReadSplit(ConfigSection section, SplitConfig* split, std::string_view seed_key = "split_seed");
void ReadValidation(ConfigSection section, ValidationConfig* validation);
void ReadConsistency(ConfigSection section, ConsistencyConfig* consistency);

// Refuses the value of `key` unless it may be a trial's name: 1 to 200 letters, digits, and any of "._-=+,", no dot in front.
void CheckTrialName(ConfigSection& section, std::string_view key, std::string_view name);

}  // namespace marquee

#endif  // MARQUEE_COMMON_TRIAL_CONFIG_YAML_H_
