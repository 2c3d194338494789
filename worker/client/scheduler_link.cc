#include "worker/client/scheduler_link.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <limits>
#include <map>
#include <utility>

#include "worker/client/wire_status.h"

namespace marquee {
namespace {

using Body = wire::Envelope::Body;

constexpr absl::Duration kFirstHeartbeat = absl::Milliseconds(500);  // until the scheduler has said how often
constexpr absl::Duration kShortestWait = absl::Milliseconds(1);
constexpr absl::Duration kLongestWait = absl::Minutes(10);
constexpr int kMaxRefusalDoublings = 4;  // from a sixteenth of the heartbeat up to all of it
constexpr uint32_t kMaxWorkers = 1U << 16U;
constexpr uint64_t kLeft = std::numeric_limits<uint64_t>::max();

absl::Duration WaitOf(uint64_t micros) {
  const auto limit = static_cast<uint64_t>(absl::ToInt64Microseconds(kLongestWait));
  return std::max(kShortestWait, absl::Microseconds(static_cast<int64_t>(std::min(micros, limit))));
}

std::string TextOf(capnp::Text::Reader text) { return {text.cStr(), text.size()}; }

absl::StatusOr<TrialAssignment> AssignmentOf(wire::TrialAssignment::Reader reader) {
  TrialAssignment assignment{.trial = reader.getTrial(),
                             .name = TextOf(reader.getName()),
                             .session = reader.getSession(),
                             .rank = reader.getRank(),
                             .workers = reader.getWorkers(),
                             .spec = TextOf(reader.getSpec())};
  if (assignment.session == 0) return absl::InvalidArgumentError("assignment.trial.session: is 0");
  if (assignment.workers > kMaxWorkers) {
    return absl::InvalidArgumentError(fmt::format("assignment.trial.workers: {}; at most {}", assignment.workers, kMaxWorkers));
  }
  if (assignment.rank >= assignment.workers) {
    return absl::InvalidArgumentError(
        fmt::format("assignment.trial.rank: {}; the trial has {} workers", assignment.rank, assignment.workers));
  }
  return assignment;
}

absl::StatusOr<WorkItem> TrainChunkOf(wire::Chunk::Reader reader) {
  const TrainChunk chunk{.number = reader.getNumber(),
                         .epoch = reader.getEpoch(),
                         .begin = reader.getBegin(),
                         .end = reader.getEnd(),
                         .next = reader.getNext()};
  if (chunk.begin <= chunk.next && chunk.next <= chunk.end) return chunk;
  return absl::InvalidArgumentError(
      fmt::format("work.train: from {} to {}, next {}; must be in order", chunk.begin, chunk.end, chunk.next));
}

absl::StatusOr<WorkItem> EvaluationChunkOf(wire::EvaluationChunk::Reader reader) {
  const auto part = reader.getPart();
  if (part != wire::EvaluationChunk::Part::VALIDATION && part != wire::EvaluationChunk::Part::TEST) {
    return absl::InvalidArgumentError(fmt::format("work.evaluate.part: {}; must be 0 or 1", static_cast<uint32_t>(part)));
  }
  const EvaluationChunk chunk{.evaluation = reader.getEvaluation(),
                              .test = part == wire::EvaluationChunk::Part::TEST,
                              .chunk = reader.getChunk(),
                              .begin = reader.getBegin(),
                              .end = reader.getEnd()};
  if (chunk.begin <= chunk.end) return chunk;
  return absl::InvalidArgumentError(fmt::format("work.evaluate: from {} to {}", chunk.begin, chunk.end));
}

// The tables as the scheduler numbered them; they must be those proposed otherwise.
absl::StatusOr<std::vector<TableDefinition>> TablesOf(wire::Tables::Reader reader,
                                                      const std::vector<TableDefinition>& proposed) {
  const auto definitions = reader.getDefinitions();
  if (definitions.size() != proposed.size()) {
    return absl::InvalidArgumentError(
        fmt::format("tables.definitions: {} tables; {} were proposed", definitions.size(), proposed.size()));
  }
  std::vector<TableDefinition> tables;
  for (uint32_t i = 0; i < definitions.size(); ++i) {
    auto table = TableDefinition::FromWire(definitions[i]);
    if (!table.ok()) return table.status();
    if (table->number == 0 || table->model_name() != proposed[i].model_name() || table->dim != proposed[i].dim) {
      return absl::InvalidArgumentError(fmt::format("tables.definitions[{}]: number {}, {}, dim {}; proposed was {}, dim {}", i,
                                                    table->number, table->name, table->dim, proposed[i].name, proposed[i].dim));
    }
    tables.push_back(*std::move(table));
  }
  return tables;
}

void FillRegister(const Identity& self, const Registration& registration, wire::Register::Builder builder) {
  builder.setRole(wire::Register::Role::WORKER);
  builder.setName(self.name.c_str());
  builder.setHost(registration.host.c_str());
  builder.setProcessId(registration.process_id);
  builder.setMetricsEndpoint(registration.metrics_endpoint.c_str());
  builder.setDataChecksum(registration.data_checksum);
}

void FillTick(uint64_t session, const TickReport& tick, wire::Tick::Builder builder) {
  builder.setSession(session);
  builder.setClock(tick.clock);
  builder.setExamples(tick.examples);
  builder.setLossSum(tick.loss_sum);
  builder.setDrained(tick.drained);
  builder.setPullSeconds(tick.pull_seconds);
  builder.setComputeSeconds(tick.compute_seconds);
  builder.setPushSeconds(tick.push_seconds);
  builder.setPulled(tick.pulled);
  auto chunks = builder.initChunks(static_cast<uint32_t>(tick.chunks.size()));
  for (uint32_t i = 0; i < tick.chunks.size(); ++i) {
    chunks[i].setNumber(tick.chunks[i].number);
    chunks[i].setNext(tick.chunks[i].next);
  }
}

void FillEvaluated(uint64_t session, const EvaluationReport& report, wire::Evaluated::Builder builder) {
  builder.setSession(session);
  builder.setEvaluation(report.evaluation);
  builder.setChunk(report.chunk);
  builder.setExamples(report.examples);
  auto sums = builder.initSums(static_cast<uint32_t>(report.sums.size()));
  for (uint32_t i = 0; i < report.sums.size(); ++i) {
    sums[i].setName(report.sums[i].name.c_str());
    sums[i].setSum(report.sums[i].sum);
    sums[i].setWeight(report.sums[i].weight);
    auto bins = sums[i].initBins(static_cast<uint32_t>(report.sums[i].bins.size()));
    for (uint32_t b = 0; b < bins.size(); ++b) {
      bins[b].setBin(report.sums[i].bins[b].bin);
      bins[b].setPositives(report.sums[i].bins[b].positives);
      bins[b].setNegatives(report.sums[i].bins[b].negatives);
    }
  }
}

}  // namespace

class SchedulerLink::Impl {
 public:
  Impl(Identity self, Registration registration, Peer scheduler)
      : self_(std::move(self)), registration_(std::move(registration)), scheduler_(std::move(scheduler)) {
    asks_[kRegister].due = absl::InfinitePast();
  }

