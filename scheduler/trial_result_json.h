#ifndef MARQUEE_SCHEDULER_TRIAL_RESULT_JSON_H_
#define MARQUEE_SCHEDULER_TRIAL_RESULT_JSON_H_

// A trial's result as JSON, as the state keeps it.

#include <string>

#include "absl/status/statusor.h"
#include "scheduler/coordinator.h"

namespace marquee {

std::string ToJson(const TrialResult& result);
// InvalidArgument for anything that ToJson did not write.
absl::StatusOr<TrialResult> TrialResultFromJson(const std::string& text);

}  // namespace marquee

#endif  // MARQUEE_SCHEDULER_TRIAL_RESULT_JSON_H_
