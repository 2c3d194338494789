#ifndef MARQUEE_TESTS_UNIT_SCHEDULER_COORDINATOR_TESTING_H_
#define MARQUEE_TESTS_UNIT_SCHEDULER_COORDINATOR_TESTING_H_

// A coordinator, scripted: the test is its workers, its shards and its clock.

#include <gtest/gtest.h>

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "common/table.h"
#include "scheduler/checkpoint_store.h"
#include "scheduler/coordinator.h"
#include "tests/simulation/sim_models.h"

namespace marquee {

class MemoryStore : public StateStore {
 public:
  absl::StatusOr<Numbers> LoadNumbers() override { return numbers; }
  absl::StatusOr<std::vector<Trial>> LoadTrials() override {
    std::vector<Trial> list;
    for (const auto& [name, trial] : trials) list.push_back(trial);
    return list;
  }
  absl::Status SaveNumbers(const Numbers& saved) override {
    if (broken) return absl::InternalError("disk full");
    numbers = saved;
    return absl::OkStatus();
  }
  absl::Status SaveView(const View& saved) override {
    view = saved;
    return absl::OkStatus();
  }
  absl::Status SaveTrial(const Trial& trial) override {
    trials[trial.name] = trial;
    return absl::OkStatus();
  }

  absl::StatusOr<std::map<std::string, std::string>> LoadProgress() override { return progress; }
  absl::Status SaveProgress(const std::string& key, const std::string& bytes) override {
    if (no_notes) return absl::InternalError("disk full");
    progress[key] = bytes;
    return absl::OkStatus();
  }
  absl::Status ForgetProgress(const std::string& key) override {
    progress.erase(key);
    return absl::OkStatus();
  }
  absl::Status ForgetAllProgress() override {
    progress.clear();
    return absl::OkStatus();
  }

  Numbers numbers;
  View view;
  std::map<std::string, Trial> trials;
  std::map<std::string, std::string> progress;
  bool broken = false;
  bool no_notes = false;
};

class MemoryCheckpoints : public CheckpointStore {
 public:
  absl::StatusOr<Attempt> Begin() override { return Attempt{.number = ++attempts, .folder = "c"}; }
  absl::Status Commit(const CheckpointManifest& manifest, const std::set<std::string>&) override {
    made.push_back(manifest);
    return absl::OkStatus();
  }
  absl::StatusOr<std::optional<TrialCheckpoint>> Newest(const std::string& trial, const std::string& spec,
                                                        uint64_t cluster_id) override {
    if (unreadable) return absl::UnavailableError("c/MANIFEST: permission denied");
    for (auto manifest = made.rbegin(); manifest != made.rend(); ++manifest) {
      if (refused.contains(manifest->number) || manifest->cluster_id != cluster_id) continue;
      for (const CheckpointManifest::Trial& saved : manifest->trials) {
        if (saved.name != trial || saved.spec != spec) continue;
        TrialCheckpoint point{.number = manifest->number, .cluster_id = cluster_id, .files = {}, .state = saved.state};
        for (const RowFileSummary& file : manifest->files) point.files.push_back({file.name, manifest->number});
        return std::optional<TrialCheckpoint>(point);
      }
    }
    return std::optional<TrialCheckpoint>();
  }
  void Refuse(uint64_t number, const std::string& reason) override { refused[number] = reason; }
  void CouldNotRead(uint64_t number, const std::string& reason) override { could_not_read[number] = reason; }
  void GaveUp(const std::string&) override {}

  uint64_t attempts = 0;
  std::vector<CheckpointManifest> made;
  std::map<uint64_t, std::string> refused;
  std::map<uint64_t, std::string> could_not_read;
  bool unreadable = false;
};

// What shards were told: enough of one to see what a trial leaves behind.
struct FakeShard {
  uint64_t view = 0;
  std::vector<PartitionNumber> fills;  // by that view, of partitions that it is the primary of
  std::set<uint64_t> sessions;
  std::set<TableNumber> tables;
  std::map<TableNumber, std::map<Id, std::vector<float>>> rows;  // in steps of two when scanned
  int scans = 0;
  bool loses_closing = false;                   // every closeSession to it is lost on the way
  bool loses_scans = false;                     // likewise
  bool loses_files = false;                     // likewise of getCheckpoint
  bool loses_cuts = false;                      // likewise of cutCheckpoint
  std::vector<TableNumber> cut;                 // tables of the last one
  std::map<TableNumber, TableNumber> restored;  // from the files' to its own
  std::set<uint64_t> damaged;                   // checkpoints whose files it finds to be so
  bool cannot_read = false;                     // any file

