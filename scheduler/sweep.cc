#include "scheduler/sweep.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <utility>

#include "common/cluster_config.h"
#include "common/config.h"
#include "common/id.h"
#include "common/trial_config_yaml.h"
#include "scheduler/model_variant.h"
#include "scheduler/parameter_space.h"

namespace marquee {
namespace {

constexpr uint32_t kMaxWorkersPerTrial = 4096;
constexpr uint32_t kMaxChunkBatches = 1U << 16U;
constexpr size_t kMaxTrials = 10000;
constexpr uint64_t kMaxSeeds = 1000;
constexpr int kMaxEpochs = 100000;
constexpr double kMaxDelta = 1e9;
constexpr double kMaxFigure = 1e9;
constexpr size_t kLongestName = 150;  // of a configuration; its seeds' names are longer

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

// What trials are made of: a model, some values set, and parameters to search over.
struct Entry {
  std::string name;
  std::string model;
  std::vector<ModelOverride> set;
  std::vector<Parameter> parameters;
  std::vector<ReferenceFigures> references = {};
  int line = 0;
};

enum class Method { kGrid, kRandom, kAsha };

// A path relative to a folder, made absolute, in a copy of the value.
YAML::Node AbsolutePath(const YAML::Node& value, const std::string& folder) {
  if (!value.IsScalar() || value.Scalar().empty()) return value;
  return YAML::Node((std::filesystem::path(folder) / value.Scalar()).lexically_normal().string());
}

class SweepReader {
 public:
  SweepReader(SectionFiles::Place models, SectionFiles::Place sweep) : models_(models), sweep_(sweep) {}

  absl::StatusOr<Sweep> Read() {
    if (absl::Status status = ReadModels(); !status.ok()) return status;
    ReadSweep();
    if (!sweep_.document->status().ok()) return sweep_.document->status();
    for (size_t i = 0; i < entries_.size(); ++i) {
      if (absl::Status status = Expand(entries_[i], i); !status.ok()) return status;
    }
    return std::move(result_);
  }

 private:
  absl::Status ReadModels();
  void ReadSweep();
  void ReadEntries(ConfigSection& sweep);
  Entry ReadTrialEntry(ConfigSection section);
  void ReadSet(ConfigSection section, Entry* entry);
  void ReadReferences(ConfigSection section, Entry* entry);
  void ReadSearch(ConfigSection& sweep);
  void ReadSeeds(ConfigSection& sweep);
  void ReadValidationSection(ConfigSection& sweep);
  void CheckModelName(ConfigSection& section, std::string_view key, const std::string& name);
  void ReadMetric(ConfigSection& sweep);
  absl::Status Expand(const Entry& entry, size_t index);
  absl::Status AddConfiguration(const Entry& entry, const std::vector<ModelOverride>& combination);
  absl::Status AddTrial(TrialConfig trial, int line);
  std::string Named(const Entry& entry, const std::vector<ModelOverride>& combination) const;
  absl::Status TakeSeed(std::vector<ModelOverride>* overrides, uint64_t* seed) const;

