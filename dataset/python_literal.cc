#include "dataset/python_literal.h"

#include <fmt/format.h>

#include <cctype>
#include <optional>

#include "dataset/text_file.h"

namespace marquee {
namespace {

constexpr int kMaxDepth = 64;

bool IsNumberCharacter(char c) { return (c >= '0' && c <= '9') || c == '.' || c == 'e' || c == 'E' || c == '+' || c == '-'; }

void AppendUtf8(uint32_t code_point, std::string* text) {
  const auto append = [&](uint32_t byte) { text->push_back(static_cast<char>(byte)); };
  if (code_point < 0x80) {
    append(code_point);
  } else if (code_point < 0x800) {
    append(0xc0U | (code_point >> 6U));
    append(0x80U | (code_point & 0x3fU));
  } else if (code_point < 0x10000) {
    append(0xe0U | (code_point >> 12U));
    append(0x80U | ((code_point >> 6U) & 0x3fU));
    append(0x80U | (code_point & 0x3fU));
  } else {
    append(0xf0U | (code_point >> 18U));
    append(0x80U | ((code_point >> 12U) & 0x3fU));
    append(0x80U | ((code_point >> 6U) & 0x3fU));
    append(0x80U | (code_point & 0x3fU));
  }
}

std::optional<uint32_t> DigitOf(char c, uint32_t base) {
  const uint32_t digit = c >= '0' && c <= '9'   ? static_cast<uint32_t>(c - '0')
                         : c >= 'a' && c <= 'f' ? static_cast<uint32_t>(c - 'a' + 10)
                         : c >= 'A' && c <= 'F' ? static_cast<uint32_t>(c - 'A' + 10)
                                                : 99U;
  return digit < base ? std::optional<uint32_t>(digit) : std::nullopt;
}

class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}

  absl::StatusOr<PythonValue> ParseWhole() {
    PythonValue value;
    if (absl::Status status = Parse(0, &value); !status.ok()) return status;
    SkipSpace();
    if (position_ < text_.size()) return Expected("the end");
    return value;
  }

 private:
  absl::Status Parse(int depth, PythonValue* value);
  absl::Status ParseList(char close, int depth, PythonValue* value);
  absl::Status ParseDict(int depth, PythonValue* value);
  absl::Status ParseEntry(int depth, PythonDict* dict);
  absl::Status ParseWord(PythonValue* value);
  absl::Status ParseNumber(PythonValue* value);
  absl::Status ParseString(std::string* text);
  absl::Status ParseEscape(std::string* text);
  absl::Status ParseCodePoint(size_t min_digits, size_t max_digits, uint32_t base, std::string* text);
  // After an element: true if there may be another one, false if the closing bracket came.
  absl::StatusOr<bool> NextElement(char close);

  char Peek() const { return position_ < text_.size() ? text_[position_] : '\0'; }
  bool Take(char c) {
    if (Peek() != c || position_ >= text_.size()) return false;
    ++position_;
    return true;
  }
  void SkipSpace() {
    while (position_ < text_.size() && std::string_view(" \t\r\n").find(text_[position_]) != std::string_view::npos)
      ++position_;
  }
  absl::Status Expected(std::string_view what) const {
    const std::string found = position_ < text_.size() ? fmt::format("'{}'", text_[position_]) : "the end";
    return absl::InvalidArgumentError(fmt::format("character {}: {} where {} must be", position_ + 1, found, what));
  }

  std::string_view text_;
  size_t position_ = 0;
};

absl::Status Parser::Parse(int depth, PythonValue* value) {
  if (depth > kMaxDepth) return Expected("no deeper nesting");
  SkipSpace();
  const char first = Peek();
  if (Take('[')) return ParseList(']', depth, value);
  if (Take('(')) return ParseList(')', depth, value);
  if (Take('{')) return ParseDict(depth, value);
  if (first == '\'' || first == '"') return ParseString(&value->value.emplace<std::string>());
  if (IsNumberCharacter(first) && first != 'e' && first != 'E') return ParseNumber(value);
  return ParseWord(value);
}

absl::StatusOr<bool> Parser::NextElement(char close) {
  SkipSpace();
  const bool comma = Take(',');
  SkipSpace();
  if (Take(close)) return false;
  if (!comma) return Expected(fmt::format("',' or '{}'", close));
  return true;
}

absl::Status Parser::ParseList(char close, int depth, PythonValue* value) {
  auto& list = value->value.emplace<PythonList>();
  SkipSpace();
  if (Take(close)) return absl::OkStatus();
  while (true) {
    if (absl::Status status = Parse(depth + 1, &list.emplace_back()); !status.ok()) return status;
    const absl::StatusOr<bool> more = NextElement(close);
    if (!more.ok()) return more.status();
    if (!*more) return absl::OkStatus();
  }
}

