#include "common/security.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <array>
#include <fstream>
#include <string>
#include <zmq.hpp>

#include "tests/unit/common/transport_testing.h"

namespace marquee {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

mode_t ModeOf(const std::string& file) {
  struct stat info {};
  EXPECT_EQ(stat(file.c_str(), &info), 0) << file;
  return info.st_mode & 0777U;
}

class SecurityTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const absl::Status made = GenerateKeys(keys_);
    ASSERT_TRUE(made.ok()) << made;
  }

  TransportSecurity Load(SecurityRole role) const {
    const auto security = LoadSecurity(keys_, role);
    EXPECT_TRUE(security.ok()) << security.status();
    return security.value_or(TransportSecurity());
  }

  std::unique_ptr<Transport> NewSecure(const std::string& name, const TransportSecurity& security) {
    TransportOptions options;
    options.security = security;
    return NewTransport(context_, name, options);
  }

  TestFolder folder_;
  const std::string keys_ = folder_.File("keys");
  TransportContext context_;
};

TEST_F(SecurityTest, SecretsAreTheirOwnersAlone) {
  for (const char* name : {"cluster", "worker", "tool"}) {
    EXPECT_EQ(ModeOf(keys_ + "/" + name + ".secret"), 0600U);
    EXPECT_EQ(ModeOf(keys_ + "/" + name + ".public") & 0200U, 0200U);
  }
}

TEST_F(SecurityTest, NeverOverwritesAKey) {
  const absl::Status again = GenerateKeys(keys_);
  EXPECT_TRUE(absl::IsAlreadyExists(again)) << again;
  EXPECT_THAT(std::string(again.message()), HasSubstr(keys_));
}

TEST_F(SecurityTest, EveryRoleTrustsTheClusterKey) {
  const TransportSecurity scheduler = Load(SecurityRole::kScheduler);
  const TransportSecurity server = Load(SecurityRole::kServer);
  const TransportSecurity worker = Load(SecurityRole::kWorker);
  const TransportSecurity tool = Load(SecurityRole::kTool);
  EXPECT_EQ(scheduler.own_public_key, server.own_public_key);
  EXPECT_NE(worker.own_public_key, server.own_public_key);
  EXPECT_NE(worker.own_public_key, tool.own_public_key);
  for (const TransportSecurity& one : {scheduler, server, worker, tool}) {
    EXPECT_TRUE(one.curve);
    EXPECT_EQ(one.server_public_key, scheduler.own_public_key);
  }
  EXPECT_EQ(server.allowed_public_keys.size(), 3U);
  EXPECT_TRUE(worker.allowed_public_keys.empty());
}

TEST_F(SecurityTest, RefusesASecretThatOthersMayRead) {
  const std::string file = keys_ + "/worker.secret";
  for (const mode_t mode : {0640U, 0604U, 0660U}) {
    ASSERT_EQ(chmod(file.c_str(), mode), 0);
    const auto security = LoadSecurity(keys_, SecurityRole::kWorker);
    EXPECT_TRUE(absl::IsPermissionDenied(security.status())) << security.status();
    EXPECT_THAT(std::string(security.status().message()), AllOf(HasSubstr(file), HasSubstr("chmod 600")));
  }
}

TEST_F(SecurityTest, NamesTheFileThatIsMissingOrWrong) {
  EXPECT_THAT(std::string(LoadSecurity(folder_.File("none"), SecurityRole::kWorker).status().message()),
              AllOf(HasSubstr("none/cluster.public"), HasSubstr("marquee keygen")));
  std::ofstream(keys_ + "/worker.public") << "too-short\n";
  EXPECT_THAT(std::string(LoadSecurity(keys_, SecurityRole::kWorker).status().message()), HasSubstr("worker.public"));
  EXPECT_THAT(std::string(LoadSecurity(keys_, SecurityRole::kServer).status().message()), HasSubstr("worker.public"));
  EXPECT_TRUE(LoadSecurity(keys_, SecurityRole::kTool).ok());
  std::filesystem::remove(keys_ + "/tool.secret");
  EXPECT_THAT(std::string(LoadSecurity(keys_, SecurityRole::kTool).status().message()), HasSubstr("tool.secret"));
}

TEST_F(SecurityTest, TransportRefusesWhatIsNoKey) {
  TransportOptions options;
  options.security = Load(SecurityRole::kServer);
  options.security.own_secret_key = "secret";
  EXPECT_THAT(std::string(Transport::Create(context_, {.name = "a", .incarnation = 1}, options).status().message()),
              HasSubstr("own_secret_key"));
  options.security = Load(SecurityRole::kServer);
  options.security.allowed_public_keys.emplace_back("key");
  EXPECT_THAT(std::string(NewTransport(context_, "a", options)->Listen("tcp://127.0.0.1:0").status().message()),
              HasSubstr("allowed_public_keys"));
}

TEST_F(SecurityTest, KnownKeysAreLetIn) {
  const auto server = NewSecure("server", Load(SecurityRole::kServer));
  const auto worker = NewSecure("worker", Load(SecurityRole::kWorker));
  const auto scheduler = NewSecure("scheduler", Load(SecurityRole::kScheduler));
  const std::string endpoint = *server->Listen("tcp://127.0.0.1:0");
  EXPECT_TRUE(IsAnswered(*server, *worker, endpoint, 1));
  EXPECT_TRUE(IsAnswered(*server, *scheduler, endpoint, 2));
  EXPECT_TRUE(server->counters().rejected.empty());
}

TEST_F(SecurityTest, WorksOverIpcToo) {
  const auto server = NewSecure("server", Load(SecurityRole::kServer));
  const auto worker = NewSecure("worker", Load(SecurityRole::kWorker));
  EXPECT_TRUE(IsAnswered(*server, *worker, *server->Listen("ipc://" + folder_.File("socket")), 1));
}

