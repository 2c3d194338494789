#include "tests/fuzz/worker.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace marquee::fuzz {
namespace {

constexpr uint64_t kBatch = 8;
constexpr size_t kRows = 6;
constexpr float kMark = 12345.5F;        // behind the values of a pull: nobody may write it
constexpr size_t kMostTables = 2;        // of those that the scheduler names
constexpr uint32_t kMostColumns = 1024;  // wrong definitions may be wide
constexpr int kMostActs = 64;            // before others get their turn

std::vector<TableDefinition> Tables() {
  std::vector<TableDefinition> tables(kMostTables);
  for (size_t i = 0; i < tables.size(); ++i) {
    tables[i].name = fmt::format("table{}", i);
    tables[i].dim = static_cast<uint32_t>(3 + i);
    tables[i].initializer = {.kind = Initializer::Kind::kUniform, .scale = 0.1F};
    tables[i].optimizer.kind = i == 0 ? Optimizer::Kind::kAdagrad : Optimizer::Kind::kAdam;
    tables[i].optimizer.epsilon = 1e-8F;
    tables[i].optimizer.beta1 = 0.9F;
    tables[i].optimizer.beta2 = 0.999F;
  }
  return tables;
}

}  // namespace

Worker::Worker(Identity self, Peer scheduler)
    : client_(self, ClientOptions{}),
      link_(self, Registration{.host = "localhost", .process_id = 1, .metrics_endpoint = "", .data_checksum = 0},
            std::move(scheduler)) {}

void Worker::OnTimer(absl::Time now, Outbox& outbox) {
  client_.OnTimer(now, outbox);
  link_.OnTimer(now, outbox);
  Act(now, outbox);
}

void Worker::Act(absl::Time now, Outbox& outbox) {
  if (!link_.status().ok() || link_.shutdown()) return;
  if (link_.view().number > client_.view().number) client_.SetView(link_.view(), now, outbox);
  if (client_.wanted_view() > client_.view().number) link_.WantView(client_.wanted_view());
  for (int acts = 0; acts < kMostActs && ActOnce(now, outbox); ++acts) {
  }
}

bool Worker::ActOnce(absl::Time now, Outbox& outbox) {
  if (!in_session_) {
    if (!link_.assignment().has_value() || client_.view().number == 0) return false;
    BeginSession(now, outbox);
    return true;
  }
  if (link_.session_lost() || absl::IsAborted(client_.session_status())) {
    EndSession(now, outbox);
    return true;
  }
  if (!client_.session_status().ok()) {
    link_.FailTrial(client_.session_status().ToString(), now, outbox);
    EndSession(now, outbox);
    return true;
  }
  if (!link_.tables().has_value()) return false;
  if (!work_.has_value()) {
    link_.RequestWork(now, outbox);
    work_ = link_.TakeWork();
    return work_.has_value();
  }
  if (auto* chunk = std::get_if<TrainChunk>(&*work_)) return Train(*chunk, now, outbox);
  if (auto* chunk = std::get_if<EvaluationChunk>(&*work_)) return Evaluate(*chunk, now, outbox);
  if (std::holds_alternative<BarrierWork>(*work_)) return Drain(now, outbox);
  EndSession(now, outbox);
  return true;
}

void Worker::BeginSession(absl::Time now, Outbox& outbox) {
  in_session_ = true;
  client_.StartSession(link_.assignment()->session);
  link_.DefineTables(Tables(), now, outbox);
}

void Worker::EndSession(absl::Time now, Outbox& outbox) {
  if (pull_ != 0) client_.ForgetPull(std::exchange(pull_, 0));
  client_.StartSession(0);
  in_session_ = false;
  work_.reset();
  phase_ = Phase::kIdle;
  tick_ = TickReport();
  drained_ = false;
  link_.FinishSession(now, outbox);
}

// False if there is nothing to do before a message comes; so below.
bool Worker::Train(TrainChunk& chunk, absl::Time now, Outbox& outbox) {
  drained_ = false;
  switch (phase_) {
    case Phase::kIdle:
      if (chunk.next < chunk.end) return StartPull(now, outbox);
      work_.reset();
      return true;
    case Phase::kPulling: {
      bool read = false;
      if (!FinishPull(now, outbox, &read)) return false;
      return !read || StartPush(now, outbox);
    }
    case Phase::kPushing:
      if (client_.pushes_acknowledged() < client_.pushes_started()) return false;
      ReportStep(chunk, now, outbox);
      phase_ = Phase::kIdle;
      return true;
  }
  return false;
}

