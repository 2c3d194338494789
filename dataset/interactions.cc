#include "dataset/interactions.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <optional>
#include <string_view>
#include <utility>

#include "common/config.h"
#include "dataset/csv.h"
#include "dataset/text_file.h"

namespace marquee {
namespace {

using Feature = ColumnSchema::Feature;
using Fields = std::vector<std::string_view>;

const ConfigWords<Feature> kFeatures = {{"user", Feature::kUser}, {"item", Feature::kItem},     {"id", Feature::kId},
                                        {"ids", Feature::kIds},   {"number", Feature::kNumber}, {"label", Feature::kLabel},
                                        {"time", Feature::kTime}};
const ConfigWords<Column::Level> kLevels = {
    {"interaction", Column::Level::kInteraction}, {"user", Column::Level::kUser}, {"item", Column::Level::kItem}};

// A user's level is the users' own, and so on: only the other features may choose.
std::optional<Column::Level> FixedLevel(Feature feature) {
  switch (feature) {
    case Feature::kUser:
      return Column::Level::kUser;
    case Feature::kItem:
      return Column::Level::kItem;
    case Feature::kLabel:
      return Column::Level::kInteraction;
    default:
      return std::nullopt;
  }
}

ColumnSchema ReadColumnSchema(ConfigSection section, const std::string& column) {
  ColumnSchema schema;
  schema.column = column;
  schema.name = column;
  section.Require("feature", "what the column is: user, item, id, ids, number, label or time");
  section.Read("feature", &schema.feature, kFeatures);
  section.Read("name", &schema.name);
  section.Read("level", &schema.level, kLevels);
  section.Read("separator", &schema.separator);
  const std::optional<Column::Level> fixed = FixedLevel(schema.feature);
  if (fixed.has_value() && section.Has("level") && schema.level != *fixed) {
    section.Refuse("level", fmt::format("{} for this feature, or left out", WordOf(kLevels, *fixed)));
  }
  if (fixed.has_value()) schema.level = *fixed;
  if (schema.feature != Feature::kIds && section.Has("separator")) section.Refuse("separator", "left out: only ids have one");
  section.Finish();
  return schema;
}

size_t CountOf(const InteractionsSchema& schema, Feature feature) {
  return static_cast<size_t>(std::count_if(schema.columns.begin(), schema.columns.end(),
                                           [&](const ColumnSchema& column) { return column.feature == feature; }));
}

void CheckSchema(const InteractionsSchema& schema, ConfigSection& columns) {
  if (CountOf(schema, Feature::kUser) != 1) columns.Fail("must have exactly one column with `feature: user`");
  if (CountOf(schema, Feature::kItem) != 1) columns.Fail("must have exactly one column with `feature: item`");
  if (CountOf(schema, Feature::kLabel) > 1) columns.Fail("must have at most one column with `feature: label`");
  for (size_t i = 0; i < schema.columns.size(); ++i) {
    for (size_t j = 0; j < i; ++j) {
      if (schema.columns[i].name == schema.columns[j].name) {
        columns.Fail(fmt::format("two columns are named '{}'", schema.columns[i].name));
      }
    }
  }
}

Column::Type TypeOf(Feature feature) {
  switch (feature) {
    case Feature::kUser:
    case Feature::kItem:
    case Feature::kId:
      return Column::Type::kId;
    case Feature::kIds:
      return Column::Type::kIds;
    default:
      return Column::Type::kNumber;
  }
}

// One column of the schema on its way from the CSV file to a table.
class ColumnReader {
 public:
  ColumnReader(const ColumnSchema& schema, size_t field)
      : schema_(schema), field_(field), table_(schema.name, schema.level, TypeOf(schema.feature)) {}

  // Takes this row's value where it is the first of its user or item (`row` counts these); else compares it with the first.
  absl::Status Take(const CsvReader& csv, const Fields& fields, size_t row) {
    const std::string_view text = Trimmed(fields[field_]);
    const bool known = row < table_.rows();
    if (known && text == texts_[row]) return absl::OkStatus();
    if (known) {
      ++conflicts_;
      if (first_conflict_ == 0) first_conflict_ = csv.line();
      return Parse(csv, text).status();
    }
    absl::StatusOr<std::optional<double>> number = Parse(csv, text);
    if (!number.ok()) return number.status();
    Add(text, *number);
    if (schema_.level != Column::Level::kInteraction) texts_.emplace_back(text);
    return absl::OkStatus();
  }

