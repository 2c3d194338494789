#include "scheduler/view_changes.h"

#include <algorithm>
#include <utility>

namespace marquee {
namespace {

constexpr absl::Duration kAskForFills = absl::Milliseconds(100);
constexpr int kLeasesShunned = 3;

}  // namespace

void ViewChanges::Begin() {
  next_ = context_.view;
  ready_.assign(next_.shards.size(), true);
  coming_.assign(next_.shards.size(), false);
  joining_.clear();
  broadcasts_.clear();
  stage_ = context_.options.replication > 1 ? Stage::kIdle : Stage::kOff;
}

void ViewChanges::End() {
  stage_ = Stage::kOff;
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
  const auto found = std::find(context_.options.servers.begin(), context_.options.servers.end(), name);
  const auto server = static_cast<uint32_t>(found - context_.options.servers.begin());
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
  AssignFills(now);
  Install(now, outbox);
  return true;
}

// ------------------------------------------------------------------------------------------------------------- views

bool ViewChanges::AssignFills(absl::Time now) {
  std::erase_if(shunned_, [&](const auto& shunned) { return now >= shunned.second; });
  bool any = false;
  for (PartitionNumber p = 0; p < next_.partitions(); ++p) {
    if (next_.backups[p] != kNoShard || next_.fills[p] != kNoShard) continue;
    std::vector<bool> able(next_.shards.size());
    for (ShardIndex shard = 0; shard < able.size(); ++shard) {
      able[shard] = IsReady(shard) && !shunned_.contains({next_.primaries[p], shard});
    }
    next_.fills[p] = NextServersShard(next_.primaries[p], context_.server_of, able);
    any |= next_.fills[p] != kNoShard;
  }
  return any;
}

// A primary that its copy does not answer serves nothing, though both are alive for this scheduler: it goes on without that
// copy, and another shard is filled, or the same one later.
bool ViewChanges::DropSilent(const std::vector<std::pair<uint32_t, uint32_t>>& silent, absl::Time now) {
  bool any = false;
  for (const auto& [primary, copy] : silent) {
    for (PartitionNumber p = 0; p < next_.partitions(); ++p) {
      if (next_.primaries[p] != primary || (next_.backups[p] != copy && next_.fills[p] != copy)) continue;
      next_.backups[p] = kNoShard;
      next_.fills[p] = kNoShard;
      shunned_[{primary, copy}] = now + kLeasesShunned * context_.options.lease;
      any = true;
    }
  }
  return any;
}

bool ViewChanges::NameBackups(const std::vector<PartitionNumber>& filled) {
  bool any = false;
  for (const PartitionNumber p : filled) {
    if (p >= next_.partitions() || next_.fills[p] == kNoShard) continue;
    next_.backups[p] = std::exchange(next_.fills[p], kNoShard);
    any = true;
  }
  return any;
}

void ViewChanges::Install(absl::Time now, Outbox& outbox) {
  for (const BroadcastNumber broadcast : std::exchange(broadcasts_, {})) context_.shards.Forget(broadcast);
  joining_.clear();
  next_.number = ++context_.numbers.view;
  if (!context_.SaveNumbers()) return;
  if (!context_.Keep(next_.Validate()) || !context_.Keep(context_.store.SaveView(next_))) return;
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
  if (stage_ != Stage::kIdle) {
    for (const BroadcastNumber broadcast : broadcasts_) {
      if (!context_.shards.Finished(broadcast)) return false;
      if (!context_.Keep(context_.shards.Result(broadcast))) return false;
    }
  }
  ShardRequests::Fills fills;
  if (stage_ == Stage::kAsking) fills = context_.shards.FillsOf(broadcasts_.front());
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
      if (AssignFills(now)) Install(now, outbox);
      return true;
    case Stage::kAsking:
      TakeAnswers(fills, now, outbox);
      return true;
    default:
      break;
  }
  if (TakeIn(now, outbox)) return true;
  if (now < ask_again_) return false;
  AskForFills(now, outbox);
  return true;
}

void ViewChanges::TakeAnswers(const ShardRequests::Fills& fills, absl::Time now, Outbox& outbox) {
  const bool named = NameBackups(fills.filled);
  const bool dropped = DropSilent(fills.silent, now);
  const bool assigned = AssignFills(now);
  ask_again_ = now + (HasFills() ? kAskForFills : context_.options.heartbeat);
  if (named || dropped || assigned) Install(now, outbox);
}

bool ViewChanges::HasFills() const {
  return std::any_of(next_.fills.begin(), next_.fills.end(), [](ShardIndex shard) { return shard != kNoShard; });
}

void ViewChanges::AskForFills(absl::Time now, Outbox& outbox) {
  std::vector<uint32_t> primaries = next_.primaries;
  std::sort(primaries.begin(), primaries.end());
  primaries.erase(std::unique(primaries.begin(), primaries.end()), primaries.end());
  stage_ = Stage::kAsking;
  broadcasts_ = {context_.shards.StartSome(
      primaries, context_.view, 0, [](uint32_t, wire::Envelope::Body::Builder body) { body.setGetFills(); }, now, outbox)};
}

absl::Time ViewChanges::next_timer() const { return stage_ == Stage::kIdle ? ask_again_ : absl::InfiniteFuture(); }

// ----------------------------------------------------------------------------------------------------------- joining

// A new process of a server that was lost, with as many shards as before.
bool ViewChanges::MayJoin(uint32_t server) const {
  const MemberRecord* const member = context_.members.FindAlive(context_.options.servers[server]);
  const std::vector<uint32_t> shards = ShardsOf(server);
  return member != nullptr && !shards.empty() && !context_.alive[shards.front()] && member->endpoints.size() == shards.size();
}

bool ViewChanges::TakeIn(absl::Time now, Outbox& outbox) {
  bool any = false;
  for (uint32_t server = 0; server < context_.options.servers.size(); ++server) {
    if (!MayJoin(server)) continue;
    const MemberRecord& member = *context_.members.FindAlive(context_.options.servers[server]);
    const std::vector<uint32_t> shards = ShardsOf(server);
    for (size_t i = 0; i < shards.size(); ++i) {
      next_.shards[shards[i]] = member.endpoints[i];
      next_.processes[shards[i]] = member.incarnation;
      coming_[shards[i]] = true;
    }
    any = true;
  }
  if (any) Install(now, outbox);
  return any;
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
