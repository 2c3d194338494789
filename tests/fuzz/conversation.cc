#include "tests/fuzz/conversation.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <deque>
#include <utility>
#include <vector>

#include "ps/server_link.h"
#include "ps/shard.h"
#include "scheduler/coordinator.h"
#include "tests/fuzz/worker.h"
#include "tests/simulation/sim_scheduler.h"

namespace marquee::fuzz {
namespace {

// Endpoints, and the routes on which those who listen know who asks.
constexpr char kSchedulerEndpoint[] = "tcp://scheduler:1";
constexpr const char* kShardEndpoints[] = {"tcp://shard:1", "tcp://shard:2"};
constexpr const char* kShardRoutes[] = {"shard1", "shard2"};  // of what one shard asks the other
constexpr char kWorkerRoute[] = "worker";
constexpr const char* kServerRoutes[] = {"server1", "server2"};
constexpr char kSchedulerRoute[] = "scheduler";

constexpr int kMostWaits = 50;  // with nothing said in between: then the conversation is over
constexpr absl::Duration kLongestWait = absl::Hours(1);
constexpr uint64_t kReplaceEvery = 300;  // messages

using Code = wire::Error::Code;
using Body = wire::Envelope::Body;

CoordinatorOptions OptionsOf(int servers) {
  CoordinatorOptions options = {.servers = {"s0"},
                                .partitions = 4,
                                .replication = servers,
                                .train_examples = 60,
                                .validation_examples = 10,
                                .test_examples = 10,
                                .chunk_batches = 2,
                                .evaluation_chunk = 6,
                                .max_attempts = 100,
                                .metric = {},
                                .asha = {}};
  if (servers == 2) options.servers.push_back("s1");
  return options;
}
constexpr ShardOptions kShardOptions = {.max_rows_per_request = 1U << 12U, .max_reply_bytes = 1U << 20U};
constexpr int kTrials = 20;

std::vector<TrialConfig> Trials() {
  std::vector<TrialConfig> trials(kTrials);
  for (int i = 0; i < kTrials; ++i) {
    trials[i].name = fmt::format("trial{}", i);
    trials[i].model.batch_size = 8;
    trials[i].model.epochs = 1;
  }
  return trials;
}

Frame FrameOf(const std::string& bytes, bool misalign) {
  auto copy = std::shared_ptr<uint64_t[]>(new uint64_t[bytes.size() / sizeof(uint64_t) + 2]);
  auto* data = reinterpret_cast<std::byte*>(copy.get()) + (misalign ? 3 : 0);
  if (!bytes.empty()) std::memcpy(data, bytes.data(), bytes.size());
  return Frame{.owner = std::move(copy), .data = data, .size = bytes.size()};
}

bool IsForCoordinator(Body::Which which) {
  return which == Body::REGISTER || which == Body::HEARTBEAT || which == Body::GET_VIEW || which == Body::GET_ASSIGNMENT ||
         which == Body::DEFINE_TABLES || which == Body::GET_WORK || which == Body::TICK || which == Body::EVALUATED ||
         which == Body::TRIAL_FAILED;
}

// `notYet` may be the first answer to what was begun, and workers of one trial that want different tables end it.
bool MustChangeNothing(const Message& request, Code refused_as) {
  return refused_as != Code::NOT_YET && !(refused_as == Code::CONFLICT && request.envelope().getBody().isDefineTables());
}

struct Sent {
  Peer to;
  OutgoingMessagePtr message;
};

class Outgoing : public Outbox {
 public:
  void Send(const Peer& to, OutgoingMessagePtr message) override { sent.push_back({to, std::move(message)}); }
  std::vector<Sent> sent;
};

}  // namespace

Packet PacketTo(Receiver to, Frames frames) {
  switch (to) {
    case Receiver::kShard:
    case Receiver::kSecondShard:
    case Receiver::kCoordinator:
      return {to, kWorkerRoute, std::move(frames)};
    case Receiver::kClient:
      return {to, kShardEndpoints[0], std::move(frames)};
    case Receiver::kLink:
    case Receiver::kServerLink:
    case Receiver::kSecondServerLink:
      return {to, kSchedulerEndpoint, std::move(frames)};
  }
  return {};
}

class Conversation::Impl {
 public:
  explicit Impl(int servers);

  std::optional<Packet> Next();
  void Deliver(const Packet& packet, bool misalign);
  const std::string& violation() const { return worker_.violation().empty() ? violation_ : worker_.violation(); }
  const std::map<std::string, uint64_t>& outcomes() const { return outcomes_; }
  uint64_t steps() const { return worker_.steps(); }
  uint64_t filled() const { return filled_; }

