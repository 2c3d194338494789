#include "common/cluster_config.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cctype>
#include <filesystem>
#include <limits>
#include <map>
#include <set>

#include "common/config.h"
#include "common/view.h"
#include "common/web_access.h"

namespace marquee {
namespace {

constexpr uint32_t kMaxMembers = 4096;  // servers, or workers
constexpr uint32_t kMaxShards = 1024;   // of a server
constexpr uint32_t kMaxThreads = 1024;
constexpr size_t kMaxMib = 1U << 16U;
constexpr size_t kMib = 1U << 20U;
constexpr uint32_t kMaxPort = std::numeric_limits<uint16_t>::max();

using Launcher = ClusterConfig::Launcher;

bool IsNameCharacter(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || c == '-' || c == '.'; }

bool IsHostCharacter(char c) { return IsNameCharacter(c) || c == ':'; }

constexpr std::string_view kNameInHost = "{name}";

// The host of a member: its name, or what stands for it, may be a part.
std::string HostOf(std::string host, const std::string& name) {
  const size_t at = host.find(kNameInHost);
  if (at != std::string::npos) host.replace(at, kNameInHost.size(), name);
  return host;
}

void ReadHost(ConfigSection& section, std::string* host) {
  section.Read("host", host);
  const std::string any = HostOf(*host, "name");
  if (!std::all_of(any.begin(), any.end(), IsHostCharacter)) {
    section.Refuse("host", "must be a host name or an IP address, without a port; {name} stands for the member's name");
  }
}

void ReadPort(ConfigSection& section, std::string_view key, uint16_t* port) { section.Read(key, port, uint16_t{0}); }

void ReadName(ConfigSection& section, std::string* name) {
  section.Require("name", "a name that no other server or worker has");
  section.Read("name", name);
  const bool good = name->size() <= 64 && std::all_of(name->begin(), name->end(), IsNameCharacter);
  if (!good || *name == "scheduler") {
    section.Refuse("name", "must be at most 64 letters, digits, and any of '_-.', and not 'scheduler'");
  }
}

void ReadScheduler(ConfigSection section, SchedulerPlace* place) {
  ReadHost(section, &place->host);
  ReadPort(section, "port", &place->port);
  ReadPort(section, "metrics_port", &place->metrics_port);
  section.Finish();
}

void ReadStatus(ConfigSection section, const std::string& folder, StatusPlace* place) {
  ReadHost(section, &place->host);
  ReadPort(section, "port", &place->port);
  section.ReadPath("token_file", folder, &place->token_file);
  if (!IsLoopback(place->host)) {
    section.Require("token_file", fmt::format("since host '{}' is not loopback, a file with the token that readers of the page "
                                              "show (`head -c 24 /dev/urandom | base64`), which only its owner may read",
                                              place->host));
  }
  section.Finish();
}

void ReadServer(ConfigSection& section, ServerPlace* place) {
  ReadHost(section, &place->host);
  ReadPort(section, "port", &place->port);
  ReadPort(section, "metrics_port", &place->metrics_port);
  section.Read("shards", &place->shards, 1U, kMaxShards);
  if (place->port != 0 && place->port + place->shards - 1 > kMaxPort) {
    section.Refuse("port", fmt::format("must leave room for {} shards, one port each, up to {}", place->shards, kMaxPort));
  }
}

void ReadWorker(ConfigSection& section, WorkerPlace* place) {
  ReadHost(section, &place->host);
  ReadPort(section, "metrics_port", &place->metrics_port);
  section.Read("threads", &place->threads, 1U, kMaxThreads);
  section.Read("device", &place->device, ConfigWords<std::string>{{"cpu", "cpu"}, {"cuda", "cuda"}, {"auto", "auto"}});
}

// `key` is a list of entries, or {count: n, ...} for n alike ones named by a prefix and a number. `read` reads all but the
// name. Alike ones on one host take their metrics ports one after the other from the one given.
template <typename Place, typename Read>
void ReadPlaces(ConfigSection& cluster, std::string_view key, std::string prefix, Read read, std::vector<Place>* places) {
  cluster.Require(key, "{count: 2}, or a list with a name and a host for each");
  if (cluster.IsList(key)) {
    for (ConfigSection& entry : cluster.Sections(key)) {
      Place& place = places->emplace_back();
      ReadName(entry, &place.name);
      read(entry, &place);
      entry.Finish();
      place.host = HostOf(place.host, place.name);
    }
    if (places->empty()) cluster.Refuse(key, "must have at least one entry");
    return;
  }
  ConfigSection section = cluster.Section(key);
  uint32_t count = 1;
  section.Require("count", "how many to have");
  section.Read("count", &count, 1U, kMaxMembers);
  if (section.Has("name")) ReadName(section, &prefix);
  Place shared;
  read(section, &shared);
  const bool alone = shared.host.find(kNameInHost) != std::string::npos;
  const uint32_t step = shared.metrics_port != 0 && !alone ? 1 : 0;
  if (shared.metrics_port + step * (count - 1) > kMaxPort) {
    section.Refuse("metrics_port", fmt::format("must leave room for {} processes, one port each, up to {}", count, kMaxPort));
  }
  section.Finish();
  for (uint32_t i = 0; i < count && cluster.ok(); ++i) {
    Place& place = places->emplace_back(shared);
    place.name = fmt::format("{}{}", prefix, i);
    place.host = HostOf(shared.host, place.name);
    place.metrics_port = static_cast<uint16_t>(shared.metrics_port + step * i);
  }
}

void CheckNames(ConfigSection& cluster, const ClusterConfig& config) {
  std::set<std::string> names;
  for (const ServerPlace& server : config.servers) {
    if (!names.insert(server.name).second) cluster.Refuse("servers", fmt::format("has the name '{}' twice", server.name));
  }
  for (const WorkerPlace& worker : config.workers) {
    if (!names.insert(worker.name).second) {
      cluster.Refuse("workers", fmt::format("has the name '{}', which stands here or among the servers already", worker.name));
    }
  }
}

void CheckPorts(ConfigSection& cluster, const ClusterConfig& config) {
  std::map<std::pair<std::string, uint32_t>, std::string> owners;
  const auto take = [&](std::string_view key, const std::string& host, uint32_t port, const std::string& name) {
    if (port == 0) return;
    const auto [owner, fresh] = owners.emplace(std::make_pair(host, port), name);
    if (!fresh) {
      cluster.Refuse(key, fmt::format("gives port {} of {} to '{}', which '{}' has", port, host, name, owner->second));
    }
  };
  take("scheduler", config.scheduler.host, config.scheduler.port, "scheduler");
  take("scheduler", config.scheduler.host, config.scheduler.metrics_port, "scheduler's metrics");
  take("status", config.status.host, config.status.port, "status page");
  for (const ServerPlace& server : config.servers) {
    for (uint32_t shard = 0; shard < server.shards && server.port != 0; ++shard) {
      take("servers", server.host, server.port + shard, server.name);
    }
    take("servers", server.host, server.metrics_port, server.name + "'s metrics");
  }
  for (const WorkerPlace& worker : config.workers) {
    take("workers", worker.host, worker.metrics_port, worker.name + "'s metrics");
  }
}

std::vector<std::string> Hosts(const ClusterConfig& config) {
  std::vector<std::string> hosts = {config.scheduler.host};
  for (const ServerPlace& server : config.servers) hosts.push_back(server.host);
  for (const WorkerPlace& worker : config.workers) hosts.push_back(worker.host);
  return hosts;
}

void CheckOneHost(ConfigSection& cluster, const ClusterConfig& config) {
  for (const std::string& host : Hosts(config)) {
    if (IsLoopback(host) || host == config.scheduler.host) continue;
    cluster.Fail(fmt::format("launcher 'local' cannot start processes on host '{}'; it must be 'ssh' or 'external'", host));
  }
}

// A pod finds its own entry by its name, and the others by a service's: a mistake there would show as one who never comes.
void CheckPods(ConfigSection& cluster, const ClusterConfig& config) {
  const auto check = [&](const std::string& name, const std::string& host) {
    if (host.substr(0, host.find('.')) == name && host != name) return;
    cluster.Fail(
        fmt::format("with launcher 'kubernetes' the host of '{}' must be '{}.SERVICE', its pod's name behind a headless "
                    "service's; it is '{}'",
                    name, name, host));
  };
  const auto need = [&](const std::string& name, std::string_view key, uint16_t port) {
    if (port != 0) return;
    cluster.Fail(fmt::format("with launcher 'kubernetes' '{}' must have a {}: manifests name it", name, key));
  };
  need("scheduler", "port", config.scheduler.port);
  need("scheduler", "metrics_port", config.scheduler.metrics_port);
  for (const ServerPlace& server : config.servers) {
    check(server.name, server.host);
    need(server.name, "port", server.port);
    need(server.name, "metrics_port", server.metrics_port);
  }
  for (const WorkerPlace& worker : config.workers) {
    check(worker.name, worker.host);
    need(worker.name, "metrics_port", worker.metrics_port);
  }
}

void CheckSchedulerIsReached(ConfigSection& cluster, const ClusterConfig& config) {
  if (!IsLoopback(config.scheduler.host)) return;
  for (const std::string& host : Hosts(config)) {
    if (IsLoopback(host)) continue;
    cluster.Fail(
        fmt::format("scheduler.host is '{}', which processes on host '{}' cannot reach; it must be this machine's address",
                    config.scheduler.host, host));
  }
}

bool IsVariableName(const std::string& name) {
  const bool characters =
      std::all_of(name.begin(), name.end(), [](unsigned char c) { return std::isalnum(c) != 0 || c == '_'; });
  return characters && !name.empty() && std::isdigit(static_cast<unsigned char>(name.front())) == 0;
}

void ReadEnvironment(ConfigSection section, std::map<std::string, std::string>* environment) {
  for (const std::string& name : section.keys()) {
    section.Read(name, &(*environment)[name]);
    if (!IsVariableName(name)) section.Refuse(name, "must be named by letters, digits and '_', with no digit in front");
  }
  section.Finish();
}

// ssh knows ~ as the home folder, and so may people; a path in this file is relative to the file.
void ReadFileOfSsh(ConfigSection& ssh, std::string_view key, const std::string& folder, std::string* path) {
  std::string text;
  ssh.Read(key, &text);
  if (text.rfind('~', 0) == 0) ssh.Refuse(key, "must be a path without '~': an absolute one, or one relative to this file");
  ssh.ReadPath(key, folder, path);
}

void CheckNoHosts(ConfigSection& cluster, const ClusterConfig& config) {
  for (const std::string& host : Hosts(config)) {
    if (host == SchedulerPlace().host) continue;
    cluster.Fail(fmt::format("launcher 'slurm' takes hosts from the job's nodes; host '{}' must not stand here", host));
  }
}

void ReadSlurm(ConfigSection& cluster, ClusterConfig* config) {
  if (!cluster.Has("slurm")) return;
  if (config->launcher != Launcher::kSlurm) cluster.Refuse("slurm", "is for launcher 'slurm' only");
  ConfigSection section = cluster.Section("slurm");
  section.ReadList("options", &config->slurm.options);
  section.ReadList("server_options", &config->slurm.server_options);
  section.ReadList("worker_options", &config->slurm.worker_options);
  ReadEnvironment(section.Section("environment"), &config->slurm.environment);
  section.Finish();
}

void ReadSsh(ConfigSection& cluster, const std::string& folder, ClusterConfig* config) {
  if (!cluster.Has("ssh")) return;
  if (config->launcher != Launcher::kSsh) cluster.Refuse("ssh", "is for launcher 'ssh' only");
  ConfigSection section = cluster.Section("ssh");
  SshConfig& ssh = config->ssh;
  section.Read("user", &ssh.user);
  section.Read("port", &ssh.port, uint16_t{1});
  ReadFileOfSsh(section, "identity_file", folder, &ssh.identity_file);
  ReadFileOfSsh(section, "config_file", folder, &ssh.config_file);
  section.ReadList("options", &ssh.options);
  for (const std::string& option : ssh.options) {
    if (option.find('=') == std::string::npos) {
      section.Refuse("options", fmt::format("must be a list of NAME=VALUE as in ssh_config; '{}' is not", option));
    }
  }
  section.Read("programs", &ssh.programs);
  if (!ssh.programs.empty() && ssh.programs.front() != '/') {
    section.Refuse("programs", "must be an absolute path, of the folder of `ps` and `worker` on the hosts");
  }
  section.ReadList("prefix", &ssh.prefix);
  ReadEnvironment(section.Section("environment"), &ssh.environment);
  section.Finish();
}

void ReadSecurity(ConfigSection& cluster, const std::string& folder, ClusterConfig* config) {
  cluster.Read("security", &config->curve, ConfigWords<bool>{{"none", false}, {"curve", true}});
  cluster.ReadPath("keys", folder, &config->keys);
  if (config->curve) cluster.Require("keys", "with security 'curve', the folder that `marquee keygen` wrote");
  if (!config->curve && cluster.Has("keys")) cluster.Refuse("keys", "is for security 'curve' only");
  config->security_said = cluster.Has("security");
  if (config->launcher == Launcher::kSlurm) {
    cluster.Require("security", "'curve' or 'none', with launcher 'slurm': processes listen on their nodes' addresses");
  }
  if (config->all_interfaces) {
    cluster.Require("security", "'curve' or 'none', with bind 'all': processes listen on all addresses of their machine");
  }
  const std::vector<std::string> hosts = Hosts(*config);
  const auto remote = std::find_if_not(hosts.begin(), hosts.end(), IsLoopback);
  if (remote != hosts.end()) {
    cluster.Require("security",
                    fmt::format("must be 'curve' or 'none', and be said, since host '{}' is not loopback", *remote));
  }
}

void ReadPartitions(ConfigSection& cluster, ClusterConfig* config) {
  cluster.Read("partitions", &config->partitions, 1U, kMaxPartitions);
  if (!std::has_single_bit(config->partitions)) {
    cluster.Refuse("partitions", fmt::format("must be a power of two from 1 to {}", kMaxPartitions));
  }
  uint64_t shards = 0;
  for (const ServerPlace& server : config->servers) shards += server.shards;
  if (config->partitions < shards) {
    cluster.Fail(
        fmt::format("{} partitions for {} shards; there must be at least one for each shard", config->partitions, shards));
  }
}

void ReadTimes(ConfigSection& cluster, ClusterConfig* config) {
  cluster.ReadSeconds("heartbeat_seconds", &config->heartbeat, absl::Milliseconds(50), absl::Minutes(1));
  cluster.ReadSeconds("lease_seconds", &config->lease, absl::Milliseconds(150), absl::Hours(1));
  cluster.ReadSeconds("longest_step_seconds", &config->longest_step, absl::Seconds(1), absl::Hours(24));
  if (config->lease < 3 * config->heartbeat) {
    cluster.Fail(fmt::format("lease_seconds is {} and heartbeat_seconds {}; a lease must last at least 3 heartbeats",
                             absl::ToDoubleSeconds(config->lease), absl::ToDoubleSeconds(config->heartbeat)));
  }
}

void ReadCheckpoints(ConfigSection& cluster, const std::string& folder, ClusterConfig* config) {
  if (!cluster.Has("checkpoints")) return;
  CheckpointConfig& checkpoints = config->checkpoints.emplace();
  ConfigSection section = cluster.Section("checkpoints");
  section.ReadSeconds("every_seconds", &checkpoints.every, absl::ZeroDuration(), absl::Hours(24 * 365));
  if (checkpoints.every == absl::ZeroDuration()) checkpoints.every = absl::InfiniteDuration();
  section.Read("keep", &checkpoints.keep, 1U, 1000U);
  section.Read("full_every", &checkpoints.full_every, 1U, 1000U);
  section.ReadPath("folder", folder, &checkpoints.folder);
  if (config->launcher != Launcher::kLocal && config->launcher != Launcher::kSlurm) {
    section.Require("folder", "unless launcher is 'local' or 'slurm', a folder that all hosts share");
  }
  section.Finish();
}

void ReadReplication(ConfigSection& cluster, ClusterConfig* config) {
  cluster.Read("replication", &config->replication, 1, 2);
  cluster.ReadSeconds("primary_lease_seconds", &config->primary_lease, absl::Milliseconds(100), absl::Minutes(1));
  if (config->replication > 1 && config->servers.size() < 2) {
    cluster.Fail(fmt::format("replication is {} and there is 1 server; the copies of a row are on different servers",
                             config->replication));
  }
}

void ReadLimits(ConfigSection& cluster, ClusterConfig* config) {
  size_t message_mib = config->max_message_bytes / kMib;
  size_t queued_mib = config->max_queued_bytes / kMib;
  cluster.Read("max_message_mib", &message_mib, size_t{1}, size_t{1024});
  cluster.Read("max_queued_mib", &queued_mib, size_t{1}, kMaxMib);
  if (queued_mib < message_mib) {
    cluster.Fail(
        fmt::format("max_queued_mib is {} and max_message_mib {}; a queue must hold one message", queued_mib, message_mib));
  }
  config->max_message_bytes = message_mib * kMib;
  config->max_queued_bytes = queued_mib * kMib;
}

void ReadCluster(ConfigSection cluster, const std::string& folder, ClusterConfig* config) {
  cluster.Read("name", &config->name);
  cluster.Read("launcher", &config->launcher,
               ConfigWords<Launcher>{{"local", Launcher::kLocal},
                                     {"external", Launcher::kExternal},
                                     {"ssh", Launcher::kSsh},
                                     {"slurm", Launcher::kSlurm},
                                     {"kubernetes", Launcher::kKubernetes}});
  config->all_interfaces = config->launcher == Launcher::kKubernetes;
  cluster.Read("bind", &config->all_interfaces, ConfigWords<bool>{{"host", false}, {"all", true}});
  ReadScheduler(cluster.Section("scheduler"), &config->scheduler);
  ReadStatus(cluster.Section("status"), folder, &config->status);
  ReadPlaces(cluster, "servers", "s", ReadServer, &config->servers);
  ReadPlaces(cluster, "workers", "w", ReadWorker, &config->workers);
  CheckNames(cluster, *config);
  CheckPorts(cluster, *config);
  ReadSecurity(cluster, folder, config);
  ReadPartitions(cluster, config);
  ReadTimes(cluster, config);
  ReadReplication(cluster, config);
  ReadCheckpoints(cluster, folder, config);
  ReadLimits(cluster, config);
  if (config->launcher == Launcher::kExternal && config->scheduler.port == 0) {
    cluster.Fail("scheduler.port must be given with launcher 'external': others must know where to connect");
  }
  if (config->launcher == Launcher::kLocal) CheckOneHost(cluster, *config);
  if (config->launcher == Launcher::kKubernetes) CheckPods(cluster, *config);
  if (config->launcher == Launcher::kSsh) CheckSchedulerIsReached(cluster, *config);
  if (config->launcher == Launcher::kSlurm) CheckNoHosts(cluster, *config);
  ReadSsh(cluster, folder, config);
  ReadSlurm(cluster, config);
  cluster.Finish();
}

}  // namespace

const ServerPlace* ClusterConfig::server(const std::string& server_name) const {
  const auto found =
      std::find_if(servers.begin(), servers.end(), [&](const ServerPlace& place) { return place.name == server_name; });
  return found == servers.end() ? nullptr : &*found;
}

const WorkerPlace* ClusterConfig::worker(const std::string& worker_name) const {
  const auto found =
      std::find_if(workers.begin(), workers.end(), [&](const WorkerPlace& place) { return place.name == worker_name; });
  return found == workers.end() ? nullptr : &*found;
}

absl::Status ReplaceHost(const ClusterConfig& config, const std::string& replacement, std::string* host) {
  if (replacement.empty()) return absl::OkStatus();
  if (!std::all_of(replacement.begin(), replacement.end(), IsHostCharacter)) {
    return absl::InvalidArgumentError(
        fmt::format("--host: value '{}': must be a host name or an IP address, without a port", replacement));
  }
  if (!IsLoopback(replacement) && !config.security_said) {
    return absl::InvalidArgumentError(fmt::format(
        "--host: '{}' is not loopback, so the cluster file must say cluster.security: 'curve' or 'none'", replacement));
  }
  *host = replacement;
  return absl::OkStatus();
}

void ReadData(ConfigSection& root, const std::string& folder, std::string* file) {
  if (root.IsText("data")) return root.ReadPath("data", folder, file);
  if (!root.Has("data")) return;
  ConfigSection data = root.Section("data");
  data.Require("file", "the data file, as `wrangle` wrote it");
  data.ReadPath("file", folder, file);
  data.Finish();
}

namespace {

absl::StatusOr<ClusterConfig> ReadDocument(ConfigDocument& document, const std::string& folder) {
  ClusterConfig config;
  ConfigSection root = document.root();
  root.Require("cluster", "which processes there are, and where");
  ReadCluster(root.Section("cluster"), folder, &config);
  ReadData(root, folder, &config.data_file);
  root.Has("models");  // known; the scheduler reads them
  root.Has("sweep");
  root.Has("plan");
  root.Finish();
  if (!document.status().ok()) return document.status();
  return config;
}

}  // namespace

absl::StatusOr<ClusterConfig> LoadClusterConfig(const std::string& path, const std::string& folder) {
  absl::StatusOr<ConfigDocument> document = ConfigDocument::Load(path);
  if (!document.ok()) return document.status();
  return ReadDocument(*document, folder.empty() ? std::filesystem::absolute(path).parent_path().string() : folder);
}

absl::StatusOr<ClusterConfig> ParseClusterConfig(std::string_view yaml, const std::string& label, const std::string& folder) {
  absl::StatusOr<ConfigDocument> document = ConfigDocument::Parse(yaml, label);
  if (!document.ok()) return document.status();
  return ReadDocument(*document, folder);
}

absl::Status CheckClusterEdit(std::string_view before, std::string_view after, const std::string& label) {
  const absl::StatusOr<ConfigDocument> old = ConfigDocument::Parse(before, label);
  if (!old.ok()) return old.status();
  absl::StatusOr<ConfigDocument> edited = ConfigDocument::Parse(after, label);
  if (!edited.ok()) return edited.status();
  edited->RefuseDifferences(
      *old, {"cluster.servers", "cluster.workers"},
      "while a sweep runs, only 'servers' and 'workers' may change: stop the scheduler and start it again "
      "with --resume");
  return edited->status();
}

}  // namespace marquee
