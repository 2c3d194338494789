#include "scheduler/leaderboard.h"

#include <fmt/format.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <nlohmann/json.hpp>
#include <numeric>
#include <optional>

namespace marquee {
namespace {

using Json = nlohmann::ordered_json;

// Tables stand in this order.
constexpr std::array<std::pair<ModelConfig::Kind, std::string_view>, 6> kKinds = {{{ModelConfig::Kind::kTwoTower, "two_tower"},
                                                                                   {ModelConfig::Kind::kRanking, "ranking"},
                                                                                   {ModelConfig::Kind::kDcn, "dcn"},
                                                                                   {ModelConfig::Kind::kJoint, "joint"},
                                                                                   {ModelConfig::Kind::kListwise, "listwise"},
                                                                                   {ModelConfig::Kind::kSequence, "sequence"}}};

// YAML text as JSON: whole numbers and numbers and true/false as such, everything else as text.
Json ScalarToJson(const std::string& text) {
  if (text == "true" || text == "false") return text == "true";
  const Json number = Json::parse(text, nullptr, false);
  return number.is_number() ? number : Json(text);
}

// Adds the values of a mapping under dotted names; lists stay lists.
void Flatten(const YAML::Node& node, const std::string& path, Json* params) {
  const auto nested = [](const YAML::Node& list) {
    Json values = Json::array();
    for (const auto& element : list) {
      if (element.IsScalar()) {
        values.push_back(ScalarToJson(element.Scalar()));
      } else {
        Json entry = Json::object();
        Flatten(element, "", &entry);
        values.push_back(std::move(entry));
      }
    }
    return values;
  };
  for (const auto& entry : node) {
    const std::string name = path.empty() ? entry.first.Scalar() : path + "." + entry.first.Scalar();
    if (entry.second.IsMap()) {
      Flatten(entry.second, name, params);
    } else {
      (*params)[name] = entry.second.IsScalar() ? ScalarToJson(entry.second.Scalar()) : nested(entry.second);
    }
  }
}

std::optional<double> Find(const std::map<std::string, double>& metrics, const std::string& name) {
  const auto found = metrics.find(name);
  return found == metrics.end() ? std::nullopt : std::optional<double>(found->second);
}

// Rows of cells, aligned: the first column to the left, the others to the right.
class TextTable {
 public:
  void Add(std::vector<std::string> cells) { rows_.push_back(std::move(cells)); }

  std::string Text() const {
    std::vector<size_t> widths;
    for (const auto& row : rows_) {
      widths.resize(std::max(widths.size(), row.size()));
      for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], CharactersOf(row[i]));
    }
    std::string text;
    for (const auto& row : rows_) {
      std::string line;
      for (size_t i = 0; i < row.size(); ++i) {
        const std::string padding(widths[i] - CharactersOf(row[i]), ' ');
        line += i == 0 ? "  " + row[i] + padding : "  " + padding + row[i];
      }
      text += line.substr(0, line.find_last_not_of(' ') + 1) + "\n";
    }
    return text;
  }

 private:
  // Of UTF-8, where every byte but the first of a character is 10xxxxxx.
  static size_t CharactersOf(const std::string& text) {
    return static_cast<size_t>(
        std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xc0U) != 0x80U; }));
  }

  std::vector<std::vector<std::string>> rows_;
};

// The test metrics that a table shows.
std::vector<std::string> ColumnsOf(ModelConfig::Kind kind, SplitConfig::Protocol protocol) {
  const bool chronological = SplitConfig{.protocol = protocol}.chronological();
  switch (kind) {
    case ModelConfig::Kind::kTwoTower:
    case ModelConfig::Kind::kSequence:
      if (chronological) return {"hr_10", "hr_50", "hr_200", "ndcg_10"};
      return {"top_1", "top_10", "top_100", "top_100_unseen"};
    case ModelConfig::Kind::kRanking:
    case ModelConfig::Kind::kDcn:
      if (protocol == SplitConfig::Protocol::kBinarized) return {"auc", "log_loss"};
      return {"rmse", "mae"};
    case ModelConfig::Kind::kJoint:
      if (chronological) return {"hr_10", "ndcg_10", "rmse", "mae"};
      return {"top_10", "top_100", "top_100_unseen", "rmse"};
    case ModelConfig::Kind::kListwise:
      return {"ndcg_10"};
  }
  return {};
}

