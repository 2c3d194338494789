#include "ps/server_link.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <deque>
#include <functional>
#include <string>
#include <utility>

namespace marquee {
namespace {

constexpr char kScheduler[] = "tcp://scheduler:1";

// The link with a scheduler that the test plays.
class ServerLinkTest : public testing::Test, public Outbox {
 protected:
  ServerLinkTest()
      : link_({.name = "s0", .incarnation = 11},
              {.host = "h", .process_id = 5, .endpoints = {"tcp://h:1", "tcp://h:2"}, .metrics_endpoint = "h:9"}, kScheduler) {}

  void Send(const Peer& to, OutgoingMessagePtr message) override {
    EXPECT_EQ(to, kScheduler);
    sent_.push_back(std::move(message));
  }

  void Advance(absl::Duration duration) {
    now_ += duration;
    link_.OnTimer(now_, *this);
  }

  // The one request that was sent since the last call.
  OutgoingMessagePtr Sent() {
    EXPECT_EQ(sent_.size(), 1U);
    OutgoingMessagePtr message = sent_.empty() ? nullptr : sent_.front();
    sent_.clear();
    return message;
  }

  using Fill = std::function<void(wire::Envelope::Body::Builder)>;
  void Answer(const OutgoingMessagePtr& request, const Fill& fill, const Peer& from = kScheduler) {
    OutgoingMessagePtr reply =
        NewRequest({.name = "scheduler", .incarnation = 1}, 0, request->envelope().getRequestId(), absl::ZeroDuration());
    fill(reply->envelope().getBody());
    link_.OnMessage(*Deliver(from, *reply), now_, *this);
  }

  static Fill Registered(uint64_t cluster, uint64_t micros = 1000000) {
    return [=](wire::Envelope::Body::Builder body) {
      auto registered = body.initRegistered();
      registered.setClusterId(cluster);
      registered.setHeartbeatMicros(micros);
    };
  }
  static Fill Error(wire::Error::Code code) {
    return [=](wire::Envelope::Body::Builder body) { body.initError().setCode(code); };
  }

  void BeRegistered() {
    Advance(absl::ZeroDuration());
    Answer(Sent(), Registered(7));
    ASSERT_TRUE(link_.registered());
  }