  void OnMessage(const Message& message, absl::Time now, Outbox& outbox);
  void OnTimer(absl::Time now, Outbox& outbox);
  absl::Time next_timer() const;

  bool registered() const { return registered_; }
  absl::Time last_heard() const { return last_heard_; }
  const absl::Status& status() const { return status_; }
  bool shutdown() const { return shutdown_; }
  const View& view() const { return view_; }
  void WantView(uint64_t number);
  const std::optional<TrialAssignment>& assignment() const { return assignment_; }

  void DefineTables(std::vector<TableDefinition> definitions, absl::Time now, Outbox& outbox);
  // Shards that only an older view names may not know them.
  const std::optional<std::vector<TableDefinition>>& tables() const {
    static const std::optional<std::vector<TableDefinition>> kNone;
    return view_.number < tables_view_ ? kNone : tables_;
  }
  void RequestWork(absl::Time now, Outbox& outbox);
  std::optional<WorkItem> TakeWork() { return std::exchange(work_, std::nullopt); }
  void SetTick(TickReport report, absl::Time now, Outbox& outbox);
  bool tick_confirmed() const { return tick_confirmed_; }
  uint64_t slowest_clock() const { return slowest_clock_; }
  uint64_t all_pulled() const { return all_pulled_; }
  const std::vector<uint64_t>& clocks() const { return clocks_; }
  void Report(EvaluationReport report, absl::Time now, Outbox& outbox);
  size_t reports_pending() const { return reports_.size(); }
  void FailTrial(std::string reason, absl::Time now, Outbox& outbox);
  bool session_lost() const { return session_lost_; }
  void FinishSession(absl::Time now, Outbox& outbox);
  const Counters& counters() const { return counters_; }

