#ifndef MARQUEE_SCHEDULER_REPORT_H_
#define MARQUEE_SCHEDULER_REPORT_H_

// A finished sweep as one page for people (common/page.h): the leaderboard beside baselines and figures of others, learning
// curves, what the parameters did, what cross layers have learnt, movies for a few users, data and split, speed, and the exact
// configurations. What a sweep does not have, the page does not mention: without curves, parameters that differ, or a kept
// DCN-v2 there are no charts of them. Pure; the same sources make the same page.

#include <string>
#include <vector>

#include "scheduler/coordinator.h"
#include "scheduler/examples.h"
#include "scheduler/feature_interactions.h"
#include "scheduler/leaderboard.h"

namespace marquee {

struct ReportSources {
  std::string name;  // of the sweep
  std::vector<FeatureInteractions> interactions = {};
  std::vector<Examples> examples = {};            // of kept models
  std::vector<Coordinator::Member> members = {};  // none: the sweep was over before this start of the scheduler
  Coordinator::Counters counters = {};            // of this start
};

// HTML.
std::string ReportPage(const Leaderboard& board, const ReportSources& sources);

}  // namespace marquee

#endif  // MARQUEE_SCHEDULER_REPORT_H_
