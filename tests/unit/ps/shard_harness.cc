#include "tests/unit/ps/shard_harness.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstring>
#include <utility>

namespace marquee {
namespace {

constexpr uint64_t kRequestId = 99;

class OneReply : public Outbox {
 public:
  void Send(const Peer& to, OutgoingMessagePtr message) override {
    EXPECT_EQ(to, "client");
    EXPECT_EQ(message_, nullptr) << "a second reply";
    message_ = std::move(message);
  }
  OutgoingMessagePtr message_;
};

template <typename T>
capnp::Data::Reader Bytes(const std::vector<T>& values) {
  return {reinterpret_cast<const kj::byte*>(values.data()), values.size() * sizeof(T)};
}

}  // namespace

TableDefinition SgdTable(TableNumber number, uint32_t dim, std::string name) {
  TableDefinition table;
  table.number = number;
  table.name = std::move(name);
  table.trial = kTrial;
  table.dim = dim;
  table.seed = 5;
  return table;
}

OutgoingMessagePtr MakeRequest(uint64_t view, const std::function<void(wire::Envelope::Body::Builder)>& fill_body) {
  OutgoingMessagePtr request = NewRequest({.name = "w0", .incarnation = 3}, view, kRequestId, absl::Seconds(1));
  fill_body(request->envelope().getBody());
  return request;
}

OutgoingMessagePtr MakePull(uint64_t view, TableNumber table, uint32_t dim, const std::vector<Id>& ids) {
  return MakeRequest(view, [&](wire::Envelope::Body::Builder body) {
    auto section = body.initPull().initSections(1)[0];
    section.setTable(table);
    section.setDim(dim);
    section.setCount(static_cast<uint32_t>(ids.size()));
    section.setIds(Bytes(ids));
  });
}

OutgoingMessagePtr MakePush(uint64_t view, uint64_t session, uint64_t sequence, const std::vector<PushedSection>& sections) {
  return MakeRequest(view, [&](wire::Envelope::Body::Builder body) {
    auto push = body.initPush();
    push.setSession(session);
    push.setSequence(sequence);
    auto list = push.initSections(static_cast<uint32_t>(sections.size()));
    for (uint32_t i = 0; i < sections.size(); ++i) {
      list[i].setTable(sections[i].table);
      list[i].setDim(sections[i].dim);
      list[i].setCount(static_cast<uint32_t>(sections[i].ids.size()));
      list[i].setLearningRate(sections[i].learning_rate);
      list[i].setIds(Bytes(sections[i].ids));
      list[i].setGradients(Bytes(sections[i].gradients));
    }
  });
}

OutgoingMessagePtr MakeInstallView(const View& view, ShardIndex you) {
  return MakeRequest(view.number, [&](wire::Envelope::Body::Builder body) {
    auto install = body.initInstallView();
    view.ToWire(install);
    install.setYou(you);
  });
}

OutgoingMessagePtr MakeOpenSession(uint64_t session, uint64_t trial) {
  return MakeRequest(1, [&](wire::Envelope::Body::Builder body) {
    auto open = body.initOpenSession();
    open.setSession(session);
    open.setTrial(trial);
  });
}

OutgoingMessagePtr MakeCloseSession(uint64_t session) {
  return MakeRequest(1, [&](wire::Envelope::Body::Builder body) { body.initCloseSession().setSession(session); });
}

OutgoingMessagePtr MakeCreateTables(const std::vector<TableDefinition>& definitions) {
  return MakeRequest(1, [&](wire::Envelope::Body::Builder body) {
    auto list = body.initCreateTables().initDefinitions(static_cast<uint32_t>(definitions.size()));
    for (uint32_t i = 0; i < definitions.size(); ++i) definitions[i].ToWire(list[i]);
  });
}

OutgoingMessagePtr MakeDropTables(const std::vector<TableNumber>& numbers) {
  return MakeRequest(1, [&](wire::Envelope::Body::Builder body) {
    auto list = body.initDropTables().initTables(static_cast<uint32_t>(numbers.size()));
    for (uint32_t i = 0; i < numbers.size(); ++i) list.set(i, numbers[i]);
  });
}

Message Ask(Shard& shard, OutgoingMessagePtr request) {
  absl::StatusOr<Message> delivered = Deliver("client", *request);
  EXPECT_TRUE(delivered.ok()) << delivered.status();
  OneReply outbox;
  shard.OnMessage(*delivered, absl::UnixEpoch(), outbox);
  EXPECT_NE(outbox.message_, nullptr) << "no reply";
  absl::StatusOr<Message> reply = Deliver("shard", *outbox.message_);
  EXPECT_TRUE(reply.ok()) << reply.status();
  EXPECT_EQ(reply->envelope().getRequestId(), delivered->envelope().getRequestId());
  EXPECT_EQ(reply->envelope().getView(), shard.view_number());
  return *std::move(reply);
}

std::string Outcome(const Message& reply) {
  const auto body = reply.envelope().getBody();
  if (!body.isError()) return std::string(BodyName(body.which()));
  EXPECT_GT(body.getError().getField().size(), 0U) << "an error must name a field";
  EXPECT_GT(body.getError().getMessage().size(), 0U) << "an error must say what is wrong";
  return fmt::format("error {}", ErrorCodeName(body.getError().getCode()));
}

std::string AskOutcome(Shard& shard, OutgoingMessagePtr request) { return Outcome(Ask(shard, std::move(request))); }

std::vector<float> RowsOf(const Message& reply, uint32_t section) {
  EXPECT_EQ(Outcome(reply), "rows");
  const auto rows = reply.envelope().getBody().getRows().getSections()[section];
  std::vector<float> values(rows.getValues().size() / sizeof(float));
  EXPECT_EQ(values.size(), uint64_t{rows.getCount()} * rows.getDim());
  if (!values.empty()) std::memcpy(values.data(), rows.getValues().begin(), rows.getValues().size());
  return values;
}

ReadyShard::ReadyShard(const std::vector<TableDefinition>& tables, uint32_t partitions, ShardOptions options)
    : shard({.name = "s0", .incarnation = 1}, options) {
  EXPECT_EQ(AskOutcome(shard, MakeInstallView(MakeEvenView(1, kClusterId, {"tcp://a:1"}, partitions), 0)), "ok");
  EXPECT_EQ(AskOutcome(shard, MakeOpenSession(1)), "ok");
  EXPECT_EQ(AskOutcome(shard, MakeCreateTables(tables)), "ok");
}

std::string ReadyShard::Push(uint64_t sequence, const std::vector<PushedSection>& sections, uint64_t session) {
  const Message reply = Ask(shard, MakePush(shard.view_number(), session, sequence, sections));
  if (!reply.envelope().getBody().isPushed()) return Outcome(reply);
  EXPECT_EQ(reply.envelope().getBody().getPushed().getSequence(), sequence);
  return reply.envelope().getBody().getPushed().getDuplicate() ? "duplicate" : "pushed";
}

std::vector<float> ReadyShard::Pull(TableNumber table, uint32_t dim, const std::vector<Id>& ids) {
  return RowsOf(Ask(shard, MakePull(shard.view_number(), table, dim, ids)));
}

}  // namespace marquee
