#include "scheduler/coordinator.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <set>
#include <utility>

#include "common/id.h"
#include "common/log.h"
#include "common/trial_config_yaml.h"
#include "scheduler/checkpoints.h"
#include "scheduler/coordinator_context.h"
#include "scheduler/metric_goal.h"
#include "scheduler/model_store.h"
#include "scheduler/saved_progress.h"
#include "scheduler/shard_setup.h"
#include "scheduler/trial_run.h"
#include "scheduler/view_changes.h"

namespace marquee {
namespace {

using Body = wire::Envelope::Body;
using Code = wire::Error::Code;

constexpr absl::Duration kAskAssignmentAgain = absl::Milliseconds(100);
constexpr absl::Duration kLongestWalk = absl::Minutes(1);  // over rows, that moves wait for
constexpr absl::Duration kReadAgain = absl::Seconds(10);   // a checkpoint that cannot be read
constexpr int kMostUnreadable = 30;                        // then its trial fails

std::string TextOf(capnp::Text::Reader text) { return {text.cStr(), text.size()}; }

// Bodies that answer: they are never answered, or two of us could go on for ever.
bool IsReply(Body::Which which) {
  return which == Body::OK || which == Body::ERROR || which == Body::TABLES || which == Body::STATISTICS ||
         which == Body::ROWS || which == Body::PUSHED || which == Body::SCANNED_ROWS || which == Body::FORWARDED ||
         which == Body::FILLS || which == Body::CHECKPOINT_FILE || which == Body::PARTITIONS;
}

// Where a text differs from another for the first time: the rest of its line from the word that does.
std::string FirstDifference(const std::string& text, const std::string& other) {
  const auto [here, there] = std::mismatch(text.begin(), text.end(), other.begin(), other.end());
  const auto differs = static_cast<size_t>(here - text.begin());
  const size_t before = differs == 0 ? std::string::npos : text.find_last_of(",{\n", differs - 1);
  const size_t begin = before == std::string::npos ? 0 : text.find_first_not_of(" ", before + 1);
  if (begin == std::string::npos) return "nothing more";
  return fmt::format("'{}'", text.substr(begin, text.find_first_of(",}\n", differs) - begin));
}

}  // namespace

class Coordinator::Impl {
 public:
  Impl(Identity self, CoordinatorOptions options, StateStore& store, ModelStore* models, CheckpointStore* checkpoints)
      : context_{.self = self,
                 .options = options,
                 .store = store,
                 .models = models,
                 .asha = std::nullopt,
                 .numbers = {},
                 .members = Membership({.servers = std::set<std::string>(options.servers.begin(), options.servers.end()),
                                        .lease = options.lease,
                                        .data_checksum = options.data_checksum}),
                 .shards = ShardRequests(self, options.resend_after),
                 .view = {},
                 .wanted = options.servers,
                 .servers = {},
                 .server_of = {},
                 .alive = {},
                 .counters = {},
                 .status = absl::OkStatus()},
        setup_(context_),
        view_changes_(
            context_, [this] { return Knowledge(); }, [this] { return MayMove(); }),
        checkpoints_(context_, checkpoints) {
    if (options.asha.has_value()) context_.asha.emplace(*options.asha);
  }

  absl::Status Start(const std::vector<TrialConfig>& trials);
  void OnMessage(const Message& message, absl::Time now, Outbox& outbox);
  void OnTimer(absl::Time now, Outbox& outbox);
  absl::Time next_timer() const {
    if (notes_.has_value()) return absl::InfinitePast();
    absl::Time next = std::min(
        {context_.members.next_expiry(), context_.shards.next_timer(), view_changes_.next_timer(), checkpoints_.next_timer()});
    for (const Trial& trial : trials_) {
      if (trial.not_before > last_advance_) next = std::min(next, trial.not_before);
    }
    return next;
  }
  void OnProcessExit(const std::string& name, absl::Time now, Outbox& outbox);
  bool done() const;
  bool dismissed() const;
  const absl::Status& status() const { return context_.status; }
  std::vector<Member> members() const;
  std::vector<TrialView> trials(absl::Time now) const;
  const View& view() const { return context_.view; }
  uint16_t wire_version() const { return context_.members.wire_version(); }
  uint64_t under_replicated_partitions() const {
    const auto& backups = context_.view.backups;
    if (context_.options.replication == 1) return 0;
    return static_cast<uint64_t>(std::count(backups.begin(), backups.end(), kNoShard));
  }
  const Counters& counters() const { return context_.counters; }
  absl::Status SetServers(const std::vector<std::string>& wanted, absl::Time now, Outbox& outbox);
  bool IsEmptied(const std::string& server) const;
  void RequestCheckpoint() { checkpoints_.Request(); }
  absl::Duration checkpoint_age(absl::Time now) const { return checkpoints_.unsaved(now); }

 private:
  struct Trial {
    TrialConfig config;
    StateStore::Trial record;
    int attempts = 0;
    uint64_t from_checkpoint = 0;  // of the last attempt; 0: from the beginning
    int unreadable = 0;            // how often in a row its checkpoint could not be read
    absl::Time not_before = absl::InfinitePast();
    std::unique_ptr<TrialRun> run;  // while it runs
  };

