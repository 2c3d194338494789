#include "scheduler/shard_requests.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <utility>

namespace marquee {
namespace {

// Refusals that pass by themselves: the shard is asked again.
bool PassesByItself(wire::Error::Code code) {
  return code == wire::Error::Code::NOT_YET || code == wire::Error::Code::VIEW_AHEAD;
}

absl::Status StatusOf(const std::string& endpoint, wire::Error::Reader error) {
  const std::string text = fmt::format("shard {} refused: {}: {}: {}", endpoint, ErrorCodeName(error.getCode()),
                                       error.getField().cStr(), error.getMessage().cStr());
  const bool storage = error.getCode() == wire::Error::Code::STORAGE;
  return storage ? absl::UnavailableError(text) : absl::FailedPreconditionError(text);
}

// Whether a shard was asked to begin what it was told the end of already: a shard that joins is told what there is, and may
// hear of an end first.
bool EndedSince(wire::Envelope::Body::Reader asked, wire::Error::Code code) {
  return (asked.isOpenSession() && code == wire::Error::Code::UNKNOWN_SESSION) ||
         (asked.isCreateTables() && code == wire::Error::Code::UNKNOWN_TABLE);
}

// Nothing where the reply does not have the shape that it says.
std::optional<ShardRequests::Scanned> ReadScanned(wire::ScannedRows::Reader reader) {
  const uint64_t count = reader.getCount();
  const absl::StatusOr<const Id*> ids = PackedValues<Id>(reader.getIds(), count, "scannedRows.ids");
  const absl::StatusOr<const float*> weights = PackedValues<float>(reader.getWeights(), count * reader.getDim(), "weights");
  if (!ids.ok() || !weights.ok() || reader.getType() != wire::ElementType::FLOAT32) return std::nullopt;
  return ShardRequests::Scanned{.ids = std::vector<Id>(*ids, *ids + count),
                                .weights = std::vector<float>(*weights, *weights + count * reader.getDim()),
                                .partition = reader.getPartition(),
                                .slot = reader.getSlot()};
}

}  // namespace

BroadcastNumber ShardRequests::Start(const std::vector<std::string>& endpoints, uint64_t view, const Fill& fill, absl::Time now,
                                     Outbox& outbox) {
  const BroadcastNumber number = ++last_broadcast_;
  Broadcast& broadcast = broadcasts_[number];
  broadcast.open = static_cast<uint32_t>(endpoints.size());
  broadcast.tables.resize(endpoints.size());
  for (uint32_t shard = 0; shard < endpoints.size(); ++shard) {
    Ask(number, shard, endpoints[shard], view, 0, fill, now, outbox);
  }
  return number;
}

BroadcastNumber ShardRequests::StartAlive(const View& view, const std::vector<bool>& alive, const Fill& fill, absl::Time now,
                                          Outbox& outbox) {
  std::vector<uint32_t> shards;
  for (uint32_t shard = 0; shard < view.shards.size(); ++shard) {
    if (alive[shard]) shards.push_back(shard);
  }
  const BroadcastNumber number = StartSome(shards, view, 0, fill, now, outbox);
  broadcasts_.at(number).to_all = true;
  return number;
}

void ShardRequests::Excuse(const std::string& endpoint) {
  std::erase_if(requests_, [&](const auto& entry) {
    if (entry.second.endpoint != endpoint || !broadcasts_.at(entry.second.broadcast).to_all) return false;
    --broadcasts_.at(entry.second.broadcast).open;
    return true;
  });
}

ShardRequests::Fills ShardRequests::FillsOf(BroadcastNumber number) const {
  const auto found = broadcasts_.find(number);
  return found == broadcasts_.end() ? Fills() : found->second.fills;
}

std::vector<ShardRequests::PartitionWeight> ShardRequests::PartitionsOf(BroadcastNumber number) const {
  const auto found = broadcasts_.find(number);
  return found == broadcasts_.end() ? std::vector<PartitionWeight>() : found->second.partitions;
}

BroadcastNumber ShardRequests::StartSome(const std::vector<uint32_t>& shards, const View& view, size_t bytes, const Fill& fill,
                                         absl::Time now, Outbox& outbox) {
  const BroadcastNumber number = ++last_broadcast_;
  broadcasts_[number].open = static_cast<uint32_t>(shards.size());
  for (const uint32_t shard : shards) Ask(number, shard, view.shards[shard], view.number, bytes, fill, now, outbox);
  return number;
}

void ShardRequests::Ask(BroadcastNumber number, uint32_t shard, const std::string& endpoint, uint64_t view, size_t bytes,
                        const Fill& fill, absl::Time now, Outbox& outbox) {
  const uint64_t id = ++last_request_;
  OutgoingMessagePtr message = NewRequest(self_, view, id, absl::ZeroDuration(), bytes);
  fill(shard, message->envelope().getBody());
  requests_[id] = Request{.broadcast = number, .shard = shard, .endpoint = endpoint, .view = view, .message = message};
  resends_.emplace_back(now + resend_after_, id);
  outbox.Send(endpoint, std::move(message));
}

bool ShardRequests::Finished(BroadcastNumber number) const {
  const auto found = broadcasts_.find(number);
  return found == broadcasts_.end() || (found->second.open == 0 && !(hold_ && found->second.to_all));
}

absl::Status ShardRequests::Result(BroadcastNumber number) const {
  const auto found = broadcasts_.find(number);
  if (found == broadcasts_.end() || found->second.refusals.empty()) return absl::OkStatus();
  return found->second.refusals.begin()->second;
}

std::vector<std::vector<TableNumber>> ShardRequests::Tables(BroadcastNumber number) const {
  const auto found = broadcasts_.find(number);
  return found == broadcasts_.end() ? std::vector<std::vector<TableNumber>>() : found->second.tables;
}

std::vector<RowFileSummary> ShardRequests::FilesOf(BroadcastNumber number) const {
  std::vector<RowFileSummary> files;
  const auto found = broadcasts_.find(number);
  if (found == broadcasts_.end()) return files;
  for (const auto& [shard, file] : found->second.files) files.push_back(file);
  return files;
}

ShardRequests::Scanned ShardRequests::TakeScanned(BroadcastNumber number) { return std::move(broadcasts_.at(number).scanned); }

void ShardRequests::Forget(BroadcastNumber number) {
  broadcasts_.erase(number);
  std::erase_if(requests_, [number](const auto& entry) { return entry.second.broadcast == number; });
}

void ShardRequests::ForgetAll() {
  broadcasts_.clear();
  requests_.clear();
  resends_.clear();
}

bool ShardRequests::OnReply(const Message& message) {
  const auto found = requests_.find(message.envelope().getRequestId());
  if (found == requests_.end() || message.from() != found->second.endpoint) return false;
  const Request& request = found->second;
  Broadcast& broadcast = broadcasts_.at(request.broadcast);
  const auto body = message.envelope().getBody();
  switch (body.which()) {
    case wire::Envelope::Body::ERROR:
      if (PassesByItself(body.getError().getCode())) return true;
      // By a shard that has the view which is being installed; whoever asks does so again under that one.
      if (hold_ && body.getError().getCode() == wire::Error::Code::STALE_VIEW) return true;
      if (EndedSince(request.message->envelope().getBody().asReader(), body.getError().getCode())) break;
      broadcast.refusals[request.shard] = StatusOf(request.endpoint, body.getError());
      break;
    case wire::Envelope::Body::TABLES: {
      std::vector<TableNumber> numbers;
      for (const auto definition : body.getTables().getDefinitions()) numbers.push_back(definition.getNumber());
      if (request.shard >= broadcast.tables.size()) return false;  // was asked something else
      broadcast.tables[request.shard] = std::move(numbers);
      break;
    }
    case wire::Envelope::Body::SCANNED_ROWS: {
      std::optional<Scanned> scanned = ReadScanned(body.getScannedRows());
      if (!scanned.has_value()) return false;
      broadcast.scanned = *std::move(scanned);
      break;
    }
    case wire::Envelope::Body::FILLS:
      if (body.getFills().getView() != request.view) return true;  // asked again when it has this view
      for (const uint32_t partition : body.getFills().getFilled()) broadcast.fills.filled.push_back(partition);
      for (const uint32_t copy : body.getFills().getSilent()) broadcast.fills.silent.emplace_back(request.shard, copy);
      break;
    case wire::Envelope::Body::PARTITIONS:
      for (const auto entry : body.getPartitions().getPartitions()) {
        broadcast.partitions.push_back({.partition = entry.getPartition(),
                                        .rows = entry.getRowsPulled() + entry.getRowsPushed(),
                                        .bytes = entry.getBytes()});
      }
      break;
    case wire::Envelope::Body::CHECKPOINT_FILE: {
      const auto file = body.getCheckpointFile();
      broadcast.files[request.shard] = {.name = std::string(file.getName().cStr(), file.getName().size()),
                                        .bytes = file.getBytes(),
                                        .checksum = file.getChecksum(),
                                        .rows = file.getRows(),
                                        .full = file.getFull()};
      break;
    }
    case wire::Envelope::Body::OK:
      break;
    default:
      return false;
  }
  --broadcast.open;
  requests_.erase(found);
  return true;
}

void ShardRequests::OnTimer(absl::Time now, Outbox& outbox) {
  while (!resends_.empty() && (resends_.front().first <= now || !requests_.contains(resends_.front().second))) {
    const uint64_t id = resends_.front().second;
    resends_.pop_front();
    const auto request = requests_.find(id);
    if (request == requests_.end()) continue;
    resends_.emplace_back(now + resend_after_, id);
    outbox.Send(request->second.endpoint, request->second.message);
  }
}

absl::Time ShardRequests::next_timer() const { return resends_.empty() ? absl::InfiniteFuture() : resends_.front().first; }

}  // namespace marquee
