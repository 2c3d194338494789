#include "tests/simulation/scenario.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <bit>
#include <map>
#include <utility>

#include "tests/simulation/draw_checkpoints.h"

namespace marquee::simulation {
namespace {

absl::Time At(absl::Duration since_start) { return absl::UnixEpoch() + since_start; }

void DrawNetwork(Random& random, Scenario& scenario) {
  NetworkFaults& network = scenario.network;
  network.until = At(absl::Seconds(random.Between(5, 25)));
  if (random.OneIn(8)) return;  // a network without faults
  const auto rate = [&random](uint64_t most_percent) { return static_cast<double>(random.Below(most_percent + 1)) / 100; };
  if (random.OneIn(2)) network.drop = rate(20);
  if (random.OneIn(2)) network.duplicate = rate(20);
  if (random.OneIn(2)) network.slow = rate(15);
  network.max_delay = absl::Milliseconds(random.Between(1, 30));
  network.slow_delay = absl::Milliseconds(random.Between(10, 4000));
}

void DrawSweep(Random& random, Scenario& scenario) {
  CoordinatorOptions& options = scenario.coordinator;
  options.partitions = 1U << random.Between(0, 5);
  options.workers_per_trial = static_cast<uint32_t>(random.Between(1, scenario.workers));
  options.heartbeat = absl::Milliseconds(random.Between(300, 1000));
  options.lease = options.heartbeat * static_cast<double>(random.Between(4, 8));
  options.resend_after = absl::Milliseconds(random.Between(200, 1000));
  options.train_examples = random.Between(10, 150);
  options.validation_examples = random.Between(1, 30);
  options.test_examples = random.Between(1, 30);
  options.chunk_batches = static_cast<uint32_t>(random.Between(1, 4));
  options.evaluation_chunk = random.Between(1, 20);
  options.max_attempts = 10;
  const uint64_t trials = random.Between(1, 3);
  for (uint64_t i = 0; i < trials; ++i) {
    TrialConfig& trial = scenario.trials.emplace_back();
    trial.name = fmt::format("trial{}", i);
    trial.model.batch_size = static_cast<int>(random.Between(1, 8));
    trial.model.epochs = static_cast<int>(random.Between(1, 2));
    switch (random.Below(3)) {
      case 0:
        trial.consistency = {.mode = ConsistencyConfig::Mode::kAsync, .staleness = 0};
        break;
      case 1:
        trial.consistency = {.mode = ConsistencyConfig::Mode::kBounded, .staleness = static_cast<int>(random.Below(4))};
        break;
      default:
        trial.consistency = {.mode = ConsistencyConfig::Mode::kSynchronous, .staleness = 0};
        break;
    }
    scenario.worker.trials[trial.name] = trial;
  }
}

void DrawWorkers(Random& random, Scenario& scenario) {
  SimWorkerOptions& options = scenario.worker;
  options.client.resend_after = absl::Milliseconds(random.Between(100, 1000));
  options.client.pull_deadline = absl::Seconds(random.Between(5, 30));
  if (random.OneIn(4)) options.client.max_message_bytes = random.Between(20, 150);
  if (random.OneIn(4)) options.client.max_unanswered_bytes = random.Between(1000, 20000);
  options.longest_compute = absl::Milliseconds(random.Between(1, 200));
  options.most_rows = static_cast<uint32_t>(random.Between(1, 8));
  options.pool = static_cast<uint32_t>(random.Between(8, 60));
  options.prefetch = random.OneIn(2);
}

// Workers so fast, with so much to do at once, that the window is what holds them back: lost acknowledgements leave pushes at
// its very end.
void DrawBurst(Random& random, Scenario& scenario) {
  scenario.coordinator.train_examples = random.Between(150, 400);
  scenario.coordinator.chunk_batches = static_cast<uint32_t>(random.Between(50, 150));
  scenario.coordinator.partitions = 1U << random.Below(2);  // windows are the partitions'
  for (TrialConfig& trial : scenario.trials) {
    trial.model.batch_size = 1;
    trial.consistency = {.mode = ConsistencyConfig::Mode::kAsync, .staleness = 0};
    scenario.worker.trials[trial.name] = trial;
  }
  SimWorkerOptions& worker = scenario.worker;
  worker.shortest_compute = worker.longest_compute = absl::Microseconds(100);
  worker.most_rows = 2;
  worker.pool = 400;
  worker.client.resend_after = absl::Seconds(1);
  scenario.network.drop = std::max(scenario.network.drop, 0.02);
  scenario.network.max_delay = std::min(scenario.network.max_delay, absl::Milliseconds(2));
}

// Workers that hold much and are slow at it, and lose sight of the scheduler meanwhile: they go on pushing while their session
// is closed and their chunks go to others.
void DrawLateness(Random& random, Scenario& scenario) {
  scenario.coordinator.train_examples = random.Between(20, 60);
  scenario.coordinator.chunk_batches = static_cast<uint32_t>(random.Between(5, 30));
  scenario.worker.longest_compute = absl::Milliseconds(random.Between(200, 1000));
  scenario.network.slow = std::max(scenario.network.slow, 0.1);
  for (uint64_t n = random.Between(1, 4); n > 0; --n) {
    const absl::Time from = At(random.Between(absl::ZeroDuration(), scenario.network.until - absl::UnixEpoch()));
    scenario.cuts.push_back({.one = "scheduler",
                             .other = fmt::format("w{}", random.Below(scenario.workers)),
                             .from = from,
                             .until = from + absl::Milliseconds(random.Between(2000, 12000)),
                             .one_way = false});
  }
  // Shards hear late, too, but not so late that they are taken for dead.
  for (uint64_t n = random.Between(2, 8); n > 0; --n) {
    const absl::Time from = At(random.Between(absl::ZeroDuration(), scenario.network.until - absl::UnixEpoch()));
    scenario.cuts.push_back({.one = "scheduler",
                             .other = fmt::format("s{}", random.Below(scenario.servers)),
                             .from = from,
                             .until = from + scenario.coordinator.lease * 0.6,
                             .one_way = false});
  }
}

// Trials that are looked at while they train, stopped, repeated, kept, and begun from a kept one.
void DrawSearch(Random& random, Scenario& scenario) {
  CoordinatorOptions& options = scenario.coordinator;
  options.keep = random.OneIn(2) ? KeepModels::kBest : KeepModels::kAll;
  if (random.OneIn(2)) options.asha = AshaOptions{.grace_period = 1, .reduction_factor = 2};
  options.train_examples = random.Between(10, 60);
  for (uint64_t n = random.Below(4); n > 0; --n) {
    scenario.trials.push_back(scenario.trials.front());
    scenario.trials.back().name = fmt::format("trial{}", scenario.trials.size() - 1);
    if (random.OneIn(4)) scenario.trials.back().repeats = scenario.trials.front().name;
  }
  for (TrialConfig& trial : scenario.trials) {
    trial.model.epochs = static_cast<int>(random.Between(1, 5));
    trial.validation.every = static_cast<int>(random.Below(3));
    if (random.OneIn(2)) trial.validation.patience = static_cast<int>(random.Between(1, 2));
    if (random.OneIn(3)) trial.model.start_from = kWarmModel;
    scenario.worker.trials[trial.name] = trial;
  }
}

// A primary that the scheduler loses sight of, as does a worker: both go on by the old view while a new one is made.
void DrawDeposed(Random& random, Scenario& scenario) {
  scenario.replication.lease = absl::Milliseconds(random.Between(1000, 4000));
  scenario.coordinator.lease = scenario.coordinator.heartbeat * 3.0;
  scenario.coordinator.workers_per_trial = scenario.workers;
  const absl::Time from = At(absl::Milliseconds(random.Between(500, 5000)));
  for (const std::string& name :
       {fmt::format("s{}", random.Below(scenario.servers)), fmt::format("w{}", random.Below(scenario.workers))}) {
    scenario.cuts.push_back({.one = "scheduler",
                             .other = name,
                             .from = from,
                             .until = from + absl::Seconds(random.Between(3, 10)),
                             .one_way = false});
  }
}

void DrawReplication(Random& random, Scenario& scenario) {
  scenario.coordinator.replication = scenario.servers > 1 && random.OneIn(2) ? 2 : 1;
  ReplicationOptions& options = scenario.replication;
  options.lease = absl::Milliseconds(random.Between(200, 3000));
  options.resend_after = absl::Milliseconds(random.Between(20, 300));
  if (random.OneIn(3)) options.fill_bytes = random.Between(16, 400);
  if (random.OneIn(3)) options.fill_ahead_bytes = random.Between(100, 4000);
  if (random.OneIn(2)) scenario.clock_drift = 0.04;  // two of them differ by less than ReplicationOptions::clock_drift
  if (random.OneIn(4)) options.max_unanswered_bytes = random.Between(500, 20000);
  if (scenario.coordinator.replication > 1 && scenario.workers > 1 && random.OneIn(2)) DrawDeposed(random, scenario);
}

std::vector<std::string> Names(const Scenario& scenario) {
  std::vector<std::string> names = {"scheduler"};
  for (uint32_t i = 0; i < scenario.servers; ++i) names.push_back(fmt::format("s{}", i));
  for (uint32_t i = 0; i < scenario.workers; ++i) names.push_back(fmt::format("w{}", i));
  return names;
}

void DrawCrash(Random& random, const std::string& name, absl::Time from, Scenario& scenario) {
  using Body = wire::Envelope::Body;
  static const std::map<char, std::vector<Body::Which>> kKinds = {
      {'s',
       {Body::PUSH, Body::PULL, Body::FORWARD, Body::FORWARDED, Body::INSTALL_VIEW, Body::OPEN_SESSION, Body::CLOSE_SESSION,
        Body::CREATE_TABLES, Body::DROP_TABLES, Body::GET_FILLS, Body::LOAD_ROWS, Body::SCAN_TABLE}},
      {'c',
       {Body::REGISTER, Body::OK, Body::TICK, Body::GET_WORK, Body::EVALUATED, Body::DEFINE_TABLES, Body::FILLS,
        Body::SCANNED_ROWS}},
      {'w', {Body::PUSHED, Body::ROWS, Body::WORK, Body::CLOCKS, Body::ASSIGNMENT, Body::VIEW, Body::TABLES}}};
  const auto& kinds = kKinds.at(name == "scheduler" ? 'c' : name[0]);
  scenario.crashes.push_back({.name = name,
                              .from = from,
                              .kind = kinds[random.Below(kinds.size())],
                              .point = static_cast<CrashPoint>(random.Below(4)),
                              .down = absl::Milliseconds(random.Between(1, 6000))});
}

void DrawFailures(Random& random, Scenario& scenario) {
  const std::vector<std::string> names = Names(scenario);
  const auto time = [&] { return At(random.Between(absl::ZeroDuration(), scenario.network.until - absl::UnixEpoch())); };
  if (random.OneIn(2)) {  // workers die
    for (uint64_t n = random.Between(1, 4); n > 0; --n) {
      scenario.kills.push_back({.name = fmt::format("w{}", random.Below(scenario.workers)),
                                .at = time(),
                                .down = absl::Milliseconds(random.Between(1, 6000))});
    }
  }
  if (random.OneIn(4)) {  // servers die
    for (uint64_t n = random.Between(1, 2); n > 0; --n) {
      scenario.kills.push_back({.name = fmt::format("s{}", random.Below(scenario.servers)),
                                .at = time(),
                                .down = absl::Milliseconds(random.Between(1, 6000))});
    }
  }
  if (random.OneIn(4)) {  // the scheduler dies
    scenario.kills.push_back({.name = "scheduler", .at = time(), .down = absl::Milliseconds(random.Between(1, 10000))});
  }
  if (random.OneIn(3)) {  // links are cut, for less or longer than a lease
    for (uint64_t n = random.Between(1, 4); n > 0; --n) {
      const absl::Time from = time();
      scenario.cuts.push_back({.one = names[random.Below(names.size())],
                               .other = names[random.Below(names.size())],
                               .from = from,
                               .until = from + absl::Milliseconds(random.Between(100, 12000)),
                               .one_way = random.OneIn(3)});
    }
  }
  if (random.OneIn(4)) {  // processes stand still, for less or longer than a lease
    for (uint64_t n = random.Between(1, 3); n > 0; --n) {
      const absl::Time from = time();
      scenario.pauses.push_back({.name = names[random.Below(names.size())],
                                 .from = from,
                                 .until = from + absl::Milliseconds(random.Between(10, 8000))});
    }
  }
  if (random.OneIn(4)) {  // processes crash in the middle of something
    for (uint64_t n = random.Between(1, 2); n > 0; --n) DrawCrash(random, names[random.Below(names.size())], time(), scenario);
  }
}

// Servers come and go, and some die on the way. From a source of its own, so that all else of the scenario stays as it is.
void DrawEdits(uint64_t seed, bool always, Scenario& scenario) {
  using Body = wire::Envelope::Body;
  Random random(seed ^ 0xed17);
  if (!always && !random.OneIn(6)) return;
  constexpr uint64_t kMostServers = 5;
  CoordinatorOptions& options = scenario.coordinator;
  options.train_examples = std::max<uint64_t>(options.train_examples, random.Between(40, 120));
  scenario.worker.shortest_compute = std::min(scenario.worker.longest_compute, absl::Milliseconds(20));
  absl::Time at = At(absl::ZeroDuration());
  for (uint64_t n = random.Between(1, 4); n > 0; --n) {
    at += absl::Milliseconds(random.Between(300, 6000));
    Scenario::Edit& edit = scenario.edits.emplace_back();
    edit.at = at;
    std::vector<std::string> names;
    for (uint64_t i = 0; i < kMostServers; ++i) names.push_back(fmt::format("s{}", i));
    while (names.size() > static_cast<size_t>(options.replication) && !random.OneIn(3)) {
      names.erase(names.begin() + static_cast<std::ptrdiff_t>(random.Below(names.size())));
    }
    edit.servers = std::move(names);
    scenario.network.until = std::max(scenario.network.until, at + absl::Seconds(random.Between(0, 5)));
    const absl::Time soon = at + absl::Milliseconds(random.Between(0, 5000));
    const std::string name = random.OneIn(3) ? "scheduler" : fmt::format("s{}", random.Below(kMostServers));
    if (random.OneIn(8))
      scenario.kills.push_back({.name = name, .at = soon, .down = absl::Milliseconds(random.Between(1, 6000))});
    if (!random.OneIn(4)) continue;
    static constexpr Body::Which kOfServers[] = {Body::YIELD, Body::INSTALL_VIEW, Body::FORWARD, Body::GET_PARTITIONS};
    scenario.crashes.push_back({.name = name,
                                .from = at,
                                .kind = name == "scheduler" ? Body::OK : kOfServers[random.Below(4)],
                                .point = static_cast<CrashPoint>(random.Below(4)),
                                .down = absl::Milliseconds(random.Between(1, 6000))});
  }
}

}  // namespace

Scenario Scenario::FromSeed(uint64_t seed, const PlantedBug* bug) {
  Random random(seed);
  Scenario scenario;
  scenario.seed = seed;
  scenario.servers = static_cast<uint32_t>(random.Between(1, 3));
  scenario.shards_per_server = static_cast<uint32_t>(random.Between(1, 2));
  scenario.workers = static_cast<uint32_t>(random.Between(1, 4));
  for (uint32_t i = 0; i < scenario.servers; ++i) scenario.coordinator.servers.push_back(fmt::format("s{}", i));
  DrawNetwork(random, scenario);
  DrawSweep(random, scenario);
  DrawWorkers(random, scenario);
  switch (random.Below(8)) {
    case 0:
      DrawBurst(random, scenario);
      break;
    case 1:
      DrawLateness(random, scenario);
      break;
    case 2:
    case 3:
    case 4:
      DrawSearch(random, scenario);
      break;
    default:
      break;
  }
  DrawFailures(random, scenario);
  scenario.launcher_reports_exits = random.OneIn(2);
  scenario.same_endpoints = random.OneIn(2);
  DrawReplication(random, scenario);
  DrawCheckpoints(seed, bug != nullptr && bug->checkpoints, scenario);
  if (bug != nullptr && bug->one_copy) scenario.coordinator.replication = 1;
  DrawEdits(seed, bug != nullptr && bug->edits, scenario);
  scenario.coordinator.take_over = MixId(seed) % 4 != 0;
  scenario.scheduler_loses_power = MixId(seed) % 4 == 1;
  return scenario;
}

Scenario Scenario::LossIn(uint32_t servers, uint32_t workers) {
  Scenario scenario;
  scenario.servers = servers;
  scenario.workers = workers;
  for (uint32_t i = 0; i < servers; ++i) scenario.coordinator.servers.push_back(fmt::format("s{}", i));
  scenario.network.until = absl::UnixEpoch();
  CoordinatorOptions& options = scenario.coordinator;
  options.partitions = std::bit_ceil(4 * servers);
  options.replication = 2;
  options.workers_per_trial = workers;
  options.train_examples = uint64_t{workers} * 40;
  options.validation_examples = workers;
  options.test_examples = workers;
  options.chunk_batches = 4;
  options.heartbeat = absl::Milliseconds(500);
  options.lease = absl::Seconds(3);
  TrialConfig& trial = scenario.trials.emplace_back();
  trial.name = "trial0";
  trial.model.batch_size = 1;
  trial.model.epochs = 1;
  scenario.worker.shortest_compute = scenario.worker.longest_compute = absl::Milliseconds(500);
  scenario.worker.most_rows = 8;
  scenario.worker.pool = 100 * workers;
  scenario.worker.trials[trial.name] = trial;
  scenario.launcher_reports_exits = false;
  scenario.compares_copies = false;
  scenario.kills.push_back({.name = "s0", .at = At(absl::Seconds(5)), .down = absl::Minutes(2)});
  return scenario;
}

std::string Scenario::Describe() const {
  const auto seconds = [](absl::Time time) { return absl::ToDoubleSeconds(time - absl::UnixEpoch()); };
  std::string text = fmt::format(
      "seed {}: {} servers of {} shards, {} partitions, {} workers, {} a trial, {} trials of {} examples\n"
      "  network until {:.1f} s: drop {:.2f}, duplicate {:.2f}, slow {:.2f} by up to {}\n"
      "  lease {}, messages of {} bytes, {}{}, exits are {}\n",
      seed, servers, shards_per_server, coordinator.partitions, workers, coordinator.workers_per_trial, trials.size(),
      coordinator.train_examples, seconds(network.until), network.drop, network.duplicate, network.slow,
      absl::FormatDuration(network.slow_delay), absl::FormatDuration(coordinator.lease), worker.client.max_message_bytes,
      worker.prefetch ? "prefetching, " : "", same_endpoints ? "endpoints stay" : "endpoints change",
      launcher_reports_exits ? "reported" : "found by silence");
  if (coordinator.replication > 1) text += fmt::format("  two copies, lease {}\n", absl::FormatDuration(replication.lease));
  if (coordinator.asha.has_value()) text += "  successive halving\n";
  if (coordinator.take_over) {
    text +=
        fmt::format("  a new scheduler takes trials over{}\n", scheduler_loses_power ? ", but the old one loses power" : "");
  }
  for (const TrialConfig& trial : trials) {
    text +=
        fmt::format("  {}: mode {} staleness {}, batch {}, {} epochs, validated every {}, patience {}{}{}\n", trial.name,
                    static_cast<int>(trial.consistency.mode), trial.consistency.staleness, trial.model.batch_size,
                    trial.model.epochs, trial.validation.every, trial.validation.patience,
                    trial.repeats.empty() ? "" : ", repeats " + trial.repeats, trial.model.start_from.empty() ? "" : ", warm");
  }
  for (const Kill& kill : kills) {
    text += fmt::format("  {} is killed at {:.3f} s for {}\n", kill.name, seconds(kill.at), absl::FormatDuration(kill.down));
  }
  for (const Cut& cut : cuts) {
    text += fmt::format("  {} {} {} are cut off from {:.3f} to {:.3f} s\n", cut.one, cut.one_way ? "towards" : "and", cut.other,
                        seconds(cut.from), seconds(cut.until));
  }
  for (const Pause& pause : pauses) {
    text += fmt::format("  {} is paused from {:.3f} to {:.3f} s\n", pause.name, seconds(pause.from), seconds(pause.until));
  }
  for (const Crash& crash : crashes) {
    static constexpr const char* kPoints[] = {"received", "handled", "handled and forwarded", "answered"};
    text += fmt::format("  {} crashes from {:.3f} s on, once it has {} a {}, for {}\n", crash.name, seconds(crash.from),
                        kPoints[static_cast<size_t>(crash.point)], BodyName(crash.kind), absl::FormatDuration(crash.down));
  }
  if (checkpoints.has_value()) {
    text += checkpoints->Describe();
    text += fmt::format("  one is made every {}, one of {} is full\n", absl::FormatDuration(coordinator.checkpoint_every),
                        coordinator.checkpoint_full_every);
  }
  for (const Edit& edit : edits) {
    text += fmt::format("  at {:.3f} s the servers are to be {}\n", seconds(edit.at), fmt::join(edit.servers, " "));
  }
  if (clock_drift > 0) text += fmt::format("  clocks drift by up to {}\n", clock_drift);
  return text;
}

void Outcome::Add(const Outcome& other) {
  messages += other.messages;
  steps += other.steps;
  pushes += other.pushes;
  duplicates += other.duplicates;
  rows_checked += other.rows_checked;
  staleness_checks += other.staleness_checks;
  copies_checked += other.copies_checked;
  primaries_moved += other.primaries_moved;
  servers_left += other.servers_left;
  trials_taken_over += other.trials_taken_over;
  sessions_lost += other.sessions_lost;
  repeated_examples += other.repeated_examples;
  checkpoints_made += other.checkpoints_made;
  copies_restored += other.copies_restored;
  disk_faults += other.disk_faults;
  seconds += other.seconds;
}

std::string Outcome::Totals() const {
  return fmt::format(
      "{:.0f} simulated seconds, {} messages, {} steps, {} pushes, {} of them acknowledged as duplicates, {} rows checked, {} "
      "of them for staleness, {} copies of partitions compared, {} partitions moved, {} servers emptied, {} trials taken over, "
      "{} sessions lost, {} "
      "examples repeated, {} checkpoints made, {} partitions restored, {} disk faults",
      seconds, messages, steps, pushes, duplicates, rows_checked, staleness_checks, copies_checked, primaries_moved,
      servers_left, trials_taken_over, sessions_lost, repeated_examples, checkpoints_made, copies_restored, disk_faults);
}

std::string ReplayCommand(uint64_t seed) { return fmt::format("bin/simulate --seeds {}..{} --trace", seed, seed); }

}  // namespace marquee::simulation