 private:
  struct Server {
    Server(size_t place, uint64_t incarnation)
        : index(place),
          shard({.name = NameOf(place), .incarnation = incarnation}, kShardOptions),
          state(shard.DumpState()),
          link({.name = NameOf(place), .incarnation = incarnation},
               {.host = "localhost", .process_id = 1, .endpoints = {kShardEndpoints[place]}, .metrics_endpoint = ""},
               kSchedulerEndpoint) {}
    static std::string NameOf(size_t index) { return fmt::format("s{}", index); }
    Receiver shard_receiver() const { return index == 0 ? Receiver::kShard : Receiver::kSecondShard; }
    Receiver link_receiver() const { return index == 0 ? Receiver::kServerLink : Receiver::kSecondServerLink; }

    size_t index;
    Shard shard;
    std::string state;  // of the shard, before the next message
    ServerLink link;
  };

  void RunTimers();
  void ReplaceSecondServer();
  void DeliverToShard(Server& server, const Message& message);
  void DeliverToCoordinator(const Message& message);
  void Carry(Receiver sender, const std::vector<Sent>& sent);
  std::optional<Packet> Route(Receiver sender, const Peer& to) const;
  const OutgoingMessagePtr* AnswerTo(const Message& message, const std::vector<Sent>& sent);
  std::string CoordinatorState() const;
  void CountOutcome(std::string_view receiver, OutgoingMessage* answer);
  void Violate(std::string what) {
    if (violation_.empty()) violation_ = std::move(what);
  }

