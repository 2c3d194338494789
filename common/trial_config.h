#ifndef MARQUEE_COMMON_TRIAL_CONFIG_H_
#define MARQUEE_COMMON_TRIAL_CONFIG_H_

// One training run with every hyper-parameter resolved: what a sweep file's `models` and `sweep` sections become, what the
// scheduler sends to workers, and what a result shows. Pure data; docs/configuration.md lists keys, ranges and defaults.
//
//     name: retrieval-1
//     seed: 1
//     data: {protocol: random, test: 0.25, validation: 0.05, split_seed: 42, train_on: train}
//     consistency: {mode: async, staleness: 0}
//     model:
//       kind: two_tower                      # two_tower | ranking | dcn | joint | listwise
//       dim: 64
//       query: {features: [user_id, {name: user_occupation_text, dim: 8}], layers: []}
//       candidate: {features: [movie_id, movie_genres], layers: []}
//       loss: {kind: in_batch_softmax, temperature: 1.0, logq: true, accidental_hits: remove}
//       optimizer: {kind: adagrad, learning_rate: 0.1, l2: 0.0}
//       dense_optimizer: {kind: adam, learning_rate: 0.001}        # keys left out are those of `optimizer`
//       epochs: 5
//       batch_size: 8192

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"

namespace marquee {

// Shared by a table's definition on the wire and by configuration. Which fields count depends on the kind.
struct OptimizerConfig {
  enum class Kind { kSgd, kMomentum, kAdagrad, kRowwiseAdagrad, kAdam, kFtrl };
  Kind kind = Kind::kAdagrad;
  double learning_rate = 0.1;  // > 0; goes with each push
  enum class Schedule { kConstant, kLinear, kCosine };
  Schedule schedule = Schedule::kConstant;  // to `final_fraction` of the rate at the last step
  double final_fraction = 0.0;              // [0, 1]
  double warmup_epochs = 0.0;               // linear from 0
  double momentum = 0.9;                    // [0, 1)
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;             // Adam, Adagrad
  double initial_accumulator = 0.0;  // Adagrad
  double ftrl_l1 = 0.0;
  double ftrl_l2 = 0.0;
  double ftrl_beta = 1.0;
  double l2 = 0.0;         // >= 0
  double clip_norm = 0.0;  // 0 = off
  double max_norm = 0.0;   // 0 = off
};

// The words of configuration files for it.
const std::vector<std::pair<std::string_view, OptimizerConfig::Kind>>& OptimizerKinds();

struct FeatureConfig {
  // kAuto: from the type of the data column. kWords: the words of a text. kHistory: the column's values over the movies that
  // the user has rated in training.
  enum class Kind { kAuto, kId, kIds, kNumber, kWords, kHistory };
  enum class Pooling { kSum, kMean, kSqrt };
  enum class Weight { kOne, kRating, kDeviation, kAge };
  std::string name;  // a column of the data file
  Kind kind = Kind::kAuto;
  int dim = 0;                                    // of its embedding; 0 = the model's dim. Not for numbers
  Pooling pooling = Pooling::kMean;               // of kIds, kWords, kHistory; kSqrt: the sum over the root of the count
  Weight weight = Weight::kOne;                   // of kHistory: of each movie; ratings and ages are normalised
  std::string time_column = "timestamp";          // of interactions; kAge
  double init_scale = 0.05;                       // embeddings start uniform in (-init_scale, init_scale)
  std::optional<OptimizerConfig> optimizer = {};  // where it is not the model's; its schedule is the model's in any case

  // Unique in a tower, and the name of its table after the tower's: "movie_id", "history_movie_id_rating".
  std::string table_name() const;
};

// A stack of dense layers over concatenated features. With no layers and one id feature, the output is the embedding itself;
// with no layers and several features of equal dim, their sum.
struct TowerConfig {
  std::vector<FeatureConfig> features;  // at least one
  std::vector<int> layers;              // widths; ReLU between layers, none after the last
  double dropout = 0.0;                 // [0, 1), after each ReLU; without layers, of the sum
  bool normalize = false;               // to unit length
};

// What a user's vector takes from the items that the user has rated in the training rows.
struct ImplicitConfig {
  bool ratings = false;    // also each rating, less what user and item say of it; needs leave_out
  bool leave_out = false;  // an example's own item is no part of its input
  double init_scale = 0.05;
  std::optional<double> l2 = {};  // in the place of the optimizer's
};

// A term of the score: the product of a user's and an item's vector.
struct DotConfig {
  TowerConfig user;
  TowerConfig item;
  std::optional<ImplicitConfig> implicit;
};

// The cross layers of DCN-v2.
struct CrossConfig {
  enum class Structure { kStacked, kParallel };
  int layers = 3;
  int rank = 0;  // of the weights; 0 = full
  Structure structure = Structure::kStacked;
};

struct LossConfig {
  enum class Kind { kInBatchSoftmax, kFullSoftmax, kSquaredError, kBinaryCrossEntropy, kListMle, kListSoftmax };
  Kind kind = Kind::kInBatchSoftmax;
  double temperature = 1.0;             // > 0
  bool logq = false;                    // subtract log of each candidate's share of the training rows
  bool remove_accidental_hits = false;  // other occurrences of the positive in the batch are no negatives
  int hard_negatives = 0;               // so many candidates with the highest scores are the negatives; 0 = all are
  double mask = 0.0;                    // [0, 1): share of a user's movies that are left out of histories and are the targets
};

// The heads of a joint model. Each has a projection of the query's and of the candidate's vector for itself.
struct RetrievalHeadConfig {
  double weight = 1.0;     // of its loss
  int projection = 0;      // width; 0 = none, the towers' outputs themselves
  bool bias = false;       // as of two_tower
  bool seen_bias = false;  // likewise
};

struct RatingHeadConfig {
  double weight = 1.0;
  int projection = 0;
  bool dot = false;              // adds the product of the two vectors
  std::vector<int> layers = {};  // over both vectors, with a last one of width 1; left out if there are none and `dot` is on
  bool bias = false;             // adds mean + user bias + item bias
  double dropout = 0.0;
  std::optional<DotConfig> factors = {};          // adds a product of vectors that no other head shares
  std::optional<OptimizerConfig> optimizer = {};  // of biases and factors; none: the model's
};

// Self-attention over the last movies that a user has rated, in time order.
struct SequenceConfig {
  int length = 200;  // of the sequence, 1 to kMaxDim
  int blocks = 2;    // each of attention and a layer of the same width, 1 to 32
  int heads = 1;     // of attention; they share the dim among them
  double dropout = 0.2;
  std::string time_column = "timestamp";  // of interactions; equal times keep the order of the data file
};

struct ModelConfig {
  enum class Kind { kTwoTower, kRanking, kDcn, kJoint, kListwise, kSequence };
  Kind kind = Kind::kTwoTower;
  int dim = 32;
  TowerConfig query;        // two_tower, joint
  TowerConfig candidate;    // two_tower, joint
  bool seen_bias = false;   // two_tower: plus a number of the item where it is in the query's history
  SequenceConfig sequence;  // sequence

