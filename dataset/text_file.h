#ifndef MARQUEE_DATASET_TEXT_FILE_H_
#define MARQUEE_DATASET_TEXT_FILE_H_

// Reads raw text files: whole, line by line, field by field. Every error names file, line, reason. Views that these functions
// give refer to the text, which must outlive them. Not thread-safe; the functions are pure.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace marquee {

// "users.dat:17: age 'x': must be a whole number"
absl::Status ErrorAt(const std::string& path, size_t line, std::string_view reason);

// The whole file, without a leading byte order mark. Refuses what cannot be read and text with NUL bytes.
absl::StatusOr<std::string> ReadTextFile(const std::string& path);

// Whether every byte sequence is valid UTF-8. ASCII is.
bool IsUtf8(std::string_view text);

// ISO 8859-1, in which every byte is the code point of the same number.
std::string Latin1ToUtf8(std::string_view text);

// A file of lines, in UTF-8: one that is not valid UTF-8 is taken for Latin-1, as the original MovieLens files are.
struct LineFile {
  std::string path;
  std::string text;
  bool was_latin1 = false;

  static absl::StatusOr<LineFile> Read(const std::string& path);
};

// Walks the lines that are not empty. Ends of line may be LF or CR LF.
class LineReader {
 public:
  explicit LineReader(const LineFile& file) : file_(file), rest_(file.text) {}

  // False at the end of the file.
  bool Next(std::string_view* line);
  size_t line_number() const { return line_number_; }  // of the last line given, from 1
  absl::Status Error(std::string_view reason) const { return ErrorAt(file_.path, line_number_, reason); }

 private:
  const LineFile& file_;
  std::string_view rest_;
  size_t line_number_ = 0;
};

// Appends the fields between separators; one more than there are separators.
void SplitFields(std::string_view line, std::string_view separator, std::vector<std::string_view>* fields);

// The whole text as a number; nullopt if it is none, or out of range, or not finite.
std::optional<int64_t> ParseInteger(std::string_view text);
std::optional<double> ParseNumber(std::string_view text);

// Unix seconds of midnight UTC of a day; nullopt if there is no such day. Negative before 1970.
std::optional<int64_t> UnixSecondsOfDay(int year, unsigned month, unsigned day);
// "1995-10-30"
std::optional<int64_t> ParseIsoDate(std::string_view text);
// "1995-10-30", "1995-10-30 12:00:00", "1995-10-30T12:00:00Z" (any offset), or a number: Unix seconds.
std::optional<double> ParseTime(std::string_view text);

// The text without spaces at both ends.
std::string_view Trimmed(std::string_view text);

// "1,000,209"
std::string WithThousands(uint64_t number);

}  // namespace marquee

#endif  // MARQUEE_DATASET_TEXT_FILE_H_
