#ifndef MARQUEE_TESTS_SIMULATION_TAMPER_H_
#define MARQUEE_TESTS_SIMULATION_TAMPER_H_

// Planted bugs: what stands between the network and a real shard, or between a scheduler and its disk, and spoils what passes.
// A bug of the client is one that spoils a request before the shard sees it; a bug of the shard is one that does not do what it
// answers. The tests show that the ledger finds each of them.

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "checkpoint/file_system.h"
#include "common/message.h"
#include "ps/checkpoint_io.h"
#include "ps/shard.h"

namespace marquee::simulation {

class Tamper {
 public:
  virtual ~Tamper() = default;
  virtual void OnMessage(Shard& shard, const std::string& /*endpoint*/, const Message& message, absl::Time now,
                         Outbox& outbox) {
    shard.OnMessage(message, now, outbox);
  }
  // What stands between a shard and its files, and between all of a process and the disk; null: nothing. What is wrapped
  // outlives it, as does the tamper.
  virtual std::unique_ptr<CheckpointIo> WrapIo(const std::string& /*endpoint*/, CheckpointIo& /*io*/) { return nullptr; }
  virtual std::unique_ptr<FileSystem> WrapFiles(FileSystem& /*files*/) { return nullptr; }
  // What a scheduler notes of what goes on (StateStore::SaveProgress), as the disk gets it.
  virtual std::string OnNote(const std::string& /*key*/, const std::string& bytes) { return bytes; }
};

// Keeps what is sent.
class Capture : public Outbox {
 public:
  struct Sent {
    Peer to;
    OutgoingMessagePtr message;
  };
  void Send(const Peer& to, OutgoingMessagePtr message) override { sent_.push_back({to, std::move(message)}); }
  const std::vector<Sent>& sent() const { return sent_; }

 private:
  std::vector<Sent> sent_;
};

struct PlantedBug {
  std::string name;
  std::string found_as;      // part of the violation that it leads to
  bool one_copy = false;     // only in clusters without replication: it spoils answers that must come at once
  bool checkpoints = false;  // only in clusters with checkpoints
  bool edits = false;        // only in those whose servers come and go
  std::function<std::unique_ptr<Tamper>()> make;
};

const std::vector<PlantedBug>& PlantedBugs();

}  // namespace marquee::simulation

#endif  // MARQUEE_TESTS_SIMULATION_TAMPER_H_