absl::Status Parser::ParseDict(int depth, PythonValue* value) {
  auto& dict = value->value.emplace<PythonDict>();
  SkipSpace();
  if (Take('}')) return absl::OkStatus();
  while (true) {
    if (absl::Status status = ParseEntry(depth, &dict); !status.ok()) return status;
    const absl::StatusOr<bool> more = NextElement('}');
    if (!more.ok()) return more.status();
    if (!*more) return absl::OkStatus();
  }
}

absl::Status Parser::ParseEntry(int depth, PythonDict* dict) {
  SkipSpace();
  if (Peek() != '\'' && Peek() != '"') return Expected("a quoted key");
  auto& [key, value] = dict->emplace_back();
  if (absl::Status status = ParseString(&key); !status.ok()) return status;
  SkipSpace();
  if (!Take(':')) return Expected("':'");
  return Parse(depth + 1, &value);
}

absl::Status Parser::ParseWord(PythonValue* value) {
  const std::string_view rest = text_.substr(position_);
  const auto is_word = [&](std::string_view word) {
    if (!rest.starts_with(word)) return false;
    const char next = rest.size() > word.size() ? rest[word.size()] : ' ';
    if (std::isalnum(static_cast<unsigned char>(next)) != 0 || next == '_') return false;
    position_ += word.size();
    return true;
  };
  if (is_word("None")) return absl::OkStatus();
  if (is_word("True")) {
    value->value = true;
    return absl::OkStatus();
  }
  if (is_word("False")) {
    value->value = false;
    return absl::OkStatus();
  }
  return Expected("a value");
}

absl::Status Parser::ParseNumber(PythonValue* value) {
  size_t end = position_;
  while (end < text_.size() && IsNumberCharacter(text_[end])) ++end;
  std::string_view number = text_.substr(position_, end - position_);
  if (number.starts_with('+')) number.remove_prefix(1);
  if (const std::optional<int64_t> integer = ParseInteger(number); integer.has_value()) {
    value->value = *integer;
  } else if (const std::optional<double> real = marquee::ParseNumber(number); real.has_value()) {
    value->value = *real;
  } else {
    return Expected("a number");
  }
  position_ = end;
  return absl::OkStatus();
}

absl::Status Parser::ParseString(std::string* text) {
  const char quote = text_[position_++];
  while (true) {
    const size_t end = text_.find_first_of(quote == '\'' ? "'\\" : "\"\\", position_);
    if (end == std::string_view::npos) {
      position_ = text_.size();
      return Expected("a closing quote");
    }
    text->append(text_.substr(position_, end - position_));
    position_ = end + 1;
    if (text_[end] == quote) return absl::OkStatus();
    if (absl::Status status = ParseEscape(text); !status.ok()) return status;
  }
}

// What follows a backslash.
absl::Status Parser::ParseEscape(std::string* text) {
  if (position_ >= text_.size()) return Expected("an escape");
  const char escape = text_[position_];
  if (escape >= '0' && escape <= '7') return ParseCodePoint(1, 3, 8, text);
  ++position_;
  switch (escape) {
    case '\n':  // a continued line
      return absl::OkStatus();
    case 'x':
      return ParseCodePoint(2, 2, 16, text);
    case 'u':
      return ParseCodePoint(4, 4, 16, text);
    case 'U':
      return ParseCodePoint(8, 8, 16, text);
    default:
      break;
  }
  constexpr std::string_view kEscapes = "\\'\"abfnrtv";
  constexpr std::string_view kMeanings = "\\'\"\a\b\f\n\r\t\v";
  const size_t known = kEscapes.find(escape);
  if (known == std::string_view::npos) text->push_back('\\');  // Python keeps the backslash of an unknown one
  text->push_back(known == std::string_view::npos ? escape : kMeanings[known]);
  return absl::OkStatus();
}

absl::Status Parser::ParseCodePoint(size_t min_digits, size_t max_digits, uint32_t base, std::string* text) {
  uint32_t code_point = 0;
  size_t digits = 0;
  while (digits < max_digits && position_ < text_.size()) {
    const std::optional<uint32_t> digit = DigitOf(text_[position_], base);
    if (!digit.has_value()) break;
    code_point = code_point * base + *digit;
    ++position_;
    ++digits;
  }
  const bool surrogate = code_point >= 0xd800 && code_point < 0xe000;
  if (digits < min_digits || code_point > 0x10ffff || surrogate) return Expected("a code point");
  AppendUtf8(code_point, text);
  return absl::OkStatus();
}

}  // namespace

const PythonValue* PythonValue::Find(std::string_view key) const {
  const auto* dict = As<PythonDict>();
  if (dict == nullptr) return nullptr;
  const PythonValue* found = nullptr;
  for (const auto& [name, entry] : *dict) {
    if (name == key) found = &entry;
  }
  return found;
}

absl::StatusOr<PythonValue> ParsePythonLiteral(std::string_view text) { return Parser(text).ParseWhole(); }

}  // namespace marquee
