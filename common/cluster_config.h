#ifndef MARQUEE_COMMON_CLUSTER_CONFIG_H_
#define MARQUEE_COMMON_CLUSTER_CONFIG_H_

// The cluster file: which processes there are, where, and how they talk. docs/configuration.md lists keys, ranges and defaults.
//
//     cluster:
//       name: local
//       launcher: local                     # local, ssh, slurm: the scheduler starts all; else (external, kubernetes) it waits
//       bind: host                          # listen on each process' `host`, or on `all` addresses of its machine
//       ssh: {user: marquee}                # launcher: ssh only; see SshConfig. Likewise slurm; see SlurmConfig
//       security: none                      # none | curve; must be said when a host is not loopback
//       keys: keys/                         # with curve: the folder that `marquee keygen` wrote
//       partitions: 64                      # a power of two, fixed for the cluster's life
//       scheduler: {host: 127.0.0.1, port: 0, metrics_port: 0}     # port 0: a free one (launcher: local only)
//       status: {host: 127.0.0.1, port: 0}  # the scheduler's page; elsewhere than on loopback with a token_file
//       servers: {count: 2, shards: 1}      # or a list: [{name: s0, host: 10.0.0.1, port: 7710, shards: 2}]
//       workers: {count: 2, threads: 1, device: auto}              # or a list: [{name: w0, host: 10.0.0.2}]
//       heartbeat_seconds: 1
//       lease_seconds: 10
//       longest_step_seconds: 600
//       replication: 1                      # 2: each row is on two servers, and the loss of one loses nothing
//       primary_lease_seconds: 2            # with replication 2: how long a server answers without hearing from the other copy
//       checkpoints: {every_seconds: 60, keep: 3, full_every: 10, folder: checkpoints}   # none without this section
//       max_message_mib: 64
//       max_queued_mib: 64
//     data: {file: ml-1m.mq}                # relative to the cluster file
//     models: {...}                         # or the name of a file that has the section; see common/trial_config.h
//     sweep: {...}                          # likewise; scheduler/sweep.h
//     plan: {...}                           # scheduler/planner.h

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace marquee {

class ConfigSection;

struct SchedulerPlace {
  std::string host = "127.0.0.1";
  uint16_t port = 0;
  uint16_t metrics_port = 0;  // 0: a free one
};

// Where the scheduler serves its page.
struct StatusPlace {
  std::string host = "127.0.0.1";
  uint16_t port = 0;       // 0: a free one
  std::string token_file;  // absolute; empty: the page is on loopback, and for everybody there
};

struct ServerPlace {
  std::string name;  // unique among servers and workers
  std::string host = "127.0.0.1";
  uint16_t port = 0;  // of the first shard; further shards take the next ones. 0: free ones
  uint32_t shards = 1;
  uint16_t metrics_port = 0;

  bool operator==(const ServerPlace&) const = default;
};

struct WorkerPlace {
  std::string name;
  std::string host = "127.0.0.1";
  uint32_t threads = 1;         // of LibTorch and BLAS
  std::string device = "auto";  // cpu | cuda | auto
  uint16_t metrics_port = 0;

  bool operator==(const WorkerPlace&) const = default;
};

struct CheckpointConfig {
  absl::Duration every = absl::Minutes(1);  // InfiniteDuration (0 in the file): on request only
  uint32_t keep = 3;
  uint32_t full_every = 10;  // one of so many is full
  std::string folder;        // absolute; empty: `checkpoints` in the sweep's own. All servers must reach it under this name
};

// How processes are started with launcher: ssh. What is not said is as ssh's own configuration has it.
struct SshConfig {
  std::string user;
  uint16_t port = 0;                               // 0: ssh's own
  std::string identity_file;                       // absolute
  std::string config_file;                         // absolute; in the place of ssh's own files
  std::vector<std::string> options;                // NAME=VALUE, for ssh -o
  std::string programs;                            // folder of `ps` and `worker` on the hosts; empty: the one of this machine
  std::vector<std::string> prefix;                 // words of a command that runs the program: [nice, -n, "5"]
  std::map<std::string, std::string> environment;  // of the processes
};

// What srun is given besides what we must say, with launcher: slurm.
struct SlurmConfig {
  std::vector<std::string> options;                // of all steps
  std::vector<std::string> server_options;         // behind these
  std::vector<std::string> worker_options;         // likewise: [--gpus=1]
  std::map<std::string, std::string> environment;  // of the processes
};

struct ClusterConfig {
  enum class Launcher { kLocal, kExternal, kSsh, kSlurm, kKubernetes };
  std::string name = "local";
  Launcher launcher = Launcher::kLocal;
  SshConfig ssh;
  SlurmConfig slurm;
  bool all_interfaces = false;  // processes listen on every address of their machine; others still use `host`
  bool security_said = false;   // must be, to listen off loopback
  bool curve = false;
  std::string keys;  // folder, absolute
  uint32_t partitions = 64;
  SchedulerPlace scheduler;
  StatusPlace status;
  std::vector<ServerPlace> servers;
  std::vector<WorkerPlace> workers;
  absl::Duration heartbeat = absl::Seconds(1);
  absl::Duration lease = absl::Seconds(10);
  absl::Duration longest_step = absl::Minutes(10);  // a worker that computes for longer without a pause counts as hung
  int replication = 1;
  absl::Duration primary_lease = absl::Seconds(2);
  std::optional<CheckpointConfig> checkpoints;
  size_t max_message_bytes = 64U << 20U;
  size_t max_queued_bytes = 64U << 20U;
  std::string data_file;  // absolute; empty if the file names none

  const ServerPlace* server(const std::string& server_name) const;  // nullptr if there is none
  const WorkerPlace* worker(const std::string& worker_name) const;
};

// Reads the `cluster` and `data` sections (the scheduler reads the others). Errors name file, line, key, value and what is
// allowed; unknown keys are refused with the nearest known one; hosts off loopback need `security`.
// Relative paths in it are relative to `folder`; empty: to its own.
absl::StatusOr<ClusterConfig> LoadClusterConfig(const std::string& path, const std::string& folder = "");
// Likewise of a text. `label` names it in errors; paths in it are relative to `folder`.
absl::StatusOr<ClusterConfig> ParseClusterConfig(std::string_view yaml, const std::string& label, const std::string& folder);

// Refuses an edit of the cluster file, from the text `before` to the text `after`, that changes what cannot change while a
// sweep runs: anything but which servers and workers there are. Both texts must be good ones.
absl::Status CheckClusterEdit(std::string_view before, std::string_view after, const std::string& label);

// Replaces the host that a process listens on by what it was told with --host; an empty one changes nothing. An error names
// what is wrong with it.
absl::Status ReplaceHost(const ClusterConfig& config, const std::string& replacement, std::string* host);

// Reads a `data` section, which a sweep file may have as well. Paths are relative to `folder`. `file` is left alone where there
// is none.
void ReadData(ConfigSection& root, const std::string& folder, std::string* file);

}  // namespace marquee

#endif  // MARQUEE_COMMON_CLUSTER_CONFIG_H_
