#include "ps/forwarding.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace marquee {
namespace {

constexpr size_t kBytesPerWindow = 64;
constexpr int kRenewalsPerLease = 4;
constexpr int kLeasesBeforeSilent = 3;
constexpr int kRequestBits = 40;

bool IsTouched(absl::Span<const uint32_t> touched, PartitionNumber partition) { return touched[partition] != 0; }

}  // namespace

// ---------------------------------------------------------------------------------------------------------- copies

Forwarding::Copies Forwarding::ToldCopies(PartitionNumber partition) const {
  const View& view = ownership_.view();
  Copies copies;
  if (view.backups[partition] != kNoShard) copies.push_back(view.backups[partition]);
  if (fills_.contains(partition)) copies.push_back(view.fills[partition]);
  return copies;
}

Forwarding::Copies Forwarding::RequiredCopies(PartitionNumber partition) const {
  const View& view = ownership_.view();
  Copies copies;
  if (view.backups[partition] != kNoShard) copies.push_back(view.backups[partition]);
  const auto fill = fills_.find(partition);
  if (fill != fills_.end() && fill->second.whole_at != 0) copies.push_back(view.fills[partition]);
  return copies;
}

// What the copies have been sent by now is what an acknowledgement waits for.
void Forwarding::Require(PartitionNumber partition, std::map<ShardIndex, uint64_t>* numbers) {
  for (const ShardIndex copy : RequiredCopies(partition)) (*numbers)[copy] = streams_[copy].next - 1;
}

std::set<ShardIndex> Forwarding::ToldCopies(absl::Span<const uint32_t> touched) const {
  std::set<ShardIndex> copies;
  for (PartitionNumber p = 0; p < touched.size(); ++p) {
    if (!IsTouched(touched, p)) continue;
    for (const ShardIndex copy : ToldCopies(p)) copies.insert(copy);
  }
  return copies;
}

// Whether the copy has a partition of this shard under both views, in the same process and without a new beginning: then its
// stream goes on.
bool Forwarding::Continues(ShardIndex copy, const View& before) const {
  const View& view = ownership_.view();
  if (copy >= before.shards.size() || before.processes[copy] != view.processes[copy]) return false;
  for (PartitionNumber p = 0; p < view.partitions(); ++p) {
    const bool ours = view.primaries[p] == ownership_.self() && before.primaries[p] == ownership_.self() &&
                      view.fresh[p] <= before.number && view.changed[p] <= before.number;
    const bool now = view.backups[p] == copy || view.fills[p] == copy;
    if (ours && now && (before.backups[p] == copy || before.fills[p] == copy)) return true;
  }
  return false;
}

void Forwarding::OnView(const View& before, absl::Time now, Outbox& outbox) {
  const View& view = ownership_.view();
  // So that no two shards of a process ask under the same number.
  if (last_request_ == 0) last_request_ = uint64_t{ownership_.self()} << kRequestBits;
  std::erase_if(fills_, [&](const auto& fill) {
    const ShardIndex copy = view.fills[fill.first];
    return ownership_.role(fill.first) != CopyRole::kPrimary || copy == kNoShard || before.fills[fill.first] != copy ||
           !Continues(copy, before);
  });
  std::set<ShardIndex> copies;
  for (PartitionNumber p = 0; p < view.partitions(); ++p) {
    if (ownership_.role(p) != CopyRole::kPrimary) continue;
    if (view.fills[p] != kNoShard) fills_.try_emplace(p);
    for (const ShardIndex copy : {view.backups[p], view.fills[p]}) {
      if (copy != kNoShard) copies.insert(copy);
    }
  }
  std::erase_if(streams_,
                [&](const auto& stream) { return !copies.contains(stream.first) || !Continues(stream.first, before); });
  std::erase_if(serve_from_, [&](const auto& entry) { return ownership_.role(entry.first) != CopyRole::kPrimary; });
  for (const ShardIndex copy : copies) {
    Stream& stream = streams_[copy];
    if (stream.began == 0) {
      stream.began = view.number;
      stream.begun = now;
    }
    // What was sent under the view before is refused now: the same entries again, under this one.
    for (Entry& entry : stream.unanswered) Readdress(entry);
    stream.renewals.clear();
    Probe(copy, stream, now, outbox);
  }
  // Acknowledgements are judged again by this view. Of partitions that are another's now, or began anew, nothing is promised:
  // whoever waits asks again.
  std::erase_if(waiting_, [&](const Waiting& waiting) {
    return std::any_of(waiting.partitions.begin(), waiting.partitions.end(), [&](PartitionNumber p) {
      return ownership_.role(p) != CopyRole::kPrimary || view.fresh[p] > before.number || view.changed[p] > before.number;
    });
  });
  for (Waiting& waiting : waiting_) {
    std::map<ShardIndex, uint64_t> numbers;
    for (const PartitionNumber p : waiting.partitions) Require(p, &numbers);
    waiting.numbers = std::move(numbers);
  }
  ReleaseReplies(outbox);
  FillMore(now, outbox);
}

