#include "scheduler/sweep.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <utility>

#include "common/cluster_config.h"
#include "common/config.h"
#include "common/trial_config_yaml.h"
#include "scheduler/model_variant.h"

namespace marquee {
namespace {

constexpr uint32_t kMaxWorkersPerTrial = 4096;
constexpr uint32_t kMaxChunkBatches = 1U << 16U;
constexpr size_t kMaxTrials = 10000;

std::string FolderOf(const std::string& path) { return std::filesystem::absolute(path).parent_path().string(); }

// The files that sections may be in, the one that counts first in front.
class SectionFiles {
 public:
  // `other_keys` are those of its root that are no business of ours.
  absl::Status Open(const std::string& path, const std::vector<std::string>& other_keys) {
    absl::StatusOr<ConfigDocument> document = ConfigDocument::Load(path);
    if (!document.ok()) return document.status();
    documents_.push_back(std::make_unique<ConfigDocument>(*std::move(document)));
    ConfigSection root = documents_.back()->root();
    for (const std::string& key : other_keys) root.Has(key);
    for (const char* key : {"data", "models", "sweep"}) root.Has(key);
    root.Finish();
    roots_.push_back(root);
    return documents_.back()->status();
  }

  absl::StatusOr<std::string> DataFile() {
    std::string file;
    for (size_t i = 0; i < roots_.size() && file.empty(); ++i) {
      ReadData(roots_[i], FolderOf(documents_[i]->label()), &file);
      if (!documents_[i]->status().ok()) return documents_[i]->status();
    }
    return file;
  }

  struct Place {
    ConfigDocument* document;
    ConfigSection section;
  };
  absl::StatusOr<Place> Find(const std::string& key) {
    for (size_t i = 0; i < roots_.size(); ++i) {
      if (!roots_[i].Has(key)) continue;
      if (roots_[i].IsText(key)) return FindInOtherFile(roots_[i], *documents_[i], key);
      ConfigSection section = roots_[i].Section(key);
      if (!documents_[i]->status().ok()) return documents_[i]->status();
      return Place{documents_[i].get(), section};
    }
    return absl::InvalidArgumentError(
        fmt::format("{}: key '{}': is missing; it may also be in a file given with --sweep", documents_.back()->label(), key));
  }

 private:
  absl::StatusOr<Place> FindInOtherFile(ConfigSection& root, const ConfigDocument& document, const std::string& key) {
    std::string path;
    root.ReadPath(key, FolderOf(document.label()), &path);
    absl::StatusOr<ConfigDocument> other = ConfigDocument::Load(path);
    if (!other.ok()) return other.status();
    others_.push_back(std::make_unique<ConfigDocument>(*std::move(other)));
    ConfigDocument* loaded = others_.back().get();
    ConfigSection other_root = loaded->root();
    other_root.Require(key, "the section that this file is referred to for");
    ConfigSection section = other_root.Section(key);
    if (!loaded->status().ok()) return loaded->status();
    return Place{loaded, section};
  }

  std::vector<std::unique_ptr<ConfigDocument>> documents_;
  std::vector<ConfigSection> roots_;
  std::vector<std::unique_ptr<ConfigDocument>> others_;
};

struct Parameter {
  std::string path;
  std::vector<ModelOverride> values;
};

// What trials are made of: a model, some values set, and a grid over others.
struct Entry {
  std::string name;
  std::string model;
  std::vector<ModelOverride> set;
  std::vector<Parameter> grid;
  int line = 0;
};

class SweepReader {
 public:
  SweepReader(SectionFiles::Place models, SectionFiles::Place sweep) : models_(models), sweep_(sweep) {}

  absl::StatusOr<Sweep> Read() {
    if (absl::Status status = ReadModels(); !status.ok()) return status;
    ReadSweep();
    if (!sweep_.document->status().ok()) return sweep_.document->status();
    for (const Entry& entry : entries_) {
      if (absl::Status status = Expand(entry); !status.ok()) return status;
    }
    return std::move(result_);
  }

 private:
  absl::Status ReadModels();
  void ReadSweep();
  void ReadEntries(ConfigSection& sweep);
  Entry ReadTrialEntry(ConfigSection section);
  void ReadSet(ConfigSection section, Entry* entry);
  std::vector<Parameter> ReadParameters(ConfigSection section);
  void CheckModelName(ConfigSection& section, std::string_view key, const std::string& name);
  void ReadMetric(ConfigSection& sweep);
  absl::Status Expand(const Entry& entry);
  absl::Status AddTrial(const Entry& entry, const std::vector<ModelOverride>& combination);
  std::string Named(const Entry& entry, const std::vector<ModelOverride>& combination) const;
  absl::Status TakeSeed(std::vector<ModelOverride>* overrides, uint64_t* seed) const;

