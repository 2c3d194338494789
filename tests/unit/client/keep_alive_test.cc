#include "worker/client/keep_alive.h"

#include <gtest/gtest.h>

#include <memory>

#include "tests/unit/common/transport_testing.h"

namespace marquee {
namespace {

using Body = wire::Envelope::Body;

constexpr absl::Duration kHeartbeat = absl::Milliseconds(50);
constexpr absl::Duration kLongest = absl::Milliseconds(500);

// The test is the scheduler, and also the worker's thread, which computes while the scheduler speaks.
class KeepAliveTest : public testing::Test {
 protected:
  KeepAliveTest()
      : scheduler_(NewTransport(context_, "scheduler")),
        worker_(NewTransport(context_, "w0")),
        driver_(*worker_, Identity{.name = "w0", .incarnation = 3}, {}, {}, *scheduler_->Listen("inproc://*")) {}

  // Answers what is there.
  void Serve(absl::Duration timeout) {
    scheduler_->Receive(timeout, [&](const Message& request) {
      OutgoingMessagePtr reply = NewReply(Identity{.name = "scheduler", .incarnation = 1}, 0, request);
      Body::Builder body = reply->envelope().getBody();
      switch (request.envelope().getBody().which()) {
        case Body::REGISTER: {
          auto registered = body.initRegistered();
          registered.setClusterId(7);
          registered.setHeartbeatMicros(absl::ToInt64Microseconds(kHeartbeat));
          break;
        }
        case Body::HEARTBEAT:
          body.initHeartbeatReply();
          ++heartbeats_;
          break;
        default:
          return;
      }
      scheduler_->Send(request.from(), reply);
    });
  }
  void ServeFor(absl::Duration time) {
    for (const absl::Time end = Driver::now() + time; Driver::now() < end;) Serve(absl::Milliseconds(1));
  }
  void Register() {
    EXPECT_TRUE(RunUntil([&] { return driver_.link().registered(); },
                         [&] {
                           EXPECT_TRUE(driver_.Pump(absl::Milliseconds(1)).ok());
                           Serve(absl::Milliseconds(1));
                         }));
  }

  TransportContext context_;
  std::unique_ptr<Transport> scheduler_;
  std::unique_ptr<Transport> worker_;
  Driver driver_;
  int heartbeats_ = 0;
};

TEST_F(KeepAliveTest, HeartbeatsGoOutWhileAStepComputes) {
  Register();
  KeepAlive keep_alive(driver_, kTestDeadline);
  const bool alive = keep_alive.During([&] { return RunUntil([&] { return heartbeats_ >= 5; }, [&] { Serve(kHeartbeat); }); });
  EXPECT_TRUE(alive);
}

TEST_F(KeepAliveTest, NoneGoOutOnceAStepHangs) {
  Register();
  KeepAlive keep_alive(driver_, kLongest);
  keep_alive.During([&] {
    ServeFor(2 * kLongest);
    heartbeats_ = 0;
    ServeFor(10 * kHeartbeat);
    EXPECT_EQ(heartbeats_, 0);
  });
  // The next step is another one.
  EXPECT_TRUE(keep_alive.During([&] { return RunUntil([&] { return heartbeats_ > 0; }, [&] { Serve(kHeartbeat); }); }));
}

TEST_F(KeepAliveTest, TheDriverIsItsOwnersBetweenSteps) {
  Register();
  KeepAlive keep_alive(driver_, kTestDeadline);
  EXPECT_EQ(keep_alive.During([] { return 3; }), 3);
  ServeFor(10 * kHeartbeat);
  EXPECT_EQ(heartbeats_, 0);
  EXPECT_TRUE(driver_.Pump(absl::ZeroDuration()).ok());
  EXPECT_TRUE(RunUntil([&] { return heartbeats_ == 1; }, [&] { Serve(kHeartbeat); }));
}

}  // namespace
}  // namespace marquee