bool Worker::Evaluate(const EvaluationChunk& chunk, absl::Time now, Outbox& outbox) {
  if (phase_ == Phase::kIdle) return StartPull(now, outbox);
  bool read = false;
  if (!FinishPull(now, outbox, &read)) return false;
  phase_ = Phase::kIdle;
  if (!read) return true;
  EvaluationReport report{
      .evaluation = chunk.evaluation, .chunk = chunk.chunk, .examples = chunk.end - chunk.begin, .sums = {}};
  report.sums.push_back({.name = "loss", .sum = 1, .weight = 1});
  link_.Report(std::move(report), now, outbox);
  work_.reset();
  return true;
}

bool Worker::Drain(absl::Time now, Outbox& outbox) {
  if (!drained_) {
    drained_ = true;
    tick_.drained = true;
    tick_.chunks.clear();
    link_.SetTick(tick_, now, outbox);
  }
  if (!link_.tick_confirmed()) return false;
  work_.reset();
  // Asked again at once it would only be told to wait: the link waits for it.
  return false;
}

bool Worker::StartPull(absl::Time now, Outbox& outbox) {
  ids_.clear();
  for (uint64_t i = 0; i < kRows; ++i) ids_.push_back(MixId(steps_ * 3 + i));
  values_.clear();
  std::vector<PullTable> tables;
  for (const TableDefinition& table : *link_.tables()) {
    if (values_.size() == kMostTables || table.dim > kMostColumns) break;
    std::vector<float>& values = values_.emplace_back(ids_.size() * table.dim + 1, 0.0F);
    values.back() = kMark;
    tables.push_back({.table = table.number, .dim = table.dim, .ids = ids_, .values = values.data()});
  }
  const absl::StatusOr<Client::PullNumber> pull = client_.StartPull(tables, now, outbox);
  if (!pull.ok()) {
    link_.FailTrial(pull.status().ToString(), now, outbox);
    EndSession(now, outbox);
    return true;
  }
  pull_ = *pull;
  phase_ = Phase::kPulling;
  return true;
}

// False while the pull is under way. `read`: its rows are there.
bool Worker::FinishPull(absl::Time now, Outbox& outbox, bool* read) {
  const std::optional<absl::Status> result = client_.PullResult(pull_);
  if (!result.has_value()) return false;
  client_.ForgetPull(std::exchange(pull_, 0));
  for (const std::vector<float>& values : values_) {
    if (values.back() != kMark) violation_ = "a pull wrote behind its rows";
  }
  phase_ = Phase::kIdle;
  *read = result->ok();
  if (!result->ok() && !absl::IsDeadlineExceeded(*result)) {
    link_.FailTrial(result->ToString(), now, outbox);
    EndSession(now, outbox);
  }
  return true;
}

bool Worker::StartPush(absl::Time now, Outbox& outbox) {
  std::vector<std::vector<float>> gradients;
  std::vector<PushTable> tables;
  for (size_t i = 0; i < values_.size(); ++i) {
    const TableDefinition& table = (*link_.tables())[i];
    const std::vector<float>& of_table = gradients.emplace_back(ids_.size() * table.dim, 0.5F);
    tables.push_back(
        {.table = table.number, .dim = table.dim, .learning_rate = 0.1F, .ids = ids_, .gradients = of_table.data()});
  }
  const absl::Status started = client_.StartPush(tables, now, outbox);
  if (!started.ok()) {
    link_.FailTrial(started.ToString(), now, outbox);
    EndSession(now, outbox);
    return true;
  }
  phase_ = Phase::kPushing;
  return true;
}

void Worker::ReportStep(TrainChunk& chunk, absl::Time now, Outbox& outbox) {
  const uint64_t next = chunk.end - chunk.next > kBatch ? chunk.next + kBatch : chunk.end;
  ++steps_;
  ++tick_.clock;
  tick_.examples += next - chunk.next;
  tick_.loss_sum += 1;
  chunk.next = next;
  tick_.chunks = {{.number = chunk.number, .next = next}};
  tick_.drained = false;
  link_.SetTick(tick_, now, outbox);
}

}  // namespace marquee::fuzz