  absl::Time now_ = absl::FromUnixSeconds(1'000'000);
  uint64_t last_incarnation_ = 10;
  simulation::SimDisk disk_;
  Coordinator coordinator_;
  std::vector<std::unique_ptr<Server>> servers_;
  Worker worker_{{.name = "w0", .incarnation = 3}, kSchedulerEndpoint};
  std::deque<Packet> under_way_;
  uint64_t delivered_ = 0;
  bool filling_ = false;  // a server was replaced, and has not all copies yet
  uint64_t filled_ = 0;
  std::string violation_;
  std::map<std::string, uint64_t> outcomes_;
};

Conversation::Impl::Impl(int servers) : coordinator_({.name = "scheduler", .incarnation = 1}, OptionsOf(servers), disk_) {
  for (int i = 0; i < servers; ++i) servers_.push_back(std::make_unique<Server>(i, ++last_incarnation_));
  const absl::Status started = coordinator_.Start(Trials());
  if (!started.ok()) Violate(fmt::format("the coordinator does not start: {}", started.ToString()));
}

std::optional<Packet> Conversation::Impl::Next() {
  for (int waits = 0; under_way_.empty() && waits < kMostWaits; ++waits) RunTimers();
  if (under_way_.empty()) return std::nullopt;
  Packet packet = std::move(under_way_.front());
  under_way_.pop_front();
  return packet;
}

void Conversation::Impl::RunTimers() {
  absl::Time due = std::min(coordinator_.next_timer(), worker_.next_timer());
  for (const auto& server : servers_) due = std::min({due, server->link.next_timer(), server->shard.next_timer()});
  now_ = std::clamp(due, now_, now_ + kLongestWait);
  const auto run = [&](Receiver sender, auto& machine) {
    Outgoing outgoing;
    machine.OnTimer(now_, outgoing);
    Carry(sender, outgoing.sent);
  };
  run(Receiver::kCoordinator, coordinator_);
  for (const auto& server : servers_) {
    run(server->link_receiver(), server->link);
    run(server->shard_receiver(), server->shard);
    server->state = server->shard.DumpState();
  }
  run(Receiver::kClient, worker_);
}

// It dies, and another process begins under its name: what was under way to it is lost.
void Conversation::Impl::ReplaceSecondServer() {
  if (servers_.size() < 2) return;
  std::erase_if(under_way_, [](const Packet& packet) {
    return packet.to == Receiver::kSecondShard || packet.to == Receiver::kSecondServerLink;
  });
  servers_[1] = std::make_unique<Server>(1, ++last_incarnation_);
  filling_ = true;
  Outgoing outgoing;
  coordinator_.OnProcessExit(Server::NameOf(1), now_, outgoing);
  Carry(Receiver::kCoordinator, outgoing.sent);
}

void Conversation::Impl::Deliver(const Packet& packet, bool misalign) {
  std::vector<Frame> frames;
  for (const std::string& frame : packet.frames) frames.push_back(FrameOf(frame, misalign));
  if (++delivered_ % kReplaceEvery == 0) ReplaceSecondServer();
  if (filling_ && coordinator_.under_replicated_partitions() == 0 && coordinator_.view().number > 1) {
    filling_ = false;
    ++filled_;
  }
  const absl::StatusOr<Message> message = Message::Parse(packet.from, std::move(frames));
  if (!message.ok()) {
    ++outcomes_["not a message"];
    return;
  }
  Outgoing outgoing;
  switch (packet.to) {
    case Receiver::kShard:
    case Receiver::kSecondShard: {
      const size_t index = packet.to == Receiver::kShard ? 0 : 1;
      if (index < servers_.size()) DeliverToShard(*servers_[index], *message);
      return;
    }
    case Receiver::kCoordinator:
      return DeliverToCoordinator(*message);
    case Receiver::kClient:
      worker_.client().OnMessage(*message, now_, outgoing);
      break;
    case Receiver::kLink:
      worker_.link().OnMessage(*message, now_, outgoing);
      break;
    case Receiver::kServerLink:
    case Receiver::kSecondServerLink: {
      const size_t index = packet.to == Receiver::kServerLink ? 0 : 1;
      if (index >= servers_.size()) return;
      servers_[index]->link.OnMessage(*message, now_, outgoing);
      return Carry(packet.to, outgoing.sent);
    }
  }
  worker_.Act(now_, outgoing);
  Carry(Receiver::kClient, outgoing.sent);
}

void Conversation::Impl::DeliverToShard(Server& server, const Message& message) {
  Shard& shard = server.shard;
  const Shard::Counters before = shard.counters();
  const uint64_t waiting_before = shard.replication().waiting_replies;
  Outgoing outgoing;
  shard.OnMessage(message, now_, outgoing);
  std::string state = shard.DumpState();
  const OutgoingMessagePtr* const answer = AnswerTo(message, outgoing.sent);
  if (answer == nullptr) {
    const Body::Reader body = message.envelope().getBody();
    const bool waits = shard.replication().waiting_replies > waiting_before;  // until copies have done it, too
    if (!waits && !body.isForwarded() && !body.isError()) Violate("the shard did not answer");
    server.state = std::move(state);
    return Carry(server.shard_receiver(), outgoing.sent);
  }
  if ((*answer)->envelope().getBody().isError()) {
    if (state != server.state) {
      auto error = (*answer)->envelope().getBody().getError();
      Violate(fmt::format("a {} that the shard refused as {} ({}: {}) changed its state from\n{}to\n{}",
                          BodyName(message.envelope().getBody().which()), ErrorCodeName(error.getCode()),
                          error.getField().cStr(), error.getMessage().cStr(), server.state, state));
    }
    Shard::Counters after = shard.counters();
    after.rejected = before.rejected;
    if (std::tie(after.pulls, after.pushes, after.rows_pulled, after.rows_pushed, after.rows_created, after.duplicates) !=
        std::tie(before.pulls, before.pushes, before.rows_pulled, before.rows_pushed, before.rows_created, before.duplicates)) {
      Violate("a request that the shard refused was counted as served");
    }
  }
  server.state = std::move(state);
  CountOutcome("shard", answer->get());
  Carry(server.shard_receiver(), outgoing.sent);
}

void Conversation::Impl::DeliverToCoordinator(const Message& message) {
  const std::string before = CoordinatorState();
  Outgoing outgoing;
  coordinator_.OnMessage(message, now_, outgoing);
  const OutgoingMessagePtr* const answer = AnswerTo(message, outgoing.sent);
  const bool expected = IsForCoordinator(message.envelope().getBody().which()) && coordinator_.status().ok();
  if (expected && answer == nullptr) Violate("the coordinator did not answer");
  if (answer != nullptr) {
    const auto body = (*answer)->envelope().asReader().getBody();
    if (body.isError() && MustChangeNothing(message, body.getError().getCode()) && CoordinatorState() != before) {
      Violate(fmt::format("a request that the coordinator refused as {} changed its state from\n{}to\n{}",
                          ErrorCodeName(body.getError().getCode()), before, CoordinatorState()));
    }
    CountOutcome("coordinator", answer->get());
  }
  Carry(Receiver::kCoordinator, outgoing.sent);
}

// The answer to a message among what was sent; nullptr if there is none, or more than one.
const OutgoingMessagePtr* Conversation::Impl::AnswerTo(const Message& message, const std::vector<Sent>& sent) {
  const OutgoingMessagePtr* answer = nullptr;
  const uint64_t request_id = message.envelope().getRequestId();
  for (const Sent& one : sent) {
    const bool unsolicited = request_id == 0 && one.message->envelope().getBody().isClocks();
    if (one.to != message.from() || one.message->envelope().getRequestId() != request_id || unsolicited) continue;
    if (answer != nullptr) Violate(fmt::format("request {} was answered twice", request_id));
    answer = &one.message;
  }
  if (request_id == 0 && message.envelope().getBody().isTick() && answer == nullptr && !sent.empty())
    return &sent.front().message;
  return answer;
}

// What a request can change and this program can see.
std::string Conversation::Impl::CoordinatorState() const {
  std::string state = fmt::format("view {}\n", coordinator_.view().number);
  for (const Coordinator::Member& member : coordinator_.members()) {
    state += fmt::format("{} {} {} {} {} {} {}\n", member.name, member.server, member.alive, member.incarnation, member.host,
                         member.metrics_endpoint, fmt::join(member.endpoints, " "));
  }
  for (const Coordinator::TrialView& trial : coordinator_.trials(now_)) {
    state += fmt::format("{} {} {} {} {}\n", trial.trial.name, trial.phase, trial.epoch, trial.slowest_clock, trial.loss);
  }
  const Coordinator::Counters& counters = coordinator_.counters();
  return state + fmt::format("{} {} {} {} {} {} {} {} {}\n", counters.chunks_leased, counters.chunks_released, counters.ticks,
                             counters.workers_lost, counters.servers_lost, counters.sessions_opened, counters.sessions_closed,
                             counters.examples, counters.repeated_examples);
}

void Conversation::Impl::CountOutcome(std::string_view receiver, OutgoingMessage* answer) {
  const auto body = answer->envelope().asReader().getBody();
  const std::string_view what = body.isError() ? ErrorCodeName(body.getError().getCode()) : "accepted";
  ++outcomes_[fmt::format("{}: {}", receiver, what)];
}

// Puts what was sent on its way; what goes to nobody here is lost.
void Conversation::Impl::Carry(Receiver sender, const std::vector<Sent>& sent) {
  for (const Sent& one : sent) {
    const absl::StatusOr<Message> readable = marquee::Deliver("", *one.message);
    if (!readable.ok()) return Violate(fmt::format("a message that cannot be read was sent: {}", readable.status().ToString()));
    std::optional<Packet> packet = Route(sender, one.to);
    if (!packet.has_value()) continue;
    packet->frames = FramesOf(*one.message);
    under_way_.push_back(*std::move(packet));
  }
}

std::optional<Packet> Conversation::Impl::Route(Receiver sender, const Peer& to) const {
  const bool from_worker = sender == Receiver::kClient || sender == Receiver::kLink;
  const bool from_coordinator = sender == Receiver::kCoordinator;
  const bool from_shard = sender == Receiver::kShard || sender == Receiver::kSecondShard;
  const size_t server = sender == Receiver::kSecondShard || sender == Receiver::kSecondServerLink ? 1 : 0;
  const Peer route = from_worker        ? kWorkerRoute
                     : from_coordinator ? kSchedulerRoute
                     : from_shard       ? kShardRoutes[server]
                                        : kServerRoutes[server];
  if (to == kSchedulerEndpoint) return Packet{Receiver::kCoordinator, route, {}};
  if (to == kSchedulerRoute && from_shard) return Packet{Receiver::kCoordinator, kShardEndpoints[server], {}};
  if (to == kWorkerRoute && from_shard) return Packet{Receiver::kClient, kShardEndpoints[server], {}};
  if (to == kWorkerRoute && from_coordinator) return PacketTo(Receiver::kLink, {});
  for (const auto& receiver : servers_) {
    if (to == kShardEndpoints[receiver->index]) return Packet{receiver->shard_receiver(), route, {}};
    if (to == kShardRoutes[receiver->index] && from_shard) {
      return Packet{receiver->shard_receiver(), kShardEndpoints[server], {}};
    }
    if (to == kServerRoutes[receiver->index] && from_coordinator) return PacketTo(receiver->link_receiver(), {});
  }
  return std::nullopt;
}

Conversation::Conversation(int servers) : impl_(std::make_unique<Impl>(servers)) {}
Conversation::~Conversation() = default;
std::optional<Packet> Conversation::Next() { return impl_->Next(); }
void Conversation::Deliver(const Packet& packet, bool misalign) { impl_->Deliver(packet, misalign); }
const std::string& Conversation::violation() const { return impl_->violation(); }
const std::map<std::string, uint64_t>& Conversation::outcomes() const { return impl_->outcomes(); }
uint64_t Conversation::steps() const { return impl_->steps(); }
uint64_t Conversation::filled() const { return impl_->filled(); }

}  // namespace marquee::fuzz
