#include "tests/simulation/sim_worker.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <utility>
#include <variant>

namespace marquee::simulation {
namespace {

constexpr uint64_t kWindow = 64;
std::vector<TableDefinition> Tables() {
  std::vector<TableDefinition> tables(std::size(kDims));
  for (size_t i = 0; i < tables.size(); ++i) {
    tables[i].name = TableName(i);
    tables[i].dim = kDims[i];
    tables[i].initializer = {.kind = Initializer::Kind::kConstant, .scale = kInitial};
    // Both update rows by what is pushed alone; that with momentum keeps it, as optimizer state.
    tables[i].optimizer.kind = i == 0 ? Optimizer::Kind::kSgd : Optimizer::Kind::kMomentum;
  }
  return tables;
}

// Refuses pushes that the window does not allow, whatever the client believes.
class WindowCheck : public Outbox {
 public:
  WindowCheck(World& world, const Client& client, Outbox& outbox) : world_(world), client_(client), outbox_(outbox) {}
  void Send(const Peer& to, OutgoingMessagePtr message) override {
    const auto body = message->envelope().asReader().getBody();
    if (body.isPush() && body.getPush().getSequence() > client_.pushes_acknowledged() + kWindow) {
      world_.Violate(fmt::format("push {} of session {} was sent while {} were acknowledged", body.getPush().getSequence(),
                                 body.getPush().getSession(), client_.pushes_acknowledged()));
    }
    outbox_.Send(to, std::move(message));
  }

