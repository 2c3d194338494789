#include "dataset/writer.h"

#include <capnp/message.h>
#include <capnp/serialize.h>
#include <fmt/format.h>
#include <kj/exception.h>
#include <xxhash.h>

#include <algorithm>
#include <limits>
#include <numeric>
#include <utility>

#include "dataset/atomic_file.h"
#include "dataset/dataset_file.h"
#include "dataset/dataset_reader.h"
#include "schemas/dataset.capnp.h"

namespace marquee {
namespace {

constexpr size_t kMaxListSize = (1U << 29U) - 1;  // of a Cap'n Proto list

template <typename List, typename T>
void Fill(List list, const std::vector<T>& values) {
  for (uint32_t i = 0; i < list.size(); ++i) list.set(i, values[i]);
}

uint32_t ListSize(size_t size) { return static_cast<uint32_t>(size); }

file::Column::Level LevelOf(Column::Level level) {
  return level == Column::Level::kInteraction ? file::Column::Level::INTERACTION
         : level == Column::Level::kUser      ? file::Column::Level::USER
                                              : file::Column::Level::ITEM;
}

void FillDictionary(const Dictionary& dictionary, file::Column::Builder builder) {
  const std::vector<std::string>& texts = dictionary.texts();
  auto list = builder.initDictionary(ListSize(texts.size()));
  for (uint32_t i = 0; i < list.size(); ++i) list.set(i, capnp::Text::Reader(texts[i].c_str(), texts[i].size()));
}

void FillColumn(const ColumnTable& column, file::Column::Builder builder) {
  builder.setName(column.name);
  builder.setLevel(LevelOf(column.level));
  switch (column.type) {
    case Column::Type::kId:
      FillDictionary(column.dictionary, builder);
      Fill(builder.initId(ListSize(column.codes.size())), column.codes);
      break;
    case Column::Type::kIds: {
      FillDictionary(column.dictionary, builder);
      auto ids = builder.initIds();
      Fill(ids.initOffsets(ListSize(column.offsets.size())), column.offsets);
      Fill(ids.initCodes(ListSize(column.codes.size())), column.codes);
      break;
    }
    case Column::Type::kNumber: {
      auto number = builder.initNumber();
      Fill(number.initValues(ListSize(column.numbers.size())), column.numbers);
      if (column.nulls() > 0) Fill(number.initValid(ListSize(column.valid.size())), column.valid);
      break;
    }
  }
}

void FillFile(const DataTables& tables, file::DataFile::Builder builder) {
  builder.setName(tables.name);
  builder.setSynthetic(tables.synthetic);
  builder.setUsers(ListSize(tables.users));
  builder.setItems(ListSize(tables.items));
  builder.setRatedItems(ListSize(tables.rated_items));
  builder.setUserKey(tables.user_key);
  builder.setItemKey(tables.item_key);
  Fill(builder.initUserOf(ListSize(tables.user_of.size())), tables.user_of);
  Fill(builder.initItemOf(ListSize(tables.item_of.size())), tables.item_of);
  Fill(builder.initLabel(ListSize(tables.label.size())), tables.label);
  auto columns = builder.initColumns(ListSize(tables.columns.size()));
  for (uint32_t i = 0; i < columns.size(); ++i) FillColumn(tables.columns[i], columns[i]);
}

// Room for everything in one segment, in words.
size_t SizeOf(const DataTables& tables) {
  size_t bytes = 4096 + 12 * tables.user_of.size();
  for (const ColumnTable& column : tables.columns) {
    bytes += 256 + column.name.size() + 4 * column.codes.size() + 8 * column.offsets.size() + 9 * column.numbers.size();
    for (const std::string& text : column.dictionary.texts()) bytes += text.size() + 16;
  }
  return bytes / sizeof(capnp::word) + 1;
}

absl::Status CheckSizes(const DataTables& tables) {
  const auto check = [](std::string_view what, size_t size) -> absl::Status {
    if (size < kMaxListSize) return absl::OkStatus();
    return absl::OutOfRangeError(fmt::format("{}: {} values; a data file holds fewer than {}", what, size, kMaxListSize));
  };
  if (absl::Status status = check("interactions", tables.user_of.size()); !status.ok()) return status;
  if (absl::Status status = check("users", tables.users); !status.ok()) return status;
  if (absl::Status status = check("items", tables.items); !status.ok()) return status;
  for (const ColumnTable& column : tables.columns) {
    if (absl::Status status = check(column.name, column.codes.size()); !status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::Status WriteMessage(capnp::MessageBuilder& message, const std::string& path) {
  const kj::Array<capnp::word> words = capnp::messageToFlatArray(message);
  DataFileHeader header;
  header.content_bytes = words.asBytes().size();
  header.checksum = XXH3_64bits(words.begin(), header.content_bytes);
  absl::StatusOr<AtomicFile> file = AtomicFile::Create(path);
  if (!file.ok()) return file.status();
  if (absl::Status status = file->Write(&header, sizeof(header)); !status.ok()) return status;
  if (absl::Status status = file->Write(words.begin(), header.content_bytes); !status.ok()) return status;
  return file->Commit();
}

template <typename T>
void Reorder(const std::vector<uint32_t>& old_of_new, std::vector<T>& values) {
  if (values.empty()) return;
  std::vector<T> reordered;
  reordered.reserve(values.size());
  for (const uint32_t old : old_of_new) reordered.push_back(values[old]);
  values = std::move(reordered);
}

void ReorderColumn(const std::vector<uint32_t>& old_of_new, ColumnTable& column) {
  if (column.type != Column::Type::kIds) {
    Reorder(old_of_new, column.codes);
    Reorder(old_of_new, column.numbers);
    Reorder(old_of_new, column.valid);
    return;
  }
  std::vector<uint64_t> offsets = {0};
  std::vector<uint32_t> codes;
  for (const uint32_t old : old_of_new) {
    for (uint64_t i = column.offsets[old]; i < column.offsets[old + 1]; ++i) codes.push_back(column.codes[i]);
    offsets.push_back(codes.size());
  }
  column.offsets = std::move(offsets);
  column.codes = std::move(codes);
}

}  // namespace

uint32_t Dictionary::Code(std::string_view text) {
  const auto found = codes_.find(text);
  if (found != codes_.end()) return found->second;
  const auto code = static_cast<uint32_t>(texts_.size());
  texts_.emplace_back(text);
  codes_.emplace(texts_.back(), code);
  return code;
}

uint32_t Dictionary::Find(std::string_view text) const {
  const auto found = codes_.find(text);
  return found == codes_.end() ? kNullCode : found->second;
}

ColumnTable::ColumnTable(std::string column_name, Column::Level column_level, Column::Type column_type)
    : name(std::move(column_name)), level(column_level), type(column_type) {}

void ColumnTable::AddIds(const std::vector<std::string_view>& values) {
  for (const std::string_view value : values) codes.push_back(dictionary.Code(value));
  offsets.push_back(codes.size());
}

void ColumnTable::AddNumber(double value) {
  numbers.push_back(value);
  valid.push_back(1);
}

void ColumnTable::AddNullNumber() {
  numbers.push_back(0);
  valid.push_back(0);
}

size_t ColumnTable::rows() const {
  return type == Column::Type::kId ? codes.size() : type == Column::Type::kIds ? offsets.size() - 1 : numbers.size();
}

size_t ColumnTable::nulls() const {
  switch (type) {
    case Column::Type::kId:
      return static_cast<size_t>(std::count(codes.begin(), codes.end(), kNullCode));
    case Column::Type::kIds: {
      size_t empty = 0;
      for (size_t row = 0; row + 1 < offsets.size(); ++row) empty += offsets[row] == offsets[row + 1] ? 1 : 0;
      return empty;
    }
    case Column::Type::kNumber:
      return static_cast<size_t>(std::count(valid.begin(), valid.end(), uint8_t{0}));
  }
  return 0;
}

const ColumnTable* DataTables::column(std::string_view column_name) const {
  for (const ColumnTable& column : columns) {
    if (column.name == column_name) return &column;
  }
  return nullptr;
}

void PutRatedItemsFirst(DataTables& tables) {
  std::vector<uint8_t> rated(tables.items, 0);
  for (const uint32_t item : tables.item_of) rated[item] = 1;
  std::vector<uint32_t> old_of_new(tables.items);
  std::iota(old_of_new.begin(), old_of_new.end(), 0U);
  const auto first_unrated =
      std::stable_partition(old_of_new.begin(), old_of_new.end(), [&](uint32_t item) { return rated[item] != 0; });
  tables.rated_items = static_cast<size_t>(first_unrated - old_of_new.begin());
  std::vector<uint32_t> new_of_old(tables.items);
  for (uint32_t item = 0; item < old_of_new.size(); ++item) new_of_old[old_of_new[item]] = item;
  for (uint32_t& item : tables.item_of) item = new_of_old[item];
  for (ColumnTable& column : tables.columns) {
    if (column.level == Column::Level::kItem) ReorderColumn(old_of_new, column);
  }
}

absl::Status WriteDataset(const DataTables& tables, const std::string& path) {
  if (absl::Status status = CheckSizes(tables); !status.ok()) return status;
  try {
    capnp::MallocMessageBuilder message(
        static_cast<uint32_t>(std::min<size_t>(SizeOf(tables), std::numeric_limits<uint32_t>::max() / 16)));
    auto root = message.initRoot<file::DataFile>();
    FillFile(tables, root);
    if (absl::Status status = DatasetReader::Read(root.asReader()).status(); !status.ok()) return status;
    return WriteMessage(message, path);
  } catch (const kj::Exception& exception) {
    return absl::InternalError(fmt::format("{}: {}", path, exception.getDescription().cStr()));
  }
}

}  // namespace marquee
