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

// How the loss of a server goes in clusters of growing size.
int RunScale() {
  fmt::print(
      "One server is killed; the scheduler's lease is 3 s, the primary's 2 s.\n"
      "servers  workers  partitions  copies serve after  two copies after  messages meanwhile  sessions lost\n");
  for (const auto& [servers, workers] : {std::pair{4U, 10U}, {20U, 50U}, {50U, 125U}, {200U, 500U}}) {
    const Scenario scenario = Scenario::LossIn(servers, workers);
    const Outcome outcome = Simulate(scenario);
    fmt::print("{:7}  {:7}  {:10}  {:16.2f} s  {:14.2f} s  {:18}  {:13}\n", servers, workers, scenario.coordinator.partitions,
               outcome.promoted_seconds, outcome.whole_seconds, outcome.recovery_messages, outcome.sessions_lost);
    std::fflush(stdout);
    if (outcome.violation.empty()) continue;
    fmt::print("FAILED {}\n", outcome.violation);
    return 1;
  }
  return 0;
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
  bool scale = false;
  app.add_flag("--scale", scale, "the loss of one server in clusters of up to 200 servers and 500 workers, instead of seeds");
  app.add_flag("--trace", arguments.trace, "prints every message");
  CLI11_PARSE(app, argc, argv);
  if (scale) return marquee::simulation::RunScale();
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
