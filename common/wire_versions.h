#ifndef MARQUEE_COMMON_WIRE_VERSIONS_H_
#define MARQUEE_COMMON_WIRE_VERSIONS_H_

// Which versions of the wire (schemas/wire.capnp) a program speaks. Each message says it of its sender, so that programs of two
// versions of marquee can stand in one cluster: they use the highest version that both speak. Value types; no threads, no I/O.

#include <algorithm>
#include <cstdint>
#include <string>

namespace marquee {

// A closed range; empty if the oldest is above the newest.
struct WireVersions {
  uint16_t oldest = 0;
  uint16_t newest = 0;

  bool operator==(const WireVersions&) const = default;
};

// Those of this program.
WireVersions OwnWireVersions();

inline WireVersions Common(WireVersions one, WireVersions other) {
  return {.oldest = std::max(one.oldest, other.oldest), .newest = std::min(one.newest, other.newest)};
}
inline bool IsEmpty(WireVersions versions) { return versions.oldest > versions.newest; }

std::string ToText(WireVersions versions);  // "2 to 3", or "3"

}  // namespace marquee

#endif  // MARQUEE_COMMON_WIRE_VERSIONS_H_
