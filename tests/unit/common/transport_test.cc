#include "common/transport.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <functional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/time/clock.h"

namespace marquee {
namespace {

using ::testing::StartsWith;

constexpr absl::Duration kDeadline = absl::Seconds(20);

std::unique_ptr<Transport> NewTransport(TransportContext& context, const std::string& name, TransportOptions options = {}) {
  auto transport = Transport::Create(context, Identity{.name = name, .incarnation = 1}, std::move(options));
  EXPECT_TRUE(transport.ok()) << transport.status();
  return *std::move(transport);
}

// A push of which `fill` bytes are ids, so that messages of any size and content can be told apart.
OutgoingMessagePtr NewMessage(uint64_t request_id, size_t fill = 0) {
  OutgoingMessagePtr message = NewRequest(Identity{.name = "test", .incarnation = 1}, 0, request_id, absl::Seconds(1), fill);
  auto section = message->envelope().getBody().initPush().initSections(1)[0];
  auto ids = section.initIds(static_cast<capnp::uint>(fill));
  for (size_t i = 0; i < fill; i += 4096) ids[i] = static_cast<uint8_t>(request_id + i / 4096);
  return message;
}

// Answers every message with `pushed` that repeats its sequence; runs both ends in one thread until `done`.
class EndpointTest : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    if (GetParam() == "ipc") folder_ = std::filesystem::temp_directory_path() / ("marquee-" + std::to_string(getpid()));
    if (!folder_.empty()) std::filesystem::create_directories(folder_);
  }
  void TearDown() override {
    if (!folder_.empty()) std::filesystem::remove_all(folder_);
  }
  std::string Endpoint() const {
    if (GetParam() == "tcp") return "tcp://127.0.0.1:0";
    if (GetParam() == "tcp6") return "tcp://[::1]:0";
    if (GetParam() == "tcp_name") return "tcp://localhost:0";
    if (GetParam() == "ipc") return "ipc://" + (folder_ / "socket").string();
    return "inproc://*";
  }

  std::filesystem::path folder_;
  TransportContext context_;
};

void Reply(Transport& server, const Message& request) {
  OutgoingMessagePtr reply = NewReply(Identity{.name = "server", .incarnation = 1}, 0, request);
  reply->envelope().getBody().initPushed().setSequence(request.envelope().getRequestId());
  server.Send(request.from(), reply);
}

// Serves and receives in turn until the condition holds; false if it does not in time.
bool Serve(Transport& server, Transport& client, const std::function<void(const Message&)>& on_reply,
           const std::function<bool()>& done) {
  const absl::Time end = absl::Now() + kDeadline;
  while (!done()) {
    if (absl::Now() > end) return false;
    server.Receive(absl::Milliseconds(1), [&](const Message& request) { Reply(server, request); });
    client.Receive(absl::Milliseconds(1), on_reply);
  }
  return true;
}

TEST_P(EndpointTest, RequestsAreAnsweredInOrder) {
  const auto server = NewTransport(context_, "server");
  const auto client = NewTransport(context_, "client");
  const auto endpoint = server->Listen(Endpoint());
  ASSERT_TRUE(endpoint.ok()) << endpoint.status();
  for (uint64_t i = 1; i <= 200; ++i) client->Send(*endpoint, NewMessage(i, i * 100));
  std::vector<uint64_t> answered;
  EXPECT_TRUE(Serve(
      *server, *client,
      [&](const Message& reply) {
        EXPECT_EQ(reply.from(), *endpoint);
        ASSERT_TRUE(reply.envelope().getBody().isPushed());
        answered.push_back(reply.envelope().getBody().getPushed().getSequence());
      },
      [&] { return answered.size() == 200; }));
  for (uint64_t i = 0; i < answered.size(); ++i) EXPECT_EQ(answered[i], i + 1);
  EXPECT_EQ(client->counters().dropped, 0U);
  EXPECT_EQ(server->counters().messages_received, 200U);
  EXPECT_EQ(server->counters().bytes_received, client->counters().bytes_sent);
}

INSTANTIATE_TEST_SUITE_P(All, EndpointTest, ::testing::Values("tcp", "tcp6", "tcp_name", "ipc", "inproc"),
                         [](const auto& parameter) { return parameter.param; });

}  // namespace
}  // namespace marquee
