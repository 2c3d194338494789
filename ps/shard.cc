#include "ps/shard.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <set>
#include <utility>

#include "ps/checkpointing.h"
#include "ps/following.h"
#include "ps/forwarding.h"
#include "ps/ownership.h"
#include "ps/row_request.h"
#include "ps/sessions.h"
#include "ps/table_set.h"

namespace marquee {
namespace {

constexpr size_t kHottest = 8;
constexpr size_t kBytesPerSection = 64;      // of a reply, beside its rows
constexpr size_t kBytesPerDefinition = 256;  // a table's definition on the wire
constexpr size_t kBytesPerTableStatistics = 24;
constexpr size_t kBytesPerPartitionStatistics = 32;

// How much a partition is used, since it came to this shard.
struct PartitionUse {
  uint64_t rows_pulled = 0;
  uint64_t rows_pushed = 0;
};

// What is asked of a shard without a view may be meant for the process before it.
Refusal NoViewYet() { return {ErrorCode::VIEW_AHEAD, "view", "this shard has no view yet; try again"}; }

}  // namespace

class Shard::Impl {
 public:
  Impl(Identity self, ShardOptions options, CheckpointIo* checkpoints)
      : self_(std::move(self)),
        options_(options),
        forwarding_(self_, options.replication, ownership_, sessions_, tables_),
        following_(ownership_, sessions_, tables_, options.max_rows_per_request),
        checkpointing_(self_, ownership_, tables_, checkpoints) {}

  void OnMessage(const Message& message, absl::Time now, Outbox& outbox) {
    now_ = now;
    outbox_ = &outbox;
    OutgoingMessagePtr reply;
    const absl::Status status = Guarded([&] {
      reply = Handle(message);
      return absl::OkStatus();
    });
    if (!status.ok()) reply = Refuse(message, {ErrorCode::MALFORMED, "message", std::string(status.message())});
    if (reply != nullptr) outbox.Send(message.from(), std::move(reply));
    outbox_ = nullptr;
  }
  void OnTimer(absl::Time now, Outbox& outbox) {
    if (now >= forwarding_.next_timer()) forwarding_.OnTimer(now, outbox);
    if (now < checkpointing_.next_timer()) return;
    checkpointing_.OnTimer(now);
    for (const Message& asked : checkpointing_.TakeAsked()) outbox.Send(asked.from(), HandleGetCheckpoint(asked));
    for (const Checkpointing::Restored& restored : checkpointing_.TakeRestored()) {
      outbox.Send(restored.request.from(), OkOr(restored.request, restored.refusal));
    }
  }
  absl::Time next_timer() const { return std::min(forwarding_.next_timer(), checkpointing_.next_timer()); }
  uint64_t checkpoint_bytes() const { return checkpointing_.kept_bytes(); }

  std::vector<Shard::TableStatistics> TableStatistics() const {
    std::vector<Shard::TableStatistics> statistics;
    for (const auto& [number, table] : tables_.all()) {
      statistics.push_back({.definition = table->definition(), .rows = table->rows(), .bytes = table->bytes()});
    }
    return statistics;
  }

  const Counters& counters() const { return counters_; }
  uint64_t view_number() const { return ownership_.view().number; }
  size_t open_sessions() const { return sessions_.open(); }
  std::string DumpState() const;
  PartitionDump DumpPartition(PartitionNumber partition) const;
  const View& view() const { return ownership_.view(); }
  Replication replication() const {
    return {.unanswered_bytes = forwarding_.unanswered_bytes(), .waiting_replies = forwarding_.waiting_replies()};
  }

 private:
  // The reply; nothing if it comes later, or never.
  OutgoingMessagePtr Handle(const Message& message);
  OutgoingMessagePtr HandleForward(const Message& message);
  OutgoingMessagePtr HandleGetFills(const Message& message);
  OutgoingMessagePtr HandleRetain(const Message& message);
  OutgoingMessagePtr HandlePull(const Message& message);
  OutgoingMessagePtr HandlePush(const Message& message);
  OutgoingMessagePtr HandleInstallView(const Message& message);
  OutgoingMessagePtr HandleCreateTables(const Message& message);
  OutgoingMessagePtr HandleDropTables(const Message& message);
  OutgoingMessagePtr HandleDescribeTables(const Message& message);
  OutgoingMessagePtr HandleGetStatistics(const Message& message);
  OutgoingMessagePtr HandleYield(const Message& message);
  OutgoingMessagePtr HandleGetPartitions(const Message& message);
  OutgoingMessagePtr HandleScanTable(const Message& message);
  OutgoingMessagePtr HandleLoadRows(const Message& message);
  OutgoingMessagePtr HandleGetCheckpoint(const Message& message);
  OutgoingMessagePtr HandleRestoreRows(const Message& message);

