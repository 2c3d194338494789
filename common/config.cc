#include "common/config.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <numeric>
#include <sstream>

namespace marquee {
namespace {

int LineOfMark(const YAML::Mark& mark) { return mark.is_null() ? 0 : mark.line + 1; }

// What an error shows of a value.
std::string Shown(const YAML::Node& node) {
  if (!node.IsDefined() || node.IsNull()) return "";
  if (node.IsScalar()) return node.Scalar();
  return node.IsMap() ? "{...}" : "[...]";
}

std::string Quoted(std::string_view text) { return fmt::format("'{}'", text); }

template <typename Number>
bool ParseWhole(std::string_view text, Number* value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *value);
  return error == std::errc() && end == text.data() + text.size();
}

size_t EditDistance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, replaced});
    }
  }
  return row[b.size()];
}

}  // namespace

std::string NearestWord(std::string_view word, const std::vector<std::string>& known) {
  const auto nearest = std::min_element(known.begin(), known.end(), [word](const std::string& a, const std::string& b) {
    return EditDistance(word, a) < EditDistance(word, b);
  });
  return nearest == known.end() ? "" : *nearest;
}

std::string QuotedYaml(std::string_view text) {
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') quoted += '\\';
    if (static_cast<unsigned char>(c) < 0x20) {
      quoted += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
    } else {
      quoted += c;
    }
  }
  return quoted + '"';
}

absl::StatusOr<ConfigDocument> ConfigDocument::Parse(std::string_view yaml, std::string label) {
  try {
    return ConfigDocument(YAML::Load(std::string(yaml)), label);
  } catch (const YAML::Exception& exception) {
    return absl::InvalidArgumentError(fmt::format("{}:{}: not YAML: {}", label, LineOfMark(exception.mark), exception.msg));
  }
}

absl::StatusOr<ConfigDocument> ConfigDocument::Load(const std::string& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  if (!file) return absl::NotFoundError(fmt::format("{}: cannot be read", path));
  return Parse(text.str(), path);
}

ConfigDocument::ConfigDocument(YAML::Node root, std::string label, std::string where)
    : root_(std::move(root)), label_(std::move(label)), where_(std::move(where)) {}

ConfigSection ConfigDocument::root() {
  if (!root_.IsMap()) {
    Fail(LineOfMark(root_.Mark()), where_, fmt::format("value '{}': must be a mapping of keys to values", Shown(root_)));
    return ConfigSection(this, YAML::Node(YAML::NodeType::Map), where_, 0);
  }
  return ConfigSection(this, root_, where_, LineOfMark(root_.Mark()));
}

void ConfigDocument::RefuseDifferences(const ConfigDocument& before, const std::set<std::string>& free, std::string_view rule) {
  Compare(before.root_, root_, where_, free, rule);
}

void ConfigDocument::Compare(const YAML::Node& before, const YAML::Node& after, const std::string& path,
                             const std::set<std::string>& free, std::string_view rule) {
  if (free.contains(path)) return;
  const int line = LineOfMark(after.Mark());
  if (before.IsMap() && after.IsMap()) {
    for (const auto& entry : after) {
      const std::string& key = entry.first.Scalar();
      const std::string inner = path.empty() ? key : fmt::format("{}.{}", path, key);
      const YAML::Node old = before[key];
      if (old.IsDefined()) {
        Compare(old, entry.second, inner, free, rule);
      } else if (!free.contains(inner)) {
        Fail(LineOfMark(entry.first.Mark()), inner, fmt::format("value '{}': was not there; {}", Shown(entry.second), rule));
      }
    }
    for (const auto& entry : before) {
      const std::string& key = entry.first.Scalar();
      const std::string inner = path.empty() ? key : fmt::format("{}.{}", path, key);
      if (after[key].IsDefined() || free.contains(inner)) continue;
      Fail(line, inner, fmt::format("is not there any more, and was '{}'; {}", Shown(entry.second), rule));
    }
    return;
  }
  if (before.IsSequence() && after.IsSequence() && before.size() == after.size()) {
    for (size_t i = 0; i < after.size(); ++i) Compare(before[i], after[i], fmt::format("{}[{}]", path, i), free, rule);
    return;
  }
  const bool same_scalar = before.IsScalar() && after.IsScalar() && before.Scalar() == after.Scalar();
  if (same_scalar || (before.IsNull() && after.IsNull())) return;
  Fail(line, path, fmt::format("value '{}': was '{}'; {}", Shown(after), Shown(before), rule));
}

