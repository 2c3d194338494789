#ifndef MARQUEE_DATASET_CSV_H_
#define MARQUEE_DATASET_CSV_H_

// Comma-separated values as RFC 4180 and common programs write them: fields in quotes may hold separators, line ends and
// doubled quotes. Lines end with LF or CR LF; empty lines are passed over; a quote inside an unquoted field stands for itself.
// The text must be UTF-8. Not thread-safe.

#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace marquee {

// A file with a header line, read row by row.
class CsvReader {
 public:
  // Refuses a file that is not UTF-8, has no header, or two columns of one name.
  static absl::StatusOr<CsvReader> Open(const std::string& path, char separator = ',');

  const std::vector<std::string>& columns() const { return columns_; }
  // The position of a column; an error that lists the columns there are.
  absl::StatusOr<size_t> ColumnOf(std::string_view name) const;

  // The next row, which may have more or fewer fields than the header. False at the end. The fields are good until the next
  // call. An error where a quoted field never ends or goes on after its closing quote.
  absl::StatusOr<bool> Next(std::vector<std::string_view>* fields);

  size_t line() const { return row_line_; }  // on which the last row began, from 1
  const std::string& path() const { return path_; }
  absl::Status Error(std::string_view reason) const;

 private:
  CsvReader(std::string path, std::string text, char separator);
  absl::Status ReadHeader();
  absl::Status NextField(std::string_view* field);
  absl::Status NextQuotedField(std::string_view* field);
  bool AtRowEnd() const;
  void SkipRowEnd();

  std::string path_;
  std::string text_;
  char separator_;
  size_t position_ = 0;
  size_t line_ = 1;
  size_t row_line_ = 0;
  std::vector<std::string> columns_;
  std::deque<std::string> unescaped_;  // fields of the present row that had doubled quotes
};

// A field as CSV: in quotes where it must be.
void AppendCsvField(std::string_view field, std::string* text);

}  // namespace marquee

#endif  // MARQUEE_DATASET_CSV_H_
