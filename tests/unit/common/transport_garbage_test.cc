// What comes to a port from those who do not speak the protocol: it must be refused, counted and, where possible, answered, and
// those who do speak it must not notice.

#include <arpa/inet.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cstring>
#include <optional>
#include <random>
#include <string>
#include <vector>
#include <zmq.hpp>
#include <zmq_addon.hpp>

#include "tests/unit/common/transport_testing.h"

namespace marquee {
namespace {

using ::testing::HasSubstr;

constexpr size_t kMaxMessageBytes = 100'000;

class GarbageTest : public ::testing::Test {
 protected:
  GarbageTest()
      : server_(NewTransport(context_, "server",
                             {.max_message_bytes = kMaxMessageBytes, .max_queued_bytes = 1U << 20U, .security = {}})),
        client_(NewTransport(context_, "client")),
        endpoint_(*server_->Listen("tcp://127.0.0.1:0")),
        dealer_(raw_context_, zmq::socket_type::dealer) {
    dealer_.set(zmq::sockopt::linger, 0);
    dealer_.connect(endpoint_);
  }

  // Sends frames as they are and returns the error that comes back.
  struct Answer {
    uint64_t request_id = 0;
    wire::Error::Code code = wire::Error::Code::INTERNAL;
    std::string message;
    uint16_t oldest = 0;  // versions that it is written for
    uint16_t newest = 0;
  };
  std::optional<Answer> Ask(const std::vector<std::string>& frames) {
    Say(frames);
    std::optional<Answer> answer;
    RunUntil([&] { return answer.has_value(); },
             [&] {
               server_->Receive(absl::Milliseconds(1), [](const Message&) { ADD_FAILURE() << "garbage reached the caller"; });
               answer = Hear();
             });
    return answer;
  }

  void Say(const std::vector<std::string>& frames) {
    for (size_t i = 0; i < frames.size(); ++i) {
      dealer_.send(zmq::buffer(frames[i]), i + 1 < frames.size() ? zmq::send_flags::sndmore : zmq::send_flags::none);
    }
  }

  std::optional<Answer> Hear() {
    std::vector<zmq::message_t> frames;
    if (!zmq::recv_multipart(dealer_, std::back_inserter(frames), zmq::recv_flags::dontwait).has_value()) return std::nullopt;
    std::vector<std::vector<uint64_t>> words;  // aligned, as frames need not be
    std::vector<kj::ArrayPtr<const capnp::word>> segments;
    for (const auto& frame : frames) {
      std::vector<uint64_t>& copy = words.emplace_back(frame.size() / sizeof(uint64_t));
      std::memcpy(copy.data(), frame.data(), copy.size() * sizeof(uint64_t));
      segments.emplace_back(reinterpret_cast<const capnp::word*>(copy.data()), copy.size());
    }
    // Not by Message::Parse: it refuses what is for a program of another version.
    capnp::SegmentArrayMessageReader reader(
        kj::ArrayPtr<const kj::ArrayPtr<const capnp::word>>(segments.data(), segments.size()));
    const auto envelope = reader.getRoot<wire::Envelope>();
    const auto error = envelope.getBody().getError();
    return Answer{envelope.getRequestId(), error.getCode(), error.getMessage().cStr(), envelope.getProtocolVersion(),
                  envelope.getNewestVersion()};
  }

  uint64_t Rejected(const std::string& reason) const {
    const auto& rejected = server_->counters().rejected;
    const auto found = rejected.find(reason);
    return found == rejected.end() ? 0 : found->second;
  }

  void ExpectStillServing() { EXPECT_TRUE(IsAnswered(*server_, *client_, endpoint_, next_request_++)); }

