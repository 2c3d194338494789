#include <fmt/format.h>
#include <fmt/ranges.h>

#include <bit>
#include <cstdlib>
#include <functional>
#include <memory>
#include <numeric>
#include <string>
#include <utility>

#include "tests/simulation/scenario.h"
#include "tests/simulation/sim_models.h"
#include "tests/simulation/sim_scheduler.h"
#include "tests/simulation/sim_server.h"
#include "tests/simulation/tamper.h"

namespace marquee::simulation {
namespace {

const char* const kSchedulerEndpoint = "scheduler";
constexpr absl::Duration kTimeToFinish = absl::Minutes(10);  // once faults have stopped
constexpr absl::Duration kRestart = absl::Seconds(1);
constexpr absl::Duration kWatchRecovery = absl::Milliseconds(10);
constexpr absl::Duration kCheckCopies = absl::Milliseconds(250);
constexpr double kLeastClockRate = 0.9;
constexpr absl::Duration kWatchCheckpoints = absl::Milliseconds(100);
constexpr absl::Duration kLookForEmptied = absl::Milliseconds(100);
constexpr absl::Duration kTimeToMove = absl::Minutes(2);    // once faults have stopped
constexpr absl::Duration kTimeToQuiet = absl::Seconds(30);  // once the sweep is done

// A run in progress.
class Run {
 public:
  Run(const Scenario& scenario, const PlantedBug* bug, bool trace)
      : scenario_(scenario),
        random_(~scenario.seed),
        tamper_(bug == nullptr ? nullptr : bug->make()),
        disk_(tamper_.get()),
        world_(scenario.seed ^ 0x5eed, scenario.network, scenario.clock_drift, trace),
        wanted_(scenario.coordinator.servers) {
    if (!scenario.checkpoints.has_value()) return;
    checkpoint_disk_.emplace(~scenario.seed ^ 0xd15c, scenario.checkpoints->disk, [this] { return world_.now(); });
    watch_.emplace(world_, ledger_, news_, *checkpoint_disk_, scenario.coordinator, *scenario.checkpoints,
                   [this](const std::string& endpoint) { return ShardAt(endpoint); });
  }

  Outcome Execute();

 private:
  Identity NewIdentity(const std::string& name) { return {.name = name, .incarnation = random_.Next() | 1U}; }
  void Start(const std::string& name);
  void StartScheduler();
  void StartServer(const std::string& name);
  void StartWorker(const std::string& name);
  std::function<void()> SupervisorOf(const std::string& name);
  void Kill(const Scenario::Kill& kill);
  void ScheduleFailures();
  void Follow(const Scenario::Edit& edit);
  void EndEmptied();
  bool IsWanted(const std::string& server) const { return std::find(wanted_.begin(), wanted_.end(), server) != wanted_.end(); }
  void ScheduleDiskFailures(const CheckpointScenario& scenario);
  void WatchCheckpoints();
  void AddWarmModel();
  absl::Time FaultsEnd() const;

  bool SchedulerLives() const { return world_.Lives(kSchedulerEndpoint); }
  bool SweepDone() const { return SchedulerLives() && scheduler_->coordinator().done(); }
  bool AllFinished() const;
  bool BoundHolds() const { return !any_worker_lost_ && (!SchedulerLives() || WorkersLost() == 0) && BeforeFirstPause(); }
  // In a pause those who have nothing to do are not waited for: sessions do not count steps from the same start any more.
  bool BeforeFirstPause() const {
    return !watch_.has_value() || world_.now() < absl::UnixEpoch() + scenario_.coordinator.checkpoint_every * kLeastClockRate;
  }
  uint64_t WorkersLost() const { return scheduler_->coordinator().counters().workers_lost; }
  void CheckResults();
  void CheckTrial(const TrialConfig& config);
  std::string CheckCurve(const TrialConfig& config, const StateStore::Trial& trial) const;
  std::string CheckStop(const TrialConfig& config, const StateStore::Trial& trial) const;
  std::string CheckModels() const;
  std::string CheckModel(const std::string& trial, const SimModels::Model& model) const;
  bool IsRung(const TrialConfig& config, uint32_t epoch) const;
  void CheckQuiet();
  void CheckCopiesFrom(absl::Time time);
  void CheckCopiesOf(const Shard& shard);
  const Shard* ShardAt(const std::string& endpoint) const;
  size_t MostUnanswered() const;
  void WatchRecovery(absl::Time killed, uint64_t messages);

