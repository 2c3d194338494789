#ifndef MARQUEE_COMMON_SECURITY_H_
#define MARQUEE_COMMON_SECURITY_H_

// The key files of a cluster with `security: curve`.
//
// A folder holds pairs of files NAME.public and NAME.secret, each one key in ZeroMQ's Z85 form:
//
//     cluster     scheduler and servers show it to those that connect to them, so that one public key tells a process whom to
//     trust scheduler, server, worker, tool
//                 what a process of that role shows to those that it connects to
//
// Who listens accepts every public key of its folder but its own, and takes the role from the file's name: worker.public and
// worker-7.public are workers'. Another file lets another client in, a removed one keeps it out. A worker's machine needs
// cluster.public, worker.public and worker.secret, no more.

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/peer_role.h"
#include "common/transport.h"

namespace marquee {

// Makes the folder, if need be, and all pairs in it. Refuses to overwrite a key. Secret files are for their owner alone (0600).
absl::Status GenerateKeys(const std::string& folder);

// Reads what a process of this role needs. Errors name the file. Refuses a secret that others than its
// owner may read (a group may, if root owns it and this is another user), and a public file whose name begins with no role.
absl::StatusOr<TransportSecurity> LoadSecurity(const std::string& folder, PeerRole role);

}  // namespace marquee

#endif  // MARQUEE_COMMON_SECURITY_H_
