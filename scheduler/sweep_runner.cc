#include "scheduler/sweep_runner.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/time/clock.h"
#include "common/program.h"
#include "common/trace_merge.h"
#include "common/web_access.h"
#include "dataset/atomic_file.h"
#include "dataset/evaluation.h"
#include "scheduler/feature_interactions.h"
#include "scheduler/leaderboard.h"
#include "scheduler/report.h"

namespace marquee {
namespace {

constexpr absl::Duration kLongestWait = absl::Milliseconds(100);
constexpr absl::Duration kUpdateInterval = absl::Milliseconds(100);
constexpr absl::Duration kMetricsInterval = absl::Seconds(1);
constexpr absl::Duration kStatusInterval = absl::Milliseconds(500);
constexpr absl::Duration kStopGrace = absl::Seconds(5);

// Leases and resends are measured on a clock that nobody sets.
absl::Time SteadyNow() { return absl::UnixEpoch() + absl::FromChrono(std::chrono::steady_clock::now().time_since_epoch()); }

std::string Hex(uint64_t checksum) { return fmt::format("{:016x}", checksum); }

// What all kept models of a sweep share.
ModelManifest OriginOf(const SweepPlan& plan, const Dataset& data, const Split& split) {
  ModelManifest origin;
  origin.data_name = data.name();
  origin.data_file = plan.data_file;
  origin.data_checksum = Hex(data.checksum());
  origin.split_name = split.name;
  origin.split_checksum = Hex(split.checksum);
  return origin;
}

// The folder's own name, of "runs/demo/" and "." too, there or not.
std::string NameOf(const std::string& folder) {
  const std::filesystem::path path = std::filesystem::absolute(folder).lexically_normal();
  return (path.has_filename() ? path : path.parent_path()).filename().string();
}

}  // namespace

SweepRunner::SweepRunner(SweepPlan plan, ClusterFile cluster, const Dataset& data, const Split& split)
    : plan_(std::move(plan)),
      cluster_(std::move(cluster)),
      data_(data),
      split_(split),
      progress_(stdout, isatty(STDOUT_FILENO) != 0, plan_.sweep.metric),
      models_(PathOf("models"), OriginOf(plan_, data, split)),
      metrics_(kScheduler),
      scheduler_metrics_(metrics_),
      status_(NameOf(plan_.out), cluster_.config(), plan_.sweep, Leaderboard::Describe(data, split), absl::Now()) {}

SweepRunner::~SweepRunner() {
  if (processes_ != nullptr && processes_->launcher() != nullptr) processes_->launcher()->Stop(kStopGrace);
}

std::string SweepRunner::PathOf(const std::string& name) const { return (std::filesystem::path(plan_.out) / name).string(); }

absl::StatusOr<bool> SweepRunner::Run() {
  if (absl::Status status = CheckStarts(); !status.ok()) return status;
  if (absl::Status status = OpenState(); !status.ok()) return status;
  if (absl::Status status = Listen(); !status.ok()) return status;
  if (absl::Status status = StartCoordinator(); !status.ok()) return status;
  if (absl::Status status = ServeStatus(); !status.ok()) return status;
  if (coordinator_->done()) {
    progress_.Say("Nothing is left to do.");
    return FinishAndStay();
  }
  if (absl::Status status = BeginTrace(); !status.ok()) return status;
  if (absl::Status status = StartProcesses(); !status.ok()) return status;
  if (absl::Status status = RunTrials(); !status.ok()) return status;
  DismissMembers();
  EndTrace();
  return FinishAndStay();
}

absl::StatusOr<bool> SweepRunner::FinishAndStay() {
  absl::StatusOr<bool> all_finished = Finish();
  if (!all_finished.ok() || !plan_.stay) return all_finished;
  progress_.Say("The sweep is over; stays until SIGTERM.");
  while (!StopRequested()) {
    if (absl::Status status = Pump(); !status.ok()) return status;
  }
  RemoveEndpoints();
  return all_finished;
}

// A model that was trained on other rows of the same data has seen what is test here.
absl::Status SweepRunner::CheckStarts() const {
  for (const TrialConfig& trial : plan_.sweep.trials) {
    const std::string& start = trial.model.start_from;
    if (start.empty()) continue;
    const absl::StatusOr<ModelManifest> model = ModelManifest::Load(start);
    if (!model.ok()) {
      return absl::Status(model.status().code(),
                          fmt::format("trial '{}': start_from: {}", trial.name, std::string(model.status().message())));
    }
    if (model->data_checksum != Hex(data_.checksum()) || model->split_checksum == Hex(split_.checksum)) continue;
    return absl::FailedPreconditionError(
        fmt::format("trial '{}': start_from: {}: was trained on another split of this data ({}, {}) than this sweep's ({}, "
                    "{}): rows that it "
                    "was trained on would be tested",
                    trial.name, start, model->split_name, model->split_checksum, split_.name, Hex(split_.checksum)));
  }
  return absl::OkStatus();
}

absl::Status SweepRunner::OpenState() {
  if (SqliteStateStore::HasState(plan_.out) && !plan_.resume) {
    return absl::FailedPreconditionError(
        fmt::format("{}: holds a sweep already. Go on with it with --resume (results are kept), choose another folder with "
                    "--out, or delete this one",
                    plan_.out));
  }
  absl::StatusOr<std::unique_ptr<SqliteStateStore>> store = SqliteStateStore::Open(plan_.out);
  if (!store.ok()) return store.status();
  store_ = *std::move(store);
  return store_->BindData(data_.checksum());
}

absl::Status SweepRunner::Listen() {
  const absl::StatusOr<TransportOptions> options = TransportOptionsFor(cluster_.config(), PeerRole::kScheduler);
  if (!options.ok()) return options.status();
  const Identity self{.name = "scheduler", .incarnation = NewIncarnation()};
  absl::StatusOr<std::unique_ptr<Transport>> transport = Transport::Create(transport_context_, self, *options);
  if (!transport.ok()) return transport.status();
  transport_ = *std::move(transport);
  const SchedulerPlace& place = cluster_.config().scheduler;
  absl::StatusOr<std::string> endpoint = transport_->Listen(TcpEndpoint(plan_.host, place.port));
  if (!endpoint.ok()) return endpoint.status();
  endpoint_ = *endpoint;
  absl::StatusOr<std::string> metrics_endpoint = ServeMetrics(metrics_, cluster_.config(), plan_.host, place.metrics_port);
  if (!metrics_endpoint.ok()) return metrics_endpoint.status();
  metrics_endpoint_ = *metrics_endpoint;

  CoordinatorOptions coordinator;
  for (const ServerPlace& server : cluster_.config().servers) coordinator.servers.push_back(server.name);
  coordinator.partitions = cluster_.config().partitions;
  coordinator.replication = cluster_.config().replication;
  coordinator.workers_per_trial = plan_.sweep.workers_per_trial;
  coordinator.heartbeat = cluster_.config().heartbeat;
  coordinator.lease = cluster_.config().lease;
  coordinator.data_checksum = data_.checksum();
  coordinator.train_examples = split_.train.size();
  coordinator.validation_examples = split_.validation.size();
  coordinator.test_examples = split_.test.size();
  coordinator.chunk_batches = plan_.sweep.chunk_batches;
  coordinator.metric = plan_.sweep.metric;
  coordinator.maximize = plan_.sweep.maximize;
  coordinator.asha = plan_.sweep.asha;
  coordinator.keep = plan_.sweep.keep;
  // Other launchers' processes end with the scheduler.
  const ClusterConfig::Launcher launcher = cluster_.config().launcher;
  coordinator.take_over = launcher == ClusterConfig::Launcher::kExternal || launcher == ClusterConfig::Launcher::kKubernetes;
  if (const std::optional<CheckpointConfig>& checkpoints = cluster_.config().checkpoints) {
    const std::string folder = checkpoints->folder.empty() ? PathOf("checkpoints") : checkpoints->folder;
    checkpoints_ =
        std::make_unique<CheckpointFiles>(RealFileSystem(), std::filesystem::absolute(folder).string(), checkpoints->keep);
    if (absl::Status status = checkpoints_->CheckFormat(); !status.ok()) return status;
    coordinator.checkpoint_every = checkpoints->every;
    if (checkpoints->every != absl::InfiniteDuration()) {
      metrics_.Get(metric::kCheckpointInterval).Set(absl::ToDoubleSeconds(checkpoints->every));
    }
    coordinator.checkpoint_full_every = checkpoints->full_every;
    coordinator.unix_seconds = [] { return absl::ToUnixSeconds(absl::Now()); };
  }
  coordinator_ = std::make_unique<Coordinator>(self, std::move(coordinator), *store_, &models_, checkpoints_.get());
  return absl::OkStatus();
}

absl::Status SweepRunner::StartCoordinator() {
  if (absl::Status status = coordinator_->Start(plan_.sweep.trials); !status.ok()) return status;
  const std::vector<Coordinator::TrialView> trials = coordinator_->trials(SteadyNow());
  const auto finished = std::count_if(trials.begin(), trials.end(),
                                      [](const Coordinator::TrialView& trial) { return HasResult(trial.trial.status); });
  progress_.Say(fmt::format("{} trials, {} of them finished before; data {}{}; metrics on http://{}/metrics", trials.size(),
                            finished, data_.name(), data_.synthetic() ? " (synthetic: made up by a program)" : "",
                            metrics_endpoint_));
  return absl::OkStatus();
}

absl::Status SweepRunner::ServeStatus() {
  std::string token;
  if (!cluster_.config().status.token_file.empty()) {
    absl::StatusOr<std::string> read = ReadToken(cluster_.config().status.token_file, "status.token_file");
    if (!read.ok()) return read.status();
    token = *std::move(read);
  }
  status_page_ = std::make_unique<StatusPage>(std::move(token), PathOf("report.html"));
  absl::StatusOr<std::string> endpoint = status_page_->Serve(cluster_.config().status);
  if (!endpoint.ok()) return endpoint.status();
  status_endpoint_ = *std::move(endpoint);
  UpdateStatus(SteadyNow());
  progress_.Say(fmt::format("Status page: http://{}/", status_endpoint_));
  return absl::OkStatus();
}

void SweepRunner::UpdateStatus(absl::Time now) {
  const absl::Time time = absl::Now();
  status_.Look(*coordinator_, now, time);
  if (const uint64_t refused = status_page_->refused_tokens(); refused > refused_tokens_) {
    status_.events().Add(StatusEvents::Level::kWarning,
                         fmt::format("status page: wrong tokens shown: {}", refused - refused_tokens_), time);
    refused_tokens_ = refused;
  }
  std::error_code ignored;
  std::string missing = StatusModel::Missing(*coordinator_, cluster_.config());
  metrics_.SetMissing(missing);
  status_page_->Publish(status_.Json(std::filesystem::exists(PathOf("report.html"), ignored)), std::move(missing));
}

absl::Status SweepRunner::StartProcesses() {
  ProcessInputs inputs{.cluster_file = cluster_.path(),
                       .cluster_folder = "",
                       .data_file = plan_.data_file,
                       .scheduler = endpoint_,
                       .trace_folder = plan_.trace.empty() ? "" : std::filesystem::absolute(PathOf("trace")).string()};
  processes_ = std::make_unique<ClusterFollower>(cluster_,
                                                 ClusterFollower::Options{.processes = std::move(inputs),
                                                                          .copy = PathOf("running-cluster.yaml"),
                                                                          .log_folder = PathOf("logs"),
                                                                          .workers_per_trial = plan_.sweep.workers_per_trial},
                                                 [this](const std::string& line) { progress_.Say(line); });
  return processes_->Start(SteadyNow());
}

absl::Status SweepRunner::RunTrials() {
  while (!coordinator_->done()) {
    if (StopRequested()) return absl::CancelledError("stopped; go on with --resume");
    if (absl::Status status = Pump(); !status.ok()) return status;
    if (absl::Status status = PollProcesses(); !status.ok()) return status;
  }
  progress_.Update(*coordinator_, SteadyNow());
  return absl::OkStatus();
}

absl::Status SweepRunner::Pump() {
  const absl::Duration wait = std::clamp(coordinator_->next_timer() - SteadyNow(), absl::ZeroDuration(), kLongestWait);
  transport_->Receive(wait, [this](const Message& message) {
    const absl::Time start = SteadyNow();
    coordinator_->OnMessage(message, start, *transport_);
    // Answers of shards are no requests; they come back on endpoints that we asked.
    if (message.from().rfind("tcp://", 0) != 0) {
      scheduler_metrics_.Handled(message.envelope().getBody().which(), SteadyNow() - start);
    }
  });
  if (coordinator_->view().number != view_.number) {
    for (const std::string& left : EndpointsLeft(view_, coordinator_->view())) transport_->Disconnect(left);
    view_ = coordinator_->view();
  }
  const absl::Time now = SteadyNow();
  if (CheckpointRequested()) coordinator_->RequestCheckpoint();
  coordinator_->OnTimer(now, *transport_);
  if (!coordinator_->status().ok()) return coordinator_->status();
  if (now >= next_update_) {
    next_update_ = now + kUpdateInterval;
    progress_.Update(*coordinator_, now);
    TellLauncher();
    if (absl::Status status = WriteEndpoints(); !status.ok()) return status;
  }
  if (now >= next_status_) {
    next_status_ = now + kStatusInterval;
    UpdateStatus(now);
  }
  if (now >= next_metrics_) {
    next_metrics_ = now + kMetricsInterval;
    scheduler_metrics_.Update(*coordinator_, *transport_, now);
    if (processes_ != nullptr) scheduler_metrics_.Update(*processes_, *coordinator_);
  }
  return absl::OkStatus();
}

absl::Status SweepRunner::PollProcesses() {
  if (absl::Status status = processes_->Poll(ReloadRequested(), SteadyNow(), *coordinator_, *transport_); !status.ok())
    return status;
  if (processes_->launcher() == nullptr) return absl::OkStatus();
  absl::StatusOr<std::vector<Launcher::Exit>> exits = processes_->launcher()->Poll(SteadyNow());
  if (!exits.ok()) return exits.status();
  for (const Launcher::Exit& exit : *exits) {
    const std::string next = exit.restarts_in == absl::InfiniteDuration()
                                 ? "not started again"
                                 : fmt::format("started again in {}", absl::FormatDuration(exit.restarts_in));
    progress_.Say(fmt::format("{} ended: {}; {}; its log is {}", exit.name, exit.how, next,
                              PathOf(fmt::format("logs/{}.log", exit.name))));
    status_.events().Add(StatusEvents::Level::kWarning, fmt::format("process {} ended: {}; {}", exit.name, exit.how, next),
                         absl::Now());
    coordinator_->OnProcessExit(exit.name, SteadyNow(), *transport_);
  }
  return absl::OkStatus();
}

// Members ask, and are told that the sweep is over; an answer may be lost, so they get some time to ask again.
void SweepRunner::DismissMembers() {
  Launcher* const launcher = processes_->launcher();
  const absl::Time start = SteadyNow();
  const absl::Duration patience = launcher != nullptr ? kStopGrace : cluster_.config().lease + kStopGrace;
  absl::Time told = absl::InfiniteFuture();
  if (launcher != nullptr) launcher->LetGo();
  while (!StopRequested() && SteadyNow() < start + patience && SteadyNow() < told + 2 * cluster_.config().heartbeat) {
    if (!Pump().ok()) break;
    if (launcher != nullptr) {
      launcher->Poll(SteadyNow()).IgnoreError();
      if (launcher->running() == 0) break;
    }
    if (told == absl::InfiniteFuture() && coordinator_->dismissed()) told = SteadyNow();
  }
  if (launcher != nullptr) launcher->Stop(kStopGrace);
  RemoveEndpoints();
}

void SweepRunner::RemoveEndpoints() {
  std::error_code ignored;
  std::filesystem::remove(PathOf("endpoints.json"), ignored);
  endpoints_written_.clear();
}

void SweepRunner::TellLauncher() {
  Launcher* const launcher = processes_->launcher();
  if (launcher == nullptr) return;
  for (const Coordinator::Member& member : coordinator_->members()) {
    if (member.alive) launcher->CameUp(member.name);
  }
}

// The trace is of this run alone, not of one that it goes on with.
absl::Status SweepRunner::BeginTrace() {
  if (plan_.trace.empty()) return absl::OkStatus();
  std::error_code error;
  std::filesystem::remove_all(PathOf("trace"), error);
  if (!error) std::filesystem::create_directories(PathOf("trace"), error);
  if (error) return absl::UnavailableError(fmt::format("{}: {}", PathOf("trace"), error.message()));
  return absl::OkStatus();
}

// Results do not depend on it: what goes wrong is said, and that is all.
void SweepRunner::EndTrace() {
  if (plan_.trace.empty()) return;
  const absl::StatusOr<TraceSummary> trace = MergeTraces(PathOf("trace"), plan_.trace);
  if (!trace.ok()) {
    progress_.Say(fmt::format("No trace: {}", std::string(trace.status().message())));
    return;
  }
  progress_.Say(fmt::format("\n{}Trace: {} (opens in Perfetto, https://ui.perfetto.dev)", TraceText(*trace), plan_.trace));
}

absl::Status SweepRunner::WriteEndpoints() {
  nlohmann::ordered_json endpoints;
  endpoints["scheduler"] = {{"metrics", metrics_endpoint_}, {"listens", {endpoint_}}, {"status", status_endpoint_}};
  for (const Coordinator::Member& member : coordinator_->members()) {
    if (!member.alive) continue;
    endpoints[member.name] = {{"metrics", member.metrics_endpoint}, {"listens", member.endpoints}};
  }
  std::string text = endpoints.dump(2) + "\n";
  if (text == endpoints_written_) return absl::OkStatus();
  endpoints_written_ = std::move(text);
  return WriteFile("endpoints.json", endpoints_written_);
}

absl::Status SweepRunner::WriteFile(const std::string& name, const std::string& text) const {
  absl::StatusOr<AtomicFile> file = AtomicFile::Create(PathOf(name));
  if (!file.ok()) return file.status();
  if (absl::Status status = file->Write(text.data(), text.size()); !status.ok()) return status;
  return file->Commit();
}

// What the report shows beside the leaderboard. A kept model that cannot be read, which --resume may find, is said and left
// out.
ReportSources SweepRunner::Sources(const Leaderboard& leaderboard, const std::vector<Coordinator::TrialView>& trials) {
  ReportSources sources{.name = NameOf(plan_.out), .members = coordinator_->members(), .counters = coordinator_->counters()};
  std::error_code error;
  std::filesystem::create_directories(PathOf("logs"), error);
  AddExamples(leaderboard, sources);
  for (const Coordinator::TrialView& trial : trials) {
    if (!trial.trial.result.kept || !trial.config.model.cross.has_value()) continue;
    absl::StatusOr<FeatureInteractions> interactions = LoadFeatureInteractions(PathOf("models/" + trial.trial.name), data_);
    if (interactions.ok()) {
      sources.interactions.push_back(*std::move(interactions));
    } else {
      progress_.Say(fmt::format("The report shows no feature interactions of {}: {}", trial.trial.name,
                                std::string(interactions.status().message())));
    }
  }
  return sources;
}

std::string BestKept(const Leaderboard& leaderboard, const Leaderboard::Table& table) {
  for (const Leaderboard::Row& row : table.rows) {
    if (row.trial == nullptr) continue;
    for (const Coordinator::TrialView& seed : leaderboard.SeedsOf(row.trial->trial.name)) {
      if (seed.trial.result.kept) return seed.trial.name;
    }
  }
  return "";
}

// Of the best kept model of each kind.
void SweepRunner::AddExamples(const Leaderboard& leaderboard, ReportSources& sources) {
  for (const Leaderboard::Table& table : leaderboard.Tables()) {
    const std::string trial = BestKept(leaderboard, table);
    if (trial.empty()) continue;
    absl::StatusOr<Examples> examples =
        AskForExamples(trial, PathOf("models/" + trial), plan_.data_file, ExampleUsers(data_), PathOf("logs/examples.log"));
    if (examples.ok()) {
      sources.examples.push_back(*std::move(examples));
    } else {
      progress_.Say(
          fmt::format("The report shows no movies for users by {}: {}", trial, std::string(examples.status().message())));
    }
  }
}

absl::StatusOr<bool> SweepRunner::Finish() {
  absl::StatusOr<std::vector<Baseline>> baselines = Baselines(data_, split_);
  if (!baselines.ok()) return baselines.status();
  const std::vector<Coordinator::TrialView> trials = coordinator_->trials(SteadyNow());
  const Leaderboard leaderboard(Leaderboard::Describe(data_, split_), *std::move(baselines), plan_.sweep, trials);
  if (absl::Status status = WriteFile("leaderboard.json", leaderboard.Json()); !status.ok()) return status;
  if (absl::Status status = WriteFile("report.html", ReportPage(leaderboard, Sources(leaderboard, trials))); !status.ok()) {
    return status;
  }
  progress_.Say(
      fmt::format("\n{}\nResults: {}\nReport: {}", leaderboard.Text(), PathOf("leaderboard.json"), PathOf("report.html")));
  return std::all_of(trials.begin(), trials.end(),
                     [](const Coordinator::TrialView& trial) { return HasResult(trial.trial.status); });
}

}  // namespace marquee
