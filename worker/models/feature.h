#ifndef MARQUEE_WORKER_MODELS_FEATURE_H_
#define MARQUEE_WORKER_MODELS_FEATURE_H_

// One feature of a tower: turns rows of a data column into inputs of the tower. docs/models.md says what each kind does.
//
//   kId      one embedding row for each value; null has a row of its own, with the id FeatureId(name, "").
//   kIds     the sum or mean of the embedding rows of a list; zeros for an empty list.
//   kNumber  (x - mean) / deviation over the training interactions, 0 for null; a second input is 1 where the value is null,
//            if the column has nulls at all.
//
// Values are looked up as codes in arrays of the data file's own numbering; nothing is hashed. Plan is not thread-safe.

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/id.h"
#include "common/trial_config.h"
#include "dataset/dataset.h"
#include "dataset/split.h"
#include "worker/models/distinct.h"

namespace marquee {

// What one feature puts into the tower for each of a list of entities (users, items or interactions).
struct FeatureInput {
  size_t rows = 0;                // position of its table in Step::rows; embedded features only
  std::vector<uint32_t> slots;    // of unique ids: one for each entity, or for each value of a list
  std::vector<uint32_t> offsets;  // kIds: the values of entity i are slots[offsets[i]] .. slots[offsets[i + 1] - 1]
  std::vector<float> numbers;     // kNumber: width() for each entity
};

class Feature {
 public:
  // InvalidArgument, naming the feature and what is allowed, for a name that is no column, a kind that the column cannot be,
  // and for the label itself.
  static absl::StatusOr<Feature> Make(const FeatureConfig& config, int model_dim, const Dataset& data, const Split& split);

  const std::string& name() const { return config_.name; }
  const FeatureConfig& config() const { return config_; }
  Column::Level level() const { return level_; }
  bool embedded() const { return config_.kind != FeatureConfig::Kind::kNumber; }
  int width() const { return width_; }  // number of inputs: the embedding's dim, or 1 or 2 for numbers

  // `entities` are rows of the feature's level. Adds each distinct value's id to `ids`, in order of appearance.
  FeatureInput Plan(absl::Span<const uint32_t> entities, std::vector<Id>& ids);

  // Adds the inputs of entities [begin, end) to `out`, whose rows are `stride` floats apart; the first is that of `begin`.
  void Gather(const FeatureInput& input, size_t begin, size_t end, const float* values, float* out, size_t stride) const;
  // The reverse: adds the gradients of these inputs to those of the unique rows. Embedded features only.
  void Scatter(const FeatureInput& input, size_t begin, size_t end, const float* in, size_t stride, float* gradients) const;

 private:
  Feature(const FeatureConfig& config, const Column& column, int width);

  void UseCodes(const Column& column);
  void UseLists(const Column& column);
  void UseNumbersAsIds(const Column& column);
  void UseNumbers(const Column& column, const Dataset& data, const Split& split);
  float ScaleOf(size_t list_size) const;

  FeatureConfig config_;  // with its kind resolved
  Column::Level level_;
  int width_;
  std::vector<Id> ids_;            // of each code; the last one is null's
  std::vector<uint32_t> codes_;    // by row, or by offset
  std::vector<uint64_t> offsets_;  // kIds: into codes_, by row
  std::vector<float> numbers_;     // width_ for each row
  DistinctCodes distinct_{0};
};

}  // namespace marquee

#endif  // MARQUEE_WORKER_MODELS_FEATURE_H_
