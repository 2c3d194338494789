#ifndef MARQUEE_TESTS_SIMULATION_WORLD_H_
#define MARQUEE_TESTS_SIMULATION_WORLD_H_

// A simulated network, clock and set of processes in one thread: a queue of events in order of time. All chance comes from one
// seed, so that a seed is one run, bit for bit.
//
// A message may be lost, delivered twice, delayed, overtaken by later ones, and cut off by a partition of the link between two
// names, in one direction or both. A process may be paused, as SIGSTOP does; it may crash at a chosen point of handling a
// message; its clock has its own beginning and runs a little fast or slow. What is under way to a process that died is lost;
// what is under way to an endpoint reaches whoever listens there when it arrives, as it does when a connection is made again.

#include <functional>
#include <map>
#include <memory>
#include <queue>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "common/message.h"
#include "tests/simulation/random.h"

namespace marquee::simulation {

// What an operating-system process would be.
class Process {
 public:
  virtual ~Process() = default;
  // `endpoint` is the own one that the message was sent to; empty for what comes back from an endpoint that was asked.
  virtual void OnMessage(const std::string& endpoint, const Message& message, absl::Time now, Outbox& outbox) = 0;
  virtual void OnTimer(absl::Time now, Outbox& outbox) = 0;
  virtual absl::Time next_timer() const = 0;
};

struct NetworkFaults {
  double drop = 0;       // chance that a message is lost
  double duplicate = 0;  // ... that it arrives twice, each copy with a delay of its own
  double slow = 0;       // ... that it takes up to slow_delay longer
  absl::Duration min_delay = absl::Microseconds(100);
  absl::Duration max_delay = absl::Milliseconds(2);
  absl::Duration slow_delay = absl::Seconds(3);
  absl::Time until = absl::InfiniteFuture();  // then messages are only delayed
};

// Where in the handling of a message a process crashes.
enum class CrashPoint {
  kReceived,   // before it does anything
  kHandled,    // it has changed its state, and what it saves is saved; nothing is sent
  kForwarded,  // what it asks of others is sent; it answers nobody
  kAnswered,   // all is sent
};

class World {
 public:
  // Clocks run at 1 +- `clock_drift` of the world's; 0: they are the world's.
  World(uint64_t seed, NetworkFaults faults, double clock_drift, bool trace)
      : random_(seed), faults_(faults), clock_drift_(clock_drift), tracing_(trace) {}

  absl::Time now() const { return now_; }  // the world's

  // A process begins to live under a name and to listen on its endpoints. The one that had the name must be gone.
  void Start(const std::string& name, const std::vector<std::string>& endpoints, std::unique_ptr<Process> process);
  void Kill(const std::string& name);
  bool Lives(const std::string& name) const { return by_name_.contains(name); }
  // What the clock of a living process shows.
  absl::Time ClockOf(const std::string& name) const { return nodes_.at(by_name_.at(name)).Clock(now_); }

  // Lets a living process act outside of messages and timers.
  void Interrupt(const std::string& name, const std::function<void(absl::Time now, Outbox& outbox)>& action);

  // Messages between two names are lost from `from` until `until`; with `one_way`, only those from the first to the other.
  void Partition(const std::string& one, const std::string& other, absl::Time from, absl::Time until, bool one_way);
  // Until then the process does nothing; what arrives meanwhile waits for it.
  void Pause(const std::string& name, absl::Time until);
  // `crash` is called, and must kill the process, at that point of the next message of this kind that reaches it.
  void CrashAt(const std::string& name, wire::Envelope::Body::Which kind, CrashPoint point, std::function<void()> crash);

  void At(absl::Time time, std::function<void()> action);
  // Goes on until `done`, a violation, or `deadline`. True if `done`.
  bool Run(const std::function<bool()>& done, absl::Time deadline);

  // A promise was found broken: the run ends. The first one counts.
  void Violate(const std::string& what);
  const std::string& violation() const { return violation_; }

  bool tracing() const { return tracing_; }
  void Trace(const std::string& line);
  const std::vector<std::string>& trace() const { return trace_; }
  // Of all that happened, in order: two runs of a seed have the same one.
  uint64_t fingerprint() const { return fingerprint_; }
  uint64_t messages() const { return messages_; }

 private:
  using ProcessId = uint64_t;  // never used again

  class ProcessOutbox : public Outbox {
   public:
    ProcessOutbox(World& world, ProcessId self) : world_(world), self_(self) {}
    void Send(const Peer& to, OutgoingMessagePtr message) override { world_.Send(self_, to, std::move(message)); }

   private:
    World& world_;
    ProcessId self_;
  };

  struct Node {
    std::string name;
    std::vector<std::string> endpoints;
    std::unique_ptr<Process> process;
    std::unique_ptr<ProcessOutbox> outbox;
    absl::Time timer = absl::InfiniteFuture();  // the world's
    absl::Time paused_until = absl::InfinitePast();
    // Its clock shows clock_began where the world's shows began.
    absl::Time began, clock_began;
    double clock_rate = 1;
    absl::Time Clock(absl::Time now) const { return clock_began + (now - began) * clock_rate; }
  };

  struct Crash {
    wire::Envelope::Body::Which kind;
    CrashPoint point;
    std::function<void()> crash;
  };

  struct Flight {
    ProcessId sender = 0;
    std::string sender_name;
    ProcessId receiver = 0;  // 0: whoever listens on `endpoint`
    std::string endpoint;    // that was asked, or that answers
    OutgoingMessagePtr message;
  };

  struct Event {
    absl::Time at;
    uint64_t order;
    std::function<void()> action;
    bool operator>(const Event& other) const { return at != other.at ? at > other.at : order > other.order; }
  };

  struct Cut {
    std::string one, other;
    absl::Time from, until;
    bool one_way;
  };

  bool HandleAndCrash(Node& node, const std::string& endpoint, const Message& message);
  void Send(ProcessId from, const Peer& to, OutgoingMessagePtr message);
  void Fly(const std::shared_ptr<Flight>& flight);
  void Arrive(const Flight& flight);
  bool IsCut(const std::string& from, const std::string& to) const;
  void Reschedule(ProcessId id, Node& node);
  void OnTimer(ProcessId id, absl::Time time);
  std::string ReceiverName(const Flight& flight) const;
  void Note(const Flight& flight, const char* what);
  void Mix(uint64_t value) { fingerprint_ = (fingerprint_ ^ value) * 0x100000001b3U; }

  Random random_;
  NetworkFaults faults_;
  double clock_drift_;
  bool tracing_;
  absl::Time now_ = absl::UnixEpoch();
  uint64_t next_order_ = 0;
  ProcessId last_process_ = 0;
  std::priority_queue<Event, std::vector<Event>, std::greater<>> events_;
  std::map<ProcessId, Node> nodes_;
  std::map<std::string, ProcessId> by_name_;
  std::map<std::string, ProcessId> by_endpoint_;
  std::vector<Cut> cuts_;
  std::map<std::string, Crash> crashes_;  // by name; the next one of each
  std::string violation_;
  std::vector<std::string> trace_;
  uint64_t fingerprint_ = 0xcbf29ce484222325U;
  uint64_t messages_ = 0;
};

}  // namespace marquee::simulation

#endif  // MARQUEE_TESTS_SIMULATION_WORLD_H_
