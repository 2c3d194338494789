#include "scheduler/view_changes.h"

#include <algorithm>
#include <set>
#include <utility>

namespace marquee {
namespace {

constexpr absl::Duration kAskForFills = absl::Milliseconds(100);
constexpr int kLeasesShunned = 3;
constexpr absl::Duration kLookAtMoves = absl::Milliseconds(100);
constexpr int kTriesToYield = 3;
constexpr uint16_t kWireVersionOfMoves = 3;

}  // namespace

void ViewChanges::Begin() {
  next_ = context_.view;
  ready_.assign(next_.shards.size(), true);
  coming_.assign(next_.shards.size(), false);
  joining_.clear();
  broadcasts_.clear();
  move_again_ = absl::InfinitePast();
  has_fills_ = false;
  stage_ = Stage::kIdle;
  context_.wanted != context_.servers ? rebalancing_.Begin() : rebalancing_.End();
}

bool ViewChanges::TakeOver(absl::Time now, Outbox& outbox) {
  Begin();
  ready_.assign(next_.shards.size(), false);
  Install(now, outbox);
  const std::vector<std::string> servers = context_.servers;
  for (uint32_t server = 0; server < servers.size(); ++server) {
    const std::vector<uint32_t> shards = ShardsOf(server);
    const bool alive = std::any_of(shards.begin(), shards.end(), [this](uint32_t shard) { return context_.alive[shard]; });
    if (!servers[server].empty() && !alive && !LoseServer(servers[server], now, outbox)) return false;
  }
  return true;
}

void ViewChanges::End() {
  stage_ = Stage::kOff;
  rebalancing_.End();
  context_.shards.Hold(false);
}

std::vector<uint32_t> ViewChanges::ShardsOf(uint32_t server) const {
  std::vector<uint32_t> shards;
  for (uint32_t shard = 0; shard < context_.server_of.size(); ++shard) {
    if (context_.server_of[shard] == server) shards.push_back(shard);
  }
  return shards;
}

// ------------------------------------------------------------------------------------------------------------ losses

bool ViewChanges::LoseServer(const std::string& name, absl::Time now, Outbox& outbox) {
  if (stage_ == Stage::kOff) return false;
  const auto found = std::find(context_.servers.begin(), context_.servers.end(), name);
  if (found == context_.servers.end()) return true;  // it had not come in, or has gone
  const auto server = static_cast<uint32_t>(found - context_.servers.begin());
  std::vector<bool> lost(next_.shards.size(), false);
  for (const uint32_t shard : ShardsOf(server)) lost[shard] = true;
  for (uint32_t shard = 0; shard < lost.size(); ++shard) {
    if (!lost[shard]) continue;
    context_.alive[shard] = false;
    ready_[shard] = false;
    coming_[shard] = false;
    context_.shards.Excuse(next_.shards[shard]);
  }
  const uint64_t number = context_.numbers.view + 1;
  View next = next_;
  uint64_t promoted = 0;
  for (PartitionNumber p = 0; p < next.partitions(); ++p) {
    if (next.fills[p] != kNoShard && lost[next.fills[p]]) next.fills[p] = kNoShard;
    if (next.backups[p] != kNoShard && lost[next.backups[p]]) next.backups[p] = kNoShard;
    if (!lost[next.primaries[p]]) continue;
    if (next.backups[p] == kNoShard || !context_.alive[next.backups[p]]) return false;
    ++promoted;
    next.primaries[p] = std::exchange(next.backups[p], kNoShard);
    next.fills[p] = kNoShard;
    next.changed[p] = number;
  }
  next_ = std::move(next);
  context_.counters.partitions_promoted += promoted;
  if (!context_.IsWanted(name)) FreePlace(server);
  AssignFills(now);
  Install(now, outbox);
  return true;
}

// ------------------------------------------------------------------------------------------------------------- views

bool ViewChanges::AssignFills(absl::Time now) {
  std::erase_if(shunned_, [&](const auto& shunned) { return now >= shunned.second; });
  if (context_.options.replication == 1) return false;
  const std::vector<Refill> missing = MissingCopies(PlacementNow());
  for (const Refill& fill : missing) next_.fills[fill.partition] = fill.to;
  return !missing.empty();
}

Placement ViewChanges::PlacementNow() const {
  Placement placement{
      .view = &next_, .server_of = context_.server_of, .host_of = {}, .able = {}, .apart = {}, .bytes = {}, .load = {}};
  for (ShardIndex shard = 0; shard < next_.shards.size(); ++shard) {
    const std::string& server = context_.servers[context_.server_of[shard]];
    const MemberRecord* const member = context_.members.FindAlive(server);
    placement.host_of.push_back(member == nullptr ? "" : member->host);
    placement.able.push_back(IsReady(shard) && context_.IsWanted(server));
  }
  for (const auto& [pair, until] : shunned_) placement.apart.insert(pair);
  return placement;
}

// A primary that its copy does not answer serves nothing, though both are alive for this scheduler: it goes on without that
// copy, and another shard is filled, or the same one later.
bool ViewChanges::DropSilent(const std::vector<std::pair<uint32_t, uint32_t>>& silent, absl::Time now) {
  bool any = false;
  for (const auto& [primary, copy] : silent) {
    for (PartitionNumber p = 0; p < next_.partitions(); ++p) {
      if (next_.primaries[p] != primary || (next_.backups[p] != copy && next_.fills[p] != copy)) continue;
      for (ShardIndex* const role : {&next_.backups[p], &next_.fills[p]}) {
        if (*role == copy) *role = kNoShard;
      }
      shunned_[{primary, copy}] = now + kLeasesShunned * context_.options.lease;
      any = true;
    }
  }
  return any;
}

// Those that make a second copy where there is none are named at once; what is moved waits for its time.
bool ViewChanges::NameBackups(const std::vector<PartitionNumber>& filled) {
  const bool may_move = may_move_();
  bool any = false;
  for (const PartitionNumber p : filled) {
    if (p >= next_.partitions() || next_.fills[p] == kNoShard) continue;
    const bool moves = next_.backups[p] != kNoShard || context_.options.replication == 1;
    if (moves && !may_move) continue;
    if (moves && context_.options.replication > 1) ++context_.counters.copies_moved;
    next_.backups[p] = std::exchange(next_.fills[p], kNoShard);
    any = true;
  }
  return any;
}

void ViewChanges::Install(absl::Time now, Outbox& outbox) {
  for (const BroadcastNumber broadcast : std::exchange(broadcasts_, {})) context_.shards.Forget(broadcast);
  joining_.clear();
  yielding_.clear();
  has_fills_ = std::any_of(next_.fills.begin(), next_.fills.end(), [](ShardIndex shard) { return shard != kNoShard; });
  next_.number = ++context_.numbers.view;
  if (!context_.SaveNumbers()) return;
  if (!context_.Keep(next_.Validate()) || !context_.Keep(context_.store.SaveView(next_)) || !context_.NoteView(next_)) return;
  stage_ = Stage::kInstalling;
  context_.shards.Hold(true);
  View header = next_;
  header.number = 0;  // the shards are not expected to know it yet
  std::vector<uint32_t> addressed;
  for (uint32_t shard = 0; shard < coming_.size(); ++shard) {
    if (context_.alive[shard] || coming_[shard]) addressed.push_back(shard);
  }
  broadcasts_ = {context_.shards.StartSome(
      addressed, header, 0,
      [this](uint32_t shard, wire::Envelope::Body::Builder body) {
        wire::View::Builder view = body.initInstallView();
        next_.ToWire(view);
        view.setYou(shard);
      },
      now, outbox)};
}

void ViewChanges::Advance(absl::Time now, Outbox& outbox) {
  while (context_.status.ok() && Step(now, outbox)) {
  }
}

bool ViewChanges::Step(absl::Time now, Outbox& outbox) {
  if (stage_ == Stage::kOff) return false;
  if (stage_ == Stage::kYielding) return AfterYield(now, outbox);
  if (stage_ != Stage::kIdle) {
    for (const BroadcastNumber broadcast : broadcasts_) {
      if (!context_.shards.Finished(broadcast)) return false;
      if (!context_.Keep(context_.shards.Result(broadcast))) return false;
    }
  }
  ShardRequests::Fills fills;
  if (stage_ == Stage::kAsking) fills = context_.shards.FillsOf(broadcasts_.front());
  if (stage_ == Stage::kWeighing) {
    rebalancing_.TakeWeights(context_.shards.PartitionsOf(broadcasts_.front()), next_.partitions(), now);
  }
  for (const BroadcastNumber broadcast : std::exchange(broadcasts_, {})) context_.shards.Forget(broadcast);
  switch (std::exchange(stage_, Stage::kIdle)) {
    case Stage::kInstalling:
      context_.view = next_;
      context_.shards.Hold(false);
      for (size_t shard = 0; shard < coming_.size(); ++shard) context_.alive[shard] = context_.alive[shard] || coming_[shard];
      coming_.assign(coming_.size(), false);
      TellJoined(now, outbox);
      return true;
    case Stage::kJoining:
      for (const uint32_t shard : std::exchange(joining_, {})) ready_[shard] = true;
      rebalancing_.Begin();
      if (AssignFills(now)) Install(now, outbox);
      return true;
    case Stage::kAsking:
      TakeAnswers(fills, now, outbox);
      return true;
    default:
      break;
  }
  if (TakeIn(now, outbox) || Rebalance(now, outbox)) return true;
  if (now < ask_again_ || (context_.options.replication == 1 && !has_fills_)) return false;
  AskForFills(now, outbox);
  return true;
}

void ViewChanges::TakeAnswers(const ShardRequests::Fills& fills, absl::Time now, Outbox& outbox) {
  const bool named = NameBackups(fills.filled);
  const bool dropped = DropSilent(fills.silent, now);
  const bool assigned = AssignFills(now);
  if (named || dropped || assigned) Install(now, outbox);
  ask_again_ = now + (has_fills_ ? kAskForFills : context_.options.heartbeat);
}

std::vector<ShardIndex> ViewChanges::Primaries() const {
  std::vector<ShardIndex> primaries = next_.primaries;
  std::sort(primaries.begin(), primaries.end());
  primaries.erase(std::unique(primaries.begin(), primaries.end()), primaries.end());
  return primaries;
}

void ViewChanges::AskForFills(absl::Time now, Outbox& outbox) {
  stage_ = Stage::kAsking;
  broadcasts_ = {context_.shards.StartSome(
      Primaries(), context_.view, 0, [](uint32_t, wire::Envelope::Body::Builder body) { body.setGetFills(); }, now, outbox)};
}

absl::Time ViewChanges::next_timer() const {
  if (stage_ == Stage::kYielding) return yield_deadline_;
  if (stage_ != Stage::kIdle) return absl::InfiniteFuture();
  absl::Time next = context_.options.replication > 1 || has_fills_ ? ask_again_ : absl::InfiniteFuture();
  if (rebalancing_.needed() && !has_fills_) next = std::min(next, move_again_);
  return next;
}

// ------------------------------------------------------------------------------------------------------------- moves

bool ViewChanges::Holds(const std::string& server) const {
  const auto has = [&](const View& view, ShardIndex shard) {
    return shard != kNoShard && shard < view.shards.size() && context_.servers[context_.server_of[shard]] == server;
  };
  const auto holds = [&](const View& view) {
    for (PartitionNumber p = 0; p < view.partitions(); ++p) {
      if (has(view, view.primaries[p]) || has(view, view.backups[p]) || has(view, view.fills[p])) return true;
    }
    return false;
  };
  return holds(context_.view) || holds(next_);
}

bool ViewChanges::AllWantedAreReady() const {
  return std::all_of(context_.wanted.begin(), context_.wanted.end(), [this](const std::string& name) {
    const auto found = std::find(context_.servers.begin(), context_.servers.end(), name);
    if (found == context_.servers.end()) return false;
    const std::vector<uint32_t> shards = ShardsOf(static_cast<uint32_t>(found - context_.servers.begin()));
    return std::all_of(shards.begin(), shards.end(), [this](uint32_t shard) { return IsReady(shard); });
  });
}

// What is being filled already comes first.
bool ViewChanges::Rebalance(absl::Time now, Outbox& outbox) {
  if (!rebalancing_.needed() || now < move_again_ || has_fills_) return false;
  move_again_ = now + kLookAtMoves;
  if (!AllWantedAreReady() || !may_move_() || context_.members.wire_version() < kWireVersionOfMoves) return false;
  if (rebalancing_.next_look() != absl::InfiniteFuture()) {
    move_again_ = rebalancing_.next_look();
    if (now < move_again_) return false;
    Weigh(now, outbox);
    return true;
  }
  move_again_ = absl::InfinitePast();
  Rebalancing::Round round = rebalancing_.Next(PlacementNow());
  for (const PartitionNumber p : round.superfluous) next_.backups[p] = kNoShard;
  for (const Refill& refill : round.refills) next_.fills[refill.partition] = refill.to;
  if (!round.handovers.empty()) {
    AskToYield(std::move(round.handovers), now, outbox);
  } else if (rebalancing_.needed()) {
    Install(now, outbox);
  }
  return rebalancing_.needed();
}

void ViewChanges::Weigh(absl::Time now, Outbox& outbox) {
  stage_ = Stage::kWeighing;
  broadcasts_ = {context_.shards.StartSome(
      Primaries(), context_.view, 0, [](uint32_t, wire::Envelope::Body::Builder body) { body.setGetPartitions(); }, now,
      outbox)};
}

void ViewChanges::AskToYield(std::vector<PartitionNumber> partitions, absl::Time now, Outbox& outbox) {
  yielding_ = std::move(partitions);
  std::map<ShardIndex, std::vector<PartitionNumber>> by_primary;
  for (const PartitionNumber p : yielding_) by_primary[next_.primaries[p]].push_back(p);
  std::vector<ShardIndex> primaries;
  for (const auto& [primary, its] : by_primary) primaries.push_back(primary);
  stage_ = Stage::kYielding;
  yield_deadline_ = now + kTriesToYield * context_.options.resend_after;
  broadcasts_ = {context_.shards.StartSome(
      primaries, context_.view, yielding_.size() * sizeof(PartitionNumber),
      [&](uint32_t shard, wire::Envelope::Body::Builder body) {
        const std::vector<PartitionNumber>& its = by_primary.at(shard);
        auto list = body.initYield().initPartitions(static_cast<uint32_t>(its.size()));
        for (uint32_t i = 0; i < list.size(); ++i) list.set(i, its[i]);
      },
      now, outbox)};
}

// All have yielded, or it took too long; then a view is needed that lets them go on.
bool ViewChanges::AfterYield(absl::Time now, Outbox& outbox) {
  const BroadcastNumber asked = broadcasts_.front();
  const bool finished = context_.shards.Finished(asked);
  if (!finished && now < yield_deadline_) return false;
  if (finished && context_.shards.Result(asked).ok()) {
    HandOver();
  } else {
    move_again_ = now + context_.options.lease;
  }
  Install(now, outbox);
  return true;
}

void ViewChanges::HandOver() {
  for (const PartitionNumber p : yielding_) {
    std::swap(next_.primaries[p], next_.backups[p]);
    next_.changed[p] = context_.numbers.view + 1;
  }
  context_.counters.primaries_moved += yielding_.size();
}

// ----------------------------------------------------------------------------------------------------------- joining

// A server that was added, or a new process of one that was lost.
bool ViewChanges::MayJoin(const std::string& server) const {
  if (context_.members.FindAlive(server) == nullptr) return false;
  const auto found = std::find(context_.servers.begin(), context_.servers.end(), server);
  if (found == context_.servers.end()) return true;
  return !context_.alive[ShardsOf(static_cast<uint32_t>(found - context_.servers.begin())).front()];
}

bool ViewChanges::TakeIn(absl::Time now, Outbox& outbox) {
  std::set<std::string> endpoints;
  for (const std::string& server : context_.wanted) {
    if (!MayJoin(server)) continue;
    const MemberRecord& member = *context_.members.FindAlive(server);
    const std::vector<uint32_t> shards = ShardsOf(PlaceFor(server, member.endpoints.size()));
    for (size_t i = 0; i < shards.size(); ++i) {
      next_.shards[shards[i]] = member.endpoints[i];
      next_.processes[shards[i]] = member.incarnation;
      coming_[shards[i]] = true;
    }
    endpoints.insert(member.endpoints.begin(), member.endpoints.end());
  }
  if (endpoints.empty()) return false;
  // A server may listen where one did that is gone.
  for (uint32_t shard = 0; shard < next_.shards.size(); ++shard) {
    if (!context_.alive[shard] && !coming_[shard] && endpoints.contains(next_.shards[shard])) NameGone(shard);
  }
  Install(now, outbox);
  return true;
}

// Of so many shards: its own of before, a free one, or a new one at the end. Shards keep their indexes, by which others know
// them.
uint32_t ViewChanges::PlaceFor(const std::string& server, size_t shards) {
  for (uint32_t i = 0; i < context_.servers.size(); ++i) {
    if (context_.servers[i] != server) continue;
    if (ShardsOf(i).size() == shards) return i;
    FreePlace(i);
  }
  for (uint32_t i = 0; i < context_.servers.size(); ++i) {
    if (!context_.servers[i].empty() || ShardsOf(i).size() != shards) continue;
    context_.servers[i] = server;
    return i;
  }
  const auto place = static_cast<uint32_t>(context_.servers.size());
  context_.servers.push_back(server);
  context_.server_of.resize(context_.server_of.size() + shards, place);
  next_.shards.resize(context_.server_of.size());
  next_.processes.resize(context_.server_of.size(), 0);
  for (std::vector<bool>* const flags : {&context_.alive, &ready_, &coming_}) flags->resize(context_.server_of.size(), false);
  return place;
}

void ViewChanges::FreePlace(uint32_t server) {
  for (const uint32_t shard : ShardsOf(server)) NameGone(shard);
  context_.servers[server].clear();
  context_.AllowServers();
}

// From now on whatever all shards are asked, those are asked too that came with this view; and what was asked before they are
// told here: what has ended, since they may be processes that only were cut off, and what goes on.
void ViewChanges::TellJoined(absl::Time now, Outbox& outbox) {
  for (uint32_t shard = 0; shard < ready_.size(); ++shard) {
    if (context_.alive[shard] && !ready_[shard]) joining_.push_back(shard);
  }
  if (joining_.empty()) return;
  stage_ = Stage::kJoining;
  const ShardKnowledge knowledge = knowledge_();
  const auto tell = [&](const ShardRequests::Fill& fill) {
    broadcasts_.push_back(context_.shards.StartSome(joining_, context_.view, 0, fill, now, outbox));
  };
  tell([&](uint32_t, wire::Envelope::Body::Builder body) {
    wire::Retain::Builder retain = body.initRetain();
    retain.setTablesBelow(context_.numbers.table + 1);
    auto tables = retain.initTables(static_cast<uint32_t>(knowledge.tables.size()));
    for (uint32_t i = 0; i < tables.size(); ++i) tables.set(i, knowledge.tables[i].number);
    retain.setSessionsBelow(context_.numbers.session + 1);
    auto sessions = retain.initSessions(static_cast<uint32_t>(knowledge.sessions.size()));
    for (uint32_t i = 0; i < sessions.size(); ++i) sessions.set(i, knowledge.sessions[i].number);
  });
  // One by one, since some may be dropped before they are told here.
  for (const TableDefinition& table : knowledge.tables) {
    tell([&](uint32_t, wire::Envelope::Body::Builder body) { table.ToWire(body.initCreateTables().initDefinitions(1)[0]); });
  }
  for (const ShardKnowledge::Session& session : knowledge.sessions) {
    tell([&](uint32_t, wire::Envelope::Body::Builder body) {
      body.initOpenSession().setSession(session.number);
      body.getOpenSession().setTrial(session.trial);
    });
  }
}

}  // namespace marquee