  OutgoingMessagePtr Reply(const Message& request, size_t expected_bytes = 0) const {
    return NewReply(self_, view_number(), request, expected_bytes);
  }
  OutgoingMessagePtr OkOr(const Message& request, MaybeRefusal refusal);
  OutgoingMessagePtr Refuse(const Message& request, const Refusal& refusal);

  RequestContext ContextOf(const Message& message) const {
    return {.ownership = ownership_,
            .tables = tables_,
            .message_view = message.envelope().getView(),
            .max_rows = options_.max_rows_per_request,
            .max_reply_bytes = options_.max_reply_bytes};
  }
  MaybeRefusal CheckPush(const Message& message, PushRequest* request) const;
  MaybeRefusal CheckYield(const Message& message) const;
  MaybeRefusal CheckProcess(const View& view, ShardIndex index) const;
  MaybeRefusal CheckBudgets(const PushRequest& request, absl::Span<const uint8_t> skip) const;
  void Apply(const PushRequest& request, absl::Span<const uint8_t> skip);
  OutgoingMessagePtr ReplyPushed(const Message& message, uint64_t sequence, bool duplicate);

  Identity self_;
  ShardOptions options_;
  Ownership ownership_;
  Sessions sessions_;
  TableSet tables_;
  std::vector<PartitionUse> use_;  // by partition
  Counters counters_;
  Forwarding forwarding_;
  Following following_;
  Checkpointing checkpointing_;
  // Of the message that is being handled.
  absl::Time now_;
  Outbox* outbox_ = nullptr;
};

OutgoingMessagePtr Shard::Impl::Handle(const Message& message) {
  const auto body = message.envelope().getBody();
  switch (body.which()) {
    case wire::Envelope::Body::PULL:
      return HandlePull(message);
    case wire::Envelope::Body::PUSH:
      return HandlePush(message);
    case wire::Envelope::Body::INSTALL_VIEW:
      return HandleInstallView(message);
    case wire::Envelope::Body::OPEN_SESSION:
      if (view_number() == 0) return Refuse(message, NoViewYet());
      return OkOr(message, sessions_.Open(body.getOpenSession().getSession(), body.getOpenSession().getTrial()));
    case wire::Envelope::Body::CLOSE_SESSION:
      forwarding_.CloseSession(body.getCloseSession().getSession());
      return OkOr(message, sessions_.Close(body.getCloseSession().getSession()));
    case wire::Envelope::Body::CREATE_TABLES:
      if (view_number() == 0) return Refuse(message, NoViewYet());
      return HandleCreateTables(message);
    case wire::Envelope::Body::DROP_TABLES:
      return HandleDropTables(message);
    case wire::Envelope::Body::DESCRIBE_TABLES:
      return HandleDescribeTables(message);
    case wire::Envelope::Body::GET_STATISTICS:
      return HandleGetStatistics(message);
    case wire::Envelope::Body::SCAN_TABLE:
      return HandleScanTable(message);
    case wire::Envelope::Body::LOAD_ROWS:
      return HandleLoadRows(message);
    case wire::Envelope::Body::FORWARD:
      return HandleForward(message);
    case wire::Envelope::Body::GET_FILLS:
      return HandleGetFills(message);
    case wire::Envelope::Body::RETAIN:
      return HandleRetain(message);
    case wire::Envelope::Body::YIELD:
      return HandleYield(message);
    case wire::Envelope::Body::GET_PARTITIONS:
      return HandleGetPartitions(message);
    case wire::Envelope::Body::CUT_CHECKPOINT:
      if (const MaybeRefusal refusal = CheckViewReached(ContextOf(message))) return Refuse(message, *refusal);
      return OkOr(message, checkpointing_.Cut(body.getCutCheckpoint(), message.envelope().getView()));
    case wire::Envelope::Body::GET_CHECKPOINT:
      return HandleGetCheckpoint(message);
    case wire::Envelope::Body::RESTORE_ROWS:
      return HandleRestoreRows(message);
    case wire::Envelope::Body::FORWARDED:
    case wire::Envelope::Body::ERROR:
      forwarding_.OnReply(message, now_, *outbox_);
      return nullptr;
    default:
      return Refuse(message, {ErrorCode::WRONG_TYPE, "body", fmt::format("{} is not for a shard", BodyName(body.which()))});
  }
}

OutgoingMessagePtr Shard::Impl::Refuse(const Message& request, const Refusal& refusal) {
  ++counters_.rejected[std::string(ErrorCodeName(refusal.code))];
  return NewError(self_, view_number(), request, refusal.code, refusal.field, refusal.message);
}

OutgoingMessagePtr Shard::Impl::OkOr(const Message& request, MaybeRefusal refusal) {
  if (refusal) return Refuse(request, *refusal);
  OutgoingMessagePtr reply = Reply(request);
  reply->envelope().getBody().setOk();
  return reply;
}

// ------------------------------------------------------------------------------------------------------------ rows

OutgoingMessagePtr Shard::Impl::HandlePull(const Message& message) {
  PullRequest request;
  if (const MaybeRefusal refusal = request.Check(message.envelope().getBody().getPull(), ContextOf(message))) {
    return Refuse(message, *refusal);
  }
  if (const MaybeRefusal refusal = forwarding_.CheckLeases(request.rows_of_partition, now_)) return Refuse(message, *refusal);
  size_t bytes_in_place = kBytesPerSection * request.sections.size();
  for (const auto& [table, ids] : request.sections) {
    bytes_in_place += OutgoingMessage::BytesInPlace(ids.size() * table->dim() * sizeof(float));
  }
  OutgoingMessagePtr reply = Reply(message, bytes_in_place);
  auto sections = reply->envelope().getBody().initRows().initSections(static_cast<uint32_t>(request.sections.size()));
  for (uint32_t i = 0; i < request.sections.size(); ++i) {
    const auto& [table, ids] = request.sections[i];
    auto section = sections[i];
    section.setTable(table->definition().number);
    section.setDim(table->dim());
    section.setCount(static_cast<uint32_t>(ids.size()));
    section.setType(wire::ElementType::FLOAT32);
    std::byte* const values = reply->PlaceBulk(
        ids.size() * table->dim() * sizeof(float), [&](uint32_t bytes) { return section.initValues(bytes); },
        [&](capnp::Orphan<capnp::Data> orphan) { section.adoptValues(kj::mv(orphan)); });
    table->Gather(ids, reinterpret_cast<float*>(values));
  }
  for (PartitionNumber p = 0; p < use_.size(); ++p) {
    use_[p].rows_pulled += request.rows_of_partition[p];
    counters_.rows_pulled += request.rows_of_partition[p];
  }
  ++counters_.pulls;
  return reply;
}

MaybeRefusal Shard::Impl::CheckPush(const Message& message, PushRequest* request) const {
  const wire::Push::Reader push = message.envelope().getBody().getPush();
  const RequestContext context = ContextOf(message);
  if (push.getSequence() == 0) return Refusal{ErrorCode::MALFORMED, "push.sequence", "0; pushes are numbered from 1"};
  if (MaybeRefusal refusal = CheckViewReached(context)) return refusal;
  return request->Check(push, sessions_.TrialOf(push.getSession()), context);
}

MaybeRefusal Shard::Impl::CheckBudgets(const PushRequest& request, absl::Span<const uint8_t> skip) const {
  std::map<TableNumber, std::vector<absl::Span<const Id>>> lists;
  for (const PushRequest::Section& section : request.sections) {
    if (section.table->definition().memory_budget_bytes != 0) {
      lists[section.table->definition().number].push_back(section.ids);
    }
  }
  for (const auto& [number, ids] : lists) {
    const TableStore& table = *tables_.Find(number);
    if (table.FitsBudget(ids, skip)) continue;
    return Refusal{ErrorCode::MEMORY_FULL, "push.sections",
                   fmt::format("{} uses {} of {} bytes on this shard: no room for the push's new rows", table.definition().name,
                               table.bytes(), table.definition().memory_budget_bytes)};
  }
  return std::nullopt;
}

OutgoingMessagePtr Shard::Impl::HandlePush(const Message& message) {
  PushRequest request;
  if (const MaybeRefusal refusal = CheckPush(message, &request)) return Refuse(message, *refusal);
  if (const MaybeRefusal refusal = forwarding_.CheckLeases(request.rows_of_partition, now_)) return Refuse(message, *refusal);
  if (const MaybeRefusal refusal = forwarding_.CheckRoom(request.rows_of_partition)) return Refuse(message, *refusal);

  const wire::Push::Reader push = message.envelope().getBody().getPush();
  const uint64_t sequence = push.getSequence();
  Sessions::Windows& windows = sessions_.WindowsOf(push.getSession(), request.rows_of_partition.size());
  std::vector<uint8_t> skip(windows.size(), 0);
  std::vector<uint8_t> applied(windows.size(), 0);
  bool any_new = false;
  bool any_applied = false;
  for (PartitionNumber p = 0; p < windows.size(); ++p) {
    if (request.rows_of_partition[p] == 0) continue;
    const PushWindow::State state = windows[p].Look(sequence);
    if (state == PushWindow::State::kOutside) {
      return Refuse(message, {ErrorCode::OUTSIDE_WINDOW, "push.sequence",
                              fmt::format("{}; partition {} is at {}", sequence, p, windows[p].highest())});
    }
    skip[p] = state == PushWindow::State::kApplied ? 1 : 0;
    (state == PushWindow::State::kApplied ? any_applied : any_new) = true;
  }
  if (any_new) {
    const auto skipped = any_applied ? absl::MakeConstSpan(skip) : absl::Span<const uint8_t>();
    if (const MaybeRefusal refusal = CheckBudgets(request, skipped)) return Refuse(message, *refusal);
    Apply(request, skipped);
    for (PartitionNumber p = 0; p < windows.size(); ++p) {
      if (request.rows_of_partition[p] == 0 || skip[p] != 0) continue;
      windows[p].Mark(sequence);
      applied[p] = 1;
      use_[p].rows_pushed += request.rows_of_partition[p];
      counters_.rows_pushed += request.rows_of_partition[p];
    }
  }
  forwarding_.Push(push, applied, request.rows_of_partition, message.from(),
                   ReplyPushed(message, sequence, any_applied && !any_new), now_, *outbox_);
  return nullptr;
}

void Shard::Impl::Apply(const PushRequest& request, absl::Span<const uint8_t> skip) {
  for (const PushRequest::Section& section : request.sections) {
    counters_.rows_created += section.table->Apply(section.ids, section.gradients, section.learning_rate, skip);
  }
}

OutgoingMessagePtr Shard::Impl::ReplyPushed(const Message& message, uint64_t sequence, bool duplicate) {
  ++counters_.pushes;
  if (duplicate) ++counters_.duplicates;
  OutgoingMessagePtr reply = Reply(message);
  wire::Pushed::Builder pushed = reply->envelope().getBody().initPushed();
  pushed.setSequence(sequence);
  pushed.setDuplicate(duplicate);
  return reply;
}

// ---------------------------------------------------------------------------------------------------- whole tables

OutgoingMessagePtr Shard::Impl::HandleScanTable(const Message& message) {
  ScanRequest request;
  if (const MaybeRefusal refusal = request.Check(message.envelope().getBody().getScanTable(), ContextOf(message))) {
    return Refuse(message, *refusal);
  }
  const TableStore& table = *request.table;
  uint64_t rows = 0;
  std::vector<uint8_t> skip(ownership_.view().partitions(), 0);
  for (PartitionNumber p = 0; p < skip.size(); ++p) skip[p] = ownership_.role(p) == CopyRole::kPrimary ? 0 : 1;
  const TableStore::Cursor next = table.Ahead(request.begin, request.end, request.limit, skip, &rows);
  const size_t id_bytes = rows * sizeof(Id);
  const size_t weight_bytes = rows * table.dim() * sizeof(float);
  OutgoingMessagePtr reply =
      Reply(message, kBytesPerSection + OutgoingMessage::BytesInPlace(id_bytes) + OutgoingMessage::BytesInPlace(weight_bytes));
  auto scanned = reply->envelope().getBody().initScannedRows();
  scanned.setTable(table.definition().number);
  scanned.setDim(table.dim());
  scanned.setCount(static_cast<uint32_t>(rows));
  scanned.setType(wire::ElementType::FLOAT32);
  scanned.setPartition(next.partition);
  scanned.setSlot(next.slot);
  std::byte* const ids = reply->PlaceBulk(
      id_bytes, [&](uint32_t bytes) { return scanned.initIds(bytes); },
      [&](capnp::Orphan<capnp::Data> orphan) { scanned.adoptIds(kj::mv(orphan)); });
  std::byte* const weights = reply->PlaceBulk(
      weight_bytes, [&](uint32_t bytes) { return scanned.initWeights(bytes); },
      [&](capnp::Orphan<capnp::Data> orphan) { scanned.adoptWeights(kj::mv(orphan)); });
  table.Copy(request.begin, next, skip, reinterpret_cast<Id*>(ids), reinterpret_cast<float*>(weights));
  return reply;
}

OutgoingMessagePtr Shard::Impl::HandleLoadRows(const Message& message) {
  LoadRequest request;
  if (const MaybeRefusal refusal = request.Check(message.envelope().getBody().getLoadRows(), ContextOf(message))) {
    return Refuse(message, *refusal);
  }
  if (const MaybeRefusal refusal = forwarding_.CheckLeases(request.rows_of_partition, now_)) return Refuse(message, *refusal);
  const absl::Span<const Id> lists[] = {request.ids};
  if (!request.table->FitsBudget(lists, {})) {
    return Refuse(message, {ErrorCode::MEMORY_FULL, "loadRows.ids",
                            fmt::format("{} uses {} of {} bytes on this shard: no room for the new rows",
                                        request.table->definition().name, request.table->bytes(),
                                        request.table->definition().memory_budget_bytes)});
  }
  counters_.rows_created += request.table->Load(request.ids, request.weights);
  forwarding_.Load(message.envelope().getBody().getLoadRows(), request.rows_of_partition, message.from(),
                   OkOr(message, std::nullopt), now_, *outbox_);
  return nullptr;
}

// ------------------------------------------------------------------------------------------------------ checkpoints

OutgoingMessagePtr Shard::Impl::HandleGetCheckpoint(const Message& message) {
  const uint64_t number = message.envelope().getBody().getGetCheckpoint();
  RowFileSummary summary;
  if (const MaybeRefusal refusal = checkpointing_.Ask(number, &summary)) {
    if (refusal->code != ErrorCode::NOT_YET) return Refuse(message, *refusal);
    checkpointing_.KeepAsked(message);
    return nullptr;
  }
  OutgoingMessagePtr reply = Reply(message);
  auto file = reply->envelope().getBody().initCheckpointFile();
  file.setNumber(number);
  file.setName(summary.name.c_str());
  file.setBytes(summary.bytes);
  file.setChecksum(summary.checksum);
  file.setRows(summary.rows);
  file.setFull(summary.full);
  return reply;
}

OutgoingMessagePtr Shard::Impl::HandleRestoreRows(const Message& message) {
  if (const MaybeRefusal refusal = CheckViewReached(ContextOf(message))) return Refuse(message, *refusal);
  bool answered = false;
  if (const MaybeRefusal refusal = checkpointing_.Restore(message, &answered)) return Refuse(message, *refusal);
  return answered ? OkOr(message, std::nullopt) : nullptr;
}

// ------------------------------------------------------------------------------------------------------ replication

OutgoingMessagePtr Shard::Impl::HandleForward(const Message& message) {
  uint64_t next = 0;
  if (const MaybeRefusal refusal = following_.Take(message, now_, &next)) return Refuse(message, *refusal);
  ++counters_.forwards_taken;
  OutgoingMessagePtr reply = Reply(message);
  reply->envelope().getBody().initForwarded().setNext(next);
  return reply;
}

OutgoingMessagePtr Shard::Impl::HandleGetFills(const Message& message) {
  const std::vector<PartitionNumber> filled = forwarding_.Filled();
  const std::vector<ShardIndex> silent = forwarding_.Silent(now_);
  OutgoingMessagePtr reply = Reply(message, (filled.size() + silent.size()) * sizeof(PartitionNumber));
  auto fills = reply->envelope().getBody().initFills();
  fills.setView(view_number());
  auto list = fills.initFilled(static_cast<uint32_t>(filled.size()));
  for (uint32_t i = 0; i < filled.size(); ++i) list.set(i, filled[i]);
  auto silent_list = fills.initSilent(static_cast<uint32_t>(silent.size()));
  for (uint32_t i = 0; i < silent.size(); ++i) silent_list.set(i, silent[i]);
  return reply;
}

MaybeRefusal Shard::Impl::CheckYield(const Message& message) const {
  const uint64_t view = message.envelope().getView();
  if (const MaybeRefusal refusal = CheckViewReached(ContextOf(message))) return refusal;
  if (view != view_number()) {
    return Refusal{ErrorCode::STALE_VIEW, "view", fmt::format("{}; this shard has {}", view, view_number())};
  }
  for (const PartitionNumber p : message.envelope().getBody().getYield().getPartitions()) {
    if (p < use_.size() && ownership_.role(p) == CopyRole::kPrimary && ownership_.view().backups[p] != kNoShard) continue;
    return Refusal{ErrorCode::CONFLICT, "yield.partitions",
                   fmt::format("{}; this shard is not its primary, or nobody has a copy to go on with", p)};
  }
  return std::nullopt;
}

OutgoingMessagePtr Shard::Impl::HandleYield(const Message& message) {
  if (const MaybeRefusal refusal = CheckYield(message)) return Refuse(message, *refusal);
  std::vector<PartitionNumber> partitions;
  std::vector<uint32_t> yielded(use_.size(), 0);
  for (const PartitionNumber p : message.envelope().getBody().getYield().getPartitions()) {
    partitions.push_back(p);
    yielded[p] = 1;
  }
  ownership_.Yield(partitions);
  forwarding_.Yield(yielded, message.from(), OkOr(message, std::nullopt), *outbox_);
  return nullptr;
}

// ------------------------------------------------------------------------------------------- views, tables, statistics

// The view may be for the process before this one, which listened here and had what the view says: its end is not known yet.
MaybeRefusal Shard::Impl::CheckProcess(const View& view, ShardIndex index) const {
  if (index >= view.processes.size() || view.processes[index] == 0) return std::nullopt;
  if (view.processes[index] == self_.incarnation) return std::nullopt;
  return Refusal{ErrorCode::NOT_YET, "installView.processes",
                 fmt::format("{:x} at {}; this process is {:x}", view.processes[index], index, self_.incarnation)};
}

OutgoingMessagePtr Shard::Impl::HandleInstallView(const Message& message) {
  const wire::View::Reader reader = message.envelope().getBody().getInstallView();
  absl::StatusOr<View> view = View::FromWire(reader);
  if (!view.ok()) return Refuse(message, {ErrorCode::MALFORMED, "installView", std::string(view.status().message())});
  if (const MaybeRefusal refusal = CheckProcess(*view, reader.getYou())) return Refuse(message, *refusal);
  const View before = ownership_.view();
  std::vector<CopyRole> roles;
  for (PartitionNumber p = 0; p < before.partitions(); ++p) roles.push_back(ownership_.role(p));
  const bool first = view_number() == 0;
  std::vector<PartitionNumber> lost;
  if (const MaybeRefusal refusal = ownership_.Install(*std::move(view), reader.getYou(), &lost))
    return Refuse(message, *refusal);
  if (first) {
    tables_.SetPartitionBits(ownership_.view().partition_bits());
    use_.resize(ownership_.view().partitions());
  }
  for (const PartitionNumber partition : lost) {
    tables_.ClearPartition(partition);
    sessions_.ClearPartition(partition);
    use_[partition] = PartitionUse();
    following_.ClearPartition(partition);
  }
  if (view_number() == before.number) return OkOr(message, std::nullopt);
  const std::vector<uint64_t>& fresh = ownership_.view().fresh;
  if (before.number != 0 && std::all_of(fresh.begin(), fresh.end(), [&](uint64_t number) { return number > before.number; })) {
    sessions_.CloseAll();  // what they have pushed is gone: trials go on in new ones
  }
  for (PartitionNumber p = 0; p < roles.size(); ++p) {
    if (ownership_.role(p) != CopyRole::kPrimary || roles[p] == CopyRole::kNone) continue;
    const bool was_primary = roles[p] == CopyRole::kPrimary;
    if (was_primary && ownership_.view().changed[p] <= before.number) continue;
    checkpointing_.BecamePrimary(p);
    if (Ownership::HandedOver(before, ownership_.view(), p)) continue;
    // Whoever was primary until now: in a view that this shard did not hear of, the one that it had yielded the partition to.
    const ShardIndex old = was_primary ? before.backups[p] : before.primaries[p];
    const absl::Duration lease = options_.replication.lease * (1 + options_.replication.clock_drift);
    forwarding_.ServeFrom(p, following_.LastAnswer(old) + lease);
  }
  checkpointing_.OnView(lost);
  following_.OnView();
  forwarding_.OnView(before, now_, *outbox_);
  return OkOr(message, std::nullopt);
}

OutgoingMessagePtr Shard::Impl::HandleCreateTables(const Message& message) {
  std::vector<TableDefinition> definitions;
  for (const auto reader : message.envelope().getBody().getCreateTables().getDefinitions()) {
    absl::StatusOr<TableDefinition> definition = TableDefinition::FromWire(reader);
    if (!definition.ok()) {
      return Refuse(message, {ErrorCode::MALFORMED, "createTables.definitions", std::string(definition.status().message())});
    }
    definitions.push_back(*std::move(definition));
  }
  return OkOr(message, tables_.Create(definitions));
}

OutgoingMessagePtr Shard::Impl::HandleDropTables(const Message& message) {
  std::vector<TableNumber> numbers;
  for (const TableNumber number : message.envelope().getBody().getDropTables().getTables()) numbers.push_back(number);
  tables_.Drop(numbers);
  return OkOr(message, std::nullopt);
}

OutgoingMessagePtr Shard::Impl::HandleRetain(const Message& message) {
  const uint64_t view = message.envelope().getView();
  if (MaybeRefusal refusal = CheckViewReached(ContextOf(message))) return Refuse(message, *refusal);
  if (view != view_number()) {
    return Refuse(message, {ErrorCode::STALE_VIEW, "view", fmt::format("{}; this shard has {}", view, view_number())});
  }
  const wire::Retain::Reader retain = message.envelope().getBody().getRetain();
  std::set<uint64_t> tables;
  std::set<uint64_t> sessions;
  for (const TableNumber number : retain.getTables()) tables.insert(number);
  for (const uint64_t number : retain.getSessions()) sessions.insert(number);
  tables_.Retain(retain.getTablesBelow(), tables);
  sessions_.Retain(retain.getSessionsBelow(), sessions);
  return OkOr(message, std::nullopt);
}

OutgoingMessagePtr Shard::Impl::HandleDescribeTables(const Message& message) {
  OutgoingMessagePtr reply = Reply(message, kBytesPerDefinition * tables_.all().size());
  auto definitions = reply->envelope().getBody().initTables().initDefinitions(static_cast<uint32_t>(tables_.all().size()));
  uint32_t i = 0;
  for (const auto& [number, table] : tables_.all()) table->definition().ToWire(definitions[i++]);
  return reply;
}

OutgoingMessagePtr Shard::Impl::HandleGetStatistics(const Message& message) {
  OutgoingMessagePtr reply = Reply(message, kBytesPerTableStatistics * (tables_.all().size() + kHottest));
  wire::Statistics::Builder statistics = reply->envelope().getBody().initStatistics();
  auto tables = statistics.initTables(static_cast<uint32_t>(tables_.all().size()));
  uint32_t i = 0;
  for (const auto& [number, table] : tables_.all()) {
    auto to = tables[i++];
    to.setTable(number);
    to.setRows(table->rows());
    to.setBytes(table->bytes());
  }

  const auto rows = [&](PartitionNumber p) { return use_[p].rows_pulled + use_[p].rows_pushed; };
  std::vector<PartitionNumber> used;
  for (PartitionNumber p = 0; p < use_.size(); ++p) {
    if (rows(p) > 0) used.push_back(p);
  }
  std::stable_sort(used.begin(), used.end(), [&](PartitionNumber a, PartitionNumber b) { return rows(a) > rows(b); });
  used.resize(std::min(used.size(), kHottest));
  auto hottest = statistics.initHottest(static_cast<uint32_t>(used.size()));
  for (uint32_t h = 0; h < used.size(); ++h) {
    hottest[h].setPartition(used[h]);
    hottest[h].setRowsPulled(use_[used[h]].rows_pulled);
    hottest[h].setRowsPushed(use_[used[h]].rows_pushed);
  }
  return reply;
}

OutgoingMessagePtr Shard::Impl::HandleGetPartitions(const Message& message) {
  std::vector<PartitionNumber> own;
  for (PartitionNumber p = 0; p < use_.size(); ++p) {
    if (ownership_.role(p) == CopyRole::kPrimary) own.push_back(p);
  }
  OutgoingMessagePtr reply = Reply(message, kBytesPerPartitionStatistics * own.size());
  auto list = reply->envelope().getBody().initPartitions().initPartitions(static_cast<uint32_t>(own.size()));
  for (uint32_t i = 0; i < own.size(); ++i) {
    uint64_t bytes = 0;
    for (const auto& [number, table] : tables_.all()) bytes += table->bytes_in(own[i]);
    list[i].setPartition(own[i]);
    list[i].setRowsPulled(use_[own[i]].rows_pulled);
    list[i].setRowsPushed(use_[own[i]].rows_pushed);
    list[i].setBytes(bytes);
  }
  return reply;
}

Shard::PartitionDump Shard::Impl::DumpPartition(PartitionNumber partition) const {
  PartitionDump dump;
  for (const auto& [number, table] : tables_.all()) {
    const uint64_t rows = table->rows_in(partition);
    const size_t width = table->dim() + table->state_width();
    std::vector<Id> ids(rows);
    std::vector<float> values(rows * width);
    table->CopyRows(partition, 0, rows, ids.data(), values.data());
    std::map<Id, absl::Span<const float>> sorted;
    for (uint64_t i = 0; i < rows; ++i) sorted[ids[i]] = absl::MakeConstSpan(values).subspan(i * width, width);
    std::string& text = dump.tables[number];
    for (const auto& [id, row] : sorted) text += fmt::format("{:x}: {:a}\n", id, fmt::join(row, " "));
  }
  for (const auto& [number, session] : sessions_.sessions()) {
    const PushWindow window = partition < session.windows.size() ? session.windows[partition] : PushWindow();
    dump.sessions[number] = fmt::format("{} {:x}", window.highest(), window.applied());
  }
  return dump;
}

std::string Shard::Impl::DumpState() const {
  const View& view = ownership_.view();
  std::string text = fmt::format("view {} of {:x}: {} changed {} backups {} fills {}\n", view.number, view.cluster_id,
                                 fmt::join(view.primaries, " "), fmt::join(view.changed, " "), fmt::join(view.backups, " "),
                                 fmt::join(view.fills, " "));
  for (const auto& [number, session] : sessions_.sessions()) {
    text += fmt::format("session {} trial {}\n", number, session.trial);
    for (PartitionNumber p = 0; p < session.windows.size(); ++p) {
      const PushWindow& window = session.windows[p];
      if (window.highest() != 0) text += fmt::format("  partition {}: {} {:x}\n", p, window.highest(), window.applied());
    }
  }
  for (const auto& [number, table] : tables_.all()) {
    text += fmt::format("table {} {} dim {}\n", number, table->definition().name, table->dim());
    std::map<Id, std::string> rows;  // by id, since the order of insertion says nothing
    table->ForEachRow([&](const TableStore::RowView& row) {
      rows[row.id] = fmt::format("{:a} | {:a}", fmt::join(row.weights, " "), fmt::join(row.state, " "));
    });
    for (const auto& [id, row] : rows) text += fmt::format("  {}: {}\n", id, row);
  }
  return text;
}

Shard::Shard(Identity self, ShardOptions options, CheckpointIo* checkpoints)
    : impl_(std::make_unique<Impl>(std::move(self), options, checkpoints)) {}
Shard::~Shard() = default;

void Shard::OnMessage(const Message& message, absl::Time now, Outbox& outbox) { impl_->OnMessage(message, now, outbox); }
void Shard::OnTimer(absl::Time now, Outbox& outbox) { impl_->OnTimer(now, outbox); }
absl::Time Shard::next_timer() const { return impl_->next_timer(); }

std::vector<Shard::TableStatistics> Shard::Tables() const { return impl_->TableStatistics(); }
const Shard::Counters& Shard::counters() const { return impl_->counters(); }
uint64_t Shard::view_number() const { return impl_->view_number(); }
size_t Shard::open_sessions() const { return impl_->open_sessions(); }
const View& Shard::view() const { return impl_->view(); }
Shard::Replication Shard::replication() const { return impl_->replication(); }
uint64_t Shard::checkpoint_bytes() const { return impl_->checkpoint_bytes(); }
Shard::PartitionDump Shard::DumpPartition(PartitionNumber partition) const { return impl_->DumpPartition(partition); }
std::string Shard::DumpState() const { return impl_->DumpState(); }

}  // namespace marquee
