#include "worker/client/client.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <map>
#include <random>
#include <set>

#include "tests/unit/client/fake_network.h"

namespace marquee {
namespace {

using Body = wire::Envelope::Body;
using Code = wire::Error::Code;

constexpr uint32_t kPartitions = 16;

View MakeView(uint64_t number, uint32_t shards) {
  std::vector<std::string> endpoints;
  for (uint32_t i = 0; i < shards; ++i) endpoints.push_back(fmt::format("shard{}", i));
  return MakeEvenView(number, 7, endpoints, kPartitions);
}

std::vector<Id> Ids(size_t count, uint64_t seed = 1) {
  std::mt19937_64 random(seed);
  std::set<Id> ids;
  while (ids.size() < count) ids.insert(random());
  std::vector<Id> shuffled(ids.begin(), ids.end());
  std::shuffle(shuffled.begin(), shuffled.end(), random);
  return shuffled;
}

// A value that tells table, id and column.
float ValueOf(TableNumber table, Id id, uint32_t column) {
  return static_cast<float>((id * 31 + table * 7 + column) % 1000003);
}

std::vector<float> ValuesOf(TableNumber table, const std::vector<Id>& ids, uint32_t dim) {
  std::vector<float> values;
  for (const Id id : ids) {
    for (uint32_t column = 0; column < dim; ++column) values.push_back(ValueOf(table, id, column));
  }
  return values;
}

template <typename T>
std::vector<T> Unpack(capnp::Data::Reader data) {
  std::vector<T> values(data.size() / sizeof(T));
  std::memcpy(values.data(), data.begin(), data.size());
  return values;
}

Message RowsFor(const Sent& sent) {
  return ReplyTo(sent, [&](Body::Builder body) {
    const auto asked = sent.body().getPull().getSections();
    auto sections = body.initRows().initSections(asked.size());
    for (uint32_t i = 0; i < asked.size(); ++i) {
      sections[i].setTable(asked[i].getTable());
      sections[i].setDim(asked[i].getDim());
      sections[i].setCount(asked[i].getCount());
      const std::vector<float> values = ValuesOf(asked[i].getTable(), Unpack<Id>(asked[i].getIds()), asked[i].getDim());
      auto data = sections[i].initValues(static_cast<uint32_t>(values.size() * sizeof(float)));
      std::memcpy(data.begin(), values.data(), data.size());
    }
  });
}

Message PushedFor(const Sent& sent, bool duplicate = false) {
  return ReplyTo(sent, [&](Body::Builder body) {
    auto pushed = body.initPushed();
    pushed.setSequence(sent.body().getPush().getSequence());
    pushed.setDuplicate(duplicate);
  });
}

class ClientTest : public testing::Test {
 protected:
  ClientTest() { client_.SetView(MakeView(1, 2), At(0), outbox_); }

  void OpenSession() { client_.StartSession(5); }

  // Pushes one row of `dim` values.
  absl::Status PushOne(Id id, double at = 0, uint32_t dim = 2) {
    const std::vector<Id> ids = {id};
    const std::vector<float> gradients = ValuesOf(1, ids, dim);
    const PushTable table{.table = 1, .dim = dim, .learning_rate = 0.5F, .ids = ids, .gradients = gradients.data()};
    return client_.StartPush({&table, 1}, At(at), outbox_);
  }