  // What the scheduler before this one noted of what went on when it died.
  struct Notes {
    SavedCluster cluster;
    std::vector<SavedMember> members;
    std::vector<SavedTrial> trials;
  };
  absl::Status LoadNotes(std::vector<StateStore::Trial>& stored);
  absl::StatusOr<Notes> ReadNotes();
  absl::Status KeepOutcome(const SavedTrial& ended, std::vector<StateStore::Trial>& stored);
  bool MayTakeOver(const Notes& notes) const;
  void TakeOver(absl::Time now, Outbox& outbox);
  void TakeOver(const SavedTrial& saved, absl::Time now, Outbox& outbox);
  TrialRun::WantsModel WantsModelOf(const TrialConfig& config);
  absl::Status AddTrial(const TrialConfig& config, const std::map<std::string, StateStore::Trial>& stored);
  void RebuildRungs(const Trial& trial);
  absl::Status ForgetUnfinishedModels(const std::vector<StateStore::Trial>& stored);
  std::optional<double> ScoreOf(const Trial& trial) const;
  bool WantsModel(const TrialConfig& config, const std::map<std::string, double>& validation) const;
  void RemoveWorseModels();

  MaybeRejection Handle(const Message& message, Body::Builder reply, absl::Time now, Outbox& outbox);
  MaybeRejection HandleRegister(const Message& message, Body::Builder reply, absl::Time now, Outbox& outbox);
  MaybeRejection HandleFromMember(MemberRecord& member, const Message& message, Body::Builder reply, absl::Time now,
                                  Outbox& outbox);
  MaybeRejection HandleHeartbeat(MemberRecord& member, wire::Heartbeat::Reader heartbeat, Body::Builder reply, Outbox& outbox);
  MaybeRejection HandleGetView(Body::Builder reply) const;
  void HandleGetAssignment(MemberRecord& member, wire::Assignment::Builder reply);
  MaybeRejection HandleGetWork(const Message& message, Body::Builder reply, absl::Time now);
  TrialRun* RunOf(uint64_t session);
  std::string TrialOf(const MemberRecord& member) const;

  void OnLost(const std::string& name, absl::Time now, Outbox& outbox);
  void OnServerLost(const std::string& name, absl::Time now, Outbox& outbox);
  void StartOver(const std::string& lost);
  ShardKnowledge Knowledge() const;
  absl::Status CheckServers(const std::vector<std::string>& wanted) const;
  bool MayMove();
  void Advance(absl::Time now, Outbox& outbox);
  void AdvanceCheckpoints(absl::Time now, Outbox& outbox);
  void FinishRun(Trial& trial, absl::Time now);
  void TryAgainLater(Trial& trial, const std::string& reason, absl::Time now);
  void StartTrials(absl::Time now, Outbox& outbox);
  bool MayStart(Trial& trial);
  void FillRanks(TrialRun& run, std::vector<std::string>& free, absl::Time now, Outbox& outbox);
  void FreeWorkers(const TrialRun& run);
  void SaveTrial(const StateStore::Trial& record) { context_.Keep(context_.store.SaveTrial(record)); }