  bool Loses(wire::Envelope::Body::Reader body) const {
    return (loses_closing && body.isCloseSession()) || (loses_scans && body.isScanTable()) ||
           (loses_files && body.isGetCheckpoint()) || (loses_cuts && body.isCutCheckpoint());
  }
};

inline TrialConfig SmallTrial(const std::string& name) {
  TrialConfig config;
  config.name = name;
  config.model.query.features = {FeatureConfig{.name = "user_id"}};
  config.model.candidate.features = {FeatureConfig{.name = "movie_id"}};
  config.model.epochs = 2;
  config.model.batch_size = 10;
  return config;
}

inline CoordinatorOptions SmallOptions() {
  CoordinatorOptions options;
  options.servers = {"s0", "s1"};
  options.partitions = 4;
  options.train_examples = 100;
  options.validation_examples = 25;
  options.test_examples = 30;
  options.chunk_batches = 2;
  options.evaluation_chunk = 10;
  return options;
}

class Harness : public Outbox {
 public:
  explicit Harness(CoordinatorOptions options = SmallOptions()) : options_(std::move(options)) { Restart(); }

  // A new scheduler process over the same state.
  void Restart() {
    outgoing_.clear();
    coordinator_ = std::make_unique<Coordinator>(Identity{"scheduler", ++incarnation_}, options_, store, &models, &checkpoints);
  }
  absl::Status Start(const std::vector<TrialConfig>& trials) { return coordinator_->Start(trials); }

  void Send(const Peer& to, OutgoingMessagePtr message) override { outgoing_.emplace_back(to, std::move(message)); }

  // Sends a request and returns the reply to it, after the shards have answered what they were asked in its course.
  using Fill = std::function<void(wire::Envelope::Body::Builder)>;
  Message Ask(const std::string& sender, uint64_t incarnation, const Fill& fill, uint64_t request_id = 0) {
    const uint64_t id = request_id != 0 ? request_id : ++last_request_;
    OutgoingMessagePtr request = NewRequest({sender, incarnation}, 0, id, absl::ZeroDuration());
    request->envelope().setProtocolVersion(wire.oldest);
    request->envelope().setNewestVersion(wire.newest);
    fill(request->envelope().getBody());
    coordinator_->OnMessage(*Deliver("route:" + sender, *request), now, *this);
    Message reply = TakeReply("route:" + sender, id);
    LetShardsAnswer();
    return reply;
  }

  void RegisterServers() {
    for (const std::string& name : options_.servers) RegisterServer(name);
  }
  Message RegisterServer(const std::string& name, uint64_t incarnation = 1) {
    const Peer endpoint = "shard:" + name;
    if (shard_incarnations_[name] != incarnation) shards[endpoint] = FakeShard{};
    shard_incarnations_[name] = incarnation;
    return Ask(name, incarnation, [&](auto body) {
      auto reg = body.initRegister();
      reg.setRole(wire::Register::Role::SERVER);
      reg.setName(name.c_str());
      reg.initEndpoints(1).set(0, endpoint.c_str());
    });
  }
  Message RegisterWorker(const std::string& name, uint64_t incarnation = 1, uint64_t checksum = 0) {
    return Ask(name, incarnation, [&](auto body) {
      auto reg = body.initRegister();
      reg.setRole(wire::Register::Role::WORKER);
      reg.setName(name.c_str());
      reg.setDataChecksum(checksum);
    });
  }

  void Advance(absl::Duration duration) {
    now += duration;
    coordinator_->OnTimer(now, *this);
    LetShardsAnswer();
  }

  void LetShardsAnswer() {
    for (bool more = true; more;) {
      more = false;
      auto pending = std::exchange(outgoing_, {});
      for (auto& [to, message] : pending) {
        const auto shard = shards.find(to);
        if (shard == shards.end()) {
          outgoing_.emplace_back(to, std::move(message));
        } else if (!shard->second.Loses(message->envelope().asReader().getBody())) {
          more = true;
          AnswerAsShard(to, shard->second, *message);
        }
      }
    }
  }

  // Messages that nobody asked for, by their receiver.
  std::vector<Message> TakeUnsolicited(const std::string& worker) {
    std::vector<Message> taken;
    std::erase_if(outgoing_, [&](auto& entry) {
      if (entry.first != "route:" + worker || entry.second->envelope().getRequestId() != 0) return false;
      taken.push_back(*Deliver("scheduler", *entry.second));
      return true;
    });
    return taken;
  }

