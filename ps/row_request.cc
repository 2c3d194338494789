#include "ps/row_request.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "common/message.h"

namespace marquee {
namespace {

// Whether all exponents are below that of NaN and infinity; no early exit, so that it vectorizes.
bool AllFinite(const float* values, size_t count) {
  constexpr uint32_t kExponent = 0x7f800000U;
  uint32_t found = 0;
  for (size_t i = 0; i < count; ++i) found |= (std::bit_cast<uint32_t>(values[i]) & kExponent) == kExponent ? 1U : 0U;
  return found == 0;
}

// The checks that requests with lists of rows share, section after section.
class SectionChecker {
 public:
  // With `owned`, every row must be of a partition that is this shard's, by the message's view.
  SectionChecker(const RequestContext& context, std::vector<uint32_t>* rows_of_partition, bool owned = true)
      : context_(context), rows_of_partition_(*rows_of_partition), owned_(owned) {
    rows_of_partition_.assign(context.ownership.view().partitions(), 0);
  }

  // `name` is what errors call the section: "push.sections[2]".
  template <typename Section>
  MaybeRefusal Check(Section section, std::string name, TableStore** table, absl::Span<const Id>* ids) {
    if (MaybeRefusal refusal = CheckOwned(section, std::move(name), ids)) return refusal;
    *table = context_.tables.Find(section.getTable());
    if (*table == nullptr) return Wrong(ErrorCode::UNKNOWN_TABLE, "table", fmt::format("no table {}", section.getTable()));
    if (section.getDim() == (*table)->dim()) return std::nullopt;
    return Wrong(ErrorCode::WRONG_DIMENSION, "dim",
                 fmt::format("{}; {} has {}", section.getDim(), (*table)->definition().name, (*table)->dim()));
  }

  // The part of Check that comes first: a shard that has none of these rows need not know their table either, and whoever asks
  // it must hear that the view has changed.
  template <typename Section>
  MaybeRefusal CheckOwned(Section section, std::string name, absl::Span<const Id>* ids) {
    name_ = std::move(name);
    rows_ += section.getCount();
    if (rows_ > context_.max_rows) {
      return Wrong(ErrorCode::TOO_LARGE, "count", fmt::format("over {} rows in one request", context_.max_rows));
    }
    const Id* values = nullptr;
    if (MaybeRefusal refusal = Bulk<Id>(section.getIds(), section.getCount(), "ids", &values)) return refusal;
    *ids = absl::MakeConstSpan(values, section.getCount());
    return CheckPartitions(*ids);
  }

  template <typename T>
  MaybeRefusal Bulk(capnp::Data::Reader data, uint64_t count, std::string_view field, const T** values) const {
    const absl::StatusOr<const T*> checked = PackedValues<T>(data, count, FieldName(field));
    if (!checked.ok()) return Wrong(ErrorCode::MALFORMED, field, std::string(checked.status().message()));
    *values = *checked;
    return std::nullopt;
  }

  Refusal Wrong(ErrorCode code, std::string_view field, std::string message) const {
    return Refusal{code, FieldName(field), std::move(message)};
  }

  // The values that belong to the ids, count x dim of them.
  template <typename Section>
  MaybeRefusal Values(Section section, capnp::Data::Reader data, std::string_view field, const float** values) const {
    if (section.getType() != wire::ElementType::FLOAT32) {
      return Wrong(ErrorCode::MALFORMED, "type", fmt::format("{}; must be float32", static_cast<uint32_t>(section.getType())));
    }
    const uint64_t count = uint64_t{section.getCount()} * section.getDim();
    if (MaybeRefusal refusal = Bulk<float>(data, count, field, values)) return refusal;
    if (AllFinite(*values, count)) return std::nullopt;
    return Wrong(ErrorCode::NOT_FINITE, field, "has a NaN or an infinity");
  }

 private:
  std::string FieldName(std::string_view field) const { return fmt::format("{}.{}", name_, field); }

