// What a shard must refuse, and that a refusal changes nothing.

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "tests/unit/ps/seed.h"
#include "tests/unit/ps/shard_harness.h"

namespace marquee {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

capnp::Data::Reader Zeros(size_t bytes) {
  static const std::vector<kj::byte> zeros(1 << 20U);
  return {zeros.data(), bytes};
}

// One section of a push of table 1 (dim 2), valid until `spoil` has been at it.
OutgoingMessagePtr SpoiledPush(const std::function<void(wire::Push::Builder, wire::PushSection::Builder)>& spoil) {
  return MakeRequest(1, [&](wire::Envelope::Body::Builder body) {
    auto push = body.initPush();
    push.setSession(1);
    push.setSequence(10);
    auto sections = push.initSections(2);
    for (auto section : sections) {
      section.setTable(1);
      section.setDim(2);
      section.setCount(3);
      section.setLearningRate(1);
      const std::vector<Id> ids{4, 5, 6};
      section.setIds({reinterpret_cast<const kj::byte*>(ids.data()), 24});
      section.setGradients(Zeros(24));
    }
    spoil(push, sections[1]);
  });
}

OutgoingMessagePtr SpoiledPull(const std::function<void(wire::PullSection::Builder)>& spoil) {
  return MakeRequest(1, [&](wire::Envelope::Body::Builder body) {
    auto sections = body.initPull().initSections(2);
    for (auto section : sections) {
      section.setTable(1);
      section.setDim(2);
      section.setCount(3);
      section.setIds(Zeros(24));
    }
    spoil(sections[1]);
  });
}

struct Case {
  std::string name;
  std::string outcome;
  std::string field;
  OutgoingMessagePtr request;
};

void SetGradient(wire::PushSection::Builder section, float value) {
  std::vector<float> gradients(6, 1);
  gradients[5] = value;
  section.setGradients({reinterpret_cast<const kj::byte*>(gradients.data()), 24});
}

std::vector<Case> PushCases() {
  using Push = wire::Push::Builder;
  using Section = wire::PushSection::Builder;
  std::vector<Case> cases;
  const auto add = [&](std::string name, std::string outcome, std::string field, auto spoil) {
    cases.push_back({std::move(name), std::move(outcome), std::move(field), SpoiledPush(spoil)});
  };
  add("no sequence", "malformed", "push.sequence", [](Push push, Section) { push.setSequence(0); });
  add("unknown session", "unknownSession", "push.session", [](Push push, Section) { push.setSession(77); });
  add("session zero", "unknownSession", "push.session", [](Push push, Section) { push.setSession(0); });
  add("unknown table", "unknownTable", "push.sections[1].table", [](Push, Section section) { section.setTable(9); });
  add("another trial's table", "conflict", "push.sections[1].table", [](Push, Section section) { section.setTable(3); });
  add("wrong dim", "wrongDimension", "push.sections[1].dim", [](Push, Section section) { section.setDim(3); });
  add("count above ids", "malformed", "push.sections[1].ids", [](Push, Section section) { section.setCount(4); });
  add("count below ids", "malformed", "push.sections[1].ids", [](Push, Section section) { section.setCount(2); });
  add("half an id", "malformed", "push.sections[1].ids", [](Push, Section section) { section.setIds(Zeros(23)); });
  add("no ids", "malformed", "push.sections[1].ids", [](Push, Section section) { section.setIds(Zeros(0)); });
  add("huge count", "tooLarge", "push.sections[1].count", [](Push, Section section) { section.setCount(UINT32_MAX); });
  add("short gradients", "malformed", "push.sections[1].gradients",
      [](Push, Section section) { section.setGradients(Zeros(20)); });
  add("long gradients", "malformed", "push.sections[1].gradients",
      [](Push, Section section) { section.setGradients(Zeros(28)); });
  add("wrong type", "malformed", "push.sections[1].type",
      [](Push, Section section) { section.setType(static_cast<wire::ElementType>(1)); });
  add("NaN gradient", "notFinite", "push.sections[1].gradients", [](Push, Section section) { SetGradient(section, kNan); });
  add("infinite gradient", "notFinite", "push.sections[1].gradients",
      [](Push, Section section) { SetGradient(section, -kInfinity); });
  add("NaN rate", "notFinite", "push.sections[1].learningRate", [](Push, Section section) { section.setLearningRate(kNan); });
  add("infinite rate", "notFinite", "push.sections[1].learningRate",
      [](Push, Section section) { section.setLearningRate(kInfinity); });
  add("negative rate", "malformed", "push.sections[1].learningRate",
      [](Push, Section section) { section.setLearningRate(-0.1F); });
  return cases;
}

std::vector<Case> PullCases() {
  using Section = wire::PullSection::Builder;
  std::vector<Case> cases;
  const auto add = [&](std::string name, std::string outcome, std::string field, auto spoil) {
    cases.push_back({std::move(name), std::move(outcome), std::move(field), SpoiledPull(spoil)});
  };
  add("unknown table", "unknownTable", "pull.sections[1].table", [](Section section) { section.setTable(9); });
  add("wrong dim", "wrongDimension", "pull.sections[1].dim", [](Section section) { section.setDim(0); });
  add("wrong count", "malformed", "pull.sections[1].ids", [](Section section) { section.setCount(1); });
  add("half an id", "malformed", "pull.sections[1].ids", [](Section section) { section.setIds(Zeros(25)); });
  add("huge count", "tooLarge", "pull.sections[1].count", [](Section section) { section.setCount(UINT32_MAX); });
  add("a reply too large", "tooLarge", "pull.sections[1].count", [](Section section) {
    section.setTable(2);
    section.setDim(8192);
    section.setCount(1000);
    section.setIds(Zeros(8000));
  });
  return cases;
}

std::vector<Case> OtherCases() {
  std::vector<Case> cases;
  const auto add = [&](std::string name, std::string outcome, std::string field,
                       const std::function<void(wire::Envelope::Body::Builder)>& fill) {
    cases.push_back({std::move(name), std::move(outcome), std::move(field), MakeRequest(1, fill)});
  };
  using Body = wire::Envelope::Body::Builder;
  add("an answer", "wrongType", "body", [](Body body) { body.initRows(); });
  add("for the scheduler", "wrongType", "body", [](Body body) { body.initRegister(); });
  add("an empty view", "malformed", "installView", [](Body body) { body.initInstallView(); });
  add("session zero opened", "malformed", "openSession.session", [](Body body) { body.initOpenSession(); });
  add("session zero closed", "malformed", "closeSession.session", [](Body body) { body.initCloseSession(); });
  add("a nameless table", "malformed", "createTables.definitions",
      [](Body body) { body.initCreateTables().initDefinitions(1)[0].setNumber(5); });
  const auto definition = [](const std::function<void(TableDefinition&)>& spoil) {
    TableDefinition table = SgdTable(5, 4);
    spoil(table);
    return [table](Body body) { table.ToWire(body.initCreateTables().initDefinitions(1)[0]); };
  };
  add("no dim", "malformed", "createTables.definitions", definition([](TableDefinition& table) { table.dim = 0; }));
  add("a NaN", "malformed", "createTables.definitions", definition([](TableDefinition& table) { table.optimizer.l2 = kNan; }));
  add("no decay", "malformed", "createTables.optimizer.beta1",
      definition([](TableDefinition& table) { table.optimizer.beta1 = 1; }));
  return cases;
}

class ShardRefusal : public testing::Test {
 protected:
  ShardRefusal() : ready_(Tables(), 8, Limits()) {
    EXPECT_EQ(ready_.Push(3, {{1, 2, {1, 2, 3, 4}, {1, 2, 3, 4, 5, 6, 7, 8}}}), "pushed");
    EXPECT_EQ(ready_.Push(2, {{1, 2, {4, 5}, {1, 2, 3, 4}}}), "pushed");
  }

