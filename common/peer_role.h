#ifndef MARQUEE_COMMON_PEER_ROLE_H_
#define MARQUEE_COMMON_PEER_ROLE_H_

// What a process is, and so which requests it may make. With CURVE a peer's role follows from its key (common/security.h);
// without, nobody can tell, and everything is allowed.

#include <optional>
#include <string>
#include <string_view>

#include "schemas/wire.capnp.h"

namespace marquee {

enum class PeerRole {
  kUnknown,  // no CURVE: anybody
  kScheduler,
  kServer,
  kWorker,
  kTool,  // looks, and changes nothing
};

// Someone who may connect: a CURVE public key in Z85 form, and as what.
struct AllowedKey {
  std::string public_key;
  PeerRole role = PeerRole::kUnknown;
};

std::string_view PeerRoleName(PeerRole role);  // "worker"
std::optional<PeerRole> PeerRoleNamed(std::string_view name);

// Whether a process of this role may ask that, of a shard or the scheduler.
bool MayAsk(PeerRole role, wire::Envelope::Reader envelope);

}  // namespace marquee

#endif  // MARQUEE_COMMON_PEER_ROLE_H_
