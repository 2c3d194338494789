#ifndef MARQUEE_SCHEDULER_LAUNCH_LOCAL_H_
#define MARQUEE_SCHEDULER_LAUNCH_LOCAL_H_

// launcher: local. Every process is a child of the scheduler.

#include "scheduler/launch_engine.h"

namespace marquee {

class LocalEngine : public LaunchEngine {
 public:
  LaunchCommand CommandFor(const ProcessPlan& plan) override;
  LaunchEnd Judge(const ProcessPlan& plan, const ProcessEnd& end) override;
};

}  // namespace marquee

#endif  // MARQUEE_SCHEDULER_LAUNCH_LOCAL_H_
