#include "common/transport.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "tests/unit/common/transport_testing.h"

namespace marquee {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

// The same over each kind of endpoint.
class EndpointTest : public ::testing::TestWithParam<std::string> {
 protected:
  std::string Endpoint() const {
    if (GetParam() == "tcp") return "tcp://127.0.0.1:0";
    if (GetParam() == "tcp6") return "tcp://[::1]:0";
    if (GetParam() == "tcp_name") return "tcp://localhost:*";
    if (GetParam() == "ipc") return "ipc://" + folder_.File("socket");
    return "inproc://*";
  }

  // A listening server, and the endpoint that its clients use.
  std::string Listen(Transport& server, const std::string& endpoint) const {
    const auto listening = server.Listen(endpoint);
    EXPECT_TRUE(listening.ok()) << listening.status();
    return listening.value_or("");
  }

  TestFolder folder_;
  TransportContext context_;
};

TEST_P(EndpointTest, RequestsAreAnsweredInOrder) {
  const auto server = NewTransport(context_, "server");
  const auto client = NewTransport(context_, "client");
  const std::string endpoint = Listen(*server, Endpoint());
  for (uint64_t i = 1; i <= 200; ++i) client->Send(endpoint, NewTestRequest(i, i * 100));
  std::vector<uint64_t> answered;
  const auto take = [&](const Message& reply) {
    EXPECT_EQ(reply.from(), endpoint);
    ASSERT_TRUE(reply.envelope().getBody().isPushed());
    answered.push_back(reply.envelope().getBody().getPushed().getSequence());
  };
  EXPECT_TRUE(RunUntil([&] { return answered.size() == 200; },
                       [&] {
                         ServeOnce(*server);
                         client->Receive(absl::Milliseconds(1), take);
                       }));
  for (uint64_t i = 0; i < answered.size(); ++i) EXPECT_EQ(answered[i], i + 1);
  EXPECT_EQ(client->counters().dropped, 0U);
  EXPECT_EQ(server->counters().messages_received, 200U);
  EXPECT_EQ(server->counters().messages_sent, 200U);
  EXPECT_EQ(server->counters().bytes_received, client->counters().bytes_sent);
  EXPECT_EQ(client->counters().bytes_received, server->counters().bytes_sent);
}

TEST_P(EndpointTest, BigMessagesArriveUnchanged) {
  const auto server = NewTransport(context_, "server");
  const auto client = NewTransport(context_, "client");
  const std::string endpoint = Listen(*server, Endpoint());
  constexpr size_t kFill = 20U << 20U;
  client->Send(endpoint, NewTestRequest(7, kFill));
  bool arrived = false;
  const auto check = [&](const Message& request) {
    const auto ids = request.envelope().getBody().getPush().getSections()[0].getIds();
    ASSERT_EQ(ids.size(), kFill);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(ids.begin()) % 8, 0U);
    size_t wrong = 0;
    for (size_t i = 0; i < kFill; ++i) wrong += ids[i] != static_cast<uint8_t>(7 + i);
    EXPECT_EQ(wrong, 0U);
    arrived = true;
  };
  EXPECT_TRUE(RunUntil([&] { return arrived; }, [&] { server->Receive(absl::Milliseconds(10), check); }));
  EXPECT_TRUE(RunUntil([&] { return client->queued_bytes() == 0; }, [&] { client->Receive(absl::Milliseconds(1), check); }));
}

// A message that grew beyond its first segment is several frames.
TEST_P(EndpointTest, SeveralSegmentsArriveAsOneMessage) {
  const auto server = NewTransport(context_, "server");
  const auto client = NewTransport(context_, "client");
  const std::string endpoint = Listen(*server, Endpoint());
  const OutgoingMessagePtr message = NewRequest(Identity{.name = "test", .incarnation = 1}, 0, 1, absl::ZeroDuration());
  auto shards = message->envelope().getBody().initView().initShards(500);
  for (uint32_t i = 0; i < shards.size(); ++i) shards.set(i, fmt::format("tcp://10.0.0.1:{}", i).c_str());
  ASSERT_GT(message->segments().size(), 1U);
  client->Send(endpoint, message);
  bool arrived = false;
  const auto check = [&](const Message& request) {
    const auto got = request.envelope().getBody().getView().getShards();
    ASSERT_EQ(got.size(), 500U);
    EXPECT_STREQ(got[499].cStr(), "tcp://10.0.0.1:499");
    arrived = true;
  };
  EXPECT_TRUE(RunUntil([&] { return arrived; }, [&] { server->Receive(absl::Milliseconds(10), check); }));
}