  TransportContext context_;
  std::unique_ptr<Transport> server_;
  std::unique_ptr<Transport> client_;
  std::string endpoint_;
  uint64_t next_request_ = 1000;
  zmq::context_t raw_context_;
  zmq::socket_t dealer_;
};

std::vector<std::string> FramesOf(OutgoingMessage& message) {
  std::vector<std::string> frames;
  for (const auto segment : message.segments()) {
    frames.emplace_back(reinterpret_cast<const char*>(segment.begin()), segment.size() * sizeof(capnp::word));
  }
  return frames;
}

TEST_F(GarbageTest, FramesThatAreNoWords) {
  const auto answer = Ask({"hello"});
  ASSERT_TRUE(answer.has_value());
  EXPECT_EQ(answer->code, wire::Error::Code::MALFORMED);
  EXPECT_THAT(answer->message, HasSubstr("5 bytes"));
  EXPECT_EQ(answer->request_id, 0U);
  EXPECT_EQ(Rejected("malformed"), 1U);
  ExpectStillServing();
}

TEST_F(GarbageTest, EmptyFrame) {
  const auto answer = Ask({""});
  ASSERT_TRUE(answer.has_value());
  EXPECT_EQ(answer->code, wire::Error::Code::MALFORMED);
  ExpectStillServing();
}

TEST_F(GarbageTest, TooManyFrames) {
  const auto answer = Ask(std::vector<std::string>(600, "12345678"));
  ASSERT_TRUE(answer.has_value());
  EXPECT_EQ(answer->code, wire::Error::Code::MALFORMED);
  EXPECT_THAT(answer->message, HasSubstr("600 frames"));
  ExpectStillServing();
}

TEST_F(GarbageTest, PointersThatLeadNowhere) {
  const auto answer = Ask({std::string("\xff\xff\xff\x7f\xff\xff\xff\xff", 8)});
  ASSERT_TRUE(answer.has_value());
  EXPECT_EQ(answer->code, wire::Error::Code::MALFORMED);
  ExpectStillServing();
}

// In words that it takes from us: it, too, refuses what has no version in common with it.
TEST_F(GarbageTest, WrongVersionIsToldWhichIsRight) {
  const OutgoingMessagePtr message = NewTestRequest(77);
  message->envelope().setProtocolVersion(wire::PROTOCOL_VERSION + 1);
  message->envelope().setNewestVersion(wire::PROTOCOL_VERSION + 2);
  const auto answer = Ask(FramesOf(*message));
  ASSERT_TRUE(answer.has_value());
  EXPECT_EQ(answer->code, wire::Error::Code::WRONG_VERSION);
  EXPECT_EQ(answer->request_id, 77U);
  EXPECT_EQ(answer->oldest, wire::PROTOCOL_VERSION + 1);
  EXPECT_EQ(answer->newest, wire::PROTOCOL_VERSION + 1);
  EXPECT_THAT(answer->message,
              HasSubstr(fmt::format("{} to {}: none in common", wire::OLDEST_PROTOCOL_VERSION, wire::PROTOCOL_VERSION)));
  EXPECT_EQ(Rejected("wrongVersion"), 1U);
  ExpectStillServing();
}

TEST_F(GarbageTest, TooLargeIsToldTheLimit) {
  const OutgoingMessagePtr message = NewTestRequest(78, kMaxMessageBytes);
  const auto answer = Ask(FramesOf(*message));
  ASSERT_TRUE(answer.has_value());
  EXPECT_EQ(answer->code, wire::Error::Code::TOO_LARGE);
  EXPECT_EQ(answer->request_id, 78U);
  EXPECT_THAT(answer->message, HasSubstr("at most 100000"));
  EXPECT_EQ(Rejected("tooLarge"), 1U);
  ExpectStillServing();
}

TEST_F(GarbageTest, ManyFramesThatAreTooLargeTogether) {
  const auto answer = Ask(std::vector<std::string>(10, std::string(kMaxMessageBytes, 'x')));
  ASSERT_TRUE(answer.has_value());
  EXPECT_EQ(answer->code, wire::Error::Code::TOO_LARGE);
  ExpectStillServing();
}

TEST_F(GarbageTest, FarTooLargeLosesItsConnection) {
  zmq::socket_t monitor(raw_context_, zmq::socket_type::pair);
  ASSERT_EQ(zmq_socket_monitor(dealer_.handle(), "inproc://monitor", ZMQ_EVENT_DISCONNECTED), 0);
  monitor.connect("inproc://monitor");
  monitor.set(zmq::sockopt::rcvtimeo, static_cast<int>(absl::ToInt64Milliseconds(kTestDeadline)));
  Say({std::string(10 * kMaxMessageBytes, 'x')});
  zmq::message_t event;
  EXPECT_TRUE(monitor.recv(event).has_value());
  ExpectStillServing();
  EXPECT_EQ(zmq_socket_monitor(dealer_.handle(), nullptr, 0), 0);
}

// Two who answered each other's errors would never stop.
TEST_F(GarbageTest, ErrorsAreNotAnswered) {
  const OutgoingMessagePtr error = NewError({.name = "test", .incarnation = 1}, 0, 5, wire::Error::Code::INTERNAL, "", "");
  error->envelope().setProtocolVersion(9);
  Say(FramesOf(*error));
  const auto answer = Ask({"hello"});  // comes after it on the same connection
  ASSERT_TRUE(answer.has_value());
  EXPECT_EQ(answer->code, wire::Error::Code::MALFORMED);
  EXPECT_EQ(Rejected("wrongVersion"), 1U);
  EXPECT_FALSE(Hear().has_value());
}

// A client that hears garbage from what it took for a server counts it and says nothing.
TEST_F(GarbageTest, GarbageFromAListenerIsCountedOnly) {
  zmq::socket_t router(raw_context_, zmq::socket_type::router);
  router.set(zmq::sockopt::linger, 0);
  router.bind("tcp://127.0.0.1:*");
  client_->Send(router.get(zmq::sockopt::last_endpoint), NewTestRequest(1));
  std::vector<zmq::message_t> request;
  ASSERT_TRUE(zmq::recv_multipart(router, std::back_inserter(request)).has_value());
  router.send(request[0], zmq::send_flags::sndmore);
  router.send(zmq::buffer("garbage", 7), zmq::send_flags::none);
  EXPECT_TRUE(RunUntil([&] { return !client_->counters().rejected.empty(); },
                       [&] { client_->Receive(absl::Milliseconds(1), [](const Message&) { ADD_FAILURE(); }); }));
  EXPECT_EQ(client_->counters().rejected.at("malformed"), 1U);
  EXPECT_EQ(client_->counters().messages_sent, 1U);
}

// A plain TCP connection to the server's port.
class TcpConnection {
 public:
  explicit TcpConnection(const std::string& endpoint) : fd_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(std::stoi(endpoint.substr(endpoint.rfind(':') + 1))));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    const timeval patience{.tv_sec = 10, .tv_usec = 0};
    setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
  }
  TcpConnection(const TcpConnection&) = delete;
  TcpConnection& operator=(const TcpConnection&) = delete;
  ~TcpConnection() { close(fd_); }