 private:
  // Something that the scheduler is to be asked or told, until it answers. Not open: due at InfiniteFuture.
  struct Ask {
    absl::Time due = absl::InfiniteFuture();
    uint64_t request_id = 0;
    OutgoingMessagePtr message = nullptr;  // null: to be built, with a new request id, when due
    int refusals = 0;

    bool open() const { return due != absl::InfiniteFuture(); }
  };
  // One of each at most is under way.
  enum Kind { kRegister, kHeartbeat, kView, kAssignment, kTables, kWork, kTick, kFailure, kKinds };

  bool InSession() const { return assignment_.has_value() && !session_lost_; }
  bool Quiet() const { return !status_.ok() || shutdown_; }
  void Open(Kind kind, absl::Time due) { asks_[kind] = Ask{.due = due}; }
  void Close(Kind kind) { asks_[kind] = Ask{}; }
  void CloseSessionAsks();
  void Build(Kind kind);
  void SendIfDue(Ask& ask, absl::Time now, Outbox& outbox);

  absl::Status Handle(const Message& message, absl::Time now);
  absl::Status HandleReply(Kind kind, Body::Reader body, absl::Time now);
  absl::Status HandleRegistered(wire::Registered::Reader reader, absl::Time now);
  absl::Status HandleView(wire::View::Reader reader, absl::Time now);
  absl::Status HandleAssignment(wire::Assignment::Reader reader, absl::Time now);
  absl::Status HandleWork(wire::Work::Reader reader, absl::Time now);
  absl::Status HandleClocks(wire::Clocks::Reader reader);
  // `ask` is what was refused: a kind, or a report (kKinds).
  void HandleError(Kind kind, Ask& ask, wire::Error::Reader error, absl::Time now);
  void LoseSession();
  void StartFailing(std::string reason, absl::Time now);

  Identity self_;
  Registration registration_;
  Peer scheduler_;
  uint64_t last_request_id_ = 0;
  std::array<Ask, kKinds> asks_;
  std::map<uint64_t, Ask> reports_;  // by request id

  bool registered_ = false;
  absl::Duration heartbeat_ = kFirstHeartbeat;
  uint64_t cluster_id_ = 0;
  absl::Time last_heard_ = absl::InfinitePast();
  absl::Status status_;
  bool shutdown_ = false;
  View view_;
  uint64_t wanted_view_ = 0;
  uint64_t tables_view_ = 0;  // in which the tables were made

