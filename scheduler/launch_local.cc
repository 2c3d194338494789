#include "scheduler/launch_local.h"

namespace marquee {

LaunchCommand LocalEngine::CommandFor(const ProcessPlan& plan) {
  return LaunchCommand{
      .program = plan.program, .arguments = plan.arguments, .environment = ThreadVariables(plan.threads), .lifeline = false};
}

LaunchEnd LocalEngine::Judge(const ProcessPlan&, const ProcessEnd&) { return {}; }

}  // namespace marquee
