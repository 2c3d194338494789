#include "tests/simulation/tamper.h"
namespace marquee::simulation {
const std::vector<PlantedBug>& PlantedBugs() {
  static const std::vector<PlantedBug> bugs;
  return bugs;
}
}  // namespace marquee::simulation
