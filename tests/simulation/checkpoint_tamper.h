#ifndef MARQUEE_TESTS_SIMULATION_CHECKPOINT_TAMPER_H_
#define MARQUEE_TESTS_SIMULATION_CHECKPOINT_TAMPER_H_

// Planted bugs of checkpoints: of what a shard cuts, writes and restores, and of what is flushed when.

#include <vector>

#include "tests/simulation/tamper.h"

namespace marquee::simulation {

std::vector<PlantedBug> CheckpointBugs();

}  // namespace marquee::simulation

#endif  // MARQUEE_TESTS_SIMULATION_CHECKPOINT_TAMPER_H_