  SectionFiles::Place models_;
  SectionFiles::Place sweep_;
  std::vector<std::string> model_names_;  // in the order of the file
  std::map<std::string, YAML::Node> nodes_;
  std::vector<Entry> entries_;
  TrialConfig common_;
  Sweep result_;
};

absl::Status SweepReader::ReadModels() {
  ConfigSection& section = models_.section;
  model_names_ = section.keys();
  if (model_names_.empty()) section.Fail("must have at least one model");
  for (const std::string& name : model_names_) {
    CheckTrialName(section, name, name);
    ModelConfig model;
    ReadModel(section.Section(name), &model);
    nodes_.emplace(name, section.node(name));
  }
  section.Finish();
  return models_.document->status();
}

void SweepReader::ReadSweep() {
  ConfigSection& sweep = sweep_.section;
  enum class Method { kGrid };
  Method method = Method::kGrid;
  sweep.Read("method", &method, ConfigWords<Method>{{"grid", Method::kGrid}});
  sweep.Read("workers_per_trial", &result_.workers_per_trial, 1U, kMaxWorkersPerTrial);
  sweep.Read("chunk_batches", &result_.chunk_batches, 1U, kMaxChunkBatches);
  sweep.Read("seed", &common_.seed, uint64_t{0});
  ReadConsistency(sweep.Section("consistency"), &common_.consistency);
  ReadSplit(sweep.Section("split"), &common_.split, "seed");
  ReadMetric(sweep);
  ReadEntries(sweep);
  sweep.Finish();
}

void SweepReader::ReadMetric(ConfigSection& sweep) {
  if (sweep.IsText("metric")) {
    sweep.Read("metric", &result_.metric);
    result_.maximize = LargerIsBetter(result_.metric);
    return;
  }
  ConfigSection metric = sweep.Section("metric");
  if (sweep.Has("metric")) metric.Require("name", "the metric of the validation part by which trials are ranked");
  metric.Read("name", &result_.metric);
  result_.maximize = LargerIsBetter(result_.metric);
  metric.Read("goal", &result_.maximize, ConfigWords<bool>{{"maximize", true}, {"minimize", false}});
  metric.Finish();
}

void SweepReader::CheckModelName(ConfigSection& section, std::string_view key, const std::string& name) {
  if (nodes_.contains(name)) return;
  section.Refuse(key, fmt::format("must name models of {}; '{}' is none of them; did you mean '{}'?", models_.document->label(),
                                  name, NearestWord(name, model_names_)));
}

void SweepReader::ReadEntries(ConfigSection& sweep) {
  const std::vector<Parameter> grid = ReadParameters(sweep.Section("parameters"));
  if (sweep.Has("trials")) {
    if (sweep.Has("models")) sweep.Refuse("models", "must be left out where 'trials' names a model for each trial");
    for (ConfigSection& section : sweep.Sections("trials")) entries_.push_back(ReadTrialEntry(section));
    if (entries_.empty()) sweep.Refuse("trials", "must have at least one trial");
  } else {
    std::vector<std::string> names = model_names_;
    sweep.ReadList("models", &names);
    if (names.empty()) sweep.Refuse("models", "must name at least one model");
    for (const std::string& name : names) {
      CheckModelName(sweep, "models", name);
      entries_.push_back(Entry{.name = name, .model = name, .set = {}, .grid = {}, .line = sweep.line()});
    }
  }
  for (Entry& entry : entries_) entry.grid.insert(entry.grid.end(), grid.begin(), grid.end());
}

Entry SweepReader::ReadTrialEntry(ConfigSection section) {
  Entry entry;
  entry.line = section.line();
  section.Require("name", "the trial's name");
  section.Read("name", &entry.name);
  CheckTrialName(section, "name", entry.name);
  section.Require("model", "one of the models' names");
  section.Read("model", &entry.model);
  CheckModelName(section, "model", entry.model);
  ReadSet(section.Section("set"), &entry);
  entry.grid = ReadParameters(section.Section("parameters"));
  section.Finish();
  return entry;
}

void SweepReader::ReadSet(ConfigSection section, Entry* entry) {
  for (const std::string& path : section.keys()) {
    entry->set.push_back(
        ModelOverride{.path = path, .value = section.node(path), .where = fmt::format("{}.{}", section.path(), path)});
  }
}

std::vector<Parameter> SweepReader::ReadParameters(ConfigSection section) {
  std::vector<Parameter> parameters;
  for (const std::string& path : section.keys()) {
    ConfigSection values = section.Section(path);
    values.Require("values", "a list of the values to try");
    const YAML::Node list = values.node("values");
    Parameter parameter{.path = path, .values = {}};
    if (list.IsSequence()) {
      for (const auto& value : list) {
        parameter.values.push_back(ModelOverride{.path = path, .value = value, .where = values.path()});
      }
    }
    if (parameter.values.empty()) values.Refuse("values", "must be a list of at least one value");
    values.Finish();
    parameters.push_back(std::move(parameter));
  }
  return parameters;
}

absl::Status SweepReader::Expand(const Entry& entry) {
  std::vector<std::vector<ModelOverride>> combinations(1);
  for (const Parameter& parameter : entry.grid) {
    std::vector<std::vector<ModelOverride>> longer;
    for (const auto& combination : combinations) {
      for (const ModelOverride& value : parameter.values) {
        longer.push_back(combination);
        longer.back().push_back(value);
      }
    }
    combinations = std::move(longer);
    if (combinations.size() > kMaxTrials) {
      return absl::InvalidArgumentError(
          fmt::format("{}:{}: the grid has more than {} trials", sweep_.document->label(), entry.line, kMaxTrials));
    }
  }
  for (const auto& combination : combinations) {
    if (absl::Status status = AddTrial(entry, combination); !status.ok()) return status;
  }
  return absl::OkStatus();
}

std::string SweepReader::Named(const Entry& entry, const std::vector<ModelOverride>& combination) const {
  std::map<std::string, int> uses;
  for (const ModelOverride& value : combination) ++uses[value.path.substr(value.path.rfind('.') + 1)];
  std::string name = entry.name;
  for (const ModelOverride& value : combination) {
    name += fmt::format("-{}", VariantSuffix(value, uses[value.path.substr(value.path.rfind('.') + 1)] > 1));
  }
  return name;
}

// `seed` is the one path that is the trial's and not the model's.
absl::Status SweepReader::TakeSeed(std::vector<ModelOverride>* overrides, uint64_t* seed) const {
  for (auto it = overrides->begin(); it != overrides->end(); ++it) {
    if (it->path != "seed") continue;
    YAML::Node mapping(YAML::NodeType::Map);
    mapping.force_insert(std::string("seed"), it->value);
    ConfigDocument document(mapping, sweep_.document->label());
    document.root().Read("seed", seed, uint64_t{0});
    overrides->erase(it);
    return document.status();
  }
  return absl::OkStatus();
}

absl::Status SweepReader::AddTrial(const Entry& entry, const std::vector<ModelOverride>& combination) {
  TrialConfig trial = common_;
  trial.name = Named(entry, combination);
  std::vector<ModelOverride> overrides = entry.set;
  overrides.insert(overrides.end(), combination.begin(), combination.end());
  if (absl::Status status = TakeSeed(&overrides, &trial.seed); !status.ok()) return status;
  absl::StatusOr<ModelConfig> model = ParseVariant(nodes_.at(entry.model), overrides, sweep_.document->label(), entry.line);
  if (!model.ok()) return model.status();
  trial.model = *std::move(model);
  for (const TrialConfig& other : result_.trials) {
    if (other.name != trial.name) continue;
    return absl::InvalidArgumentError(fmt::format("{}:{}: two trials would be named '{}'; name them under 'trials'",
                                                  sweep_.document->label(), entry.line, trial.name));
  }
  // What workers will parse.
  if (absl::StatusOr<TrialConfig> parsed = ParseTrialConfig(ToYaml(trial)); !parsed.ok()) return parsed.status();
  result_.trials.push_back(std::move(trial));
  if (result_.trials.size() <= kMaxTrials) return absl::OkStatus();
  return absl::InvalidArgumentError(fmt::format("{}: more than {} trials", sweep_.document->label(), kMaxTrials));
}

}  // namespace

absl::StatusOr<Sweep> LoadSweep(const std::string& cluster_file, const std::string& sweep_file) {
  SectionFiles files;
  if (!sweep_file.empty()) {
    if (absl::Status status = files.Open(sweep_file, {}); !status.ok()) return status;
  }
  if (absl::Status status = files.Open(cluster_file, {"cluster"}); !status.ok()) return status;
  absl::StatusOr<std::string> data_file = files.DataFile();
  if (!data_file.ok()) return data_file.status();
  absl::StatusOr<SectionFiles::Place> models = files.Find("models");
  if (!models.ok()) return models.status();
  absl::StatusOr<SectionFiles::Place> sweep = files.Find("sweep");
  if (!sweep.ok()) return sweep.status();
  absl::StatusOr<Sweep> result = SweepReader(*models, *sweep).Read();
  if (result.ok()) result->data_file = *data_file;
  return result;
}

}  // namespace marquee
