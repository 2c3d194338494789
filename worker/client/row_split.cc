#include "worker/client/row_split.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <utility>

namespace marquee {
namespace {

constexpr size_t kSectionBytes = 64;  // of a section besides its arrays, and their padding
constexpr uint32_t kInfinityBits = 0x7f800000U;

size_t RowBytes(const RowBlock& block) { return sizeof(Id) + block.dim * sizeof(float); }

template <typename Section>
Id* PlaceIds(OutgoingMessage& message, Section section, size_t count) {
  return reinterpret_cast<Id*>(message.PlaceBulk(
      count * sizeof(Id), [&](uint32_t bytes) { return section.initIds(bytes); },
      [&](capnp::Orphan<capnp::Data> ids) { section.adoptIds(kj::mv(ids)); }));
}

float* PlaceGradients(OutgoingMessage& message, wire::PushSection::Builder section, size_t count) {
  return reinterpret_cast<float*>(message.PlaceBulk(
      count * sizeof(float), [&](uint32_t bytes) { return section.initGradients(bytes); },
      [&](capnp::Orphan<capnp::Data> gradients) { section.adoptGradients(kj::mv(gradients)); }));
}

RowBlock SubBlock(const RowBlock& block, size_t begin, size_t count) {
  RowBlock part = block;
  part.ids = block.ids.subspan(begin, count);
  if (block.gradients != nullptr) part.gradients = block.gradients + begin * block.dim;
  if (block.positions != nullptr) {
    part.positions = block.positions + begin;
  } else if (block.values != nullptr) {
    part.values = block.values + begin * block.dim;
  }
  return part;
}

// Copies a row and returns the largest magnitude in it as bits, whose order is that of the magnitudes, NaN above infinity.
// Integers, since a maximum of floats is not vectorised where NaN must be minded.
uint32_t CopyRow(const float* __restrict from, uint32_t dim, float* __restrict to) {
  uint32_t largest = 0;
  for (uint32_t i = 0; i < dim; ++i) {
    to[i] = from[i];
    largest = std::max(largest, std::bit_cast<uint32_t>(from[i]) & 0x7fffffffU);
  }
  return largest;
}

template <typename T>
const T* ValuesOf(capnp::Data::Reader data) {
  return reinterpret_cast<const T*>(data.begin());
}

}  // namespace

std::vector<std::vector<RowBlock>> CutBlocks(const std::vector<RowBlock>& blocks, size_t max_bytes) {
  std::vector<std::vector<RowBlock>> pieces;
  size_t room = 0;
  for (const RowBlock& block : blocks) {
    for (size_t begin = 0; begin < block.ids.size();) {
      if (pieces.empty() || room < RowBytes(block)) {
        pieces.emplace_back();
        room = std::max(max_bytes, RowBytes(block));
      }
      const size_t count = std::min(block.ids.size() - begin, room / RowBytes(block));
      pieces.back().push_back(SubBlock(block, begin, count));
      room -= count * RowBytes(block);
      begin += count;
    }
  }
  return pieces;
}

void RowSplitter::FindOwners(const View& view, absl::Span<const RowBlock> blocks) {
  shards_ = view.shards.size();
  counts_.assign(blocks.size() * shards_, 0);
  size_t rows = 0;
  for (const RowBlock& block : blocks) rows += block.ids.size();
  owners_.resize(rows);
  const uint32_t bits = view.partition_bits();
  ShardIndex* owner = owners_.data();
  for (size_t b = 0; b < blocks.size(); ++b) {
    uint32_t* counts = counts_.data() + b * shards_;
    for (const Id id : blocks[b].ids) {
      *owner = view.primaries[PartitionOf(id, bits)];
      ++counts[*owner++];
    }
  }
}

uint32_t RowSplitter::Sections(ShardIndex shard) const {
  uint32_t sections = 0;
  for (size_t at = shard; at < counts_.size(); at += shards_) sections += counts_[at] > 0 ? 1 : 0;
  return sections;
}

std::vector<ShardRequest> RowSplitter::SplitPull(const View& view, absl::Span<const RowBlock> blocks, absl::Duration timeout) {
  FindOwners(view, blocks);
  std::vector<ShardRequest> requests;
  struct Destination {
    Id* ids = nullptr;
    uint32_t* positions = nullptr;
  };
  std::vector<Destination> destinations(blocks.size() * shards_);
  for (ShardIndex shard = 0; shard < shards_; ++shard) {
    const uint32_t section_count = Sections(shard);
    if (section_count == 0) continue;
    size_t rows = 0;
    size_t bytes = section_count * kSectionBytes;
    for (size_t b = 0; b < blocks.size(); ++b) {
      rows += Rows(b, shard);
      bytes += OutgoingMessage::BytesInPlace(Rows(b, shard) * sizeof(Id));
    }
    ShardRequest& request = requests.emplace_back();
    request.request_id = ++last_request_id_;
    request.shard = shard;
    request.positions.resize(rows);
    request.message = NewRequest(self_, view.number, request.request_id, timeout, bytes);
    auto sections = request.message->envelope().getBody().initPull().initSections(section_count);
    uint32_t* positions = request.positions.data();
    for (size_t b = 0; b < blocks.size(); ++b) {
      const uint32_t count = Rows(b, shard);
      if (count == 0) continue;
      wire::PullSection::Builder section = sections[static_cast<uint32_t>(request.targets.size())];
      section.setTable(blocks[b].table);
      section.setDim(blocks[b].dim);
      section.setCount(count);
      destinations[b * shards_ + shard] = {PlaceIds(*request.message, section, count), positions};
      positions += count;
      request.targets.push_back({blocks[b].table, blocks[b].dim, count, blocks[b].values});
    }
  }

  const ShardIndex* owner = owners_.data();
  for (size_t b = 0; b < blocks.size(); ++b) {
    Destination* to = destinations.data() + b * shards_;
    const uint32_t* positions = blocks[b].positions;
    for (uint32_t i = 0; i < blocks[b].ids.size(); ++i) {
      Destination& destination = to[*owner++];
      *destination.ids++ = blocks[b].ids[i];
      *destination.positions++ = positions != nullptr ? positions[i] : i;
    }
  }
  return requests;
}

absl::StatusOr<std::vector<ShardRequest>> RowSplitter::SplitPush(const View& view, absl::Span<const RowBlock> blocks,
                                                                 uint64_t session, uint64_t sequence) {
  FindOwners(view, blocks);
  std::vector<ShardRequest> requests;
  struct Destination {
    Id* ids = nullptr;
    float* gradients = nullptr;
  };
  std::vector<Destination> destinations(blocks.size() * shards_);
  for (ShardIndex shard = 0; shard < shards_; ++shard) {
    const uint32_t section_count = Sections(shard);
    if (section_count == 0) continue;
    size_t bytes = section_count * kSectionBytes;
    for (size_t b = 0; b < blocks.size(); ++b) {
      bytes += OutgoingMessage::BytesInPlace(Rows(b, shard) * sizeof(Id));
      bytes += OutgoingMessage::BytesInPlace(Rows(b, shard) * blocks[b].dim * sizeof(float));
    }
    ShardRequest& request = requests.emplace_back();
    request.request_id = ++last_request_id_;
    request.shard = shard;
    request.message = NewRequest(self_, view.number, request.request_id, absl::ZeroDuration(), bytes);
    wire::Push::Builder push = request.message->envelope().getBody().initPush();
    push.setSession(session);
    push.setSequence(sequence);
    auto sections = push.initSections(section_count);
    uint32_t next_section = 0;
    for (size_t b = 0; b < blocks.size(); ++b) {
      const uint32_t count = Rows(b, shard);
      if (count == 0) continue;
      wire::PushSection::Builder section = sections[next_section++];
      section.setTable(blocks[b].table);
      section.setDim(blocks[b].dim);
      section.setCount(count);
      section.setType(wire::ElementType::FLOAT32);
      section.setLearningRate(blocks[b].learning_rate);
      destinations[b * shards_ + shard] = {PlaceIds(*request.message, section, count),
                                           PlaceGradients(*request.message, section, size_t{count} * blocks[b].dim)};
    }
  }

  const ShardIndex* owner = owners_.data();
  for (size_t b = 0; b < blocks.size(); ++b) {
    Destination* to = destinations.data() + b * shards_;
    const uint32_t dim = blocks[b].dim;
    const float* gradients = blocks[b].gradients;
    uint32_t largest = 0;
    for (const Id id : blocks[b].ids) {
      Destination& destination = to[*owner++];
      *destination.ids++ = id;
      largest = std::max(largest, CopyRow(gradients, dim, destination.gradients));
      destination.gradients += dim;
      gradients += dim;
    }
    if (largest >= kInfinityBits) {
      return absl::InvalidArgumentError(fmt::format("push: table {}: a gradient is NaN or infinite", blocks[b].table));
    }
  }
  return requests;
}

std::vector<RowBlock> BlocksOfPull(const ShardRequest& request) {
  std::vector<RowBlock> blocks;
  const uint32_t* positions = request.positions.data();
  const auto sections = request.message->envelope().getBody().getPull().asReader().getSections();
  for (uint32_t i = 0; i < sections.size(); ++i) {
    const PullTarget& target = request.targets[i];
    blocks.push_back({.table = target.table,
                      .dim = target.dim,
                      .ids = {ValuesOf<Id>(sections[i].getIds()), target.count},
                      .values = target.values,
                      .positions = positions});
    positions += target.count;
  }
  return blocks;
}

std::vector<RowBlock> BlocksOfPush(const ShardRequest& request) {
  std::vector<RowBlock> blocks;
  for (const auto section : request.message->envelope().getBody().getPush().asReader().getSections()) {
    blocks.push_back({.table = section.getTable(),
                      .dim = section.getDim(),
                      .ids = {ValuesOf<Id>(section.getIds()), section.getCount()},
                      .learning_rate = section.getLearningRate(),
                      .gradients = ValuesOf<float>(section.getGradients())});
  }
  return blocks;
}

}  // namespace marquee