  const Scenario& scenario_;
  Random random_;
  std::unique_ptr<Tamper> tamper_;
  SimDisk disk_;
  std::optional<FaultyDisk> checkpoint_disk_;
  World world_;
  Ledger ledger_;
  SimModels models_;
  TrialNews news_;
  std::optional<CheckpointWatch> watch_;
  uint64_t generation_ = 0;
  bool any_worker_lost_ = false;
  bool scheduler_killed_ = false;
  // Owned by the world; good while the name lives.
  SimScheduler* scheduler_ = nullptr;
  std::map<std::string, SimServer*> servers_;
  std::map<std::string, SimWorker*> workers_;
  std::vector<std::string> wanted_;  // servers
  std::set<std::string> leaving_;    // likewise, that are not wanted and may hold something
  uint64_t primaries_moved_ = 0;     // by schedulers that are dead
  uint64_t servers_left_ = 0;
  uint64_t taken_over_ = 0;  // likewise
  uint64_t repeated_ = 0;
  uint64_t copies_checked_ = 0;
  bool watched_ = false;
  double promoted_seconds_ = 0;
  double whole_seconds_ = 0;
  uint64_t recovery_messages_ = 0;
};

void Run::Start(const std::string& name) {
  if (name == kSchedulerEndpoint) return StartScheduler();
  name[0] == 's' ? StartServer(name) : StartWorker(name);
}

void Run::StartScheduler() {
  std::shared_ptr<FaultyDisk::Machine> files;
  std::unique_ptr<CheckpointStore> checkpoints;
  if (watch_.has_value()) {
    files = checkpoint_disk_->Boot(kSchedulerEndpoint);
    checkpoints = std::make_unique<SimCheckpointStore>(
        *watch_, files, scenario_.checkpoints->keep, [this] { return scheduler_->coordinator().view(); },
        [this] { return disk_.numbers().trial + 1; });
  }
  CoordinatorOptions options = scenario_.coordinator;
  options.servers = wanted_;
  auto scheduler =
      std::make_unique<SimScheduler>(NewIdentity(kSchedulerEndpoint), options, disk_, models_, std::move(checkpoints), files);
  scheduler_ = scheduler.get();
  if (absl::Status status = scheduler_->Start(scenario_.trials); !status.ok()) {
    world_.Violate(fmt::format("the scheduler could not start: {}", status.ToString()));
  }
  world_.Start(kSchedulerEndpoint, {kSchedulerEndpoint}, std::move(scheduler));
}

// A process that is refused exits, and is started again.
std::function<void()> Run::SupervisorOf(const std::string& name) {
  return [this, name] { world_.At(world_.now(), [this, name] { Kill({name, world_.now(), kRestart}); }); };
}

void Run::StartServer(const std::string& name) {
  std::vector<std::string> endpoints;
  const std::string suffix = scenario_.same_endpoints ? "" : fmt::format(".{}", ++generation_);
  for (uint32_t i = 0; i < scenario_.shards_per_server; ++i) endpoints.push_back(fmt::format("{}/{}{}", name, i, suffix));
  SimServer::Checkpoints checkpoints;
  if (watch_.has_value()) checkpoints = {.watch = &*watch_, .disk = &*checkpoint_disk_, .room = scenario_.checkpoints->room};
  auto server = std::make_unique<SimServer>(world_, ledger_, tamper_.get(), NewIdentity(name), endpoints, kSchedulerEndpoint,
                                            scenario_.replication, checkpoints);
  server->on_exit(SupervisorOf(name));
  server->on_loss([this](const std::set<TableNumber>& tables, uint64_t view) {
    // Once for each table, with what all shards have of it: what one has dropped is not there when partitions are moved to it.
    std::set<TableNumber> whole;
    for (const TableNumber table : tables) {
      if (ledger_.EndTable(table)) whole.insert(table);
    }
    for (const auto& [other, living] : servers_) living->CheckTables(whole, view);
  });
  servers_[name] = server.get();
  world_.Start(name, endpoints, std::move(server));
}

void Run::StartWorker(const std::string& name) {
  auto worker = std::make_unique<SimWorker>(world_, ledger_, scenario_.worker, news_, random_.Next(), NewIdentity(name),
                                            kSchedulerEndpoint, [this] { return BoundHolds(); });
  worker->on_exit(SupervisorOf(name));
  workers_[name] = worker.get();
  world_.Start(name, {}, std::move(worker));
}

void Run::Kill(const Scenario::Kill& kill) {
  if (!world_.Lives(kill.name)) return;
  if (kill.name[0] == 'w') any_worker_lost_ = true;
  if (kill.name == kSchedulerEndpoint) {
    any_worker_lost_ |= WorkersLost() > 0;
    scheduler_killed_ = true;
    primaries_moved_ += scheduler_->coordinator().counters().primaries_moved;
    taken_over_ += scheduler_->coordinator().counters().trials_taken_over;
    if (scenario_.scheduler_loses_power) disk_.LosePower();
  }
  if (kill.name[0] == 's' && kill.name != kSchedulerEndpoint && !watched_) WatchRecovery(world_.now(), world_.messages());
  if (checkpoint_disk_.has_value() && checkpoint_disk_->Die(kill.name)) world_.Trace(fmt::format("{} loses power", kill.name));
  world_.Kill(kill.name);
  servers_.erase(kill.name);
  workers_.erase(kill.name);
  if (scenario_.launcher_reports_exits && kill.name != kSchedulerEndpoint && SchedulerLives()) {
    world_.Interrupt(kSchedulerEndpoint, [this, name = kill.name](absl::Time now, Outbox& outbox) {
      scheduler_->coordinator().OnProcessExit(name, now, outbox);
    });
  }
  world_.At(world_.now() + kill.down, [this, name = kill.name] {
    const bool server = name[0] == 's' && name != kSchedulerEndpoint;
    if (server && !IsWanted(name) && !leaving_.contains(name)) return;
    if (!world_.Lives(name)) Start(name);
  });
}

// As the program does when its cluster file is edited.
void Run::Follow(const Scenario::Edit& edit) {
  if (SweepDone()) return;
  world_.Trace(fmt::format("the servers are to be {}", fmt::join(edit.servers, " ")));
  for (const std::string& name : wanted_) leaving_.insert(name);
  wanted_ = edit.servers;
  for (const std::string& name : wanted_) {
    leaving_.erase(name);
    if (!world_.Lives(name)) Start(name);
  }
  if (!SchedulerLives()) return;
  world_.Interrupt(kSchedulerEndpoint, [this](absl::Time now, Outbox& outbox) {
    const absl::Status status = scheduler_->coordinator().SetServers(wanted_, now, outbox);
    if (!status.ok()) world_.Violate(fmt::format("an edit is refused: {}", status.ToString()));
  });
}

void Run::EndEmptied() {
  world_.At(world_.now() + kLookForEmptied, [this] {
    for (const std::string& name : std::set<std::string>(leaving_)) {
      if (!SchedulerLives() || !scheduler_->coordinator().IsEmptied(name)) continue;
      world_.Trace(fmt::format("{} is emptied", name));
      leaving_.erase(name);
      ++servers_left_;
      Kill({.name = name, .at = world_.now(), .down = absl::ZeroDuration()});
    }
    if (SweepDone()) return;
    if (!leaving_.empty() && world_.now() > FaultsEnd() + kTimeToMove) {
      world_.Violate(fmt::format("{} still have partitions", fmt::join(leaving_, " ")));
    }
    EndEmptied();
  });
}

// Looks again and again until every partition has two copies.
void Run::WatchRecovery(absl::Time killed, uint64_t messages) {
  watched_ = true;
  if (scenario_.coordinator.replication == 1) return;
  world_.At(world_.now() + kWatchRecovery, [this, killed, messages] {
    const double seconds = absl::ToDoubleSeconds(world_.now() - killed);
    const bool lost = SchedulerLives() && scheduler_->coordinator().counters().servers_lost > 0;
    const View* const view = lost ? &scheduler_->coordinator().view() : nullptr;
    if (view != nullptr && view->number > 1 && promoted_seconds_ == 0) promoted_seconds_ = seconds;
    if (promoted_seconds_ > 0 && view != nullptr && scheduler_->coordinator().under_replicated_partitions() == 0) {
      whole_seconds_ = seconds;
      recovery_messages_ = world_.messages() - messages;
    } else if (!AllFinished()) {
      WatchRecovery(killed, messages);
    }
  });
}

void Run::ScheduleFailures() {
  for (const Scenario::Kill& kill : scenario_.kills) world_.At(kill.at, [this, kill] { Kill(kill); });
  for (const Scenario::Cut& cut : scenario_.cuts) {
    world_.Partition(cut.one, cut.other, cut.from, cut.until, cut.one_way);
  }
  for (const Scenario::Pause& pause : scenario_.pauses) {
    world_.At(pause.from, [this, pause] {
      if (pause.name[0] == 'w') any_worker_lost_ = true;  // it may be, by the time that it goes on
      world_.Pause(pause.name, pause.until);
    });
  }
  for (const Scenario::Crash& crash : scenario_.crashes) {
    world_.At(crash.from, [this, crash] {
      world_.CrashAt(crash.name, crash.kind, crash.point, [this, crash] {
        world_.Trace(fmt::format("{} crashes", crash.name));
        Kill({crash.name, world_.now(), crash.down});
      });
    });
  }
  if (scenario_.checkpoints.has_value()) ScheduleDiskFailures(*scenario_.checkpoints);
  for (const Scenario::Edit& edit : scenario_.edits) world_.At(edit.at, [this, edit] { Follow(edit); });
  if (!scenario_.edits.empty()) EndEmptied();
  const bool any_copies = scenario_.coordinator.replication > 1 || !scenario_.edits.empty();
  if (any_copies && scenario_.compares_copies) CheckCopiesFrom(absl::UnixEpoch());
}

void Run::ScheduleDiskFailures(const CheckpointScenario& scenario) {
  for (const absl::Time flip : scenario.disk.flips) world_.At(flip, [this] { checkpoint_disk_->FlipABit(); });
  for (const CheckpointScenario::Crash& crash : scenario.crashes) {
    world_.At(crash.from, [this, crash] {
      checkpoint_disk_->CrashAt(crash.name, crash.operation, crash.after, [this, crash] {
        world_.Trace(fmt::format("{} crashes", crash.name));
        world_.At(world_.now(), [this, crash] { Kill({crash.name, world_.now(), crash.down}); });
      });
    });
  }
  WatchCheckpoints();
}

void Run::WatchCheckpoints() {
  world_.At(world_.now() + kWatchCheckpoints, [this] {
    if (SchedulerLives()) watch_->Look(scheduler_->coordinator().counters());
    if (!SweepDone()) WatchCheckpoints();
  });
}

// Whatever happens, at any time: copies hold what was acknowledged, and the same as their primary where all is forwarded.
void Run::CheckCopiesFrom(absl::Time time) {
  world_.At(time, [this, time] {
    for (const auto& [name, server] : servers_) {
      for (const Shard* shard : server->shards()) CheckCopiesOf(*shard);
    }
    if (!SweepDone()) CheckCopiesFrom(time + kCheckCopies);
  });
}

const Shard* Run::ShardAt(const std::string& endpoint) const {
  for (const auto& [name, server] : servers_) {
    if (const Shard* const shard = server->FindShard(endpoint); shard != nullptr) return shard;
  }
  return nullptr;
}

void Run::CheckCopiesOf(const Shard& shard) {
  const Shard::Replication replication = shard.replication();
  if (replication.unanswered_bytes > MostUnanswered()) {
    world_.Violate(fmt::format("{} bytes are forwarded and not answered", replication.unanswered_bytes));
  }
  const View& view = shard.view();
  if (replication.unanswered_bytes > 0) return;
  for (PartitionNumber p = 0; p < view.partitions(); ++p) {
    if (view.backups[p] == kNoShard || ShardAt(view.shards[view.primaries[p]]) != &shard) continue;
    const Shard* const backup = ShardAt(view.shards[view.backups[p]]);
    if (backup == nullptr || backup->view() != view) continue;
    const Shard::PartitionDump here = shard.DumpPartition(p);
    const Shard::PartitionDump there = backup->DumpPartition(p);
    const auto compare = [&](const auto& ours, const auto& theirs, const char* what, const auto& is_restored) {
      for (const auto& [number, text] : ours) {
        const auto found = theirs.find(number);
        if (found == theirs.end() || found->second == text || is_restored(number)) continue;
        world_.Violate(fmt::format("partition {}: {} {} of {} is not that of its copy {}:\n{}\nand\n{}", p, what, number,
                                   view.shards[view.primaries[p]], view.shards[view.backups[p]], text, found->second));
      }
    };
    // Each shard reads what it restores by itself, and is compared with the checkpoint when it has done so.
    compare(here.tables, there.tables, "table", [this](TableNumber table) { return ledger_.IsFreshCopy(table); });
    compare(here.sessions, there.sessions, "the window of session", [](uint64_t) { return false; });
    ++copies_checked_;
  }
}

size_t Run::MostUnanswered() const {
  constexpr size_t kOneMore = 64U << 10U;  // a message goes out whole
  const ReplicationOptions& options = scenario_.replication;
  return (options.max_unanswered_bytes + options.fill_ahead_bytes + kOneMore) * servers_.size() * scenario_.shards_per_server;
}

absl::Time Run::FaultsEnd() const {
  absl::Time end = scenario_.network.until;
  for (const Scenario::Kill& kill : scenario_.kills) end = std::max(end, kill.at + kill.down);
  for (const Scenario::Cut& cut : scenario_.cuts) end = std::max(end, cut.until);
  for (const Scenario::Pause& pause : scenario_.pauses) end = std::max(end, pause.until);
  for (const Scenario::Crash& crash : scenario_.crashes) end = std::max(end, crash.from + crash.down);
  for (const Scenario::Edit& edit : scenario_.edits) end = std::max(end, edit.at);
  if (scenario_.checkpoints.has_value()) end = std::max(end, scenario_.checkpoints->End());
  return end;
}

bool Run::AllFinished() const {
  if (!SweepDone() || workers_.size() != scenario_.workers) return false;
  return std::all_of(workers_.begin(), workers_.end(), [](const auto& entry) { return entry.second->finished(); });
}

Outcome Run::Execute() {
  AddWarmModel();
  Start(kSchedulerEndpoint);
  for (uint32_t i = 0; i < scenario_.servers; ++i) Start(fmt::format("s{}", i));
  for (uint32_t i = 0; i < scenario_.workers; ++i) Start(fmt::format("w{}", i));
  ScheduleFailures();
  // What is killed after the sweep is done has no part in it, but the run goes on until all of that is over.
  const absl::Time faults_end = FaultsEnd();
  const bool finished = world_.Run([&] { return AllFinished(); }, faults_end + kTimeToFinish);
  if (finished) {
    CheckResults();
  } else {
    world_.Violate(fmt::format("the sweep was not done ten minutes after the last fault; the scheduler: {}",
                               SchedulerLives() ? scheduler_->coordinator().status().ToString() : "is not there"));
  }

  return Outcome{
      .violation = world_.violation(),
      .scenario = scenario_.Describe(),
      .trace = world_.trace(),
      .fingerprint = world_.fingerprint(),
      .messages = world_.messages(),
      .steps = news_.steps,
      .pushes = ledger_.attempts(),
      .duplicates = std::accumulate(workers_.begin(), workers_.end(), news_.duplicates,
                                    [](uint64_t sum, const auto& entry) { return sum + entry.second->duplicates(); }),
      .rows_checked = ledger_.rows_checked(),
      .staleness_checks = news_.staleness_checks,
      .copies_checked = copies_checked_,
      .primaries_moved = primaries_moved_ + (SchedulerLives() ? scheduler_->coordinator().counters().primaries_moved : 0),
      .servers_left = servers_left_,
      .trials_taken_over = taken_over_ + (SchedulerLives() ? scheduler_->coordinator().counters().trials_taken_over : 0),
      .sessions_lost = news_.sessions_lost,
      .repeated_examples = repeated_,
      .checkpoints_made = watch_.has_value() ? watch_->made() : 0,
      .copies_restored = watch_.has_value() ? watch_->restored() : 0,
      .disk_faults = checkpoint_disk_.has_value() ? checkpoint_disk_->faults_met() : 0,
      .seconds = absl::ToDoubleSeconds(world_.now() - absl::UnixEpoch()),
      .promoted_seconds = promoted_seconds_,
      .whole_seconds = whole_seconds_,
      .recovery_messages = recovery_messages_};
}

void Run::AddWarmModel() {
  SimModels::Table table{.name = TableName(0), .number = 0, .dim = kDims[0], .rows = {}};
  for (uint32_t i = 0; i < kWarmRows; ++i) table.rows[MixId(i)] = std::vector<float>(kDims[0], kInitial);
  models_.models[kWarmModel].tables.push_back(std::move(table));
}

void Run::CheckResults() {
  for (const TrialConfig& config : scenario_.trials) CheckTrial(config);
  if (const std::string wrong = CheckModels(); !wrong.empty()) world_.Violate(wrong);
  CheckQuiet();
}

// Rungs of the scenario's halving: powers of two.
bool Run::IsRung(const TrialConfig& config, uint32_t epoch) const {
  return scenario_.coordinator.asha.has_value() && config.repeats.empty() && std::has_single_bit(epoch) &&
         epoch < static_cast<uint32_t>(config.model.epochs);
}

// A trial must have been validated when it should, seen what it should, and ended where that leads to.
std::string Run::CheckCurve(const TrialConfig& config, const StateStore::Trial& trial) const {
  const auto last = static_cast<uint32_t>(config.model.epochs);
  const auto every = static_cast<uint32_t>(config.validation.every);
  std::vector<std::pair<uint32_t, double>> expected;
  double best = -1;
  int worse = 0;
  bool ended = false;
  for (uint32_t epoch = 1; epoch <= last && !ended; ++epoch) {
    const bool validated = epoch == last || (every > 0 && epoch % every == 0) || IsRung(config, epoch);
    if (!validated) continue;
    const double score = ScoreAfter(config.name, epoch);
    expected.emplace_back(epoch, score);
    worse = score > best ? 0 : worse + 1;
    best = std::max(best, score);
    const bool stopped = trial.status == TrialStatus::kStopped && epoch == trial.result.epochs;
    ended = stopped || epoch == last || (config.validation.patience > 0 && worse == config.validation.patience);
  }
  std::vector<std::pair<uint32_t, double>> seen;
  for (const auto& [epoch, metrics] : trial.result.validations) seen.emplace_back(epoch, metrics.at("top_100"));
  if (seen == expected && trial.result.epochs == expected.back().first) return "";
  return fmt::format("{} epochs, with the curve {} and not {}", trial.result.epochs, fmt::join(seen, " "),
                     fmt::join(expected, " "));
}

// Halving may only stop a trial at a rung where another was better.
std::string Run::CheckStop(const TrialConfig& config, const StateStore::Trial& trial) const {
  if (!trial.result.test.empty()) return "was stopped, and its test was read";
  if (!config.repeats.empty()) {
    const bool first_stopped = disk_.trials().at(config.repeats).status == TrialStatus::kStopped;
    return first_stopped && trial.result.epochs == 0 ? "" : "repeats a trial that came through, and was stopped";
  }
  if (!IsRung(config, trial.result.epochs)) return fmt::format("was stopped at {}, which is no rung", trial.result.epochs);
  // A better one may have been there whose attempt was lost, and which was stopped earlier the next time.
  if (scheduler_killed_ || scheduler_->coordinator().counters().servers_lost > 0) return "";
  const double score = ScoreAfter(config.name, trial.result.epochs);
  for (const auto& [name, other] : disk_.trials()) {
    for (const TrialResult::Validation& validation : other.result.validations) {
      if (validation.epoch == trial.result.epochs && validation.metrics.at("top_100") > score) return "";
    }
  }
  return fmt::format("was stopped at {}, where nobody was better", trial.result.epochs);
}

// Of all that finished, the best is kept, or each is.
std::string Run::CheckModels() const {
  double best = -1;
  for (const auto& [name, trial] : disk_.trials()) {
    if (trial.status == TrialStatus::kFinished) best = std::max(best, trial.result.validation.at("top_100"));
  }
  size_t kept = 0;
  for (const auto& [name, trial] : disk_.trials()) {
    const auto model = models_.models.find(name);
    if (trial.result.kept != (model != models_.models.end())) return fmt::format("{}: kept, and not there, or not", name);
    const bool finished = trial.status == TrialStatus::kFinished;
    if (scenario_.coordinator.keep == KeepModels::kAll && finished != trial.result.kept)
      return fmt::format("{} is not kept", name);
    if (!trial.result.kept) continue;
    ++kept;
    if (scenario_.coordinator.keep == KeepModels::kBest && trial.result.validation.at("top_100") != best) {
      return fmt::format("{} is kept, and not the best", name);
    }
    if (std::string wrong = CheckModel(name, model->second); !wrong.empty())
      return fmt::format("kept model of {}: {}", name, wrong);
  }
  if (scenario_.coordinator.keep == KeepModels::kBest && best >= 0 && kept != 1) return fmt::format("{} models are kept", kept);
  return "";
}

// Every row that anybody pushed to, and every row that it began with, is there once and holds what was acknowledged.
std::string Run::CheckModel(const std::string& trial, const SimModels::Model& model) const {
  for (const SimModels::Table& table : model.tables) {
    for (const auto& [id, row] : table.rows) {
      if (std::string wrong = ledger_.CheckRow(table.number, id, row, ledger_.acknowledged()); !wrong.empty()) return wrong;
    }
    const std::vector<float> untouched(table.dim, kInitial);
    for (const Id id : ledger_.RowsOf(table.number)) {
      if (table.rows.contains(id)) continue;
      const std::string wrong = ledger_.CheckRow(table.number, id, untouched, ledger_.acknowledged());
      if (!wrong.empty()) return "a row is missing: " + wrong;
    }
  }
  if (scenario_.worker.trials.at(trial).model.start_from.empty()) return "";
  for (const auto& [id, row] : models_.models.at(kWarmModel).tables[0].rows) {
    if (!model.tables[0].rows.contains(id)) return fmt::format("row {:x}, which it began with, is missing", id);
  }
  return "";
}

void Run::CheckTrial(const TrialConfig& config) {
  const auto found = disk_.trials().find(config.name);
  if (found == disk_.trials().end()) return world_.Violate(fmt::format("{} is not on the disk", config.name));
  const StateStore::Trial& trial = found->second;
  if (!HasResult(trial.status)) {
    return world_.Violate(fmt::format("{} ended as {}: {}", config.name, static_cast<int>(trial.status), trial.reason));
  }
  const bool stopped = trial.status == TrialStatus::kStopped;
  if (stopped) {
    if (std::string wrong = CheckStop(config, trial); !wrong.empty()) world_.Violate(fmt::format("{} {}", config.name, wrong));
    if (trial.result.epochs == 0) return;
  }
  if (std::string wrong = CheckCurve(config, trial); !wrong.empty()) {
    return world_.Violate(fmt::format("{} ended after {}", config.name, wrong));
  }
  const CoordinatorOptions& options = scenario_.coordinator;
  const uint32_t epochs = trial.result.epochs;
  if (trial.result.examples != options.train_examples * epochs) {
    return world_.Violate(
        fmt::format("{} counted {} examples of {} x {}", config.name, trial.result.examples, epochs, options.train_examples));
  }
  repeated_ += trial.result.repeated_examples;
  const std::string wrong =
      ledger_.CheckExamples(news_.newest_trial[config.name], options.train_examples, epochs, trial.result.repeated_examples);
  if (!wrong.empty()) return world_.Violate(fmt::format("{}: {}", config.name, wrong));
  // The mean of all positions, each once.
  const auto check = [&](const std::map<std::string, double>& metrics, uint64_t examples, const char* part) {
    const auto position = metrics.find("position");
    const double expected = static_cast<double>(examples - 1) / 2;
    if (position != metrics.end() && std::abs(position->second - expected) < 1e-9) return;
    world_.Violate(fmt::format("{}: {} evaluated other examples than its {}", config.name, part, examples));
  };
  check(trial.result.validation, options.validation_examples, "validation");
  if (!stopped) check(trial.result.test, options.test_examples, "test");
}

// With the sweep over, nobody must have anything left: no request without an answer, no table, no session. A server that was
// lost while tables were dropped, or whose scheduler was, may keep some until it is told to exit.
void Run::CheckQuiet() {
  const bool cleanup_cut_short = scheduler_killed_ || scheduler_->coordinator().counters().servers_lost > 0;
  const auto problem = [&]() -> std::string {
    for (const auto& [name, worker] : workers_) {
      if (std::string wrong = worker->CheckQuiet(); !wrong.empty()) return wrong;
    }
    for (const auto& [name, server] : servers_) {
      if (std::string wrong = server->CheckEmpty(); !cleanup_cut_short && !wrong.empty()) return wrong;
    }
    return "";
  };
  const auto all_live = [&] {
    return std::all_of(wanted_.begin(), wanted_.end(), [&](const std::string& name) { return servers_.contains(name); });
  };
  const bool quiet =
      world_.Run([&] { return all_live() && problem().empty(); }, std::max(world_.now(), FaultsEnd()) + kTimeToQuiet);
  if (!quiet) world_.Violate(fmt::format("after the sweep: {}", problem()));
}

}  // namespace

Outcome Simulate(const Scenario& scenario, const PlantedBug* bug, bool trace) {
  // What simulated processes would log is in the trace.
  [[maybe_unused]] static const int set = setenv("MARQUEE_LOG", "critical", /*overwrite=*/0);
  return Run(scenario, bug, trace).Execute();
}

}  // namespace marquee::simulation