  Coordinator& coordinator() { return *coordinator_; }
  Coordinator::TrialView Trial(size_t index = 0) { return coordinator_->trials(now)[index]; }
  const CoordinatorOptions& options() const { return options_; }

  WireVersions wire = OwnWireVersions();  // of those who ask
  MemoryStore store;
  simulation::SimModels models;
  MemoryCheckpoints checkpoints;
  std::map<std::string, FakeShard> shards;
  absl::Time now = absl::FromUnixSeconds(1000);

 private:
  Message TakeReply(const Peer& to, uint64_t id) {
    for (auto it = outgoing_.begin(); it != outgoing_.end(); ++it) {
      if (it->first != to || it->second->envelope().getRequestId() != id) continue;
      Message reply = *Deliver("scheduler", *it->second);
      outgoing_.erase(it);
      return reply;
    }
    ADD_FAILURE() << "no reply to " << to;
    OutgoingMessage none;
    return *Deliver("scheduler", none);
  }

  void AnswerAsShard(const Peer& endpoint, FakeShard& shard, OutgoingMessage& request) {
    const Message asked = *Deliver("scheduler", request);
    const auto body = asked.envelope().getBody();
    OutgoingMessagePtr reply = NewReply({endpoint, 1}, shard.view, asked);
    bool refused = false;
    switch (body.which()) {
      case wire::Envelope::Body::INSTALL_VIEW:
        shard.view = body.getInstallView().getNumber();
        shard.fills.clear();
        for (PartitionNumber p = 0; p < body.getInstallView().getPrimaries().size(); ++p) {
          const bool own = body.getInstallView().getPrimaries()[p] == body.getInstallView().getYou();
          if (own && body.getInstallView().getFills()[p] != kNoShard) shard.fills.push_back(p);
        }
        break;
      case wire::Envelope::Body::YIELD:
        break;
      case wire::Envelope::Body::RETAIN:
        break;
      case wire::Envelope::Body::GET_PARTITIONS:
        reply->envelope().getBody().initPartitions();
        break;
      case wire::Envelope::Body::GET_FILLS: {
        auto fills = reply->envelope().getBody().initFills();
        fills.setView(shard.view);
        auto filled = fills.initFilled(static_cast<uint32_t>(shard.fills.size()));
        for (uint32_t i = 0; i < filled.size(); ++i) filled.set(i, shard.fills[i]);
        break;
      }
      case wire::Envelope::Body::OPEN_SESSION:
        shard.sessions.insert(body.getOpenSession().getSession());
        break;
      case wire::Envelope::Body::CLOSE_SESSION:
        shard.sessions.erase(body.getCloseSession().getSession());
        break;
      case wire::Envelope::Body::CREATE_TABLES:
        for (const auto table : body.getCreateTables().getDefinitions()) shard.tables.insert(table.getNumber());
        break;
      case wire::Envelope::Body::DROP_TABLES:
        for (const auto table : body.getDropTables().getTables()) shard.tables.erase(table);
        break;
      case wire::Envelope::Body::SCAN_TABLE:
        AnswerScan(shard, body.getScanTable(), reply->envelope().getBody().initScannedRows());
        break;
      case wire::Envelope::Body::CUT_CHECKPOINT:
        shard.cut.clear();
        for (const TableNumber table : body.getCutCheckpoint().getTables()) shard.cut.push_back(table);
        break;
      case wire::Envelope::Body::GET_CHECKPOINT: {
        auto file = reply->envelope().getBody().initCheckpointFile();
        file.setNumber(body.getGetCheckpoint());
        file.setName(endpoint.c_str());
        file.setFull(true);
        break;
      }
      case wire::Envelope::Body::RESTORE_ROWS:
        if (shard.damaged.contains(body.getRestoreRows().getFiles()[0].getCheckpoint())) {
          reply = NewError({endpoint, 1}, shard.view, asked, wire::Error::Code::DAMAGED, "restoreRows.files", "flipped");
          refused = true;
          break;
        }
        if (shard.cannot_read) {
          reply =
              NewError({endpoint, 1}, shard.view, asked, wire::Error::Code::STORAGE, "restoreRows.files", "permission denied");
          refused = true;
          break;
        }
        for (const auto table : body.getRestoreRows().getTables()) shard.restored[table.getFrom()] = table.getTo();
        break;
      case wire::Envelope::Body::LOAD_ROWS:
        Load(shard, body.getLoadRows());
        break;
      case wire::Envelope::Body::DESCRIBE_TABLES: {
        auto list = reply->envelope().getBody().initTables().initDefinitions(static_cast<uint32_t>(shard.tables.size()));
        uint32_t i = 0;
        for (const TableNumber table : shard.tables) list[i++].setNumber(table);
        break;
      }
      default:
        ADD_FAILURE() << "a shard was asked for " << BodyName(body.which());
    }
    const bool filled =
        body.isDescribeTables() || body.isScanTable() || body.isGetCheckpoint() || body.isGetPartitions() || body.isGetFills();
    if (!filled && !refused) reply->envelope().getBody().setOk();
    coordinator_->OnMessage(*Deliver(endpoint, *reply), now, *this);
  }