  CoordinatorContext context_;
  std::optional<Notes> notes_;  // to be taken over as soon as anything happens
  ShardSetup setup_;
  ViewChanges view_changes_;
  Checkpoints checkpoints_;
  absl::Time last_advance_ = absl::InfinitePast();
  absl::Time walks_since_ = absl::InfiniteFuture();  // rows are walked; InfiniteFuture: they are not
  std::vector<Trial> trials_;
  std::map<std::string, size_t> by_name_;  // of trials_
  std::set<uint64_t> done_sessions_;       // whose trial was finished: their workers are told `done`
};

// ------------------------------------------------------------------------------------------------------------ start

absl::Status Coordinator::Impl::Start(const std::vector<TrialConfig>& trials) {
  absl::StatusOr<StateStore::Numbers> numbers = context_.store.LoadNumbers();
  if (!numbers.ok()) return numbers.status();
  context_.numbers = *numbers;
  if (context_.numbers.cluster_id == 0) {
    context_.numbers.cluster_id = std::max<uint64_t>(1, MixId(context_.self.incarnation));
    if (!context_.SaveNumbers()) return context_.status;
  }
  absl::StatusOr<std::vector<StateStore::Trial>> stored = context_.store.LoadTrials();
  if (!stored.ok()) return stored.status();
  if (absl::Status status = LoadNotes(*stored); !status.ok()) return status;
  std::map<std::string, StateStore::Trial> by_name;
  for (StateStore::Trial& trial : *stored) by_name[trial.name] = trial;
  for (const TrialConfig& config : trials) {
    if (absl::Status status = AddTrial(config, by_name); !status.ok()) return status;
  }
  for (const Trial& trial : trials_) RebuildRungs(trial);
  if (absl::Status status = ForgetUnfinishedModels(*stored); !status.ok()) return status;
  RemoveWorseModels();
  return context_.status;
}

// ------------------------------------------------------------------------------------------- a scheduler before this one

absl::Status Coordinator::Impl::LoadNotes(std::vector<StateStore::Trial>& stored) {
  if (!context_.options.take_over) return context_.store.ForgetAllProgress();
  context_.takes_notes = true;
  absl::StatusOr<Notes> notes = ReadNotes();
  if (!notes.ok()) {
    LogWarning("what the scheduler before has noted cannot be used", {{"reason", notes.status().ToString()}});
    return context_.store.ForgetAllProgress();
  }
  for (const SavedTrial& trial : notes->trials) {
    if (absl::Status status = KeepOutcome(trial, stored); !status.ok()) return status;
  }
  if (!MayTakeOver(*notes)) return context_.store.ForgetAllProgress();
  notes_ = *std::move(notes);
  return absl::OkStatus();
}

absl::StatusOr<Coordinator::Impl::Notes> Coordinator::Impl::ReadNotes() {
  absl::StatusOr<std::map<std::string, std::string>> saved = context_.store.LoadProgress();
  if (!saved.ok()) return saved.status();
  Notes notes;
  for (const auto& [key, bytes] : *saved) {
    if (key == SavedCluster::Key()) {
      absl::StatusOr<SavedCluster> cluster = SavedCluster::FromBytes(bytes);
      if (!cluster.ok()) return cluster.status();
      notes.cluster = *std::move(cluster);
    } else if (SavedMember::IsKey(key)) {
      absl::StatusOr<SavedMember> member = SavedMember::FromBytes(bytes);
      if (!member.ok()) return member.status();
      notes.members.push_back(*std::move(member));
    } else if (SavedTrial::IsKey(key)) {
      absl::StatusOr<SavedTrial> trial = SavedTrial::FromBytes(bytes);
      if (!trial.ok()) return trial.status();
      notes.trials.push_back(*std::move(trial));
    }
  }
  return notes;
}

// It had ended, and its result was not saved yet: only its tables were left to be dropped.
absl::Status Coordinator::Impl::KeepOutcome(const SavedTrial& ended, std::vector<StateStore::Trial>& stored) {
  if (!ended.outcome.has_value()) return absl::OkStatus();
  for (StateStore::Trial& trial : stored) {
    if (trial.name != ended.name || trial.spec != ended.spec || HasResult(trial.status)) continue;
    trial = *ended.outcome;
    if (absl::Status status = context_.store.SaveTrial(trial); !status.ok()) return status;
  }
  return absl::OkStatus();
}

// The view is the newest that was ever made, and as this scheduler would have it. A trial runs: otherwise the setup of the
// shards may not have come to its end.
bool Coordinator::Impl::MayTakeOver(const Notes& notes) const {
  const SavedCluster& cluster = notes.cluster;
  const View& view = cluster.view;
  const bool runs =
      std::any_of(notes.trials.begin(), notes.trials.end(), [](const SavedTrial& trial) { return !trial.outcome.has_value(); });
  return runs && view.number != 0 && view.number == context_.numbers.view && view.cluster_id == context_.numbers.cluster_id &&
         view.partitions() == context_.options.partitions && cluster.replication == context_.options.replication;
}

// Those who are there go on as if nothing had happened. Those who are not have one lease to be heard.
void Coordinator::Impl::TakeOver(absl::Time now, Outbox& outbox) {
  const Notes notes = *std::exchange(notes_, std::nullopt);
  for (const SavedMember& member : notes.members) context_.members.Restore(member.record, member.ended, now);
  context_.view = notes.cluster.view;
  context_.servers = notes.cluster.servers;
  context_.server_of = notes.cluster.server_of;
  context_.alive.clear();
  for (ShardIndex shard = 0; shard < context_.server_of.size(); ++shard) {
    const MemberRecord* const server = context_.members.FindAlive(context_.servers[context_.server_of[shard]]);
    context_.alive.push_back(server != nullptr && server->incarnation == context_.view.processes[shard]);
  }
  context_.AllowServers();
  last_advance_ = now;
  setup_.TakeOver();
  if (!view_changes_.TakeOver(now, outbox)) {
    for (const SavedTrial& trial : notes.trials) context_.ForgetNote(SavedTrial::Key(trial.name));
    return StartOver("");
  }
  for (const SavedTrial& trial : notes.trials) TakeOver(trial, now, outbox);
}

void Coordinator::Impl::TakeOver(const SavedTrial& saved, absl::Time now, Outbox& outbox) {
  const auto found = by_name_.find(saved.name);
  if (found == by_name_.end() || saved.outcome.has_value()) return context_.ForgetNote(SavedTrial::Key(saved.name));
  Trial& trial = trials_[found->second];
  absl::Status taken = absl::FailedPreconditionError("its configuration is another one now");
  if (trial.record.spec == saved.spec && trial.record.status == TrialStatus::kPending) {
    trial.run =
        std::make_unique<TrialRun>(context_, trial.config, trial.record.spec, saved.number, WantsModelOf(trial.config), now);
    taken = trial.run->TakeOver(saved, now, outbox);
  }
  if (!taken.ok()) {
    LogWarning("a trial that runs cannot be taken over", {{"trial", saved.name}, {"reason", taken.ToString()}});
    trial.run = nullptr;
    return context_.ForgetNote(SavedTrial::Key(saved.name));
  }
  trial.record.status = TrialStatus::kRunning;
  ++context_.counters.trials_taken_over;
  LogInfo("a trial is taken over from the scheduler before", {{"trial", saved.name}});
}

TrialRun::WantsModel Coordinator::Impl::WantsModelOf(const TrialConfig& config) {
  return [this, &config](const auto& validation) { return WantsModel(config, validation); };
}

// What a trial that has ended left at the rungs, in the order in which trials stand in the sweep.
void Coordinator::Impl::RebuildRungs(const Trial& trial) {
  const auto last_epoch = static_cast<uint32_t>(trial.config.model.epochs);
  if (!context_.asha.has_value() || !HasResult(trial.record.status) || !trial.config.repeats.empty()) return;
  const MetricGoal goal = MetricGoal::Of(trial.config, context_.options.metric, context_.options.maximize);
  for (const TrialResult::Validation& validation : trial.record.result.validations) {
    const std::optional<double> score = goal.Score(validation.metrics);
    if (!score.has_value() || !context_.asha->IsRung(validation.epoch, last_epoch)) continue;
    context_.asha->Report(GroupOf(trial.config), validation.epoch, trial.config.name, *score);
  }
}

// A model may have been written whole when the scheduler was killed, before its trial's result was saved.
absl::Status Coordinator::Impl::ForgetUnfinishedModels(const std::vector<StateStore::Trial>& stored) {
  if (context_.models == nullptr) return absl::OkStatus();
  for (const StateStore::Trial& trial : stored) {
    if (HasResult(trial.status) && trial.result.kept) continue;
    if (absl::Status status = context_.models->Remove(trial.name); !status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::Status Coordinator::Impl::AddTrial(const TrialConfig& config, const std::map<std::string, StateStore::Trial>& stored) {
  if (!by_name_.emplace(config.name, trials_.size()).second) {
    return absl::InvalidArgumentError(fmt::format("trial '{}' twice", config.name));
  }
  Trial trial;
  trial.config = config;
  trial.record.name = config.name;
  trial.record.spec = ToYaml(config);
  const auto before = stored.find(config.name);
  if (before == stored.end()) {
    SaveTrial(trial.record);
  } else if (!HasResult(before->second.status)) {
    if (before->second.spec != trial.record.spec) SaveTrial(trial.record);
  } else if (Rewritten(before->second.spec) == trial.record.spec) {
    trial.record = before->second;
    trial.record.spec = ToYaml(config);
  } else {
    return absl::FailedPreconditionError(fmt::format(
        "trial '{}' has ended with another configuration (then {}; now {}); give it another name, or start in another folder",
        config.name, FirstDifference(before->second.spec, trial.record.spec),
        FirstDifference(trial.record.spec, before->second.spec)));
  }
  trials_.push_back(std::move(trial));
  return context_.status;
}

// -------------------------------------------------------------------------------------------------------- messages

void Coordinator::Impl::OnMessage(const Message& message, absl::Time now, Outbox& outbox) {
  if (notes_.has_value()) TakeOver(now, outbox);
  if (!context_.status.ok()) return;
  OutgoingMessagePtr reply = NewReply(context_.self, context_.view.number, message);
  MaybeRejection rejection;
  bool answered = true;
  const absl::Status parsed = Guarded([&] {
    if (IsReply(message.envelope().getBody().which())) {
      answered = false;
      if (!context_.shards.OnReply(message)) ++context_.counters.rejected[std::string(ErrorCodeName(Code::WRONG_TYPE))];
    } else {
      rejection = Handle(message, reply->envelope().getBody(), now, outbox);
    }
    return absl::OkStatus();
  });
  if (!parsed.ok()) rejection = Rejection{Code::MALFORMED, "message", std::string(parsed.message())};
  if (!context_.status.ok()) return;  // what the answer relies on may not be saved
  if (rejection.has_value()) {
    if (rejection->code != Code::NOT_YET && rejection->code != Code::CANCELLED)
      ++context_.counters.rejected[std::string(ErrorCodeName(rejection->code))];
    reply = NewError(context_.self, context_.view.number, message, rejection->code, rejection->field, rejection->message);
  }
  if (answered) outbox.Send(message.from(), std::move(reply));
  Advance(now, outbox);
}

MaybeRejection Coordinator::Impl::Handle(const Message& message, Body::Builder reply, absl::Time now, Outbox& outbox) {
  const wire::Envelope::Reader envelope = message.envelope();
  if (envelope.getBody().isRegister()) return HandleRegister(message, reply, now, outbox);
  if (envelope.getBody().isGetView()) return HandleGetView(reply);  // tools may look as well
  MemberRecord* member = context_.members.Find(TextOf(envelope.getSender()), envelope.getIncarnation());
  if (member == nullptr) return Rejection{Code::UNKNOWN_INCARNATION, "incarnation", "register first"};
  member->heard = now;
  member->route = message.from();
  return HandleFromMember(*member, message, reply, now, outbox);
}

MaybeRejection Coordinator::Impl::HandleRegister(const Message& message, Body::Builder reply, absl::Time now, Outbox& outbox) {
  std::string lost;
  MaybeRejection rejection = context_.members.Register(message, now, &lost);
  if (rejection.has_value()) return rejection;
  context_.NoteMember(TextOf(message.envelope().getBody().getRegister().getName()));
  if (!lost.empty()) OnLost(lost, now, outbox);
  wire::Registered::Builder registered = reply.initRegistered();
  registered.setClusterId(context_.numbers.cluster_id);
  registered.setHeartbeatMicros(static_cast<uint64_t>(absl::ToInt64Microseconds(context_.options.heartbeat)));
  registered.setLeaseMicros(static_cast<uint64_t>(absl::ToInt64Microseconds(context_.options.lease)));
  return std::nullopt;
}

MaybeRejection Coordinator::Impl::HandleFromMember(MemberRecord& member, const Message& message, Body::Builder reply,
                                                   absl::Time now, Outbox& outbox) {
  const Body::Reader body = message.envelope().getBody();
  const auto unknown_session = [](std::string_view field, uint64_t session) {
    return Rejection{Code::UNKNOWN_SESSION, std::string(field), fmt::format("{} is not open", session)};
  };
  switch (body.which()) {
    case Body::HEARTBEAT:
      return HandleHeartbeat(member, body.getHeartbeat(), reply, outbox);
    case Body::GET_ASSIGNMENT:
      HandleGetAssignment(member, reply.initAssignment());
      return std::nullopt;
    case Body::GET_WORK:
      return HandleGetWork(message, reply, now);
    case Body::DEFINE_TABLES: {
      TrialRun* run = RunOf(body.getDefineTables().getSession());
      if (run == nullptr) return unknown_session("defineTables.session", body.getDefineTables().getSession());
      return run->OnDefineTables(body.getDefineTables(), reply, now, outbox);
    }
    case Body::TICK: {
      TrialRun* run = RunOf(body.getTick().getSession());
      if (run == nullptr) return unknown_session("tick.session", body.getTick().getSession());
      return run->OnTick(body.getTick(), reply.initClocks(), outbox);
    }
    case Body::EVALUATED: {
      TrialRun* run = RunOf(body.getEvaluated().getSession());
      if (run == nullptr) return unknown_session("evaluated.session", body.getEvaluated().getSession());
      reply.setOk();
      return run->OnEvaluated(body.getEvaluated());
    }
    case Body::TRIAL_FAILED: {
      TrialRun* run = RunOf(body.getTrialFailed().getSession());
      if (run == nullptr) return unknown_session("trialFailed.session", body.getTrialFailed().getSession());
      run->Fail(TextOf(body.getTrialFailed().getReason()));
      reply.setOk();
      return std::nullopt;
    }
    default:
      return Rejection{Code::WRONG_TYPE, "body", fmt::format("{} is not for the scheduler", BodyName(body.which()))};
  }
}

MaybeRejection Coordinator::Impl::HandleHeartbeat(MemberRecord& member, wire::Heartbeat::Reader heartbeat, Body::Builder reply,
                                                  Outbox& outbox) {
  ++context_.counters.heartbeats;
  if (member.server) {
    member.statistics = ServerStatistics::FromWire(heartbeat.getServer());
    member.most_rows = std::max(member.most_rows, member.statistics.rows);
    member.most_bytes = std::max(member.most_bytes, member.statistics.bytes);
  }
  if (member.server && done()) {
    member.dismissed = true;
    return Rejection{Code::CANCELLED, "heartbeat", "the sweep is over"};
  }
  reply.initHeartbeatReply().setView(context_.view.number);
  if (const TrialRun* run = RunOf(member.session)) run->OnHeartbeat(member.session, outbox);
  return std::nullopt;
}

MaybeRejection Coordinator::Impl::HandleGetView(Body::Builder reply) const {
  if (context_.view.number == 0) return Rejection{Code::NOT_YET, "getView", "the servers are not all there yet"};
  context_.view.ToWire(reply.initView());
  return std::nullopt;
}

void Coordinator::Impl::HandleGetAssignment(MemberRecord& member, wire::Assignment::Builder reply) {
  if (done()) {
    member.dismissed = true;
    return reply.setShutdown();
  }
  if (!member.server && member.session == 0) member.wants_session = true;
  const TrialRun* run = RunOf(member.session);
  // An assignment is given again until the worker has it, as long as its session is open.
  if (run != nullptr && run->FillAssignment(member.session, reply.initTrial())) return;
  reply.setNone(static_cast<uint64_t>(absl::ToInt64Microseconds(kAskAssignmentAgain)));
}

MaybeRejection Coordinator::Impl::HandleGetWork(const Message& message, Body::Builder reply, absl::Time now) {
  const wire::GetWork::Reader get_work = message.envelope().getBody().getGetWork();
  const uint64_t session = get_work.getSession();
  if (TrialRun* run = RunOf(session)) {
    return run->OnGetWork(get_work, message.envelope().getRequestId(), reply.initWork(), now);
  }
  if (!done_sessions_.contains(session)) {
    return Rejection{Code::UNKNOWN_SESSION, "getWork.session", fmt::format("{} is not open", session)};
  }
  reply.initWork().setDone();
  return std::nullopt;
}

TrialRun* Coordinator::Impl::RunOf(uint64_t session) {
  for (const Trial& trial : trials_) {
    if (trial.run != nullptr && trial.run->HasSession(session)) return trial.run.get();
  }
  return nullptr;
}

// --------------------------------------------------------------------------------------------------- time and losses

void Coordinator::Impl::OnTimer(absl::Time now, Outbox& outbox) {
  if (notes_.has_value()) TakeOver(now, outbox);
  if (!context_.status.ok()) return;
  // Called so late that members may have spoken and not been heard: the fault is ours.
  const absl::Time promised = next_timer();
  if (promised != absl::InfiniteFuture() && now > promised + context_.options.lease / 2) context_.members.Forgive(now);
  for (const std::string& name : context_.members.Expire(now)) OnLost(name, now, outbox);
  context_.shards.OnTimer(now, outbox);
  Advance(now, outbox);
}

absl::Status Coordinator::Impl::CheckServers(const std::vector<std::string>& wanted) const {
  if (wanted.size() < static_cast<size_t>(context_.options.replication)) {
    return absl::InvalidArgumentError(fmt::format("key 'cluster.servers': {} servers; replication {} needs {} at least",
                                                  wanted.size(), context_.options.replication, context_.options.replication));
  }
  for (const std::string& name : wanted) {
    const auto member = context_.members.all().find(name);
    if (member == context_.members.all().end() || member->second.server || !member->second.alive) continue;
    return absl::InvalidArgumentError(fmt::format("key 'cluster.servers': '{}' is the name of a worker that runs", name));
  }
  return absl::OkStatus();
}

absl::Status Coordinator::Impl::SetServers(const std::vector<std::string>& wanted, absl::Time now, Outbox& outbox) {
  if (absl::Status status = CheckServers(wanted); !status.ok()) return status;
  const std::set<std::string> before(context_.wanted.begin(), context_.wanted.end());
  context_.wanted = wanted;
  if (before == std::set<std::string>(wanted.begin(), wanted.end())) return absl::OkStatus();
  context_.AllowServers();
  view_changes_.OnWanted();
  Advance(now, outbox);
  return absl::OkStatus();
}

bool Coordinator::Impl::IsEmptied(const std::string& server) const {
  const std::vector<std::string>& servers = context_.servers;
  if (context_.IsWanted(server)) return false;
  if (std::find(servers.begin(), servers.end(), server) == servers.end()) return true;
  // The first view may be under way to it.
  return setup_.ready() && !view_changes_.Holds(server);
}

// A move makes walks over all rows begin anew; so they are waited for, but not for ever. And it would put an end to a
// checkpoint.
bool Coordinator::Impl::MayMove() {
  const bool walks = std::any_of(trials_.begin(), trials_.end(),
                                 [](const Trial& trial) { return trial.run != nullptr && trial.run->walks_rows(); });
  walks_since_ = walks ? std::min(walks_since_, last_advance_) : absl::InfiniteFuture();
  return !checkpoints_.under_way() && (!walks || last_advance_ - walks_since_ > kLongestWalk);
}

void Coordinator::Impl::OnProcessExit(const std::string& name, absl::Time now, Outbox& outbox) {
  if (!context_.status.ok() || !context_.members.End(name)) return;
  OnLost(name, now, outbox);
  Advance(now, outbox);
}

void Coordinator::Impl::OnLost(const std::string& name, absl::Time now, Outbox& outbox) {
  context_.NoteMember(name);
  if (context_.members.FindByName(name)->server) return OnServerLost(name, now, outbox);
  ++context_.counters.workers_lost;
  for (Trial& trial : trials_) {
    if (trial.run != nullptr) trial.run->LoseWorker(name, now, outbox);
  }
}

void Coordinator::Impl::OnServerLost(const std::string& name, absl::Time now, Outbox& outbox) {
  if (!IsEmptied(name)) ++context_.counters.servers_lost;
  if (view_changes_.LoseServer(name, now, outbox)) return;
  checkpoints_.StartOver(now);
  StartOver(name);
}

ShardKnowledge Coordinator::Impl::Knowledge() const {
  ShardKnowledge knowledge;
  for (const Trial& trial : trials_) {
    if (trial.run == nullptr) continue;
    knowledge.tables.insert(knowledge.tables.end(), trial.run->tables().begin(), trial.run->tables().end());
    for (const uint64_t session : trial.run->sessions_of_shards()) {
      knowledge.sessions.push_back({.number = session, .trial = trial.run->number()});
    }
  }
  return knowledge;
}

// Rows are gone, and every trial has some on every server. Those that run start anew, in new sessions and tables.
void Coordinator::Impl::StartOver(const std::string& name) {
  view_changes_.End();
  context_.shards.ForgetAll();
  std::set<uint64_t> open_sessions;
  for (Trial& trial : trials_) {
    if (trial.run == nullptr) continue;
    open_sessions.merge(trial.run->open_sessions());
    if (trial.run->complete() || trial.run->failed()) {
      FinishRun(trial, last_advance_);  // only its tables were left to be dropped
      continue;
    }
    FreeWorkers(*trial.run);
    trial.run = nullptr;
    context_.ForgetNote(SavedTrial::Key(trial.record.name));
    trial.record.status = TrialStatus::kPending;
    trial.unreadable = 0;
    if (trial.attempts < context_.options.max_attempts) continue;
    trial.record.status = TrialStatus::kFailed;
    trial.record.reason = fmt::format("a server was lost in each of {} attempts, at last '{}'", trial.attempts, name);
    SaveTrial(trial.record);
  }
  setup_.StartOver(open_sessions);
}

// ------------------------------------------------------------------------------------------------------------ trials

void Coordinator::Impl::Advance(absl::Time now, Outbox& outbox) {
  last_advance_ = now;
  const bool was_ready = setup_.ready();
  setup_.Advance(now, outbox);
  if (setup_.ready() && !was_ready) view_changes_.Begin();
  view_changes_.Advance(now, outbox);
  for (Trial& trial : trials_) {
    if (trial.run == nullptr) continue;
    trial.run->Advance(now, outbox);
    if (trial.run->over()) FinishRun(trial, now);
  }
  if (setup_.ready() && context_.status.ok()) StartTrials(now, outbox);
  AdvanceCheckpoints(now, outbox);
}

void Coordinator::Impl::AdvanceCheckpoints(absl::Time now, Outbox& outbox) {
  std::vector<TrialRun*> runs;
  std::set<std::string> unfinished;
  for (const Trial& trial : trials_) {
    if (trial.run != nullptr) runs.push_back(trial.run.get());
    if (!HasResult(trial.record.status) && trial.record.status != TrialStatus::kFailed) unfinished.insert(trial.record.name);
  }
  checkpoints_.Advance(runs, unfinished, !view_changes_.changing(), now, outbox);
}

void Coordinator::Impl::FreeWorkers(const TrialRun& run) {
  for (const auto& [name, record] : context_.members.all()) {
    if (run.sessions().contains(record.session)) context_.members.FindByName(name)->session = 0;
  }
}

// The result is saved before anybody hears of it.
void Coordinator::Impl::FinishRun(Trial& trial, absl::Time now) {
  const TrialRun& run = *trial.run;
  if (run.bad_checkpoint() != 0) {  // the one before, or from the beginning, or the same once it can be read
    const std::string failure = run.failure();
    run.could_not_read() ? checkpoints_.CouldNotRead(run.bad_checkpoint(), failure)
                         : checkpoints_.Refuse(run.bad_checkpoint(), failure);
    const bool again = run.could_not_read();
    FreeWorkers(run);
    trial.run = nullptr;
    trial.record.status = TrialStatus::kPending;
    if (!again) return;
    --trial.attempts;
    TryAgainLater(trial, failure, now);
    return;
  }
  trial.unreadable = 0;
  trial.record = run.Outcome();
  SaveTrial(trial.record);
  context_.ForgetNote(SavedTrial::Key(trial.record.name));
  if (!run.failed()) done_sessions_.merge(run.sessions());
  FreeWorkers(run);
  trial.run = nullptr;
  if (trial.record.result.kept) RemoveWorseModels();
}

// Its checkpoint is there and cannot be read: what was trained must not be thrown away for a mount that is missing for a while.
void Coordinator::Impl::TryAgainLater(Trial& trial, const std::string& reason, absl::Time now) {
  trial.not_before = now + kReadAgain;
  if (++trial.unreadable < kMostUnreadable) return;
  trial.record.status = TrialStatus::kFailed;
  trial.record.reason =
      fmt::format("its checkpoint could not be read {} times in a row ({}); a scheduler with --resume tries again",
                  trial.unreadable, reason);
  SaveTrial(trial.record);
}

std::optional<double> Coordinator::Impl::ScoreOf(const Trial& trial) const {
  return MetricGoal::Of(trial.config, context_.options.metric, context_.options.maximize).Score(trial.record.result.validation);
}

bool Coordinator::Impl::WantsModel(const TrialConfig& config, const std::map<std::string, double>& validation) const {
  if (context_.options.keep != KeepModels::kBest) return context_.options.keep == KeepModels::kAll;
  const MetricGoal goal = MetricGoal::Of(config, context_.options.metric, context_.options.maximize);
  return std::none_of(trials_.begin(), trials_.end(), [&](const Trial& trial) {
    return trial.record.result.kept && GroupOf(trial.config) == GroupOf(config) && ScoreOf(trial) >= goal.Score(validation);
  });
}

// Two trials may have come to their end side by side, each better than those before. Saved first: a model that no result speaks
// of is removed at the next start.
void Coordinator::Impl::RemoveWorseModels() {
  if (context_.models == nullptr || context_.options.keep != KeepModels::kBest) return;
  std::map<std::string, Trial*> best;  // by group
  for (Trial& trial : trials_) {
    if (!trial.record.result.kept) continue;
    Trial*& kept = best[GroupOf(trial.config)];
    Trial* worse = &trial;
    if (kept == nullptr || ScoreOf(trial) > ScoreOf(*kept)) std::swap(kept, worse);
    if (worse == nullptr) continue;
    worse->record.result.kept = false;
    SaveTrial(worse->record);
    if (!context_.Keep(context_.models->Remove(worse->record.name))) return;
  }
}

void Coordinator::Impl::StartTrials(absl::Time now, Outbox& outbox) {
  std::vector<std::string> free = context_.members.FreeWorkers();
  for (Trial& trial : trials_) {
    if (free.empty()) break;
    if (trial.run != nullptr) FillRanks(*trial.run, free, now, outbox);
  }
  for (Trial& trial : trials_) {
    if (trial.record.status != TrialStatus::kPending || now < trial.not_before || !MayStart(trial)) continue;
    if (free.size() < context_.options.workers_per_trial) continue;
    absl::StatusOr<std::optional<TrialCheckpoint>> checkpoint = checkpoints_.Newest(trial.record.name, trial.record.spec);
    if (!checkpoint.ok()) {
      TryAgainLater(trial, std::string(checkpoint.status().message()), now);
      continue;
    }
    ++context_.numbers.trial;
    if (!context_.SaveNumbers()) return;
    const uint64_t from = checkpoint->has_value() ? (*checkpoint)->number : 0;
    // A trial that gets further each time is not the one to blame.
    trial.attempts = from > trial.from_checkpoint ? 1 : trial.attempts + 1;
    trial.from_checkpoint = from;
    trial.record.status = TrialStatus::kRunning;
    if (from != 0) ++context_.counters.trials_restored;
    trial.run = std::make_unique<TrialRun>(context_, trial.config, trial.record.spec, context_.numbers.trial,
                                           WantsModelOf(trial.config), now, *std::move(checkpoint));
    FillRanks(*trial.run, free, now, outbox);
  }
}

// With successive halving a configuration's further seeds only run once its first one has come through, and end with it if it
// is stopped.
bool Coordinator::Impl::MayStart(Trial& trial) {
  if (!context_.asha.has_value() || trial.config.repeats.empty()) return true;
  const auto found = by_name_.find(trial.config.repeats);
  if (found == by_name_.end()) return true;
  const TrialStatus first = trials_[found->second].record.status;
  if (first == TrialStatus::kStopped) {
    trial.record.status = TrialStatus::kStopped;
    trial.record.reason = fmt::format("'{}', which it repeats with another seed, was stopped", trial.config.repeats);
    trial.record.result.stopped = "asha";
    SaveTrial(trial.record);
    return false;
  }
  return first == TrialStatus::kFinished || first == TrialStatus::kFailed;
}

void Coordinator::Impl::FillRanks(TrialRun& run, std::vector<std::string>& free, absl::Time now, Outbox& outbox) {
  for (const uint32_t rank : run.FreeRanks()) {
    if (free.empty()) return;
    run.AddWorker(*context_.members.FindByName(free.front()), rank, now, outbox);
    free.erase(free.begin());
  }
}

bool Coordinator::Impl::done() const {
  return std::all_of(trials_.begin(), trials_.end(), [](const Trial& trial) {
    return HasResult(trial.record.status) || trial.record.status == TrialStatus::kFailed;
  });
}

bool Coordinator::Impl::dismissed() const {
  const auto& members = context_.members.all();
  return done() && std::all_of(members.begin(), members.end(),
                               [](const auto& entry) { return !entry.second.alive || entry.second.dismissed; });
}

std::string Coordinator::Impl::TrialOf(const MemberRecord& member) const {
  if (!member.alive || member.session == 0) return "";
  for (const Trial& trial : trials_) {
    if (trial.run != nullptr && trial.run->HasSession(member.session)) return trial.record.name;
  }
  return "";
}

std::vector<Coordinator::Member> Coordinator::Impl::members() const {
  std::vector<Member> list;
  for (const auto& [name, record] : context_.members.all()) {
    list.push_back(Member{.name = name,
                          .server = record.server,
                          .alive = record.alive,
                          .incarnation = record.incarnation,
                          .host = record.host,
                          .metrics_endpoint = record.metrics_endpoint,
                          .endpoints = record.endpoints,
                          .statistics = record.statistics,
                          .most_rows = record.most_rows,
                          .most_bytes = record.most_bytes,
                          .heard = record.heard,
                          .trial = TrialOf(record)});
  }
  return list;
}

std::vector<Coordinator::TrialView> Coordinator::Impl::trials(absl::Time now) const {
  std::vector<TrialView> views;
  for (const Trial& trial : trials_) {
    TrialView view;
    view.trial = trial.record;
    view.config = trial.config;
    switch (trial.record.status) {
      case TrialStatus::kPending:
        view.phase = "pending";
        break;
      case TrialStatus::kFinished:
        view.phase = "finished";
        break;
      case TrialStatus::kFailed:
        view.phase = "failed";
        break;
      case TrialStatus::kStopped:
        view.phase = "stopped";
        break;
      case TrialStatus::kRunning:
        trial.run->FillView(now, &view);
        break;
    }
    views.push_back(std::move(view));
  }
  return views;
}

// ----------------------------------------------------------------------------------------------------------- facade

Coordinator::Coordinator(Identity self, CoordinatorOptions options, StateStore& store, ModelStore* models,
                         CheckpointStore* checkpoints)
    : impl_(std::make_unique<Impl>(std::move(self), std::move(options), store, models, checkpoints)) {}
absl::Status Coordinator::SetServers(const std::vector<std::string>& wanted, absl::Time now, Outbox& outbox) {
  return impl_->SetServers(wanted, now, outbox);
}
bool Coordinator::IsEmptied(const std::string& server) const { return impl_->IsEmptied(server); }
absl::Duration Coordinator::checkpoint_age(absl::Time now) const { return impl_->checkpoint_age(now); }
void Coordinator::RequestCheckpoint() { impl_->RequestCheckpoint(); }
Coordinator::~Coordinator() = default;
absl::Status Coordinator::Start(const std::vector<TrialConfig>& trials) { return impl_->Start(trials); }
void Coordinator::OnMessage(const Message& message, absl::Time now, Outbox& outbox) { impl_->OnMessage(message, now, outbox); }
void Coordinator::OnTimer(absl::Time now, Outbox& outbox) { impl_->OnTimer(now, outbox); }
absl::Time Coordinator::next_timer() const { return impl_->next_timer(); }
void Coordinator::OnProcessExit(const std::string& name, absl::Time now, Outbox& outbox) {
  impl_->OnProcessExit(name, now, outbox);
}
bool Coordinator::done() const { return impl_->done(); }
bool Coordinator::dismissed() const { return impl_->dismissed(); }
absl::Status Coordinator::status() const { return impl_->status(); }
std::vector<Coordinator::Member> Coordinator::members() const { return impl_->members(); }
std::vector<Coordinator::TrialView> Coordinator::trials(absl::Time now) const { return impl_->trials(now); }
const View& Coordinator::view() const { return impl_->view(); }
uint16_t Coordinator::wire_version() const { return impl_->wire_version(); }
uint64_t Coordinator::under_replicated_partitions() const { return impl_->under_replicated_partitions(); }
const Coordinator::Counters& Coordinator::counters() const { return impl_->counters(); }

}  // namespace marquee