  ServerLink link_;
  absl::Time now_ = absl::UnixEpoch() + absl::Hours(1);
  std::deque<OutgoingMessagePtr> sent_;
};

TEST_F(ServerLinkTest, RegistersWithWhatItIs) {
  Advance(absl::ZeroDuration());
  const OutgoingMessagePtr request = Sent();
  EXPECT_EQ(request->envelope().getIncarnation(), 11U);
  ASSERT_TRUE(request->envelope().getBody().isRegister());
  const wire::Register::Reader body = request->envelope().getBody().getRegister().asReader();
  EXPECT_EQ(body.getRole(), wire::Register::Role::SERVER);
  EXPECT_EQ(std::string(body.getName().cStr()), "s0");
  EXPECT_EQ(std::string(body.getHost().cStr()), "h");
  EXPECT_EQ(body.getProcessId(), 5U);
  EXPECT_EQ(std::string(body.getMetricsEndpoint().cStr()), "h:9");
  ASSERT_EQ(body.getEndpoints().size(), 2U);
  EXPECT_EQ(std::string(body.getEndpoints()[1].cStr()), "tcp://h:2");
  EXPECT_FALSE(link_.registered());
  EXPECT_EQ(link_.last_heard(), absl::InfinitePast());
}

TEST_F(ServerLinkTest, RegistersUntilAnswered) {
  Advance(absl::ZeroDuration());
  EXPECT_TRUE(Sent()->envelope().getBody().isRegister());
  Advance(absl::Milliseconds(100));
  EXPECT_TRUE(sent_.empty());
  for (int i = 0; i < 3; ++i) {
    now_ = link_.next_timer();
    Advance(absl::ZeroDuration());
    EXPECT_TRUE(Sent()->envelope().getBody().isRegister());
  }
}

TEST_F(ServerLinkTest, SendsHeartbeatsAsOftenAsTold) {
  Advance(absl::ZeroDuration());
  Answer(Sent(), Registered(7, 250000));
  EXPECT_TRUE(link_.registered());
  EXPECT_EQ(link_.last_heard(), now_);
  for (int i = 0; i < 5; ++i) {
    Advance(absl::Milliseconds(249));
    EXPECT_TRUE(sent_.empty());
    Advance(absl::Milliseconds(1));
    const OutgoingMessagePtr heartbeat = Sent();
    ASSERT_TRUE(heartbeat->envelope().getBody().isHeartbeat());
    Answer(heartbeat, [](wire::Envelope::Body::Builder body) { body.initHeartbeatReply().setView(3); });
    EXPECT_EQ(link_.last_heard(), now_);
  }
}

TEST_F(ServerLinkTest, GoesOnWithoutAnswers) {
  BeRegistered();
  const absl::Time heard = now_;
  for (int i = 0; i < 5; ++i) {
    Advance(absl::Seconds(1));
    EXPECT_TRUE(Sent()->envelope().getBody().isHeartbeat());
  }
  EXPECT_EQ(link_.last_heard(), heard);
  EXPECT_TRUE(link_.registered());
}

TEST_F(ServerLinkTest, RegistersAgainAtOnceWhenItIsNotKnown) {
  BeRegistered();
  Advance(absl::Seconds(1));
  Answer(Sent(), Error(wire::Error::Code::UNKNOWN_INCARNATION));
  EXPECT_FALSE(link_.registered());
  const OutgoingMessagePtr request = Sent();
  ASSERT_TRUE(request->envelope().getBody().isRegister());
  Answer(request, Registered(7));
  EXPECT_TRUE(link_.registered());
  EXPECT_FALSE(link_.cluster_changed());
  EXPECT_TRUE(link_.status().ok());
}

TEST_F(ServerLinkTest, SaysWhenTheClusterIsAnother) {
  BeRegistered();
  Advance(absl::Seconds(1));
  Answer(Sent(), Error(wire::Error::Code::UNKNOWN_INCARNATION));
  Answer(Sent(), Registered(8));
  EXPECT_TRUE(link_.cluster_changed());
  EXPECT_TRUE(link_.status().ok());
  Advance(absl::Minutes(5));
  EXPECT_TRUE(sent_.empty());
}

TEST_F(ServerLinkTest, EndsWithoutErrorWhenTheSweepIsOver) {
  BeRegistered();
  Advance(absl::Seconds(1));
  Answer(Sent(), Error(wire::Error::Code::CANCELLED));
  EXPECT_TRUE(link_.dismissed());
  EXPECT_TRUE(link_.status().ok());
  Advance(absl::Minutes(5));
  EXPECT_TRUE(sent_.empty());
}

TEST_F(ServerLinkTest, GivesUpWhenItIsRefused) {
  Advance(absl::ZeroDuration());
  Answer(Sent(), Error(wire::Error::Code::CONFLICT));
  EXPECT_THAT(std::string(link_.status().message()), testing::HasSubstr("conflict"));
  EXPECT_EQ(link_.next_timer(), absl::InfiniteFuture());
  Advance(absl::Minutes(5));
  EXPECT_TRUE(sent_.empty());
}

TEST_F(ServerLinkTest, WaitsWhenItIsToldTo) {
  Advance(absl::ZeroDuration());
  Answer(Sent(), Error(wire::Error::Code::NOT_YET));
  EXPECT_TRUE(link_.status().ok());
  EXPECT_TRUE(sent_.empty());
  now_ = link_.next_timer();
  Advance(absl::ZeroDuration());
  EXPECT_TRUE(Sent()->envelope().getBody().isRegister());
}

TEST_F(ServerLinkTest, IgnoresStrangersStaleAnswersAndWrongBodies) {
  Advance(absl::ZeroDuration());
  const OutgoingMessagePtr first = Sent();
  Answer(first, Registered(7), "tcp://stranger:1");
  EXPECT_FALSE(link_.registered());
  Answer(first, [](wire::Envelope::Body::Builder body) { body.setOk(); });
  Answer(first, Registered(0));
  EXPECT_FALSE(link_.registered());
  EXPECT_EQ(link_.last_heard(), absl::InfinitePast());
  now_ = link_.next_timer();
  Advance(absl::ZeroDuration());
  const OutgoingMessagePtr second = Sent();
  Answer(first, Registered(7));
  EXPECT_FALSE(link_.registered());
  Answer(second, Registered(7));
  EXPECT_TRUE(link_.registered());
  Answer(second, Error(wire::Error::Code::CONFLICT));  // the same request is not answered twice
  EXPECT_TRUE(link_.status().ok());
}

}  // namespace
}  // namespace marquee
