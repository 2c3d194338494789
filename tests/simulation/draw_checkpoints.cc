#include "tests/simulation/draw_checkpoints.h"

#include <fmt/format.h>

#include <algorithm>

#include "tests/simulation/random.h"

namespace marquee::simulation {
namespace {

using Body = wire::Envelope::Body;

class Drawing {
 public:
  Drawing(uint64_t seed, Scenario& scenario)
      : random_(seed ^ 0xc4ec'4901), scenario_(scenario), checkpoints_(scenario.checkpoints.emplace()) {}

  void Draw() {
    CoordinatorOptions& options = scenario_.coordinator;
    options.checkpoint_every = absl::Milliseconds(random_.Between(50, 2000));
    options.checkpoint_full_every = static_cast<uint32_t>(random_.Between(1, 5));
    checkpoints_.keep = static_cast<uint32_t>(random_.Between(1, 3));
    checkpoints_.room = random_.Between(1, 6);
    for (const Scenario::Pause& pause : scenario_.pauses) {
      if (pause.name == "scheduler") checkpoints_.scheduler_pauses += pause.until - pause.from;
    }
    if (!random_.OneIn(4)) DrawDisk();
    if (random_.OneIn(2)) DrawDeaths();
  }

 private:
  absl::Time Time() {
    const absl::Duration most = std::max<absl::Duration>(absl::Seconds(5), scenario_.network.until - absl::UnixEpoch());
    return absl::UnixEpoch() + random_.Between(absl::ZeroDuration(), most);
  }
  std::string Server() { return fmt::format("s{}", random_.Below(scenario_.servers)); }
  std::string ServerOrScheduler() { return random_.OneIn(3) ? "scheduler" : Server(); }
  absl::Duration Down() { return absl::Milliseconds(random_.Between(1, 6000)); }

  void DrawDisk() {
    DiskFaults& disk = checkpoints_.disk;
    disk.until = std::max(absl::UnixEpoch() + absl::Seconds(5), scenario_.network.until);
    const auto rate = [&](uint64_t most_percent) { return static_cast<double>(random_.Below(most_percent + 1)) / 100; };
    if (random_.OneIn(3)) disk.fails = rate(4);
    if (random_.OneIn(4)) disk.fails_renaming = rate(30);
    if (random_.OneIn(2)) disk.slowest = absl::Milliseconds(random_.Between(1, random_.OneIn(4) ? 500 : 30));
    if (random_.OneIn(2)) disk.loses_power = rate(100);
    if (random_.OneIn(3)) {
      for (uint64_t n = random_.Between(1, 4); n > 0; --n) disk.flips.push_back(Time());
    }
    if (random_.OneIn(4)) disk.full.push_back(Window(random_.OneIn(2) ? "" : ServerOrScheduler(), 4000));
    if (random_.OneIn(4)) {
      disk.unreadable.push_back(Window(random_.OneIn(2) ? "" : ServerOrScheduler(), 4000));
      DiskFaults::Window& window = disk.unreadable.back();
      window.unmounted = window.machine[0] == 's' && window.machine != "scheduler" && random_.OneIn(2);
    }
  }

  DiskFaults::Window Window(std::string machine, uint64_t most_milliseconds) {
    const absl::Time from = Time();
    const absl::Time until = from + absl::Milliseconds(random_.Between(10, most_milliseconds));
    return {.machine = std::move(machine), .from = from, .until = until, .unmounted = false};
  }

  // In the middle of a checkpoint, of going on from one, and at any time.
  void DrawDeaths() {
    for (uint64_t n = random_.Between(1, 3); n > 0; --n) {
      const std::string name = ServerOrScheduler();
      switch (random_.Below(3)) {
        case 0:
          scenario_.kills.push_back({.name = name, .at = Time(), .down = Down()});
          break;
        case 1:
          checkpoints_.crashes.push_back({.name = name,
                                          .from = Time(),
                                          .operation = static_cast<DiskOperation>(random_.Below(6)),
                                          .after = random_.OneIn(2),
                                          .down = Down()});
          break;
        default: {
          static constexpr Body::Which kOfServers[] = {Body::CUT_CHECKPOINT, Body::GET_CHECKPOINT, Body::RESTORE_ROWS};
          scenario_.crashes.push_back({.name = name,
                                       .from = Time(),
                                       .kind = name == "scheduler" ? Body::CHECKPOINT_FILE : kOfServers[random_.Below(3)],
                                       .point = static_cast<CrashPoint>(random_.Below(4)),
                                       .down = Down()});
        }
      }
    }
  }

  Random random_;
  Scenario& scenario_;
  CheckpointScenario& checkpoints_;
};

}  // namespace

void DrawCheckpoints(uint64_t seed, bool always, Scenario& scenario) {
  if (!always && !Random(seed ^ 0xc4ec).OneIn(3)) return;
  Drawing(seed, scenario).Draw();
}

}  // namespace marquee::simulation
