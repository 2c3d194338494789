#include "common/peer_role.h"

#include <array>
#include <utility>

namespace marquee {
namespace {

using Body = wire::Envelope::Body;

constexpr std::array<std::pair<PeerRole, std::string_view>, 4> kNames = {{{PeerRole::kScheduler, "scheduler"},
                                                                          {PeerRole::kServer, "server"},
                                                                          {PeerRole::kWorker, "worker"},
                                                                          {PeerRole::kTool, "tool"}}};

bool IsMember(PeerRole role) { return role == PeerRole::kServer || role == PeerRole::kWorker; }

PeerRole RoleOf(wire::Register::Role role) {
  return role == wire::Register::Role::SERVER ? PeerRole::kServer : PeerRole::kWorker;
}

}  // namespace

std::string_view PeerRoleName(PeerRole role) {
  for (const auto& [named, name] : kNames) {
    if (named == role) return name;
  }
  return "unknown";
}

std::optional<PeerRole> PeerRoleNamed(std::string_view name) {
  for (const auto& [role, named] : kNames) {
    if (named == name) return role;
  }
  return std::nullopt;
}

bool MayAsk(PeerRole role, wire::Envelope::Reader envelope) {
  if (role == PeerRole::kUnknown) return true;
  const Body::Reader body = envelope.getBody();
  switch (body.which()) {
    case Body::PULL:
      return role == PeerRole::kWorker || role == PeerRole::kTool;
    case Body::PUSH:
    case Body::GET_ASSIGNMENT:
    case Body::DEFINE_TABLES:
    case Body::GET_WORK:
    case Body::TICK:
    case Body::EVALUATED:
    case Body::TRIAL_FAILED:
      return role == PeerRole::kWorker;
    case Body::INSTALL_VIEW:
    case Body::OPEN_SESSION:
    case Body::CLOSE_SESSION:
    case Body::CREATE_TABLES:
    case Body::DROP_TABLES:
    case Body::LOAD_ROWS:
    case Body::GET_FILLS:
    case Body::RETAIN:
    case Body::CUT_CHECKPOINT:
    case Body::GET_CHECKPOINT:
    case Body::RESTORE_ROWS:
    case Body::YIELD:
    case Body::GET_PARTITIONS:
      return role == PeerRole::kScheduler;
    case Body::FORWARD:
      return role == PeerRole::kServer;
    case Body::DESCRIBE_TABLES:
    case Body::GET_STATISTICS:
    case Body::SCAN_TABLE:
      return role == PeerRole::kScheduler || role == PeerRole::kTool;
    case Body::REGISTER:
      return role == RoleOf(body.getRegister().getRole());
    case Body::HEARTBEAT:
      return IsMember(role);
    case Body::GET_VIEW:
      return IsMember(role) || role == PeerRole::kTool;
    default:
      // Answers, which nobody has asked a peer that connects for, and bodies of later versions: the receiver refuses them.
      return true;
  }
}

}  // namespace marquee