  // Two rows at a time; the cursor's slot counts them.
  static void AnswerScan(FakeShard& shard, wire::ScanTable::Reader scan, wire::ScannedRows::Builder scanned) {
    ++shard.scans;
    const auto& rows = shard.rows[scan.getTable()];
    auto row = rows.begin();
    std::advance(row, scan.getSlot());
    std::vector<Id> ids;
    std::vector<float> weights;
    for (; row != rows.end() && ids.size() < 2; ++row) {
      ids.push_back(row->first);
      weights.insert(weights.end(), row->second.begin(), row->second.end());
    }
    scanned.setTable(scan.getTable());
    scanned.setDim(ids.empty() ? 1 : static_cast<uint32_t>(weights.size() / ids.size()));
    scanned.setCount(static_cast<uint32_t>(ids.size()));
    scanned.setIds({reinterpret_cast<const kj::byte*>(ids.data()), ids.size() * sizeof(Id)});
    scanned.setWeights({reinterpret_cast<const kj::byte*>(weights.data()), weights.size() * sizeof(float)});
    scanned.setPartition(row == rows.end() ? scan.getEnd() : scan.getPartition());
    scanned.setSlot(row == rows.end() ? 0 : scan.getSlot() + ids.size());
  }

  static void Load(FakeShard& shard, wire::LoadRows::Reader load) {
    const auto* ids = reinterpret_cast<const Id*>(load.getIds().begin());
    const auto* weights = reinterpret_cast<const float*>(load.getWeights().begin());
    for (uint32_t i = 0; i < load.getCount(); ++i, weights += load.getDim()) {
      shard.rows[load.getTable()][ids[i]] = std::vector<float>(weights, weights + load.getDim());
    }
  }

  CoordinatorOptions options_;
  uint64_t incarnation_ = 0;
  uint64_t last_request_ = 0;
  std::map<std::string, uint64_t> shard_incarnations_;
  std::unique_ptr<Coordinator> coordinator_;
  std::deque<std::pair<Peer, OutgoingMessagePtr>> outgoing_;
};

inline wire::Error::Code ErrorOf(const Message& message) {
  EXPECT_TRUE(message.envelope().getBody().isError()) << BodyName(message.envelope().getBody().which());
  return message.envelope().getBody().isError() ? message.envelope().getBody().getError().getCode()
                                                : wire::Error::Code::INTERNAL;
}

// A worker that does what it is told, with made-up losses and metrics, and remembers it.
class FakeWorker {
 public:
  FakeWorker(Harness& harness, std::string name, uint64_t incarnation = 1)
      : harness_(harness), name_(std::move(name)), incarnation_(incarnation) {
    Register();
  }

  void Register() { harness_.RegisterWorker(name_, incarnation_, harness_.options().data_checksum); }

  enum class Answer { kNone, kShutdown, kTrial };
  Answer GetAssignment() {
    const Message reply = Ask([](auto body) { body.setGetAssignment(); });
    const auto assignment = reply.envelope().getBody().getAssignment();
    if (assignment.isNone()) return Answer::kNone;
    if (assignment.isShutdown()) return Answer::kShutdown;
    session = assignment.getTrial().getSession();
    rank = assignment.getTrial().getRank();
    trial = assignment.getTrial().getTrial();
    clock = examples = taken = 0;
    loss_sum = 0;
    held.clear();
    return Answer::kTrial;
  }
  // Until there is a trial; two requests are enough, since shards answer at once.
  void Join() {
    for (int i = 0; i < 3; ++i) {
      if (GetAssignment() == Answer::kTrial) return;
    }
    FAIL() << name_ << " gets no trial";
  }

  Message DefineTables(uint32_t dim = 8) {
    return Ask([&](auto body) {
      auto define = body.initDefineTables();
      define.setSession(session);
      auto list = define.initDefinitions(2);
      for (uint32_t i = 0; i < 2; ++i) {
        TableDefinition table;
        table.name = i == 0 ? "users" : "movies";
        table.dim = dim;
        table.ToWire(list[i]);
      }
    });
  }
  void JoinAndDefine() {
    Join();
    if (DefineTables().envelope().getBody().isTables()) return;
    EXPECT_TRUE(DefineTables().envelope().getBody().isTables());
  }

