#include "tests/simulation/world.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace marquee::simulation {
namespace {

constexpr absl::Duration kShortestTimer = absl::Microseconds(1);  // a process that is always due must not stop the clock

// Lets pass what asks others, and what answers, as a crash leaves it.
class CrashingOutbox : public Outbox {
 public:
  CrashingOutbox(CrashPoint point, Outbox& outbox) : point_(point), outbox_(outbox) {}
  void Send(const Peer& to, OutgoingMessagePtr message) override {
    const bool asks = to.find('@') == std::string::npos;
    if (point_ == CrashPoint::kAnswered || (point_ == CrashPoint::kForwarded && asks)) outbox_.Send(to, std::move(message));
  }

 private:
  CrashPoint point_;
  Outbox& outbox_;
};

// One line on a message: its body, and the numbers by which one would look for it.
std::string Describe(wire::Envelope::Reader envelope) {
  using Body = wire::Envelope::Body;
  const Body::Reader body = envelope.getBody();
  std::string text = fmt::format("{} #{} view {}", BodyName(body.which()), envelope.getRequestId(), envelope.getView());
  switch (body.which()) {
    case Body::ERROR:
      return text + fmt::format(" {}: {}: {}", ErrorCodeName(body.getError().getCode()), body.getError().getField().cStr(),
                                body.getError().getMessage().cStr());
    case Body::PUSH:
      return text + fmt::format(" session {} sequence {}", body.getPush().getSession(), body.getPush().getSequence());
    case Body::PUSHED:
      return text +
             fmt::format(" sequence {}{}", body.getPushed().getSequence(), body.getPushed().getDuplicate() ? " duplicate" : "");
    case Body::OPEN_SESSION:
      return text + fmt::format(" session {}", body.getOpenSession().getSession());
    case Body::CLOSE_SESSION:
      return text + fmt::format(" session {}", body.getCloseSession().getSession());
    case Body::TICK:
      return text + fmt::format(" session {} clock {} examples {}{}", body.getTick().getSession(), body.getTick().getClock(),
                                body.getTick().getExamples(), body.getTick().getDrained() ? " drained" : "");
    case Body::CLOCKS: {
      text += fmt::format(" session {} slowest {} of", body.getClocks().getSession(), body.getClocks().getSlowest());
      for (const uint64_t clock : body.getClocks().getClocks()) {
        text += clock == UINT64_MAX ? " left" : fmt::format(" {}", clock);
      }
      return text;
    }
    case Body::WORK: {
      const auto work = body.getWork();
      if (work.isWait()) return text + " wait";
      if (work.isBarrier()) return text + " barrier";
      if (work.isDone()) return text + " done";
      if (work.isEvaluate()) return text + fmt::format(" evaluate chunk {}", work.getEvaluate().getChunk());
      return text + fmt::format(" train chunk {}: {} to {}", work.getTrain().getNumber(), work.getTrain().getNext(),
                                work.getTrain().getEnd());
    }
    case Body::ASSIGNMENT: {
      const auto assignment = body.getAssignment();
      if (!assignment.isTrial()) return text + (assignment.isShutdown() ? " shutdown" : " none");
      return text + fmt::format(" {} session {} rank {}", assignment.getTrial().getName().cStr(),
                                assignment.getTrial().getSession(), assignment.getTrial().getRank());
    }
    default:
      return text;
  }
}

}  // namespace

void World::Start(const std::string& name, const std::vector<std::string>& endpoints, std::unique_ptr<Process> process) {
  const ProcessId id = ++last_process_;
  Node& node = nodes_[id];
  node.name = name;
  node.endpoints = endpoints;
  node.process = std::move(process);
  node.outbox = std::make_unique<ProcessOutbox>(*this, id);
  node.began = node.clock_began = now_;
  if (clock_drift_ > 0) {
    node.clock_began += absl::Milliseconds(random_.Between(0, 100'000'000));
    node.clock_rate += clock_drift_ * (static_cast<double>(random_.Below(2001)) / 1000 - 1);
  }
  by_name_[name] = id;
  for (const std::string& endpoint : endpoints) by_endpoint_[endpoint] = id;
  Trace(fmt::format("{} starts", name));
  Reschedule(id, node);
}

