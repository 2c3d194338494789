#include "scheduler/cluster_follower.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <optional>
#include <set>
#include <utility>

#include "common/log.h"
#include "dataset/atomic_file.h"
#include "scheduler/launch_engine.h"
#include "scheduler/process_plan.h"

namespace marquee {
namespace {

template <typename Place>
std::vector<std::string> Names(const std::vector<Place>& places) {
  std::vector<std::string> names;
  for (const Place& place : places) names.push_back(place.name);
  return names;
}

// Of the places that `without` lacks.
template <typename Place>
std::vector<std::string> NamesBeyond(const std::vector<Place>& places, const std::vector<Place>& without) {
  std::vector<std::string> names = Names(places);
  for (const Place& place : without) std::erase(names, place.name);
  return names;
}

std::string List(const std::vector<std::string>& names) {
  return names.empty() ? "none" : fmt::format("{}", fmt::join(names, ","));
}

// Written, not yet in its place.
absl::StatusOr<AtomicFile> PrepareFile(const std::string& path, const std::string& text) {
  absl::StatusOr<AtomicFile> file = AtomicFile::Create(path);
  if (!file.ok()) return file.status();
  if (absl::Status status = file->Write(text.data(), text.size()); !status.ok()) return status;
  return file;
}

}  // namespace

ClusterFollower::ClusterFollower(ClusterFile& file, Options options, std::function<void(const std::string&)> say)
    : file_(file), options_(std::move(options)), say_(std::move(say)) {
  if (!UsesCopy()) return;
  options_.processes.cluster_file = options_.copy;
  options_.processes.cluster_folder = file_.folder();
}

bool ClusterFollower::UsesCopy() const { return file_.config().launcher == ClusterConfig::Launcher::kLocal; }

absl::Status ClusterFollower::Start(absl::Time now) {
  absl::StatusOr<std::unique_ptr<LaunchEngine>> engine = MakeLaunchEngine(file_.config());
  if (!engine.ok()) return engine.status();
  if (*engine == nullptr && file_.config().launcher == ClusterConfig::Launcher::kKubernetes) {
    say_(fmt::format("Waiting at {} for the pods of {} servers and {} workers", options_.processes.scheduler,
                     file_.config().servers.size(), file_.config().workers.size()));
    return absl::OkStatus();
  }
  if (*engine == nullptr) {
    say_(
        fmt::format("Waiting at {} for {} servers and {} workers, to be started with `ps --cluster {} --name NAME` and "
                    "`worker --cluster {} --name NAME --data FILE`",
                    options_.processes.scheduler, file_.config().servers.size(), file_.config().workers.size(), file_.path(),
                    file_.path()));
    return absl::OkStatus();
  }
  launcher_ = std::make_unique<Launcher>(*std::move(engine), options_.log_folder);
  if (UsesCopy()) {
    absl::StatusOr<AtomicFile> copy = PrepareFile(options_.copy, file_.now().text);
    if (!copy.ok()) return copy.status();
    if (absl::Status status = copy->Commit(); !status.ok()) return status;
  }
  return RunProcesses(file_.config(), now);
}

absl::Status ClusterFollower::RunProcesses(const ClusterConfig& before, absl::Time now) {
  absl::StatusOr<std::vector<ProcessPlan>> plans = PlanProcesses(file_.config(), options_.processes);
  if (!plans.ok()) return plans.status();
  if (absl::Status status = launcher_->Want(*std::move(plans), now); !status.ok()) return status;
  for (const std::string& worker : NamesBeyond(before.workers, file_.config().workers)) launcher_->Retire(worker, now);
  return absl::OkStatus();
}

void ClusterFollower::Refuse(const absl::Status& why) {
  ++refused_;
  LogError("the cluster file is not followed; what runs stays as it is", {{"reason", std::string(why.message())}});
}

void ClusterFollower::SayWhatToRun(const ClusterConfig& before) const {
  for (const std::string& server : NamesBeyond(file_.config().servers, before.servers)) {
    say_(fmt::format("Server {} is to be started: `ps --cluster {} --name {}`", server, file_.path(), server));
  }
  for (const std::string& worker : NamesBeyond(file_.config().workers, before.workers)) {
    say_(fmt::format("Worker {} may be started: `worker --cluster {} --name {} --data FILE`", worker, file_.path(), worker));
  }
  for (const std::string& worker : NamesBeyond(before.workers, file_.config().workers)) {
    say_(fmt::format("Worker {} is not in the cluster file any more and may be stopped", worker));
  }
}

absl::Status ClusterFollower::Poll(bool asked, absl::Time now, Coordinator& coordinator, Outbox& outbox) {
  absl::StatusOr<std::optional<ClusterFile::Version>> version = file_.Poll(now, asked);
  if (!version.ok()) {
    Refuse(version.status());
  } else if (version->has_value()) {
    if (absl::Status status = Follow(**std::move(version), now, coordinator, outbox); !status.ok()) return status;
  } else if (asked) {
    LogInfo("the cluster file says what runs already");
  }
  EndEmptied(coordinator, now);
  return absl::OkStatus();
}

absl::Status ClusterFollower::Follow(ClusterFile::Version version, absl::Time now, Coordinator& coordinator, Outbox& outbox) {
  if (absl::Status status = CheckWorkers(version.config, options_.workers_per_trial, file_.path()); !status.ok()) {
    Refuse(status);
    return absl::OkStatus();
  }
  std::optional<AtomicFile> copy;
  if (UsesCopy()) {
    absl::StatusOr<AtomicFile> prepared = PrepareFile(options_.copy, version.text);
    if (!prepared.ok()) {
      Refuse(prepared.status());
      return absl::OkStatus();
    }
    copy.emplace(*std::move(prepared));
  }
  if (absl::Status status = coordinator.SetServers(Names(version.config.servers), now, outbox); !status.ok()) {
    Refuse(status);
    return absl::OkStatus();
  }
  if (copy.has_value()) {
    if (absl::Status status = copy->Commit(); !status.ok()) return status;
  }
  const ClusterConfig before = file_.config();
  file_.Use(std::move(version));
  LogInfo("follows the edited cluster file", {{"servers", List(Names(file_.config().servers))},
                                              {"added", List(NamesBeyond(file_.config().servers, before.servers))},
                                              {"leaving", List(Names(file_.leaving()))},
                                              {"workers", List(Names(file_.config().workers))}});
  if (launcher_ != nullptr) return RunProcesses(before, now);
  SayWhatToRun(before);
  return absl::OkStatus();
}

void ClusterFollower::EndEmptied(const Coordinator& coordinator, absl::Time now) {
  for (const std::string& server : Names(file_.leaving())) {
    if (!coordinator.IsEmptied(server)) continue;
    if (launcher_ == nullptr) {
      say_(fmt::format("Server {} holds nothing any more and may be stopped", server));
    } else if (launcher_->runs(server)) {
      launcher_->Retire(server, now);
      continue;
    }
    LogInfo("a server has left", {{"name", server}});
    file_.Gone(server);
  }
}

uint64_t PartitionsOn(const std::vector<ServerPlace>& servers, const View& view,
                      const std::vector<Coordinator::Member>& members) {
  std::set<std::string> endpoints;
  for (const Coordinator::Member& member : members) {
    const bool named =
        std::any_of(servers.begin(), servers.end(), [&](const ServerPlace& place) { return place.name == member.name; });
    if (named) endpoints.insert(member.endpoints.begin(), member.endpoints.end());
  }
  const auto on = [&](ShardIndex shard) { return shard < view.shards.size() && endpoints.contains(view.shards[shard]); };
  uint64_t count = 0;
  for (size_t i = 0; i < view.primaries.size(); ++i) {
    if (on(view.primaries[i]) || on(view.backups[i]) || on(view.fills[i])) ++count;
  }
  return count;
}

absl::Status CheckWorkers(const ClusterConfig& cluster, uint32_t workers_per_trial, const std::string& where) {
  if (workers_per_trial <= cluster.workers.size()) return absl::OkStatus();
  return absl::InvalidArgumentError(fmt::format("{}: sweep.workers_per_trial is {}, but the cluster has {} workers", where,
                                                workers_per_trial, cluster.workers.size()));
}

}  // namespace marquee