using MetricMap = std::map<std::string, double>;

// The values of each metric over some trials.
std::map<std::string, std::vector<double>> Collect(const std::vector<const MetricMap*>& metrics) {
  std::map<std::string, std::vector<double>> values;
  for (const MetricMap* of_trial : metrics) {
    for (const auto& [name, value] : *of_trial) values[name].push_back(value);
  }
  return values;
}

MetricMap Means(const std::vector<const MetricMap*>& metrics) {
  MetricMap means;
  for (const auto& [name, values] : Collect(metrics)) {
    means[name] = std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
  }
  return means;
}

// Only of metrics that there are at least two of.
MetricMap Deviations(const std::vector<const MetricMap*>& metrics) {
  MetricMap deviations;
  const MetricMap means = Means(metrics);
  for (const auto& [name, values] : Collect(metrics)) {
    if (values.size() < 2) continue;
    double squares = 0;
    for (const double value : values) squares += (value - means.at(name)) * (value - means.at(name));
    deviations[name] = std::sqrt(squares / static_cast<double>(values.size() - 1));
  }
  return deviations;
}

// Of the trials that finished; of all if none did.
std::vector<const MetricMap*> MetricsOf(const std::vector<Coordinator::TrialView>& trials, MetricMap TrialResult::*part) {
  std::vector<const MetricMap*> finished;
  std::vector<const MetricMap*> all;
  for (const Coordinator::TrialView& trial : trials) {
    all.push_back(&(trial.trial.result.*part));
    if (trial.trial.status == TrialStatus::kFinished) finished.push_back(all.back());
  }
  return finished.empty() ? all : finished;
}

// Validation and mean training loss, epoch by epoch.
Json CurveOf(const TrialResult& result) {
  Json curve = Json::array();
  for (size_t epoch = 0; epoch < result.epoch_losses.size(); ++epoch) {
    curve.push_back({{"epoch", epoch + 1}, {"loss", result.epoch_losses[epoch]}});
  }
  for (const TrialResult::Validation& validation : result.validations) {
    if (validation.epoch >= 1 && validation.epoch <= curve.size()) {
      curve[validation.epoch - 1]["validation"] = validation.metrics;
    }
  }
  return curve;
}

void AddEnd(const Coordinator::TrialView& trial, Json* entry) {
  const TrialResult& result = trial.trial.result;
  (*entry)["status"] = StatusWord(trial.trial.status);
  if (!trial.trial.reason.empty()) (*entry)["reason"] = trial.trial.reason;
  if (!result.stopped.empty()) (*entry)["stopped"] = {{"by", result.stopped}, {"epoch", result.epochs}};
  if (result.kept) (*entry)["model_folder"] = "models/" + trial.trial.name;
}

Json SeedEntry(const Coordinator::TrialView& trial) {
  const TrialResult& result = trial.trial.result;
  Json entry = {{"seed", trial.config.seed}, {"name", trial.trial.name}};
  AddEnd(trial, &entry);
  entry["metrics"] = {{"validation", result.validation}, {"test", result.test}};
  entry["curve"] = CurveOf(result);
  entry["seconds"] = result.seconds;
  return entry;
}

// Finished ones before stopped ones before the rest.
int Order(TrialStatus status) { return status == TrialStatus::kFinished ? 0 : status == TrialStatus::kStopped ? 1 : 2; }

std::string Shown(const std::optional<double>& value) { return value.has_value() ? fmt::format("{:.4f}", *value) : "-"; }

}  // namespace

std::string_view KindWord(ModelConfig::Kind kind) {
  return std::find_if(kKinds.begin(), kKinds.end(), [kind](const auto& one) { return one.first == kind; })->second;
}

