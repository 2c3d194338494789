#ifndef MARQUEE_SCHEDULER_LAUNCH_SSH_H_
#define MARQUEE_SCHEDULER_LAUNCH_SSH_H_

// launcher: ssh. Every process runs on its host of the cluster file, at the other end of a plain OpenSSH connection of its own.
//
// The connection is the process's lifeline: its input is the connection's, and it ends when that does (--until-input-ends), so
// none is left behind by a scheduler that stops or is killed. If the network is cut so that nobody hears of it, the process
// ends by the orphan rule and the command by ssh's own keep-alive. Programs, cluster file, keys and data file lie on the host
// already, in the same places as here.

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "common/cluster_config.h"
#include "scheduler/host_command.h"
#include "scheduler/launch_engine.h"

namespace marquee {

class SshEngine : public LaunchEngine {
 public:
  static absl::StatusOr<std::unique_ptr<LaunchEngine>> Create(const SshConfig& config);
  // `ssh`: the path of the client.
  SshEngine(SshConfig config, std::string ssh);

  LaunchCommand CommandFor(const ProcessPlan& plan) override;
  LaunchEnd Judge(const ProcessPlan& plan, const ProcessEnd& end) override;

 private:
  // What the shell of the host is given.
  std::string RemoteCommand(const ProcessPlan& plan) const;

  const SshConfig config_;
  const std::string ssh_;
  const HostCommand host_command_;
};

}  // namespace marquee

#endif  // MARQUEE_SCHEDULER_LAUNCH_SSH_H_