TEST_P(EndpointTest, ManyPeersGetTheirOwnReplies) {
  constexpr uint64_t kPeers = 60;
  const auto server = NewTransport(context_, "server");
  const std::string endpoint = Listen(*server, Endpoint());
  std::vector<std::unique_ptr<Transport>> clients;
  for (uint64_t i = 1; i <= kPeers; ++i) {
    clients.push_back(NewTransport(context_, fmt::format("client{}", i)));
    clients.back()->Send(endpoint, NewTestRequest(i));
  }
  std::set<uint64_t> answered;
  EXPECT_TRUE(RunUntil([&] { return answered.size() == kPeers; },
                       [&] {
                         ServeOnce(*server);
                         for (uint64_t i = 1; i <= kPeers; ++i) {
                           clients[i - 1]->Receive(absl::ZeroDuration(), [&](const Message& reply) {
                             EXPECT_EQ(reply.envelope().getRequestId(), i);
                             answered.insert(i);
                           });
                         }
                       }));
}

TEST_P(EndpointTest, FindsAListenerThatWasStartedAgain) {
  const auto client = NewTransport(context_, "client");
  auto server = NewTransport(context_, "server");
  const std::string endpoint = Listen(*server, Endpoint());
  ASSERT_TRUE(IsAnswered(*server, *client, endpoint, 1));
  server.reset();
  client->Send(endpoint, NewTestRequest(2));
  client->Receive(absl::Milliseconds(1), [](const Message&) {});
  server = NewTransport(context_, "server");
  // The address is free again a moment after the first server let go of it.
  ASSERT_TRUE(RunUntil([&] { return server->Listen(endpoint).ok(); }, [] { std::this_thread::yield(); }));
  EXPECT_TRUE(IsAnswered(*server, *client, endpoint, 3));
}

TEST_P(EndpointTest, OneTransportListensAndTalksToSeveral) {
  const auto middle = NewTransport(context_, "middle");
  const auto behind = NewTransport(context_, "behind");
  const auto client = NewTransport(context_, "client");
  const std::string middle_endpoint = Listen(*middle, Endpoint());
  const std::string behind_endpoint = Listen(*behind, "inproc://*");
  Peer asker;
  uint64_t answer = 0;
  client->Send(middle_endpoint, NewTestRequest(5));
  EXPECT_TRUE(RunUntil([&] { return answer != 0; },
                       [&] {
                         middle->Receive(absl::Milliseconds(1), [&](const Message& message) {
                           const uint64_t id = message.envelope().getRequestId();
                           if (message.from() == behind_endpoint) {
                             middle->Send(asker, NewTestRequest(id + 1));
                           } else {
                             asker = message.from();
                             middle->Send(behind_endpoint, NewTestRequest(id * 10));
                           }
                         });
                         ServeOnce(*behind);
                         client->Receive(absl::ZeroDuration(),
                                         [&](const Message& reply) { answer = reply.envelope().getRequestId(); });
                       }));
  EXPECT_EQ(answer, 51U);
}

INSTANTIATE_TEST_SUITE_P(All, EndpointTest, ::testing::Values("tcp", "tcp6", "tcp_name", "ipc", "inproc"),
                         [](const auto& parameter) { return parameter.param; });

class TransportTest : public ::testing::Test {
 protected:
  // An endpoint on which nobody listens any more: the end of a context waits until its sockets are closed.
  static std::string DeadEndpoint() {
    TransportContext context;
    const auto server = NewTransport(context, "server");
    return *server->Listen("tcp://127.0.0.1:0");
  }

  TransportContext context_;
};

TEST_F(TransportTest, NamesTheEndpointAsOthersWriteIt) {
  EXPECT_THAT(*NewTransport(context_, "a")->Listen("tcp://localhost:0"), StartsWith("tcp://localhost:"));
  EXPECT_THAT(*NewTransport(context_, "b")->Listen("tcp://localhost:0"), Not(HasSubstr(":0")));
  EXPECT_THAT(*NewTransport(context_, "c")->Listen("tcp://127.0.0.1:*"), StartsWith("tcp://127.0.0.1:"));
  EXPECT_THAT(*NewTransport(context_, "d")->Listen("tcp://*:0"), StartsWith("tcp://0.0.0.0:"));
}

TEST_F(TransportTest, ListensOnAllAddressesUnderAName) {
  TransportOptions options;
  options.all_interfaces = true;
  const auto server = *Transport::Create(context_, {.name = "e", .incarnation = 1}, options);
  const std::string endpoint = *server->Listen("tcp://no-such-host.invalid:0");
  EXPECT_THAT(endpoint, StartsWith("tcp://no-such-host.invalid:"));
  const std::string port = endpoint.substr(endpoint.rfind(':'));
  EXPECT_FALSE(NewTransport(context_, "f")->Listen("tcp://127.0.0.1" + port).ok());
}

