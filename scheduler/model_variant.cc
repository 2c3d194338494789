#include "scheduler/model_variant.h"

#include <fmt/format.h>

#include <cctype>

#include "common/config.h"
#include "common/trial_config_yaml.h"

namespace marquee {
namespace {

// A copy of a mapping with the value at a dotted path replaced or added. Values are shared with the original.
YAML::Node WithValue(const YAML::Node& mapping, std::string_view path, const YAML::Node& value) {
  const size_t dot = path.find('.');
  const std::string head(path.substr(0, dot));
  YAML::Node copy(YAML::NodeType::Map);
  YAML::Node below(YAML::NodeType::Map);
  for (const auto& entry : mapping) {
    if (entry.first.Scalar() != head) {
      copy.force_insert(entry.first, entry.second);
    } else if (entry.second.IsMap()) {
      below.reset(WithValue(entry.second, "", value));  // a plain copy
    }
  }
  if (head.empty()) return copy;
  if (dot == std::string_view::npos) {
    copy.force_insert(head, value);
  } else {
    copy.force_insert(head, WithValue(below, path.substr(dot + 1), value));
  }
  return copy;
}

// The reader's error has no file or line in front.
absl::StatusOr<ModelConfig> Parse(const YAML::Node& node) {
  ConfigDocument document(node, "");
  ModelConfig model;
  ReadModel(document.root(), &model);
  if (!document.status().ok()) return document.status();
  return model;
}

int LineOf(const ModelOverride& override) {
  const YAML::Mark mark = override.value.Mark();
  return mark.is_null() ? override.line : mark.line + 1;
}

}  // namespace

absl::StatusOr<ModelConfig> ParseVariant(const YAML::Node& base, const std::vector<ModelOverride>& overrides,
                                         const std::string& label, int line) {
  YAML::Node changed = WithValue(base, "", YAML::Node());
  for (const ModelOverride& override : overrides) changed.reset(WithValue(changed, override.path, override.value));
  absl::StatusOr<ModelConfig> model = Parse(changed);
  if (model.ok()) return model;
  for (const ModelOverride& override : overrides) {
    const absl::StatusOr<ModelConfig> alone = Parse(WithValue(base, override.path, override.value));
    if (alone.status() == model.status()) {
      return absl::InvalidArgumentError(fmt::format("{}:{}: key '{}': in the model, {}", label, LineOf(override),
                                                    override.where, std::string(alone.status().message())));
    }
  }
  return absl::InvalidArgumentError(
      fmt::format("{}:{}: with the values that it sets, {}", label, line, std::string(model.status().message())));
}

std::string VariantSuffix(const ModelOverride& override, bool whole_path) {
  const size_t dot = override.path.rfind('.');
  const std::string key = whole_path || dot == std::string::npos ? override.path : override.path.substr(dot + 1);
  std::string value;
  if (override.value.IsScalar()) {
    value = override.value.Scalar();
  } else {
    YAML::Emitter emitter;
    emitter << YAML::Flow << override.value;
    value = emitter.c_str();
  }
  std::string name = key + "=";
  for (const char c : value) {
    if (std::isalnum(static_cast<unsigned char>(c)) != 0 || std::string_view("._-+,").find(c) != std::string_view::npos)
      name += c;
  }
  return name;
}

}  // namespace marquee