  SectionFiles::Place models_;
  SectionFiles::Place sweep_;
  std::vector<std::string> model_names_;  // in the order of the file
  std::map<std::string, YAML::Node> nodes_;
  std::vector<Entry> entries_;
  Method method_ = Method::kGrid;
  size_t max_trials_ = 0;  // 0: no bound
  int max_t_ = 0;          // epochs; 0: the model's
  std::vector<uint64_t> seeds_;
  uint64_t seed_count_ = 0;  // in the place of `seeds_`
  size_t configurations_ = 0;
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
    YAML::Node node = section.node(name);
    if (!model.start_from.empty()) node["start_from"] = AbsolutePath(node["start_from"], FolderOf(models_.document->label()));
    nodes_.emplace(name, node);
  }
  section.Finish();
  return models_.document->status();
}

void SweepReader::ReadSweep() {
  ConfigSection& sweep = sweep_.section;
  ReadSearch(sweep);
  ReadSeeds(sweep);
  sweep.Read("workers_per_trial", &result_.workers_per_trial, 1U, kMaxWorkersPerTrial);
  sweep.Read("chunk_batches", &result_.chunk_batches, 1U, kMaxChunkBatches);
  sweep.Read("keep", &result_.keep,
             ConfigWords<KeepModels>{{"best", KeepModels::kBest}, {"all", KeepModels::kAll}, {"none", KeepModels::kNone}});
  ReadConsistency(sweep.Section("consistency"), &common_.consistency);
  ReadSplit(sweep.Section("split"), &common_.split, "seed");
  ReadValidationSection(sweep);
  ReadMetric(sweep);
  ReadEntries(sweep);
  sweep.Finish();
}

void SweepReader::ReadSearch(ConfigSection& sweep) {
  sweep.Read("method", &method_,
             ConfigWords<Method>{{"grid", Method::kGrid}, {"random", Method::kRandom}, {"asha", Method::kAsha}});
  if (method_ != Method::kGrid) sweep.Require("max_trials", "how many configurations to draw");
  sweep.Read("max_trials", &max_trials_, size_t{1}, kMaxTrials);
  AshaOptions asha;
  sweep.Read("max_t", &max_t_, 1, kMaxEpochs);
  sweep.Read("grace_period", &asha.grace_period, 1U, static_cast<uint32_t>(kMaxEpochs));
  sweep.Read("reduction_factor", &asha.reduction_factor, 2U, 1000U);
  if (method_ == Method::kAsha) {
    result_.asha = asha;
    return;
  }
  for (const char* key : {"max_t", "grace_period", "reduction_factor"}) {
    if (sweep.Has(key)) sweep.Refuse(key, "is for method 'asha' only; leave it out");
  }
}

void SweepReader::ReadSeeds(ConfigSection& sweep) {
  sweep.Read("seed", &common_.seed, uint64_t{0});
  if (!sweep.IsList("seeds")) {
    sweep.Read("seeds", &seed_count_, uint64_t{1}, kMaxSeeds);
    return;
  }
  for (const auto& seed : sweep.node("seeds")) {
    uint64_t value = 0;
    const bool whole = seed.IsScalar() && YAML::convert<uint64_t>::decode(seed, value);
    if (!whole || std::find(seeds_.begin(), seeds_.end(), value) != seeds_.end()) {
      return sweep.Refuse("seeds", "must be a number of seeds, or a list of whole numbers from 0, each once");
    }
    seeds_.push_back(value);
  }
  if (seeds_.empty() || seeds_.size() > kMaxSeeds) sweep.Refuse("seeds", fmt::format("must have 1 to {} seeds", kMaxSeeds));
}

void SweepReader::ReadValidationSection(ConfigSection& sweep) {
  ValidationConfig& validation = common_.validation;
  sweep.Read("validate_every", &validation.every, 0, kMaxEpochs);
  ConfigSection early = sweep.Section("early_stopping");
  if (sweep.Has("early_stopping")) {
    early.Require("patience", "after how many validations without a better one training ends");
    if (validation.every == 0) validation.every = 1;
  }
  early.Read("patience", &validation.patience, 1, kMaxEpochs);
  early.Read("min_delta", &validation.min_delta, 0.0, kMaxDelta);
  early.Finish();
  const bool needed = method_ == Method::kAsha || validation.every > 0;
  const SplitConfig& split = common_.split;
  const bool none = split.validation == 0 && split.protocol != SplitConfig::Protocol::kLeaveLastOut;
  if (needed && (none || split.train_on == SplitConfig::TrainOn::kTrainAndValidation)) {
    sweep.Fail("must have a split with a validation part for asha, validate_every and early_stopping");
  }
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
  const std::vector<Parameter> parameters = ReadParameters(sweep.Section("parameters"));
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
      entries_.push_back(Entry{.name = name, .model = name, .set = {}, .parameters = {}, .line = sweep.line()});
    }
  }
  for (Entry& entry : entries_) {
    entry.parameters.insert(entry.parameters.end(), parameters.begin(), parameters.end());
    for (const Parameter& parameter : entry.parameters) {
      if (parameter.path == "seed" && (seed_count_ > 0 || !seeds_.empty())) {
        sweep.Refuse("seeds", fmt::format("must be left out where '{}' gives seeds", parameter.where));
      }
      if (method_ == Method::kGrid && parameter.distribution != Parameter::Distribution::kValues) {
        sweep.Refuse("method", fmt::format("must be random or asha: '{}' has no list of values", parameter.where));
      }
    }
  }
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
  if (section.Has("start_from")) {
    std::string folder;
    section.Read("start_from", &folder);
    entry.set.push_back({.path = "start_from",
                         .value = AbsolutePath(section.node("start_from"), FolderOf(sweep_.document->label())),
                         .where = section.path() + ".start_from",
                         .line = section.line()});
  }
  entry.parameters = ReadParameters(section.Section("parameters"));
  ReadReferences(section.Section("reference"), &entry);
  section.Finish();
  return entry;
}