TEST_F(TransportTest, SaysWhyItCannotListen) {
  const auto server = NewTransport(context_, "server");
  const std::string endpoint = *server->Listen("tcp://127.0.0.1:0");
  EXPECT_THAT(std::string(NewTransport(context_, "second")->Listen(endpoint).status().message()),
              testing::AllOf(HasSubstr(endpoint), HasSubstr("in use")));
  EXPECT_TRUE(absl::IsFailedPrecondition(server->Listen("tcp://127.0.0.1:0").status()));
  for (const char* wrong : {"", "tcp://", "tcp://127.0.0.1", "tcp://no-such-host.invalid:0", "udp://127.0.0.1:1", "nonsense",
                            "tcp://127.0.0.1:70000", "ipc:///no/such/folder/socket"}) {
    const auto listening = NewTransport(context_, "wrong")->Listen(wrong);
    ASSERT_FALSE(listening.ok()) << wrong;
    EXPECT_THAT(std::string(listening.status().message()), HasSubstr(wrong));
  }
}

TEST_F(TransportTest, CountsWhatHasNowhereToGo) {
  const auto transport = NewTransport(context_, "a");
  for (const char* nowhere : {"", "nonsense", "tcp://",
                              "\x01"
                              "abc"})
    transport->Send(nowhere, NewTestRequest(1));
  EXPECT_EQ(transport->counters().dropped, 4U);
  EXPECT_EQ(transport->counters().messages_sent, 0U);
}

