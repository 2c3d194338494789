#ifndef MARQUEE_TESTS_SIMULATION_DRAW_CHECKPOINTS_H_
#define MARQUEE_TESTS_SIMULATION_DRAW_CHECKPOINTS_H_

// Adds checkpoints to a scenario: to one in three, or always. Everything else of the scenario stays as it was drawn, but that
// more servers and schedulers die.

#include <cstdint>

#include "tests/simulation/scenario.h"

namespace marquee::simulation {

void DrawCheckpoints(uint64_t seed, bool always, Scenario& scenario);

}  // namespace marquee::simulation

#endif  // MARQUEE_TESTS_SIMULATION_DRAW_CHECKPOINTS_H_