// ----------------------------------------------------------------------------------------------------------- leases

MaybeRefusal Forwarding::CheckLeases(absl::Span<const uint32_t> rows_of_partition, absl::Time now) const {
  for (PartitionNumber p = 0; p < rows_of_partition.size(); ++p) {
    if (!IsTouched(rows_of_partition, p)) continue;
    if (ownership_.yielded(p)) {
      return Refusal{ErrorCode::NOT_YET, "view", fmt::format("partition {} is being handed to another shard", p)};
    }
    if (const auto from = serve_from_.find(p); from != serve_from_.end() && now < from->second) {
      return Refusal{ErrorCode::NOT_YET, "view", fmt::format("partition {}: its old primary's lease may still run", p)};
    }
    for (const ShardIndex copy : RequiredCopies(p)) {
      const auto stream = streams_.find(copy);
      if (stream != streams_.end() && now < stream->second.answered + options_.lease) continue;
      return Refusal{ErrorCode::NOT_YET, "view",
                     fmt::format("partition {}: its copy has not answered for {}", p, absl::FormatDuration(options_.lease))};
    }
  }
  return std::nullopt;
}

MaybeRefusal Forwarding::CheckRoom(absl::Span<const uint32_t> rows_of_partition) const {
  for (const ShardIndex copy : ToldCopies(rows_of_partition)) {
    const auto stream = streams_.find(copy);
    if (stream == streams_.end() || stream->second.bytes < options_.max_unanswered_bytes) continue;
    return Refusal{ErrorCode::NOT_YET, "push",
                   fmt::format("{} bytes wait for an answer of shard {}; at most {}", stream->second.bytes, copy,
                               options_.max_unanswered_bytes)};
  }
  return std::nullopt;
}

// --------------------------------------------------------------------------------------------------------- streams

OutgoingMessagePtr Forwarding::NewForward(ShardIndex to, uint64_t number, size_t bytes) {
  OutgoingMessagePtr message = NewRequest(self_, ownership_.view().number, ++last_request_, absl::ZeroDuration(), bytes);
  auto forward = message->envelope().getBody().initForward();
  forward.setShard(ownership_.self());
  forward.setNumber(number);
  forward.setStream(streams_[to].began);
  forward.setMade(ownership_.view().number);
  return message;
}

// The same entry under the view that this shard has now.
void Forwarding::Readdress(Entry& entry) {
  OutgoingMessagePtr again = NewRequest(self_, ownership_.view().number, ++last_request_, absl::ZeroDuration(), entry.bytes);
  again->envelope().getBody().setForward(entry.message->envelope().getBody().getForward().asReader());
  again->envelope().getBody().getForward().setShard(ownership_.self());
  entry.request_id = last_request_;
  entry.message = std::move(again);
  entry.first_sent = absl::InfiniteFuture();
}

template <typename FillBody>
void Forwarding::Append(ShardIndex to, size_t bytes, const FillBody& fill, absl::Time now, Outbox& outbox) {
  Stream& stream = streams_[to];
  OutgoingMessagePtr message = NewForward(to, stream.next, bytes);
  fill(message->envelope().getBody().getForward(), *message);
  if (stream.unanswered.empty()) stream.progress = now;
  stream.unanswered.push_back(
      {.number = stream.next++, .request_id = last_request_, .message = message, .bytes = message->bytes()});
  stream.bytes += stream.unanswered.back().bytes;
  SendEntry(to, stream, stream.unanswered.back(), now, outbox);
}

