#include "worker/trial_session.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>
#include <variant>

namespace marquee {
namespace {

constexpr absl::Duration kPumpInterval = absl::Milliseconds(100);
constexpr absl::Duration kTimeToLeave = absl::Seconds(1);  // whoever stops processes waits for some seconds
constexpr double kMib = 1 << 20;

double SecondsSince(absl::Time start) { return absl::ToDoubleSeconds(Driver::now() - start); }

}  // namespace

// A step whose rows are planned and whose pull may be under way.
struct TrialSession::PlannedStep {
  std::unique_ptr<Step> step;
  uint64_t clock = 0;
  uint64_t chunk = 0;
  uint64_t chunk_next = 0;
  uint64_t pull = 0;  // 0: not yet sent
  uint64_t slowest_at_pull = 0;
  StepSeconds seconds;
};

bool WorkerContext::Leaving() const {
  const absl::Time heard = std::max(started, driver.link().last_heard());
  const bool orphaned = Driver::now() - heard > orphan_after;
  return stop || orphaned || driver.link().shutdown();
}

TrialSession::TrialSession(WorkerContext& context, TrialAssignment assignment, TrialConfig config, const Split& split)
    : context_(context),
      driver_(context.driver),
      assignment_(std::move(assignment)),
      config_(std::move(config)),
      split_(split) {}

TrialSession::~TrialSession() {
  // Its rows are written when the reply comes: they are about to go.
  if (prefetched_ != nullptr && prefetched_->pull != 0) driver_.client().ForgetPull(prefetched_->pull);
}

bool TrialSession::Over() const { return driver_.link().session_lost() || context_.Leaving(); }

absl::Status TrialSession::Pump(absl::Duration timeout) {
  if (absl::Status status = driver_.Pump(timeout); !status.ok()) return status;
  context_.metrics.Update(driver_, Driver::now());
  const absl::Status session = driver_.client().session_status();
  if (absl::IsAborted(session)) {
    // Shards close sessions on the scheduler's word alone: it will say so itself, with the reason, when asked.
    return absl::OkStatus();
  }
  return session;
}

template <typename Condition>
absl::Status TrialSession::WaitUntil(Condition condition) {
  while (!Over() && !condition()) {
    if (absl::Status status = Pump(kPumpInterval); !status.ok()) return status;
    ReportProgress();
  }
  return absl::OkStatus();
}

void TrialSession::Trace(std::string_view name, absl::Time begin, TraceArguments arguments) const {
  if (context_.trace != nullptr) context_.trace->Span(name, begin, Driver::now(), arguments);
}

absl::Status TrialSession::Run() {
  const absl::Time prepare_start = Driver::now();
  if (absl::Status status = context_.keep_alive.During([&] { return PrepareModel(); }); !status.ok()) return status;
  Trace("prepare", prepare_start, {{"trial", assignment_.name}});
  driver_.client().StartSession(assignment_.session);
  if (absl::Status status = CreateTables(); !status.ok()) return status;
  if (absl::Status status = Work(); !status.ok()) return status;
  return context_.stop ? LeaveInOrder() : absl::OkStatus();
}

absl::Status TrialSession::Work() {
  while (!Over()) {
    absl::StatusOr<std::optional<WorkItem>> work = NextWork();
    if (!work.ok()) return work.status();
    if (!work->has_value() || std::holds_alternative<DoneWork>(**work)) return absl::OkStatus();
    absl::Status status = absl::OkStatus();
    if (const auto* chunk = std::get_if<TrainChunk>(&**work)) {
      status = Train(*chunk);
    } else if (const auto* evaluation = std::get_if<EvaluationChunk>(&**work)) {
      status = Evaluate(*evaluation);
    } else {
      status = WaitForAcknowledgements();
    }
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::Status TrialSession::LeaveInOrder() {
  const absl::Time end = Driver::now() + kTimeToLeave;
  while (!driver_.link().session_lost() && Driver::now() < end) {
    ReportProgress();
    if (progress_.drained() && driver_.link().tick_confirmed()) break;
    if (absl::Status status = Pump(absl::Milliseconds(10)); !status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::Status TrialSession::PrepareModel() {
  absl::StatusOr<std::unique_ptr<Model>> model = MakeModel(config_, context_.data, split_, context_.device);
  if (!model.ok()) return model.status();
  model_ = *std::move(model);
  order_.emplace(context_.data, split_, config_.seed, model_->users_together());
  return absl::OkStatus();
}

absl::Status TrialSession::CreateTables() {
  std::vector<TableDefinition> tables = model_->tables();
  for (TableDefinition& table : tables) table.memory_budget_bytes = std::llround(config_.model.table_memory_mib * kMib);
  driver_.link().DefineTables(tables, Driver::now(), driver_.outbox());
  absl::Status status = WaitUntil([&] { return driver_.link().tables().has_value(); });
  if (!status.ok() || Over()) return status;
  const std::vector<TableDefinition>& created = *driver_.link().tables();
  if (created.size() != model_->tables().size()) {
    return absl::InternalError(fmt::format("the scheduler created {} tables of {}", created.size(), model_->tables().size()));
  }
  for (const TableDefinition& table : created) numbers_.push_back(table.number);
  return absl::OkStatus();
}

absl::StatusOr<std::optional<WorkItem>> TrialSession::NextWork() {
  if (set_aside_.has_value()) return std::exchange(set_aside_, std::nullopt);
  driver_.link().RequestWork(Driver::now(), driver_.outbox());
  std::optional<WorkItem> work;
  const absl::Status status = WaitUntil([&] {
    work = driver_.link().TakeWork();
    return work.has_value();
  });
  if (!status.ok()) return status;
  return work;
}

// ------------------------------------------------------------------------------------------------------- training

absl::Status TrialSession::Train(const TrainChunk& chunk) {
  at_barrier_ = false;
  if (absl::Status status = AddChunk(chunk); !status.ok()) return status;
  while (!Over() && (prefetched_ != nullptr || !chunks_.empty())) {
    if (prefetched_ == nullptr) {
      absl::StatusOr<std::unique_ptr<PlannedStep>> planned = PlanStep();
      if (!planned.ok()) return planned.status();
      prefetched_ = *std::move(planned);
    }
    const std::unique_ptr<PlannedStep> step = std::move(prefetched_);
    const absl::Time wait_start = Driver::now();
    if (step->pull == 0) {
      absl::Status status = WaitUntil([&] { return MayPull(step->clock); });
      if (!status.ok() || Over()) return status;
      step->slowest_at_pull = driver_.link().slowest_clock();
      if (status = StartPull(*step->step, step->pull); !status.ok()) return status;
    }
    step->seconds.wait = SecondsSince(wait_start);
    Trace("wait", wait_start, {{"step", step->clock}});
    const absl::Time pull_start = Driver::now();
    if (absl::Status status = FinishPull(step->pull); !status.ok() || Over()) return status;
    step->seconds.pull = SecondsSince(pull_start);
    Trace("pull", pull_start, {{"step", step->clock}});
    ReportPulled();
    if (absl::Status status = Prefetch(); !status.ok()) return status;
    if (absl::Status status = ComputeAndPush(*step); !status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<TrialSession::PlannedStep>> TrialSession::PlanStep() {
  const absl::Time plan_start = Driver::now();
  TrainChunk& chunk = chunks_.front();
  const uint64_t batch = static_cast<uint64_t>(config_.model.batch_size);
  // Batches start at multiples of the batch size within an epoch, whoever trains them, so that a chunk taken over from a dead
  // worker goes on with the same batches.
  const uint64_t end = std::min(chunk.end, (chunk.next / batch + 1) * batch);
  absl::StatusOr<std::unique_ptr<Step>> step = context_.keep_alive.During(
      [&] { return model_->Plan(order_->Range(chunk.epoch, chunk.next, end), chunk.epoch, chunk.next / batch); });
  if (!step.ok()) return step.status();
  auto planned = std::make_unique<PlannedStep>();
  planned->step = *std::move(step);
  planned->clock = steps_planned_++;
  planned->chunk = chunk.number;
  planned->chunk_next = end;
  chunk.next = end;
  if (chunk.next == chunk.end) chunks_.erase(chunks_.begin());
  Trace("plan", plan_start, {{"step", planned->clock}});
  return planned;
}

absl::Status TrialSession::StartPull(Step& step, uint64_t& pull) {
  std::vector<PullTable> tables;
  for (TableRows& rows : step.rows) {
    rows.values.resize(rows.ids.size() * rows.dim);
    tables.push_back(PullTable{.table = numbers_[rows.table], .dim = rows.dim, .ids = rows.ids, .values = rows.values.data()});
  }
  absl::StatusOr<Client::PullNumber> started = driver_.client().StartPull(tables, Driver::now(), driver_.outbox());
  if (!started.ok()) return started.status();
  pull = *started;
  return absl::OkStatus();
}

absl::Status TrialSession::FinishPull(uint64_t pull) {
  std::optional<absl::Status> result;
  const absl::Status status = WaitUntil([&] {
    result = driver_.client().PullResult(pull);
    return result.has_value();
  });
  driver_.client().ForgetPull(pull);
  if (!status.ok()) return status;
  return result.value_or(absl::OkStatus());
}

bool TrialSession::MayPull(uint64_t clock) const {
  switch (config_.consistency.mode) {
    case ConsistencyConfig::Mode::kAsync:
      return true;
    case ConsistencyConfig::Mode::kBounded:
      return clock <= driver_.link().slowest_clock() + static_cast<uint64_t>(config_.consistency.staleness);
    case ConsistencyConfig::Mode::kSynchronous:
      return clock <= driver_.link().slowest_clock();
  }
  return true;
}

bool TrialSession::IsMyTurn(uint64_t clock) const {
  if (config_.consistency.mode != ConsistencyConfig::Mode::kSynchronous || assignment_.workers == 1) return true;
  if (driver_.link().all_pulled() <= clock) return false;  // somebody's pull of this step could see this push
  const std::vector<uint64_t>& clocks = driver_.link().clocks();
  for (uint32_t rank = 0; rank < assignment_.rank; ++rank) {
    if (rank >= clocks.size() || clocks[rank] <= clock) return false;
  }
  return true;
}

absl::Status TrialSession::Prefetch() {
  if (absl::Status status = TakeNextChunk(); !status.ok() || chunks_.empty()) return status;
  absl::StatusOr<std::unique_ptr<PlannedStep>> planned = PlanStep();
  if (!planned.ok()) return planned.status();
  prefetched_ = *std::move(planned);
  if (!MayPull(prefetched_->clock)) return absl::OkStatus();
  prefetched_->slowest_at_pull = driver_.link().slowest_clock();
  return StartPull(*prefetched_->step, prefetched_->pull);
}

absl::Status TrialSession::TakeNextChunk() {
  if (!chunks_.empty() || set_aside_.has_value()) return absl::OkStatus();
  std::optional<WorkItem> work = driver_.link().TakeWork();
  if (!work.has_value()) return absl::OkStatus();
  if (const auto* chunk = std::get_if<TrainChunk>(&*work)) return AddChunk(*chunk);
  set_aside_ = *std::move(work);
  return absl::OkStatus();
}

absl::Status TrialSession::AddChunk(const TrainChunk& chunk) {
  if (chunk.next >= chunk.end || chunk.end > split_.train.size()) {
    return absl::InternalError(fmt::format("training chunk {} goes from {} to {} of {} examples", chunk.number, chunk.next,
                                           chunk.end, split_.train.size()));
  }
  progress_.ChunkTaken(chunk);
  chunks_.push_back(chunk);
  driver_.link().RequestWork(Driver::now(), driver_.outbox());  // the one after it, so that there is no gap between them
  return absl::OkStatus();
}

absl::Status TrialSession::ComputeAndPush(PlannedStep& planned) {
  Step& step = *planned.step;
  context_.metrics.StepBegins(config_.consistency, planned.clock, planned.slowest_at_pull);
  const absl::Time compute_start = Driver::now();
  const absl::StatusOr<double> loss_sum = context_.keep_alive.During([&] { return model_->Compute(step); });
  if (absl::IsOutOfRange(loss_sum.status())) context_.metrics.NotFinite();
  if (!loss_sum.ok()) return loss_sum.status();
  planned.seconds.compute = SecondsSince(compute_start);
  Trace("compute", compute_start, {{"step", planned.clock}, {"examples", step.examples}});

  const absl::Time wait_start = Driver::now();
  if (absl::Status status = Pump(absl::ZeroDuration()); !status.ok()) return status;
  absl::Status status = WaitUntil([&] { return IsMyTurn(planned.clock); });
  if (!status.ok() || Over()) return status;
  planned.seconds.wait += SecondsSince(wait_start);
  Trace("wait", wait_start, {{"step", planned.clock}});
  const absl::Time push_start = Driver::now();
  status = WaitUntil([&] { return driver_.client().CanPush(); });
  if (!status.ok() || Over()) return status;
  std::vector<PushTable> tables;
  for (const TableRows& rows : step.rows) {
    tables.push_back(PushTable{.table = numbers_[rows.table],
                               .dim = rows.dim,
                               .learning_rate = rows.learning_rate,
                               .ids = rows.ids,
                               .gradients = rows.gradients.data()});
  }
  status = driver_.client().StartPush(tables, Driver::now(), driver_.outbox());
  if (absl::IsInvalidArgument(status)) context_.metrics.NotFinite();
  if (!status.ok()) return status;
  progress_.StepPushed(Progress::Step{.last_push = driver_.client().pushes_started(),
                                      .chunk = planned.chunk,
                                      .chunk_next = planned.chunk_next,
                                      .examples = step.examples,
                                      .loss_sum = *loss_sum});
  planned.seconds.push = SecondsSince(push_start);
  Trace("push", push_start, {{"step", planned.clock}});
  const StepSeconds& seconds = planned.seconds;
  progress_.AddSeconds(seconds.pull + seconds.wait, seconds.compute, seconds.push);
  context_.metrics.StepComputed(seconds, *loss_sum / static_cast<double>(step.examples));
  ReportProgress();
  return absl::OkStatus();
}

void TrialSession::ReportPulled() {
  progress_.StepPulled();
  // Only there does somebody wait for it.
  if (config_.consistency.mode != ConsistencyConfig::Mode::kSynchronous || assignment_.workers == 1) return;
  driver_.link().SetTick(progress_.Report(at_barrier_), Driver::now(), driver_.outbox());
}

void TrialSession::ReportProgress() {
  if (driver_.link().tick_confirmed()) progress_.Confirmed();
  const uint64_t examples_before = progress_.examples();
  const int finished = progress_.Acknowledged(driver_.client().pushes_acknowledged());
  const bool newly_drained = at_barrier_ && progress_.drained() && !drained_reported_;
  if (finished == 0 && !newly_drained) return;
  drained_reported_ = newly_drained;
  context_.metrics.StepsAcknowledged(finished, progress_.examples() - examples_before, progress_.clock(),
                                     driver_.link().slowest_clock());
  driver_.link().SetTick(progress_.Report(at_barrier_), Driver::now(), driver_.outbox());
}

absl::Status TrialSession::WaitForAcknowledgements() {
  at_barrier_ = true;
  drained_reported_ = false;
  return WaitUntil([&] { return progress_.drained() && drained_reported_ && driver_.link().tick_confirmed(); });
}

// ----------------------------------------------------------------------------------------------------- evaluation

absl::Status TrialSession::PullNow(Step& step) {
  uint64_t pull = 0;
  if (absl::Status status = StartPull(step, pull); !status.ok()) return status;
  return FinishPull(pull);
}

absl::Status TrialSession::Evaluate(const EvaluationChunk& chunk) {
  const absl::Time start = Driver::now();
  if (evaluation_ != chunk.evaluation) {
    absl::StatusOr<std::unique_ptr<Step>> shared = model_->PlanEvaluation();
    if (!shared.ok()) return shared.status();
    if (absl::Status status = PullNow(**shared); !status.ok() || Over()) return status;
    const absl::Status begun = context_.keep_alive.During([&] { return model_->BeginEvaluation(**shared, chunk.test); });
    if (!begun.ok()) return begun;
    evaluation_ = chunk.evaluation;
  }
  const std::vector<uint32_t>& part = chunk.test ? split_.test : split_.validation;
  if (chunk.begin >= chunk.end || chunk.end > part.size()) {
    return absl::InternalError(fmt::format("evaluation chunk [{}, {}) of {} examples", chunk.begin, chunk.end, part.size()));
  }
  const auto examples = absl::MakeConstSpan(part).subspan(chunk.begin, chunk.end - chunk.begin);
  absl::StatusOr<std::unique_ptr<Step>> step = model_->PlanEvaluationChunk(examples);
  if (!step.ok()) return step.status();
  if (absl::Status status = PullNow(**step); !status.ok() || Over()) return status;
  absl::StatusOr<MetricSums> sums = context_.keep_alive.During([&] { return model_->Evaluate(**step); });
  if (absl::IsOutOfRange(sums.status())) context_.metrics.NotFinite();
  if (!sums.ok()) return sums.status();

  EvaluationReport report{.evaluation = chunk.evaluation, .chunk = chunk.chunk, .examples = examples.size(), .sums = {}};
  for (const auto& [name, sum] : *sums) {
    report.sums.push_back(EvaluationReport::Sum{.name = name, .sum = sum.sum, .weight = sum.weight});
    for (const auto& [bin, counts] : sum.bins) {
      report.sums.back().bins.push_back({.bin = bin,
                                         .positives = static_cast<uint32_t>(counts.positives),
                                         .negatives = static_cast<uint32_t>(counts.negatives)});
    }
  }
  Trace("evaluate", start, {{"chunk", chunk.chunk}, {"examples", examples.size()}});
  context_.metrics.Evaluated(examples.size());
  driver_.link().Report(std::move(report), Driver::now(), driver_.outbox());
  return Pump(absl::ZeroDuration());
}

}  // namespace marquee
