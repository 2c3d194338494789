#ifndef MARQUEE_SERVING_KEPT_MODEL_H_
#define MARQUEE_SERVING_KEPT_MODEL_H_

// A model that a sweep has kept (scheduler/model_folder.h), whole and ready to answer, in this process and without a cluster:
// the data and the split that it was trained on, its code, and its rows in memory. The model's evaluation has begun, as when
// its test part was read.
//
// Not thread-safe.

#include <memory>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/initial_values.h"
#include "dataset/dataset.h"
#include "dataset/split.h"
#include "scheduler/model_folder.h"
#include "worker/models/model.h"

namespace marquee {

class KeptModel {
 public:
  // `folder` has a manifest.json, or is a sweep's output folder with one kept model. `data_file` stands in the place of the
  // manifest's where it is not empty. Errors name the file: NotFound for no model; InvalidArgument for several; an error for
  // rows that are not those of the manifest, and for data or a split that are not those which the model was trained on.
  static absl::StatusOr<std::unique_ptr<KeptModel>> Open(const std::string& folder, const std::string& data_file = "");

  const ModelManifest& manifest() const { return manifest_; }
  const Dataset& data() const { return *data_; }
  const Split& split() const { return split_; }
  Model& model() { return *model_; }

  // Values of the planned rows; of those that were never pushed, the initial ones.
  void Fill(Step& step) const;

  // One table's kept rows, as in its file.
  struct Rows {
    uint32_t dim = 0;
    std::vector<Id> ids;
    std::vector<float> weights;  // ids.size() x dim
  };
  const std::vector<Rows>& rows() const { return rows_; }  // of each of the model's tables()

 private:
  KeptModel(ModelManifest manifest, std::shared_ptr<const Dataset> data, Split split)
      : manifest_(std::move(manifest)), data_(std::move(data)), split_(std::move(split)) {}

  absl::Status LoadRows(const std::string& folder);
  absl::Status BeginEvaluation();

  ModelManifest manifest_;
  std::shared_ptr<const Dataset> data_;
  Split split_;
  std::unique_ptr<Model> model_;  // refers to data and split
  std::vector<Rows> rows_;
  std::vector<absl::flat_hash_map<Id, uint32_t>> positions_;  // in rows_, of each table
  std::vector<InitialValues> initial_values_;
};

}  // namespace marquee

#endif  // MARQUEE_SERVING_KEPT_MODEL_H_
