#include "dataset/text_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cmath>
#include <cstring>

#include "absl/time/time.h"

namespace marquee {
namespace {

constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";

// Length of the valid UTF-8 sequence that `text` starts with; 0 if there is none.
size_t SequenceLength(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  const uint8_t first = byte(0);
  if (first < 0x80) return 1;
  const size_t length = first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : first < 0xf5 ? 4 : 0;
  if (length == 0 || text.size() < length) return 0;
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0U) != 0x80) return 0;
  }
  const bool overlong = (first == 0xe0 && byte(1) < 0xa0) || (first == 0xf0 && byte(1) < 0x90);
  const bool surrogate = first == 0xed && byte(1) >= 0xa0;
  const bool too_large = first == 0xf4 && byte(1) >= 0x90;
  return overlong || surrogate || too_large ? 0 : length;
}

template <typename T>
std::optional<T> ParseWhole(std::string_view text) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

absl::Status ReadAll(int descriptor, const std::string& path, std::string* text) {
  struct stat status {};
  if (fstat(descriptor, &status) == 0 && S_ISDIR(status.st_mode)) {
    return absl::InvalidArgumentError(fmt::format("{}: is a folder; must be a file", path));
  }
  text->reserve(static_cast<size_t>(std::max<off_t>(status.st_size, 0)) + 1);
  std::vector<char> block(1U << 20U);
  while (true) {
    const ssize_t count = read(descriptor, block.data(), block.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return absl::UnknownError(fmt::format("{}: cannot read: {}", path, std::strerror(errno)));
    if (count == 0) return absl::OkStatus();
    text->append(block.data(), static_cast<size_t>(count));
  }
}

}  // namespace

absl::Status ErrorAt(const std::string& path, size_t line, std::string_view reason) {
  return absl::InvalidArgumentError(fmt::format("{}:{}: {}", path, line, reason));
}

absl::StatusOr<std::string> ReadTextFile(const std::string& path) {
  const int descriptor = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) return absl::NotFoundError(fmt::format("{}: cannot open: {}", path, std::strerror(errno)));
  std::string text;
  const absl::Status status = ReadAll(descriptor, path, &text);
  close(descriptor);
  if (!status.ok()) return status;
  const size_t nul = text.find('\0');
  if (nul != std::string::npos) {
    const auto line = 1 + std::count(text.begin(), text.begin() + static_cast<ptrdiff_t>(nul), '\n');
    return ErrorAt(path, static_cast<size_t>(line), "a byte of value 0: this is no text file");
  }
  if (text.starts_with(kByteOrderMark)) text.erase(0, kByteOrderMark.size());
  return text;
}

bool IsUtf8(std::string_view text) {
  while (!text.empty()) {
    const size_t length = SequenceLength(text);
    if (length == 0) return false;
    text.remove_prefix(length);
  }
  return true;
}

std::string Latin1ToUtf8(std::string_view text) {
  std::string utf8;
  utf8.reserve(text.size() + text.size() / 8);
  for (const char character : text) {
    const auto byte = static_cast<uint8_t>(character);
    if (byte < 0x80) {
      utf8.push_back(character);
    } else {
      utf8.push_back(static_cast<char>(0xc0U | (byte >> 6U)));
      utf8.push_back(static_cast<char>(0x80U | (byte & 0x3fU)));
    }
  }
  return utf8;
}

absl::StatusOr<LineFile> LineFile::Read(const std::string& path) {
  absl::StatusOr<std::string> text = ReadTextFile(path);
  if (!text.ok()) return text.status();
  LineFile file{path, *std::move(text), false};
  file.was_latin1 = !IsUtf8(file.text);
  if (file.was_latin1) file.text = Latin1ToUtf8(file.text);
  return file;
}

bool LineReader::Next(std::string_view* line) {
  while (!rest_.empty()) {
    const size_t end = rest_.find('\n');
    *line = rest_.substr(0, end);
    rest_.remove_prefix(end == std::string_view::npos ? rest_.size() : end + 1);
    ++line_number_;
    if (line->ends_with('\r')) line->remove_suffix(1);
    if (!line->empty()) return true;
  }
  return false;
}

void SplitFields(std::string_view line, std::string_view separator, std::vector<std::string_view>* fields) {
  while (true) {
    const size_t end = line.find(separator);
    fields->push_back(line.substr(0, end));
    if (end == std::string_view::npos) return;
    line.remove_prefix(end + separator.size());
  }
}

std::optional<int64_t> ParseInteger(std::string_view text) { return ParseWhole<int64_t>(text); }

std::optional<double> ParseNumber(std::string_view text) {
  const std::optional<double> value = ParseWhole<double>(text);
  return value.has_value() && std::isfinite(*value) ? value : std::nullopt;
}

std::optional<int64_t> UnixSecondsOfDay(int year, unsigned month, unsigned day) {
  const std::chrono::year_month_day date{std::chrono::year(year), std::chrono::month(month), std::chrono::day(day)};
  if (!date.ok()) return std::nullopt;
  return std::chrono::sys_seconds(std::chrono::sys_days(date)).time_since_epoch().count();
}

std::optional<int64_t> ParseIsoDate(std::string_view text) {
  if (text.size() != 10 || text[4] != '-' || text[7] != '-') return std::nullopt;
  const auto year = ParseWhole<uint16_t>(text.substr(0, 4));
  const auto month = ParseWhole<uint16_t>(text.substr(5, 2));
  const auto day = ParseWhole<uint16_t>(text.substr(8, 2));
  if (!year.has_value() || !month.has_value() || !day.has_value()) return std::nullopt;
  return UnixSecondsOfDay(*year, *month, *day);
}

std::optional<double> ParseTime(std::string_view text) {
  if (const std::optional<double> seconds = ParseNumber(text); seconds.has_value()) return seconds;
  if (const std::optional<int64_t> day = ParseIsoDate(text); day.has_value()) return static_cast<double>(*day);
  constexpr std::array<const char*, 4> kFormats = {"%Y-%m-%dT%H:%M:%E*S%Ez", "%Y-%m-%dT%H:%M:%E*S", "%Y-%m-%d %H:%M:%E*S",
                                                   "%Y-%m-%d %H:%M:%E*S%Ez"};
  for (const char* const format : kFormats) {
    absl::Time time;
    std::string error;
    if (absl::ParseTime(format, std::string(text), &time, &error)) {
      return absl::ToDoubleSeconds(time - absl::UnixEpoch());
    }
  }
  return std::nullopt;
}

std::string_view Trimmed(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

std::string WithThousands(uint64_t number) {
  const std::string digits = fmt::format("{}", number);
  std::string text;
  for (size_t i = 0; i < digits.size(); ++i) {
    if (i > 0 && (digits.size() - i) % 3 == 0) text.push_back(',');
    text.push_back(digits[i]);
  }
  return text;
}

}  // namespace marquee