void Forwarding::SendEntry(ShardIndex to, Stream& stream, Entry& entry, absl::Time now, Outbox& outbox) {
  stream.sent = now;
  entry.first_sent = std::min(entry.first_sent, now);
  outbox.Send(ownership_.view().shards[to], entry.message);
}

void Forwarding::SendAgain(ShardIndex to, Stream& stream, absl::Time now, Outbox& outbox) {
  stream.progress = now;
  stream.retry = absl::InfiniteFuture();
  for (Entry& entry : stream.unanswered) SendEntry(to, stream, entry, now, outbox);
}

// Not all that is unanswered for a copy that may refuse it again: once it takes the first, it is sent the others.
void Forwarding::Probe(ShardIndex to, Stream& stream, absl::Time now, Outbox& outbox) {
  stream.retry = absl::InfiniteFuture();
  stream.progress = now;
  if (stream.unanswered.empty()) return Renew(to, stream, now, outbox);
  stream.refused = true;
  SendEntry(to, stream, stream.unanswered.front(), now, outbox);
}

void Forwarding::Renew(ShardIndex to, Stream& stream, absl::Time now, Outbox& outbox) {
  const OutgoingMessagePtr message = NewForward(to, stream.next, 0);
  message->envelope().getBody().getForward().setNothing();
  stream.sent = now;
  // What is older renews nothing any more.
  std::erase_if(stream.renewals, [&](const auto& renewal) { return renewal.second + options_.lease < now; });
  stream.renewals[last_request_] = now;
  outbox.Send(ownership_.view().shards[to], message);
}

void Forwarding::Push(wire::Push::Reader push, absl::Span<const uint8_t> applied, absl::Span<const uint32_t> touched,
                      const Peer& to, OutgoingMessagePtr reply, absl::Time now, Outbox& outbox) {
  std::vector<PartitionNumber> now_applied;
  for (PartitionNumber p = 0; p < applied.size(); ++p) {
    if (applied[p] != 0) now_applied.push_back(p);
  }
  for (const ShardIndex copy : now_applied.empty() ? std::set<ShardIndex>() : ToldCopies(touched)) {
    const auto fill = [&](wire::Forward::Builder forward, OutgoingMessage&) {
      auto body = forward.initPush();
      body.setPush(push);
      auto partitions = body.initPartitions(static_cast<uint32_t>(now_applied.size()));
      for (uint32_t i = 0; i < now_applied.size(); ++i) partitions.set(i, now_applied[i]);
    };
    Append(copy, push.totalSize().wordCount * sizeof(capnp::word), fill, now, outbox);
  }
  Wait(touched, push.getSession(), to, std::move(reply), outbox);
}

void Forwarding::Load(wire::LoadRows::Reader load, absl::Span<const uint32_t> touched, const Peer& to, OutgoingMessagePtr reply,
                      absl::Time now, Outbox& outbox) {
  for (const ShardIndex copy : ToldCopies(touched)) {
    const auto fill = [&](wire::Forward::Builder forward, OutgoingMessage&) { forward.setLoad(load); };
    Append(copy, load.totalSize().wordCount * sizeof(capnp::word), fill, now, outbox);
  }
  Wait(touched, 0, to, std::move(reply), outbox);
}

// A duplicate waits as well, for all that was sent before: its original is among it.
void Forwarding::Wait(absl::Span<const uint32_t> touched, uint64_t session, const Peer& to, OutgoingMessagePtr reply,
                      Outbox& outbox) {
  Waiting waiting{.to = to, .reply = std::move(reply), .session = session, .partitions = {}, .numbers = {}};
  for (PartitionNumber p = 0; p < touched.size(); ++p) {
    if (!IsTouched(touched, p)) continue;
    waiting.partitions.push_back(p);
    Require(p, &waiting.numbers);
  }
  if (Done(waiting)) {
    outbox.Send(waiting.to, std::move(waiting.reply));
  } else {
    waiting_.push_back(std::move(waiting));
  }
}