void World::Kill(const std::string& name) {
  const auto found = by_name_.find(name);
  if (found == by_name_.end()) return;
  Trace(fmt::format("{} is killed", name));
  for (const std::string& endpoint : nodes_.at(found->second).endpoints) by_endpoint_.erase(endpoint);
  nodes_.erase(found->second);
  by_name_.erase(found);
}

void World::Interrupt(const std::string& name, const std::function<void(absl::Time now, Outbox& outbox)>& action) {
  const ProcessId id = by_name_.at(name);
  Node& node = nodes_.at(id);
  action(node.Clock(now_), *node.outbox);
  Reschedule(id, node);
}

void World::Pause(const std::string& name, absl::Time until) {
  const auto found = by_name_.find(name);
  if (found == by_name_.end()) return;
  Trace(fmt::format("{} is paused", name));
  nodes_.at(found->second).paused_until = until;
}

void World::CrashAt(const std::string& name, wire::Envelope::Body::Which kind, CrashPoint point, std::function<void()> crash) {
  crashes_[name] = {kind, point, std::move(crash)};
}

void World::Partition(const std::string& one, const std::string& other, absl::Time from, absl::Time until, bool one_way) {
  cuts_.push_back({one, other, from, until, one_way});
}

bool World::IsCut(const std::string& from, const std::string& to) const {
  return std::any_of(cuts_.begin(), cuts_.end(), [&](const Cut& cut) {
    const bool this_link = (cut.one == from && cut.other == to) || (!cut.one_way && cut.one == to && cut.other == from);
    return this_link && cut.from <= now_ && now_ < cut.until;
  });
}

void World::At(absl::Time time, std::function<void()> action) {
  events_.push({std::max(time, now_), next_order_++, std::move(action)});
}

bool World::Run(const std::function<bool()>& done, absl::Time deadline) {
  while (violation_.empty() && !done()) {
    if (events_.empty() || events_.top().at > deadline) return false;
    const Event event = std::move(const_cast<Event&>(events_.top()));  // top() is const only for the order
    events_.pop();
    now_ = event.at;
    event.action();
  }
  return violation_.empty();
}

// Routes are "process@endpoint": where an answer goes, and who it is from as the asker knows it.
void World::Send(ProcessId from, const Peer& to, OutgoingMessagePtr message) {
  auto flight = std::make_shared<Flight>();
  flight->sender = from;
  flight->sender_name = nodes_.at(from).name;
  flight->message = std::move(message);
  const size_t at = to.find('@');
  if (at == std::string::npos) {
    flight->endpoint = to;
  } else {
    flight->receiver = std::stoull(to.substr(0, at));
    flight->endpoint = to.substr(at + 1);
  }
  ++messages_;
  const bool faulty = now_ < faults_.until;
  if (faulty && random_.Chance(faults_.drop)) return Note(*flight, "lost");
  if (IsCut(flight->sender_name, ReceiverName(*flight))) return Note(*flight, "cut off");
  Fly(flight);
  if (faulty && random_.Chance(faults_.duplicate)) Fly(flight);
}

void World::Fly(const std::shared_ptr<Flight>& flight) {
  absl::Duration delay = random_.Between(faults_.min_delay, faults_.max_delay);
  if (now_ < faults_.until && random_.Chance(faults_.slow)) delay += random_.Between(absl::ZeroDuration(), faults_.slow_delay);
  At(now_ + delay, [this, flight] { Arrive(*flight); });
}

std::string World::ReceiverName(const Flight& flight) const {
  ProcessId receiver = flight.receiver;
  if (receiver == 0) {
    const auto listening = by_endpoint_.find(flight.endpoint);
    if (listening == by_endpoint_.end()) return flight.endpoint;
    receiver = listening->second;
  }
  const auto node = nodes_.find(receiver);
  return node == nodes_.end() ? "nobody" : node->second.name;
}

