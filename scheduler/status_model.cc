#include "scheduler/status_model.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "common/version.h"
#include "scheduler/metric_goal.h"

namespace marquee {
namespace {

using Json = nlohmann::ordered_json;

constexpr int kIntervalsOverdue = 3;  // of checkpoints
constexpr size_t kMaxNamed = 5;       // members in one sentence
constexpr size_t kMaxReason = 400;    // bytes of a trial's

double Unix(absl::Time time) { return static_cast<double>(absl::ToUnixMillis(time)) / 1000; }

Json ProblemOf(std::string_view level, std::string text) { return {{"level", level}, {"text", std::move(text)}}; }

std::string Named(const std::vector<std::string>& names) {
  std::string text;
  for (size_t i = 0; i < std::min(names.size(), kMaxNamed); ++i) text += fmt::format("{}{}", i == 0 ? "" : ", ", names[i]);
  if (names.size() > kMaxNamed) text += fmt::format(" and {} more", names.size() - kMaxNamed);
  return text;
}

int Order(TrialStatus status) {
  switch (status) {
    case TrialStatus::kRunning:
      return 0;
    case TrialStatus::kFailed:
      return 1;
    case TrialStatus::kFinished:
      return 2;
    case TrialStatus::kStopped:
      return 3;
    case TrialStatus::kPending:
      return 4;
  }
  return 5;
}

std::vector<std::string> MissingNames(const auto& places, const std::vector<Coordinator::Member>& members) {
  std::set<std::string> alive;
  for (const Coordinator::Member& member : members) {
    if (member.alive) alive.insert(member.name);
  }
  std::vector<std::string> missing;
  for (const auto& place : places) {
    if (!alive.contains(place.name)) missing.push_back(place.name);
  }
  return missing;
}

}  // namespace

StatusModel::StatusModel(std::string name, const ClusterConfig& cluster, const Sweep& sweep, Leaderboard::Data data,
                         absl::Time started)
    : name_(std::move(name)), cluster_(cluster), sweep_(sweep), data_(std::move(data)), started_(started) {}

std::string StatusModel::Missing(const Coordinator& coordinator, const ClusterConfig& cluster) {
  if (coordinator.done()) return "";
  const std::vector<std::string> missing = MissingNames(cluster.servers, coordinator.members());
  if (!missing.empty()) return fmt::format("servers that have not registered: {}", Named(missing));
  return coordinator.view().number == 0 ? "there is no view yet" : "";
}

void StatusModel::Look(const Coordinator& coordinator, absl::Time now, absl::Time time) {
  now_ = now;
  time_ = time;
  done_ = coordinator.done();
  members_ = coordinator.members();
  trials_ = coordinator.trials(now);
  view_ = coordinator.view();
  single_ = coordinator.under_replicated_partitions();
  const Coordinator::Counters& counters = coordinator.counters();
  if (counters.checkpoints > counters_.checkpoints) {
    checkpoint_written_ = time;
    checkpoint_failed_ = false;
  }
  if (counters.checkpoints_failed > counters_.checkpoints_failed) checkpoint_failed_ = true;
  counters_ = counters;
  events_.Look(coordinator, now, time);
  AddPoints(trials_);
  const auto results = static_cast<size_t>(
      std::count_if(trials_.begin(), trials_.end(), [](const auto& view) { return HasResult(view.trial.status); }));
  if (results != results_) {
    results_ = results;
    leaderboard_ = LeaderboardJson();
  }
}

// ------------------------------------------------------------------------------------------------------------ curves

void StatusModel::AddPoints(const std::vector<Coordinator::TrialView>& trials) {
  for (const Coordinator::TrialView& view : trials) {
    Points& points = curves_[view.trial.name];
    // Points that nobody watched: of a run that this process did not see, or of epochs that went by between two looks.
    const std::vector<double>& losses = view.trial.result.epoch_losses;
    const double last = points.empty() ? 0 : points.back().first;
    for (auto epoch = static_cast<size_t>(last); epoch < losses.size(); ++epoch) {
      if (static_cast<double>(epoch + 1) > last) points.emplace_back(static_cast<double>(epoch + 1), losses[epoch]);
    }
    if (view.trial.status == TrialStatus::kRunning && view.phase == "training" && view.loss != 0) {
      const double epochs = view.epoch + view.epoch_progress;
      // It was started again.
      std::erase_if(points, [&](const auto& point) { return point.first > epochs; });
      if (points.empty() || epochs > points.back().first) points.emplace_back(epochs, view.loss);
    }
    if (points.size() <= kMaxCurvePoints) continue;
    Points kept;
    for (size_t i = points.size() % 2; i < points.size(); i += 2) kept.push_back(points[i]);
    if (kept.back() != points.back()) kept.push_back(points.back());
    points = std::move(kept);
  }
}

std::vector<const Coordinator::TrialView*> StatusModel::WithCurves() const {
  std::map<std::string, std::vector<const Coordinator::TrialView*>> groups;
  for (const Coordinator::TrialView& view : trials_) {
    if (!curves_.at(view.trial.name).empty()) groups[GroupOf(view.config)].push_back(&view);
  }
  std::vector<const Coordinator::TrialView*> chosen;
  for (auto& [group, views] : groups) {
    const auto rank = [&](const Coordinator::TrialView* view) {
      const MetricGoal goal = MetricGoal::Of(view->config, sweep_.metric, sweep_.maximize);
      const auto& validations = view->trial.result.validations;
      const std::optional<double> score = validations.empty() ? std::nullopt : goal.Score(validations.back().metrics);
      return std::make_tuple(view->trial.status != TrialStatus::kRunning, !score.has_value(), -score.value_or(0));
    };
    std::stable_sort(views.begin(), views.end(), [&](const auto* a, const auto* b) { return rank(a) < rank(b); });
    if (views.size() > kMaxCurves) views.resize(kMaxCurves);
    chosen.insert(chosen.end(), views.begin(), views.end());
  }
  return chosen;
}

// -------------------------------------------------------------------------------------------------------------- JSON

const Coordinator::Member* StatusModel::Find(const std::string& name) const {
  const auto found = std::find_if(members_.begin(), members_.end(), [&](const auto& member) { return member.name == name; });
  return found == members_.end() ? nullptr : &*found;
}

std::string StatusModel::Json(bool report) const {
  marquee::Json json;
  const std::string_view state = done_ ? "over" : view_.number == 0 ? "waiting" : "running";
  json["name"] = name_;
  json["cluster"] = cluster_.name;
  json["version"] = Version();
  json["state"] = state;
  json["time"] = Unix(time_);
  json["started"] = Unix(started_);
  json["data"] = {{"name", data_.name},   {"synthetic", data_.synthetic},   {"ratings", data_.ratings},
                  {"users", data_.users}, {"movies", data_.movies},         {"split", data_.split},
                  {"train", data_.train}, {"validation", data_.validation}, {"test", data_.test}};
  json["problems"] = Problems();
  json["view"] = ViewJson();
  json["servers"] = ServersJson();
  json["workers"] = WorkersJson();
  json["trials"] = TrialsJson();
  json["leaderboard"] = leaderboard_;
  json["checkpoint"] = CheckpointJson();
  json["rejected"] = counters_.rejected;
  json["events"] = EventsJson();
  json["report"] = report;
  return json.dump(-1, ' ', false, marquee::Json::error_handler_t::replace);
}

Json StatusModel::Problems() const {
  marquee::Json problems = marquee::Json::array();
  if (done_) return problems;
  const std::vector<std::string> servers = MissingNames(cluster_.servers, members_);
  if (!servers.empty()) {
    const bool before = view_.number == 0;
    problems.push_back(ProblemOf(before ? "warning" : "error",
                                 fmt::format("{}: {}", before ? "Waiting for servers" : "Servers lost", Named(servers))));
  }
  const std::vector<std::string> workers = MissingNames(cluster_.workers, members_);
  if (!workers.empty()) problems.push_back(ProblemOf("warning", fmt::format("Workers not there: {}", Named(workers))));
  if (single_ > 0) {
    problems.push_back(ProblemOf(
        "warning",
        fmt::format("{} of {} partitions have no second copy: one more loss would cost rows", single_, view_.partitions())));
  }
  if (checkpoint_failed_) {
    problems.push_back(ProblemOf("error", "The last checkpoint was given up; the scheduler's log says why"));
  } else if (cluster_.checkpoints.has_value() && cluster_.checkpoints->every != absl::InfiniteDuration()) {
    const absl::Time since = std::max(started_, checkpoint_written_);
    if (time_ - since > kIntervalsOverdue * cluster_.checkpoints->every + cluster_.lease) {
      problems.push_back(ProblemOf("warning", "No checkpoint was written for three times its interval"));
    }
  }
  std::vector<std::string> failed;
  for (const Coordinator::TrialView& view : trials_) {
    if (view.trial.status == TrialStatus::kFailed) failed.push_back(view.trial.name);
  }
  if (!failed.empty()) problems.push_back(ProblemOf("warning", fmt::format("Trials failed: {}", Named(failed))));
  return problems;
}

Json StatusModel::ViewJson() const {
  const auto filling =
      std::count_if(view_.fills.begin(), view_.fills.end(), [](ShardIndex shard) { return shard != kNoShard; });
  return {{"number", view_.number},
          {"partitions", cluster_.partitions},
          {"replication", cluster_.replication},
          {"single_partitions", single_},
          {"filling_partitions", filling},
          {"promoted_partitions", counters_.partitions_promoted},
          {"servers_lost", counters_.servers_lost},
          {"workers_lost", counters_.workers_lost}};
}

Json StatusModel::ServersJson() const {
  std::map<std::string, std::string> owner;  // endpoint -> server
  for (const Coordinator::Member& member : members_) {
    for (const std::string& endpoint : member.endpoints) owner[endpoint] = member.name;
  }
  std::map<std::string, uint64_t> primaries;
  std::map<std::string, uint64_t> backups;
  std::map<std::string, uint64_t> fills;
  const auto count = [&](const std::vector<ShardIndex>& shards, std::map<std::string, uint64_t>& counts) {
    for (const ShardIndex shard : shards) {
      if (shard != kNoShard && owner.contains(view_.shards[shard])) ++counts[owner[view_.shards[shard]]];
    }
  };
  count(view_.primaries, primaries);
  count(view_.backups, backups);
  count(view_.fills, fills);
  marquee::Json servers = marquee::Json::array();
  for (const ServerPlace& place : cluster_.servers) {
    const Coordinator::Member* const member = Find(place.name);
    marquee::Json entry = {{"name", place.name}, {"state", member == nullptr ? "awaited" : member->alive ? "alive" : "lost"}};
    entry["host"] = member == nullptr ? place.host : member->host;
    entry["shards"] = member == nullptr ? place.shards : member->endpoints.size();
    if (member != nullptr) {
      const ServerStatistics& statistics = member->statistics;
      entry["metrics"] = member->metrics_endpoint;
      entry["silent_seconds"] = absl::ToDoubleSeconds(now_ - member->heard);
      entry["primary_partitions"] = primaries[place.name];
      entry["backup_partitions"] = backups[place.name];
      entry["filling_partitions"] = fills[place.name];
      entry["rows"] = statistics.rows;
      entry["bytes"] = statistics.bytes;
      entry["pulls"] = statistics.pulls;
      entry["pushes"] = statistics.pushes;
      entry["rejected"] = statistics.rejected;
    }
    servers.push_back(std::move(entry));
  }
  return servers;
}

Json StatusModel::WorkersJson() const {
  marquee::Json workers = marquee::Json::array();
  const auto add = [&](const std::string& name, const std::string& host, const Coordinator::Member* member) {
    marquee::Json entry = {{"name", name}, {"state", member == nullptr ? "awaited" : member->alive ? "alive" : "lost"}};
    entry["host"] = member == nullptr ? host : member->host;
    if (member != nullptr) {
      entry["metrics"] = member->metrics_endpoint;
      entry["silent_seconds"] = absl::ToDoubleSeconds(now_ - member->heard);
      entry["trial"] = member->trial;
    }
    workers.push_back(std::move(entry));
  };
  for (const WorkerPlace& place : cluster_.workers) add(place.name, place.host, Find(place.name));
  for (const Coordinator::Member& member : members_) {
    if (!member.server && cluster_.worker(member.name) == nullptr) add(member.name, member.host, &member);
  }
  return workers;
}

Json StatusModel::TrialJson(const Coordinator::TrialView& view, bool curve) const {
  const MetricGoal goal = MetricGoal::Of(view.config, sweep_.metric, sweep_.maximize);
  const bool running = view.trial.status == TrialStatus::kRunning;
  const TrialResult& result = view.trial.result;
  marquee::Json json = {{"name", view.trial.name}, {"kind", KindWord(view.config.model.kind)}};
  json["status"] = StatusWord(view.trial.status);
  json["phase"] = view.phase;
  json["epochs"] = view.config.model.epochs;
  json["epoch"] = running ? view.epoch + view.epoch_progress : static_cast<double>(result.epochs);
  json["examples_per_second"] = running ? view.examples_per_second : result.examples_per_second;
  if (running && view.loss != 0) {
    json["loss"] = view.loss;
  } else if (!result.epoch_losses.empty()) {
    json["loss"] = result.epoch_losses.back();
  }
  if (view.time_left.has_value()) json["seconds_left"] = absl::ToDoubleSeconds(*view.time_left);
  if (!running && HasResult(view.trial.status)) json["seconds"] = result.seconds;
  json["metric"] = goal.metric;
  json["maximize"] = goal.maximize;
  if (!result.validations.empty()) {
    const auto found = result.validations.back().metrics.find(goal.metric);
    if (found != result.validations.back().metrics.end()) json["validation"] = found->second;
  }
  if (!view.trial.reason.empty()) json["reason"] = view.trial.reason.substr(0, kMaxReason);
  if (!curve) return json;
  json["losses"] = curves_.at(view.trial.name);
  json["validations"] = marquee::Json::array();
  for (const TrialResult::Validation& validation : result.validations) {
    const auto found = validation.metrics.find(goal.metric);
    if (found != validation.metrics.end()) json["validations"].push_back({validation.epoch, found->second});
  }
  return json;
}

Json StatusModel::TrialsJson() const {
  std::map<TrialStatus, uint64_t> counts;
  std::vector<const Coordinator::TrialView*> order;
  double rate = 0;
  for (const Coordinator::TrialView& view : trials_) {
    ++counts[view.trial.status];
    if (view.trial.status == TrialStatus::kRunning) rate += view.examples_per_second;
    order.push_back(&view);
  }
  std::stable_sort(order.begin(), order.end(),
                   [](const auto* a, const auto* b) { return Order(a->trial.status) < Order(b->trial.status); });
  const std::vector<const Coordinator::TrialView*> curves = WithCurves();
  marquee::Json json;
  for (const TrialStatus status :
       {TrialStatus::kPending, TrialStatus::kRunning, TrialStatus::kFinished, TrialStatus::kStopped, TrialStatus::kFailed}) {
    json[std::string(StatusWord(status))] = counts[status];
  }
  json["examples"] = counters_.examples;
  json["repeated_examples"] = counters_.repeated_examples;
  json["examples_per_second"] = rate;
  json["list"] = marquee::Json::array();
  for (size_t i = 0; i < std::min(order.size(), kMaxTrials); ++i) {
    json["list"].push_back(TrialJson(*order[i], std::find(curves.begin(), curves.end(), order[i]) != curves.end()));
  }
  json["left_out"] = order.size() - json["list"].size();
  return json;
}

Json StatusModel::LeaderboardJson() const {
  std::vector<Coordinator::TrialView> ended;
  std::copy_if(trials_.begin(), trials_.end(), std::back_inserter(ended),
               [](const Coordinator::TrialView& view) { return HasResult(view.trial.status); });
  marquee::Json tables = marquee::Json::array();
  for (const Leaderboard::Table& table : Leaderboard(data_, {}, sweep_, std::move(ended)).Tables()) {
    marquee::Json json = {{"kind", table.word}, {"metric", table.goal.metric}, {"maximize", table.goal.maximize}};
    json["test_metrics"] = table.metrics;
    json["rows"] = marquee::Json::array();
    for (const Leaderboard::Row& row : table.rows) {
      if (json["rows"].size() >= kMaxTrials) break;
      json["rows"].push_back({{"name", row.name}, {"validation", row.validation}, {"test", row.test}});
    }
    tables.push_back(std::move(json));
  }
  return tables;
}

Json StatusModel::CheckpointJson() const {
  marquee::Json json = {{"on", cluster_.checkpoints.has_value()}};
  if (!cluster_.checkpoints.has_value()) return json;
  if (cluster_.checkpoints->every != absl::InfiniteDuration()) {
    json["every_seconds"] = absl::ToDoubleSeconds(cluster_.checkpoints->every);
  }
  json["written"] = counters_.checkpoints;
  json["failed"] = counters_.checkpoints_failed;
  json["trials_restored"] = counters_.trials_restored;
  if (counters_.checkpoints == 0) return json;
  json["number"] = counters_.checkpoint_number;
  json["time"] = Unix(checkpoint_written_);
  json["bytes"] = counters_.checkpoint_bytes;
  json["pause_seconds"] = absl::ToDoubleSeconds(counters_.checkpoint_pause);
  return json;
}

Json StatusModel::EventsJson() const {
  marquee::Json json = marquee::Json::array();
  const auto& events = events_.events();
  for (auto event = events.rbegin(); event != events.rend(); ++event) {
    json.push_back({{"time", Unix(event->time)}, {"level", LevelWord(event->level)}, {"text", event->text}});
  }
  return json;
}

}  // namespace marquee
