// Runs seeds of the simulation: bin/simulate --seeds 1..2000 [--bug NAME] [--trace]

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <string>

#include "tests/simulation/scenario.h"
#include "tests/simulation/tamper.h"

namespace marquee::simulation {
namespace {

struct Arguments {
  uint64_t first = 1;
  uint64_t last = 2000;
  const PlantedBug* bug = nullptr;
  bool trace = false;
};

bool ParseSeeds(const std::string& text, Arguments& arguments) {
  const int read = std::sscanf(text.c_str(), "%lu..%lu", &arguments.first, &arguments.last);
  if (read == 1) arguments.last = arguments.first;
  return read >= 1 && arguments.first <= arguments.last;
}

void Report(const Outcome& outcome, uint64_t seed, bool trace) {
  fmt::print("{}", outcome.scenario);
  for (const std::string& line : outcome.trace) fmt::print("{}\n", line);
  if (!outcome.violation.empty()) fmt::print("seed {} FAILED {}\n", seed, outcome.violation);
  if (!outcome.violation.empty() && !trace) fmt::print("replay: {}\n", ReplayCommand(seed));
}

int RunSeeds(const Arguments& arguments) {
  uint64_t failed = 0;
  Outcome total;
  for (uint64_t seed = arguments.first; seed <= arguments.last; ++seed) {
    const Outcome outcome = Simulate(Scenario::FromSeed(seed, arguments.bug), arguments.bug, arguments.trace);
    if (!outcome.violation.empty() || arguments.trace) Report(outcome, seed, arguments.trace);
    failed += outcome.violation.empty() ? 0 : 1;
    total.Add(outcome);
  }
  fmt::print("seeds {}..{}: {} failed; {}\n", arguments.first, arguments.last, failed, total.Totals());
  return failed == 0 ? 0 : 1;
}

}  // namespace
}  // namespace marquee::simulation

int main(int argc, char** argv) {
  using marquee::simulation::PlantedBugs;
  CLI::App app("Runs the simulated cluster once for each seed");
  std::string seeds = "1..2000";
  std::string bug;
  marquee::simulation::Arguments arguments;
  app.add_option("--seeds", seeds, "A..B, or one seed");
  app.add_option("--bug", bug, "plants a bug that the run should find");
  app.add_flag("--trace", arguments.trace, "prints every message");
  CLI11_PARSE(app, argc, argv);
  if (!marquee::simulation::ParseSeeds(seeds, arguments)) {
    fmt::print(stderr, "--seeds {}: must be A..B with A <= B\n", seeds);
    return 2;
  }
  for (const auto& planted : PlantedBugs()) {
    if (planted.name == bug) arguments.bug = &planted;
  }
  if (!bug.empty() && arguments.bug == nullptr) {
    fmt::print(stderr, "--bug {}: must be one of", bug);
    for (const auto& planted : PlantedBugs()) fmt::print(stderr, " {}", planted.name);
    fmt::print(stderr, "\n");
    return 2;
  }
  return marquee::simulation::RunSeeds(arguments);
}
