#include "tests/simulation/sim_server.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "tests/simulation/sim_checkpoint_io.h"

namespace marquee::simulation {

using Body = wire::Envelope::Body;

namespace {

// Pushes, but for those that had been applied before.
uint64_t Applied(const Shard& shard) { return shard.counters().pushes - shard.counters().duplicates; }

}  // namespace

SimServer::SimServer(World& world, Ledger& ledger, Tamper* tamper, Identity self, std::vector<std::string> endpoints,
                     Peer scheduler, const ReplicationOptions& replication, const Checkpoints& checkpoints)
    : world_(world),
      ledger_(ledger),
      tamper_(tamper),
      checkpoints_(checkpoints),
      self_(std::move(self)),
      endpoints_(std::move(endpoints)),
      scheduler_(std::move(scheduler)) {
  FileSystem* files = nullptr;
  if (checkpoints_.disk != nullptr) {
    machine_ = checkpoints_.disk->Boot(self_.name);
    files = machine_.get();
    if (tamper_ != nullptr) tampered_files_ = tamper_->WrapFiles(*files);
    if (tampered_files_ != nullptr) files = tampered_files_.get();
  }
  for (const std::string& endpoint : endpoints_) {
    Hosted& hosted = shards_[endpoint];
    CheckpointIo* io = nullptr;
    if (files != nullptr) {
      const auto clock = [this] { return world_.now(); };
      hosted.io = std::make_unique<SimCheckpointIo>(*checkpoints_.disk, *files, clock, checkpoints_.room);
      io = hosted.io.get();
      if (tamper_ != nullptr) hosted.tampered_io = tamper_->WrapIo(endpoint, *io);
      if (hosted.tampered_io != nullptr) io = hosted.tampered_io.get();
    }
    hosted.shard = std::make_unique<Shard>(self_, ShardOptions{.replication = replication}, io);
  }
}

absl::Time SimServer::next_timer() const {
  if (finished_) return absl::InfiniteFuture();
  absl::Time next = due_;
  for (const auto& [endpoint, hosted] : shards_) next = std::min(next, hosted.shard->next_timer());
  return next;
}

void SimServer::OnTimer(absl::Time now, Outbox& outbox) {
  if (finished_) return;
  for (auto& [endpoint, hosted] : shards_) {
    if (now < hosted.shard->next_timer()) continue;
    Capture capture;
    hosted.shard->OnTimer(now, capture);
    CheckRestored(hosted, capture);
    Pass(hosted, capture, outbox);
  }
  if (now < due_) return;
  due_ = now + heartbeat_;
  OutgoingMessagePtr message = NewRequest(self_, 0, ++last_request_, absl::ZeroDuration());
  Body::Builder body = message->envelope().getBody();
  if (registered_) {
    body.initHeartbeat();
  } else {
    wire::Register::Builder reg = body.initRegister();
    reg.setRole(wire::Register::Role::SERVER);
    reg.setName(self_.name.c_str());
    reg.setHost("localhost");
    auto list = reg.initEndpoints(static_cast<uint32_t>(endpoints_.size()));
    for (uint32_t i = 0; i < endpoints_.size(); ++i) list.set(i, endpoints_[i].c_str());
  }
  outbox.Send(scheduler_, std::move(message));
}

void SimServer::OnSchedulerReply(const Message& message, absl::Time now, Outbox& outbox) {
  const Body::Reader body = message.envelope().getBody();
  if (body.isRegistered()) {
    registered_ = true;
    heartbeat_ = absl::Microseconds(static_cast<int64_t>(body.getRegistered().getHeartbeatMicros()));
  } else if (body.isError() && body.getError().getCode() == wire::Error::Code::CANCELLED) {
    finished_ = true;  // the sweep is over
  } else if (body.isError() && body.getError().getCode() == wire::Error::Code::CONFLICT) {
    std::exchange(exit_, [] {})();
  } else if (body.isError() && body.getError().getCode() == wire::Error::Code::UNKNOWN_INCARNATION && registered_) {
    registered_ = false;
    due_ = now;
    OnTimer(now, outbox);
  }
}

void SimServer::OnMessage(const std::string& endpoint, const Message& message, absl::Time now, Outbox& outbox) {
  if (endpoint.empty() && message.from() == scheduler_) return OnSchedulerReply(message, now, outbox);
  if (!endpoint.empty()) return Give(endpoint, shards_.at(endpoint), message, now, outbox);
  // The answer of another server's shard: that one of ours takes it which asked.
  for (auto& [own, hosted] : shards_) Give(own, hosted, message, now, outbox);
}

void SimServer::Give(const std::string& endpoint, Hosted& hosted, const Message& message, absl::Time now, Outbox& outbox) {
  const Body::Reader request = message.envelope().getBody();
  CheckBeforeLoss(endpoint, request);
  if (request.isPush()) {
    hosted.pushes[{message.from(), message.envelope().getRequestId()}] = request.getPush().getSession();
  }
  if (request.isRestoreRows() && checkpoints_.watch != nullptr) {
    checkpoints_.watch->OnRestoreAsked(request.getRestoreRows());
    hosted.restores.insert_or_assign({message.from(), message.envelope().getRequestId()}, message.Share());
  }
  Capture capture;
  const uint64_t applied_before = Applied(*hosted.shard);
  if (tamper_ != nullptr) {
    tamper_->OnMessage(*hosted.shard, endpoint, message, now, capture);
  } else {
    hosted.shard->OnMessage(message, now, capture);
  }
  ledger_.SeeView(hosted.shard->view_number());
  if (request.isPush() && Applied(*hosted.shard) != applied_before) {
    const std::string wrong =
        ledger_.CheckApplied(request.getPush().getSession(), request.getPush().getSequence(), hosted.shard->view_number());
    if (!wrong.empty()) world_.Violate(wrong);
    CheckServing(endpoint, *hosted.shard, request);
  }
  const auto answers_rows = [](const Capture::Sent& sent) { return sent.message->envelope().asReader().getBody().isRows(); };
  if (request.isPull() && std::any_of(capture.sent().begin(), capture.sent().end(), answers_rows)) {
    CheckServing(endpoint, *hosted.shard, request);
  }
  if (request.isCloseSession()) {
    for (const Capture::Sent& sent : capture.sent()) {
      if (!sent.message->envelope().asReader().getBody().isOk()) continue;
      hosted.closed.insert(request.getCloseSession().getSession());
      ledger_.CloseSession(request.getCloseSession().getSession());
    }
  }
  Pass(hosted, capture, outbox);
}

void SimServer::Pass(Hosted& hosted, const Capture& capture, Outbox& outbox) {
  for (const Capture::Sent& sent : capture.sent()) {
    const wire::Envelope::Reader envelope = sent.message->envelope().asReader();
    const auto asked = hosted.pushes.find({sent.to, envelope.getRequestId()});
    if (asked != hosted.pushes.end() && (envelope.getBody().isPushed() || envelope.getBody().isError())) {
      if (envelope.getBody().isPushed() && hosted.closed.contains(asked->second)) {
        world_.Violate(fmt::format("{} took a push of session {}, which it had closed", self_.name, asked->second));
      }
      hosted.pushes.erase(asked);
    }
    if (machine_ == nullptr || !machine_->dead()) outbox.Send(sent.to, sent.message);
  }
}

// An answer that comes later is that to the reading of all rows; nobody trains before all shards have given it.
void SimServer::CheckRestored(Hosted& hosted, const Capture& capture) {
  for (const Capture::Sent& sent : capture.sent()) {
    const wire::Envelope::Reader envelope = sent.message->envelope().asReader();
    const auto asked = hosted.restores.find({sent.to, envelope.getRequestId()});
    if (asked == hosted.restores.end()) continue;
    if (envelope.getBody().isOk()) {
      checkpoints_.watch->OnRestored(*hosted.shard, asked->second.envelope().getBody().getRestoreRows());
    }
    hosted.restores.erase(asked);
  }
}

void SimServer::CheckServing(const std::string& endpoint, const Shard& shard, Body::Reader request) {
  const std::string name = fmt::format("{}/{:x}", endpoint, self_.incarnation);
  const auto check = [&](const auto& section) {
    const auto ids = PackedValues<Id>(section.getIds(), section.getCount(), "ids");
    for (uint32_t i = 0; ids.ok() && i < section.getCount(); ++i) {
      const std::string wrong = ledger_.Serve(section.getTable(), (*ids)[i], name, shard.view_number());
      if (!wrong.empty()) world_.Violate(wrong);
    }
  };
  if (request.isPull()) {
    for (const auto section : request.getPull().getSections()) check(section);
  } else {
    for (const auto section : request.getPush().getSections()) check(section);
  }
}

const Shard* SimServer::FindShard(const std::string& endpoint) const {
  const auto found = shards_.find(endpoint);
  return found == shards_.end() ? nullptr : found->second.shard.get();
}

std::vector<const Shard*> SimServer::shards() const {
  std::vector<const Shard*> shards;
  for (const auto& [endpoint, hosted] : shards_) shards.push_back(hosted.shard.get());
  return shards;
}

// Tables end in two ways: they are dropped, or a newer view says that rows were lost with a server, and with them a part of
// every trial.
void SimServer::CheckBeforeLoss(const std::string& endpoint, Body::Reader request) {
  Shard& shard = *shards_.at(endpoint).shard;
  bool rolls_back = false;
  if (request.isInstallView() && shard.view_number() != 0) {
    for (const uint64_t fresh : request.getInstallView().getFresh()) rolls_back |= fresh > shard.view_number();
  }
  std::set<TableNumber> ending;
  if (request.isDropTables()) {
    for (const TableNumber number : request.getDropTables().getTables()) ending.insert(number);
  }
  if (rolls_back) {
    for (const Shard::TableStatistics& table : shard.Tables()) ending.insert(table.definition.number);
  }
  if (!ending.empty()) loss_(ending, shard.view_number());
  // With all before it: this shard may have missed some of the trial's tables, and others have begun no newer ones yet.
  if (!rolls_back || ending.empty()) return;
  for (TableNumber number = 1; number <= *ending.rbegin(); ++number) ledger_.RollBack(number);
}

void SimServer::CheckTables(const std::set<TableNumber>& tables, uint64_t view) {
  for (auto& [endpoint, hosted] : shards_) {
    const std::vector<uint64_t>& fresh = hosted.shard->view().fresh;
    if (std::any_of(fresh.begin(), fresh.end(), [view](uint64_t number) { return number > view; })) continue;
    for (const Shard::TableStatistics& table : hosted.shard->Tables()) {
      if (!tables.contains(table.definition.number)) continue;
      world_.Trace(fmt::format("{} compares {} with the ledger", endpoint, table.definition.name));
      CheckTable(*hosted.shard, table.definition, world_.ClockOf(self_.name));
    }
  }
}

// Row by row, since only the shard knows which ones are its own: it refuses those of others.
void SimServer::CheckTable(Shard& shard, const TableDefinition& table, absl::Time now) {
  if (ledger_.IsFreshCopy(table.number)) return;  // of which a part may be restored; what was restored has been looked at
  for (const Id id : ledger_.RowsOf(table.number)) {
    OutgoingMessagePtr pull = NewRequest(self_, shard.view_number(), 1, absl::ZeroDuration());
    auto section = pull->envelope().getBody().initPull().initSections(1)[0];
    section.setTable(table.number);
    section.setDim(table.dim);
    section.setCount(1);
    std::memcpy(section.initIds(sizeof(Id)).begin(), &id, sizeof(Id));
    Capture capture;
    shard.OnMessage(Deliver("ledger", *pull).value(), now, capture);
    const Body::Reader answer = capture.sent().at(0).message->envelope().asReader().getBody();
    if (!answer.isRows()) continue;
    std::vector<float> values(table.dim);
    std::memcpy(values.data(), answer.getRows().getSections()[0].getValues().begin(), table.dim * sizeof(float));
    const std::string wrong = ledger_.CheckRow(table.number, id, values, ledger_.acknowledged());
    if (!wrong.empty()) return world_.Violate(fmt::format("at the end of {}: {}", table.name, wrong));
  }
}

std::string SimServer::CheckEmpty() const {
  for (const auto& [endpoint, hosted] : shards_) {
    if (!hosted.shard->Tables().empty()) return fmt::format("{} still has {} tables", endpoint, hosted.shard->Tables().size());
    if (hosted.shard->open_sessions() != 0) {
      return fmt::format("{} still has {} open sessions", endpoint, hosted.shard->open_sessions());
    }
  }
  return "";
}

}  // namespace marquee::simulation