  std::optional<TrialAssignment> assignment_;
  bool session_lost_ = false;
  std::vector<TableDefinition> proposed_;
  std::optional<std::vector<TableDefinition>> tables_;
  std::optional<WorkItem> work_;
  uint64_t chunks_taken_ = 0;  // in this session
  TickReport tick_;
  bool tick_confirmed_ = true;
  std::string failure_;
  uint64_t slowest_clock_ = 0;
  uint64_t all_pulled_ = 0;
  std::vector<uint64_t> clocks_;
  Counters counters_;
};

void SchedulerLink::Impl::Build(Kind kind) {
  Ask& ask = asks_[kind];
  ask.request_id = ++last_request_id_;
  ask.message = NewRequest(self_, view_.number, ask.request_id, absl::ZeroDuration());
  Body::Builder body = ask.message->envelope().getBody();
  const uint64_t session = assignment_.has_value() ? assignment_->session : 0;
  switch (kind) {
    case kRegister:
      return FillRegister(self_, registration_, body.initRegister());
    case kHeartbeat:
      body.initHeartbeat();
      return;
    case kView:
      return body.setGetView();
    case kAssignment:
      return body.setGetAssignment();
    case kTables: {
      wire::DefineTables::Builder define = body.initDefineTables();
      define.setSession(session);
      auto definitions = define.initDefinitions(static_cast<uint32_t>(proposed_.size()));
      for (uint32_t i = 0; i < proposed_.size(); ++i) proposed_[i].ToWire(definitions[i]);
      return;
    }
    case kWork:
      body.initGetWork().setSession(session);
      return body.getGetWork().setTaken(chunks_taken_ + 1);
    case kTick:
      return FillTick(session, tick_, body.initTick());
    case kFailure: {
      wire::TrialFailed::Builder failed = body.initTrialFailed();
      failed.setSession(session);
      failed.setReason(failure_.c_str());
      return;
    }
    case kKinds:
      return;
  }
}

void SchedulerLink::Impl::SendIfDue(Ask& ask, absl::Time now, Outbox& outbox) {
  if (now < ask.due) return;
  ask.due = now + heartbeat_;
  ++counters_.sent;
  outbox.Send(scheduler_, ask.message);
}

void SchedulerLink::Impl::OnTimer(absl::Time now, Outbox& outbox) {
  if (Quiet()) return;
  for (int kind = 0; kind < kKinds; ++kind) {
    if (kind != kRegister && !registered_) break;
    Ask& ask = asks_[kind];
    if (now < ask.due) continue;
    if (ask.message == nullptr) {
      Build(static_cast<Kind>(kind));
    } else {
      ++counters_.resent;
    }
    SendIfDue(ask, now, outbox);
  }
  if (!registered_) return;
  for (auto& [id, report] : reports_) SendIfDue(report, now, outbox);
}

absl::Time SchedulerLink::Impl::next_timer() const {
  if (Quiet()) return absl::InfiniteFuture();
  if (!registered_) return asks_[kRegister].due;
  absl::Time next = absl::InfiniteFuture();
  for (const Ask& ask : asks_) next = std::min(next, ask.due);
  for (const auto& [id, report] : reports_) next = std::min(next, report.due);
  return next;
}

void SchedulerLink::Impl::OnMessage(const Message& message, absl::Time now, Outbox& outbox) {
  if (message.from() != scheduler_ || Quiet()) return;
  last_heard_ = now;
  if (!Guarded([&] { return Handle(message, now); }).ok()) ++counters_.malformed;
  OnTimer(now, outbox);  // what the answer has led to
}

// An answer is taken whole or not at all; one that is not well formed is as good as none, and is asked for again.
absl::Status SchedulerLink::Impl::Handle(const Message& message, absl::Time now) {
  const Body::Reader body = message.envelope().getBody();
  const uint64_t request_id = message.envelope().getRequestId();
  if (registered_) WantView(message.envelope().getView());
  if (request_id == 0) {
    return body.which() == Body::CLOCKS ? HandleClocks(body.getClocks()) : UnexpectedBody("nothing", body.which());
  }
  for (int kind = 0; kind < kKinds; ++kind) {
    Ask& ask = asks_[kind];
    if (!ask.open() || ask.request_id != request_id || ask.message == nullptr) continue;
    if (body.which() != Body::ERROR) return HandleReply(static_cast<Kind>(kind), body, now);
    HandleError(static_cast<Kind>(kind), ask, body.getError(), now);
    return absl::OkStatus();
  }
  if (const auto report = reports_.find(request_id); report != reports_.end()) {
    if (body.which() == Body::ERROR) {
      HandleError(kKinds, report->second, body.getError(), now);
    } else if (body.which() == Body::OK) {
      reports_.erase(report);
    } else {
      return UnexpectedBody("evaluated", body.which());
    }
    return absl::OkStatus();
  }
  // Answered before; but an answer to an older tick has clocks.
  return body.which() == Body::CLOCKS ? HandleClocks(body.getClocks()) : absl::OkStatus();
}

absl::Status SchedulerLink::Impl::HandleReply(Kind kind, Body::Reader body, absl::Time now) {
  switch (body.which()) {
    case Body::REGISTERED:
      if (kind == kRegister) return HandleRegistered(body.getRegistered(), now);
      break;
    case Body::HEARTBEAT_REPLY:
      if (kind != kHeartbeat) break;
      Open(kHeartbeat, now + heartbeat_);
      WantView(body.getHeartbeatReply().getView());
      return absl::OkStatus();
    case Body::VIEW:
      if (kind == kView) return HandleView(body.getView(), now);
      break;
    case Body::ASSIGNMENT:
      if (kind == kAssignment) return HandleAssignment(body.getAssignment(), now);
      break;
    case Body::TABLES: {
      if (kind != kTables) break;
      auto tables = TablesOf(body.getTables(), proposed_);
      if (!tables.ok()) return tables.status();
      tables_ = *std::move(tables);
      tables_view_ = wanted_view_;
      Close(kTables);
      return absl::OkStatus();
    }
    case Body::WORK:
      if (kind == kWork) return HandleWork(body.getWork(), now);
      break;
    case Body::CLOCKS: {
      if (kind != kTick) break;
      absl::Status handled = HandleClocks(body.getClocks());
      if (!handled.ok()) return handled;
      tick_confirmed_ = true;
      Open(kTick, now + heartbeat_);
      return absl::OkStatus();
    }
    case Body::OK:
      if (kind != kFailure) break;
      LoseSession();
      return absl::OkStatus();
    default:
      break;
  }
  return UnexpectedBody(BodyName(asks_[kind].message->envelope().getBody().which()), body.which());
}

absl::Status SchedulerLink::Impl::HandleRegistered(wire::Registered::Reader reader, absl::Time now) {
  if (reader.getClusterId() == 0) return absl::InvalidArgumentError("registered.clusterId: is 0");
  if (cluster_id_ != 0 && reader.getClusterId() != cluster_id_) {
    status_ = absl::FailedPreconditionError(
        fmt::format("the scheduler's cluster is {:x} now; this worker joined {:x}", reader.getClusterId(), cluster_id_));
    return absl::OkStatus();
  }
  cluster_id_ = reader.getClusterId();
  registered_ = true;
  heartbeat_ = WaitOf(reader.getHeartbeatMicros());
  Close(kRegister);
  Open(kHeartbeat, now + heartbeat_);
  WantView(1);
  if (!assignment_.has_value() && !asks_[kAssignment].open()) Open(kAssignment, now);
  // What was under way was put to a scheduler that did not know us.
  for (Ask& ask : asks_) {
    if (ask.message != nullptr) ask.due = now;
  }
  for (auto& [id, report] : reports_) report.due = now;
  return absl::OkStatus();
}

void SchedulerLink::Impl::WantView(uint64_t number) {
  wanted_view_ = std::max(wanted_view_, number);
  if (wanted_view_ > view_.number && !asks_[kView].open()) Open(kView, absl::InfinitePast());
}

absl::Status SchedulerLink::Impl::HandleView(wire::View::Reader reader, absl::Time now) {
  auto view = View::FromWire(reader);
  if (!view.ok()) return view.status();
  if (view->cluster_id != cluster_id_) {
    return absl::InvalidArgumentError(fmt::format("view.clusterId: {:x}; must be {:x}", view->cluster_id, cluster_id_));
  }
  if (view->number > view_.number) view_ = *std::move(view);
  Close(kView);
  if (view_.number < wanted_view_) Open(kView, now + heartbeat_);
  return absl::OkStatus();
}

absl::Status SchedulerLink::Impl::HandleAssignment(wire::Assignment::Reader reader, absl::Time now) {
  switch (reader.which()) {
    case wire::Assignment::NONE:
      Open(kAssignment, now + WaitOf(reader.getNone()));
      return absl::OkStatus();
    case wire::Assignment::SHUTDOWN:
      shutdown_ = true;
      return absl::OkStatus();
    case wire::Assignment::TRIAL: {
      auto assignment = AssignmentOf(reader.getTrial());
      if (!assignment.ok()) return assignment.status();
      assignment_ = *std::move(assignment);
      clocks_.assign(assignment_->workers, 0);
      Close(kAssignment);
      Open(kTick, now + heartbeat_);
      return absl::OkStatus();
    }
  }
  return absl::InvalidArgumentError(fmt::format("assignment: unknown kind {}", static_cast<uint32_t>(reader.which())));
}

absl::Status SchedulerLink::Impl::HandleWork(wire::Work::Reader reader, absl::Time now) {
  absl::StatusOr<WorkItem> item = absl::InvalidArgumentError("work: unknown kind");
  switch (reader.which()) {
    case wire::Work::WAIT:
      Open(kWork, now + WaitOf(reader.getWait()));
      return absl::OkStatus();
    case wire::Work::TRAIN:
      item = TrainChunkOf(reader.getTrain());
      break;
    case wire::Work::EVALUATE:
      item = EvaluationChunkOf(reader.getEvaluate());
      break;
    case wire::Work::BARRIER:
      item = WorkItem(BarrierWork{});
      break;
    case wire::Work::DONE:
      item = WorkItem(DoneWork{});
      break;
  }
  if (!item.ok()) return item.status();
  if (std::holds_alternative<TrainChunk>(*item)) ++chunks_taken_;
  work_ = *std::move(item);
  Close(kWork);
  return absl::OkStatus();
}

absl::Status SchedulerLink::Impl::HandleClocks(wire::Clocks::Reader reader) {
  // Of a session before: said before the scheduler knew of this one.
  if (!InSession() || reader.getSession() != assignment_->session) return absl::OkStatus();
  const auto clocks = reader.getClocks();
  if (clocks.size() != clocks_.size()) {
    return absl::InvalidArgumentError(
        fmt::format("clocks.clocks: {} of them; the trial has {} workers", clocks.size(), clocks_.size()));
  }
  slowest_clock_ = std::max(slowest_clock_, reader.getSlowest());
  all_pulled_ = std::max(all_pulled_, reader.getAllPulled());
  for (uint32_t rank = 0; rank < clocks.size(); ++rank) {
    // Messages may overtake one another, so clocks only rise; but a rank that was left may be taken again.
    if (clocks[rank] > clocks_[rank] || clocks_[rank] == kLeft) clocks_[rank] = clocks[rank];
  }
  return absl::OkStatus();
}

void SchedulerLink::Impl::HandleError(Kind kind, Ask& ask, wire::Error::Reader error, absl::Time now) {
  using Code = wire::Error::Code;
  ++counters_.errors;
  const Code code = error.getCode();
  if (code == Code::UNKNOWN_INCARNATION && kind != kRegister) {
    // The scheduler was restarted, or took us for dead. What is under way is sent again once it knows us.
    registered_ = false;
    if (!asks_[kRegister].open()) Open(kRegister, now);
    return;
  }
  if (IsTransient(code) || code == Code::INTERNAL || code == Code::UNKNOWN_INCARNATION) {
    ask.due = now + heartbeat_ / 16 * (1 << std::min(ask.refusals++, kMaxRefusalDoublings));
    if (kind != kKinds) ask.message = nullptr;
    return;
  }
  const bool of_session = kind >= kTables;
  if (!of_session) {
    status_ = StatusFromError(error);
  } else if (code == Code::UNKNOWN_SESSION || code == Code::CANCELLED || kind == kFailure) {
    LoseSession();
  } else {
    StartFailing(StatusFromError(error).ToString(), now);
  }
}

void SchedulerLink::Impl::CloseSessionAsks() {
  for (const Kind kind : {kTables, kWork, kTick, kFailure}) Close(kind);
  reports_.clear();
  tick_confirmed_ = true;
}

void SchedulerLink::Impl::LoseSession() {
  CloseSessionAsks();
  work_.reset();
  session_lost_ = true;
}

void SchedulerLink::Impl::StartFailing(std::string reason, absl::Time now) {
  CloseSessionAsks();
  failure_ = std::move(reason);
  Open(kFailure, now);
}

void SchedulerLink::Impl::DefineTables(std::vector<TableDefinition> definitions, absl::Time now, Outbox& outbox) {
  if (!InSession()) return;
  proposed_ = std::move(definitions);
  Open(kTables, now);
  OnTimer(now, outbox);
}

void SchedulerLink::Impl::RequestWork(absl::Time now, Outbox& outbox) {
  if (!InSession() || work_.has_value() || asks_[kWork].open()) return;
  Open(kWork, now);
  OnTimer(now, outbox);
}

void SchedulerLink::Impl::SetTick(TickReport report, absl::Time now, Outbox& outbox) {
  if (!InSession()) return;
  tick_ = std::move(report);
  tick_confirmed_ = false;
  Open(kTick, now);
  OnTimer(now, outbox);
}

void SchedulerLink::Impl::Report(EvaluationReport report, absl::Time now, Outbox& outbox) {
  if (!InSession()) return;
  Ask ask{.due = now, .request_id = ++last_request_id_};
  ask.message = NewRequest(self_, view_.number, ask.request_id, absl::ZeroDuration());
  FillEvaluated(assignment_->session, report, ask.message->envelope().getBody().initEvaluated());
  reports_.emplace(ask.request_id, std::move(ask));
  OnTimer(now, outbox);
}

void SchedulerLink::Impl::FailTrial(std::string reason, absl::Time now, Outbox& outbox) {
  if (!InSession() || asks_[kFailure].open()) return;
  StartFailing(std::move(reason), now);
  OnTimer(now, outbox);
}

void SchedulerLink::Impl::FinishSession(absl::Time now, Outbox& outbox) {
  CloseSessionAsks();
  assignment_.reset();
  session_lost_ = false;
  proposed_.clear();
  tables_.reset();
  work_.reset();
  chunks_taken_ = 0;
  tick_ = TickReport{};
  slowest_clock_ = 0;
  all_pulled_ = 0;
  clocks_.clear();
  Open(kAssignment, now);
  OnTimer(now, outbox);
}

SchedulerLink::SchedulerLink(Identity self, Registration registration, Peer scheduler)
    : impl_(std::make_unique<Impl>(std::move(self), std::move(registration), std::move(scheduler))) {}
SchedulerLink::~SchedulerLink() = default;
void SchedulerLink::OnMessage(const Message& message, absl::Time now, Outbox& outbox) {
  impl_->OnMessage(message, now, outbox);
}
void SchedulerLink::OnTimer(absl::Time now, Outbox& outbox) { impl_->OnTimer(now, outbox); }
absl::Time SchedulerLink::next_timer() const { return impl_->next_timer(); }
bool SchedulerLink::registered() const { return impl_->registered(); }
absl::Time SchedulerLink::last_heard() const { return impl_->last_heard(); }
absl::Status SchedulerLink::status() const { return impl_->status(); }
bool SchedulerLink::shutdown() const { return impl_->shutdown(); }
const View& SchedulerLink::view() const { return impl_->view(); }
void SchedulerLink::WantView(uint64_t number) { impl_->WantView(number); }
const std::optional<TrialAssignment>& SchedulerLink::assignment() const { return impl_->assignment(); }
void SchedulerLink::DefineTables(std::vector<TableDefinition> definitions, absl::Time now, Outbox& outbox) {
  impl_->DefineTables(std::move(definitions), now, outbox);
}
const std::optional<std::vector<TableDefinition>>& SchedulerLink::tables() const { return impl_->tables(); }
void SchedulerLink::RequestWork(absl::Time now, Outbox& outbox) { impl_->RequestWork(now, outbox); }
std::optional<WorkItem> SchedulerLink::TakeWork() { return impl_->TakeWork(); }
void SchedulerLink::SetTick(TickReport report, absl::Time now, Outbox& outbox) {
  impl_->SetTick(std::move(report), now, outbox);
}
bool SchedulerLink::tick_confirmed() const { return impl_->tick_confirmed(); }
uint64_t SchedulerLink::slowest_clock() const { return impl_->slowest_clock(); }
uint64_t SchedulerLink::all_pulled() const { return impl_->all_pulled(); }
const std::vector<uint64_t>& SchedulerLink::clocks() const { return impl_->clocks(); }
void SchedulerLink::Report(EvaluationReport report, absl::Time now, Outbox& outbox) {
  impl_->Report(std::move(report), now, outbox);
}
size_t SchedulerLink::reports_pending() const { return impl_->reports_pending(); }
void SchedulerLink::FailTrial(std::string reason, absl::Time now, Outbox& outbox) {
  impl_->FailTrial(std::move(reason), now, outbox);
}
bool SchedulerLink::session_lost() const { return impl_->session_lost(); }
void SchedulerLink::FinishSession(absl::Time now, Outbox& outbox) { impl_->FinishSession(now, outbox); }
const SchedulerLink::Counters& SchedulerLink::counters() const { return impl_->counters(); }

}  // namespace marquee