void ConfigDocument::Fail(int line, const std::string& path, const std::string& problem) {
  if (!status_.ok()) return;
  const std::string place = label_.empty() ? "" : fmt::format("{}:{}: ", label_, line);
  status_ = absl::InvalidArgumentError(path.empty() ? place + problem : fmt::format("{}key '{}': {}", place, path, problem));
}

ConfigSection::ConfigSection(ConfigDocument* document, YAML::Node node, std::string path, int line)
    : document_(document), node_(std::move(node)), path_(std::move(path)), line_(line) {}

std::string ConfigSection::PathOf(std::string_view key) const {
  return path_.empty() ? std::string(key) : fmt::format("{}.{}", path_, key);
}

int ConfigSection::LineOf(std::string_view key) const {
  for (const auto& entry : node_) {
    if (entry.first.IsScalar() && entry.first.Scalar() == key) {
      const int line = LineOfMark(entry.first.Mark());
      return line != 0 ? line : LineOfMark(entry.second.Mark());
    }
  }
  return line_;
}

YAML::Node ConfigSection::Find(std::string_view key) {
  if (std::find(known_.begin(), known_.end(), key) == known_.end()) known_.emplace_back(key);
  for (const auto& entry : node_) {
    if (entry.first.IsScalar() && entry.first.Scalar() == key) return entry.second;
  }
  return YAML::Node(YAML::NodeType::Undefined);
}

YAML::Node ConfigSection::node(std::string_view key) { return Find(key); }

bool ConfigSection::Has(std::string_view key) { return Find(key).IsDefined(); }

bool ConfigSection::IsList(std::string_view key) { return Find(key).IsSequence(); }

bool ConfigSection::IsText(std::string_view key) { return Find(key).IsScalar(); }

void ConfigSection::Refuse(std::string_view key, std::string_view allowed) {
  document_->Fail(LineOf(key), PathOf(key), fmt::format("value '{}': {}", Shown(Find(key)), allowed));
}

void ConfigSection::Fail(std::string_view problem) { document_->Fail(line_, path_, std::string(problem)); }

void ConfigSection::Require(std::string_view key, std::string_view what) {
  if (!Has(key)) document_->Fail(line_, PathOf(key), fmt::format("is missing: {}", what));
}

bool ConfigSection::FindText(std::string_view key, std::string* text) {
  const YAML::Node node = Find(key);
  if (!node.IsDefined()) return false;
  if (!node.IsScalar()) {
    Refuse(key, "must be a single value");
    return false;
  }
  *text = node.Scalar();
  return ok();
}

void ConfigSection::Read(std::string_view key, bool* value) {
  Read(key, value, ConfigWords<bool>{{"true", true}, {"false", false}});
}

void ConfigSection::Read(std::string_view key, std::string* value) {
  std::string text;
  if (!FindText(key, &text)) return;
  if (text.empty()) return Refuse(key, "must not be empty");
  *value = text;
}

void ConfigSection::ReadPath(std::string_view key, const std::string& folder, std::string* path) {
  std::string text;
  Read(key, &text);
  if (!text.empty()) *path = std::filesystem::absolute(std::filesystem::path(folder) / text).lexically_normal().string();
}

bool ConfigSection::FindSigned(std::string_view key, int64_t* value, int64_t min, int64_t max) {
  std::string text;
  if (!FindText(key, &text)) return false;
  if (ParseWhole(text, value) && *value >= min && *value <= max) return true;
  Refuse(key, fmt::format("must be a whole number from {} to {}", min, max));
  return false;
}

bool ConfigSection::FindUnsigned(std::string_view key, uint64_t* value, uint64_t min, uint64_t max) {
  std::string text;
  if (!FindText(key, &text)) return false;
  if (ParseWhole(text, value) && *value >= min && *value <= max) return true;
  Refuse(key, fmt::format("must be a whole number from {} to {}", min, max));
  return false;
}

void ConfigSection::Read(std::string_view key, double* value, double min, double max, Ends ends) {
  std::string text;
  if (!FindText(key, &text)) return;
  double read = 0;
  const bool number = ParseWhole(text, &read) && std::isfinite(read);
  const bool above = ends == Ends::kAboveMin ? read > min : read >= min;
  const bool below = ends == Ends::kBelowMax ? read < max : read <= max;
  if (number && above && below) {
    *value = read;
    return;
  }
  Refuse(key, fmt::format("must be a number {} {} and {} {}", ends == Ends::kAboveMin ? "above" : "of at least", min,
                          ends == Ends::kBelowMax ? "below" : "at most", max));
}