std::string_view StatusWord(TrialStatus status) {
  switch (status) {
    case TrialStatus::kPending:
      return "pending";
    case TrialStatus::kRunning:
      return "running";
    case TrialStatus::kFinished:
      return "finished";
    case TrialStatus::kFailed:
      return "failed";
    case TrialStatus::kStopped:
      return "stopped";
  }
  return "";
}

nlohmann::ordered_json ParametersOf(const TrialConfig& config) {
  const YAML::Node spec = YAML::Load(ToYaml(config));
  Json params = Json::object();
  Flatten(spec["model"], "", &params);
  params["seed"] = config.seed;
  for (const char* section : {"data", "consistency"}) Flatten(spec[section], section, &params);
  return params;
}

Leaderboard::Data Leaderboard::Describe(const Dataset& data, const Split& split) {
  return Data{.name = data.name(),
              .synthetic = data.synthetic(),
              .checksum = data.checksum(),
              .ratings = data.interactions(),
              .users = data.users(),
              .movies = data.rated_items(),
              .split = split.name,
              .split_checksum = split.checksum,
              .train = split.train.size(),
              .validation = split.validation.size(),
              .test = split.test.size()};
}

Leaderboard::Leaderboard(Data data, std::vector<Baseline> baselines, const Sweep& sweep,
                         std::vector<Coordinator::TrialView> trials)
    : data_(std::move(data)),
      baselines_(std::move(baselines)),
      metric_(sweep.metric),
      maximize_(sweep.maximize),
      references_(sweep.references) {
  std::vector<std::string> configurations;
  for (Coordinator::TrialView& trial : trials) {
    const std::string name = trial.config.repeats.empty() ? trial.config.name : trial.config.repeats;
    if (!seeds_.contains(name)) configurations.push_back(name);
    seeds_[name].push_back(std::move(trial));
  }
  for (const std::string& name : configurations) trials_.push_back(Summarize(seeds_.at(name)));
  std::stable_sort(trials_.begin(), trials_.end(), [this](const auto& a, const auto& b) { return Better(a, b); });
}

Coordinator::TrialView Leaderboard::Summarize(const std::vector<Coordinator::TrialView>& seeds) const {
  Coordinator::TrialView summary = seeds.front();
  // Of those that are there the configuration's first seed need not be one.
  if (!summary.config.repeats.empty()) summary.trial.name = summary.config.repeats;
  if (seeds.size() == 1) return summary;
  TrialResult& result = summary.trial.result;
  result.validation = Means(MetricsOf(seeds, &TrialResult::validation));
  result.test = Means(MetricsOf(seeds, &TrialResult::test));
  for (size_t i = 1; i < seeds.size(); ++i) {
    if (Order(seeds[i].trial.status) < Order(summary.trial.status)) summary.trial.status = seeds[i].trial.status;
    result.seconds += seeds[i].trial.result.seconds;
    result.examples += seeds[i].trial.result.examples;
    result.repeated_examples += seeds[i].trial.result.repeated_examples;
    result.examples_per_second += seeds[i].trial.result.examples_per_second;
  }
  result.examples_per_second /= static_cast<double>(seeds.size());
  return summary;
}

bool Leaderboard::Better(const Coordinator::TrialView& a, const Coordinator::TrialView& b) const {
  if (a.config.model.kind != b.config.model.kind) return a.config.model.kind < b.config.model.kind;
  if (Order(a.trial.status) != Order(b.trial.status)) return Order(a.trial.status) < Order(b.trial.status);
  const MetricGoal goal = MetricGoal::Of(a.config, metric_, maximize_);
  return goal.Score(a.trial.result.validation) > goal.Score(b.trial.result.validation);
}

