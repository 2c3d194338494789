#include "tests/campaign/ledger_worker.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

namespace marquee::campaign {
namespace {

constexpr absl::Duration kLongestWait = absl::Milliseconds(20);
constexpr uint64_t kMostUnderWay = 8;
constexpr uint64_t kStepsPerRead = 10;
constexpr absl::Duration kOrphanAfter = absl::Minutes(5);

std::vector<TableDefinition> Tables() {
  std::vector<TableDefinition> tables(2);
  tables[0].name = "own";
  tables[0].dim = kOwnDim;
  tables[1].name = "shared";
  tables[1].dim = kSharedDim;
  return tables;
}

int64_t Micros() { return absl::ToInt64Microseconds(Driver::now() - absl::UnixEpoch()); }

}  // namespace

LedgerWorker::~LedgerWorker() {
  if (ledger_ >= 0) close(ledger_);
}

absl::Status LedgerWorker::OpenLedger(const std::string& path) {
  ledger_ = open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
  if (ledger_ >= 0) return absl::OkStatus();
  return absl::UnavailableError(fmt::format("{}: {}", path, std::strerror(errno)));
}

// One call a line: whole lines survive a kill -9.
void LedgerWorker::Write(const std::string& line) {
  if (write(ledger_, line.data(), line.size()) != static_cast<ssize_t>(line.size())) std::abort();
}

absl::Status LedgerWorker::Run(const std::atomic<bool>& stop, const std::atomic<bool>& hold) {
  const absl::Time started = Driver::now();
  while (!stop && !driver_.link().shutdown()) {
    if (absl::Status status = driver_.Pump(kLongestWait); !status.ok()) return status;
    if (absl::Status status = Act(hold); !status.ok()) return status;
    if (Driver::now() - std::max(started, driver_.link().last_heard()) > kOrphanAfter) {
      return absl::UnavailableError("the scheduler is silent");
    }
  }
  return absl::OkStatus();
}

absl::Status LedgerWorker::Act(bool hold) {
  SchedulerLink& link = driver_.link();
  if (!in_session_) {
    if (link.assignment().has_value() && driver_.client().view().number != 0) BeginSession();
    return absl::OkStatus();
  }
  if (link.session_lost() || absl::IsAborted(driver_.client().session_status())) {
    EndSession();
    return absl::OkStatus();
  }
  if (!driver_.client().session_status().ok()) return driver_.client().session_status();
  if (!link.tables().has_value()) return absl::OkStatus();
  if (!std::exchange(has_tables_, true)) {
    Write(fmt::format("tables {} {} {}\n", link.assignment()->session, (*link.tables())[0].number, (*link.tables())[1].number));
  }
  NoteAcknowledged();
  if (absl::Status status = CheckReads(); !status.ok()) return status;
  TakeWork();
  while (!hold && StartPush()) {
  }
  return absl::OkStatus();
}

void LedgerWorker::BeginSession() {
  in_session_ = true;
  driver_.client().StartSession(driver_.link().assignment()->session);
  driver_.link().DefineTables(Tables(), Driver::now(), driver_.outbox());
}

void LedgerWorker::EndSession() {
  if (read_ != 0) driver_.client().ForgetPull(std::exchange(read_, 0));
  driver_.client().StartSession(0);
  driver_.link().FinishSession(Driver::now(), driver_.outbox());
  in_session_ = has_tables_ = at_barrier_ = drained_reported_ = false;
  chunk_.reset();
  evaluation_.reset();
  progress_ = Progress();
  acknowledged_ = 0;
}

void LedgerWorker::NoteAcknowledged() {
  const uint64_t acknowledged = driver_.client().pushes_acknowledged();
  if (acknowledged > acknowledged_) {
    acknowledged_ = acknowledged;
    Write(fmt::format("acknowledged {} {} {}\n", driver_.client().session(), acknowledged, Micros()));
  }
  if (driver_.link().tick_confirmed()) progress_.Confirmed();
  const int finished = progress_.Acknowledged(acknowledged);
  const bool newly_drained = at_barrier_ && progress_.drained() && !drained_reported_;
  if (finished == 0 && !newly_drained) return;
  drained_reported_ = newly_drained;
  driver_.link().SetTick(progress_.Report(at_barrier_), Driver::now(), driver_.outbox());
}

void LedgerWorker::TakeWork() {
  if (evaluation_.has_value()) Report(*std::exchange(evaluation_, std::nullopt));
  if (chunk_.has_value() && chunk_->next < chunk_->end) return;
  if (at_barrier_ && !(drained_reported_ && driver_.link().tick_confirmed())) return;
  driver_.link().RequestWork(Driver::now(), driver_.outbox());
  const std::optional<WorkItem> item = driver_.link().TakeWork();
  if (!item.has_value()) return;
  if (const auto* chunk = std::get_if<TrainChunk>(&*item)) {
    at_barrier_ = drained_reported_ = false;
    chunk_ = *chunk;
    progress_.ChunkTaken(*chunk);
  } else if (const auto* evaluation = std::get_if<EvaluationChunk>(&*item)) {
    evaluation_ = *evaluation;
  } else if (std::holds_alternative<BarrierWork>(*item)) {
    at_barrier_ = true;
  } else {
    EndSession();
  }
}

void LedgerWorker::Report(const EvaluationChunk& chunk) {
  EvaluationReport report{
      .evaluation = chunk.evaluation, .chunk = chunk.chunk, .examples = chunk.end - chunk.begin, .sums = {}};
  for (const char* metric : {"top_100", "top_100_unseen"}) report.sums.push_back({.name = metric, .sum = 1, .weight = 1});
  driver_.link().Report(std::move(report), Driver::now(), driver_.outbox());
}

bool LedgerWorker::StartPush() {
  Client& client = driver_.client();
  if (!in_session_ || !chunk_.has_value() || chunk_->next >= chunk_->end || !client.CanPush()) return false;
  if (client.pushes_started() - client.pushes_acknowledged() >= kMostUnderWay) return false;
  const Push push{.session = client.session(), .sequence = client.pushes_started() + 1};
  const std::vector<Id> own = {OwnRow(push)};
  const std::set<Id> rows = SharedRowsOf(push);
  const std::vector<Id> shared(rows.begin(), rows.end());
  const std::vector<float> gradients(std::max<size_t>(kOwnDim, shared.size() * kSharedDim), -1.0F);
  const auto& tables = *driver_.link().tables();
  const PushTable parts[] = {
      {.table = tables[0].number, .dim = kOwnDim, .learning_rate = 1, .ids = own, .gradients = gradients.data()},
      {.table = tables[1].number, .dim = kSharedDim, .learning_rate = 1, .ids = shared, .gradients = gradients.data()}};
  Write(fmt::format("push {} {} {}\n", push.session, push.sequence, Micros()));
  if (!client.StartPush(parts, Driver::now(), driver_.outbox()).ok() || client.pushes_started() != push.sequence) std::abort();
  ++chunk_->next;
  ++steps_;
  progress_.StepPulled();
  progress_.StepPushed(
      {.last_push = push.sequence, .chunk = chunk_->number, .chunk_next = chunk_->next, .examples = 1, .loss_sum = 1});
  if (steps_ % kStepsPerRead == 0) StartRead();
  return true;
}

// The newest push that is acknowledged must be there, whoever answers.
void LedgerWorker::StartRead() {
  if (read_ != 0 || acknowledged_ == 0) return;
  read_push_ = {.session = driver_.client().session(), .sequence = acknowledged_};
  read_id_ = OwnRow(read_push_);
  const PullTable table{
      .table = (*driver_.link().tables())[0].number, .dim = kOwnDim, .ids = {&read_id_, 1}, .values = read_values_};
  const auto started = driver_.client().StartPull({&table, 1}, Driver::now(), driver_.outbox());
  if (started.ok()) read_ = *started;
}

absl::Status LedgerWorker::CheckReads() {
  if (read_ == 0) return absl::OkStatus();
  const std::optional<absl::Status> result = driver_.client().PullResult(read_);
  if (!result.has_value()) return absl::OkStatus();
  driver_.client().ForgetPull(std::exchange(read_, 0));
  if (!result->ok()) return absl::OkStatus();  // too late, or the trial is over: the session says so as well
  for (const float value : read_values_) {
    if (value == 1) continue;
    return absl::DataLossError(fmt::format("push {} of session {} was acknowledged, and its row reads {}", read_push_.sequence,
                                           read_push_.session, value));
  }
  return absl::OkStatus();
}

}  // namespace marquee::campaign
