#ifndef MARQUEE_TESTS_UNIT_COMMON_TRANSPORT_TESTING_H_
#define MARQUEE_TESTS_UNIT_COMMON_TRANSPORT_TESTING_H_

// What the transport's tests share.

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "common/transport.h"

namespace marquee {

inline constexpr absl::Duration kTestDeadline = absl::Seconds(30);

inline std::unique_ptr<Transport> NewTransport(TransportContext& context, const std::string& name,
                                               TransportOptions options = {}) {
  auto transport = Transport::Create(context, Identity{.name = name, .incarnation = 1}, std::move(options));
  EXPECT_TRUE(transport.ok()) << transport.status();
  return *std::move(transport);
}

// A request that carries `fill` bytes of ids.
inline OutgoingMessagePtr NewTestRequest(uint64_t request_id, size_t fill = 0) {
  OutgoingMessagePtr message = NewRequest(Identity{.name = "test", .incarnation = 1}, 0, request_id, absl::Seconds(1), fill);
  auto ids = message->envelope().getBody().initPush().initSections(1)[0].initIds(static_cast<capnp::uint>(fill));
  for (size_t i = 0; i < fill; ++i) ids[i] = static_cast<uint8_t>(request_id + i);
  return message;
}

inline void ReplyPushed(Transport& server, const Message& request) {
  OutgoingMessagePtr reply = NewReply(Identity{.name = "server", .incarnation = 1}, 0, request);
  reply->envelope().getBody().initPushed().setSequence(request.envelope().getRequestId());
  server.Send(request.from(), reply);
}

// Calls `step` until `done`; false if that takes too long.
inline bool RunUntil(const std::function<bool()>& done, const std::function<void()>& step) {
  const absl::Time end = absl::Now() + kTestDeadline;
  while (!done()) {
    if (absl::Now() > end) return false;
    step();
  }
  return true;
}

// Lets the server take and answer what is there.
inline void ServeOnce(Transport& server) {
  server.Receive(absl::Milliseconds(1), [&](const Message& request) { ReplyPushed(server, request); });
}

// Whether a request of the client is answered, sending it again now and then as clients do.
inline bool IsAnswered(Transport& server, Transport& client, const std::string& endpoint, uint64_t request_id) {
  bool answered = false;
  absl::Time resend_at = absl::InfinitePast();
  return RunUntil([&] { return answered; },
                  [&] {
                    if (absl::Now() >= resend_at) {
                      client.Send(endpoint, NewTestRequest(request_id));
                      resend_at = absl::Now() + absl::Milliseconds(100);
                    }
                    ServeOnce(server);
                    client.Receive(absl::Milliseconds(1), [&](const Message& reply) {
                      if (reply.envelope().getRequestId() == request_id) answered = reply.envelope().getBody().isPushed();
                    });
                  });
}

// A folder of its own for a test, removed with it.
class TestFolder {
 public:
  TestFolder() : path_((std::filesystem::temp_directory_path() / "marquee-test-XXXXXX").string()) {
    EXPECT_NE(mkdtemp(path_.data()), nullptr);
  }
  TestFolder(const TestFolder&) = delete;
  TestFolder& operator=(const TestFolder&) = delete;
  ~TestFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }

  const std::string& path() const { return path_; }
  std::string File(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

}  // namespace marquee

#endif  // MARQUEE_TESTS_UNIT_COMMON_TRANSPORT_TESTING_H_