  std::string_view TextOf(const Fields& fields) const { return Trimmed(fields[field_]); }
  // The code of a key's value: the index of its user or item.
  uint32_t CodeOf(std::string_view text) const { return table_.dictionary.Find(text); }
  double last_number() const { return table_.numbers.back(); }
  const ColumnSchema& schema() const { return schema_; }

  void Tell(Report& report) const {
    report.Step(fmt::format("column {}", schema_.name), table_.rows() - table_.nulls(), "values");
    if (schema_.feature == Feature::kUser || schema_.feature == Feature::kItem) return;
    report.Reason(table_.nulls(), "are empty: null");
    if (schema_.level == Column::Level::kInteraction) return;
    report.Reason(
        conflicts_, "rows say otherwise than the first row of the same user or item, which counts",
        first_conflict_ == 0 ? std::vector<std::string>() : std::vector<std::string>{fmt::format("line {}", first_conflict_)});
  }

  ColumnTable TakeTable() { return std::move(table_); }

 private:
  absl::Status Error(const CsvReader& csv, std::string_view text, std::string_view allowed) const {
    return csv.Error(fmt::format("column '{}': value '{}': must be {}", schema_.column, text, allowed));
  }

  // Checks a value; the number that it is, for features that are numbers and values that are not empty.
  absl::StatusOr<std::optional<double>> Parse(const CsvReader& csv, std::string_view text) const {
    std::optional<double> number;
    switch (schema_.feature) {
      case Feature::kUser:
      case Feature::kItem:
        if (text.empty()) return Error(csv, text, "an id; a row without one is no interaction");
        break;
      case Feature::kLabel:
        number = ParseNumber(text);
        if (!number.has_value() || !std::isfinite(static_cast<float>(*number))) {
          return Error(csv, text, "a number; a row without a label cannot be learnt from");
        }
        break;
      case Feature::kNumber:
        number = ParseNumber(text);
        if (!number.has_value() && !text.empty()) return Error(csv, text, "a number, or empty");
        break;
      case Feature::kTime:
        number = ParseTime(text);
        if (!number.has_value() && !text.empty()) {
          return Error(csv, text, "Unix seconds, a date such as 2026-01-31, a time such as 2026-01-31T12:00:00Z, or empty");
        }
        break;
      case Feature::kId:
      case Feature::kIds:
        break;
    }
    return number;
  }

  void Add(std::string_view text, const std::optional<double>& number) {
    if (table_.type == Column::Type::kNumber) {
      number.has_value() ? table_.AddNumber(*number) : table_.AddNullNumber();
    } else if (table_.type == Column::Type::kId) {
      text.empty() ? table_.AddNullId() : table_.AddId(text);
    } else {
      Fields parts;
      if (!text.empty()) SplitFields(text, schema_.separator, &parts);
      for (std::string_view& part : parts) part = Trimmed(part);
      std::erase(parts, std::string_view());
      table_.AddIds(parts);
    }
  }

  const ColumnSchema& schema_;
  size_t field_;
  ColumnTable table_;
  std::vector<std::string> texts_;  // of users and items: the value that counts, by row
  uint64_t conflicts_ = 0;
  size_t first_conflict_ = 0;
};

class InteractionsReader {
 public:
  InteractionsReader(CsvReader csv, const InteractionsSchema& schema) : csv_(std::move(csv)), schema_(schema) {}

  absl::StatusOr<DataTables> Read(Report& report) {
    if (absl::Status status = FindColumns(); !status.ok()) return status;
    Fields fields;
    while (true) {
      const absl::StatusOr<bool> more = csv_.Next(&fields);
      if (!more.ok()) return more.status();
      if (!*more) break;
      if (absl::Status status = TakeRow(fields); !status.ok()) return status;
    }
    if (tables_.label.empty()) return absl::InvalidArgumentError(fmt::format("{}: holds no interactions", csv_.path()));
    Tell(report);
    return Finish();
  }

