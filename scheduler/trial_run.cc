#include "scheduler/trial_run.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

namespace marquee {
namespace {

using Code = wire::Error::Code;

constexpr size_t kMaxHeldChunks = 2;  // so that a worker can have the next one when it finishes one
constexpr absl::Duration kAskWorkAgain = absl::Milliseconds(20);
constexpr uint32_t kMaxReportedChunks = 1024;
constexpr uint32_t kMaxSums = 256;
constexpr size_t kMaxReasonLength = 4096;
// So many workers lost one after the other, with nothing trained or evaluated in between, are the trial's own fault.
constexpr int kMaxLossesWithoutProgress = 10;
constexpr uint64_t kMaxEvaluations = 1U << 20U;  // of a trial: more than it can have epochs

uint64_t ChunkSize(const CoordinatorOptions& options, const TrialConfig& config) {
  return std::max<uint64_t>(1, uint64_t{options.chunk_batches} * static_cast<uint64_t>(config.model.batch_size));
}

}  // namespace

TrialRun::TrialRun(CoordinatorContext& context, const TrialConfig& config, std::string spec, uint64_t number, WantsModel wants,
                   absl::Time now, std::optional<TrialCheckpoint> checkpoint)
    : context_(context),
      config_(config),
      spec_(std::move(spec)),
      number_(number),
      started_(now),
      now_(now),
      tables_(context, number),
      chunks_({.examples = context.options.train_examples,
               .chunk_size = ChunkSize(context.options, config),
               .epochs = static_cast<uint32_t>(config.model.epochs),
               .fixed_lanes = config.consistency.mode == ConsistencyConfig::Mode::kSynchronous,
               .ranks = context.options.workers_per_trial}),
      clocks_(context.options.workers_per_trial),
      goal_(MetricGoal::Of(config, context.options.metric, context.options.maximize)),
      wants_(std::move(wants)),
      checkpoint_(std::move(checkpoint)),
      losses_(static_cast<size_t>(config.model.epochs)),
      ended_(now) {
  TrainOn();
  if (!checkpoint_.has_value()) return;
  if (const absl::Status status = GoOnFrom(checkpoint_->state, now); !status.ok()) {
    bad_checkpoint_ = checkpoint_->number;
    Fail(std::string(status.message()));
  }
}

// -------------------------------------------------------------------------------------------------- checkpoints

// Validation and test change no rows: they are done again, so that a trial is always saved as it was after training.
TrialState TrialRun::State(absl::Time now) const {
  TrialState state;
  for (const TableDefinition& table : tables_.definitions()) {
    state.tables.push_back({.number = table.number, .name = std::string(table.model_name()), .dim = table.dim});
  }
  state.chunks = chunks_.progress();
  state.trained_epochs = trained_epochs_;
  for (const EpochLoss& loss : losses_) state.losses.emplace_back(loss.sum, loss.examples);
  for (const TrialResult::Validation& validation : result_.validations) {
    if (validation.epoch < trained_epochs_) state.validations.push_back(validation);
  }
  state.repeated_examples = result_.repeated_examples;
  state.seconds = absl::ToDoubleSeconds(now - started_);
  state.trained_seconds =
      absl::ToDoubleSeconds(trained_for_ + (training_started_.has_value() ? now - *training_started_ : absl::ZeroDuration()));
  return state;
}

absl::Status TrialRun::GoOnFrom(const std::string& text, absl::Time now) {
  absl::StatusOr<TrialState> state = TrialState::FromJson(text);
  if (!state.ok()) return state.status();
  if (state->losses.size() != losses_.size() || state->trained_epochs > planned_epochs()) {
    return absl::FailedPreconditionError(
        fmt::format("epoch {} of {}; now there are {}", state->trained_epochs, state->losses.size(), losses_.size()));
  }
  if (absl::Status status = chunks_.GoOnFrom(state->chunks); !status.ok()) return status;
  saved_ = *std::move(state);
  trained_epochs_ = saved_.trained_epochs;
  chunks_.LimitTo(trained_epochs_);
  for (size_t epoch = 0; epoch < losses_.size(); ++epoch) {
    losses_[epoch] = {.sum = saved_.losses[epoch].first, .examples = saved_.losses[epoch].second};
  }
  result_.repeated_examples = saved_.repeated_examples;
  trained_for_ = absl::Seconds(saved_.trained_seconds);
  started_ = now - absl::Seconds(saved_.seconds);
  for (const TrialResult::Validation& validation : saved_.validations) {
    result_.validations.push_back(validation);
    result_.validation = validation.metrics;
    const std::optional<double> score = goal_.Score(validation.metrics);
    if (!score.has_value()) continue;
    if (config_.validation.patience > 0) StopsEarly(*score);
    if (context_.asha.has_value() && config_.repeats.empty() && context_.asha->IsRung(validation.epoch, planned_epochs())) {
      context_.asha->Report(GroupOf(config_), validation.epoch, config_.name, *score);
    }
  }
  return absl::OkStatus();
}

// ------------------------------------------------------------------------------------------- a scheduler after this one

void TrialRun::Note() {
  if (!context_.takes_notes || phase_ < Phase::kTraining || phase_ >= Phase::kCleaning || failed()) return;
  SavedTrial saved{.name = config_.name,
                   .spec = spec_,
                   .outcome = std::nullopt,
                   .number = number_,
                   .state = State(now_).ToJson(),
                   .evaluations = evaluations_,
                   .tables = tables_.definitions(),
                   .sessions = {},
                   .clocks = clocks_.Save()};
  for (const auto& [number, session] : sessions_) saved.sessions.push_back(Save(session));
  context_.Note(SavedTrial::Key(config_.name), saved.ToBytes());
}

SavedTrial::Session TrialRun::Save(const Session& session) const {
  return {.number = session.number,
          .worker = session.worker,
          .incarnation = session.incarnation,
          .rank = session.rank,
          .lost = session.lost,
          .trained = session.trained,
          .clock = session.clock,
          .examples = session.examples,
          .loss_sum = session.loss_sum,
          .held = chunks_.ChunksOf(session.number),
          .given = session.given,
          .last_chunk = session.last.number,
          .last_next = session.last.next};
}

// Its tables must not be taken for those of a trial that runs once they are being dropped.
void TrialRun::NoteOutcome() {
  if (!context_.takes_notes) return;
  if (bad_checkpoint_ != 0) return context_.ForgetNote(SavedTrial::Key(config_.name));  // it begins anew
  SavedTrial saved;
  saved.name = config_.name;
  saved.spec = spec_;
  saved.outcome = Outcome();
  context_.Note(SavedTrial::Key(config_.name), saved.ToBytes());
}

absl::Status TrialRun::TakeOver(const SavedTrial& saved, absl::Time now, Outbox& outbox) {
  if (absl::Status status = GoOnFrom(saved.state, now); !status.ok()) return status;
  const uint32_t ranks = context_.options.workers_per_trial;
  if (saved.clocks.ranks.size() != ranks) {
    return absl::FailedPreconditionError(fmt::format("{} workers; now there are to be {}", saved.clocks.ranks.size(), ranks));
  }
  clocks_.GoOnFrom(saved.clocks);
  tables_.TakeOver(saved.tables);
  evaluations_ = saved.evaluations;
  phase_ = Phase::kTraining;
  taken_over_ = true;
  for (uint32_t rank = 0; rank < ranks; ++rank) chunks_.SetAbsent(rank, !saved.clocks.ranks[rank].present);
  for (const SavedTrial::Session& session : saved.sessions) {
    if (absl::Status status = AddSession(session); !status.ok()) return status;
    if (!session.held.empty()) training_started_ = now;
  }
  for (auto& [number, session] : sessions_) GoOnWith(session, now, outbox);
  return absl::OkStatus();
}

absl::Status TrialRun::AddSession(const SavedTrial::Session& saved) {
  if (saved.rank >= context_.options.workers_per_trial) {
    return absl::FailedPreconditionError(fmt::format("session {} has rank {}", saved.number, saved.rank));
  }
  for (const uint64_t chunk : saved.held) {
    if (absl::Status status = chunks_.Hold(saved.number, chunk); !status.ok()) return status;
  }
  Session& session = sessions_[saved.number];
  session.number = saved.number;
  session.worker = saved.worker;
  session.incarnation = saved.incarnation;
  session.rank = saved.rank;
  session.lost = saved.lost;
  session.trained = saved.trained;
  session.clock = saved.clock;
  session.examples = saved.examples;
  session.loss_sum = saved.loss_sum;
  session.given = saved.given;
  if (saved.given == 0) return absl::OkStatus();
  session.last = chunks_.LeaseOf(saved.last_chunk, saved.last_next);
  return chunks_.Check(saved.last_chunk, saved.last_next);
}

// What the scheduler before this one has begun with a session may not have come to all shards.
void TrialRun::GoOnWith(Session& session, absl::Time now, Outbox& outbox) {
  if (session.lost) return Close(session, now, outbox);
  MemberRecord* const worker = context_.members.FindByName(session.worker);
  if (worker == nullptr || !worker->alive || worker->incarnation != session.incarnation) return Lose(session, now, outbox);
  worker->session = session.number;
  Open(session, now, outbox);
}

void TrialRun::Fail(std::string reason) {
  if (!failure_.empty() || phase_ >= Phase::kCleaning) return;
  reason.resize(std::min(reason.size(), kMaxReasonLength));
  failure_ = reason.empty() ? "no reason given" : std::move(reason);
}

// ------------------------------------------------------------------------------------------------------- workers

const TrialRun::Session* TrialRun::Find(uint64_t session) const {
  const auto found = sessions_.find(session);
  return found == sessions_.end() || found->second.lost || failed() ? nullptr : &found->second;
}

TrialRun::Session* TrialRun::Find(uint64_t session) {
  return const_cast<Session*>(static_cast<const TrialRun*>(this)->Find(session));
}

std::set<uint64_t> TrialRun::sessions() const {
  std::set<uint64_t> numbers;
  for (const auto& [number, session] : sessions_) {
    if (!session.lost) numbers.insert(number);
  }
  return numbers;
}

std::set<uint64_t> TrialRun::open_sessions() const {
  std::set<uint64_t> numbers;
  for (const auto& [number, session] : sessions_) {
    if (session.state != Session::State::kClosed) numbers.insert(number);
  }
  return numbers;
}

std::vector<uint32_t> TrialRun::FreeRanks() const {
  std::vector<uint32_t> ranks;
  if (phase_ >= Phase::kCleaning || failed()) return ranks;
  std::vector<bool> taken(context_.options.workers_per_trial, false);
  for (const auto& [number, session] : sessions_) {
    if (!session.lost) taken[session.rank] = true;
  }
  for (uint32_t rank = 0; rank < taken.size(); ++rank) {
    if (!taken[rank]) ranks.push_back(rank);
  }
  return ranks;
}

void TrialRun::AddWorker(MemberRecord& worker, uint32_t rank, absl::Time now, Outbox& outbox) {
  ++context_.numbers.session;
  if (!context_.SaveNumbers()) return;
  Session session;
  session.number = context_.numbers.session;
  session.worker = worker.name;
  session.incarnation = worker.incarnation;
  session.rank = rank;
  worker.session = session.number;
  worker.wants_session = false;
  chunks_.SetAbsent(rank, false);
  clocks_.Join(rank);
  sessions_[session.number] = std::move(session);
  Note();
  Open(sessions_[context_.numbers.session], now, outbox);
  ++context_.counters.sessions_opened;
}

void TrialRun::Open(Session& session, absl::Time now, Outbox& outbox) {
  session.broadcast = context_.AskAll(
      [&](uint32_t, wire::Envelope::Body::Builder body) {
        wire::OpenSession::Builder open = body.initOpenSession();
        open.setSession(session.number);
        open.setTrial(number_);
      },
      now, outbox);
}

std::vector<uint64_t> TrialRun::sessions_of_shards() const {
  std::vector<uint64_t> numbers;
  for (const auto& [number, session] : sessions_) {
    if (session.state == Session::State::kOpening || session.state == Session::State::kOpen) numbers.push_back(number);
  }
  return numbers;
}

const std::vector<TableDefinition>& TrialRun::tables() const {
  static const std::vector<TableDefinition> kNone;
  return tables_.dropping() ? kNone : tables_.definitions();
}

void TrialRun::LoseWorker(const std::string& worker, absl::Time now, Outbox& outbox) {
  for (auto& [number, session] : sessions_) {
    if (session.worker != worker || session.lost) continue;
    Lose(session, now, outbox);
    if (++losses_without_progress_ >= kMaxLossesWithoutProgress) {
      Fail(fmt::format("{} workers were lost one after the other while nothing was trained; the last one was '{}'",
                       losses_without_progress_, worker));
    }
  }
}

void TrialRun::Lose(Session& session, absl::Time now, Outbox& outbox) {
  session.lost = true;
  chunks_.SetAbsent(session.rank, true);
  clocks_.Leave(session.rank);
  if (evaluation_.has_value()) evaluation_->Release(session.number);
  Note();
  Close(session, now, outbox);
}

void TrialRun::Close(Session& session, absl::Time now, Outbox& outbox) {
  if (session.state == Session::State::kClosing || session.state == Session::State::kClosed) return;
  context_.shards.Forget(session.broadcast);
  session.state = Session::State::kClosing;
  session.broadcast = context_.AskAll(
      [&](uint32_t, wire::Envelope::Body::Builder body) { body.initCloseSession().setSession(session.number); }, now, outbox);
}

void TrialRun::AdvanceSessions() {
  for (auto& [number, session] : sessions_) {
    if (session.broadcast == 0 || !context_.shards.Finished(session.broadcast)) continue;
    const absl::Status result = context_.shards.Result(session.broadcast);
    context_.shards.Forget(std::exchange(session.broadcast, 0));
    if (session.state == Session::State::kClosing) {
      FinishClosing(session);
    } else if (result.ok()) {
      session.state = Session::State::kOpen;
    } else {
      Fail(std::string(result.message()));
    }
  }
  std::erase_if(sessions_,
                [](const auto& entry) { return entry.second.lost && entry.second.state == Session::State::kClosed; });
}

void TrialRun::FinishClosing(Session& session) {
  session.state = Session::State::kClosed;
  ++context_.counters.sessions_closed;
  if (!session.lost) return;
  // The shards take no more of its pushes. What it held and had not reported may have been trained in part, and is trained
  // again.
  const TrainingChunks::Released released = chunks_.Release(session.number);
  result_.repeated_examples += released.examples;
  context_.counters.chunks_released += released.chunks;
  context_.counters.repeated_examples += released.examples;
}

// -------------------------------------------------------------------------------------------------------- phases

void TrialRun::Advance(absl::Time now, Outbox& outbox) {
  now_ = now;
  AdvanceSessions();
  const Phase before = phase_;
  while (context_.status.ok() && Step(now, outbox)) {
  }
  if (UpdateIdle() || before != phase_) Note();
  NotifyClocks(0, outbox);
}

bool TrialRun::Step(absl::Time now, Outbox& outbox) {
  if (failed() && phase_ < Phase::kCleaning) {
    StartCleaning(now, outbox);
    return true;
  }
  const Phase before = phase_;
  switch (phase_) {
    case Phase::kTables:
      if (!tables_.error().ok()) Fail(std::string(tables_.error().message()));
      if (tables_.created()) AfterTables();
      break;
    case Phase::kLoading:
      if (restorer_.has_value()) {
        if (absl::Status status = restorer_->Advance(now, outbox); !status.ok()) {
          bad_checkpoint_ = checkpoint_->number;
          could_not_read_ = absl::IsUnavailable(status);
          Fail(std::string(status.message()));
        }
        if (!failed() && restorer_->done()) phase_ = Phase::kTraining;
        break;
      }
      if (absl::Status status = loader_->Advance(now, outbox); !status.ok()) Fail(std::string(status.message()));
      if (!failed() && loader_->done()) phase_ = Phase::kTraining;
      break;
    case Phase::kTraining:
      if (!tables_.error().ok()) Fail(std::string(tables_.error().message()));
      if (!chunks_.done()) break;
      if (training_started_.has_value()) trained_for_ += now - *training_started_;
      training_started_.reset();
      phase_ = Phase::kBarrier;
      break;
    case Phase::kBarrier:
      if (!AllDrained()) break;
      StartEvaluation(false);
      break;
    case Phase::kValidation:
    case Phase::kTest:
      if (!evaluation_->done()) break;
      FinishEvaluation(now);
      if (complete_) StartCleaning(now, outbox);
      break;
    case Phase::kKeeping:
      if (absl::Status status = keeper_->Advance(now, outbox); !status.ok()) Fail(std::string(status.message()));
      if (!failed() && context_.status.ok() && keeper_->done()) FinishKeeping(now);
      if (complete_) StartCleaning(now, outbox);
      break;
    case Phase::kCleaning:
      if (tables_.dropped() && open_sessions().empty()) phase_ = Phase::kOver;
      return false;
    case Phase::kOver:
      return false;
  }
  return phase_ != before || failed();
}

bool TrialRun::AllDrained() const {
  return std::all_of(sessions_.begin(), sessions_.end(), [](const auto& entry) {
    const Session& session = entry.second;
    return !session.lost && (session.drained || !session.trained);
  });
}

void TrialRun::AfterTables() {
  if (checkpoint_.has_value()) {
    phase_ = Phase::kLoading;
    restorer_.emplace(context_, *checkpoint_, saved_.tables, tables_.definitions());
    return;
  }
  phase_ = config_.model.start_from.empty() ? Phase::kTraining : Phase::kLoading;
  if (phase_ == Phase::kLoading) loader_.emplace(context_, config_.model.start_from, tables_.definitions());
}

// The next epoch at whose end validation is looked at: by the trial's own interval, for successive halving, or the last one.
uint32_t TrialRun::NextValidation(uint32_t after) const {
  uint32_t next = planned_epochs();
  const auto every = static_cast<uint32_t>(config_.validation.every);
  if (every > 0) next = std::min(next, (after / every + 1) * every);
  if (context_.asha.has_value() && config_.repeats.empty()) {
    const uint32_t rung = context_.asha->RungAfter(after, planned_epochs());
    if (rung != 0) next = std::min(next, rung);
  }
  return next;
}

void TrialRun::TrainOn() {
  trained_epochs_ = NextValidation(trained_epochs_);
  chunks_.LimitTo(trained_epochs_);
}

void TrialRun::StartEvaluation(bool test) {
  phase_ = test ? Phase::kTest : Phase::kValidation;
  evaluation_.emplace(number_ * kMaxEvaluations + evaluations_++,
                      test ? context_.options.test_examples : context_.options.validation_examples,
                      context_.options.evaluation_chunk);
}

void TrialRun::FinishEvaluation(absl::Time now) {
  const bool test = phase_ == Phase::kTest;
  std::map<std::string, double> metrics = evaluation_->Result();
  for (const auto& [name, value] : metrics) {
    if (std::isfinite(value)) continue;
    return Fail(fmt::format("{} gives {} = {}", test ? "test" : "validation", name, value));
  }
  if (!test) {
    result_.validation = metrics;
    result_.validations.push_back({.epoch = trained_epochs_, .metrics = std::move(metrics)});
    return AfterValidation(now);
  }
  result_.test = std::move(metrics);
  if (context_.models == nullptr || !wants_(result_.validation)) return Complete(now);
  phase_ = Phase::kKeeping;
  keeper_.emplace(context_, config_.name, tables_.definitions());
}

void TrialRun::AfterValidation(absl::Time now) {
  if (trained_epochs_ == planned_epochs()) return StartEvaluation(true);
  const bool rung =
      context_.asha.has_value() && config_.repeats.empty() && context_.asha->IsRung(trained_epochs_, planned_epochs());
  if (rung || config_.validation.patience > 0) {
    const std::optional<double> score = goal_.Score(result_.validation);
    if (!score.has_value()) {
      return Fail(fmt::format("validation has no metric '{}', by which the sweep stops trials", goal_.metric));
    }
    if (rung && !context_.asha->Report(GroupOf(config_), trained_epochs_, config_.name, *score)) {
      result_.stopped = "asha";
      halted_ = true;
      return Complete(now);
    }
    if (StopsEarly(*score)) {
      result_.stopped = "early_stopping";
      return StartEvaluation(true);
    }
  }
  TrainOn();
  phase_ = Phase::kTraining;
}

bool TrialRun::StopsEarly(double score) {
  if (!best_.has_value() || score > *best_ + config_.validation.min_delta) {
    best_ = score;
    validations_since_best_ = 0;
    return false;
  }
  ++validations_since_best_;
  return config_.validation.patience > 0 && validations_since_best_ >= config_.validation.patience;
}

void TrialRun::FinishKeeping(absl::Time now) {
  Complete(now);
  result_.kept = true;
  if (!context_.Keep(keeper_->Finish(config_, Result()))) complete_ = false;
}

void TrialRun::Complete(absl::Time now) {
  complete_ = true;
  ended_ = now;
}

void TrialRun::StartCleaning(absl::Time now, Outbox& outbox) {
  phase_ = Phase::kCleaning;
  NoteOutcome();
  tables_.Drop(now, outbox);
  for (auto& [number, session] : sessions_) Close(session, now, outbox);
}

// ----------------------------------------------------------------------------------------------------------- clocks

bool TrialRun::UpdateIdle() {
  bool any = false;
  for (const auto& [number, session] : sessions_) {
    if (session.lost) continue;
    any |= clocks_.SetIdle(session.rank, chunks_.HeldBy(number) == 0 && !chunks_.Available(session.rank));
  }
  return any;
}

void TrialRun::FillClocks(const Session& session, wire::Clocks::Builder builder) const {
  builder.setTrial(number_);
  builder.setSession(session.number);
  builder.setSlowest(clocks_.SlowestFor(session.rank));
  builder.setAllPulled(clocks_.AllPulledFor(session.rank));
  auto clocks = builder.initClocks(context_.options.workers_per_trial);
  for (uint32_t rank = 0; rank < clocks.size(); ++rank) clocks.set(rank, clocks_.ClockFor(session.rank, rank));
}

void TrialRun::NotifyClocks(uint64_t left_out, Outbox& outbox) {
  if (config_.consistency.mode == ConsistencyConfig::Mode::kAsync) return;
  // In synchronous mode each clock is waited for: pushes of a step go in the order of ranks.
  const uint64_t changes = Synchronous() ? clocks_.changes() : clocks_.slowest_changes();
  if (std::exchange(told_changes_, changes) == changes) return;
  for (const auto& [number, session] : sessions_) {
    if (number != left_out) SendClocks(session, outbox);
  }
}

void TrialRun::SendClocks(const Session& session, Outbox& outbox) const {
  if (session.lost || session.state != Session::State::kOpen) return;
  const MemberRecord* member = context_.members.FindByName(session.worker);
  if (member == nullptr || !member->alive || member->route.empty()) return;
  OutgoingMessagePtr message = NewRequest(context_.self, context_.view.number, 0, absl::ZeroDuration());
  FillClocks(session, message->envelope().getBody().initClocks());
  outbox.Send(member->route, std::move(message));
}

void TrialRun::OnHeartbeat(uint64_t session, Outbox& outbox) const {
  if (config_.consistency.mode != ConsistencyConfig::Mode::kAsync) SendClocks(*Find(session), outbox);
}

// --------------------------------------------------------------------------------------------------------- requests

bool TrialRun::FillAssignment(uint64_t session, wire::TrialAssignment::Builder builder) const {
  const Session* found = Find(session);
  if (found == nullptr || found->state != Session::State::kOpen) return false;
  builder.setTrial(number_);
  builder.setName(config_.name.c_str());
  builder.setSession(session);
  builder.setRank(found->rank);
  builder.setWorkers(context_.options.workers_per_trial);
  builder.setSpec(spec_.c_str());
  return true;
}

MaybeRejection TrialRun::OnDefineTables(wire::DefineTables::Reader reader, wire::Envelope::Body::Builder reply, absl::Time now,
                                        Outbox& outbox) {
  if (phase_ >= Phase::kCleaning) return Rejection{Code::NOT_YET, "defineTables.session", "the trial is over"};
  if (MaybeRejection rejection = tables_.Propose(reader.getDefinitions(), now, outbox)) return rejection;
  if (!tables_.created()) return Rejection{Code::NOT_YET, "defineTables", "not yet created on all shards"};
  auto list = reply.initTables().initDefinitions(static_cast<uint32_t>(tables_.definitions().size()));
  for (uint32_t i = 0; i < list.size(); ++i) tables_.definitions()[i].ToWire(list[i]);
  return std::nullopt;
}

MaybeRejection TrialRun::OnGetWork(wire::GetWork::Reader reader, uint64_t request_id, wire::Work::Builder reply,
                                   absl::Time now) {
  Session& session = *Find(reader.getSession());
  if (request_id > session.work_request) {
    if (MaybeRejection rejection = Answer(session, reader.getTaken(), now)) return rejection;
    session.work_request = request_id;
  } else if (request_id < session.work_request) {
    // A late copy: its answer has come, or the worker would not have asked again.
    FillWork(WorkAnswer{}, reply);
    return std::nullopt;
  }
  FillWork(session.answer, reply);
  return std::nullopt;
}

// The request may be one that the scheduler before this one has answered, and the answer lost: then it knows how many chunks
// the worker has, but not which requests were made.
MaybeRejection TrialRun::Answer(Session& session, uint64_t taken, absl::Time now) {
  if (taken > session.given + 1) {
    return Rejection{Code::UNKNOWN_SESSION, "getWork.taken",
                     fmt::format("{} chunks; this session was given {}", taken - 1, session.given)};
  }
  if (taken == session.given && taken != 0) {
    session.answer = WorkAnswer{.kind = WorkAnswer::Kind::kTrain, .train = session.last, .evaluate = {}};
  } else if (taken == 0 || taken == session.given + 1) {
    session.answer = ChooseWork(session, now);
  } else {
    session.answer = WorkAnswer{};
  }
  return std::nullopt;
}

TrialRun::WorkAnswer TrialRun::ChooseWork(Session& session, absl::Time now) {
  WorkAnswer answer;
  if (phase_ == Phase::kTraining && chunks_.HeldBy(session.number) < kMaxHeldChunks) {
    if (const auto lease = chunks_.Take(session.number, session.rank)) {
      answer.kind = WorkAnswer::Kind::kTrain;
      answer.train = *lease;
      session.trained = true;
      session.drained = false;
      session.last = *lease;
      ++session.given;
      ++context_.counters.chunks_leased;
      if (!training_started_.has_value()) training_started_ = now;
      UpdateIdle();
      Note();
    }
  } else if (phase_ == Phase::kBarrier) {
    answer.kind = WorkAnswer::Kind::kBarrier;
  } else if (phase_ == Phase::kValidation || phase_ == Phase::kTest) {
    std::optional<EvaluationChunks::Lease> lease = evaluation_->Take(session.number);
    // It may have been given to a late copy of a request that the scheduler before this one had answered.
    if (!lease.has_value() && taken_over_) lease = evaluation_->Again(session.number);
    if (lease.has_value()) {
      answer.kind = WorkAnswer::Kind::kEvaluate;
      answer.evaluate = *lease;
      answer.evaluation = evaluation_->number();
      answer.test = phase_ == Phase::kTest;
    }
  }
  return answer;
}

void TrialRun::FillWork(const WorkAnswer& answer, wire::Work::Builder reply) {
  switch (answer.kind) {
    case WorkAnswer::Kind::kWait:
      reply.setWait(static_cast<uint64_t>(absl::ToInt64Microseconds(kAskWorkAgain)));
      return;
    case WorkAnswer::Kind::kBarrier:
      reply.setBarrier();
      return;
    case WorkAnswer::Kind::kTrain: {
      wire::Chunk::Builder chunk = reply.initTrain();
      chunk.setNumber(answer.train.number);
      chunk.setEpoch(answer.train.epoch);
      chunk.setBegin(answer.train.begin);
      chunk.setEnd(answer.train.end);
      chunk.setNext(answer.train.next);
      return;
    }
    case WorkAnswer::Kind::kEvaluate: {
      wire::EvaluationChunk::Builder chunk = reply.initEvaluate();
      chunk.setEvaluation(answer.evaluation);
      chunk.setPart(answer.test ? wire::EvaluationChunk::Part::TEST : wire::EvaluationChunk::Part::VALIDATION);
      chunk.setChunk(answer.evaluate.chunk);
      chunk.setBegin(answer.evaluate.begin);
      chunk.setEnd(answer.evaluate.end);
      return;
    }
  }
}

TrialRun::TickData TrialRun::ReadTick(wire::Tick::Reader reader) {
  TickData tick{.session = reader.getSession(),
                .clock = reader.getClock(),
                .pulled = reader.getPulled(),
                .examples = reader.getExamples(),
                .loss_sum = reader.getLossSum(),
                .drained = reader.getDrained(),
                .chunks = {}};
  for (const auto chunk : reader.getChunks()) {
    tick.chunks.push_back(TickData::Chunk{.number = chunk.getNumber(), .next = chunk.getNext()});
  }
  return tick;
}

MaybeRejection TrialRun::CheckTick(const TickData& tick) const {
  const Session& session = *Find(tick.session);
  if (!std::isfinite(tick.loss_sum)) return Rejection{Code::NOT_FINITE, "tick.lossSum", "must be a finite number"};
  for (const TickData::Chunk& chunk : tick.chunks) {
    const absl::Status status = chunks_.Check(chunk.number, chunk.next);
    if (!status.ok()) return Rejection{Code::MALFORMED, "tick.chunks", std::string(status.message())};
  }
  if (tick.clock > session.clock && tick.examples < session.examples) {
    return Rejection{Code::MALFORMED, "tick.examples",
                     fmt::format("{}; clock {} had {} already", tick.examples, session.clock, session.examples)};
  }
  return std::nullopt;
}

MaybeRejection TrialRun::OnTick(wire::Tick::Reader reader, wire::Clocks::Builder reply, Outbox& outbox) {
  if (reader.getChunks().size() > kMaxReportedChunks) {
    return Rejection{Code::MALFORMED, "tick.chunks",
                     fmt::format("{} chunks; at most {}", reader.getChunks().size(), kMaxReportedChunks)};
  }
  const TickData tick = ReadTick(reader);
  if (MaybeRejection rejection = CheckTick(tick)) return rejection;
  ++context_.counters.ticks;
  Session& session = *Find(tick.session);
  // A lower clock is a late copy.
  const bool finished = tick.clock >= session.clock && CountTick(tick, session);
  clocks_.ReportPulled(session.rank, tick.pulled);
  // The worker does not name a chunk again once it has heard that it is counted.
  if (UpdateIdle() || finished) Note();
  NotifyClocks(session.number, outbox);
  FillClocks(session, reply);
  return std::nullopt;
}

bool TrialRun::CountTick(const TickData& tick, Session& session) {
  std::map<uint32_t, uint64_t> added;  // by epoch
  uint64_t total = 0;
  const size_t held = chunks_.HeldBy(session.number);
  for (const TickData::Chunk& chunk : tick.chunks) {
    const uint64_t examples = chunks_.Report(session.number, chunk.number, chunk.next);
    added[chunks_.EpochOf(chunk.number)] += examples;
    total += examples;
  }
  if (total > 0) {
    // A tick that spans two epochs gives each its share of the loss.
    const double loss = tick.loss_sum - session.loss_sum;
    for (const auto& [epoch, examples] : added) {
      losses_[epoch].sum += loss * static_cast<double>(examples) / static_cast<double>(total);
      losses_[epoch].examples += static_cast<double>(examples);
    }
    losses_without_progress_ = 0;
    context_.counters.examples += total;
  }
  const bool repeated = tick.clock == session.clock;
  session.drained = tick.drained || (repeated && session.drained);
  session.clock = tick.clock;
  session.examples = std::max(session.examples, tick.examples);
  session.loss_sum = tick.loss_sum;
  clocks_.Report(session.rank, session.clock);
  return chunks_.HeldBy(session.number) < held;
}

MaybeRejection TrialRun::ReadSums(wire::Evaluated::Reader reader, MetricSums* sums) const {
  if (reader.getSums().size() > kMaxSums) {
    return Rejection{Code::MALFORMED, "evaluated.sums", fmt::format("{} sums; at most {}", reader.getSums().size(), kMaxSums)};
  }
  for (const auto sum : reader.getSums()) {
    const std::string name(sum.getName().cStr(), sum.getName().size());
    if (name.empty()) return Rejection{Code::MALFORMED, "evaluated.sums.name", "is empty"};
    if (!std::isfinite(sum.getSum()) || !std::isfinite(sum.getWeight()) || sum.getWeight() < 0) {
      return Rejection{Code::NOT_FINITE, "evaluated.sums",
                       fmt::format("{}: sum {} of weight {}; must be finite, and the weight not negative", name, sum.getSum(),
                                   sum.getWeight())};
    }
    const auto [added, is_new] = sums->emplace(name, MetricSum{.sum = sum.getSum(), .weight = sum.getWeight()});
    if (!is_new) return Rejection{Code::MALFORMED, "evaluated.sums.name", fmt::format("{} twice", name)};
    for (const auto bin : sum.getBins()) {
      const ScoreBin counts{.positives = bin.getPositives(), .negatives = bin.getNegatives()};
      if (bin.getBin() >= kScoreBins || !added->second.bins.emplace(bin.getBin(), counts).second) {
        return Rejection{Code::MALFORMED, "evaluated.sums.bins",
                         fmt::format("{}: bin {}; must be below {}, and each once", name, bin.getBin(), kScoreBins)};
      }
    }
  }
  return std::nullopt;
}

MaybeRejection TrialRun::OnEvaluated(wire::Evaluated::Reader reader) {
  MetricSums sums;
  if (MaybeRejection rejection = ReadSums(reader, &sums)) return rejection;
  const uint64_t evaluation = reader.getEvaluation();
  const uint64_t evaluations = taken_over_ ? kMaxEvaluations : evaluations_;  // the scheduler before may have begun more
  if (evaluation < number_ * kMaxEvaluations || evaluation >= number_ * kMaxEvaluations + evaluations) {
    return Rejection{Code::MALFORMED, "evaluated.evaluation", fmt::format("{} is none of this trial's", evaluation)};
  }
  // Of another one: a late copy.
  if (!evaluation_.has_value() || evaluation != evaluation_->number()) return std::nullopt;
  if (reader.getChunk() >= evaluation_->total()) {
    return Rejection{Code::MALFORMED, "evaluated.chunk", fmt::format("{} of {}", reader.getChunk(), evaluation_->total())};
  }
  if (reader.getExamples() != evaluation_->SizeOf(reader.getChunk())) {
    return Rejection{Code::MALFORMED, "evaluated.examples",
                     fmt::format("{}; the chunk has {}", reader.getExamples(), evaluation_->SizeOf(reader.getChunk()))};
  }
  if (evaluation_->Add(reader.getChunk(), std::move(sums))) losses_without_progress_ = 0;
  return std::nullopt;
}

// ---------------------------------------------------------------------------------------------------------- results

double TrialRun::ExamplesPerSecond(absl::Time now) const {
  const absl::Duration since = training_started_.has_value() ? now - *training_started_ : absl::ZeroDuration();
  const double seconds = absl::ToDoubleSeconds(trained_for_ + since);
  return seconds > 0 ? static_cast<double>(chunks_.trained_examples()) / seconds : 0;
}

StateStore::Trial TrialRun::Outcome() const {
  return {.name = config_.name,
          .spec = spec_,
          .status = failed()  ? TrialStatus::kFailed
                    : halted_ ? TrialStatus::kStopped
                              : TrialStatus::kFinished,
          .reason = failure_,
          .result = Result()};
}

TrialResult TrialRun::Result() const {
  TrialResult result = result_;
  result.epochs = result.validations.empty() ? 0 : result.validations.back().epoch;
  for (uint32_t epoch = 0; epoch < result.epochs; ++epoch) {
    const EpochLoss& loss = losses_[epoch];
    result.epoch_losses.push_back(loss.examples > 0 ? loss.sum / loss.examples : 0);
  }
  result.seconds = absl::ToDoubleSeconds(ended_ - started_);
  result.examples_per_second = ExamplesPerSecond(ended_);
  result.examples = chunks_.trained_examples();
  return result;
}

void TrialRun::FillView(absl::Time now, Coordinator::TrialView* view) const {
  static constexpr std::string_view kPhases[] = {"tables", "loading", "training", "training", "validation",
                                                 "test",   "keeping", "test",     "finished"};
  view->number = number_;
  view->phase = failed() ? "failed" : std::string(kPhases[static_cast<size_t>(phase_)]);
  view->epoch = chunks_.epoch();
  view->epoch_progress =
      static_cast<double>(chunks_.EpochExamples(view->epoch)) / static_cast<double>(context_.options.train_examples);
  view->examples_per_second = ExamplesPerSecond(now);
  const EpochLoss& loss = losses_[view->epoch];
  view->loss = loss.examples > 0 ? loss.sum / loss.examples : 0;
  if (!result_.validations.empty()) {
    const MetricGoal goal = MetricGoal::Of(config_, context_.options.metric, context_.options.maximize);
    const std::map<std::string, double>& metrics = result_.validations.back().metrics;
    const auto found = metrics.find(goal.metric);
    if (found != metrics.end()) view->validation = *found;
  }
  view->trial.result.validations = result_.validations;
  for (uint32_t epoch = 0; epoch < view->epoch; ++epoch) {
    const EpochLoss& whole = losses_[epoch];
    view->trial.result.epoch_losses.push_back(whole.examples > 0 ? whole.sum / whole.examples : 0);
  }
  view->slowest_clock = clocks_.slowest();
  view->fastest_clock = clocks_.fastest();
  const uint64_t all = context_.options.train_examples * static_cast<uint64_t>(config_.model.epochs);
  if (phase_ == Phase::kTraining && view->examples_per_second > 0) {
    view->time_left = absl::Seconds(static_cast<double>(all - chunks_.trained_examples()) / view->examples_per_second);
  }
}

}  // namespace marquee