std::string Leaderboard::Json() const {
  marquee::Json board;
  board["dataset"] = {{"name", data_.name},
                      {"synthetic", data_.synthetic},
                      {"checksum", fmt::format("{:016x}", data_.checksum)},
                      {"ratings", data_.ratings},
                      {"users", data_.users},
                      {"movies", data_.movies},
                      {"split", data_.split},
                      {"split_checksum", fmt::format("{:016x}", data_.split_checksum)},
                      {"train", data_.train},
                      {"validation", data_.validation},
                      {"test", data_.test}};
  board["baselines"] = marquee::Json::array();
  for (const Baseline& baseline : baselines_) {
    board["baselines"].push_back({{"name", baseline.name}, {"metrics", baseline.metrics}});
  }
  board["trials"] = marquee::Json::array();
  for (const Coordinator::TrialView& trial : trials_) {
    const TrialResult& result = trial.trial.result;
    marquee::Json entry;
    entry["name"] = trial.trial.name;
    entry["model"] = KindWord(trial.config.model.kind);
    AddEnd(trial, &entry);
    entry["params"] = ParametersOf(trial.config);
    entry["metrics"] = {{"validation", result.validation}, {"test", result.test}};
    if (!result.epoch_losses.empty()) entry["metrics"]["train"] = {{"loss", result.epoch_losses.back()}};
    entry["epoch_losses"] = result.epoch_losses;
    entry["epochs"] = result.epochs;
    entry["curve"] = CurveOf(result);
    const std::vector<Coordinator::TrialView>& seeds = seeds_.at(trial.trial.name);
    if (seeds.size() > 1) {
      entry["deviation"] = {{"validation", Deviations(MetricsOf(seeds, &TrialResult::validation))},
                            {"test", Deviations(MetricsOf(seeds, &TrialResult::test))}};
    }
    entry["seeds"] = marquee::Json::array();
    for (const Coordinator::TrialView& seed : seeds) entry["seeds"].push_back(SeedEntry(seed));
    if (const auto found = references_.find(trial.trial.name); found != references_.end()) {
      for (const ReferenceFigures& figures : found->second) entry["reference"][figures.source] = figures.metrics;
    }
    entry["seconds"] = result.seconds;
    entry["examples_per_second"] = result.examples_per_second;
    entry["examples"] = result.examples;
    entry["repeated_examples"] = result.repeated_examples;
    board["trials"].push_back(std::move(entry));
  }
  return board.dump(2) + "\n";
}

std::vector<std::string> Leaderboard::ReferencesOf(ModelConfig::Kind kind) const {
  std::vector<std::string> names;
  for (const Coordinator::TrialView& trial : trials_) {
    const auto found = references_.find(trial.trial.name);
    if (trial.config.model.kind != kind || found == references_.end()) continue;
    for (const ReferenceFigures& figures : found->second) {
      for (const auto& [metric, value] : figures.metrics) {
        const std::string name = fmt::format("{} {}", figures.source, metric);
        if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
      }
    }
  }
  return names;
}

std::string Leaderboard::ReferenceCell(const std::string& configuration, const std::string& reference) const {
  const auto found = references_.find(configuration);
  if (found == references_.end()) return "-";
  for (const ReferenceFigures& figures : found->second) {
    for (const auto& [metric, value] : figures.metrics) {
      if (fmt::format("{} {}", figures.source, metric) == reference) return Shown(value);
    }
  }
  return "-";
}

