#ifndef MARQUEE_COMMON_PROGRAM_H_
#define MARQUEE_COMMON_PROGRAM_H_

// What the main functions of marquee's programs share.

#include <atomic>
#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/cluster_config.h"
#include "common/metrics.h"
#include "common/security.h"
#include "common/transport.h"

namespace marquee {

// True once SIGINT or SIGTERM has come; the first call installs the handlers. Call it before starting threads.
const std::atomic<bool>& StopRequested();

// The signal that came, or 0. A program that it stopped exits with 128 + this.
int StopSignal();

// True once for each SIGUSR1 that has come since the last call, or for several at once. Likewise.
bool CheckpointRequested();

// Likewise for SIGHUP.
bool ReloadRequested();

// From now on the process is asked to stop, as by SIGTERM, when its standard input ends: whoever started it from far away holds
// the other end, and has gone or wants no more of it. One that has not stopped within `grace` is ended. Call at most once.
void StopWhenInputEnds(absl::Duration grace = absl::Seconds(4));

// A new number for each start of a process; never 0.
uint64_t NewIncarnation();

// Keeps freed memory of large messages in the process, instead of giving it back to the system and faulting it in again each
// time. Call first in main.
void KeepLargeBlocks();

// What a program of this role needs to talk in this cluster: bounds and, with `security: curve`, its keys.
absl::StatusOr<TransportOptions> TransportOptionsFor(const ClusterConfig& config, PeerRole role);

// "tcp://10.0.0.1:7710", with brackets around an IPv6 address.
std::string TcpEndpoint(const std::string& host, uint16_t port);

// Serves metrics where the cluster file says. Returns "host:port", as others must write it.
absl::StatusOr<std::string> ServeMetrics(Metrics& metrics, const ClusterConfig& config, const std::string& host, uint16_t port);

// Prints "PROGRAM: error" to stderr and returns the exit code 1.
int Fail(const std::string& program, const absl::Status& status);

}  // namespace marquee

#endif  // MARQUEE_COMMON_PROGRAM_H_
