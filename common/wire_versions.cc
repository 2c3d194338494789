#include "common/wire_versions.h"

#include <fmt/format.h>

#include "schemas/wire.capnp.h"

// Tests build programs that speak other versions from this file (tests/cluster/CMakeLists.txt).
#ifndef MARQUEE_OLDEST_WIRE_VERSION
#define MARQUEE_OLDEST_WIRE_VERSION wire::OLDEST_PROTOCOL_VERSION
#endif
#ifndef MARQUEE_NEWEST_WIRE_VERSION
#define MARQUEE_NEWEST_WIRE_VERSION wire::PROTOCOL_VERSION
#endif

namespace marquee {

WireVersions OwnWireVersions() { return {.oldest = MARQUEE_OLDEST_WIRE_VERSION, .newest = MARQUEE_NEWEST_WIRE_VERSION}; }

std::string ToText(WireVersions versions) {
  if (versions.oldest == versions.newest) return fmt::format("{}", versions.oldest);
  return fmt::format("{} to {}", versions.oldest, versions.newest);
}

}  // namespace marquee
