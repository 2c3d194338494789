#include "ps/row_request.h"

#include <fmt/format.h>

#include <bit>
#include <cmath>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "common/message.h"

namespace marquee {
namespace {

// "push.sections[2].ids"
std::string FieldName(std::string_view request, size_t section, std::string_view field) {
  return fmt::format("{}.sections[{}].{}", request, section, field);
}

// The checks that pulls and pushes share, section after section.
class SectionChecker {
 public:
  SectionChecker(std::string_view request, const RequestContext& context, std::vector<uint32_t>* rows_of_partition)
      : request_(request), context_(context), rows_of_partition_(*rows_of_partition) {
    rows_of_partition_.assign(context.ownership.view().partitions(), 0);
  }

  template <typename Section>
  MaybeRefusal Check(Section section, size_t index, TableStore** table, absl::Span<const Id>* ids) {
    index_ = index;
    *table = context_.tables.Find(section.getTable());
    if (*table == nullptr) return Wrong(ErrorCode::UNKNOWN_TABLE, "table", fmt::format("no table {}", section.getTable()));
    if (section.getDim() != (*table)->dim()) {
      return Wrong(ErrorCode::WRONG_DIMENSION, "dim",
                   fmt::format("{}; {} has {}", section.getDim(), (*table)->definition().name, (*table)->dim()));
    }
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
    const absl::StatusOr<const T*> checked = PackedValues<T>(data, count, FieldName(request_, index_, field));
    if (!checked.ok()) return Wrong(ErrorCode::MALFORMED, field, std::string(checked.status().message()));
    *values = *checked;
    return std::nullopt;
  }

  Refusal Wrong(ErrorCode code, std::string_view field, std::string message) const {
    return Refusal{code, FieldName(request_, index_, field), std::move(message)};
  }

 private:
  MaybeRefusal CheckPartitions(absl::Span<const Id> ids) {
    const std::vector<uint64_t>& oldest_view = context_.ownership.oldest_view();
    const uint32_t bits = context_.ownership.view().partition_bits();
    bool stale = false;
    for (const Id id : ids) {
      const PartitionNumber partition = PartitionOf(id, bits);
      ++rows_of_partition_[partition];
      stale |= context_.message_view < oldest_view[partition];
    }
    if (!stale) return std::nullopt;
    return Wrong(ErrorCode::STALE_VIEW, "ids",
                 fmt::format("view {} does not know who owns some of their partitions since; this shard has view {}",
                             context_.message_view, context_.ownership.view().number));
  }

  std::string_view request_;
  const RequestContext& context_;
  std::vector<uint32_t>& rows_of_partition_;
  size_t index_ = 0;
  uint64_t rows_ = 0;
};

// Whether all exponents are below that of NaN and infinity; no early exit, so that it vectorizes.
bool AllFinite(const float* values, size_t count) {
  constexpr uint32_t kExponent = 0x7f800000U;
  uint32_t found = 0;
  for (size_t i = 0; i < count; ++i) found |= (std::bit_cast<uint32_t>(values[i]) & kExponent) == kExponent ? 1U : 0U;
  return found == 0;
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
  SectionChecker checker("pull", context, &rows_of_partition);
  for (size_t i = 0; i < pull.getSections().size(); ++i) {
    TableStore* table = nullptr;
    absl::Span<const Id> ids;
    if (MaybeRefusal refusal = checker.Check(pull.getSections()[static_cast<uint32_t>(i)], i, &table, &ids)) return refusal;
    reply_bytes += ids.size() * table->dim() * sizeof(float);
    if (reply_bytes > context.max_reply_bytes) {
      return checker.Wrong(ErrorCode::TOO_LARGE, "count", fmt::format("over {} bytes of rows", context.max_reply_bytes));
    }
    sections.push_back({.table = table, .ids = ids});
  }
  return std::nullopt;
}

MaybeRefusal PushRequest::Check(wire::Push::Reader push, uint64_t trial, const RequestContext& context) {
  SectionChecker checker("push", context, &rows_of_partition);
  for (size_t i = 0; i < push.getSections().size(); ++i) {
    const auto section = push.getSections()[static_cast<uint32_t>(i)];
    TableStore* table = nullptr;
    absl::Span<const Id> ids;
    if (MaybeRefusal refusal = checker.Check(section, i, &table, &ids)) return refusal;
    if (table->definition().trial != trial) {
      return checker.Wrong(ErrorCode::CONFLICT, "table",
                           fmt::format("{} is of trial {}; the session is of trial {}", table->definition().name,
                                       table->definition().trial, trial));
    }
    if (section.getType() != wire::ElementType::FLOAT32) {
      return checker.Wrong(ErrorCode::MALFORMED, "type",
                           fmt::format("{}; must be float32", static_cast<uint32_t>(section.getType())));
    }
    const float rate = section.getLearningRate();
    if (!std::isfinite(rate)) return checker.Wrong(ErrorCode::NOT_FINITE, "learningRate", fmt::format("{}", rate));
    if (rate < 0) return checker.Wrong(ErrorCode::MALFORMED, "learningRate", fmt::format("{}; must be at least 0", rate));
    const float* gradients = nullptr;
    const uint64_t values = uint64_t{section.getCount()} * section.getDim();
    if (MaybeRefusal refusal = checker.Bulk<float>(section.getGradients(), values, "gradients", &gradients)) return refusal;
    if (!AllFinite(gradients, values)) {
      return checker.Wrong(ErrorCode::NOT_FINITE, "gradients", "has a NaN or an infinity");
    }
    sections.push_back({.table = table, .ids = ids, .gradients = gradients, .learning_rate = rate});
  }
  return std::nullopt;
}

}  // namespace marquee