// Others may have its examples from now on.
void Forwarding::CloseSession(uint64_t session) {
  std::erase_if(waiting_, [&](const Waiting& waiting) { return waiting.session == session; });
}

bool Forwarding::Done(const Waiting& waiting) const {
  return std::all_of(waiting.numbers.begin(), waiting.numbers.end(), [&](const auto& needed) {
    const auto stream = streams_.find(needed.first);
    return stream != streams_.end() && stream->second.applied() >= needed.second;
  });
}

void Forwarding::ReleaseReplies(Outbox& outbox) {
  std::erase_if(waiting_, [&](Waiting& waiting) {
    if (!Done(waiting)) return false;
    outbox.Send(waiting.to, std::move(waiting.reply));
    return true;
  });
}

// When a request was sent that was not answered before; nothing for others, and for those of an earlier view.
std::optional<absl::Time> Forwarding::SentAt(const Stream& stream, uint64_t request_id) {
  if (const auto renewal = stream.renewals.find(request_id); renewal != stream.renewals.end()) return renewal->second;
  const auto entry = std::lower_bound(stream.unanswered.begin(), stream.unanswered.end(), request_id,
                                      [](const Entry& one, uint64_t id) { return one.request_id < id; });
  if (entry == stream.unanswered.end() || entry->request_id != request_id) return std::nullopt;
  return entry->first_sent;
}

void Forwarding::OnReply(const Message& message, absl::Time now, Outbox& outbox) {
  const uint64_t id = message.envelope().getRequestId();
  const auto found = std::find_if(streams_.begin(), streams_.end(),
                                  [&](const auto& stream) { return ownership_.view().shards[stream.first] == message.from(); });
  if (found == streams_.end()) return;
  auto& [copy, stream] = *found;
  const std::optional<absl::Time> sent_at = SentAt(stream, id);
  if (!sent_at.has_value()) return;
  const auto body = message.envelope().getBody();
  if (!body.isForwarded()) {
    stream.refused = true;
    // A newer view is on its way to this shard; else to the copy, or its table or session.
    if (body.isError() && body.getError().getCode() == ErrorCode::STALE_VIEW) return;
    stream.retry = now + options_.retry_after;
    return;
  }
  stream.answered = std::max(stream.answered, *sent_at);
  stream.renewals.erase(id);
  const uint64_t next = body.getForwarded().getNext();
  const uint64_t applied_before = stream.applied();
  while (!stream.unanswered.empty() && stream.unanswered.front().number < next) {
    stream.bytes -= stream.unanswered.front().bytes;
    stream.unanswered.pop_front();
  }
  if (stream.applied() != applied_before) stream.progress = now;
  if (std::exchange(stream.refused, false)) SendAgain(copy, stream, now, outbox);
  ReleaseReplies(outbox);
  FillMore(now, outbox);
}

void Forwarding::OnTimer(absl::Time now, Outbox& outbox) {
  for (auto& [copy, stream] : streams_) {
    if (now < DueAt(stream)) continue;
    if (stream.refused || stream.unanswered.empty()) {
      Probe(copy, stream, now, outbox);
    } else {
      SendAgain(copy, stream, now, outbox);
    }
  }
}

absl::Time Forwarding::DueAt(const Stream& stream) const {
  const absl::Time renewal = stream.sent + options_.lease / kRenewalsPerLease;
  const absl::Time again = stream.unanswered.empty() ? absl::InfiniteFuture() : stream.progress + options_.resend_after;
  return std::min({renewal, again, stream.retry});
}

absl::Time Forwarding::next_timer() const {
  absl::Time next = absl::InfiniteFuture();
  for (const auto& [copy, stream] : streams_) next = std::min(next, DueAt(stream));
  return next;
}

// --------------------------------------------------------------------------------------------------------- filling

std::vector<PartitionNumber> Forwarding::Filled() const {
  std::vector<PartitionNumber> filled;
  for (const auto& [partition, fill] : fills_) {
    const auto stream = streams_.find(ownership_.view().fills[partition]);
    if (fill.whole_at != 0 && stream != streams_.end() && stream->second.applied() >= fill.whole_at)
      filled.push_back(partition);
  }
  return filled;
}