 private:
  World& world_;
  const Client& client_;
  Outbox& outbox_;
};

}  // namespace

std::string TableName(size_t table) { return fmt::format("ledger{}", table); }

double ScoreAfter(const std::string& trial, uint32_t epochs) {
  return static_cast<double>(FeatureId(trial, fmt::format("{}", epochs)) % 1024) / 1024;
}

SimWorker::SimWorker(World& world, Ledger& ledger, const SimWorkerOptions& options, TrialNews& news, uint64_t seed,
                     Identity self, Peer scheduler, std::function<bool()> bound_holds)
    : world_(world),
      ledger_(ledger),
      options_(options),
      news_(news),
      random_(seed),
      self_(self),
      scheduler_(scheduler),
      bound_holds_(std::move(bound_holds)),
      client_(self, options.client),
      link_(self, Registration{.host = "localhost", .process_id = 1, .metrics_endpoint = "", .data_checksum = 0}, scheduler) {}

SimWorker::~SimWorker() { news_.duplicates += duplicates(); }

void SimWorker::OnMessage(const std::string&, const Message& message, absl::Time now, Outbox& outbox) {
  WindowCheck checked(world_, client_, outbox);
  if (message.from() == scheduler_) {
    link_.OnMessage(message, now, checked);
  } else {
    client_.OnMessage(message, now, checked);
  }
  Work(now, checked);
}

void SimWorker::OnTimer(absl::Time now, Outbox& outbox) {
  WindowCheck checked(world_, client_, outbox);
  client_.OnTimer(now, checked);
  link_.OnTimer(now, checked);
  Work(now, checked);
}

absl::Time SimWorker::next_timer() const {
  if (finished()) return absl::InfiniteFuture();
  absl::Time next = std::min(client_.next_timer(), link_.next_timer());
  if (!steps_.empty() && steps_.front().computed > worked_) next = std::min(next, steps_.front().computed);
  return next;
}

void SimWorker::Work(absl::Time now, Outbox& outbox) {
  worked_ = now;
  if (absl::IsAlreadyExists(link_.status())) return std::exchange(exit_, [] {})();
  if (!link_.status().ok()) return world_.Violate(fmt::format("{}: {}", self_.name, link_.status().ToString()));
  if (link_.view().number > client_.view().number) client_.SetView(link_.view(), now, outbox);
  if (client_.wanted_view() > client_.view().number) link_.WantView(client_.wanted_view());
  link_.OnTimer(now, outbox);
  while (!finished() && Act(now, outbox)) {
  }
}

bool SimWorker::Act(absl::Time now, Outbox& outbox) {
  if (doing_ == Doing::kNothing) {
    if (!link_.assignment().has_value() || client_.view().number == 0) return false;
    BeginSession(now, outbox);
    return true;
  }
  if (link_.session_lost()) {
    ++news_.sessions_lost;
    EndSession(now, outbox);
    return true;
  }
  CheckSession(now, outbox);
  ReportProgress(now, outbox);
  switch (doing_) {
    case Doing::kNothing:
      return false;
    case Doing::kDefining:
      if (!link_.tables().has_value()) return false;
      doing_ = Doing::kTraining;
      return true;
    case Doing::kTraining:
      return Train(now, outbox);
    case Doing::kDraining:
      if (!progress_.drained() || !drained_reported_ || !link_.tick_confirmed()) return false;
      doing_ = Doing::kTraining;
      return true;
    case Doing::kEvaluating:
      return Evaluate(now, outbox);
  }
  return false;
}

void SimWorker::BeginSession(absl::Time now, Outbox& outbox) {
  const TrialAssignment& assignment = *link_.assignment();
  const auto config = options_.trials.find(assignment.name);
  if (config == options_.trials.end()) return world_.Violate(fmt::format("{} is no trial", assignment.name));
  config_ = &config->second;
  uint64_t& newest = news_.newest_trial[assignment.name];
  newest = std::max(newest, assignment.trial);
  news_.peers[assignment.trial].push_back(assignment.session);
  client_.StartSession(assignment.session);
  doing_ = Doing::kDefining;
  link_.DefineTables(Tables(), now, outbox);
}

void SimWorker::ForgetPulls() {
  for (const Step& step : steps_) {
    if (step.pull != 0) client_.ForgetPull(step.pull);
  }
  if (evaluation_pull_ != 0) client_.ForgetPull(std::exchange(evaluation_pull_, 0));
}

void SimWorker::EndSession(absl::Time now, Outbox& outbox) {
  ForgetPulls();
  client_.StartSession(0);
  doing_ = Doing::kNothing;
  progress_ = Progress();
  chunks_.clear();
  steps_.clear();
  pending_.clear();
  planned_ = 0;
  at_barrier_ = false;
  drained_reported_ = false;
  link_.FinishSession(now, outbox);
}

// A session may be closed at any time, and its tables dropped; anything else that ends it is somebody's bug.
void SimWorker::CheckSession(absl::Time now, Outbox& outbox) {
  const absl::Status status = client_.session_status();
  if (status.ok() || absl::IsAborted(status)) return;
  if (!absl::IsNotFound(status)) world_.Violate(fmt::format("{}: a push was refused: {}", self_.name, status.ToString()));
  link_.FailTrial(status.ToString(), now, outbox);
}

void SimWorker::ReportProgress(absl::Time now, Outbox& outbox) {
  for (; !pending_.empty() && pending_.front().last_push <= client_.pushes_acknowledged(); pending_.pop_front()) {
    ledger_.Acknowledge(pending_.front().attempt);
  }
  if (link_.tick_confirmed()) progress_.Confirmed();
  const int finished = progress_.Acknowledged(client_.pushes_acknowledged());
  const bool newly_drained = at_barrier_ && progress_.drained() && !drained_reported_;
  if (finished == 0 && !newly_drained) return;
  drained_reported_ = newly_drained;
  link_.SetTick(progress_.Report(at_barrier_), now, outbox);
}

bool SimWorker::TakeWork(absl::Time now, Outbox& outbox) {
  link_.RequestWork(now, outbox);
  const std::optional<WorkItem> item = link_.TakeWork();
  if (!item.has_value()) return false;
  TakeItem(*item, now, outbox);
  return true;
}

void SimWorker::TakeItem(const WorkItem& item, absl::Time now, Outbox& outbox) {
  if (const auto* chunk = std::get_if<TrainChunk>(&item)) {
    at_barrier_ = false;
    if (chunk->next >= chunk->end) return world_.Violate(fmt::format("chunk {} has nothing to train", chunk->number));
    progress_.ChunkTaken(*chunk);
    chunks_.push_back(*chunk);
    link_.RequestWork(now, outbox);
  } else if (const auto* evaluation = std::get_if<EvaluationChunk>(&item)) {
    doing_ = Doing::kEvaluating;
    evaluation_ = *evaluation;
    news_.evaluated.insert(link_.assignment()->trial);
  } else if (std::holds_alternative<BarrierWork>(item)) {
    doing_ = Doing::kDraining;
    at_barrier_ = true;
    drained_reported_ = false;
  } else {
    EndSession(now, outbox);
  }
}

// ------------------------------------------------------------------------------------------------------------ training

bool SimWorker::Train(absl::Time now, Outbox& outbox) {
  const size_t most_steps = options_.prefetch ? 2 : 1;
  if (chunks_.empty() && steps_.empty()) return TakeWork(now, outbox);
  if (!chunks_.empty() && steps_.size() < most_steps && (steps_.empty() || steps_.back().read)) {
    Plan();
    return true;
  }
  for (Step& step : steps_) {
    if (step.pull == 0 && !step.read && StartPull(step, now, outbox)) return true;
    if (step.pull != 0 && FinishPull(step, now, outbox)) return true;
  }
  if (steps_.empty()) return false;
  Step& step = steps_.front();
  if (step.read && step.computed == absl::InfiniteFuture()) {
    step.computed = now + random_.Between(options_.shortest_compute, options_.longest_compute);
    // While this one computes, the chunk after the last is looked for.
    if (chunks_.empty()) {
      if (const auto item = link_.TakeWork(); item.has_value()) {
        if (!std::holds_alternative<TrainChunk>(*item)) {
          world_.Violate(fmt::format("{} holds a chunk and was told that there is none left", self_.name));
        }
        TakeItem(*item, now, outbox);
      }
    }
    return true;
  }
  if (now < step.computed || !IsMyTurn(step.clock) || !client_.CanPush()) return false;
  Push(step, now, outbox);
  steps_.pop_front();
  return true;
}

void SimWorker::Plan() {
  TrainChunk& chunk = chunks_.front();
  const uint64_t batch = static_cast<uint64_t>(config_->model.batch_size);
  Step step;
  step.clock = planned_++;
  step.chunk = chunk;
  step.chunk.begin = chunk.next;
  step.chunk.end = std::min(chunk.end, (chunk.next / batch + 1) * batch);
  step.rows = PlanRows(step.clock);
  uint32_t& epochs = news_.epochs[link_.assignment()->trial];
  epochs = std::max(epochs, chunk.epoch + 1);
  chunk.next = step.chunk.end;
  if (chunk.next == chunk.end) chunks_.erase(chunks_.begin());
  steps_.push_back(std::move(step));
  ++news_.steps;
}

std::vector<SimWorker::Rows> SimWorker::PlanRows(uint64_t clock) {
  std::vector<Rows> planned;
  for (size_t table = 0; table < std::size(kDims); ++table) {
    if (table > 0 && random_.OneIn(4)) continue;
    std::set<Id> taken;
    Rows rows{.table = table, .ids = {}, .pushed = 0, .values = {}};
    const auto add = [&](Id id) {
      if (taken.insert(id).second) rows.ids.push_back(id);
    };
    for (uint64_t n = random_.Between(1, options_.most_rows); n > 0; --n) add(MixId(random_.Below(options_.pool)));
    if (random_.OneIn(3)) add(MixId(client_.session() << 20U | clock << 1U | table));  // a row that nobody else touches
    rows.pushed = rows.ids.size();
    for (uint64_t n = random_.Below(3); n > 0; --n)
      add(random_.OneIn(2) ? random_.Next() : MixId(random_.Below(options_.pool)));
    planned.push_back(std::move(rows));
  }
  return planned;
}

bool SimWorker::MayPull(uint64_t clock) const {
  if (config_->consistency.mode == ConsistencyConfig::Mode::kAsync) return true;
  return clock <= link_.slowest_clock() + (Synchronous() ? 0 : Slack());
}

bool SimWorker::IsMyTurn(uint64_t clock) const {
  if (!Synchronous() || link_.assignment()->workers == 1) return true;
  if (link_.all_pulled() <= clock) return false;
  const std::vector<uint64_t>& clocks = link_.clocks();
  for (uint32_t rank = 0; rank < link_.assignment()->rank; ++rank) {
    if (rank >= clocks.size() || clocks[rank] <= clock) return false;
  }
  return true;
}

bool SimWorker::PullRows(std::vector<Rows>& rows, Client::PullNumber& pull, absl::Time now, Outbox& outbox) {
  std::vector<PullTable> tables;
  for (Rows& of_table : rows) {
    const uint32_t dim = kDims[of_table.table];
    of_table.values.assign(of_table.ids.size() * dim, 0);
    tables.push_back(
        {.table = (*link_.tables())[of_table.table].number, .dim = dim, .ids = of_table.ids, .values = of_table.values.data()});
  }
  const auto started = client_.StartPull(tables, now, outbox);
  if (!started.ok()) {
    world_.Violate(fmt::format("{}: a pull could not start: {}", self_.name, started.status().ToString()));
    return false;
  }
  pull = *started;
  return true;
}

bool SimWorker::StartPull(Step& step, absl::Time now, Outbox& outbox) {
  if (!MayPull(step.clock)) return false;
  step.acknowledged_at_pull = ledger_.acknowledged();
  news_.furthest_pull[client_.session()] = step.clock;
  return PullRows(step.rows, step.pull, now, outbox);
}

bool SimWorker::FinishPull(Step& step, absl::Time now, Outbox& outbox) {
  const std::optional<absl::Status> result = client_.PullResult(step.pull);
  if (!result.has_value()) return false;
  client_.ForgetPull(std::exchange(step.pull, 0));
  if (absl::IsDeadlineExceeded(*result)) return true;  // pulled again
  if (!result->ok()) {
    // Its tables are dropped, or its server is a new one: the scheduler will say so.
    if (!absl::IsNotFound(*result)) world_.Violate(fmt::format("{}: a pull failed: {}", self_.name, result->ToString()));
    link_.FailTrial(result->ToString(), now, outbox);
    step.read = true;
    return true;
  }
  step.read = true;
  progress_.StepPulled();
  if (Synchronous() && link_.assignment()->workers > 1) link_.SetTick(progress_.Report(at_barrier_), now, outbox);
  CheckRows(step.rows, step.acknowledged_at_pull, step.clock);
  return true;
}

void SimWorker::CheckRows(const std::vector<Rows>& rows, uint64_t acknowledged_before, std::optional<uint64_t> step) {
  const bool bounded = step.has_value() && CountsInStep();
  const uint64_t slack = Synchronous() ? 0 : Slack();
  for (const Rows& of_table : rows) {
    const TableNumber number = (*link_.tables())[of_table.table].number;
    const uint32_t dim = kDims[of_table.table];
    for (size_t i = 0; i < of_table.ids.size(); ++i) {
      const auto values = absl::MakeConstSpan(of_table.values).subspan(i * dim, dim);
      std::string wrong = ledger_.CheckRow(number, of_table.ids[i], values, acknowledged_before);
      if (wrong.empty() && bounded && *step > slack) {
        ++news_.staleness_checks;
        wrong = ledger_.CheckFresh(number, of_table.ids[i], values, client_.session(), *step - slack - 1);
      }
      if (wrong.empty() && bounded && Synchronous()) {
        wrong = ledger_.CheckNoneFrom(number, of_table.ids[i], values, client_.session(), *step);
      }
      if (!wrong.empty()) return world_.Violate(fmt::format("{} read: {}", self_.name, wrong));
    }
  }
}

void SimWorker::Push(Step& step, absl::Time now, Outbox& outbox) {
  const Ledger::AttemptNumber attempt = ledger_.Begin({.trial = link_.assignment()->trial,
                                                       .session = client_.session(),
                                                       .rank = link_.assignment()->rank,
                                                       .step = step.clock,
                                                       .epoch = step.chunk.epoch,
                                                       .begin = step.chunk.begin,
                                                       .end = step.chunk.end});
  if (CountsInStep()) {
    for (const uint64_t peer : news_.peers[link_.assignment()->trial]) {
      const auto furthest = news_.furthest_pull.find(peer);
      if (furthest == news_.furthest_pull.end() || furthest->second <= step.clock + (Synchronous() ? 0 : Slack())) continue;
      world_.Violate(fmt::format("session {} began step {} before session {} had made its step {}", peer, furthest->second,
                                 client_.session(), step.clock));
    }
  }
  std::vector<std::vector<float>> gradients;
  std::vector<std::vector<Id>> ids;
  std::vector<PushTable> tables;
  for (const Rows& of_table : step.rows) {
    const uint32_t dim = kDims[of_table.table];
    const TableNumber number = (*link_.tables())[of_table.table].number;
    std::vector<Id>& pushed = ids.emplace_back();
    std::vector<float>& of_ids = gradients.emplace_back();
    for (size_t i = 0; i < of_table.pushed; ++i) {
      const auto place = ledger_.TakePlace(number, dim, of_table.ids[i], attempt);
      if (!place.has_value()) continue;
      pushed.push_back(of_table.ids[i]);
      of_ids.resize(of_ids.size() + dim, 0);
      of_ids[of_ids.size() - dim + place->column] = -place->value;
    }
    tables.push_back({.table = number, .dim = dim, .learning_rate = 1, .ids = pushed, .gradients = of_ids.data()});
  }
  const absl::Status started = client_.StartPush(tables, now, outbox);
  if (!started.ok()) return world_.Violate(fmt::format("{}: a push could not start: {}", self_.name, started.ToString()));
  ledger_.SetLastSequence(attempt, client_.pushes_started());
  pending_.push_back({.last_push = client_.pushes_started(), .attempt = attempt});
  const uint64_t examples = step.chunk.end - step.chunk.begin;
  progress_.StepPushed({.last_push = client_.pushes_started(),
                        .chunk = step.chunk.number,
                        .chunk_next = step.chunk.end,
                        .examples = examples,
                        .loss_sum = static_cast<double>(examples)});
}

// ---------------------------------------------------------------------------------------------------------- evaluation

bool SimWorker::Evaluate(absl::Time now, Outbox& outbox) {
  if (evaluation_pull_ == 0) {
    evaluation_rows_.clear();
    for (size_t table = 0; table < std::size(kDims); ++table) {
      std::vector<Id> ids = ledger_.RowsOf((*link_.tables())[table].number);
      std::erase_if(ids, [this](Id) { return random_.OneIn(2); });
      evaluation_rows_.push_back({.table = table, .ids = std::move(ids), .pushed = 0, .values = {}});
    }
    acknowledged_at_evaluation_ = ledger_.acknowledged();
    if (!PullRows(evaluation_rows_, evaluation_pull_, now, outbox)) return false;
  }
  const std::optional<absl::Status> result = client_.PullResult(evaluation_pull_);
  if (!result.has_value()) return false;
  client_.ForgetPull(std::exchange(evaluation_pull_, 0));
  if (absl::IsDeadlineExceeded(*result)) return true;
  doing_ = Doing::kTraining;
  if (!result->ok()) {
    if (!absl::IsNotFound(*result)) world_.Violate(fmt::format("{}: a pull failed: {}", self_.name, result->ToString()));
    link_.FailTrial(result->ToString(), now, outbox);
    return true;
  }
  CheckRows(evaluation_rows_, acknowledged_at_evaluation_, std::nullopt);
  EvaluationReport report{
      .evaluation = evaluation_.evaluation, .chunk = evaluation_.chunk, .examples = evaluation_.end - evaluation_.begin};
  const double examples = static_cast<double>(report.examples);
  // One example counts for its position, so that the mean tells whether each was there once.
  double positions = 0;
  for (uint64_t position = evaluation_.begin; position < evaluation_.end; ++position)
    positions += static_cast<double>(position);
  report.sums.push_back({.name = "position", .sum = positions, .weight = examples});
  const double score = ScoreAfter(config_->name, news_.epochs[link_.assignment()->trial]);
  report.sums.push_back({.name = "top_100", .sum = score * examples, .weight = examples});
  link_.Report(std::move(report), now, outbox);
  return true;
}

std::string SimWorker::CheckQuiet() const {
  if (client_.next_timer() != absl::InfiniteFuture()) return fmt::format("{} still waits for a shard", self_.name);
  if (link_.reports_pending() != 0) return fmt::format("{} still has reports to make", self_.name);
  return "";
}

}  // namespace marquee::simulation