void SweepReader::ReadSet(ConfigSection section, Entry* entry) {
  for (const std::string& path : section.keys()) {
    entry->set.push_back(
        ModelOverride{.path = path, .value = section.node(path), .where = fmt::format("{}.{}", section.path(), path)});
  }
}

void SweepReader::ReadReferences(ConfigSection section, Entry* entry) {
  for (const std::string& source : section.keys()) {
    ConfigSection figures = section.Section(source);
    ReferenceFigures reference{.source = source, .metrics = {}};
    for (const std::string& metric : figures.keys()) {
      figures.Read(metric, &reference.metrics[metric], -kMaxFigure, kMaxFigure);
    }
    figures.Finish();
    entry->references.push_back(std::move(reference));
  }
  section.Finish();
}

// Draws go round the entries, so that each has its share of them.
absl::Status SweepReader::Expand(const Entry& entry, size_t index) {
  std::vector<std::vector<ModelOverride>> combinations;
  if (method_ == Method::kGrid) {
    const size_t left = max_trials_ == 0 ? kMaxTrials + 1 : max_trials_ - std::min(max_trials_, configurations_);
    combinations = Grid(entry.parameters, left);
    if (left == 0) combinations.clear();
  } else {
    const size_t share = max_trials_ / entries_.size() + (index < max_trials_ % entries_.size() ? 1 : 0);
    combinations = Draws(entry.parameters, common_.seed, entry.name, share);
  }
  configurations_ += combinations.size();
  if (configurations_ > kMaxTrials) {
    return absl::InvalidArgumentError(
        fmt::format("{}:{}: the grid has more than {} trials", sweep_.document->label(), entry.line, kMaxTrials));
  }
  for (const auto& combination : combinations) {
    if (absl::Status status = AddConfiguration(entry, combination); !status.ok()) return status;
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
  // Many parameters: a name must stay one that a folder can have.
  return name.size() <= kLongestName ? name : fmt::format("{}-{:016x}", entry.name, FeatureId("sweep", name));
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

absl::Status SweepReader::AddConfiguration(const Entry& entry, const std::vector<ModelOverride>& combination) {
  TrialConfig trial = common_;
  trial.name = Named(entry, combination);
  std::vector<ModelOverride> overrides = entry.set;
  overrides.insert(overrides.end(), combination.begin(), combination.end());
  for (ModelOverride& override : overrides) {
    if (override.path == "start_from") override.value.reset(AbsolutePath(override.value, FolderOf(sweep_.document->label())));
  }
  if (absl::Status status = TakeSeed(&overrides, &trial.seed); !status.ok()) return status;
  absl::StatusOr<ModelConfig> model = ParseVariant(nodes_.at(entry.model), overrides, sweep_.document->label(), entry.line);
  if (!model.ok()) return model.status();
  trial.model = *std::move(model);
  if (max_t_ > 0) trial.model.epochs = max_t_;
  std::vector<uint64_t> seeds = seeds_;
  for (uint64_t i = 0; seeds_.empty() && i < std::max<uint64_t>(1, seed_count_); ++i) seeds.push_back(trial.seed + i);
  // The first seed has the configuration's own name, so that others may be added to a sweep that has run with one.
  const std::string configuration = trial.name;
  if (!entry.references.empty()) result_.references[configuration] = entry.references;
  for (const uint64_t seed : seeds) {
    trial.seed = seed;
    if (seed != seeds.front()) {
      trial.repeats = configuration;
      trial.name = fmt::format("{}-seed={}", configuration, seed);
    }
    if (absl::Status status = AddTrial(trial, entry.line); !status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::Status SweepReader::AddTrial(TrialConfig trial, int line) {
  for (const TrialConfig& other : result_.trials) {
    if (other.name != trial.name) continue;
    return absl::InvalidArgumentError(fmt::format("{}:{}: two trials would be named '{}'; name them under 'trials'",
                                                  sweep_.document->label(), line, trial.name));
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