  FakeOutbox outbox_;
  ClientOptions options_;
  Client client_{Identity{.name = "w0", .incarnation = 3}, ClientOptions{}};
};

TEST_F(ClientTest, PullNeedsAViewAndADimension) {
  Client fresh(Identity{.name = "w0", .incarnation = 3}, {});
  EXPECT_EQ(fresh.StartPull({}, At(0), outbox_).status().code(), absl::StatusCode::kFailedPrecondition);
  const std::vector<Id> ids = {1};
  const PullTable table{.table = 4, .dim = 0, .ids = ids};
  const auto pull = client_.StartPull({&table, 1}, At(0), outbox_);
  EXPECT_EQ(pull.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(pull.status().message()), testing::HasSubstr("table 4"));
  EXPECT_TRUE(outbox_.Take().empty());
}

TEST_F(ClientTest, EmptyPullIsFinishedAtOnce) {
  const auto pull = client_.StartPull({}, At(0), outbox_).value();
  EXPECT_TRUE(client_.PullResult(pull)->ok());
  EXPECT_EQ(client_.next_timer(), absl::InfiniteFuture());
}

TEST_F(ClientTest, PullReadsEveryRowIntoItsPlaceWhateverTheOrderOfReplies) {
  const std::vector<Id> users = Ids(500, 1);
  const std::vector<Id> movies = Ids(301, 2);
  std::vector<float> user_values(users.size() * 3, -1);
  std::vector<float> movie_values(movies.size() * 8, -1);
  const PullTable tables[] = {{.table = 1, .dim = 3, .ids = users, .values = user_values.data()},
                              {.table = 2, .dim = 8, .ids = movies, .values = movie_values.data()}};
  const auto pull = client_.StartPull(tables, At(0), outbox_).value();
  const std::vector<Sent> sent = outbox_.Take();
  ASSERT_EQ(sent.size(), 2);
  EXPECT_NE(sent[0].to, sent[1].to);
  for (const Sent& one : sent) {
    EXPECT_EQ(one.envelope().getView(), 1);
    EXPECT_EQ(one.envelope().getIncarnation(), 3);
    EXPECT_EQ(one.envelope().getTimeoutMicros(), 30'000'000);
    EXPECT_EQ(one.message->segments().size(), 1);
  }
  client_.OnMessage(RowsFor(sent[1]), At(0.1), outbox_);
  EXPECT_FALSE(client_.PullResult(pull).has_value());
  client_.OnMessage(RowsFor(sent[0]), At(0.1), outbox_);
  ASSERT_TRUE(client_.PullResult(pull).has_value());
  EXPECT_TRUE(client_.PullResult(pull)->ok());
  EXPECT_EQ(user_values, ValuesOf(1, users, 3));
  EXPECT_EQ(movie_values, ValuesOf(2, movies, 8));
  EXPECT_EQ(client_.counters().rows_pulled, 801);
  client_.ForgetPull(pull);
  EXPECT_EQ(client_.PullResult(pull)->code(), absl::StatusCode::kNotFound);
}

TEST_F(ClientTest, LateAndRepeatedRowsAreNotWritten) {
  const std::vector<Id> ids = Ids(100);
  std::vector<float> values(ids.size(), -1);
  const PullTable table{.table = 1, .dim = 1, .ids = ids, .values = values.data()};
  const auto pull = client_.StartPull({&table, 1}, At(0), outbox_).value();
  const std::vector<Sent> sent = outbox_.Take();
  client_.OnMessage(RowsFor(sent[0]), At(0), outbox_);
  std::fill(values.begin(), values.end(), -2);
  client_.OnMessage(RowsFor(sent[0]), At(0), outbox_);
  client_.ForgetPull(pull);
  client_.OnMessage(RowsFor(sent[1]), At(0), outbox_);
  EXPECT_THAT(values, testing::Each(-2));
}

TEST_F(ClientTest, AnswersCountFromTheAskedEndpointOnly) {
  const std::vector<Id> ids = {Ids(1)[0]};
  float value = -1;
  const PullTable table{.table = 1, .dim = 1, .ids = ids, .values = &value};
  const auto pull = client_.StartPull({&table, 1}, At(0), outbox_).value();
  std::vector<Sent> sent = outbox_.Take();
  ASSERT_EQ(sent.size(), 1);
  Sent elsewhere = sent[0];
  elsewhere.to = "somebody else";
  client_.OnMessage(RowsFor(elsewhere), At(0), outbox_);
  EXPECT_FALSE(client_.PullResult(pull).has_value());
  EXPECT_EQ(value, -1);
}

// Each of these is a reply to a pull of two tables of which the last section is wrong: nothing of it may be written.
struct BadReply {
  const char* name;
  void (*spoil)(wire::RowSection::Builder);
};

class BadRowsTest : public ClientTest, public testing::WithParamInterface<BadReply> {};

TEST_P(BadRowsTest, FailTheirPullAndWriteNothing) {
  client_.SetView(MakeView(2, 1), At(0), outbox_);
  const std::vector<Id> ids = Ids(10);
  std::vector<float> values(ids.size() * 5, -1);
  const PullTable tables[] = {{.table = 1, .dim = 2, .ids = ids, .values = values.data()},
                              {.table = 2, .dim = 3, .ids = ids, .values = values.data() + 20}};
  const auto pull = client_.StartPull(tables, At(0), outbox_).value();
  const Sent sent = outbox_.Take().at(0);
  client_.OnMessage(ReplyTo(sent,
                            [&](Body::Builder body) {
                              auto sections = body.initRows().initSections(2);
                              for (uint32_t i = 0; i < 2; ++i) {
                                sections[i].setTable(i + 1);
                                sections[i].setDim(i + 2);
                                sections[i].setCount(10);
                                sections[i].initValues(10 * (i + 2) * 4);
                              }
                              GetParam().spoil(sections[1]);
                            }),
                    At(0), outbox_);
  ASSERT_TRUE(client_.PullResult(pull).has_value());
  EXPECT_EQ(client_.PullResult(pull)->code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(client_.PullResult(pull)->message()), testing::HasSubstr("rows.sections[1]"));
  EXPECT_THAT(values, testing::Each(-1));
  EXPECT_EQ(client_.next_timer(), absl::InfiniteFuture());
}

INSTANTIATE_TEST_SUITE_P(
    Each, BadRowsTest,
    testing::Values(BadReply{"table", [](wire::RowSection::Builder s) { s.setTable(9); }},
                    BadReply{"dim", [](wire::RowSection::Builder s) { s.setDim(4); }},
                    BadReply{"count", [](wire::RowSection::Builder s) { s.setCount(11); }},
                    BadReply{"type", [](wire::RowSection::Builder s) { s.setType(static_cast<wire::ElementType>(3)); }},
                    BadReply{"too_few", [](wire::RowSection::Builder s) { s.initValues(116); }},
                    BadReply{"too_many", [](wire::RowSection::Builder s) { s.initValues(124); }},
                    BadReply{"none", [](wire::RowSection::Builder s) { s.disownValues(); }}),
    [](const auto& test) { return test.param.name; });

TEST_F(ClientTest, AReplyOfAnotherKindOrAnotherNumberOfSectionsFailsThePull) {
  const std::vector<Id> ids = {1};
  float value = -1;
  const PullTable table{.table = 1, .dim = 1, .ids = ids, .values = &value};
  const auto first = client_.StartPull({&table, 1}, At(0), outbox_).value();
  client_.OnMessage(ReplyTo(outbox_.Take().at(0), [](Body::Builder body) { body.setOk(); }), At(0), outbox_);
  EXPECT_EQ(client_.PullResult(first)->code(), absl::StatusCode::kInvalidArgument);
  const auto second = client_.StartPull({&table, 1}, At(0), outbox_).value();
  client_.OnMessage(ReplyTo(outbox_.Take().at(0), [](Body::Builder body) { body.initRows().initSections(2); }), At(0), outbox_);
  EXPECT_EQ(client_.PullResult(second)->code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(client_.counters().errors, 2);
  EXPECT_EQ(value, -1);
}

// Any bytes at all in place of a reply's body: the client survives, and writes only what it asked for.
TEST_F(ClientTest, GarbledRepliesDoNoHarm) {
  const std::vector<Id> ids = Ids(20);
  std::mt19937_64 random(11);
  for (int round = 0; round < 3000; ++round) {
    std::vector<float> values(ids.size() + 2, -1);
    const PullTable table{.table = 1, .dim = 1, .ids = ids, .values = values.data() + 1};
    const auto pull = client_.StartPull({&table, 1}, At(0), outbox_).value();
    for (const Sent& sent : outbox_.Take()) {
      const Message request = Deliver("", *sent.message).value();
      OutgoingMessagePtr reply = NewReply(kOther, 1, request);
      auto section = reply->envelope().getBody().initRows().initSections(1)[0];
      const auto count = sent.body().getPull().getSections()[0].getCount();
      section.setTable(1);
      section.setDim(1);
      section.setCount(count);
      section.initValues(count * 4);
      const auto segment = reply->segments()[0];
      auto words = std::make_shared<std::vector<uint64_t>>(segment.size());
      std::memcpy(words->data(), segment.begin(), segment.size() * sizeof(capnp::word));
      for (int flips = 0; flips < 3; ++flips) (*words)[random() % words->size()] ^= uint64_t{1} << (random() % 64);
      Frame frame{
          .owner = words, .data = reinterpret_cast<const std::byte*>(words->data()), .size = words->size() * sizeof(uint64_t)};
      auto message = Message::Parse(sent.to, {frame});
      if (message.ok()) client_.OnMessage(*message, At(0), outbox_);
    }
    EXPECT_EQ(values.front(), -1);
    EXPECT_EQ(values.back(), -1);
    client_.ForgetPull(pull);
    outbox_.Take();
  }
}

TEST_F(ClientTest, UnansweredPullIsAskedAgainLessAndLessOftenUntilItsDeadline) {
  const std::vector<Id> ids = {1};
  float value = 0;
  const PullTable table{.table = 1, .dim = 1, .ids = ids, .values = &value};
  const auto pull = client_.StartPull({&table, 1}, At(0), outbox_).value();
  const std::string bytes = outbox_.Take().at(0).Bytes();
  std::vector<double> times;
  while (!client_.PullResult(pull).has_value()) {
    const absl::Time now = client_.next_timer();
    ASSERT_LE(now, At(30));
    client_.OnTimer(now, outbox_);
    for (const Sent& sent : outbox_.Take()) {
      times.push_back(absl::ToDoubleSeconds(now - At(0)));
      EXPECT_EQ(sent.Bytes(), bytes);
    }
  }
  EXPECT_THAT(times, testing::ElementsAre(1, 3, 7, 15, 23));
  EXPECT_EQ(client_.PullResult(pull)->code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(client_.next_timer(), absl::InfiniteFuture());
  EXPECT_EQ(client_.counters().resent, 5);
}

TEST_F(ClientTest, AShardsErrorFailsThePullUnderItsCode) {
  const std::vector<Id> ids = Ids(50);
  std::vector<float> values(ids.size());
  const PullTable table{.table = 1, .dim = 1, .ids = ids, .values = values.data()};
  const auto pull = client_.StartPull({&table, 1}, At(0), outbox_).value();
  client_.OnMessage(ErrorTo(outbox_.Take().at(0), Code::UNKNOWN_TABLE), At(0), outbox_);
  EXPECT_EQ(client_.PullResult(pull)->code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(client_.PullResult(pull)->message()), testing::HasSubstr("unknownTable: a field: what it was"));
  client_.OnTimer(At(100), outbox_);
  EXPECT_TRUE(outbox_.Take().empty());
}

TEST_F(ClientTest, ALargePullIsCutIntoMessagesWhoseRepliesAreSmallEnough) {
  ClientOptions options;
  options.max_message_bytes = 4096;
  Client client(Identity{.name = "w0", .incarnation = 3}, options);
  client.SetView(MakeView(1, 3), At(0), outbox_);
  const std::vector<Id> ids = Ids(1000);
  std::vector<float> values(ids.size() * 16, -1);
  std::vector<float> more(ids.size() * 4, -1);
  const PullTable tables[] = {{.table = 1, .dim = 16, .ids = ids, .values = values.data()},
                              {.table = 2, .dim = 4, .ids = ids, .values = more.data()}};
  const auto pull = client.StartPull(tables, At(0), outbox_).value();
  const std::vector<Sent> sent = outbox_.Take();
  EXPECT_GT(sent.size(), 40);
  for (const Sent& one : sent) {
    size_t bytes = 0;
    for (const auto section : one.body().getPull().getSections()) bytes += section.getCount() * (8 + section.getDim() * 4);
    EXPECT_LE(bytes, 4096);
    client.OnMessage(RowsFor(one), At(0), outbox_);
  }
  EXPECT_TRUE(client.PullResult(pull)->ok());
  EXPECT_EQ(values, ValuesOf(1, ids, 16));
  EXPECT_EQ(more, ValuesOf(2, ids, 4));
}

TEST_F(ClientTest, StaleViewIsHintedAtAndANewViewAsksTheNewOwners) {
  const std::vector<Id> ids = Ids(200);
  std::vector<float> values(ids.size() * 2, -1);
  const PullTable table{.table = 1, .dim = 2, .ids = ids, .values = values.data()};
  const auto pull = client_.StartPull({&table, 1}, At(0), outbox_).value();
  const std::vector<Sent> old = outbox_.Take();
  client_.OnMessage(RowsFor(old[0]), At(0), outbox_);
  client_.OnMessage(ErrorTo(old[1], Code::STALE_VIEW, 4), At(0), outbox_);
  EXPECT_FALSE(client_.PullResult(pull).has_value());
  EXPECT_EQ(client_.wanted_view(), 4);
  client_.SetView(MakeView(4, 5), At(1), outbox_);
  const std::vector<Sent> sent = outbox_.Take();
  EXPECT_GT(sent.size(), 1);
  uint32_t asked = 0;
  for (const Sent& one : sent) {
    asked += one.body().getPull().getSections()[0].getCount();
    EXPECT_EQ(one.envelope().getTimeoutMicros(), 29'000'000);
  }
  EXPECT_EQ(asked, old[1].body().getPull().getSections()[0].getCount());
  client_.OnMessage(RowsFor(old[1]), At(1), outbox_);  // too late
  EXPECT_FALSE(client_.PullResult(pull).has_value());
  for (const Sent& one : sent) client_.OnMessage(RowsFor(one), At(1), outbox_);
  EXPECT_TRUE(client_.PullResult(pull)->ok());
  EXPECT_EQ(values, ValuesOf(1, ids, 2));
}

TEST_F(ClientTest, AnOlderViewIsIgnored) {
  client_.SetView(MakeView(3, 4), At(0), outbox_);
  client_.SetView(MakeView(2, 1), At(0), outbox_);
  EXPECT_EQ(client_.view().number, 3);
}

// What all messages of a sequence carry: gradient by (table, id); fails if a row comes twice.
using Rows = std::map<std::pair<TableNumber, Id>, std::vector<float>>;

void Collect(const Sent& sent, const View& view, std::map<uint64_t, Rows>& by_sequence,
             std::map<std::pair<uint64_t, PartitionNumber>, uint64_t>& message_of) {
  const auto push = sent.body().getPush();
  EXPECT_EQ(push.getSession(), 5);
  for (const auto section : push.getSections()) {
    const auto ids = Unpack<Id>(section.getIds());
    const auto gradients = Unpack<float>(section.getGradients());
    ASSERT_EQ(ids.size(), section.getCount());
    ASSERT_EQ(gradients.size(), ids.size() * section.getDim());
    for (size_t i = 0; i < ids.size(); ++i) {
      const PartitionNumber partition = PartitionOf(ids[i], view.partition_bits());
      EXPECT_EQ(view.shards[view.primaries[partition]], sent.to);
      const auto [at, is_new] = message_of.try_emplace({push.getSequence(), partition}, sent.envelope().getRequestId());
      EXPECT_EQ(at->second, sent.envelope().getRequestId()) << "a partition's rows are in two messages of one sequence";
      const auto* row = gradients.data() + i * section.getDim();
      const bool once =
          by_sequence[push.getSequence()].try_emplace({section.getTable(), ids[i]}, row, row + section.getDim()).second;
      EXPECT_TRUE(once);
    }
  }
}

TEST_F(ClientTest, APushSendsEachGradientOnceWithItsIdToItsOwner) {
  OpenSession();
  const std::vector<Id> users = Ids(333, 1);
  const std::vector<Id> movies = Ids(77, 2);
  const std::vector<float> user_gradients = ValuesOf(1, users, 7);
  const std::vector<float> movie_gradients = ValuesOf(2, movies, 64);
  const PushTable tables[] = {
      {.table = 1, .dim = 7, .learning_rate = 0.5F, .ids = users, .gradients = user_gradients.data()},
      {.table = 2, .dim = 64, .learning_rate = 0.25F, .ids = movies, .gradients = movie_gradients.data()}};
  for (uint64_t sequence = 1; sequence <= 2; ++sequence) {
    ASSERT_TRUE(client_.StartPush(tables, At(0), outbox_).ok());
    const std::vector<Sent> sent = outbox_.Take();
    ASSERT_EQ(sent.size(), 2);
    std::map<uint64_t, Rows> rows;
    std::map<std::pair<uint64_t, PartitionNumber>, uint64_t> message_of;
    for (const Sent& one : sent) {
      EXPECT_EQ(one.message->segments().size(), 1);
      EXPECT_EQ(one.body().getPush().getSections()[0].getLearningRate(), 0.5F);
      EXPECT_EQ(one.body().getPush().getSections()[1].getLearningRate(), 0.25F);
      Collect(one, client_.view(), rows, message_of);
    }
    ASSERT_EQ(rows.size(), 1);
    ASSERT_EQ(rows[sequence].size(), 410);
    for (const Id id : users) EXPECT_EQ((rows[sequence][{1, id}]), ValuesOf(1, {id}, 7));
    for (const Id id : movies) EXPECT_EQ((rows[sequence][{2, id}]), ValuesOf(2, {id}, 64));
  }
  EXPECT_EQ(client_.pushes_started(), 2);
  EXPECT_EQ(client_.pushes_acknowledged(), 0);
}

TEST_F(ClientTest, AnUnansweredPushIsResentWithTheSameBytesForever) {
  OpenSession();
  ASSERT_TRUE(PushOne(1).ok());
  const std::string bytes = outbox_.Take().at(0).Bytes();
  size_t resent = 0;
  absl::Time now;
  while (resent < 100) {
    now = client_.next_timer();
    client_.OnTimer(now, outbox_);
    for (const Sent& sent : outbox_.Take()) {
      ++resent;
      ASSERT_EQ(sent.Bytes(), bytes);
      if (resent == 100) client_.OnMessage(PushedFor(sent, true), now, outbox_);
    }
  }
  EXPECT_EQ(client_.pushes_acknowledged(), 1);
  EXPECT_EQ(client_.counters().duplicates_acknowledged, 1);
  EXPECT_TRUE(client_.session_status().ok());
  EXPECT_EQ(client_.next_timer(), absl::InfiniteFuture());
}

TEST_F(ClientTest, NothingIsNumberedThatIsNotFinite) {
  OpenSession();
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), -std::numeric_limits<float>::quiet_NaN(),
                          std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity()}) {
    for (const size_t at : {0, 15, 99, 129}) {
      const std::vector<Id> ids = Ids(10);
      std::vector<float> gradients(130, std::numeric_limits<float>::max());
      gradients[at] = bad;
      const PushTable table{.table = 8, .dim = 13, .learning_rate = 1, .ids = ids, .gradients = gradients.data()};
      const absl::Status status = client_.StartPush({&table, 1}, At(0), outbox_);
      EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
      EXPECT_THAT(std::string(status.message()), testing::HasSubstr("table 8"));
    }
    const std::vector<Id> ids = {1};
    const float gradient = 1;
    const PushTable table{.table = 8, .dim = 1, .learning_rate = bad, .ids = ids, .gradients = &gradient};
    EXPECT_EQ(client_.StartPush({&table, 1}, At(0), outbox_).code(), absl::StatusCode::kInvalidArgument);
  }
  EXPECT_TRUE(outbox_.Take().empty());
  EXPECT_EQ(client_.pushes_started(), 0);
  ASSERT_TRUE(PushOne(1).ok());
  EXPECT_EQ(outbox_.Take().at(0).body().getPush().getSequence(), 1);
}

TEST_F(ClientTest, PushNeedsAViewASessionAndRoom) {
  EXPECT_EQ(PushOne(1).code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_FALSE(client_.CanPush());
  OpenSession();
  EXPECT_TRUE(client_.CanPush());
  Client fresh(Identity{.name = "w0", .incarnation = 3}, {});
  fresh.StartSession(5);
  EXPECT_FALSE(fresh.CanPush());
}

TEST_F(ClientTest, TheWindowIsSixtyFourFromTheOldestUnacknowledged) {
  OpenSession();
  std::vector<Sent> sent;
  for (uint64_t n = 1; n <= 64; ++n) {
    ASSERT_TRUE(client_.CanPush());
    ASSERT_TRUE(PushOne(n).ok());
    sent.push_back(outbox_.Take().at(0));
    EXPECT_EQ(sent.back().body().getPush().getSequence(), n);
  }
  EXPECT_FALSE(client_.CanPush());
  EXPECT_EQ(PushOne(65).code(), absl::StatusCode::kFailedPrecondition);
  for (size_t n = 1; n < 64; ++n) client_.OnMessage(PushedFor(sent[n]), At(0), outbox_);
  EXPECT_FALSE(client_.CanPush());
  EXPECT_EQ(client_.pushes_acknowledged(), 0);
  client_.OnMessage(PushedFor(sent[0]), At(0), outbox_);
  EXPECT_TRUE(client_.CanPush());
  EXPECT_EQ(client_.pushes_acknowledged(), 64);
  EXPECT_EQ(client_.pushes_started(), 64);
}

TEST_F(ClientTest, ALargePushIsCutAndWaitsForTheWindow) {
  ClientOptions options;
  options.max_message_bytes = 200;
  Client client(Identity{.name = "w0", .incarnation = 3}, options);
  client.SetView(MakeView(1, 2), At(0), outbox_);
  client.StartSession(5);
  const std::vector<Id> ids = Ids(300);
  const std::vector<float> gradients = ValuesOf(1, ids, 8);
  const PushTable table{.table = 1, .dim = 8, .learning_rate = 1, .ids = ids, .gradients = gradients.data()};
  ASSERT_TRUE(client.StartPush({&table, 1}, At(0), outbox_).ok());
  EXPECT_EQ(client.pushes_started(), 60);  // 5 rows of 40 bytes each
  ASSERT_TRUE(client.StartPush({&table, 1}, At(0), outbox_).ok());
  EXPECT_EQ(client.pushes_started(), 120);
  EXPECT_FALSE(client.CanPush());

  std::map<uint64_t, Rows> rows;
  std::map<std::pair<uint64_t, PartitionNumber>, uint64_t> message_of;
  std::vector<Sent> waiting = outbox_.Take();
  std::mt19937_64 random(3);
  while (!waiting.empty()) {
    std::swap(waiting[random() % waiting.size()], waiting.back());
    const Sent one = waiting.back();
    waiting.pop_back();
    EXPECT_LE(one.body().getPush().getSequence(), client.pushes_acknowledged() + 64);
    Collect(one, client.view(), rows, message_of);
    client.OnMessage(PushedFor(one), At(0), outbox_);
    for (Sent& next : outbox_.Take()) waiting.push_back(std::move(next));
  }
  EXPECT_EQ(client.pushes_acknowledged(), 120);
  EXPECT_EQ(rows.size(), 120);
  std::map<Id, int> times;
  for (const auto& [sequence, of_it] : rows) {
    EXPECT_EQ(of_it.size(), 5);
    for (const auto& [key, gradient] : of_it) {
      ++times[key.second];
      EXPECT_EQ(gradient, ValuesOf(1, {key.second}, 8));
    }
  }
  EXPECT_EQ(times.size(), 300);
  for (const auto& [id, count] : times) EXPECT_EQ(count, 2);
}

TEST_F(ClientTest, UnansweredBytesAreBounded) {
  ClientOptions options;
  options.max_unanswered_bytes = 10'000;
  Client client(Identity{.name = "w0", .incarnation = 3}, options);
  client.SetView(MakeView(1, 1), At(0), outbox_);
  client.StartSession(5);
  const std::vector<Id> ids = Ids(10);
  const std::vector<float> gradients = ValuesOf(1, ids, 16);
  const PushTable table{.table = 1, .dim = 16, .learning_rate = 1, .ids = ids, .gradients = gradients.data()};
  int started = 0;
  for (; client.CanPush(); ++started) ASSERT_TRUE(client.StartPush({&table, 1}, At(0), outbox_).ok());
  EXPECT_GT(started, 5);
  EXPECT_LT(started, 20);
  client.OnMessage(PushedFor(outbox_.Take().at(0)), At(0), outbox_);
  EXPECT_TRUE(client.CanPush());
}

TEST_F(ClientTest, AClosedSessionEndsItsPushesAndTheNextOneStartsAtOne) {
  OpenSession();
  ASSERT_TRUE(PushOne(1).ok());
  ASSERT_TRUE(PushOne(2).ok());
  const std::vector<Sent> old = outbox_.Take();
  client_.OnMessage(ErrorTo(old[0], Code::UNKNOWN_SESSION), At(0), outbox_);
  EXPECT_EQ(client_.session_status().code(), absl::StatusCode::kAborted);
  EXPECT_FALSE(client_.CanPush());
  client_.OnTimer(At(100), outbox_);
  EXPECT_TRUE(outbox_.Take().empty());
  client_.StartSession(6);
  EXPECT_TRUE(client_.session_status().ok());
  ASSERT_TRUE(PushOne(3).ok());
  const Sent sent = outbox_.Take().at(0);
  EXPECT_EQ(sent.body().getPush().getSession(), 6);
  EXPECT_EQ(sent.body().getPush().getSequence(), 1);
  client_.OnMessage(PushedFor(old[1]), At(0), outbox_);
  client_.OnMessage(ErrorTo(old[1], Code::UNKNOWN_SESSION), At(0), outbox_);
  EXPECT_EQ(client_.pushes_acknowledged(), 0);
  EXPECT_TRUE(client_.session_status().ok());
  client_.OnMessage(PushedFor(sent), At(0), outbox_);
  EXPECT_EQ(client_.pushes_acknowledged(), 1);
}

TEST_F(ClientTest, APushRefusedForGoodEndsTheSession) {
  const std::pair<Code, absl::StatusCode> cases[] = {{Code::MEMORY_FULL, absl::StatusCode::kResourceExhausted},
                                                     {Code::UNKNOWN_TABLE, absl::StatusCode::kNotFound},
                                                     {Code::OUTSIDE_WINDOW, absl::StatusCode::kOutOfRange},
                                                     {Code::CANCELLED, absl::StatusCode::kCancelled}};
  for (const auto& [code, expected] : cases) {
    OpenSession();
    ASSERT_TRUE(PushOne(1).ok());
    client_.OnMessage(ErrorTo(outbox_.Take().at(0), code), At(0), outbox_);
    EXPECT_EQ(client_.session_status().code(), expected);
    EXPECT_EQ(PushOne(2).code(), absl::StatusCode::kFailedPrecondition);
  }
}

TEST_F(ClientTest, AnAcknowledgementOfAnotherNumberIsNone) {
  OpenSession();
  ASSERT_TRUE(PushOne(1).ok());
  client_.OnMessage(ReplyTo(outbox_.Take().at(0), [](Body::Builder body) { body.initPushed().setSequence(2); }), At(0),
                    outbox_);
  EXPECT_EQ(client_.pushes_acknowledged(), 0);
  EXPECT_EQ(client_.session_status().code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(ClientTest, ATransientRefusalIsTriedAgainWithBackOff) {
  for (const Code code : {Code::VIEW_AHEAD, Code::NOT_YET, Code::STALE_VIEW}) {
    OpenSession();
    absl::Time now = At(0);
    ASSERT_TRUE(PushOne(1).ok());
    Sent sent = outbox_.Take().at(0);
    const std::string bytes = sent.Bytes();
    std::vector<int64_t> waits;
    for (int i = 0; i < 6; ++i) {
      client_.OnMessage(ErrorTo(sent, code), now, outbox_);
      waits.push_back(absl::ToInt64Microseconds(client_.next_timer() - now));
      now = client_.next_timer();
      client_.OnTimer(now, outbox_);
      sent = outbox_.Take().at(0);
      EXPECT_EQ(sent.Bytes(), bytes);
    }
    EXPECT_THAT(waits, testing::ElementsAre(62'500, 125'000, 250'000, 500'000, 1'000'000, 1'000'000));
    client_.OnMessage(PushedFor(sent), now, outbox_);
    EXPECT_EQ(client_.pushes_acknowledged(), 1);
  }
}

TEST_F(ClientTest, ANewViewSplitsUnacknowledgedPartsAgainUnderTheSameNumber) {
  OpenSession();
  const std::vector<Id> ids = Ids(400);
  const std::vector<float> gradients = ValuesOf(1, ids, 3);
  const PushTable table{.table = 1, .dim = 3, .learning_rate = 1, .ids = ids, .gradients = gradients.data()};
  ASSERT_TRUE(client_.StartPush({&table, 1}, At(0), outbox_).ok());
  ASSERT_TRUE(client_.StartPush({&table, 1}, At(0), outbox_).ok());
  const std::vector<Sent> old = outbox_.Take();
  ASSERT_EQ(old.size(), 4);
  client_.OnMessage(PushedFor(old[0]), At(0), outbox_);  // shard 0's part of the first

  client_.SetView(MakeView(2, 3), At(1), outbox_);
  const std::vector<Sent> sent = outbox_.Take();
  std::map<uint64_t, Rows> rows;
  std::map<std::pair<uint64_t, PartitionNumber>, uint64_t> message_of;
  for (const Sent& one : sent) {
    EXPECT_EQ(one.envelope().getView(), 2);
    Collect(one, client_.view(), rows, message_of);
  }
  EXPECT_EQ(rows[1].size(), old[1].body().getPush().getSections()[0].getCount());
  EXPECT_EQ(rows[2].size(), 400);
  for (const Id id : ids) EXPECT_EQ((rows[2][{1, id}]), ValuesOf(1, {id}, 3));
  for (const Sent& one : old) client_.OnMessage(PushedFor(one), At(1), outbox_);  // too late: they count no more
  EXPECT_EQ(client_.pushes_acknowledged(), 0);
  for (const Sent& one : sent) client_.OnMessage(PushedFor(one), At(1), outbox_);
  EXPECT_EQ(client_.pushes_acknowledged(), 2);
}

TEST_F(ClientTest, AnEmptyPushTakesNoNumber) {
  OpenSession();
  ASSERT_TRUE(client_.StartPush({}, At(0), outbox_).ok());
  EXPECT_EQ(client_.pushes_started(), 0);
  EXPECT_TRUE(outbox_.Take().empty());
}

}  // namespace
}  // namespace marquee