std::vector<ShardIndex> Forwarding::Silent(absl::Time now) const {
  std::vector<ShardIndex> silent;
  for (const auto& [copy, stream] : streams_) {
    if (now > std::max(stream.answered, stream.begun) + kLeasesBeforeSilent * options_.lease) silent.push_back(copy);
  }
  return silent;
}

size_t Forwarding::unanswered_bytes() const {
  size_t bytes = 0;
  for (const auto& [copy, stream] : streams_) bytes += stream.bytes;
  return bytes;
}

// One partition after the other, for each copy as far as its answers let it.
void Forwarding::FillMore(absl::Time now, Outbox& outbox) {
  for (auto& [partition, fill] : fills_) {
    const ShardIndex copy = ownership_.view().fills[partition];
    while (fill.whole_at == 0) {
      if (streams_[copy].bytes >= options_.fill_ahead_bytes) break;
      if (!FillStep(partition, copy, fill, now, outbox)) SendWindows(partition, copy, fill, now, outbox);
    }
  }
}

// False if the copy has all rows that there are at this moment.
bool Forwarding::FillStep(PartitionNumber partition, ShardIndex to, Fill& fill, absl::Time now, Outbox& outbox) {
  for (const auto& [number, table] : tables_.all()) {
    uint64_t& walked = fill.walked[number];
    const uint64_t rows = table->rows_in(partition);
    if (walked >= rows) continue;
    const size_t row_bytes = sizeof(Id) + (table->dim() + table->state_width()) * sizeof(float);
    const uint64_t count = std::min<uint64_t>(rows - walked, std::max<size_t>(1, options_.fill_bytes / row_bytes));
    SendRows(partition, *table, walked, count, to, now, outbox);
    walked += count;
    return true;
  }
  return false;
}

void Forwarding::SendRows(PartitionNumber partition, const TableStore& table, uint64_t slot, uint64_t count, ShardIndex to,
                          absl::Time now, Outbox& outbox) {
  const size_t id_bytes = count * sizeof(Id);
  const size_t row_bytes = count * (table.dim() + table.state_width()) * sizeof(float);
  const auto fill = [&](wire::Forward::Builder forward, OutgoingMessage& message) {
    auto rows = forward.initRows();
    rows.setPartition(partition);
    rows.setTable(table.definition().number);
    rows.setDim(table.dim());
    rows.setStateWidth(table.state_width());
    rows.setCount(static_cast<uint32_t>(count));
    std::byte* const ids = message.PlaceBulk(
        id_bytes, [&](uint32_t bytes) { return rows.initIds(bytes); },
        [&](capnp::Orphan<capnp::Data> orphan) { rows.adoptIds(kj::mv(orphan)); });
    std::byte* const values = message.PlaceBulk(
        row_bytes, [&](uint32_t bytes) { return rows.initRows(bytes); },
        [&](capnp::Orphan<capnp::Data> orphan) { rows.adoptRows(kj::mv(orphan)); });
    table.CopyRows(partition, slot, count, reinterpret_cast<Id*>(ids), reinterpret_cast<float*>(values));
  };
  Append(to, OutgoingMessage::BytesInPlace(id_bytes) + OutgoingMessage::BytesInPlace(row_bytes), fill, now, outbox);
}

void Forwarding::SendWindows(PartitionNumber partition, ShardIndex to, Fill& fill, absl::Time now, Outbox& outbox) {
  std::vector<std::pair<uint64_t, PushWindow>> windows;
  for (const auto& [number, session] : sessions_.sessions()) {
    if (partition < session.windows.size()) windows.emplace_back(number, session.windows[partition]);
  }
  const auto body = [&](wire::Forward::Builder forward, OutgoingMessage&) {
    auto filled = forward.initWindows();
    filled.setPartition(partition);
    auto list = filled.initSessions(static_cast<uint32_t>(windows.size()));
    for (uint32_t i = 0; i < windows.size(); ++i) {
      list[i].setSession(windows[i].first);
      list[i].setHighest(windows[i].second.highest());
      list[i].setApplied(windows[i].second.applied());
    }
  };
  Append(to, kBytesPerWindow * windows.size(), body, now, outbox);
  fill.whole_at = streams_[to].next - 1;
}

}  // namespace marquee
