#include "scheduler/launch_engine.h"

#include "scheduler/launch_local.h"
#include "scheduler/launch_slurm.h"
#include "scheduler/launch_ssh.h"

namespace marquee {

absl::StatusOr<std::unique_ptr<LaunchEngine>> MakeLaunchEngine(const ClusterConfig& config) {
  switch (config.launcher) {
    case ClusterConfig::Launcher::kLocal:
      return std::make_unique<LocalEngine>();
    case ClusterConfig::Launcher::kSsh:
      return SshEngine::Create(config.ssh);
    case ClusterConfig::Launcher::kSlurm:
      return SlurmEngine::Create(config.slurm);
    case ClusterConfig::Launcher::kExternal:
    case ClusterConfig::Launcher::kKubernetes:
      break;
  }
  return nullptr;
}

}  // namespace marquee