  MaybeRefusal CheckPartitions(absl::Span<const Id> ids) {
    const std::vector<uint64_t>& oldest_view = context_.ownership.oldest_view();
    const uint32_t bits = context_.ownership.view().partition_bits();
    bool stale = false;
    for (const Id id : ids) {
      const PartitionNumber partition = PartitionOf(id, bits);
      ++rows_of_partition_[partition];
      stale |= context_.message_view < oldest_view[partition];
    }
    if (!stale || !owned_) return std::nullopt;
    return Wrong(ErrorCode::STALE_VIEW, "ids",
                 fmt::format("view {} does not know who owns some of their partitions since; this shard has view {}",
                             context_.message_view, context_.ownership.view().number));
  }

  const RequestContext& context_;
  std::vector<uint32_t>& rows_of_partition_;
  const bool owned_;
  std::string name_;
  uint64_t rows_ = 0;
};

MaybeRefusal NotHereYet(std::string_view field, TableNumber table, const TableSet& tables) {
  if (tables.Find(table) != nullptr || tables.WasDropped(table)) return std::nullopt;
  return Refusal{ErrorCode::NOT_YET, std::string(field), fmt::format("table {} is not here yet", table)};
}

}  // namespace

MaybeRefusal CheckViewReached(const RequestContext& context) {
  const uint64_t number = context.ownership.view().number;
  if (number != 0 && context.message_view <= number) return std::nullopt;
  return Refusal{ErrorCode::VIEW_AHEAD, "view",
                 number == 0 ? std::string("this shard has no view yet; try again")
                             : fmt::format("{}; this shard has {}; try again", context.message_view, number)};
}

MaybeRefusal PullRequest::Check(wire::Pull::Reader pull, const RequestContext& context) {
  if (MaybeRefusal refusal = CheckViewReached(context)) return refusal;
  SectionChecker checker(context, &rows_of_partition);
  const auto asked = pull.getSections();  // once: each call counts the whole list against the limit on reading a message
  for (uint32_t i = 0; i < asked.size(); ++i) {
    TableStore* table = nullptr;
    absl::Span<const Id> ids;
    const auto section = asked[i];
    if (MaybeRefusal refusal = checker.Check(section, fmt::format("pull.sections[{}]", i), &table, &ids)) return refusal;
    reply_bytes += ids.size() * table->dim() * sizeof(float);
    if (reply_bytes > context.max_reply_bytes) {
      return checker.Wrong(ErrorCode::TOO_LARGE, "count", fmt::format("over {} bytes of rows", context.max_reply_bytes));
    }
    sections.push_back({.table = table, .ids = ids});
  }
  return std::nullopt;
}

MaybeRefusal PushRequest::CheckForwarded(wire::Push::Reader push, const Ownership& ownership, const TableSet& tables,
                                         uint64_t max_rows) {
  const RequestContext context{
      .ownership = ownership, .tables = tables, .message_view = 0, .max_rows = max_rows, .max_reply_bytes = 0};
  SectionChecker checker(context, &rows_of_partition, /*owned=*/false);
  for (const auto section : push.getSections()) {
    if (MaybeRefusal refusal = NotHereYet("forward.push", section.getTable(), tables)) return refusal;
    if (tables.Find(section.getTable()) == nullptr) continue;
    TableStore* table = nullptr;
    absl::Span<const Id> ids;
    if (MaybeRefusal refusal = checker.Check(section, "forward.push", &table, &ids)) return refusal;
    const float* gradients = nullptr;
    if (MaybeRefusal refusal = checker.Values(section, section.getGradients(), "gradients", &gradients)) return refusal;
    sections.push_back({.table = table, .ids = ids, .gradients = gradients, .learning_rate = section.getLearningRate()});
  }
  return std::nullopt;
}

MaybeRefusal PushRequest::CheckSession(wire::Push::Reader push, const uint64_t* trial, const RequestContext& context) {
  if (trial != nullptr) return std::nullopt;
  SectionChecker checker(context, &rows_of_partition);
  for (const auto section : push.getSections()) {
    absl::Span<const Id> ids;
    if (MaybeRefusal refusal = checker.CheckOwned(section, "push.sections", &ids)) return refusal;
  }
  return Refusal{ErrorCode::UNKNOWN_SESSION, "push.session", fmt::format("{} is not open", push.getSession())};
}

MaybeRefusal PushRequest::Check(wire::Push::Reader push, const uint64_t* trial, const RequestContext& context) {
  if (MaybeRefusal refusal = CheckSession(push, trial, context)) return refusal;
  SectionChecker checker(context, &rows_of_partition);
  const auto pushed = push.getSections();  // once, as above
  for (uint32_t i = 0; i < pushed.size(); ++i) {
    const auto section = pushed[i];
    TableStore* table = nullptr;
    absl::Span<const Id> ids;
    if (MaybeRefusal refusal = checker.Check(section, fmt::format("push.sections[{}]", i), &table, &ids)) return refusal;
    if (table->definition().trial != *trial) {
      return checker.Wrong(ErrorCode::CONFLICT, "table",
                           fmt::format("{} is of trial {}; the session is of trial {}", table->definition().name,
                                       table->definition().trial, *trial));
    }
    const float rate = section.getLearningRate();
    if (!std::isfinite(rate)) return checker.Wrong(ErrorCode::NOT_FINITE, "learningRate", fmt::format("{}", rate));
    if (rate < 0) return checker.Wrong(ErrorCode::MALFORMED, "learningRate", fmt::format("{}; must be at least 0", rate));
    const float* gradients = nullptr;
    if (MaybeRefusal refusal = checker.Values(section, section.getGradients(), "gradients", &gradients)) return refusal;
    sections.push_back({.table = table, .ids = ids, .gradients = gradients, .learning_rate = rate});
  }
  return std::nullopt;
}

MaybeRefusal LoadRequest::Check(wire::LoadRows::Reader load, const RequestContext& context) {
  if (MaybeRefusal refusal = CheckViewReached(context)) return refusal;
  SectionChecker checker(context, &rows_of_partition);
  if (MaybeRefusal refusal = checker.Check(load, "loadRows", &table, &ids)) return refusal;
  return checker.Values(load, load.getWeights(), "weights", &weights);
}

MaybeRefusal LoadRequest::CheckForwarded(wire::LoadRows::Reader load, const Ownership& ownership, const TableSet& tables,
                                         uint64_t max_rows) {
  if (MaybeRefusal refusal = NotHereYet("forward.load", load.getTable(), tables)) return refusal;
  if (tables.Find(load.getTable()) == nullptr) return std::nullopt;
  const RequestContext context{
      .ownership = ownership, .tables = tables, .message_view = 0, .max_rows = max_rows, .max_reply_bytes = 0};
  SectionChecker checker(context, &rows_of_partition, /*owned=*/false);
  if (MaybeRefusal refusal = checker.Check(load, "forward.load", &table, &ids)) return refusal;
  return checker.Values(load, load.getWeights(), "weights", &weights);
}

MaybeRefusal ScanRequest::Check(wire::ScanTable::Reader scan, const RequestContext& context) {
  if (MaybeRefusal refusal = CheckViewReached(context)) return refusal;
  table = context.tables.Find(scan.getTable());
  if (table == nullptr) {
    return Refusal{ErrorCode::UNKNOWN_TABLE, "scanTable.table", fmt::format("no table {}", scan.getTable())};
  }
  const uint32_t partitions = context.ownership.view().partitions();
  if (scan.getEnd() > partitions || scan.getPartition() > scan.getEnd()) {
    return Refusal{ErrorCode::MALFORMED, "scanTable.end",
                   fmt::format("partitions {} to {} of {}", scan.getPartition(), scan.getEnd(), partitions)};
  }
  if (scan.getLimit() == 0) return Refusal{ErrorCode::MALFORMED, "scanTable.limit", "0; must be at least 1"};
  // A walk that another view leads elsewhere would leave out what this shard has handed over since.
  if (context.message_view != context.ownership.view().number) {
    return Refusal{ErrorCode::STALE_VIEW, "view",
                   fmt::format("{}; this shard has {}", context.message_view, context.ownership.view().number)};
  }
  begin = {.partition = scan.getPartition(), .slot = scan.getSlot()};
  end = scan.getEnd();
  const uint64_t row_bytes = sizeof(Id) + uint64_t{table->dim()} * sizeof(float);
  limit = std::min({uint64_t{scan.getLimit()}, context.max_rows, std::max<uint64_t>(1, context.max_reply_bytes / row_bytes)});
  return std::nullopt;
}

}  // namespace marquee
