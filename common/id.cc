#include "common/id.h"

#include <xxhash.h>

#include <string>

namespace marquee {

Id FeatureId(std::string_view feature, std::string_view value) {
  std::string text;
  text.reserve(feature.size() + 1 + value.size());
  text.append(feature).append("=").append(value);
  return XXH3_64bits(text.data(), text.size());
}

}  // namespace marquee
