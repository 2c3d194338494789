#include "dataset/csv.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <utility>

#include "dataset/text_file.h"

namespace marquee {

CsvReader::CsvReader(std::string path, std::string text, char separator)
    : path_(std::move(path)), text_(std::move(text)), separator_(separator) {}

absl::StatusOr<CsvReader> CsvReader::Open(const std::string& path, char separator) {
  absl::StatusOr<std::string> text = ReadTextFile(path);
  if (!text.ok()) return text.status();
  if (!IsUtf8(*text)) return absl::InvalidArgumentError(fmt::format("{}: is not valid UTF-8", path));
  CsvReader reader(path, *std::move(text), separator);
  if (absl::Status status = reader.ReadHeader(); !status.ok()) return status;
  return reader;
}

absl::Status CsvReader::ReadHeader() {
  std::vector<std::string_view> names;
  const absl::StatusOr<bool> found = Next(&names);
  if (!found.ok()) return found.status();
  if (!*found) return absl::InvalidArgumentError(fmt::format("{}: is empty; must begin with a line of column names", path_));
  for (const std::string_view name : names) {
    if (std::find(columns_.begin(), columns_.end(), name) != columns_.end()) {
      return Error(fmt::format("two columns are named '{}'", name));
    }
    columns_.emplace_back(name);
  }
  return absl::OkStatus();
}

absl::StatusOr<size_t> CsvReader::ColumnOf(std::string_view name) const {
  const auto found = std::find(columns_.begin(), columns_.end(), name);
  if (found != columns_.end()) return static_cast<size_t>(found - columns_.begin());
  return ErrorAt(path_, 1, fmt::format("no column '{}'; the columns are {}", name, fmt::join(columns_, ", ")));
}

absl::Status CsvReader::Error(std::string_view reason) const { return ErrorAt(path_, row_line_, reason); }

bool CsvReader::AtRowEnd() const {
  return position_ >= text_.size() || text_[position_] == '\n' ||
         (text_[position_] == '\r' && position_ + 1 < text_.size() && text_[position_ + 1] == '\n');
}

void CsvReader::SkipRowEnd() {
  if (position_ >= text_.size()) return;
  position_ += text_[position_] == '\r' ? 2 : 1;
  ++line_;
}

absl::StatusOr<bool> CsvReader::Next(std::vector<std::string_view>* fields) {
  fields->clear();
  unescaped_.clear();
  while (position_ < text_.size() && AtRowEnd()) SkipRowEnd();
  if (position_ >= text_.size()) return false;
  row_line_ = line_;
  while (true) {
    std::string_view field;
    if (absl::Status status = NextField(&field); !status.ok()) return status;
    fields->push_back(field);
    if (AtRowEnd()) break;
    ++position_;  // the separator
  }
  SkipRowEnd();
  return true;
}

absl::Status CsvReader::NextField(std::string_view* field) {
  if (position_ < text_.size() && text_[position_] == '"') return NextQuotedField(field);
  const size_t begin = position_;
  while (!AtRowEnd() && text_[position_] != separator_) ++position_;
  *field = std::string_view(text_).substr(begin, position_ - begin);
  return absl::OkStatus();
}

absl::Status CsvReader::NextQuotedField(std::string_view* field) {
  const size_t begin_line = line_;
  const size_t begin = ++position_;
  bool doubled = false;
  while (true) {
    const size_t quote = text_.find('"', position_);
    if (quote == std::string::npos) {
      return ErrorAt(path_, begin_line, "a quoted field begins here that never ends: the file is broken or cut off");
    }
    line_ += static_cast<size_t>(
        std::count(text_.begin() + static_cast<ptrdiff_t>(position_), text_.begin() + static_cast<ptrdiff_t>(quote), '\n'));
    position_ = quote + 1;
    if (position_ >= text_.size() || text_[position_] != '"') break;
    doubled = true;
    ++position_;
  }
  *field = std::string_view(text_).substr(begin, position_ - 1 - begin);
  if (!AtRowEnd() && text_[position_] != separator_) {
    return ErrorAt(path_, line_, "text after the closing quote of a field; a quote inside a field must be doubled");
  }
  if (!doubled) return absl::OkStatus();
  std::string& text = unescaped_.emplace_back();
  for (size_t i = 0; i < field->size(); ++i) {
    text.push_back((*field)[i]);
    if ((*field)[i] == '"') ++i;
  }
  *field = text;
  return absl::OkStatus();
}

void AppendCsvField(std::string_view field, std::string* text) {
  if (field.find_first_of(",\"\r\n") == std::string_view::npos) {
    text->append(field);
    return;
  }
  text->push_back('"');
  for (const char character : field) {
    if (character == '"') text->push_back('"');
    text->push_back(character);
  }
  text->push_back('"');
}

}  // namespace marquee