 private:
  absl::Status FindColumns() {
    columns_.reserve(schema_.columns.size());  // so that user_, item_ and label_ stay where they are
    for (const ColumnSchema& column : schema_.columns) {
      const absl::StatusOr<size_t> field = csv_.ColumnOf(column.column);
      if (!field.ok()) return field.status();
      columns_.emplace_back(column, *field);
      if (column.feature == Feature::kUser) user_ = &columns_.back();
      if (column.feature == Feature::kItem) item_ = &columns_.back();
      if (column.feature == Feature::kLabel) label_ = &columns_.back();
    }
    return absl::OkStatus();
  }

  // The index of a user or item: that of its first row, or the next free one.
  static uint32_t IndexOf(const ColumnReader& key, const Fields& fields, size_t& count) {
    const uint32_t code = key.CodeOf(key.TextOf(fields));
    return code != kNullCode ? code : static_cast<uint32_t>(count++);
  }

  absl::Status TakeRow(const Fields& fields) {
    if (fields.size() != csv_.columns().size()) {
      return csv_.Error(fmt::format("{} fields; must be {}, as in the header", fields.size(), csv_.columns().size()));
    }
    const uint32_t user = IndexOf(*user_, fields, tables_.users);
    const uint32_t item = IndexOf(*item_, fields, tables_.items);
    for (ColumnReader& column : columns_) {
      const Column::Level level = column.schema().level;
      const size_t row = level == Column::Level::kUser ? user : level == Column::Level::kItem ? item : tables_.label.size();
      if (absl::Status status = column.Take(csv_, fields, row); !status.ok()) return status;
    }
    tables_.user_of.push_back(user);
    tables_.item_of.push_back(item);
    tables_.label.push_back(label_ == nullptr ? 1.0F : static_cast<float>(label_->last_number()));
    return absl::OkStatus();
  }

  void Tell(Report& report) const {
    report.Step(csv_.path(), tables_.label.size(), "interactions");
    report.Step("users", tables_.users, "users");
    report.Step("items", tables_.items, "items");
    if (label_ == nullptr) report.Note("no column with `feature: label`: every interaction has the label 1");
    for (const ColumnReader& column : columns_) column.Tell(report);
    std::vector<std::string> unused;
    for (const std::string& name : csv_.columns()) {
      const bool used = std::any_of(schema_.columns.begin(), schema_.columns.end(),
                                    [&](const ColumnSchema& column) { return column.column == name; });
      if (!used) unused.push_back(name);
    }
    report.Step("columns", schema_.columns.size(), "columns taken");
    report.Reason(unused.size(), "columns are not in the schema: left out", unused);
  }

  DataTables Finish() {
    tables_.name = schema_.name.empty() ? std::filesystem::path(csv_.path()).stem().string() : schema_.name;
    tables_.user_key = user_->schema().name;
    tables_.item_key = item_->schema().name;
    tables_.rated_items = tables_.items;
    for (ColumnReader& column : columns_) tables_.columns.push_back(column.TakeTable());
    return std::move(tables_);
  }

  CsvReader csv_;
  const InteractionsSchema& schema_;
  std::vector<ColumnReader> columns_;
  ColumnReader* user_ = nullptr;
  ColumnReader* item_ = nullptr;
  ColumnReader* label_ = nullptr;
  DataTables tables_;
};

}  // namespace

absl::StatusOr<InteractionsSchema> LoadInteractionsSchema(const std::string& path) {
  absl::StatusOr<ConfigDocument> document = ConfigDocument::Load(path);
  if (!document.ok()) return document.status();
  InteractionsSchema schema;
  ConfigSection root = document->root();
  std::string separator = ",";
  root.Read("name", &schema.name);
  root.Read("separator", &separator);
  if (separator.size() != 1 || separator == "\"") root.Refuse("separator", "one character, and no quote");
  schema.separator = separator.empty() ? ',' : separator.front();
  root.Require("columns", "what the columns of the CSV file are");
  ConfigSection columns = root.Section("columns");
  for (const std::string& column : columns.keys()) {
    schema.columns.push_back(ReadColumnSchema(columns.Section(column), column));
  }
  CheckSchema(schema, columns);
  root.Finish();
  if (!document->status().ok()) return document->status();
  return schema;
}

absl::StatusOr<DataTables> ReadInteractions(const std::string& path, const InteractionsSchema& schema, Report& report) {
  absl::StatusOr<CsvReader> csv = CsvReader::Open(path, schema.separator);
  if (!csv.ok()) return csv.status();
  return InteractionsReader(*std::move(csv), schema).Read(report);
}

}  // namespace marquee
