#include "scheduler/saved_progress.h"

#include <capnp/message.h>
#include <capnp/serialize.h>
#include <fmt/format.h>

#include <cstring>

#include "common/message.h"
#include "scheduler/trial_result_json.h"
#include "schemas/progress.capnp.h"

namespace marquee {
namespace {

std::string TextOf(capnp::Text::Reader text) { return {text.cStr(), text.size()}; }

std::string BytesOf(capnp::MallocMessageBuilder& message) {
  const kj::Array<capnp::word> words = capnp::messageToFlatArray(message);
  const auto bytes = words.asBytes();
  return {reinterpret_cast<const char*>(bytes.begin()), bytes.size()};
}

// Reads a `Root` by `read`, which returns a StatusOr<T>.
template <typename Root, typename T, typename Read>
absl::StatusOr<T> Parsed(const std::string& bytes, const Read& read) {
  absl::StatusOr<T> result = absl::DataLossError("not whole words");
  const absl::Status status = Guarded([&] {
    if (bytes.size() % sizeof(capnp::word) != 0) return absl::OkStatus();
    kj::Array<capnp::word> words = kj::heapArray<capnp::word>(bytes.size() / sizeof(capnp::word));
    std::memcpy(words.asBytes().begin(), bytes.data(), bytes.size());
    capnp::FlatArrayMessageReader reader(words, {.traversalLimitInWords = UINT64_MAX, .nestingLimit = 64});
    result = read(reader.getRoot<Root>());
    return absl::OkStatus();
  });
  if (!status.ok()) return absl::DataLossError(status.message());
  return result;
}

template <typename List>
std::vector<std::string> TextsOf(const List& list) {
  std::vector<std::string> texts;
  for (const auto text : list) texts.push_back(TextOf(text));
  return texts;
}

template <typename Number, typename List>
std::vector<Number> NumbersOf(const List& list) {
  std::vector<Number> numbers;
  for (const Number number : list) numbers.push_back(number);
  return numbers;
}

template <typename List, typename Texts>
void SetTexts(List list, const Texts& texts) {
  uint32_t i = 0;
  for (const std::string& text : texts) list.set(i++, text.c_str());
}

template <typename List, typename Numbers>
void SetNumbers(List list, const Numbers& numbers) {
  uint32_t i = 0;
  for (const auto number : numbers) list.set(i++, number);
}

uint32_t SizeOf(const auto& list) { return static_cast<uint32_t>(list.size()); }

void SetSession(const SavedTrial::Session& session, saved::Session::Builder builder) {
  builder.setNumber(session.number);
  builder.setWorker(session.worker.c_str());
  builder.setIncarnation(session.incarnation);
  builder.setRank(session.rank);
  builder.setLost(session.lost);
  builder.setTrained(session.trained);
  builder.setClock(session.clock);
  builder.setExamples(session.examples);
  builder.setLossSum(session.loss_sum);
  SetNumbers(builder.initHeld(SizeOf(session.held)), session.held);
  builder.setGiven(session.given);
  builder.setLastChunk(session.last_chunk);
  builder.setLastNext(session.last_next);
}

SavedTrial::Session SessionOf(saved::Session::Reader reader) {
  return {.number = reader.getNumber(),
          .worker = TextOf(reader.getWorker()),
          .incarnation = reader.getIncarnation(),
          .rank = reader.getRank(),
          .lost = reader.getLost(),
          .trained = reader.getTrained(),
          .clock = reader.getClock(),
          .examples = reader.getExamples(),
          .loss_sum = reader.getLossSum(),
          .held = NumbersOf<uint64_t>(reader.getHeld()),
          .given = reader.getGiven(),
          .last_chunk = reader.getLastChunk(),
          .last_next = reader.getLastNext()};
}

void SetRun(const SavedTrial& trial, saved::Run::Builder run) {
  run.setNumber(trial.number);
  run.setState(trial.state.c_str());
  run.setEvaluations(trial.evaluations);
  auto tables = run.initTables(SizeOf(trial.tables));
  for (uint32_t i = 0; i < tables.size(); ++i) trial.tables[i].ToWire(tables[i]);
  auto sessions = run.initSessions(SizeOf(trial.sessions));
  for (uint32_t i = 0; i < sessions.size(); ++i) SetSession(trial.sessions[i], sessions[i]);
  auto ranks = run.initRanks(SizeOf(trial.clocks.ranks));
  for (uint32_t i = 0; i < ranks.size(); ++i) {
    ranks[i].setPresent(trial.clocks.ranks[i].present);
    ranks[i].setIdle(trial.clocks.ranks[i].idle);
    ranks[i].setBase(trial.clocks.ranks[i].base);
    ranks[i].setClock(trial.clocks.ranks[i].clock);
    ranks[i].setPulled(trial.clocks.ranks[i].pulled);
  }
  run.setSlowest(trial.clocks.slowest);
}

absl::Status ReadRun(saved::Run::Reader run, SavedTrial& trial) {
  trial.number = run.getNumber();
  trial.state = TextOf(run.getState());
  trial.evaluations = run.getEvaluations();
  for (const auto table : run.getTables()) {
    absl::StatusOr<TableDefinition> definition = TableDefinition::FromWire(table);
    if (!definition.ok()) return definition.status();
    trial.tables.push_back(*std::move(definition));
  }
  for (const auto session : run.getSessions()) trial.sessions.push_back(SessionOf(session));
  for (const auto rank : run.getRanks()) {
    trial.clocks.ranks.push_back({.present = rank.getPresent(),
                                  .idle = rank.getIdle(),
                                  .base = rank.getBase(),
                                  .clock = rank.getClock(),
                                  .pulled = rank.getPulled()});
  }
  trial.clocks.slowest = run.getSlowest();
  return absl::OkStatus();
}

}  // namespace

std::string SavedCluster::ToBytes() const {
  capnp::MallocMessageBuilder message;
  auto root = message.initRoot<saved::Cluster>();
  view.ToWire(root.initView());
  SetTexts(root.initServers(SizeOf(servers)), servers);
  SetNumbers(root.initServerOf(SizeOf(server_of)), server_of);
  root.setReplication(static_cast<uint8_t>(replication));
  return BytesOf(message);
}

absl::StatusOr<SavedCluster> SavedCluster::FromBytes(const std::string& bytes) {
  return Parsed<saved::Cluster, SavedCluster>(bytes, [](saved::Cluster::Reader reader) -> absl::StatusOr<SavedCluster> {
    absl::StatusOr<View> view = View::FromWire(reader.getView());
    if (!view.ok()) return view.status();
    SavedCluster cluster{.view = *std::move(view),
                         .servers = TextsOf(reader.getServers()),
                         .server_of = NumbersOf<uint32_t>(reader.getServerOf()),
                         .replication = reader.getReplication()};
    if (cluster.server_of.size() != cluster.view.shards.size()) {
      return absl::DataLossError(
          fmt::format("servers of {} shards; the view has {}", cluster.server_of.size(), cluster.view.shards.size()));
    }
    for (const uint32_t server : cluster.server_of) {
      if (server >= cluster.servers.size()) {
        return absl::DataLossError(fmt::format("server {} of {}", server, cluster.servers.size()));
      }
    }
    return cluster;
  });
}

std::string SavedMember::ToBytes() const {
  capnp::MallocMessageBuilder message;
  auto root = message.initRoot<saved::Member>();
  root.setName(record.name.c_str());
  root.setServer(record.server);
  root.setAlive(record.alive);
  root.setIncarnation(record.incarnation);
  root.setOldestVersion(record.wire.oldest);
  root.setNewestVersion(record.wire.newest);
  root.setHost(record.host.c_str());
  root.setMetricsEndpoint(record.metrics_endpoint.c_str());
  SetTexts(root.initEndpoints(SizeOf(record.endpoints)), record.endpoints);
  SetNumbers(root.initEnded(SizeOf(ended)), ended);
  return BytesOf(message);
}

absl::StatusOr<SavedMember> SavedMember::FromBytes(const std::string& bytes) {
  return Parsed<saved::Member, SavedMember>(bytes, [](saved::Member::Reader reader) -> absl::StatusOr<SavedMember> {
    SavedMember member;
    member.record.name = TextOf(reader.getName());
    member.record.server = reader.getServer();
    member.record.alive = reader.getAlive();
    member.record.incarnation = reader.getIncarnation();
    member.record.wire = {.oldest = reader.getOldestVersion(), .newest = reader.getNewestVersion()};
    member.record.host = TextOf(reader.getHost());
    member.record.metrics_endpoint = TextOf(reader.getMetricsEndpoint());
    member.record.endpoints = TextsOf(reader.getEndpoints());
    for (const uint64_t incarnation : reader.getEnded()) member.ended.insert(incarnation);
    if (member.record.name.empty()) return absl::DataLossError("a member without a name");
    return member;
  });
}

std::string SavedTrial::ToBytes() const {
  capnp::MallocMessageBuilder message;
  auto root = message.initRoot<saved::Trial>();
  root.setName(name.c_str());
  root.setSpec(spec.c_str());
  if (outcome.has_value()) {
    saved::Outcome::Builder over = root.initOver();
    over.setStatus(static_cast<uint8_t>(outcome->status));
    over.setReason(outcome->reason.c_str());
    over.setResult(ToJson(outcome->result).c_str());
  } else {
    SetRun(*this, root.initRunning());
  }
  return BytesOf(message);
}

absl::StatusOr<SavedTrial> SavedTrial::FromBytes(const std::string& bytes) {
  return Parsed<saved::Trial, SavedTrial>(bytes, [](saved::Trial::Reader reader) -> absl::StatusOr<SavedTrial> {
    SavedTrial trial;
    trial.name = TextOf(reader.getName());
    trial.spec = TextOf(reader.getSpec());
    if (reader.isRunning()) {
      if (absl::Status status = ReadRun(reader.getRunning(), trial); !status.ok()) return status;
      return trial;
    }
    const auto over = reader.getOver();
    absl::StatusOr<TrialResult> result = TrialResultFromJson(TextOf(over.getResult()));
    if (!result.ok()) return result.status();
    trial.outcome = StateStore::Trial{.name = trial.name,
                                      .spec = trial.spec,
                                      .status = static_cast<TrialStatus>(over.getStatus()),
                                      .reason = TextOf(over.getReason()),
                                      .result = *std::move(result)};
    if (trial.outcome->status < TrialStatus::kFinished || trial.outcome->status > TrialStatus::kStopped) {
      return absl::DataLossError(fmt::format("trial '{}' has ended as {}", trial.name, over.getStatus()));
    }
    return trial;
  });
}

}  // namespace marquee
