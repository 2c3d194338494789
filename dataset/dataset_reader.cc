#include "dataset/dataset_reader.h"

#include <capnp/any.h>
#include <fmt/format.h>

#include <algorithm>
#include <string>

#include "common/id.h"

namespace marquee {
namespace {

template <typename T>
constexpr capnp::ElementSize kElementSize = sizeof(T) == 1   ? capnp::ElementSize::BYTE
                                            : sizeof(T) == 4 ? capnp::ElementSize::FOUR_BYTES
                                                             : capnp::ElementSize::EIGHT_BYTES;

// The values of a list where they lie, once it is sure that they lie packed: a file may encode any list as one of structs.
template <typename T>
absl::StatusOr<absl::Span<const T>> InPlace(typename capnp::List<T>::Reader list, std::string_view field) {
  if (list.size() == 0) return absl::Span<const T>();
  const capnp::AnyList::Reader any(list);
  if (any.getElementSize() != kElementSize<T>) {
    return absl::InvalidArgumentError(fmt::format("{}: elements are not of {} bytes", field, sizeof(T)));
  }
  return absl::Span<const T>(reinterpret_cast<const T*>(any.getRawBytes().begin()), list.size());
}

absl::Status CheckLength(std::string_view field, size_t length, size_t expected) {
  if (length == expected) return absl::OkStatus();
  return absl::InvalidArgumentError(fmt::format("{}: {} values; must be {}", field, length, expected));
}

absl::Status CheckBelow(std::string_view field, absl::Span<const uint32_t> values, size_t limit) {
  for (size_t i = 0; i < values.size(); ++i) {
    if (values[i] < limit) continue;
    return absl::InvalidArgumentError(fmt::format("{}[{}]: {}; must be below {}", field, i, values[i], limit));
  }
  return absl::OkStatus();
}

absl::Status CheckCodes(std::string_view field, absl::Span<const uint32_t> codes, size_t values) {
  for (size_t i = 0; i < codes.size(); ++i) {
    if (codes[i] < values || codes[i] == kNullCode) continue;
    return absl::InvalidArgumentError(fmt::format("{}[{}]: {}; must be below {} or null", field, i, codes[i], values));
  }
  return absl::OkStatus();
}

absl::Status CheckOffsets(std::string_view field, absl::Span<const uint64_t> offsets, size_t rows, size_t codes) {
  if (absl::Status status = CheckLength(field, offsets.size(), rows + 1); !status.ok()) return status;
  if (offsets.front() != 0 || offsets.back() != codes || !std::is_sorted(offsets.begin(), offsets.end())) {
    return absl::InvalidArgumentError(fmt::format("{}: must rise from 0 to {}", field, codes));
  }
  return absl::OkStatus();
}

// A key tells rows apart: no null, and no value twice.
absl::Status CheckKey(std::string_view field, const Column* column, Column::Level level) {
  if (column == nullptr || column->level() != level || column->type() != Column::Type::kId) {
    return absl::InvalidArgumentError(fmt::format("{}: must name a column of ids of that level", field));
  }
  std::vector<uint8_t> taken(column->values(), 0);
  for (size_t row = 0; row < column->size(); ++row) {
    const uint32_t code = column->code(row);
    if (code == kNullCode || taken[code]++ != 0) {
      return absl::InvalidArgumentError(
          fmt::format("{}: row {} of column {} is null or not unique", field, row, column->name()));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status DatasetReader::ReadValues(file::Column::Reader source, Column& column) {
  const std::string field = fmt::format("column {}", column.name_);
  if (source.isNumber()) {
    column.type_ = Column::Type::kNumber;
    const auto numbers = InPlace<double>(source.getNumber().getValues(), field);
    if (!numbers.ok()) return numbers.status();
    const auto valid = InPlace<uint8_t>(source.getNumber().getValid(), field);
    if (!valid.ok()) return valid.status();
    column.numbers_ = *numbers;
    column.valid_ = *valid;
    if (!valid->empty()) {
      if (absl::Status status = CheckLength(field, valid->size(), column.size_); !status.ok()) return status;
    }
    return CheckLength(field, numbers->size(), column.size_);
  }
  column.type_ = source.isId() ? Column::Type::kId : Column::Type::kIds;
  const auto codes = InPlace<uint32_t>(source.isId() ? source.getId() : source.getIds().getCodes(), field);
  if (!codes.ok()) return codes.status();
  column.codes_ = *codes;
  if (source.isId()) {
    if (absl::Status status = CheckLength(field, codes->size(), column.size_); !status.ok()) return status;
    return CheckCodes(field, *codes, column.dictionary_.size());
  }
  const auto offsets = InPlace<uint64_t>(source.getIds().getOffsets(), field);
  if (!offsets.ok()) return offsets.status();
  column.offsets_ = *offsets;
  if (absl::Status status = CheckOffsets(field, *offsets, column.size_, codes->size()); !status.ok()) return status;
  return CheckBelow(field, *codes, column.dictionary_.size());
}

absl::StatusOr<std::unique_ptr<Column>> DatasetReader::ReadColumn(file::Column::Reader source, const Dataset& data) {
  auto column = std::make_unique<Column>();
  column->name_ = std::string(source.getName().cStr(), source.getName().size());
  switch (source.getLevel()) {
    case file::Column::Level::INTERACTION:
      column->level_ = Column::Level::kInteraction;
      column->size_ = data.interactions();
      break;
    case file::Column::Level::USER:
      column->level_ = Column::Level::kUser;
      column->size_ = data.users();
      break;
    case file::Column::Level::ITEM:
      column->level_ = Column::Level::kItem;
      column->size_ = data.items();
      break;
    default:
      return absl::InvalidArgumentError(fmt::format("column {}: unknown level", column->name_));
  }
  if (!source.isId() && !source.isIds() && !source.isNumber()) {
    return absl::InvalidArgumentError(fmt::format("column {}: unknown type", column->name_));
  }
  column->dictionary_.reserve(source.getDictionary().size());
  column->ids_.reserve(source.getDictionary().size());
  for (const capnp::Text::Reader text : source.getDictionary()) {
    column->dictionary_.emplace_back(text.begin(), text.size());
    column->ids_.push_back(FeatureId(column->name_, column->dictionary_.back()));
  }
  if (absl::Status status = ReadValues(source, *column); !status.ok()) return status;
  return column;
}

absl::Status DatasetReader::CheckInteractions(const Dataset& data) {
  if (absl::Status status = CheckLength("itemOf", data.item_of_.size(), data.interactions()); !status.ok()) return status;
  if (absl::Status status = CheckLength("label", data.label_.size(), data.interactions()); !status.ok()) return status;
  if (data.rated_items_ > data.items_) {
    return absl::InvalidArgumentError(fmt::format("ratedItems: {}; must be at most {}", data.rated_items_, data.items_));
  }
  if (absl::Status status = CheckBelow("userOf", data.user_of_, data.users_); !status.ok()) return status;
  return CheckBelow("itemOf", data.item_of_, data.rated_items_);
}

absl::StatusOr<std::shared_ptr<Dataset>> DatasetReader::Read(file::DataFile::Reader file) {
  std::shared_ptr<Dataset> data(new Dataset());
  const auto user_of = InPlace<uint32_t>(file.getUserOf(), "userOf");
  if (!user_of.ok()) return user_of.status();
  const auto item_of = InPlace<uint32_t>(file.getItemOf(), "itemOf");
  if (!item_of.ok()) return item_of.status();
  const auto label = InPlace<float>(file.getLabel(), "label");
  if (!label.ok()) return label.status();
  data->name_ = std::string(file.getName().cStr(), file.getName().size());
  data->synthetic_ = file.getSynthetic();
  data->users_ = file.getUsers();
  data->items_ = file.getItems();
  data->rated_items_ = file.getRatedItems();
  data->user_of_ = *user_of;
  data->item_of_ = *item_of;
  data->label_ = *label;
  if (absl::Status status = CheckInteractions(*data); !status.ok()) return status;
  for (const file::Column::Reader source : file.getColumns()) {
    absl::StatusOr<std::unique_ptr<Column>> column = ReadColumn(source, *data);
    if (!column.ok()) return column.status();
    if (data->column((*column)->name()) != nullptr) {
      return absl::InvalidArgumentError(fmt::format("column {}: there are two of that name", (*column)->name()));
    }
    data->columns_.push_back(*std::move(column));
  }
  data->user_key_ = data->column(file.getUserKey().cStr());
  data->item_key_ = data->column(file.getItemKey().cStr());
  if (absl::Status status = CheckKey("userKey", data->user_key_, Column::Level::kUser); !status.ok()) return status;
  if (absl::Status status = CheckKey("itemKey", data->item_key_, Column::Level::kItem); !status.ok()) return status;
  return data;
}

}  // namespace marquee
