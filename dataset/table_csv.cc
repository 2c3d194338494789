#include "dataset/table_csv.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

#include "dataset/atomic_file.h"
#include "dataset/csv.h"

namespace marquee {
namespace {

std::string NumberText(double number) {
  constexpr double kLargestExact = 9007199254740992;  // 2^53
  if (std::floor(number) == number && std::abs(number) < kLargestExact) return fmt::format("{}", static_cast<int64_t>(number));
  return fmt::format("{}", number);
}

std::string CellText(const Column& column, size_t row, bool as_indices) {
  switch (column.type()) {
    case Column::Type::kId:
      return column.code(row) == kNullCode ? std::string() : std::string(column.value(column.code(row)));
    case Column::Type::kNumber:
      return column.is_null(row) ? std::string() : NumberText(column.number(row));
    case Column::Type::kIds:
      break;
  }
  if (as_indices) return fmt::format("[{}]", fmt::join(column.codes(row), ", "));
  std::string text;
  for (const uint32_t code : column.codes(row)) text.append(text.empty() ? "" : "|").append(column.value(code));
  return text;
}

// One column of the table, as ready CSV text for users and items, which come again and again.
class TableColumn {
 public:
  TableColumn(const Column& column, bool as_indices) : column_(column), as_indices_(as_indices) {
    if (column.level() == Column::Level::kInteraction) return;
    ready_.resize(column.size());
    for (size_t row = 0; row < column.size(); ++row) AppendCsvField(CellText(column, row, as_indices), &ready_[row]);
  }

  void Append(const Dataset& data, size_t interaction, std::string* text) const {
    const size_t row = data.RowOf(column_.level(), interaction);
    if (ready_.empty()) {
      AppendCsvField(CellText(column_, row, as_indices_), text);
    } else {
      text->append(ready_[row]);
    }
  }

 private:
  const Column& column_;
  bool as_indices_;
  std::vector<std::string> ready_;
};

}  // namespace

absl::Status WriteTableCsv(const Dataset& data, const std::vector<std::string>& as_indices, const std::string& path) {
  constexpr size_t kBlockBytes = 1U << 20U;
  absl::StatusOr<AtomicFile> file = AtomicFile::Create(path);
  if (!file.ok()) return file.status();
  std::vector<TableColumn> columns;
  std::string text;
  for (const auto& column : data.columns()) {
    if (!columns.empty()) text.push_back(',');
    AppendCsvField(column->name(), &text);
    columns.emplace_back(*column, std::find(as_indices.begin(), as_indices.end(), column->name()) != as_indices.end());
  }
  text.push_back('\n');
  for (size_t i = 0; i < data.interactions(); ++i) {
    for (size_t c = 0; c < columns.size(); ++c) {
      if (c > 0) text.push_back(',');
      columns[c].Append(data, i, &text);
    }
    text.push_back('\n');
    if (text.size() < kBlockBytes) continue;
    if (absl::Status status = file->Write(text.data(), text.size()); !status.ok()) return status;
    text.clear();
  }
  if (absl::Status status = file->Write(text.data(), text.size()); !status.ok()) return status;
  return file->Commit();
}

}  // namespace marquee