TEST_F(TransportTest, QueueOfAPeerIsBoundedInBytes) {
  const std::string endpoint = DeadEndpoint();
  const auto client =
      NewTransport(context_, "client", {.max_message_bytes = 64U << 20U, .max_queued_bytes = 1U << 20U, .security = {}});
  const OutgoingMessagePtr message = NewTestRequest(1, 100'000);
  const uint64_t fit = (1U << 20U) / message->bytes();
  for (int i = 0; i < 20; ++i) client->Send(endpoint, message);
  EXPECT_EQ(client->counters().messages_sent, fit);
  EXPECT_EQ(client->counters().dropped, 20 - fit);
  EXPECT_EQ(client->queued_bytes(), fit * message->bytes());
  // Another peer has a queue of its own.
  const std::string other = DeadEndpoint();
  client->Send(other, message);
  EXPECT_EQ(client->queued_bytes(), (fit + 1) * message->bytes());
  client->Disconnect(endpoint);
  EXPECT_EQ(client->queued_bytes(), message->bytes());
  client->Disconnect("tcp://127.0.0.1:1");  // unknown
  // ZeroMQ lets go of a closed socket's messages on a thread of its own.
  EXPECT_TRUE(RunUntil([&] { return message.use_count() == 2; }, [] { std::this_thread::yield(); }));
}

TEST_F(TransportTest, MessagesQueuedForALateListenerArrive) {
  const std::string endpoint = DeadEndpoint();
  const auto client = NewTransport(context_, "client");
  client->Send(endpoint, NewTestRequest(1));
  const auto server = NewTransport(context_, "server");
  ASSERT_TRUE(RunUntil([&] { return server->Listen(endpoint).ok(); }, [] { std::this_thread::yield(); }));
  uint64_t got = 0;
  EXPECT_TRUE(RunUntil([&] { return got == 1; },
                       [&] {
                         server->Receive(absl::Milliseconds(1),
                                         [&](const Message& request) { got = request.envelope().getRequestId(); });
                       }));
}

TEST_F(TransportTest, RepliesToOneWhoDoesNotReadAreBounded) {
  constexpr size_t kBound = 4U << 20U;
  const auto server =
      NewTransport(context_, "server", {.max_message_bytes = 1U << 20U, .max_queued_bytes = kBound, .security = {}});
  const auto client = NewTransport(context_, "client");
  const std::string endpoint = *server->Listen("tcp://127.0.0.1:0");
  client->Send(endpoint, NewTestRequest(1));
  Peer route;
  ASSERT_TRUE(
      RunUntil([&] { return !route.empty(); },
               [&] { server->Receive(absl::Milliseconds(1), [&](const Message& request) { route = request.from(); }); }));
  const OutgoingMessagePtr reply = NewTestRequest(1, 500'000);
  ASSERT_TRUE(RunUntil([&] { return server->counters().dropped > 0; },
                       [&] {
                         server->Send(route, reply);
                         EXPECT_LE(server->queued_bytes(), kBound);
                       }));
  // What was taken arrives; then there is room again.
  const uint64_t taken = server->counters().messages_sent;
  uint64_t received = 0;
  const auto count = [&](const Message&) { ++received; };
  EXPECT_TRUE(RunUntil([&] { return received == taken; }, [&] { client->Receive(absl::Milliseconds(1), count); }));
  EXPECT_TRUE(RunUntil([&] { return server->queued_bytes() == 0; }, [] { std::this_thread::yield(); }));
  server->Send(route, reply);
  EXPECT_EQ(server->counters().messages_sent, taken + 1);
}

TEST_F(TransportTest, ReplyToOneWhoHasGoneIsDroppedAndCounted) {
  const auto server = NewTransport(context_, "server");
  auto client = NewTransport(context_, "client");
  const std::string endpoint = *server->Listen("tcp://127.0.0.1:0");
  client->Send(endpoint, NewTestRequest(1));
  Peer route;
  ASSERT_TRUE(
      RunUntil([&] { return !route.empty(); },
               [&] { server->Receive(absl::Milliseconds(1), [&](const Message& request) { route = request.from(); }); }));
  client.reset();
  EXPECT_TRUE(RunUntil([&] { return server->counters().dropped > 0; },
                       [&] {
                         server->Send(route, NewTestRequest(1));
                         server->Receive(absl::Milliseconds(1), [](const Message&) {});
                       }));
}

TEST_F(TransportTest, WakeEndsAWaitingReceive) {
  const auto transport = NewTransport(context_, "a");
  std::thread waker([&] { transport->Wake(); });
  EXPECT_EQ(transport->Receive(absl::InfiniteDuration(), [](const Message&) {}), 0);
  waker.join();
}

TEST_F(TransportTest, ReceiveReturnsAfterItsTimeout) {
  const auto transport = NewTransport(context_, "a");
  const absl::Time start = absl::Now();
  EXPECT_EQ(transport->Receive(absl::Milliseconds(20), [](const Message&) {}), 0);
  EXPECT_GE(absl::Now() - start, absl::Milliseconds(19));
  EXPECT_EQ(transport->Receive(-absl::Seconds(1), [](const Message&) {}), 0);
}

TEST_F(TransportTest, ReceiveHandsOverABoundedNumber) {
  const auto server = NewTransport(context_, "server");
  const auto client = NewTransport(context_, "client");
  const std::string endpoint = *server->Listen("inproc://*");
  for (uint64_t i = 1; i <= 100; ++i) client->Send(endpoint, NewTestRequest(i));
  EXPECT_EQ(server->Receive(absl::ZeroDuration(), [](const Message&) {}), 64);
  EXPECT_EQ(server->Receive(absl::ZeroDuration(), [](const Message&) {}), 36);
}

// A peer with much to say does not keep another one from being heard.
TEST_F(TransportTest, PeersTakeTurns) {
  const auto client = NewTransport(context_, "client");
  const auto busy = NewTransport(context_, "busy");
  const auto quiet = NewTransport(context_, "quiet");
  const std::string busy_endpoint = *busy->Listen("inproc://*");
  const std::string quiet_endpoint = *quiet->Listen("inproc://*");
  for (uint64_t i = 1; i <= 100; ++i) client->Send(busy_endpoint, NewTestRequest(i));
  client->Send(quiet_endpoint, NewTestRequest(1));
  while (busy->counters().messages_received < 100) ServeOnce(*busy);
  ServeOnce(*quiet);
  int before_quiet = 0;
  bool heard = false;
  client->Receive(absl::ZeroDuration(), [&](const Message& reply) {
    heard = heard || reply.from() == quiet_endpoint;
    if (!heard) ++before_quiet;
  });
  EXPECT_TRUE(heard);
  EXPECT_LE(before_quiet, 1);
}

TEST_F(TransportTest, HandlersMayOpenAndCloseConnections) {
  const auto server = NewTransport(context_, "server");
  const auto client = NewTransport(context_, "client");
  const std::string endpoint = *server->Listen("inproc://*");
  const std::string second = *NewTransport(context_, "other")->Listen("tcp://127.0.0.1:0");
  client->Send(endpoint, NewTestRequest(1));
  client->Send(endpoint, NewTestRequest(2));
  ServeOnce(*server);
  int replies = 0;
  client->Receive(absl::ZeroDuration(), [&](const Message& reply) {
    ++replies;
    client->Send(second, NewTestRequest(3));
    client->Disconnect(reply.from());
  });
  EXPECT_EQ(replies, 1);
}

TEST_F(TransportTest, MessagesOutliveTheirTransport) {
  const auto server = NewTransport(context_, "server");
  const std::string endpoint = *server->Listen("tcp://127.0.0.1:0");
  const OutgoingMessagePtr message = NewTestRequest(1, 1000);
  {
    const auto client = NewTransport(context_, "client");
    client->Send(endpoint, message);
  }
  EXPECT_TRUE(RunUntil([&] { return message.use_count() == 1; }, [] { std::this_thread::yield(); }));
}

}  // namespace
}  // namespace marquee
