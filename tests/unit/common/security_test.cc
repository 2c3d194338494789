#include "common/security.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <array>
#include <fstream>
#include <functional>
#include <set>
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

  TransportSecurity Load(PeerRole role) const {
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
  for (const char* name : {"cluster", "scheduler", "server", "worker", "tool"}) {
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
  const TransportSecurity scheduler = Load(PeerRole::kScheduler);
  const TransportSecurity server = Load(PeerRole::kServer);
  const TransportSecurity worker = Load(PeerRole::kWorker);
  const TransportSecurity tool = Load(PeerRole::kTool);
  std::set<std::string> own;
  for (const TransportSecurity& one : {scheduler, server, worker, tool}) {
    EXPECT_TRUE(one.curve);
    EXPECT_EQ(one.server_public_key, scheduler.server_public_key);
    own.insert(one.own_public_key);
  }
  EXPECT_EQ(own.size(), 4U);
  EXPECT_FALSE(own.contains(scheduler.server_public_key));
  EXPECT_EQ(server.listener_secret_key, scheduler.listener_secret_key);
  EXPECT_EQ(server.allowed_keys.size(), 4U);
  EXPECT_TRUE(worker.allowed_keys.empty());
  EXPECT_TRUE(worker.listener_secret_key.empty());
}

TEST_F(SecurityTest, RefusesASecretThatOthersMayRead) {
  const std::string file = keys_ + "/worker.secret";
  for (const mode_t mode : {0640U, 0604U, 0660U}) {
    ASSERT_EQ(chmod(file.c_str(), mode), 0);
    const auto security = LoadSecurity(keys_, PeerRole::kWorker);
    EXPECT_TRUE(absl::IsPermissionDenied(security.status())) << security.status();
    EXPECT_THAT(std::string(security.status().message()), AllOf(HasSubstr(file), HasSubstr("chmod 600")));
  }
}

TEST_F(SecurityTest, NamesTheFileThatIsMissingOrWrong) {
  EXPECT_THAT(std::string(LoadSecurity(folder_.File("none"), PeerRole::kWorker).status().message()),
              AllOf(HasSubstr("none/cluster.public"), HasSubstr("marquee keygen")));
  std::ofstream(keys_ + "/worker.public") << "too-short\n";
  EXPECT_THAT(std::string(LoadSecurity(keys_, PeerRole::kWorker).status().message()), HasSubstr("worker.public"));
  EXPECT_THAT(std::string(LoadSecurity(keys_, PeerRole::kServer).status().message()), HasSubstr("worker.public"));
  EXPECT_TRUE(LoadSecurity(keys_, PeerRole::kTool).ok());
  std::filesystem::remove(keys_ + "/tool.secret");
  EXPECT_THAT(std::string(LoadSecurity(keys_, PeerRole::kTool).status().message()), HasSubstr("tool.secret"));
}

TEST_F(SecurityTest, TransportRefusesWhatIsNoKey) {
  TransportOptions options;
  options.security = Load(PeerRole::kServer);
  options.security.own_secret_key = "secret";
  EXPECT_THAT(std::string(Transport::Create(context_, {.name = "a", .incarnation = 1}, options).status().message()),
              HasSubstr("own_secret_key"));
  options.security = Load(PeerRole::kServer);
  options.security.allowed_keys.push_back({"key", PeerRole::kWorker});
  EXPECT_THAT(std::string(NewTransport(context_, "a", options)->Listen("tcp://127.0.0.1:0").status().message()),
              HasSubstr("allowed_keys"));
}

TEST_F(SecurityTest, KnownKeysAreLetIn) {
  const auto server = NewSecure("server", Load(PeerRole::kServer));
  const auto scheduler = NewSecure("scheduler", Load(PeerRole::kScheduler));
  const auto worker = NewSecure("worker", Load(PeerRole::kWorker));
  EXPECT_TRUE(IsAnswered(*server, *worker, *server->Listen("tcp://127.0.0.1:0"), 1));
  EXPECT_TRUE(IsAnswered(*scheduler, *worker, *scheduler->Listen("tcp://127.0.0.1:0"), 2));
  EXPECT_TRUE(server->counters().rejected.empty());
}

TEST_F(SecurityTest, WorksOverIpcToo) {
  const auto server = NewSecure("server", Load(PeerRole::kServer));
  const auto worker = NewSecure("worker", Load(PeerRole::kWorker));
  EXPECT_TRUE(IsAnswered(*server, *worker, *server->Listen("ipc://" + folder_.File("socket")), 1));
}

// Two listeners of a process have their own lists of who may come in.
TEST_F(SecurityTest, EachListenerHasItsOwnList) {
  TransportSecurity closed = Load(PeerRole::kServer);
  closed.allowed_keys.clear();
  const auto open_server = NewSecure("open", Load(PeerRole::kServer));
  const auto closed_server = NewSecure("closed", closed);
  const auto worker = NewSecure("worker", Load(PeerRole::kWorker));
  const std::string open_endpoint = *open_server->Listen("tcp://127.0.0.1:0");
  worker->Send(*closed_server->Listen("tcp://127.0.0.1:0"), NewTestRequest(1));
  EXPECT_TRUE(RunUntil([&] { return closed_server->counters().rejected.contains("unauthorized"); },
                       [&] { closed_server->Receive(absl::Milliseconds(1), [](const Message&) { ADD_FAILURE(); }); }));
  EXPECT_TRUE(IsAnswered(*open_server, *worker, open_endpoint, 2));
  EXPECT_FALSE(open_server->counters().rejected.contains("unauthorized"));
}

TEST_F(SecurityTest, UnknownKeysAreRefusedAndCounted) {
  const auto server = NewSecure("server", Load(PeerRole::kServer));
  const std::string endpoint = *server->Listen("tcp://127.0.0.1:0");
  const std::string other_keys = folder_.File("other");
  ASSERT_TRUE(GenerateKeys(other_keys).ok());
  TransportSecurity stranger = *LoadSecurity(other_keys, PeerRole::kWorker);
  stranger.server_public_key = Load(PeerRole::kWorker).server_public_key;
  const auto client = NewSecure("stranger", stranger);
  client->Send(endpoint, NewTestRequest(1));
  EXPECT_TRUE(RunUntil([&] { return server->counters().rejected.contains("unauthorized"); },
                       [&] { server->Receive(absl::Milliseconds(1), [](const Message&) { ADD_FAILURE(); }); }));
  EXPECT_EQ(server->counters().messages_received, 0U);
  const auto worker = NewSecure("worker", Load(PeerRole::kWorker));
  EXPECT_TRUE(IsAnswered(*server, *worker, endpoint, 2));
}

TEST_F(SecurityTest, ARemovedPublicFileKeepsItsOwnerOut) {
  const TransportSecurity tool = Load(PeerRole::kTool);
  std::filesystem::remove(keys_ + "/tool.public");
  const auto server = NewSecure("server", Load(PeerRole::kServer));
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
  const auto server = NewSecure("server", Load(PeerRole::kServer));
  const std::string endpoint = *server->Listen("tcp://127.0.0.1:0");
  zmq::context_t context;
  zmq::socket_t plain(context, zmq::socket_type::dealer);
  EXPECT_FALSE(HandshakeSucceeds(context, plain, endpoint));
  // Which of the two hangs up first is chance: what it spoke is only known if it is this side.
  const auto counted = [&] {
    const auto& rejected = server->counters().rejected;
    return rejected.contains("plaintext") || rejected.contains("handshake");
  };
  EXPECT_TRUE(RunUntil(counted, [&] { server->Receive(absl::Milliseconds(1), [](const Message&) { ADD_FAILURE(); }); }));
  EXPECT_EQ(server->counters().messages_received, 0U);
}

// What each role asks, the others may not, and are told so.
TEST_F(SecurityTest, RolesAreKeptApart) {
  const auto server = NewSecure("server", Load(PeerRole::kServer));
  const std::string endpoint = *server->Listen("tcp://127.0.0.1:0");
  const auto ask = [&](PeerRole role, const std::function<void(wire::Envelope::Body::Builder)>& fill) {
    const auto client = NewSecure(std::string(PeerRoleName(role)), Load(role));
    OutgoingMessagePtr request = NewRequest({.name = "client", .incarnation = 1}, 0, 7, absl::ZeroDuration());
    fill(request->envelope().getBody());
    client->Send(endpoint, request);
    bool arrived = false;
    bool refused = false;
    EXPECT_TRUE(RunUntil([&] { return arrived || refused; },
                         [&] {
                           server->Receive(absl::Milliseconds(1), [&](const Message&) { arrived = true; });
                           client->Receive(absl::Milliseconds(1), [&](const Message& reply) {
                             refused = reply.envelope().getBody().getError().getCode() == wire::Error::Code::FORBIDDEN;
                           });
                         }));
    return arrived;
  };
  using Body = wire::Envelope::Body::Builder;
  const auto close = [](Body body) { body.initCloseSession().setSession(1); };
  const auto push = [](Body body) { body.initPush().setSession(1); };
  const auto statistics = [](Body body) { body.setGetStatistics(); };
  const auto join_as_server = [](Body body) { body.initRegister().setRole(wire::Register::Role::SERVER); };
  EXPECT_TRUE(ask(PeerRole::kScheduler, close));
  EXPECT_FALSE(ask(PeerRole::kWorker, close));
  EXPECT_FALSE(ask(PeerRole::kServer, close));
  EXPECT_TRUE(ask(PeerRole::kWorker, push));
  EXPECT_FALSE(ask(PeerRole::kTool, push));
  EXPECT_TRUE(ask(PeerRole::kTool, statistics));
  EXPECT_FALSE(ask(PeerRole::kWorker, join_as_server));
  EXPECT_TRUE(ask(PeerRole::kServer, join_as_server));
  EXPECT_EQ(server->counters().rejected.at("forbidden"), 4U);
}

TEST_F(SecurityTest, APublicFileOfNoRoleIsRefused) {
  std::filesystem::copy_file(keys_ + "/worker.public", keys_ + "/worker-7.public");
  EXPECT_EQ(Load(PeerRole::kServer).allowed_keys.size(), 5U);
  std::filesystem::copy_file(keys_ + "/worker.public", keys_ + "/alice.public");
  EXPECT_THAT(std::string(LoadSecurity(keys_, PeerRole::kServer).status().message()),
              AllOf(HasSubstr("alice.public"), HasSubstr("scheduler, server, worker or tool")));
}

TEST_F(SecurityTest, AnImpostorOfTheClusterIsFoundOut) {
  const std::string other_keys = folder_.File("other");
  ASSERT_TRUE(GenerateKeys(other_keys).ok());
  TransportSecurity impostor = *LoadSecurity(other_keys, PeerRole::kServer);
  const TransportSecurity worker = Load(PeerRole::kWorker);
  impostor.allowed_keys.push_back({worker.own_public_key, PeerRole::kWorker});
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