  // ranking, dcn, listwise: the terms of the score.
  TowerConfig tower;  // features and dense layers; a final layer of width 1 is added. None: no features
  std::optional<CrossConfig> cross;
  std::optional<DotConfig> dot;
  bool bias = false;  // plus mean + user bias + item bias; two_tower: plus item bias
  int ensemble = 1;   // members that differ in their initial values; predictions are their mean

  RetrievalHeadConfig retrieval;  // joint
  RatingHeadConfig rating;        // joint
  int list_size = 20;             // listwise: the most examples of a list

  LossConfig loss;
  OptimizerConfig optimizer;        // of embeddings
  OptimizerConfig dense_optimizer;  // of dense layers; the default is `optimizer`
  int epochs = 3;
  int batch_size = 8192;
  double table_memory_mib = 0;  // that each table may have in a shard; 0 = no bound
  std::string start_from;       // folder of a kept model whose rows tables of the same name begin with; empty: none
};

struct ConsistencyConfig {
  enum class Mode { kAsync, kBounded, kSynchronous };
  Mode mode = Mode::kAsync;
  int staleness = 0;  // steps; kBounded only
};

// Which interactions train, validate and test; docs/evaluation.md defines the protocols.
struct SplitConfig {
  enum class Protocol {
    kRandom,        // by a hash
    kBinarized,     // by a hash; ratings of 3 are in no part, those below are negative and those above positive
    kLeaveLastOut,  // each user's last interaction tests, the one before validates
    kTime,          // the latest interactions of all test, those before them validate
  };
  enum class TrainOn { kTrain, kTrainAndValidation };
  Protocol protocol = Protocol::kRandom;
  double test = 0.25;                     // share of all interactions, [0, 1); not of kLeaveLastOut
  double validation = 0.05;               // share of those left, [0, 1); likewise
  uint64_t seed = 42;                     // of the hash; kLeaveLastOut: of the order of equal times; kTime: has no effect
  std::string time_column = "timestamp";  // kLeaveLastOut, kTime: a number of each interaction
  TrainOn train_on = TrainOn::kTrain;     // kTrainAndValidation: the validation part trains too, and nothing validates

  // The protocol's own shares: 75/25 with 5 % of the 75 for validation, and 80/10/10 for kBinarized and kTime.
  static SplitConfig Of(Protocol protocol);
  // Whether what is tested lies later in time than what the same user trains.
  bool chronological() const { return protocol == Protocol::kLeaveLastOut || protocol == Protocol::kTime; }

  bool operator==(const SplitConfig&) const = default;
};

// What is looked at on validation while a trial trains.
struct ValidationConfig {
  int every = 0;           // epochs between two validations; 0: only after the last
  int patience = 0;        // ends the training after so many validations without a better one; 0: off
  double min_delta = 0.0;  // by how much one must be better

  bool operator==(const ValidationConfig&) const = default;
};

struct TrialConfig {
  std::string name;
  std::string repeats;  // the trial of which this is the same configuration with another seed; empty: none
  uint64_t seed = 1;    // of initial values, order and dropout
  SplitConfig split;
  ConsistencyConfig consistency;
  ValidationConfig validation;
  ModelConfig model;
};

// Parses the YAML form. Errors name line, key, value and what is allowed; unknown keys are refused with the nearest known one.
absl::StatusOr<TrialConfig> ParseTrialConfig(std::string_view yaml);

// The YAML form with every field, such that ParseTrialConfig gives back an equal one.
std::string ToYaml(const TrialConfig& config);

// The metric by which trials are ranked where a sweep names none: "top_100" of two_tower and joint, "hr_10" under a
// chronological protocol; "rmse" of ranking and dcn, "auc" under the binarized protocol; "ndcg_10" of listwise.
std::string_view DefaultMetric(ModelConfig::Kind kind, SplitConfig::Protocol protocol);

// Whether larger is better, by the metric's name: true for top_K, auc, ndcg_K, hr_K; false for rmse, mae, loss, log_loss.
bool LargerIsBetter(std::string_view metric);

}  // namespace marquee

#endif  // MARQUEE_COMMON_TRIAL_CONFIG_H_
