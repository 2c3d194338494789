#ifndef MARQUEE_DATASET_DATASET_READER_H_
#define MARQUEE_DATASET_DATASET_READER_H_

// From a Cap'n Proto DataFile to a Dataset that refers to its arrays in place. Internal to dataset/: the file is opened by
// Dataset::Open, and the writer runs the same checks over what it is about to write.

#include <memory>

#include "absl/status/statusor.h"
#include "dataset/dataset.h"
#include "schemas/dataset.capnp.h"

namespace marquee {

class DatasetReader {
 public:
  // The arrays of `file` must outlive the result. Refuses lists of the wrong length or kind, indices and codes out of range,
  // missing keys and repeated names, naming the field; may throw kj::Exception where pointers are malformed.
  static absl::StatusOr<std::shared_ptr<Dataset>> Read(file::DataFile::Reader file);

 private:
  static absl::StatusOr<std::unique_ptr<Column>> ReadColumn(file::Column::Reader column, const Dataset& data);
  static absl::Status ReadValues(file::Column::Reader source, Column& column);
  static absl::Status CheckInteractions(const Dataset& data);
};

}  // namespace marquee

#endif  // MARQUEE_DATASET_DATASET_READER_H_