  void Say(const std::string& bytes) const { send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL); }
  void Hear(size_t bytes) const {
    std::string heard(bytes, '\0');
    EXPECT_EQ(recv(fd_, heard.data(), bytes, MSG_WAITALL), static_cast<ssize_t>(bytes));
  }

 private:
  int fd_;
};

std::string RandomBytes(size_t count, uint32_t seed) {
  std::mt19937 random(seed);
  std::string bytes(count, '\0');
  for (char& byte : bytes) byte = static_cast<char>(random());
  return bytes;
}

// The greeting of ZMTP 3.0 with the NULL mechanism: then the connection looks like one of ZeroMQ.
std::string ZmtpGreeting() {
  std::string greeting(64, '\0');
  greeting[0] = '\xff';
  greeting[9] = '\x7f';
  greeting[10] = 3;
  std::memcpy(&greeting[12], "NULL", 4);
  return greeting;
}

TEST_F(GarbageTest, PlainTcpBytes) {
  for (uint32_t seed = 1; seed <= 50; ++seed) TcpConnection(endpoint_).Say(RandomBytes(1U << (seed % 16), seed));
  TcpConnection(endpoint_).Say("GET / HTTP/1.1\r\nHost: marquee\r\n\r\n");
  TcpConnection(endpoint_).Say("");
  ExpectStillServing();
}

TEST_F(GarbageTest, RandomBytesAfterAGoodGreeting) {
  std::vector<std::unique_ptr<TcpConnection>> open;
  for (uint32_t seed = 1; seed <= 50; ++seed) {
    open.push_back(std::make_unique<TcpConnection>(endpoint_));
    open.back()->Say(ZmtpGreeting());
    open.back()->Hear(64);
    open.back()->Say(RandomBytes(1U << (seed % 16), seed));
  }
  ExpectStillServing();
}

TEST_F(GarbageTest, RandomFrames) {
  std::mt19937 random(1);
  for (uint32_t seed = 1; seed <= 200; ++seed) {
    std::vector<std::string> frames(1 + random() % 4);
    for (std::string& frame : frames) frame = RandomBytes(8 * (random() % 20), static_cast<uint32_t>(random()));
    Say(frames);
  }
  EXPECT_TRUE(RunUntil([&] { return server_->counters().messages_received == 200; },
                       [&] { server_->Receive(absl::Milliseconds(1), [](const Message&) {}); }));
  ExpectStillServing();
}

}  // namespace
}  // namespace marquee
