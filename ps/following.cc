#include "ps/following.h"

#include <fmt/format.h>

#include <algorithm>

#include "ps/row_request.h"

namespace marquee {
namespace {

constexpr size_t kMaxAheadBytes = 16U << 20U;  // of one stream

}  // namespace

absl::Time Following::LastAnswer(ShardIndex primary) const {
  const auto stream = streams_.find(primary);
  return stream == streams_.end() ? absl::InfinitePast() : stream->second.answered;
}

MaybeRefusal Following::Take(const Message& message, absl::Time now, uint64_t* next) {
  const wire::Envelope::Reader envelope = message.envelope();
  const wire::Forward::Reader forward = envelope.getBody().getForward();
  const uint64_t here = ownership_.view().number;
  if (here == 0 || envelope.getView() > here) {
    return Refusal{ErrorCode::VIEW_AHEAD, "view", fmt::format("{}; this shard has {}; try again", envelope.getView(), here)};
  }
  if (envelope.getView() < here) {
    // A primary that was deposed must not be answered: what it has done since may not be what its successor has done.
    return Refusal{ErrorCode::STALE_VIEW, "view", fmt::format("{}; this shard has {}", envelope.getView(), here)};
  }
  if (forward.getShard() >= ownership_.view().shards.size() || forward.getShard() == ownership_.self()) {
    return Refusal{ErrorCode::MALFORMED, "forward.shard", fmt::format("{} is no other shard", forward.getShard())};
  }
  if (forward.getNumber() == 0) return Refusal{ErrorCode::MALFORMED, "forward.number", "0; entries are numbered from 1"};
  if (ownership_.view().processes[forward.getShard()] != envelope.getIncarnation()) {
    return Refusal{ErrorCode::STALE_VIEW, "incarnation", "another process has the sender's place in this view"};
  }
  Stream& stream = streams_[forward.getShard()];
  if (stream.incarnation != envelope.getIncarnation() || stream.began < forward.getStream()) {
    const absl::Time answered = stream.answered;
    stream = Stream();
    stream.incarnation = envelope.getIncarnation();
    stream.began = forward.getStream();
    stream.answered = answered;
  }
  if (!forward.isNothing()) {
    if (forward.getNumber() > stream.next) KeepAhead(stream, forward.getNumber(), message);
    if (forward.getNumber() == stream.next) {
      if (MaybeRefusal refusal = TakeInOrder(stream, forward)) return refusal;
    }
  }
  stream.answered = now;
  *next = stream.next;
  return std::nullopt;
}

void Following::OnView() {
  for (auto& [primary, stream] : streams_) {
    stream.ahead.clear();
    stream.ahead_bytes = 0;
  }
}

void Following::KeepAhead(Stream& stream, uint64_t number, const Message& message) {
  if (stream.ahead_bytes + message.bytes() > kMaxAheadBytes) return;  // it will come again
  if (stream.ahead.try_emplace(number, message.Share()).second) stream.ahead_bytes += message.bytes();
}

// A refusal is of the first entry; one that came ahead and is refused is asked for again.
MaybeRefusal Following::TakeInOrder(Stream& stream, wire::Forward::Reader forward) {
  if (MaybeRefusal refusal = Apply(forward)) return refusal;
  ++stream.next;
  while (!stream.ahead.empty() && stream.ahead.begin()->first <= stream.next) {
    const uint64_t number = stream.ahead.begin()->first;
    const Message message = std::move(stream.ahead.extract(stream.ahead.begin()).mapped());
    stream.ahead_bytes -= message.bytes();
    if (number < stream.next) continue;
    if (!ApplyAhead(message)) break;
    ++stream.next;
  }
  return std::nullopt;
}

// One that cannot be read must not be taken for the entry that is answered, which is applied.
bool Following::ApplyAhead(const Message& message) {
  try {
    return !Apply(message.envelope().getBody().getForward()).has_value();
  } catch (const kj::Exception&) {
    return false;
  }
}

MaybeRefusal Following::Apply(wire::Forward::Reader forward) {
  sender_ = forward.getShard();
  made_ = forward.getMade();
  switch (forward.which()) {
    case wire::Forward::PUSH:
      return ApplyPush(forward.getPush());
    case wire::Forward::LOAD:
      return ApplyLoad(forward.getLoad());
    case wire::Forward::ROWS:
      return ApplyRows(forward.getRows());
    case wire::Forward::WINDOWS:
      return ApplyWindows(forward.getWindows());
    case wire::Forward::NOTHING:
      break;
  }
  return std::nullopt;
}

// A stream goes on while its sender has any partition with a copy here. What is left in it from before a partition had another
// primary is in that one's rows already, or was never acknowledged.
bool Following::Concerns(PartitionNumber partition) const {
  const View& view = ownership_.view();
  if (partition >= view.partitions() || view.primaries[partition] != sender_) return false;
  if (made_ != 0 && made_ < view.changed[partition]) return false;  // 0: an older program's, in whose cluster nothing is moved
  const CopyRole role = ownership_.role(partition);
  return role == CopyRole::kBackup || role == CopyRole::kFilling;
}

std::vector<uint8_t> Following::RulesFor(absl::Span<const uint8_t> wanted) const {
  std::vector<uint8_t> rules(wanted.size(), TableStore::kSkip);
  for (PartitionNumber p = 0; p < wanted.size(); ++p) {
    if (wanted[p] == 0 || !Concerns(p)) continue;
    const bool whole = ownership_.role(p) == CopyRole::kBackup || IsWhole(p);
    // Rows that a copy in the making lacks come later, with this push in them.
    rules[p] = whole ? TableStore::kApply : TableStore::kOnlyRows;
  }
  return rules;
}

MaybeRefusal Following::ApplyPush(wire::ForwardedPush::Reader forwarded) {
  const wire::Push::Reader push = forwarded.getPush();
  if (!sessions_.IsKnown(push.getSession())) {
    return Refusal{ErrorCode::NOT_YET, "forward.push.session", fmt::format("{} is not open here yet", push.getSession())};
  }
  std::vector<uint8_t> wanted(ownership_.view().partitions(), 0);
  for (const uint32_t partition : forwarded.getPartitions()) {
    if (partition >= wanted.size()) {
      return Refusal{ErrorCode::MALFORMED, "forward.push.partitions", fmt::format("{} of {}", partition, wanted.size())};
    }
    wanted[partition] = 1;
  }
  PushRequest request;
  if (MaybeRefusal refusal = request.CheckForwarded(push, ownership_, tables_, max_rows_)) return refusal;
  const std::vector<uint8_t> rules = RulesFor(wanted);
  for (const PushRequest::Section& section : request.sections) {
    section.table->Apply(section.ids, section.gradients, section.learning_rate, rules);
  }
  if (sessions_.TrialOf(push.getSession()) == nullptr) return std::nullopt;  // closed here already: nobody asks again
  Sessions::Windows& windows = sessions_.WindowsOf(push.getSession(), wanted.size());
  for (PartitionNumber p = 0; p < wanted.size(); ++p) {
    if (rules[p] != TableStore::kSkip && windows[p].Look(push.getSequence()) == PushWindow::State::kNew) {
      windows[p].Mark(push.getSequence());
    }
  }
  return std::nullopt;
}

MaybeRefusal Following::ApplyLoad(wire::LoadRows::Reader load) {
  LoadRequest request;
  if (MaybeRefusal refusal = request.CheckForwarded(load, ownership_, tables_, max_rows_)) return refusal;
  if (request.table == nullptr) return std::nullopt;  // dropped
  std::vector<Id> ids;
  std::vector<float> weights;
  const uint32_t bits = ownership_.view().partition_bits();
  for (size_t i = 0; i < request.ids.size(); ++i) {
    const PartitionNumber p = PartitionOf(request.ids[i], bits);
    // A copy in the making is given these rows with the others of the partition.
    if (!Concerns(p) || (ownership_.role(p) == CopyRole::kFilling && !IsWhole(p))) continue;
    ids.push_back(request.ids[i]);
    weights.insert(weights.end(), request.weights + i * request.table->dim(), request.weights + (i + 1) * request.table->dim());
  }
  request.table->Load(ids, weights.data());
  return std::nullopt;
}

MaybeRefusal Following::ApplyRows(wire::FilledRows::Reader rows) {
  const PartitionNumber partition = rows.getPartition();
  if (!Concerns(partition) || ownership_.role(partition) != CopyRole::kFilling) return std::nullopt;
  TableStore* const table = tables_.Find(rows.getTable());
  if (table == nullptr) {
    if (tables_.WasDropped(rows.getTable())) return std::nullopt;
    return Refusal{ErrorCode::NOT_YET, "forward.rows.table", fmt::format("{} is not here yet", rows.getTable())};
  }
  if (rows.getDim() != table->dim() || rows.getStateWidth() != table->state_width() || rows.getCount() > max_rows_) {
    return Refusal{ErrorCode::WRONG_DIMENSION, "forward.rows",
                   fmt::format("{} rows of {} + {}; {} has {} + {}", rows.getCount(), rows.getDim(), rows.getStateWidth(),
                               table->definition().name, table->dim(), table->state_width())};
  }
  const auto ids = PackedValues<Id>(rows.getIds(), rows.getCount(), "forward.rows.ids");
  if (!ids.ok()) return Refusal{ErrorCode::MALFORMED, "forward.rows.ids", std::string(ids.status().message())};
  const uint64_t width = uint64_t{rows.getDim()} + rows.getStateWidth();
  const auto values = PackedValues<float>(rows.getRows(), rows.getCount() * width, "forward.rows.rows");
  if (!values.ok()) return Refusal{ErrorCode::MALFORMED, "forward.rows.rows", std::string(values.status().message())};
  const absl::Span<const Id> list(*ids, rows.getCount());
  for (const Id id : list) {
    if (PartitionOf(id, ownership_.view().partition_bits()) == partition) continue;
    return Refusal{ErrorCode::MALFORMED, "forward.rows.ids", fmt::format("{} is not of partition {}", id, partition)};
  }
  table->RestoreRows(list, *values);
  return std::nullopt;
}

MaybeRefusal Following::ApplyWindows(wire::FilledWindows::Reader windows) {
  const PartitionNumber partition = windows.getPartition();
  if (!Concerns(partition) || ownership_.role(partition) != CopyRole::kFilling) return std::nullopt;
  for (const auto window : windows.getSessions()) {
    if (sessions_.IsKnown(window.getSession())) continue;
    return Refusal{ErrorCode::NOT_YET, "forward.windows.sessions", fmt::format("{} is not open here yet", window.getSession())};
  }
  for (const auto window : windows.getSessions()) {
    if (sessions_.TrialOf(window.getSession()) == nullptr) continue;
    sessions_.WindowsOf(window.getSession(), ownership_.view().partitions())[partition] =
        PushWindow(window.getHighest(), window.getApplied());
  }
  whole_.insert(partition);
  return std::nullopt;
}

}  // namespace marquee