Leaderboard::Table Leaderboard::TableOf(ModelConfig::Kind kind) const {
  const auto first =
      std::find_if(trials_.begin(), trials_.end(), [kind](const auto& trial) { return trial.config.model.kind == kind; });
  Table table{.kind = kind,
              .word = std::string(KindWord(kind)),
              .goal = MetricGoal::Of(first->config, metric_, maximize_),
              .metrics = ColumnsOf(kind, first->config.split.protocol),
              .references = ReferencesOf(kind),
              .rows = {}};
  for (const Baseline& baseline : baselines_) {
    Row row{.name = baseline.name, .trial = nullptr, .validation = "-", .test = {}, .references = {}};
    bool any = false;
    for (const std::string& metric : table.metrics) {
      row.test.push_back(Shown(Find(baseline.metrics, metric)));
      any = any || baseline.metrics.contains(metric);
    }
    row.references.resize(table.references.size(), "-");
    if (any) table.rows.push_back(std::move(row));
  }
  for (const Coordinator::TrialView& trial : trials_) {
    if (trial.config.model.kind != kind) continue;
    const auto shown = [&](MetricMap TrialResult::*part, const std::string& metric) {
      const auto spread = Find(Deviations(MetricsOf(SeedsOf(trial.trial.name), part)), metric);
      return Shown(Find(trial.trial.result.*part, metric)) + (spread.has_value() ? fmt::format(" ±{:.4f}", *spread) : "");
    };
    Row row{.name = trial.trial.name,
            .trial = &trial,
            .validation = shown(&TrialResult::validation, table.goal.metric),
            .test = {},
            .references = {}};
    for (const std::string& metric : table.metrics) row.test.push_back(shown(&TrialResult::test, metric));
    for (const std::string& reference : table.references) {
      row.references.push_back(ReferenceCell(trial.trial.name, reference));
    }
    table.rows.push_back(std::move(row));
  }
  return table;
}

std::vector<Leaderboard::Table> Leaderboard::Tables() const {
  std::vector<Table> tables;
  for (const auto& one : kKinds) {
    const ModelConfig::Kind kind = one.first;
    const bool any =
        std::any_of(trials_.begin(), trials_.end(), [kind](const auto& trial) { return trial.config.model.kind == kind; });
    if (any) tables.push_back(TableOf(kind));
  }
  return tables;
}

std::string Leaderboard::TextOf(const Table& table) {
  TextTable text;
  std::vector<std::string> head = {table.word, "validation " + table.goal.metric};
  for (const std::string& metric : table.metrics) head.push_back("test " + metric);
  head.insert(head.end(), table.references.begin(), table.references.end());
  head.insert(head.end(), {"loss", "seconds", "examples/s"});
  text.Add(head);
  for (const Row& row : table.rows) {
    std::vector<std::string> cells = {row.trial == nullptr ? fmt::format("({})", row.name) : row.name};
    const TrialStatus status = row.trial == nullptr ? TrialStatus::kFinished : row.trial->trial.status;
    if (!HasResult(status)) {
      cells.emplace_back(StatusWord(status));
    } else if (status == TrialStatus::kStopped) {
      const uint32_t epochs = row.trial->trial.result.epochs;
      cells.push_back(row.validation);
      cells.push_back(epochs == 0 ? "not run" : fmt::format("stopped at epoch {}", epochs));
    } else {
      cells.push_back(row.validation);
      cells.insert(cells.end(), row.test.begin(), row.test.end());
    }
    if (row.trial != nullptr && status == TrialStatus::kFinished) {
      const TrialResult& result = row.trial->trial.result;
      cells.insert(cells.end(), row.references.begin(), row.references.end());
      cells.push_back(result.epoch_losses.empty() ? "-" : fmt::format("{:.4f}", result.epoch_losses.back()));
      cells.push_back(fmt::format("{:.1f}", result.seconds));
      cells.push_back(fmt::format("{:.0f}", result.examples_per_second));
    }
    text.Add(std::move(cells));
  }
  return text.Text();
}

std::string Leaderboard::Text() const {
  std::string text = fmt::format("{}{}: {} ratings of {} users and {} movies; split {} ({:016x})\n", data_.name,
                                 data_.synthetic && data_.name.find("synthetic") == std::string::npos ? " (synthetic)" : "",
                                 data_.ratings, data_.users, data_.movies, data_.split, data_.split_checksum);
  if (data_.synthetic) text += "This data is synthetic: made up by a program, it says nothing of real people or movies.\n";
  for (const Table& table : Tables()) text += fmt::format("\n{}", TextOf(table));
  for (const auto& [configuration, seeds] : seeds_) {
    for (const Coordinator::TrialView& trial : seeds) {
      if (trial.trial.status != TrialStatus::kFailed) continue;
      text += fmt::format("\n{} failed: {}\n", trial.trial.name, trial.trial.reason);
    }
  }
  return text;
}

}  // namespace marquee
