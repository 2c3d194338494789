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
constexpr char kShardEndpoint[] = "tcp://shard:1";
constexpr char kWorkerRoute[] = "worker";
constexpr char kServerRoute[] = "server";
constexpr char kSchedulerRoute[] = "scheduler";

constexpr int kMostWaits = 50;  // with nothing said in between: then the conversation is over
constexpr absl::Duration kLongestWait = absl::Hours(1);

using Code = wire::Error::Code;
using Body = wire::Envelope::Body;

const CoordinatorOptions kCoordinatorOptions = {.servers = {"s0"},
                                                .partitions = 4,
                                                .train_examples = 60,
                                                .validation_examples = 10,
                                                .test_examples = 10,
                                                .chunk_batches = 2,
                                                .evaluation_chunk = 6,
                                                .max_attempts = 100,
                                                .metric = {},
                                                .asha = {}};
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
    case Receiver::kCoordinator:
      return {to, kWorkerRoute, std::move(frames)};
    case Receiver::kClient:
      return {to, kShardEndpoint, std::move(frames)};
    case Receiver::kLink:
    case Receiver::kServerLink:
      return {to, kSchedulerEndpoint, std::move(frames)};
  }
  return {};
}

class Conversation::Impl {
 public:
  Impl();

  std::optional<Packet> Next();
  void Deliver(const Packet& packet, bool misalign);
  const std::string& violation() const { return worker_.violation().empty() ? violation_ : worker_.violation(); }
  const std::map<std::string, uint64_t>& outcomes() const { return outcomes_; }
  uint64_t steps() const { return worker_.steps(); }

 private:
  void RunTimers();
  void DeliverToShard(const Message& message);
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
  Shard shard_{{.name = "s0", .incarnation = 2}, kShardOptions};
  std::string shard_state_;  // before the next message
  simulation::SimDisk disk_;
  Coordinator coordinator_{{.name = "scheduler", .incarnation = 1}, kCoordinatorOptions, disk_};
  ServerLink server_link_{{.name = "s0", .incarnation = 2},
                          {.host = "localhost", .process_id = 1, .endpoints = {kShardEndpoint}, .metrics_endpoint = ""},
                          kSchedulerEndpoint};
  Worker worker_{{.name = "w0", .incarnation = 3}, kSchedulerEndpoint};
  std::deque<Packet> under_way_;
  std::string violation_;
  std::map<std::string, uint64_t> outcomes_;
};

Conversation::Impl::Impl() : shard_state_(shard_.DumpState()) {
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
  const absl::Time due = std::min({coordinator_.next_timer(), server_link_.next_timer(), worker_.next_timer()});
  now_ = std::clamp(due, now_, now_ + kLongestWait);
  const auto run = [&](Receiver sender, auto& machine) {
    Outgoing outgoing;
    machine.OnTimer(now_, outgoing);
    Carry(sender, outgoing.sent);
  };
  run(Receiver::kCoordinator, coordinator_);
  run(Receiver::kServerLink, server_link_);
  run(Receiver::kClient, worker_);
}

void Conversation::Impl::Deliver(const Packet& packet, bool misalign) {
  std::vector<Frame> frames;
  for (const std::string& frame : packet.frames) frames.push_back(FrameOf(frame, misalign));
  const absl::StatusOr<Message> message = Message::Parse(packet.from, std::move(frames));
  if (!message.ok()) {
    ++outcomes_["not a message"];
    return;
  }
  Outgoing outgoing;
  switch (packet.to) {
    case Receiver::kShard:
      return DeliverToShard(*message);
    case Receiver::kCoordinator:
      return DeliverToCoordinator(*message);
    case Receiver::kClient:
      worker_.client().OnMessage(*message, now_, outgoing);
      break;
    case Receiver::kLink:
      worker_.link().OnMessage(*message, now_, outgoing);
      break;
    case Receiver::kServerLink:
      server_link_.OnMessage(*message, now_, outgoing);
      return Carry(Receiver::kServerLink, outgoing.sent);
  }
  worker_.Act(now_, outgoing);
  Carry(Receiver::kClient, outgoing.sent);
}

void Conversation::Impl::DeliverToShard(const Message& message) {
  const Shard::Counters before = shard_.counters();
  const uint64_t waiting_before = shard_.replication().waiting_replies;
  Outgoing outgoing;
  shard_.OnMessage(message, now_, outgoing);
  std::string state = shard_.DumpState();
  const OutgoingMessagePtr* const answer = AnswerTo(message, outgoing.sent);
  if (answer == nullptr) {
    const Body::Reader body = message.envelope().getBody();
    const bool waits = shard_.replication().waiting_replies > waiting_before;  // until copies have done it, too
    if (!waits && !body.isForwarded() && !body.isError()) Violate("the shard did not answer");
    shard_state_ = std::move(state);
    return Carry(Receiver::kShard, outgoing.sent);
  }
  if ((*answer)->envelope().getBody().isError()) {
    if (state != shard_state_) Violate("a request that the shard refused changed its state");
    Shard::Counters after = shard_.counters();
    after.rejected = before.rejected;
    if (std::tie(after.pulls, after.pushes, after.rows_pulled, after.rows_pushed, after.rows_created, after.duplicates) !=
        std::tie(before.pulls, before.pushes, before.rows_pulled, before.rows_pushed, before.rows_created, before.duplicates)) {
      Violate("a request that the shard refused was counted as served");
    }
  }
  shard_state_ = std::move(state);
  CountOutcome("shard", answer->get());
  Carry(Receiver::kShard, outgoing.sent);
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
  const Peer route = from_worker ? kWorkerRoute : from_coordinator ? kSchedulerRoute : kServerRoute;
  if (to == kShardEndpoint) return Packet{Receiver::kShard, route, {}};
  if (to == kSchedulerEndpoint) return Packet{Receiver::kCoordinator, route, {}};
  const bool from_shard = sender == Receiver::kShard;
  if (to == kSchedulerRoute && from_shard) return Packet{Receiver::kCoordinator, kShardEndpoint, {}};
  if (to == kWorkerRoute && from_shard) return PacketTo(Receiver::kClient, {});
  if (to == kWorkerRoute && from_coordinator) return PacketTo(Receiver::kLink, {});
  if (to == kServerRoute && from_coordinator) return PacketTo(Receiver::kServerLink, {});
  return std::nullopt;
}

Conversation::Conversation() : impl_(std::make_unique<Impl>()) {}
Conversation::~Conversation() = default;
std::optional<Packet> Conversation::Next() { return impl_->Next(); }
void Conversation::Deliver(const Packet& packet, bool misalign) { impl_->Deliver(packet, misalign); }
const std::string& Conversation::violation() const { return impl_->violation(); }
const std::map<std::string, uint64_t>& Conversation::outcomes() const { return impl_->outcomes(); }
uint64_t Conversation::steps() const { return impl_->steps(); }

}  // namespace marquee::fuzz
