#ifndef MARQUEE_WORKER_MODELS_FEATURE_H_
#define MARQUEE_WORKER_MODELS_FEATURE_H_

// One feature of a tower: turns rows of a data column into inputs of the tower. docs/models.md says what each kind does.
//
//   kId      one embedding row for each value; null has a row of its own, with the id FeatureId(name, "").
//   kIds     the pooled embedding rows of a list: their sum, mean, or sum over the root of their number; zeros for an empty
//   list. kWords   likewise, of the words of a text: letters and digits, in lower case, with a row for each word. kHistory
//   likewise, of a column's values over the movies that the user has rated, each movie's row times 1, its normalised
//            rating or its normalised age. A training example's own movie is left out.
//   kNumber  (x - mean) / deviation over the training interactions, 0 for null; a second input is 1 where the value is null,
//            if the column has nulls at all.
//
// Histories are summed once for each distinct user, and what an example leaves out is taken from its user's sum: the work is
// that of the batch and of its users' histories, and not of their product.
//
// One step: Plan -> (rows are filled) -> Begin -> any number of Gather and Scatter -> Finish.
//
// Values are looked up as codes in arrays of the data file's own numbering; nothing is hashed. Plan is not thread-safe.

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/id.h"
#include "common/trial_config.h"
#include "dataset/dataset.h"
#include "dataset/split.h"
#include "worker/models/distinct.h"
#include "worker/models/history.h"

namespace marquee {

// The entities that a pass is about, as rows of each level; a level that no feature is of may be empty.
struct Entities {
  size_t count = 0;
  absl::Span<const uint32_t> interactions = {};
  absl::Span<const uint32_t> users = {};
  absl::Span<const uint32_t> items = {};

  // In training, histories are made of train and leave out what `mask` says or, without a mask, the movie of each entity's
  // interaction. In evaluation, they are whole: made of train for validation, and of train and validation for test. After
  // training (kNow), they are made of all ratings. Without interactions, columns of interactions are null.
  enum class For { kTraining, kValidation, kTest, kNow };
  For purpose = For::kTraining;
  const HistoryMask* mask = nullptr;

  // All entities are of one user who is not in the data and of whom no more is known than these ratings: histories are made of
  // them, and other columns of users give zeros. `users` is empty then.
  std::optional<absl::Span<const GuestRating>> guest = std::nullopt;

  Known known() const;
  absl::Span<const uint32_t> OfLevel(Column::Level level) const;
};

// What one feature puts into the tower for each of a list of entities (users, items or interactions).
struct FeatureInput {
  static constexpr uint32_t kNoSlot = 0xffffffffU;  // of a value that is not known, which gives zeros

  size_t rows = 0;                // position of its table in Step::rows; embedded features only
  std::vector<uint32_t> slots;    // of unique ids: one for each entity, or for each value of a list
  std::vector<uint32_t> offsets;  // the values of list i are slots[offsets[i]] .. slots[offsets[i + 1] - 1]
  std::vector<float> numbers;     // kNumber: width() for each entity

  // kHistory: there is a list for each distinct user. An entity takes its user's, less a part of it.
  struct Range {
    uint32_t begin = 0;  // positions in `slots`
    uint32_t end = 0;
  };
  std::vector<uint32_t> list_of;  // by entity
  std::vector<Range> left_out;    // by entity; empty: nothing is
  std::vector<float> weights;     // by value; empty: 1
  std::vector<float> sums;        // of each list's weighted rows
  std::vector<float> sum_gradients;
};

class HistoryValues;

class Feature {
 public:
  // InvalidArgument, naming the feature and what is allowed, for a name that is no column, a kind that the column cannot be,
  // and for the label itself.
  static absl::StatusOr<Feature> Make(const FeatureConfig& config, int model_dim, const Dataset& data, const Split& split);

  const std::string& name() const { return config_.name; }
  const FeatureConfig& config() const { return config_; }
  Column::Level level() const { return level_; }
  const std::string& table_name() const { return table_name_; }
  bool embedded() const { return config_.kind != FeatureConfig::Kind::kNumber; }
  // Whether it differs among the interactions of a user (or item): so does a history, by what it leaves out.
  bool per_interaction() const {
    return level_ == Column::Level::kInteraction || config_.kind == FeatureConfig::Kind::kHistory;
  }
  int width() const { return width_; }  // number of inputs: the embedding's dim, or 1 or 2 for numbers

  // Adds each distinct value's id to `ids`, in order of appearance.
  FeatureInput Plan(const Entities& entities, std::vector<Id>& ids);

  // Before the first Gather and after the last Scatter.
  void Begin(FeatureInput& input, const float* values) const;
  void Finish(const FeatureInput& input, float* gradients) const;

  // Adds the inputs of entities [begin, end) to `out`, whose rows are `stride` floats apart; the first is that of `begin`.
  void Gather(const FeatureInput& input, size_t begin, size_t end, const float* values, float* out, size_t stride) const;
  // What each movie of the entity's history adds to its inputs, times `gradient` (width() of them): appended in the order of
  // History::Of. kHistory only.
  std::vector<float> HistoryShares(const FeatureInput& input, size_t entity, const float* values, const float* gradient) const;
  // The reverse: adds the gradients of these inputs to those of the unique rows. Embedded features only.
  void Scatter(FeatureInput& input, size_t begin, size_t end, const float* in, size_t stride, float* gradients) const;

 private:
  Feature(const FeatureConfig& config, const Column& column, int width);

  void UseCodes(const Column& column);
  void UseLists(const Column& column);
  void UseNumbersAsIds(const Column& column);
  void UseNumbers(const Column& column, const Dataset& data, const Split& split);
  void UseWords(const Column& column);

  FeatureInput PlanNulls(size_t count, std::vector<Id>& ids);
  FeatureInput PlanHistory(const Entities& entities, std::vector<Id>& ids);
  FeatureInput PlanGuest(const Entities& entities, std::vector<Id>& ids);
  FeatureInput PlanLists(absl::Span<const uint32_t> rows, std::vector<Id>& ids);
  uint32_t SlotOf(uint32_t code, std::vector<Id>& ids);
  float ScaleOf(size_t list_size) const;
  void GatherHistory(const FeatureInput& input, size_t entity, const float* values, float* out) const;
  void ScatterHistory(FeatureInput& input, size_t entity, const float* in, float* gradients) const;

  FeatureConfig config_;  // with its kind resolved
  std::string table_name_;
  Column::Level level_;
  int width_;
  std::vector<Id> ids_;                     // of each code; the last one is null's
  std::vector<uint32_t> codes_;             // by row, or by offset
  std::vector<uint64_t> offsets_;           // kIds, kWords: into codes_, by row
  std::vector<float> numbers_;              // width_ for each row
  std::shared_ptr<HistoryValues> history_;  // kHistory
  DistinctCodes distinct_{0};
  DistinctCodes distinct_users_{0};
};

}  // namespace marquee

#endif  // MARQUEE_WORKER_MODELS_FEATURE_H_
