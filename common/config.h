#ifndef MARQUEE_COMMON_CONFIG_H_
#define MARQUEE_COMMON_CONFIG_H_

// Reads YAML key by key, with errors that tell a person what to change:
//
//     cluster.yaml:7: key 'cluster.partitions': value '60': must be a power of two from 1 to 65536
//     cluster.yaml:9: key 'cluster.lease_second': unknown; did you mean 'lease_seconds'?
//
// A ConfigSection is one mapping. The calls that read leave their target alone where the key is absent, so that its initial
// value is the default. The document keeps the first error; after it, reading goes on but changes nothing more, so that code
// which reads is a plain list of keys with one look at `status()` at its end. Each key that a section was asked for is known to
// it; `Finish` refuses the others, so every key must be asked for on every way through the code.
//
// Sections refer to their document, which must outlive them. Not thread-safe.

#include <yaml-cpp/yaml.h>

#include <concepts>
#include <cstdint>
#include <limits>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace marquee {

class ConfigSection;

class ConfigDocument {
 public:
  // `label` stands in errors in the place of the file's name. With an empty one, errors have no "FILE:LINE: " in front.
  static absl::StatusOr<ConfigDocument> Parse(std::string_view yaml, std::string label);
  static absl::StatusOr<ConfigDocument> Load(const std::string& path);
  // Of a node that is there already, for example a model with some values replaced. `where` is the path that errors start with.
  ConfigDocument(YAML::Node root, std::string label, std::string where = "");

  ConfigSection root();
  // Fails at the first key, in any depth, that has another value in `before`, or that only one of the two has. `free` names
  // keys that may differ, with all that is in them ("cluster.servers"); `rule` ends the error.
  void RefuseDifferences(const ConfigDocument& before, const std::set<std::string>& free, std::string_view rule);
  const std::string& label() const { return label_; }
  const absl::Status& status() const { return status_; }  // the first error

 private:
  friend class ConfigSection;
  void Fail(int line, const std::string& path, const std::string& problem);
  void Compare(const YAML::Node& before, const YAML::Node& after, const std::string& path, const std::set<std::string>& free,
               std::string_view rule);

  YAML::Node root_;
  std::string label_;
  std::string where_;
  absl::Status status_;
};

// The words that a key may have, and what they mean.
template <typename Enum>
using ConfigWords = std::vector<std::pair<std::string_view, Enum>>;

template <typename Enum>
std::string_view WordOf(const ConfigWords<Enum>& words, Enum value) {
  for (const auto& [word, meaning] : words) {
    if (meaning == value) return word;
  }
  return "";
}

class ConfigSection {
 public:
  bool Has(std::string_view key);
  bool IsList(std::string_view key);
  bool IsText(std::string_view key);  // a scalar

  // Refuses an absent key.
  void Require(std::string_view key, std::string_view what);

  void Read(std::string_view key, bool* value);
  void Read(std::string_view key, std::string* value);                                // not empty
  void ReadPath(std::string_view key, const std::string& folder, std::string* path);  // made absolute
  template <std::integral Integer>
  void Read(std::string_view key, Integer* value, Integer min, Integer max = std::numeric_limits<Integer>::max());
  // With `above_min` or `below_max` the end itself is refused.
  enum class Ends { kClosed, kAboveMin, kBelowMax };
  void Read(std::string_view key, double* value, double min, double max, Ends ends = Ends::kClosed);
  void ReadSeconds(std::string_view key, absl::Duration* value, absl::Duration min, absl::Duration max);
  template <typename Enum>
  void Read(std::string_view key, Enum* value, const ConfigWords<Enum>& words);
  void ReadList(std::string_view key, std::vector<int>* values, int min, int max, size_t max_size);
  void ReadList(std::string_view key, std::vector<std::string>* values);

  // The mapping under a key; an empty one where the key is absent.
  ConfigSection Section(std::string_view key);
  // Each mapping of the list under a key. A plain text in the list stands for the mapping {text_key: text}, if that is given.
  std::vector<ConfigSection> Sections(std::string_view key, std::string_view text_key = "");
  // The keys and the value under one, for sections whose keys are names.
  std::vector<std::string> keys();
  YAML::Node node(std::string_view key);

  // Refuses the value of a key; `allowed` completes "must be ..." or states the rule.
  void Refuse(std::string_view key, std::string_view allowed);
  // Refuses the section as a whole.
  void Fail(std::string_view problem);
  // Refuses keys that were never asked for, naming the nearest known one, and keys that stand twice.
  void Finish();

  bool ok() const { return document_->status().ok(); }
  const std::string& path() const { return path_; }
  int line() const { return line_; }  // from 1; 0 where unknown

 private:
  friend class ConfigDocument;
  ConfigSection(ConfigDocument* document, YAML::Node node, std::string path, int line);

  YAML::Node Find(std::string_view key);  // marks the key as known; an undefined node where it is absent
  // The text of the scalar under a key; false where it is absent or was refused.
  bool FindText(std::string_view key, std::string* text);
  bool FindSigned(std::string_view key, int64_t* value, int64_t min, int64_t max);
  bool FindUnsigned(std::string_view key, uint64_t* value, uint64_t min, uint64_t max);
  void RefuseWord(std::string_view key, const std::vector<std::string_view>& words);
  std::string PathOf(std::string_view key) const;
  int LineOf(std::string_view key) const;

  ConfigDocument* document_;
  YAML::Node node_;
  std::string path_;
  int line_;
  std::vector<std::string> known_;
};

// The word of `known` with the fewest edits to `word`; empty if `known` is.
std::string NearestWord(std::string_view word, const std::vector<std::string>& known);

// A double-quoted YAML (and JSON) string.
std::string QuotedYaml(std::string_view text);

// ---------------------------------------------------------------------------------------------------------------

template <std::integral Integer>
void ConfigSection::Read(std::string_view key, Integer* value, Integer min, Integer max) {
  if constexpr (std::is_signed_v<Integer>) {
    int64_t read = 0;
    if (FindSigned(key, &read, min, max)) *value = static_cast<Integer>(read);
  } else {
    uint64_t read = 0;
    if (FindUnsigned(key, &read, min, max)) *value = static_cast<Integer>(read);
  }
}

template <typename Enum>
void ConfigSection::Read(std::string_view key, Enum* value, const ConfigWords<Enum>& words) {
  std::string text;
  if (!FindText(key, &text)) return;
  std::vector<std::string_view> allowed;
  for (const auto& [word, meaning] : words) {
    if (word == text) {
      *value = meaning;
      return;
    }
    allowed.push_back(word);
  }
  RefuseWord(key, allowed);
}

}  // namespace marquee

#endif  // MARQUEE_COMMON_CONFIG_H_
