#include "worker/models/feature.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "common/table.h"
#include "worker/models/history_values.h"
#include "worker/models/vectors.h"

namespace marquee {
namespace {

using Kind = FeatureConfig::Kind;

constexpr int64_t kListGrain = 32;  // histories for one thread

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

std::string_view KindsOf(Column::Type type) {
  switch (type) {
    case Column::Type::kId:
      return "id, words and (of items) history";
    case Column::Type::kIds:
      return "ids";
    case Column::Type::kNumber:
      return "number and id";
  }
  return "";
}

std::string_view LevelName(Column::Level level) {
  switch (level) {
    case Column::Level::kInteraction:
      return "interactions";
    case Column::Level::kUser:
      return "users";
    case Column::Level::kItem:
      return "items";
  }
  return "unknown";
}

absl::StatusOr<Kind> ResolveKind(const FeatureConfig& config, const Column& column) {
  if (config.kind == Kind::kHistory) {
    if (column.type() == Column::Type::kId && column.level() == Column::Level::kItem) return Kind::kHistory;
    return absl::InvalidArgumentError(
        fmt::format("feature {}: kind history takes a column of items of type id; this one is of {} and of type {}",
                    config.name, LevelName(column.level()), TypeName(column.type())));
  }
  switch (column.type()) {
    case Column::Type::kId:
      if (config.kind == Kind::kAuto || config.kind == Kind::kId) return Kind::kId;
      if (config.kind == Kind::kWords) return Kind::kWords;
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
                  TypeName(column.type()), KindsOf(column.type())));
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

void Add(const float* __restrict from, int count, float* __restrict to) {
  for (int i = 0; i < count; ++i) to[i] += from[i];
}

float WeightOf(const FeatureInput& input, size_t value) { return input.weights.empty() ? 1.0F : input.weights[value]; }

// What an entity leaves out of its user's history, and how many values are left.
struct Part {
  FeatureInput::Range left_out;
  size_t size = 0;
};

Part PartOf(const FeatureInput& input, size_t entity) {
  const uint32_t list = input.list_of[entity];
  const size_t all = input.offsets[list + 1] - input.offsets[list];
  if (input.left_out.empty()) return {{}, all};
  const FeatureInput::Range left_out = input.left_out[entity];
  return {left_out, all - (left_out.end - left_out.begin)};
}

// Runs of letters and digits, in lower case. Bytes of other alphabets are letters.
std::vector<std::string> WordsOf(std::string_view text) {
  std::vector<std::string> words;
  std::string word;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x80 || absl::ascii_isalnum(byte)) {
      word.push_back(absl::ascii_tolower(byte));
    } else if (!word.empty()) {
      words.push_back(std::exchange(word, {}));
    }
  }
  if (!word.empty()) words.push_back(word);
  return words;
}

}  // namespace

absl::Span<const uint32_t> Entities::OfLevel(Column::Level level) const {
  switch (level) {
    case Column::Level::kInteraction:
      return interactions;
    case Column::Level::kUser:
      return users;
    case Column::Level::kItem:
      return items;
  }
  return {};
}

Known Entities::known() const {
  switch (purpose) {
    case For::kTraining:
    case For::kValidation:
      return Known::kTrain;
    case For::kTest:
      return Known::kTrainAndValidation;
    case For::kNow:
      return Known::kAll;
  }
  return Known::kTrain;
}

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
  } else if (*kind == Kind::kWords) {
    feature.UseWords(*column);
  } else {
    feature.UseCodes(*column);
  }
  if (*kind == Kind::kHistory) {
    absl::StatusOr<HistoryValues> history = HistoryValues::Make(config, data, split);
    if (!history.ok()) return history.status();
    feature.history_ = std::make_shared<HistoryValues>(*std::move(history));
    feature.level_ = Column::Level::kUser;
    feature.distinct_users_ = DistinctCodes(data.users());
  }
  feature.ids_.push_back(FeatureId(config.name, ""));
  feature.distinct_ = DistinctCodes(feature.ids_.size());
  return feature;
}

