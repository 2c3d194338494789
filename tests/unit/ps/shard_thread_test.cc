#include "ps/shard_thread.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <utility>

#include "absl/time/clock.h"
#include "tests/unit/ps/shard_harness.h"

namespace marquee {
namespace {

using testing::HasSubstr;

// A shard's thread, and a client that asks it over a real socket.
class ShardThreadTest : public testing::TestWithParam<std::string> {
 protected:
  ShardThreadTest() : metrics_(kServer) {
    auto shard = ShardThread::Start(context_, {.name = "s0", .incarnation = 1}, {}, {}, GetParam(), 3, metrics_);
    EXPECT_TRUE(shard.ok()) << shard.status();
    shard_ = *std::move(shard);
    client_ = *Transport::Create(context_, {.name = "w0", .incarnation = 2}, {});
  }

  std::string Ask(OutgoingMessagePtr request) {
    client_->Send(shard_->endpoint(), std::move(request));
    std::optional<std::string> outcome;
    const absl::Time deadline = absl::Now() + absl::Seconds(30);
    while (!outcome.has_value() && absl::Now() < deadline) {
      client_->Receive(absl::Milliseconds(100), [&](const Message& message) { outcome = Outcome(message); });
    }
    return outcome.value_or("no answer");
  }

  void ExpectServed(const std::string& line) {
    const absl::Time deadline = absl::Now() + absl::Seconds(30);
    while (metrics_.Text().find(line) == std::string::npos && absl::Now() < deadline) {
      client_->Receive(absl::Milliseconds(50), [](const Message&) {});
    }
    EXPECT_THAT(metrics_.Text(), HasSubstr(line));
  }

  Metrics metrics_;
  TransportContext context_;
  std::unique_ptr<ShardThread> shard_;
  std::unique_ptr<Transport> client_;
};

TEST_P(ShardThreadTest, AnswersAndCounts) {
  EXPECT_EQ(Ask(MakeInstallView(MakeEvenView(1, kClusterId, {shard_->endpoint()}, 8), 0)), "ok");
  EXPECT_EQ(Ask(MakeOpenSession(1)), "ok");
  EXPECT_EQ(Ask(MakeCreateTables({SgdTable(1, 2)})), "ok");
  EXPECT_EQ(Ask(MakePush(1, 1, 1, {{1, 2, {7, 8, 9}, std::vector<float>(6, 1)}})), "pushed");
  EXPECT_EQ(Ask(MakePush(1, 1, 1, {{1, 2, {7, 8, 9}, std::vector<float>(6, 1)}})), "pushed");
  EXPECT_EQ(Ask(MakePull(1, 1, 2, {7, 8, 9, 10})), "rows");
  EXPECT_EQ(Ask(MakePull(1, 5, 2, {7})), "error unknownTable");

  ExpectServed("marquee_requests_total{operation=\"push\"} 2\n");
  ExpectServed("marquee_requests_total{operation=\"pull\"} 2\n");
  ExpectServed("marquee_request_duration_seconds_count{operation=\"pull\"} 2\n");
  ExpectServed("marquee_rows_total{operation=\"push\"} 3\n");
  ExpectServed("marquee_rows_total{operation=\"pull\"} 4\n");
  ExpectServed("marquee_rows_created_total 3\n");
  ExpectServed("marquee_duplicates_dropped_total 1\n");
  ExpectServed("marquee_rejected_total{reason=\"unknownTable\"} 1\n");
  ExpectServed("marquee_table_rows{shard=\"3\",table=\"t7/users\"} 3\n");
  ExpectServed("marquee_open_sessions{shard=\"3\"} 1\n");
  ExpectServed("marquee_view_number 1\n");

  // Metrics of a dropped table go with it.
  EXPECT_EQ(Ask(MakeDropTables({1})), "ok");
  const absl::Time deadline = absl::Now() + absl::Seconds(30);
  while (metrics_.Text().find("table=\"t7/users\"") != std::string::npos && absl::Now() < deadline) {
    client_->Receive(absl::Milliseconds(50), [](const Message&) {});
  }
  EXPECT_THAT(metrics_.Text(), testing::Not(HasSubstr("table=\"t7/users\"")));
}

TEST_P(ShardThreadTest, StopsAtOnce) {
  const absl::Time begin = absl::Now();
  shard_.reset();
  EXPECT_LT(absl::Now() - begin, absl::Seconds(20));  // far less, unless the machine is very busy
}

INSTANTIATE_TEST_SUITE_P(Transports, ShardThreadTest, testing::Values("tcp://127.0.0.1:0", "inproc://*"),
                         [](const auto& test) { return test.param.substr(0, test.param.find(':')); });

TEST(ShardThread, SaysWhyItCannotListen) {
  Metrics metrics(kServer);
  TransportContext context;
  const auto shard = ShardThread::Start(context, {.name = "s0", .incarnation = 1}, {}, {}, "tcp://192.0.2.1:1", 0, metrics);
  ASSERT_FALSE(shard.ok());
  EXPECT_THAT(std::string(shard.status().message()), HasSubstr("192.0.2.1"));
}

}  // namespace
}  // namespace marquee
