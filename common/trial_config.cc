#include "common/trial_config.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>
#include <optional>
#include <set>

#include "common/config.h"
#include "common/table.h"
#include "common/trial_config_yaml.h"

namespace marquee {
namespace {

constexpr int kMaxWidth = static_cast<int>(kMaxDim);
constexpr size_t kMaxLayers = 32;
constexpr int kMaxEpochs = 100000;
constexpr double kMaxTableMib = 1 << 30;
constexpr int kMaxBatch = 1 << 20;
constexpr int kMaxEnsemble = 64;
constexpr int kMaxStaleness = 1 << 20;
constexpr double kMaxNumber = 1e9;  // of hyper-parameters without a bound of their own
constexpr size_t kMaxNameLength = 200;

using Ends = ConfigSection::Ends;

const ConfigWords<OptimizerConfig::Schedule>& Schedules() {
  using Schedule = OptimizerConfig::Schedule;
  static const ConfigWords<Schedule> words = {
      {"constant", Schedule::kConstant}, {"linear", Schedule::kLinear}, {"cosine", Schedule::kCosine}};
  return words;
}

const ConfigWords<FeatureConfig::Kind>& FeatureKinds() {
  using Kind = FeatureConfig::Kind;
  static const ConfigWords<Kind> words = {{"auto", Kind::kAuto},     {"id", Kind::kId},       {"ids", Kind::kIds},
                                          {"number", Kind::kNumber}, {"words", Kind::kWords}, {"history", Kind::kHistory}};
  return words;
}

const ConfigWords<FeatureConfig::Pooling>& Poolings() {
  using Pooling = FeatureConfig::Pooling;
  static const ConfigWords<Pooling> words = {{"sum", Pooling::kSum}, {"mean", Pooling::kMean}, {"sqrt", Pooling::kSqrt}};
  return words;
}

const ConfigWords<FeatureConfig::Weight>& Weights() {
  using Weight = FeatureConfig::Weight;
  static const ConfigWords<Weight> words = {
      {"one", Weight::kOne}, {"rating", Weight::kRating}, {"deviation", Weight::kDeviation}, {"age", Weight::kAge}};
  return words;
}

const ConfigWords<LossConfig::Kind>& TwoTowerLosses() {
  using Kind = LossConfig::Kind;
  static const ConfigWords<Kind> words = {{"in_batch_softmax", Kind::kInBatchSoftmax}, {"full_softmax", Kind::kFullSoftmax}};
  return words;
}

const ConfigWords<LossConfig::Kind>& RankingLosses() {
  using Kind = LossConfig::Kind;
  static const ConfigWords<Kind> words = {{"squared_error", Kind::kSquaredError},
                                          {"binary_cross_entropy", Kind::kBinaryCrossEntropy}};
  return words;
}

const ConfigWords<LossConfig::Kind>& ListLosses() {
  using Kind = LossConfig::Kind;
  static const ConfigWords<Kind> words = {{"list_mle", Kind::kListMle}, {"softmax", Kind::kListSoftmax}};
  return words;
}

const ConfigWords<CrossConfig::Structure>& CrossStructures() {
  using Structure = CrossConfig::Structure;
  static const ConfigWords<Structure> words = {{"stacked", Structure::kStacked}, {"parallel", Structure::kParallel}};
  return words;
}

const ConfigWords<bool>& AccidentalHits() {
  static const ConfigWords<bool> words = {{"keep", false}, {"remove", true}};
  return words;
}

const ConfigWords<ModelConfig::Kind>& ModelKinds() {
  using Kind = ModelConfig::Kind;
  static const ConfigWords<Kind> words = {
      {"two_tower", Kind::kTwoTower}, {"ranking", Kind::kRanking},   {"dcn", Kind::kDcn},
      {"joint", Kind::kJoint},        {"listwise", Kind::kListwise}, {"sequence", Kind::kSequence}};
  return words;
}

const ConfigWords<SplitConfig::Protocol>& Protocols() {
  using Protocol = SplitConfig::Protocol;
  static const ConfigWords<Protocol> words = {{"random", Protocol::kRandom},
                                              {"binarized", Protocol::kBinarized},
                                              {"leave_last_out", Protocol::kLeaveLastOut},
                                              {"time", Protocol::kTime}};
  return words;
}

const ConfigWords<SplitConfig::TrainOn>& TrainingParts() {
  using TrainOn = SplitConfig::TrainOn;
  static const ConfigWords<TrainOn> words = {{"train", TrainOn::kTrain},
                                             {"train_and_validation", TrainOn::kTrainAndValidation}};
  return words;
}

const ConfigWords<ConsistencyConfig::Mode>& ConsistencyModes() {
  using Mode = ConsistencyConfig::Mode;
  static const ConfigWords<Mode> words = {
      {"async", Mode::kAsync}, {"bounded", Mode::kBounded}, {"synchronous", Mode::kSynchronous}};
  return words;
}

void ReadUpdate(ConfigSection& section, OptimizerConfig* optimizer) {
  section.Read("kind", &optimizer->kind, OptimizerKinds());
  section.Read("learning_rate", &optimizer->learning_rate, 0.0, 1000.0, Ends::kAboveMin);
  section.Read("momentum", &optimizer->momentum, 0.0, 1.0, Ends::kBelowMax);
  section.Read("beta1", &optimizer->beta1, 0.0, 1.0, Ends::kBelowMax);
  section.Read("beta2", &optimizer->beta2, 0.0, 1.0, Ends::kBelowMax);
  section.Read("epsilon", &optimizer->epsilon, 0.0, 1.0);
  section.Read("initial_accumulator", &optimizer->initial_accumulator, 0.0, kMaxNumber);
  section.Read("ftrl_l1", &optimizer->ftrl_l1, 0.0, kMaxNumber);
  section.Read("ftrl_l2", &optimizer->ftrl_l2, 0.0, kMaxNumber);
  section.Read("ftrl_beta", &optimizer->ftrl_beta, 0.0, kMaxNumber);
  section.Read("l2", &optimizer->l2, 0.0, kMaxNumber);
  section.Read("clip_norm", &optimizer->clip_norm, 0.0, kMaxNumber);
  section.Read("max_norm", &optimizer->max_norm, 0.0, kMaxNumber);
}

void ReadOptimizer(ConfigSection section, OptimizerConfig* optimizer) {
  ReadUpdate(section, optimizer);
  section.Read("schedule", &optimizer->schedule, Schedules());
  section.Read("final_fraction", &optimizer->final_fraction, 0.0, 1.0);
  section.Read("warmup_epochs", &optimizer->warmup_epochs, 0.0, static_cast<double>(kMaxEpochs));
  section.Finish();
}

// Keys left out are those of the model's optimizer, and so is the schedule.
void ReadFeatureOptimizer(ConfigSection section, const ModelConfig& model, FeatureConfig* feature) {
  feature->optimizer = model.optimizer;
  ReadUpdate(section, &*feature->optimizer);
  section.Finish();
}

FeatureConfig ReadFeature(ConfigSection section, const ModelConfig& model) {
  FeatureConfig feature;
  section.Require("name", "the name of a column of the data file");
  section.Read("name", &feature.name);
  section.Read("kind", &feature.kind, FeatureKinds());
  section.Read("dim", &feature.dim, 0, kMaxWidth);
  if (feature.kind == FeatureConfig::Kind::kNumber && feature.dim != 0) {
    section.Refuse("dim", "must be left out (or 0): a number has no embedding");
  }
  section.Read("pooling", &feature.pooling, Poolings());
  section.Read("weight", &feature.weight, Weights());
  if (feature.weight != FeatureConfig::Weight::kOne && feature.kind != FeatureConfig::Kind::kHistory) {
    section.Refuse("weight", "is for kind 'history' only; leave it out");
  }
  section.Read("time_column", &feature.time_column);
  section.Read("init_scale", &feature.init_scale, 0.0, 100.0);
  if (section.Has("optimizer")) ReadFeatureOptimizer(section.Section("optimizer"), model, &feature);
  section.Finish();
  return feature;
}

// A tower with a `sum` and no layers adds its embeddings up; others put them side by side.
void CheckFeatures(ConfigSection& section, const TowerConfig& tower, int model_dim, bool sum) {
  if (tower.features.empty()) return section.Fail("must have at least one feature in 'features'");
  std::set<std::string> names;
  std::set<int> dims;
  for (const FeatureConfig& feature : tower.features) {
    if (!names.insert(feature.table_name()).second) {
      return section.Refuse("features", fmt::format("must name each feature once, but has '{}' twice", feature.table_name()));
    }
    dims.insert(feature.dim == 0 ? model_dim : feature.dim);
  }
  if (sum && tower.layers.empty() && dims.size() > 1) {
    section.Refuse("features", "must all have the same dim in a tower without layers, whose output is their sum");
  }
}

// After the model's dim and optimizer, which features may leave out.
void ReadTower(ConfigSection section, const ModelConfig& model, TowerConfig* tower, bool sum = true) {
  section.Require("features", "a list of columns of the data file");
  for (ConfigSection& feature : section.Sections("features", "name")) tower->features.push_back(ReadFeature(feature, model));
  section.ReadList("layers", &tower->layers, 1, kMaxWidth, kMaxLayers);
  section.Read("dropout", &tower->dropout, 0.0, 1.0, Ends::kBelowMax);
  section.Read("normalize", &tower->normalize);
  CheckFeatures(section, *tower, model.dim, sum);
  section.Finish();
}

int OutputWidth(const TowerConfig& tower, int model_dim) {
  if (!tower.layers.empty()) return tower.layers.back();
  return tower.features.empty() || tower.features[0].dim == 0 ? model_dim : tower.features[0].dim;
}

void ReadTwoTowerLoss(ConfigSection section, LossConfig* loss) {
  section.Read("kind", &loss->kind, TwoTowerLosses());
  section.Read("temperature", &loss->temperature, 0.0, 1000.0, Ends::kAboveMin);
  section.Read("logq", &loss->logq);
  section.Read("accidental_hits", &loss->remove_accidental_hits, AccidentalHits());
  if (loss->kind == LossConfig::Kind::kFullSoftmax) {
    const std::string_view reason = "is for in_batch_softmax only: full_softmax scores each candidate once";
    if (loss->logq) section.Refuse("logq", reason);
    if (loss->remove_accidental_hits) section.Refuse("accidental_hits", reason);
  }
  section.Finish();
}

void ReadQueryAndCandidate(ConfigSection& section, ModelConfig* model) {
  section.Require("query", "the tower of the user");
  section.Require("candidate", "the tower of the item");
  ReadTower(section.Section("query"), *model, &model->query);
  ReadTower(section.Section("candidate"), *model, &model->candidate);
}

bool HasHistory(const TowerConfig& tower) {
  return std::any_of(tower.features.begin(), tower.features.end(),
                     [](const FeatureConfig& feature) { return feature.kind == FeatureConfig::Kind::kHistory; });
}

void ReadCandidateBiases(ConfigSection& section, const TowerConfig& query, bool* bias, bool* seen_bias) {
  section.Read("bias", bias);
  section.Read("seen_bias", seen_bias);
  if (!HasHistory(query) && *seen_bias) section.Refuse("seen_bias", "needs a feature of kind 'history' in 'query'");
}

void ReadMaskedLoss(ConfigSection& loss, ModelConfig* model) {
  loss.Read("hard_negatives", &model->loss.hard_negatives, 0, kMaxBatch);
  loss.Read("mask", &model->loss.mask, 0.0, 1.0, Ends::kBelowMax);
  if (!HasHistory(model->query) && model->loss.mask > 0) {
    loss.Refuse("mask", "needs a feature of kind 'history' in 'query'");
  }
}

void ReadTwoTower(ConfigSection& section, ModelConfig* model) {
  ReadQueryAndCandidate(section, model);
  ConfigSection loss = section.Section("loss");
  ReadCandidateBiases(section, model->query, &model->bias, &model->seen_bias);
  section.Read("ensemble", &model->ensemble, 1, kMaxEnsemble);
  ReadMaskedLoss(loss, model);
  ReadTwoTowerLoss(loss, &model->loss);
  const int query = OutputWidth(model->query, model->dim);
  const int candidate = OutputWidth(model->candidate, model->dim);
  if (query != candidate) {
    section.Fail(fmt::format("query is {} wide and candidate {}; both towers must be equally wide", query, candidate));
  }
}

void ReadSequence(ConfigSection& section, ModelConfig* model) {
  ConfigSection sequence = section.Section("sequence");
  SequenceConfig& config = model->sequence;
  sequence.Read("length", &config.length, 1, kMaxWidth);
  sequence.Read("blocks", &config.blocks, 1, static_cast<int>(kMaxLayers));
  sequence.Read("heads", &config.heads, 1, kMaxWidth);
  if (model->dim % config.heads != 0) sequence.Refuse("heads", fmt::format("must divide the dim of {}", model->dim));
  sequence.Read("dropout", &config.dropout, 0.0, 1.0, Ends::kBelowMax);
  sequence.Read("time_column", &config.time_column);
  sequence.Finish();
  model->loss.kind = LossConfig::Kind::kFullSoftmax;
  ReadTwoTowerLoss(section.Section("loss"), &model->loss);
}

void ReadImplicit(ConfigSection section, ImplicitConfig* implicit) {
  section.Read("ratings", &implicit->ratings);
  section.Read("leave_out", &implicit->leave_out);
  if (implicit->ratings && !implicit->leave_out) {
    section.Refuse("ratings", "needs 'leave_out: true': an input that holds the example's own rating is the answer");
  }
  section.Read("init_scale", &implicit->init_scale, 0.0, 100.0);
  if (double l2 = 0; section.Has("l2")) {
    section.Read("l2", &l2, 0.0, kMaxNumber);
    implicit->l2 = l2;
  }
  section.Finish();
}

void ReadDot(ConfigSection section, const ModelConfig& model, DotConfig* dot) {
  section.Require("user", "the tower of the user's vector");
  section.Require("item", "the tower of the item's vector");
  ReadTower(section.Section("user"), model, &dot->user);
  ReadTower(section.Section("item"), model, &dot->item);
  if (section.Has("implicit")) ReadImplicit(section.Section("implicit"), &dot->implicit.emplace());
  const int user = OutputWidth(dot->user, model.dim);
  const int item = OutputWidth(dot->item, model.dim);
  if (user != item) section.Fail(fmt::format("user is {} wide and item {}; both must be equally wide", user, item));
  section.Finish();
}

void ReadCross(ConfigSection section, CrossConfig* cross) {
  section.Read("layers", &cross->layers, 1, static_cast<int>(kMaxLayers));
  section.Read("rank", &cross->rank, 0, kMaxWidth);
  section.Read("structure", &cross->structure, CrossStructures());
  section.Finish();
}

// The terms of the score of one (user, item) example.
void ReadScore(ConfigSection& section, ModelConfig* model) {
  if (section.Has("tower")) ReadTower(section.Section("tower"), *model, &model->tower, /*sum=*/false);
  if (section.Has("dot")) ReadDot(section.Section("dot"), *model, &model->dot.emplace());
  section.Read("bias", &model->bias);
  section.Read("ensemble", &model->ensemble, 1, kMaxEnsemble);
  if (model->kind == ModelConfig::Kind::kDcn || section.Has("cross")) {
    ReadCross(section.Section("cross"), &model->cross.emplace());
    section.Require("tower", "features and dense layers");
  } else if (!model->dot.has_value() && !model->bias) {
    section.Require("tower", "features and dense layers (or 'dot', or 'bias')");
  }
}

void ReadScoreLoss(ConfigSection section, const ConfigWords<LossConfig::Kind>& words, LossConfig* loss) {
  *loss = LossConfig{.kind = words.front().second};
  section.Read("kind", &loss->kind, words);
  section.Finish();
}

void ReadListwise(ConfigSection& section, ModelConfig* model) {
  ReadScore(section, model);
  ReadScoreLoss(section.Section("loss"), ListLosses(), &model->loss);
  section.Read("list_size", &model->list_size, 2, kMaxBatch);
}

void ReadRetrievalHead(ConfigSection section, const TowerConfig& query, RetrievalHeadConfig* head) {
  section.Read("weight", &head->weight, 0.0, kMaxNumber);
  section.Read("projection", &head->projection, 0, kMaxWidth);
  ReadCandidateBiases(section, query, &head->bias, &head->seen_bias);
  section.Finish();
}

void ReadRatingHead(ConfigSection section, const ModelConfig& model, RatingHeadConfig* head) {
  section.Read("weight", &head->weight, 0.0, kMaxNumber);
  section.Read("projection", &head->projection, 0, kMaxWidth);
  section.Read("dot", &head->dot);
  section.ReadList("layers", &head->layers, 1, kMaxWidth, kMaxLayers);
  section.Read("bias", &head->bias);
  section.Read("dropout", &head->dropout, 0.0, 1.0, Ends::kBelowMax);
  ModelConfig own = model;
  if (section.Has("optimizer")) {
    ReadOptimizer(section.Section("optimizer"), &own.optimizer);
    head->optimizer = own.optimizer;
  }
  if (section.Has("factors")) ReadDot(section.Section("factors"), own, &head->factors.emplace());
  section.Finish();
}

void ReadJoint(ConfigSection& section, ModelConfig* model) {
  ReadQueryAndCandidate(section, model);
  ConfigSection loss = section.Section("loss");
  ReadMaskedLoss(loss, model);
  ReadTwoTowerLoss(loss, &model->loss);
  ReadRetrievalHead(section.Section("retrieval"), model->query, &model->retrieval);
  ReadRatingHead(section.Section("rating"), *model, &model->rating);
  const int query = OutputWidth(model->query, model->dim);
  const int candidate = OutputWidth(model->candidate, model->dim);
  const auto check = [&](std::string_view head, bool product, int projection) {
    if (!product || projection > 0 || query == candidate) return;
    section.Fail(fmt::format("query is {} wide and candidate {}; '{}' needs a projection to make them equally wide", query,
                             candidate, head));
  };
  check("retrieval", true, model->retrieval.projection);
  check("rating", model->rating.dot, model->rating.projection);
  if (model->retrieval.weight == 0 && model->rating.weight == 0) section.Fail("has weight 0 for both tasks; one must count");
}

void ReadKind(ConfigSection& section, ModelConfig* model) {
  switch (model->kind) {
    case ModelConfig::Kind::kTwoTower:
      return ReadTwoTower(section, model);
    case ModelConfig::Kind::kRanking:
    case ModelConfig::Kind::kDcn:
      ReadScore(section, model);
      return ReadScoreLoss(section.Section("loss"), RankingLosses(), &model->loss);
    case ModelConfig::Kind::kJoint:
      return ReadJoint(section, model);
    case ModelConfig::Kind::kListwise:
      return ReadListwise(section, model);
    case ModelConfig::Kind::kSequence:
      return ReadSequence(section, model);
  }
}

bool IsNameCharacter(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 || std::string_view("._-=+,").find(c) != std::string_view::npos;
}

std::string UpdateFields(const OptimizerConfig& o) {
  return fmt::format(
      "kind: {}, learning_rate: {}, momentum: {}, beta1: {}, beta2: {}, epsilon: {}, initial_accumulator: {}, ftrl_l1: {}, "
      "ftrl_l2: {}, ftrl_beta: {}, l2: {}, clip_norm: {}, max_norm: {}",
      WordOf(OptimizerKinds(), o.kind), o.learning_rate, o.momentum, o.beta1, o.beta2, o.epsilon, o.initial_accumulator,
      o.ftrl_l1, o.ftrl_l2, o.ftrl_beta, o.l2, o.clip_norm, o.max_norm);
}

std::string ToYaml(const OptimizerConfig& o) {
  return fmt::format("{{{}, schedule: {}, final_fraction: {}, warmup_epochs: {}}}", UpdateFields(o),
                     WordOf(Schedules(), o.schedule), o.final_fraction, o.warmup_epochs);
}

std::string ToYaml(const FeatureConfig& feature) {
  std::string optional;
  if (feature.kind == FeatureConfig::Kind::kHistory) {
    optional +=
        fmt::format(", weight: {}, time_column: {}", WordOf(Weights(), feature.weight), QuotedYaml(feature.time_column));
  }
  if (feature.optimizer.has_value()) optional += fmt::format(", optimizer: {{{}}}", UpdateFields(*feature.optimizer));
  return fmt::format("{{name: {}, kind: {}, dim: {}, pooling: {}, init_scale: {}{}}}", QuotedYaml(feature.name),
                     WordOf(FeatureKinds(), feature.kind), feature.dim, WordOf(Poolings(), feature.pooling), feature.init_scale,
                     optional);
}

std::string ToYaml(const TowerConfig& tower) {
  std::vector<std::string> features;
  for (const FeatureConfig& feature : tower.features) features.push_back(ToYaml(feature));
  return fmt::format("{{features: [{}], layers: [{}], dropout: {}, normalize: {}}}", fmt::join(features, ", "),
                     fmt::join(tower.layers, ", "), tower.dropout, tower.normalize);
}

std::string ToYaml(const LossConfig& loss) {
  for (const auto* words : {&RankingLosses(), &ListLosses()}) {
    const std::string_view word = WordOf(*words, loss.kind);
    if (!word.empty()) return fmt::format("{{kind: {}}}", word);
  }
  const std::string negatives = loss.hard_negatives > 0 ? fmt::format(", hard_negatives: {}", loss.hard_negatives) : "";
  const std::string mask = loss.mask > 0 ? fmt::format(", mask: {}", loss.mask) : "";
  return fmt::format("{{kind: {}, temperature: {}, logq: {}, accidental_hits: {}{}{}}}", WordOf(TwoTowerLosses(), loss.kind),
                     loss.temperature, loss.logq, WordOf(AccidentalHits(), loss.remove_accidental_hits), negatives, mask);
}

std::string ToYaml(const SplitConfig& split) {
  std::string shares;
  if (split.protocol != SplitConfig::Protocol::kLeaveLastOut) {
    shares = fmt::format(", test: {}, validation: {}", split.test, split.validation);
  }
  const std::string time = split.chronological() ? fmt::format(", time_column: {}", QuotedYaml(split.time_column)) : "";
  return fmt::format("{{protocol: {}{}, split_seed: {}{}, train_on: {}}}", WordOf(Protocols(), split.protocol), shares,
                     split.seed, time, WordOf(TrainingParts(), split.train_on));
}

// A model for ratings cannot learn classes, nor one for classes ratings.
void CheckLossFits(ConfigSection loss, const TrialConfig& config) {
  if (config.model.kind != ModelConfig::Kind::kRanking && config.model.kind != ModelConfig::Kind::kDcn) return;
  const bool binary_split = config.split.protocol == SplitConfig::Protocol::kBinarized;
  const bool binary_loss = config.model.loss.kind == LossConfig::Kind::kBinaryCrossEntropy;
  if (binary_split && !binary_loss) loss.Refuse("kind", "must be binary_cross_entropy under the protocol binarized");
  if (!binary_split && binary_loss)
    loss.Refuse("kind", "must be squared_error: binary_cross_entropy is for the protocol binarized");
}

std::string ToYaml(const DotConfig& dot) {
  std::string implicit;
  if (dot.implicit.has_value()) {
    const std::string l2 = dot.implicit->l2.has_value() ? fmt::format(", l2: {}", *dot.implicit->l2) : "";
    implicit = fmt::format(", implicit: {{ratings: {}, leave_out: {}, init_scale: {}{}}}", dot.implicit->ratings,
                           dot.implicit->leave_out, dot.implicit->init_scale, l2);
  }
  return fmt::format("{{user: {}, item: {}{}}}", ToYaml(dot.user), ToYaml(dot.item), implicit);
}

std::string ScoreYaml(const ModelConfig& model) {
  std::string yaml = fmt::format("  bias: {}\n  ensemble: {}\n", model.bias, model.ensemble);
  if (!model.tower.features.empty()) yaml += fmt::format("  tower: {}\n", ToYaml(model.tower));
  if (model.dot.has_value()) yaml += fmt::format("  dot: {}\n", ToYaml(*model.dot));
  if (model.cross.has_value()) {
    yaml += fmt::format("  cross: {{layers: {}, rank: {}, structure: {}}}\n", model.cross->layers, model.cross->rank,
                        WordOf(CrossStructures(), model.cross->structure));
  }
  if (model.kind == ModelConfig::Kind::kListwise) yaml += fmt::format("  list_size: {}\n", model.list_size);
  return yaml + fmt::format("  loss: {}\n", ToYaml(model.loss));
}

std::string HeadsYaml(const ModelConfig& model) {
  const RetrievalHeadConfig& retrieval = model.retrieval;
  const RatingHeadConfig& rating = model.rating;
  std::string own;
  if (rating.optimizer.has_value()) own += fmt::format(", optimizer: {}", ToYaml(*rating.optimizer));
  if (rating.factors.has_value()) own += fmt::format(", factors: {}", ToYaml(*rating.factors));
  return fmt::format(
      "  loss: {}\n"
      "  retrieval: {{weight: {}, projection: {}, bias: {}, seen_bias: {}}}\n"
      "  rating: {{weight: {}, projection: {}, dot: {}, layers: [{}], bias: {}, dropout: {}{}}}\n",
      ToYaml(model.loss), retrieval.weight, retrieval.projection, retrieval.bias, retrieval.seen_bias, rating.weight,
      rating.projection, rating.dot, fmt::join(rating.layers, ", "), rating.bias, rating.dropout, own);
}

std::string TwoTowerYaml(const ModelConfig& model) {
  return fmt::format("  bias: {}\n  seen_bias: {}\n  ensemble: {}\n  loss: {}\n", model.bias, model.seen_bias, model.ensemble,
                     ToYaml(model.loss));
}

std::string SequenceYaml(const ModelConfig& model) {
  const SequenceConfig& sequence = model.sequence;
  return fmt::format("  sequence: {{length: {}, blocks: {}, heads: {}, dropout: {}, time_column: {}}}\n  loss: {}\n",
                     sequence.length, sequence.blocks, sequence.heads, sequence.dropout, QuotedYaml(sequence.time_column),
                     ToYaml(model.loss));
}

std::string KindYaml(const ModelConfig& model) {
  if (model.kind == ModelConfig::Kind::kSequence) return SequenceYaml(model);
  const bool towers = model.kind == ModelConfig::Kind::kTwoTower || model.kind == ModelConfig::Kind::kJoint;
  if (!towers) return ScoreYaml(model);
  return fmt::format("  query: {}\n  candidate: {}\n", ToYaml(model.query), ToYaml(model.candidate)) +
         (model.kind == ModelConfig::Kind::kJoint ? HeadsYaml(model) : TwoTowerYaml(model));
}

std::string ToYaml(const ModelConfig& model) {
  return fmt::format(
      "model:\n  kind: {}\n  dim: {}\n{}  optimizer: {}\n  dense_optimizer: {}\n  epochs: {}\n  batch_size: {}\n{}{}",
      WordOf(ModelKinds(), model.kind), model.dim, KindYaml(model), ToYaml(model.optimizer), ToYaml(model.dense_optimizer),
      model.epochs, model.batch_size,
      model.table_memory_mib == 0 ? "" : fmt::format("  table_memory_mib: {}\n", model.table_memory_mib),
      model.start_from.empty() ? "" : fmt::format("  start_from: {}\n", QuotedYaml(model.start_from)));
}

// Nothing where all is at its default.
std::string ToYaml(const ValidationConfig& validation) {
  if (validation == ValidationConfig{}) return "";
  return fmt::format("validation: {{every: {}, patience: {}, min_delta: {}}}\n", validation.every, validation.patience,
                     validation.min_delta);
}

}  // namespace

const std::vector<std::pair<std::string_view, OptimizerConfig::Kind>>& OptimizerKinds() {
  using Kind = OptimizerConfig::Kind;
  static const ConfigWords<Kind> words = {{"sgd", Kind::kSgd},         {"momentum", Kind::kMomentum},
                                          {"adagrad", Kind::kAdagrad}, {"rowwise_adagrad", Kind::kRowwiseAdagrad},
                                          {"adam", Kind::kAdam},       {"ftrl", Kind::kFtrl}};
  return words;
}

std::string FeatureConfig::table_name() const {
  switch (kind) {
    case Kind::kWords:
      return "words_" + name;
    case Kind::kHistory:
      return "history_" + name + (weight == Weight::kOne ? "" : fmt::format("_{}", WordOf(Weights(), weight)));
    default:
      return name;
  }
}

void CheckTrialName(ConfigSection& section, std::string_view key, std::string_view name) {
  const bool good = !name.empty() && name.size() <= kMaxNameLength && name[0] != '.' &&
                    std::all_of(name.begin(), name.end(), IsNameCharacter);
  if (good) return;
  section.Refuse(key,
                 fmt::format("must be 1 to {} letters, digits, and any of '._-=+,', with no dot in front", kMaxNameLength));
}

SplitConfig SplitConfig::Of(Protocol protocol) {
  SplitConfig split{.protocol = protocol};
  if (protocol == Protocol::kBinarized || protocol == Protocol::kTime) {
    split.test = 0.1;
    split.validation = 1.0 / 9;
  }
  return split;
}

void ReadSplit(ConfigSection section, SplitConfig* split, std::string_view seed_key) {
  section.Read("protocol", &split->protocol, Protocols());
  *split = SplitConfig::Of(split->protocol);
  if (split->protocol == SplitConfig::Protocol::kLeaveLastOut) {
    for (const char* share : {"test", "validation"}) {
      if (section.Has(share)) section.Refuse(share, "must be left out: leave_last_out takes one interaction of each user");
    }
  }
  section.Read("test", &split->test, 0.0, 1.0, Ends::kBelowMax);
  section.Read("validation", &split->validation, 0.0, 1.0, Ends::kBelowMax);
  section.Read(seed_key, &split->seed, uint64_t{0});
  if (section.Has("time_column") && !split->chronological()) {
    section.Refuse("time_column", "is for the protocols leave_last_out and time only; leave it out");
  }
  section.Read("time_column", &split->time_column);
  section.Read("train_on", &split->train_on, TrainingParts());
  section.Finish();
}

void ReadValidation(ConfigSection section, ValidationConfig* validation) {
  section.Read("every", &validation->every, 0, kMaxEpochs);
  section.Read("patience", &validation->patience, 0, kMaxEpochs);
  section.Read("min_delta", &validation->min_delta, 0.0, kMaxNumber);
  section.Finish();
}

void ReadConsistency(ConfigSection section, ConsistencyConfig* consistency) {
  section.Read("mode", &consistency->mode, ConsistencyModes());
  section.Read("staleness", &consistency->staleness, 0, kMaxStaleness);
  if (consistency->staleness != 0 && consistency->mode != ConsistencyConfig::Mode::kBounded) {
    section.Refuse("staleness", "is for mode 'bounded' only; leave it out");
  }
  section.Finish();
}

void ReadModel(ConfigSection section, ModelConfig* model) {
  section.Require("kind", "'two_tower', 'ranking', 'dcn', 'joint', 'listwise' or 'sequence'");
  section.Read("kind", &model->kind, ModelKinds());
  section.Read("dim", &model->dim, 1, kMaxWidth);
  ReadOptimizer(section.Section("optimizer"), &model->optimizer);
  model->dense_optimizer = model->optimizer;
  ReadOptimizer(section.Section("dense_optimizer"), &model->dense_optimizer);
  ReadKind(section, model);
  section.Read("epochs", &model->epochs, 1, kMaxEpochs);
  section.Read("batch_size", &model->batch_size, 1, kMaxBatch);
  section.Read("table_memory_mib", &model->table_memory_mib, 0.0, kMaxTableMib);
  section.Read("start_from", &model->start_from);
  section.Finish();
}

absl::StatusOr<TrialConfig> ParseTrialConfig(std::string_view yaml) {
  absl::StatusOr<ConfigDocument> document = ConfigDocument::Parse(yaml, "trial");
  if (!document.ok()) return document.status();
  TrialConfig config;
  ConfigSection root = document->root();
  root.Require("name", "the trial's name");
  root.Read("name", &config.name);
  CheckTrialName(root, "name", config.name);
  root.Read("repeats", &config.repeats);
  root.Read("seed", &config.seed, uint64_t{0});
  ReadSplit(root.Section("data"), &config.split);
  ReadConsistency(root.Section("consistency"), &config.consistency);
  ReadValidation(root.Section("validation"), &config.validation);
  root.Require("model", "what to train");
  ReadModel(root.Section("model"), &config.model);
  CheckLossFits(root.Section("model").Section("loss"), config);
  root.Finish();
  if (!document->status().ok()) return document->status();
  return config;
}

std::string ToYaml(const TrialConfig& config) {
  return fmt::format("name: {}\n{}seed: {}\ndata: {}\nconsistency: {{mode: {}, staleness: {}}}\n{}{}", QuotedYaml(config.name),
                     config.repeats.empty() ? "" : fmt::format("repeats: {}\n", QuotedYaml(config.repeats)), config.seed,
                     ToYaml(config.split), WordOf(ConsistencyModes(), config.consistency.mode), config.consistency.staleness,
                     ToYaml(config.validation), ToYaml(config.model));
}

std::string Rewritten(const std::string& yaml) {
  const absl::StatusOr<TrialConfig> config = ParseTrialConfig(yaml);
  return config.ok() ? ToYaml(*config) : yaml;
}

std::string_view DefaultMetric(ModelConfig::Kind kind, SplitConfig::Protocol protocol) {
  switch (kind) {
    case ModelConfig::Kind::kTwoTower:
    case ModelConfig::Kind::kSequence:
    case ModelConfig::Kind::kJoint:
      return SplitConfig{.protocol = protocol}.chronological() ? "hr_10" : "top_100";
    case ModelConfig::Kind::kRanking:
    case ModelConfig::Kind::kDcn:
      return protocol == SplitConfig::Protocol::kBinarized ? "auc" : "rmse";
    case ModelConfig::Kind::kListwise:
      return "ndcg_10";
  }
  return "loss";
}

bool LargerIsBetter(std::string_view metric) {
  return metric != "rmse" && metric != "mae" && metric != "loss" && metric != "log_loss";
}

}  // namespace marquee
