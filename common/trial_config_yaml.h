#ifndef MARQUEE_COMMON_TRIAL_CONFIG_YAML_H_
#define MARQUEE_COMMON_TRIAL_CONFIG_YAML_H_

// The parts of a trial's YAML form, for files that hold them in other places than a trial does: a sweep file's `models` and
// `sweep` sections; and what else of that form is not for everybody. Each reader takes one section to its end
// (ConfigSection::Finish included) and leaves errors in its document.

#include <string>

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

// The text of a trial as this program writes it (ToYaml): one of an older marquee lacks what is new, and gets its default. As
// given if it cannot be read.
std::string Rewritten(const std::string& yaml);

}  // namespace marquee

#endif  // MARQUEE_COMMON_TRIAL_CONFIG_YAML_H_