  static std::vector<TableDefinition> Tables() {
    TableDefinition other_trial = SgdTable(3, 2, "t8/users");
    other_trial.trial = kTrial + 1;
    TableDefinition adagrad = SgdTable(1, 2);
    adagrad.optimizer = Optimizer::FromConfig({});
    return {adagrad, SgdTable(2, 8192, "t7/wide"), other_trial};
  }
  static ShardOptions Limits() { return {.max_rows_per_request = 10000, .max_reply_bytes = 1U << 20U}; }

  void ExpectRefused(const std::vector<Case>& cases) {
    const std::string before = ready_.shard.DumpState();
    for (const Case& c : cases) {
      SCOPED_TRACE(c.name);
      const uint64_t rejected = Rejected(c.outcome);
      const Message reply = Ask(ready_.shard, c.request);
      EXPECT_EQ(Outcome(reply), "error " + c.outcome);
      if (reply.envelope().getBody().isError()) {
        EXPECT_EQ(std::string(reply.envelope().getBody().getError().getField().cStr()), c.field);
      }
      EXPECT_EQ(Rejected(c.outcome), rejected + 1);
      EXPECT_EQ(ready_.shard.DumpState(), before);
    }
  }

  uint64_t Rejected(const std::string& code) {
    const auto& rejected = ready_.shard.counters().rejected;
    const auto found = rejected.find(code);
    return found == rejected.end() ? 0 : found->second;
  }

