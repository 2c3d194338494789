#include "worker/models/feature.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <string_view>

#include "absl/status/status.h"
#include "common/table.h"

namespace marquee {
namespace {

using Kind = FeatureConfig::Kind;

std::string_view TypeName(Column::Type type) {
  switch (type) {
    case Column::Type::kId:
      return "id";
    case Column::Type::kIds:
      return "ids";
    case Column::Type::kNumber:
      return "number";
  }
  return "unknown";
}

absl::StatusOr<Kind> ResolveKind(const FeatureConfig& config, const Column& column) {
  switch (column.type()) {
    case Column::Type::kId:
      if (config.kind == Kind::kAuto || config.kind == Kind::kId) return Kind::kId;
      break;
    case Column::Type::kIds:
      if (config.kind == Kind::kAuto || config.kind == Kind::kIds) return Kind::kIds;
      break;
    case Column::Type::kNumber:
      if (config.kind == Kind::kAuto || config.kind == Kind::kNumber) return Kind::kNumber;
      if (config.kind == Kind::kId) return Kind::kId;
      break;
  }
  return absl::InvalidArgumentError(
      fmt::format("feature {}: its kind does not fit the column, which is of type {}; allowed are auto, {}", config.name,
                  TypeName(column.type()), column.type() == Column::Type::kNumber ? "number and id" : TypeName(column.type())));
}

// A model that is given the answer learns nothing, and its figures would look splendid.
bool IsLabel(const Column& column, const Dataset& data) {
  if (column.level() != Column::Level::kInteraction || column.type() != Column::Type::kNumber) return false;
  for (size_t i = 0; i < data.interactions(); ++i) {
    if (column.is_null(i) || static_cast<float>(column.number(i)) != data.label()[i]) return false;
  }
  return true;
}

absl::Status UnknownColumn(const std::string& name, const Dataset& data) {
  std::vector<std::string> names;
  for (const auto& column : data.columns()) names.push_back(column->name());
  return absl::InvalidArgumentError(
      fmt::format("feature {}: no such column in {}; its columns are {}", name, data.name(), fmt::join(names, ", ")));
}

bool HasNulls(const Column& column) {
  for (size_t row = 0; row < column.size(); ++row) {
    if (column.is_null(row)) return true;
  }
  return false;
}

void AddScaled(const float* __restrict from, float scale, int count, float* __restrict to) {
  for (int i = 0; i < count; ++i) to[i] += scale * from[i];
}

void Add(const float* __restrict from, int count, float* __restrict to) {
  for (int i = 0; i < count; ++i) to[i] += from[i];
}

}  // namespace

absl::StatusOr<Feature> Feature::Make(const FeatureConfig& config, int model_dim, const Dataset& data, const Split& split) {
  const Column* column = data.column(config.name);
  if (column == nullptr) return UnknownColumn(config.name, data);
  absl::StatusOr<Kind> kind = ResolveKind(config, *column);
  if (!kind.ok()) return kind.status();
  if (IsLabel(*column, data)) {
    return absl::InvalidArgumentError(fmt::format("feature {}: it is the label that the model has to predict", config.name));
  }

  FeatureConfig resolved = config;
  resolved.kind = *kind;
  if (*kind == Kind::kNumber) {
    Feature feature(resolved, *column, HasNulls(*column) ? 2 : 1);
    feature.UseNumbers(*column, data, split);
    return feature;
  }
  resolved.dim = config.dim == 0 ? model_dim : config.dim;
  if (resolved.dim < 1 || resolved.dim > static_cast<int>(kMaxDim)) {
    return absl::InvalidArgumentError(fmt::format("feature {}: dim {}; must be 1 to {}", config.name, resolved.dim, kMaxDim));
  }
  Feature feature(resolved, *column, resolved.dim);
  if (column->type() == Column::Type::kNumber) {
    feature.UseNumbersAsIds(*column);
  } else if (*kind == Kind::kIds) {
    feature.UseLists(*column);
  } else {
    feature.UseCodes(*column);
  }
  feature.ids_.push_back(FeatureId(config.name, ""));
  feature.distinct_ = DistinctCodes(feature.ids_.size());
  return feature;
}

Feature::Feature(const FeatureConfig& config, const Column& column, int width)
    : config_(config), level_(column.level()), width_(width) {}

void Feature::UseCodes(const Column& column) {
  const auto null_code = static_cast<uint32_t>(column.values());
  for (uint32_t code = 0; code < null_code; ++code) ids_.push_back(column.id(code));
  codes_.resize(column.size());
  for (size_t row = 0; row < column.size(); ++row) codes_[row] = std::min(column.code(row), null_code);
}

void Feature::UseLists(const Column& column) {
  for (uint32_t code = 0; code < column.values(); ++code) ids_.push_back(column.id(code));
  offsets_.push_back(0);
  for (size_t row = 0; row < column.size(); ++row) {
    const absl::Span<const uint32_t> list = column.codes(row);
    codes_.insert(codes_.end(), list.begin(), list.end());
    offsets_.push_back(codes_.size());
  }
}

void Feature::UseNumbersAsIds(const Column& column) {
  std::vector<double> values;
  for (size_t row = 0; row < column.size(); ++row) {
    if (!column.is_null(row)) values.push_back(column.number(row));
  }
  std::sort(values.begin(), values.end());
  values.erase(std::unique(values.begin(), values.end()), values.end());
  for (const double value : values) ids_.push_back(FeatureId(config_.name, fmt::format("{}", value)));
  codes_.resize(column.size());
  for (size_t row = 0; row < column.size(); ++row) {
    const auto found = column.is_null(row) ? values.end() : std::lower_bound(values.begin(), values.end(), column.number(row));
    codes_[row] = static_cast<uint32_t>(found - values.begin());
  }
}

void Feature::UseNumbers(const Column& column, const Dataset& data, const Split& split) {
  double count = 0;
  double sum = 0;
  for (const uint32_t interaction : split.train) {
    const size_t row = data.RowOf(level_, interaction);
    if (column.is_null(row)) continue;
    sum += column.number(row);
    count += 1;
  }
  const double mean = count > 0 ? sum / count : 0.0;
  double squares = 0;
  for (const uint32_t interaction : split.train) {
    const size_t row = data.RowOf(level_, interaction);
    if (!column.is_null(row)) squares += (column.number(row) - mean) * (column.number(row) - mean);
  }
  const double deviation = squares > 0 ? std::sqrt(squares / count) : 1.0;

  numbers_.assign(column.size() * width_, 0.0F);
  for (size_t row = 0; row < column.size(); ++row) {
    float* out = numbers_.data() + row * width_;
    if (!column.is_null(row)) {
      out[0] = static_cast<float>((column.number(row) - mean) / deviation);
    } else {
      out[1] = 1.0F;
    }
  }
}

FeatureInput Feature::Plan(absl::Span<const uint32_t> entities, std::vector<Id>& ids) {
  FeatureInput input;
  if (!embedded()) {
    input.numbers.reserve(entities.size() * width_);
    for (const uint32_t row : entities) {
      const float* from = numbers_.data() + static_cast<size_t>(row) * width_;
      input.numbers.insert(input.numbers.end(), from, from + width_);
    }
    return input;
  }

  distinct_.Begin();
  const auto slot_of = [&](uint32_t code) {
    const uint32_t slot = distinct_.SlotOf(code);
    if (slot == ids.size()) ids.push_back(ids_[code]);
    return slot;
  };
  input.slots.reserve(entities.size());
  if (config_.kind == Kind::kId) {
    for (const uint32_t row : entities) input.slots.push_back(slot_of(codes_[row]));
    return input;
  }
  input.offsets.reserve(entities.size() + 1);
  input.offsets.push_back(0);
  for (const uint32_t row : entities) {
    for (uint64_t i = offsets_[row]; i < offsets_[row + 1]; ++i) input.slots.push_back(slot_of(codes_[i]));
    input.offsets.push_back(static_cast<uint32_t>(input.slots.size()));
  }
  return input;
}

float Feature::ScaleOf(size_t list_size) const {
  return config_.pooling == FeatureConfig::Pooling::kMean ? 1.0F / static_cast<float>(list_size) : 1.0F;
}

void Feature::Gather(const FeatureInput& input, size_t begin, size_t end, const float* values, float* out,
                     size_t stride) const {
  for (size_t i = begin; i < end; ++i, out += stride) {
    switch (config_.kind) {
      case Kind::kNumber:
        Add(input.numbers.data() + i * width_, width_, out);
        break;
      case Kind::kIds:
        for (size_t j = input.offsets[i]; j < input.offsets[i + 1]; ++j) {
          AddScaled(values + static_cast<size_t>(input.slots[j]) * width_, ScaleOf(input.offsets[i + 1] - input.offsets[i]),
                    width_, out);
        }
        break;
      default:
        Add(values + static_cast<size_t>(input.slots[i]) * width_, width_, out);
    }
  }
}

void Feature::Scatter(const FeatureInput& input, size_t begin, size_t end, const float* in, size_t stride,
                      float* gradients) const {
  for (size_t i = begin; i < end; ++i, in += stride) {
    if (config_.kind == Kind::kId) {
      Add(in, width_, gradients + static_cast<size_t>(input.slots[i]) * width_);
      continue;
    }
    for (size_t j = input.offsets[i]; j < input.offsets[i + 1]; ++j) {
      AddScaled(in, ScaleOf(input.offsets[i + 1] - input.offsets[i]), width_,
                gradients + static_cast<size_t>(input.slots[j]) * width_);
    }
  }
}

}  // namespace marquee