Feature::Feature(const FeatureConfig& config, const Column& column, int width)
    : config_(config), table_name_(config.table_name()), level_(column.level()), width_(width) {}

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

void Feature::UseWords(const Column& column) {
  std::map<std::string, uint32_t> code_of;
  std::vector<std::vector<uint32_t>> words_of(column.values());
  for (uint32_t value = 0; value < column.values(); ++value) {
    for (const std::string& word : WordsOf(column.value(value))) {
      const auto [found, added] = code_of.try_emplace(word, static_cast<uint32_t>(ids_.size()));
      if (added) ids_.push_back(FeatureId(config_.name, word));
      words_of[value].push_back(found->second);
    }
  }
  offsets_.push_back(0);
  for (size_t row = 0; row < column.size(); ++row) {
    if (column.code(row) != kNullCode) {
      const std::vector<uint32_t>& words = words_of[column.code(row)];
      codes_.insert(codes_.end(), words.begin(), words.end());
    }
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

uint32_t Feature::SlotOf(uint32_t code, std::vector<Id>& ids) {
  const uint32_t slot = distinct_.SlotOf(code);
  if (slot == ids.size()) ids.push_back(ids_[code]);
  return slot;
}

FeatureInput Feature::Plan(const Entities& entities, std::vector<Id>& ids) {
  const absl::Span<const uint32_t> rows = entities.OfLevel(level_);
  FeatureInput input;
  distinct_.Begin();
  if (level_ == Column::Level::kInteraction && rows.empty()) return PlanNulls(entities.count, ids);
  if (level_ == Column::Level::kUser && entities.guest.has_value()) return PlanGuest(entities, ids);
  switch (config_.kind) {
    case Kind::kNumber:
      input.numbers.reserve(rows.size() * width_);
      for (const uint32_t row : rows) {
        const float* from = numbers_.data() + static_cast<size_t>(row) * width_;
        input.numbers.insert(input.numbers.end(), from, from + width_);
      }
      return input;
    case Kind::kIds:
    case Kind::kWords:
      return PlanLists(rows, ids);
    case Kind::kHistory:
      return PlanHistory(entities, ids);
    default:
      input.slots.reserve(rows.size());
      for (const uint32_t row : rows) input.slots.push_back(SlotOf(codes_[row], ids));
      return input;
  }
}

FeatureInput Feature::PlanNulls(size_t count, std::vector<Id>& ids) {
  FeatureInput input;
  switch (config_.kind) {
    case Kind::kNumber:
      for (size_t i = 0; i < count; ++i) {
        input.numbers.push_back(0.0F);
        if (width_ == 2) input.numbers.push_back(1.0F);
      }
      break;
    case Kind::kIds:
    case Kind::kWords:
      input.offsets.assign(count + 1, 0);
      break;
    default:
      for (size_t i = 0; i < count; ++i) input.slots.push_back(SlotOf(static_cast<uint32_t>(ids_.size() - 1), ids));
  }
  return input;
}

// What is not known of a guest gives zeros: null may have a row that says something of those who did not tell, or none at all.
FeatureInput Feature::PlanGuest(const Entities& entities, std::vector<Id>& ids) {
  FeatureInput input;
  switch (config_.kind) {
    case Kind::kNumber:
      input.numbers.assign(entities.count * width_, 0.0F);
      break;
    case Kind::kIds:
    case Kind::kWords:
      input.offsets.assign(entities.count + 1, 0);
      break;
    case Kind::kHistory:
      for (const GuestRating& rated : *entities.guest) input.slots.push_back(SlotOf(codes_[rated.item], ids));
      input.offsets = {0, static_cast<uint32_t>(input.slots.size())};
      input.weights = history_->WeightsOf(*entities.guest);
      input.list_of.assign(entities.count, 0);
      break;
    default:
      input.slots.assign(entities.count, FeatureInput::kNoSlot);
  }
  return input;
}

FeatureInput Feature::PlanLists(absl::Span<const uint32_t> rows, std::vector<Id>& ids) {
  FeatureInput input;
  input.offsets.reserve(rows.size() + 1);
  input.offsets.push_back(0);
  for (const uint32_t row : rows) {
    for (uint64_t i = offsets_[row]; i < offsets_[row + 1]; ++i) input.slots.push_back(SlotOf(codes_[i], ids));
    input.offsets.push_back(static_cast<uint32_t>(input.slots.size()));
  }
  return input;
}

FeatureInput Feature::PlanHistory(const Entities& entities, std::vector<Id>& ids) {
  const HistoryValues::Part& part = history_->part(entities.known());
  const absl::Span<const uint32_t> item_of = history_->data().item_of();
  const bool leave_out = entities.purpose == Entities::For::kTraining && entities.mask == nullptr;
  TORCH_CHECK(!leave_out || entities.interactions.size() == entities.count, "a history for training needs to know the targets");
  FeatureInput input;
  input.offsets.push_back(0);
  input.list_of.reserve(entities.count);
  distinct_users_.Begin();
  for (size_t i = 0; i < entities.count; ++i) {
    const uint32_t user = entities.users[i];
    const absl::Span<const uint32_t> history = part.history.Of(user);
    const uint32_t list = distinct_users_.SlotOf(user);
    input.list_of.push_back(list);
    if (list + 1 == input.offsets.size()) {
      for (size_t j = 0; j < history.size(); ++j) {
        if (entities.mask != nullptr && entities.mask->LeavesOut(history[j])) continue;
        input.slots.push_back(SlotOf(codes_[item_of[history[j]]], ids));
        if (!part.weights.empty()) input.weights.push_back(part.weights[part.history.begin(user) + j]);
      }
      input.offsets.push_back(static_cast<uint32_t>(input.slots.size()));
    }
    if (!leave_out) continue;
    const uint32_t target = item_of[entities.interactions[i]];
    const auto begin =
        std::partition_point(history.begin(), history.end(), [&](uint32_t entry) { return item_of[entry] < target; });
    const auto end = std::partition_point(begin, history.end(), [&](uint32_t entry) { return item_of[entry] == target; });
    input.left_out.push_back({input.offsets[list] + static_cast<uint32_t>(begin - history.begin()),
                              input.offsets[list] + static_cast<uint32_t>(end - history.begin())});
  }
  return input;
}

float Feature::ScaleOf(size_t list_size) const {
  if (list_size == 0) return 0.0F;
  switch (config_.pooling) {
    case FeatureConfig::Pooling::kSum:
      return 1.0F;
    case FeatureConfig::Pooling::kMean:
      return 1.0F / static_cast<float>(list_size);
    case FeatureConfig::Pooling::kSqrt:
      return 1.0F / std::sqrt(static_cast<float>(list_size));
  }
  return 1.0F;
}

void Feature::Begin(FeatureInput& input, const float* values) const {
  if (config_.kind != Kind::kHistory) return;
  const size_t lists = input.offsets.size() - 1;
  input.sums.assign(lists * width_, 0.0F);
  input.sum_gradients.assign(lists * width_, 0.0F);
  at::parallel_for(0, static_cast<int64_t>(lists), kListGrain, [&](int64_t from, int64_t to) {
    for (int64_t list = from; list < to; ++list) {
      float* sum = input.sums.data() + list * width_;
      for (size_t j = input.offsets[list]; j < input.offsets[list + 1]; ++j) {
        AddScaled(values + static_cast<size_t>(input.slots[j]) * width_, WeightOf(input, j), width_, sum);
      }
    }
  });
}

void Feature::Finish(const FeatureInput& input, float* gradients) const {
  if (config_.kind != Kind::kHistory) return;
  for (size_t list = 0; list + 1 < input.offsets.size(); ++list) {
    const float* sum_gradient = input.sum_gradients.data() + list * width_;
    for (size_t j = input.offsets[list]; j < input.offsets[list + 1]; ++j) {
      AddScaled(sum_gradient, WeightOf(input, j), width_, gradients + static_cast<size_t>(input.slots[j]) * width_);
    }
  }
}

void Feature::GatherHistory(const FeatureInput& input, size_t entity, const float* values, float* out) const {
  const Part part = PartOf(input, entity);
  const float scale = ScaleOf(part.size);
  if (scale == 0) return;
  AddScaled(input.sums.data() + static_cast<size_t>(input.list_of[entity]) * width_, scale, width_, out);
  for (size_t j = part.left_out.begin; j < part.left_out.end; ++j) {
    AddScaled(values + static_cast<size_t>(input.slots[j]) * width_, -scale * WeightOf(input, j), width_, out);
  }
}

std::vector<float> Feature::HistoryShares(const FeatureInput& input, size_t entity, const float* values,
                                          const float* gradient) const {
  const uint32_t list = input.list_of[entity];
  std::vector<float> shares;
  for (size_t j = input.offsets[list]; j < input.offsets[list + 1]; ++j) {
    const float product = Product(values + static_cast<size_t>(input.slots[j]) * width_, gradient, width_);
    shares.push_back(ScaleOf(input.offsets[list + 1] - input.offsets[list]) * WeightOf(input, j) * product);
  }
  return shares;
}

void Feature::ScatterHistory(FeatureInput& input, size_t entity, const float* in, float* gradients) const {
  const Part part = PartOf(input, entity);
  const float scale = ScaleOf(part.size);
  if (scale == 0) return;
  AddScaled(in, scale, width_, input.sum_gradients.data() + static_cast<size_t>(input.list_of[entity]) * width_);
  for (size_t j = part.left_out.begin; j < part.left_out.end; ++j) {
    AddScaled(in, -scale * WeightOf(input, j), width_, gradients + static_cast<size_t>(input.slots[j]) * width_);
  }
}

void Feature::Gather(const FeatureInput& input, size_t begin, size_t end, const float* values, float* out,
                     size_t stride) const {
  for (size_t i = begin; i < end; ++i, out += stride) {
    switch (config_.kind) {
      case Kind::kNumber:
        Add(input.numbers.data() + i * width_, width_, out);
        break;
      case Kind::kIds:
      case Kind::kWords:
        for (size_t j = input.offsets[i]; j < input.offsets[i + 1]; ++j) {
          AddScaled(values + static_cast<size_t>(input.slots[j]) * width_, ScaleOf(input.offsets[i + 1] - input.offsets[i]),
                    width_, out);
        }
        break;
      case Kind::kHistory:
        GatherHistory(input, i, values, out);
        break;
      default:
        if (input.slots[i] == FeatureInput::kNoSlot) break;
        Add(values + static_cast<size_t>(input.slots[i]) * width_, width_, out);
    }
  }
}

void Feature::Scatter(FeatureInput& input, size_t begin, size_t end, const float* in, size_t stride, float* gradients) const {
  for (size_t i = begin; i < end; ++i, in += stride) {
    switch (config_.kind) {
      case Kind::kIds:
      case Kind::kWords:
        for (size_t j = input.offsets[i]; j < input.offsets[i + 1]; ++j) {
          AddScaled(in, ScaleOf(input.offsets[i + 1] - input.offsets[i]), width_,
                    gradients + static_cast<size_t>(input.slots[j]) * width_);
        }
        break;
      case Kind::kHistory:
        ScatterHistory(input, i, in, gradients);
        break;
      default:
        Add(in, width_, gradients + static_cast<size_t>(input.slots[i]) * width_);
    }
  }
}

}  // namespace marquee
