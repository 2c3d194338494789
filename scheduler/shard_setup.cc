#include "scheduler/shard_setup.h"

#include <algorithm>
#include <utility>

namespace marquee {

void ShardSetup::StartOver(const std::set<uint64_t>& open_sessions) {
  to_close_.insert(open_sessions.begin(), open_sessions.end());
  stage_ = Stage::kWaiting;
  broadcast_ = 0;
}

void ShardSetup::Advance(absl::Time now, Outbox& outbox) {
  while (context_.status.ok() && Step(now, outbox)) {
  }
}

BroadcastNumber ShardSetup::Ask(const ShardRequests::Fill& fill, absl::Time now, Outbox& outbox) {
  return context_.shards.Start(next_view_.shards, next_view_.number, fill, now, outbox);
}

bool ShardSetup::Step(absl::Time now, Outbox& outbox) {
  if (stage_ == Stage::kReady) return false;
  if (stage_ == Stage::kWaiting) return context_.members.AllAlive(context_.wanted) && InstallView(now, outbox);
  if (!context_.shards.Finished(broadcast_)) return false;
  if (!context_.Keep(context_.shards.Result(broadcast_))) return false;
  const BroadcastNumber finished = broadcast_;
  switch (stage_) {
    case Stage::kInstalling:
      context_.view = next_view_;
      CloseNextSession(now, outbox);
      break;
    case Stage::kClosing:
      ++context_.counters.sessions_closed;
      to_close_.erase(to_close_.begin());
      CloseNextSession(now, outbox);
      break;
    case Stage::kDescribing:
      DropTables(now, outbox);
      break;
    default:
      stage_ = Stage::kReady;
      break;
  }
  context_.shards.Forget(finished);
  return true;
}

bool ShardSetup::InstallView(absl::Time now, Outbox& outbox) {
  ++context_.numbers.view;
  if (!context_.SaveNumbers()) return false;
  context_.servers = context_.wanted;
  context_.AllowServers();
  context_.server_of = context_.members.ShardServers(context_.servers);
  context_.alive.assign(context_.server_of.size(), true);
  next_view_ =
      MakeEvenView(context_.numbers.view, context_.numbers.cluster_id, context_.members.ShardEndpoints(context_.servers),
                   context_.options.partitions, context_.members.ShardProcesses(context_.servers), context_.server_of,
                   context_.options.replication);
  if (!context_.Keep(next_view_.Validate()) || !context_.Keep(context_.store.SaveView(next_view_))) return false;
  if (!context_.NoteView(next_view_)) return false;
  stage_ = Stage::kInstalling;
  // No view in the header: the shard is not expected to know it yet.
  broadcast_ = context_.shards.Start(
      next_view_.shards, 0,
      [this](uint32_t shard, wire::Envelope::Body::Builder body) {
        wire::View::Builder view = body.initInstallView();
        next_view_.ToWire(view);
        view.setYou(shard);
      },
      now, outbox);
  return true;
}

void ShardSetup::CloseNextSession(absl::Time now, Outbox& outbox) {
  if (to_close_.empty()) return Describe(now, outbox);
  stage_ = Stage::kClosing;
  broadcast_ =
      Ask([this](uint32_t, wire::Envelope::Body::Builder body) { body.initCloseSession().setSession(*to_close_.begin()); }, now,
          outbox);
}

void ShardSetup::Describe(absl::Time now, Outbox& outbox) {
  stage_ = Stage::kDescribing;
  broadcast_ = Ask([](uint32_t, wire::Envelope::Body::Builder body) { body.setDescribeTables(); }, now, outbox);
}

void ShardSetup::DropTables(absl::Time now, Outbox& outbox) {
  const std::vector<std::vector<TableNumber>> tables = context_.shards.Tables(broadcast_);
  // Table numbers are never used twice, also not those that a state which was lost has given out.
  TableNumber highest = context_.numbers.table;
  for (const auto& numbers : tables) {
    for (const TableNumber number : numbers) highest = std::max(highest, number);
  }
  if (highest != context_.numbers.table) {
    context_.numbers.table = highest;
    if (!context_.SaveNumbers()) return;
  }
  stage_ = Stage::kDropping;
  broadcast_ = Ask(
      [&tables](uint32_t shard, wire::Envelope::Body::Builder body) {
        const auto& numbers = tables[shard];
        auto list = body.initDropTables().initTables(static_cast<uint32_t>(numbers.size()));
        for (uint32_t i = 0; i < numbers.size(); ++i) list.set(i, numbers[i]);
      },
      now, outbox);
}

}  // namespace marquee
