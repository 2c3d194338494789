#ifndef MARQUEE_TESTS_SIMULATION_SIM_SERVER_H_
#define MARQUEE_TESTS_SIMULATION_SIM_SERVER_H_

// A simulated `ps` process: real shards, and the registration and heartbeats that the program sends for them. Looks at what
// goes in and comes out: every row is compared with the ledger before its table is dropped or rolled back, and a session that a
// shard has said to be closed must stay so.

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "ps/shard.h"
#include "tests/simulation/faulty_disk.h"
#include "tests/simulation/ledger.h"
#include "tests/simulation/sim_checkpoints.h"
#include "tests/simulation/tamper.h"
#include "tests/simulation/world.h"

namespace marquee::simulation {

class SimServer : public Process {
 public:
  // Where checkpoints are written; without one there are none.
  struct Checkpoints {
    CheckpointWatch* watch = nullptr;
    FaultyDisk* disk = nullptr;
    size_t room = 1;
  };
  // `tamper` may be null. All that is referred to must outlive the server.
  SimServer(World& world, Ledger& ledger, Tamper* tamper, Identity self, std::vector<std::string> endpoints, Peer scheduler,
            const ReplicationOptions& replication, const Checkpoints& checkpoints);

  void OnMessage(const std::string& endpoint, const Message& message, absl::Time now, Outbox& outbox) override;
  void OnTimer(absl::Time now, Outbox& outbox) override;
  absl::Time next_timer() const override;

  // Called when it is told that another process has its name: it exits.
  void on_exit(std::function<void()> exit) { exit_ = std::move(exit); }
  // Called before a shard that has this view drops tables, or loses them: all are to be compared with the ledger.
  using OnLoss = std::function<void(const std::set<TableNumber>& tables, uint64_t view)>;
  void on_loss(OnLoss loss) { loss_ = std::move(loss); }
  // Compares the rows of these tables that its shards serve now, but for shards that have begun anew since that view.
  void CheckTables(const std::set<TableNumber>& tables, uint64_t view);

  // Those that live here, by endpoint.
  const Shard* FindShard(const std::string& endpoint) const;
  std::vector<const Shard*> shards() const;

  // Empty if the shards hold no table and no open session any more.
  std::string CheckEmpty() const;

 private:
  struct Hosted {
    std::unique_ptr<CheckpointIo> io;
    std::unique_ptr<CheckpointIo> tampered_io;
    std::unique_ptr<Shard> shard;
    std::set<uint64_t> closed;                              // sessions, by its own word
    std::map<std::pair<Peer, uint64_t>, uint64_t> pushes;   // sessions of those without an answer, by who asked and request id
    std::map<std::pair<Peer, uint64_t>, Message> restores;  // without an answer, likewise
  };

  void OnSchedulerReply(const Message& message, absl::Time now, Outbox& outbox);
  void Give(const std::string& endpoint, Hosted& hosted, const Message& message, absl::Time now, Outbox& outbox);
  // What a shard has said: its answers are looked at, with what they answer.
  void Pass(Hosted& hosted, const Capture& capture, Outbox& outbox);
  void CheckRestored(Hosted& hosted, const Capture& capture);
  void CheckServing(const std::string& endpoint, const Shard& shard, wire::Envelope::Body::Reader request);
  void CheckBeforeLoss(const std::string& endpoint, wire::Envelope::Body::Reader request);
  void CheckTable(Shard& shard, const TableDefinition& table, absl::Time now);

  World& world_;
  Ledger& ledger_;
  Tamper* tamper_;
  Checkpoints checkpoints_;
  std::shared_ptr<FaultyDisk::Machine> machine_;  // null without checkpoints
  std::unique_ptr<FileSystem> tampered_files_;
  Identity self_;
  std::vector<std::string> endpoints_;
  Peer scheduler_;
  std::map<std::string, Hosted> shards_;  // by endpoint

  std::function<void()> exit_ = [] {};
  OnLoss loss_;
  bool registered_ = false;
  bool finished_ = false;
  absl::Duration heartbeat_ = absl::Milliseconds(500);
  absl::Time due_ = absl::InfinitePast();
  uint64_t last_request_ = 0;
};

}  // namespace marquee::simulation

#endif  // MARQUEE_TESTS_SIMULATION_SIM_SERVER_H_