// Two listeners of a process have their own lists of who may come in.
TEST_F(SecurityTest, EachListenerHasItsOwnList) {
  TransportSecurity closed = Load(SecurityRole::kServer);
  closed.allowed_public_keys.clear();
  const auto open_server = NewSecure("open", Load(SecurityRole::kServer));
  const auto closed_server = NewSecure("closed", closed);
  const auto worker = NewSecure("worker", Load(SecurityRole::kWorker));
  const std::string open_endpoint = *open_server->Listen("tcp://127.0.0.1:0");
  worker->Send(*closed_server->Listen("tcp://127.0.0.1:0"), NewTestRequest(1));
  EXPECT_TRUE(RunUntil([&] { return closed_server->counters().rejected.contains("unauthorized"); },
                       [&] { closed_server->Receive(absl::Milliseconds(1), [](const Message&) { ADD_FAILURE(); }); }));
  EXPECT_TRUE(IsAnswered(*open_server, *worker, open_endpoint, 2));
  EXPECT_FALSE(open_server->counters().rejected.contains("unauthorized"));
}

TEST_F(SecurityTest, UnknownKeysAreRefusedAndCounted) {
  const auto server = NewSecure("server", Load(SecurityRole::kServer));
  const std::string endpoint = *server->Listen("tcp://127.0.0.1:0");
  const std::string other_keys = folder_.File("other");
  ASSERT_TRUE(GenerateKeys(other_keys).ok());
  TransportSecurity stranger = *LoadSecurity(other_keys, SecurityRole::kWorker);
  stranger.server_public_key = Load(SecurityRole::kWorker).server_public_key;
  const auto client = NewSecure("stranger", stranger);
  client->Send(endpoint, NewTestRequest(1));
  EXPECT_TRUE(RunUntil([&] { return server->counters().rejected.contains("unauthorized"); },
                       [&] { server->Receive(absl::Milliseconds(1), [](const Message&) { ADD_FAILURE(); }); }));
  EXPECT_EQ(server->counters().messages_received, 0U);
  const auto worker = NewSecure("worker", Load(SecurityRole::kWorker));
  EXPECT_TRUE(IsAnswered(*server, *worker, endpoint, 2));
}

TEST_F(SecurityTest, ARemovedPublicFileKeepsItsOwnerOut) {
  const TransportSecurity tool = Load(SecurityRole::kTool);
  std::filesystem::remove(keys_ + "/tool.public");
  const auto server = NewSecure("server", Load(SecurityRole::kServer));
  const auto client = NewSecure("tool", tool);
  client->Send(*server->Listen("tcp://127.0.0.1:0"), NewTestRequest(1));
  EXPECT_TRUE(RunUntil([&] { return server->counters().rejected.contains("unauthorized"); },
                       [&] { server->Receive(absl::Milliseconds(1), [](const Message&) { ADD_FAILURE(); }); }));
}

// Waits until ZeroMQ says that a connection ended. True if it was ever good for messages.
bool HandshakeSucceeds(zmq::context_t& context, zmq::socket_t& socket, const std::string& endpoint) {
  const int events = ZMQ_EVENT_HANDSHAKE_SUCCEEDED | ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL |
                     ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL | ZMQ_EVENT_HANDSHAKE_FAILED_AUTH | ZMQ_EVENT_DISCONNECTED;
  EXPECT_EQ(zmq_socket_monitor(socket.handle(), "inproc://monitor", events), 0);
  zmq::socket_t monitor(context, zmq::socket_type::pair);
  monitor.set(zmq::sockopt::rcvtimeo, static_cast<int>(absl::ToInt64Milliseconds(kTestDeadline)));
  monitor.connect("inproc://monitor");
  socket.set(zmq::sockopt::linger, 0);
  socket.connect(endpoint);
  zmq::message_t event;
  EXPECT_TRUE(monitor.recv(event).has_value());
  uint16_t what = 0;
  std::memcpy(&what, event.data(), sizeof(what));
  zmq_socket_monitor(socket.handle(), nullptr, 0);
  return what == ZMQ_EVENT_HANDSHAKE_SUCCEEDED;
}

TEST_F(SecurityTest, PlainPeersAreRefused) {
  const auto server = NewSecure("server", Load(SecurityRole::kServer));
  const std::string endpoint = *server->Listen("tcp://127.0.0.1:0");
  zmq::context_t context;
  zmq::socket_t plain(context, zmq::socket_type::dealer);
  EXPECT_FALSE(HandshakeSucceeds(context, plain, endpoint));
  EXPECT_EQ(server->Receive(absl::ZeroDuration(), [](const Message&) {}), 0);
}

TEST_F(SecurityTest, AnImpostorOfTheClusterIsFoundOut) {
  const std::string other_keys = folder_.File("other");
  ASSERT_TRUE(GenerateKeys(other_keys).ok());
  TransportSecurity impostor = *LoadSecurity(other_keys, SecurityRole::kServer);
  const TransportSecurity worker = Load(SecurityRole::kWorker);
  impostor.allowed_public_keys.push_back(worker.own_public_key);
  const auto server = NewSecure("impostor", impostor);
  const std::string endpoint = *server->Listen("tcp://127.0.0.1:0");
  zmq::context_t context;
  zmq::socket_t client(context, zmq::socket_type::dealer);
  client.set(zmq::sockopt::curve_serverkey, worker.server_public_key);
  client.set(zmq::sockopt::curve_publickey, worker.own_public_key);
  client.set(zmq::sockopt::curve_secretkey, worker.own_secret_key);
  EXPECT_FALSE(HandshakeSucceeds(context, client, endpoint));
}

}  // namespace
}  // namespace marquee
