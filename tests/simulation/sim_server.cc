#include "tests/simulation/sim_server.h"

#include <fmt/format.h>

#include <cstring>
#include <utility>

namespace marquee::simulation {

using Body = wire::Envelope::Body;

SimServer::SimServer(World& world, Ledger& ledger, Tamper* tamper, Identity self, std::vector<std::string> endpoints,
                     Peer scheduler)
    : world_(world),
      ledger_(ledger),
      tamper_(tamper),
      self_(std::move(self)),
      endpoints_(std::move(endpoints)),
      scheduler_(std::move(scheduler)) {
  for (const std::string& endpoint : endpoints_) shards_[endpoint].shard = std::make_unique<Shard>(self_, ShardOptions{});
}

void SimServer::OnTimer(absl::Time now, Outbox& outbox) {
  if (now < due_ || finished_) return;
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
  } else if (body.isError() && body.getError().getCode() == wire::Error::Code::UNKNOWN_INCARNATION && registered_) {
    registered_ = false;
    due_ = now;
    OnTimer(now, outbox);
  }
}

void SimServer::OnMessage(const std::string& endpoint, const Message& message, absl::Time now, Outbox& outbox) {
  if (endpoint.empty()) return OnSchedulerReply(message, now, outbox);
  Hosted& hosted = shards_.at(endpoint);
  const Body::Reader request = message.envelope().getBody();
  CheckBeforeLoss(endpoint, request, now);
  Capture capture;
  if (tamper_ != nullptr) {
    tamper_->OnMessage(*hosted.shard, endpoint, message, now, capture);
  } else {
    hosted.shard->OnMessage(message, now, capture);
  }
  if (capture.sent().size() != 1) {
    world_.Violate(fmt::format("{} answered a request {} times", endpoint, capture.sent().size()));
  }
  for (const Capture::Sent& sent : capture.sent()) {
    CheckAnswer(hosted, request, sent.message->envelope().asReader().getBody());
    outbox.Send(sent.to, sent.message);
  }
}

void SimServer::CheckAnswer(Hosted& hosted, Body::Reader request, Body::Reader answer) {
  if (request.isCloseSession() && answer.isOk()) hosted.closed.insert(request.getCloseSession().getSession());
  if (request.isPush() && answer.isPushed() && !answer.getPushed().getDuplicate()) {
    const wire::Push::Reader push = request.getPush();
    if (const std::string wrong = ledger_.CheckApplied(push.getSession(), push.getSequence()); !wrong.empty()) {
      world_.Violate(wrong);
    }
  }
  if (request.isPush() && answer.isPushed() && hosted.closed.contains(request.getPush().getSession())) {
    world_.Violate(
        fmt::format("{} took a push of session {}, which it had closed", self_.name, request.getPush().getSession()));
  }
}

// Tables end in two ways: they are dropped, or a newer view says that a server was lost, and with it a part of every trial.
void SimServer::CheckBeforeLoss(const std::string& endpoint, Body::Reader request, absl::Time now) {
  Shard& shard = *shards_.at(endpoint).shard;
  const bool rolls_back =
      request.isInstallView() && shard.view_number() != 0 && request.getInstallView().getNumber() > shard.view_number();
  std::set<TableNumber> ending;
  if (request.isDropTables()) {
    for (const TableNumber number : request.getDropTables().getTables()) ending.insert(number);
  }
  for (const Shard::TableStatistics& table : shard.Tables()) {
    if (rolls_back || ending.contains(table.definition.number)) {
      world_.Trace(fmt::format("{} compares {} with the ledger", endpoint, table.definition.name));
      CheckTable(shard, table.definition, now);
    }
    if (rolls_back) ledger_.RollBack(table.definition.number);
  }
}

// Row by row, since only the shard knows which ones are its own: it refuses those of others.
void SimServer::CheckTable(Shard& shard, const TableDefinition& table, absl::Time now) {
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