void World::Arrive(const Flight& flight) {
  ProcessId receiver = flight.receiver;
  if (receiver == 0) {
    const auto listening = by_endpoint_.find(flight.endpoint);
    if (listening == by_endpoint_.end()) return Note(flight, "nobody listens");
    receiver = listening->second;
  }
  const auto node = nodes_.find(receiver);
  if (node == nodes_.end()) return Note(flight, "nobody there");
  if (IsCut(flight.sender_name, node->second.name)) return Note(flight, "cut off");
  if (now_ < node->second.paused_until) return At(node->second.paused_until, [this, flight] { Arrive(flight); });
  Note(flight, "->");
  const bool asked = flight.receiver == 0;
  const Peer from = asked ? fmt::format("{}@{}", flight.sender, flight.endpoint) : flight.endpoint;
  const absl::StatusOr<Message> message = Deliver(from, *flight.message);
  if (!message.ok()) return Violate(fmt::format("a process sent a malformed message: {}", message.status().ToString()));
  const std::string endpoint = asked ? flight.endpoint : "";
  if (HandleAndCrash(node->second, endpoint, *message)) return;
  node->second.process->OnMessage(endpoint, *message, node->second.Clock(now_), *node->second.outbox);
  Reschedule(receiver, node->second);
}

bool World::HandleAndCrash(Node& node, const std::string& endpoint, const Message& message) {
  const auto found = crashes_.find(node.name);
  if (found == crashes_.end() || found->second.kind != message.envelope().getBody().which()) return false;
  const Crash crash = std::move(found->second);
  crashes_.erase(found);
  if (crash.point != CrashPoint::kReceived) {
    CrashingOutbox outbox(crash.point, *node.outbox);
    node.process->OnMessage(endpoint, message, node.Clock(now_), outbox);
  }
  crash.crash();
  return true;
}

void World::Reschedule(ProcessId id, Node& node) {
  const absl::Duration wait = (node.process->next_timer() - node.Clock(now_)) / node.clock_rate;
  const absl::Time wanted = std::max({now_ + wait, now_ + kShortestTimer, node.paused_until});
  if (wanted >= node.timer) return;
  node.timer = wanted;
  if (wanted != absl::InfiniteFuture()) At(wanted, [this, id, wanted] { OnTimer(id, wanted); });
}

void World::OnTimer(ProcessId id, absl::Time time) {
  const auto node = nodes_.find(id);
  if (node == nodes_.end() || node->second.timer != time) return;
  node->second.timer = absl::InfiniteFuture();
  if (now_ < node->second.paused_until) return Reschedule(id, node->second);
  Mix(id);
  node->second.process->OnTimer(node->second.Clock(now_), *node->second.outbox);
  Reschedule(id, node->second);
}

void World::Violate(const std::string& what) {
  if (!violation_.empty()) return;
  violation_ = fmt::format("at {:.6f} s: {}", absl::ToDoubleSeconds(now_ - absl::UnixEpoch()), what);
  Trace("VIOLATION: " + what);
}

void World::Trace(const std::string& line) {
  if (tracing_) trace_.push_back(fmt::format("{:12.6f} {}", absl::ToDoubleSeconds(now_ - absl::UnixEpoch()), line));
}

void World::Note(const Flight& flight, const char* what) {
  Mix(static_cast<uint64_t>(absl::ToUnixNanos(now_)));
  Mix(flight.sender);
  Mix(flight.receiver);
  Mix(static_cast<uint64_t>(flight.message->envelope().getBody().which()));
  Mix(flight.message->envelope().getRequestId());
  Mix(static_cast<uint64_t>(what[0]));
  if (!tracing_) return;
  Trace(fmt::format("{:>10} {:>2} {:<10} {}", flight.sender_name, what, ReceiverName(flight),
                    Describe(flight.message->envelope().asReader())));
}

}  // namespace marquee::simulation