  Message GetWork(uint64_t request_id = 0) {
    const uint64_t asked = session;
    const auto fill = [&](auto body) {
      body.initGetWork().setSession(asked);
      body.getGetWork().setTaken(taken + 1);
    };
    Message reply = Ask(fill, request_id);
    if (reply.envelope().getBody().isWork() && reply.envelope().getBody().getWork().isTrain()) {
      const auto chunk = reply.envelope().getBody().getWork().getTrain();
      taken += held.contains(chunk.getNumber()) ? 0 : 1;
      held[chunk.getNumber()] = {chunk.getNext(), chunk.getEnd()};
    }
    return reply;
  }

  // Trains `count` examples of a chunk that it holds, at a loss of 1 each.
  Message Train(uint64_t chunk, uint64_t count, bool drained = false) {
    held.at(chunk).first += count;
    examples += count;
    loss_sum += static_cast<double>(count);
    ++clock;
    return Tick(drained);
  }
  Message Tick(bool drained = false) {
    Message reply = Ask([&](auto body) {
      auto tick = body.initTick();
      tick.setSession(session);
      tick.setClock(clock);
      tick.setExamples(examples);
      tick.setLossSum(loss_sum);
      tick.setDrained(drained);
      auto chunks = tick.initChunks(static_cast<uint32_t>(held.size()));
      uint32_t i = 0;
      for (const auto& [number, progress] : held) {
        chunks[i].setNumber(number);
        chunks[i++].setNext(progress.first);
      }
    });
    std::erase_if(held, [](const auto& entry) { return entry.second.first == entry.second.second; });
    return reply;
  }

  Message Evaluate(wire::EvaluationChunk::Reader chunk) { return Evaluate(chunk, score()); }
  Message Evaluate(wire::EvaluationChunk::Reader chunk, double sum_per_example) {
    const uint64_t count = chunk.getEnd() - chunk.getBegin();
    return Ask([&](auto body) {
      auto evaluated = body.initEvaluated();
      evaluated.setSession(session);
      evaluated.setEvaluation(chunk.getEvaluation());
      evaluated.setChunk(chunk.getChunk());
      evaluated.setExamples(count);
      auto sum = evaluated.initSums(1)[0];
      sum.setName("top_100");
      sum.setSum(sum_per_example * static_cast<double>(count));
      sum.setWeight(static_cast<double>(count));
    });
  }

  // Does one piece of work. False when the session is done.
  bool WorkOnce() {
    const Message reply = GetWork();
    const auto body = reply.envelope().getBody();
    if (!body.isWork()) {
      if (!trial_may_fail) {
        ADD_FAILURE() << name_ << ": " << BodyName(body.which()) << (body.isError() ? body.getError().getMessage().cStr() : "");
      }
      return false;
    }
    const auto work = body.getWork();
    if (work.isDone()) return false;
    if (work.isBarrier()) Tick(true);
    if (work.isEvaluate()) Evaluate(work.getEvaluate());
    if (work.isTrain()) {
      const uint64_t chunk = work.getTrain().getNumber();
      while (held.contains(chunk)) {
        Train(chunk, std::min<uint64_t>(10, held.at(chunk).second - held.at(chunk).first));
      }
    }
    return true;
  }
  void WorkToTheEnd() {
    for (int i = 0; i < 1000; ++i) {
      if (!WorkOnce()) return;
    }
    FAIL() << name_ << " never gets done";
  }

  Message Ask(const Harness::Fill& fill, uint64_t request_id = 0) {
    return harness_.Ask(name_, incarnation_, fill, request_id);
  }

  uint64_t session = 0;
  uint64_t trial = 0;
  uint32_t rank = 0;
  uint64_t clock = 0;
  uint64_t examples = 0;
  uint64_t taken = 0;  // chunks
  double loss_sum = 0;
  std::map<uint64_t, std::pair<uint64_t, uint64_t>> held;  // chunk -> next, end
  std::function<double()> score = [] { return 0.5; };      // of every example, when it evaluates
  bool trial_may_fail = false;                             // and end its session under way

 private:
  Harness& harness_;
  std::string name_;
  uint64_t incarnation_;
};

}  // namespace marquee

#endif  // MARQUEE_TESTS_UNIT_SCHEDULER_COORDINATOR_TESTING_H_
