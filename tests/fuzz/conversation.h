#ifndef MARQUEE_TESTS_FUZZ_CONVERSATION_H_
#define MARQUEE_TESTS_FUZZ_CONVERSATION_H_

// A small cluster of the real state machines, without a network: a coordinator, one or two servers of a shard and a link each,
// and one worker's client and link that train trials. With two servers every row has two copies, and the second server is
// replaced again and again: forwards, fills and the end of both are among what is said. A fuzzer puts wrong messages between
// the right ones.
//
// What must hold, whatever comes in: nothing crashes; each message to the shard or the coordinator that asks gets exactly one
// answer, to its sender, with its request id; a message that is refused changes nothing; a pull writes nothing but its own
// rows; whatever is sent can be read.

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "common/message.h"
#include "tests/fuzz/mutator.h"

namespace marquee::fuzz {

enum class Receiver { kShard, kCoordinator, kClient, kLink, kServerLink, kSecondShard, kSecondServerLink };
inline constexpr int kReceivers = 7;

struct Packet {
  Receiver to;
  Peer from;
  Frames frames;
};

// What a stranger may send to a receiver: from the route or endpoint that the receiver knows its usual partner by.
Packet PacketTo(Receiver to, Frames frames);

class Conversation {
 public:
  explicit Conversation(int servers);  // 1 or 2
  ~Conversation();

  // The next right message. When none is under way, time passes until there is one; nullopt if there is nothing to wait for.
  std::optional<Packet> Next();

  // Hands over a message, right or wrong. `misalign` puts its bytes at odd addresses.
  void Deliver(const Packet& packet, bool misalign = false);

  // What did not hold; empty as long as all did.
  const std::string& violation() const;

  // How many messages were not read at all, were answered with which error, or were accepted: that a fuzzer reaches something.
  const std::map<std::string, uint64_t>& outcomes() const;
  uint64_t steps() const;   // trained by the worker
  uint64_t filled() const;  // how often a server that was replaced had copies of everything again

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace marquee::fuzz

#endif  // MARQUEE_TESTS_FUZZ_CONVERSATION_H_