  ReadyShard ready_;
};

TEST_F(ShardRefusal, TheUnspoiledRequestsAreFine) {
  EXPECT_EQ(AskOutcome(ready_.shard, SpoiledPush([](auto, auto) {})), "pushed");
  EXPECT_EQ(AskOutcome(ready_.shard, SpoiledPull([](auto) {})), "rows");
}

TEST_F(ShardRefusal, OfWrongPushes) { ExpectRefused(PushCases()); }
TEST_F(ShardRefusal, OfWrongPulls) { ExpectRefused(PullCases()); }
TEST_F(ShardRefusal, OfOtherWrongRequests) { ExpectRefused(OtherCases()); }

// Flips bits and cuts valid requests: whatever comes of it, the shard answers once, if it is no answer itself, and stays whole.
TEST_F(ShardRefusal, SurvivesCorruptedMessages) {
  const uint64_t seed = TestSeed();
  SCOPED_TRACE(SeedTrace(seed));
  std::mt19937_64 random(seed);
  class Count : public Outbox {
   public:
    void Send(const Peer&, OutgoingMessagePtr message) override {
      ++replies;
      refused += message->envelope().getBody().isError() ? 1 : 0;
    }
    int replies = 0;
    int refused = 0;
  } outbox;
  const std::vector<OutgoingMessagePtr> requests{
      SpoiledPush([](auto, auto) {}),
      SpoiledPull([](auto) {}),
      MakeInstallView(MakeEvenView(1, kClusterId, {"tcp://a:1"}, 8), 0),
      MakeCreateTables(Tables()),
      MakeDropTables({40, 41}),
      MakeOpenSession(9),
  };
  int delivered = 0;
  for (int i = 0; i < 20000; ++i) {
    const auto segments = requests[random() % requests.size()]->segments();
    ASSERT_EQ(segments.size(), 1U);
    const size_t words = random() % 4 == 0 ? 1 + random() % segments[0].size() : segments[0].size();
    auto copy = std::shared_ptr<uint64_t[]>(new uint64_t[words]);
    std::copy_n(reinterpret_cast<const uint64_t*>(segments[0].begin()), words, copy.get());
    for (uint64_t flips = random() % 4; flips > 0; --flips) copy[random() % words] ^= uint64_t{1} << random() % 64;
    const auto* data = reinterpret_cast<const std::byte*>(copy.get());
    absl::StatusOr<Message> message = Message::Parse("client", {Frame{.owner = copy, .data = data, .size = 8 * words}});
    if (!message.ok()) continue;
    const int before = outbox.replies;
    ready_.shard.OnMessage(*message, absl::UnixEpoch(), outbox);
    const auto body = message->envelope().getBody();
    if (outbox.replies == before && (body.isError() || body.isForwarded())) continue;
    ++delivered;
  }
  EXPECT_EQ(outbox.replies, delivered);
  EXPECT_GT(outbox.refused, delivered / 20);
  EXPECT_GT(delivered, 1000);
}

}  // namespace
}  // namespace marquee