void ConfigSection::ReadSeconds(std::string_view key, absl::Duration* value, absl::Duration min, absl::Duration max) {
  double seconds = absl::ToDoubleSeconds(*value);
  Read(key, &seconds, absl::ToDoubleSeconds(min), absl::ToDoubleSeconds(max));
  *value = absl::Seconds(seconds);
}

void ConfigSection::RefuseWord(std::string_view key, const std::vector<std::string_view>& words) {
  std::string list;
  for (size_t i = 0; i < words.size(); ++i) {
    if (i > 0) list += i + 1 == words.size() ? " or " : ", ";
    list += Quoted(words[i]);
  }
  Refuse(key, fmt::format("must be {}", list));
}

void ConfigSection::ReadList(std::string_view key, std::vector<int>* values, int min, int max, size_t max_size) {
  const YAML::Node node = Find(key);
  if (!node.IsDefined()) return;
  const std::string allowed = fmt::format("must be a list of at most {} whole numbers from {} to {}", max_size, min, max);
  if (!node.IsSequence() || node.size() > max_size) return Refuse(key, allowed);
  std::vector<int> read;
  for (const auto& element : node) {
    int value = 0;
    if (!element.IsScalar() || !ParseWhole(element.Scalar(), &value) || value < min || value > max) {
      return document_->Fail(LineOfMark(element.Mark()), PathOf(key), fmt::format("value '{}': {}", Shown(element), allowed));
    }
    read.push_back(value);
  }
  if (ok()) *values = std::move(read);
}

void ConfigSection::ReadList(std::string_view key, std::vector<std::string>* values) {
  const YAML::Node node = Find(key);
  if (!node.IsDefined()) return;
  if (!node.IsSequence()) return Refuse(key, "must be a list of names");
  std::vector<std::string> read;
  for (const auto& element : node) {
    if (!element.IsScalar() || element.Scalar().empty()) {
      return document_->Fail(LineOfMark(element.Mark()), PathOf(key),
                             fmt::format("value '{}': must be a list of names", Shown(element)));
    }
    read.push_back(element.Scalar());
  }
  if (ok()) *values = std::move(read);
}

ConfigSection ConfigSection::Section(std::string_view key) {
  const YAML::Node node = Find(key);
  const int line = LineOf(key);
  if (node.IsDefined() && !node.IsMap()) Refuse(key, "must be a mapping of keys to values");
  return ConfigSection(document_, node.IsMap() ? node : YAML::Node(YAML::NodeType::Map), PathOf(key), line);
}

std::vector<ConfigSection> ConfigSection::Sections(std::string_view key, std::string_view text_key) {
  std::vector<ConfigSection> sections;
  const YAML::Node node = Find(key);
  if (!node.IsDefined()) return sections;
  const std::string allowed = text_key.empty() ? "must be a list of mappings" : "must be a list of names or mappings";
  if (!node.IsSequence()) {
    Refuse(key, allowed);
    return sections;
  }
  for (const auto& element : node) {
    const std::string path = fmt::format("{}[{}]", PathOf(key), sections.size());
    const int line = LineOfMark(element.Mark());
    if (element.IsScalar() && !text_key.empty()) {
      YAML::Node mapping(YAML::NodeType::Map);
      mapping[std::string(text_key)] = static_cast<const YAML::Node&>(element);
      sections.push_back(ConfigSection(document_, mapping, path, line));
    } else if (element.IsMap()) {
      sections.push_back(ConfigSection(document_, element, path, line));
    } else {
      document_->Fail(line, path, fmt::format("value '{}': {}", Shown(element), allowed));
      break;
    }
  }
  return sections;
}

std::vector<std::string> ConfigSection::keys() {
  std::vector<std::string> names;
  for (const auto& entry : node_) {
    if (entry.first.IsScalar()) names.push_back(entry.first.Scalar());
  }
  return names;
}

void ConfigSection::Finish() {
  std::vector<std::string> seen;
  for (const auto& entry : node_) {
    const int line = LineOfMark(entry.first.Mark()) != 0 ? LineOfMark(entry.first.Mark()) : LineOfMark(entry.second.Mark());
    if (!entry.first.IsScalar()) return document_->Fail(line, path_, "a key must be a word");
    const std::string& key = entry.first.Scalar();
    if (std::find(seen.begin(), seen.end(), key) != seen.end()) return document_->Fail(line, PathOf(key), "stands twice");
    seen.push_back(key);
    if (std::find(known_.begin(), known_.end(), key) != known_.end()) continue;
    document_->Fail(line, PathOf(key), fmt::format("unknown; did you mean '{}'?", NearestWord(key, known_)));
  }
}

}  // namespace marquee
