#ifndef MARQUEE_SCHEDULER_MODEL_FOLDER_H_
#define MARQUEE_SCHEDULER_MODEL_FOLDER_H_

// Kept models as files. Each is a folder:
//
//     manifest.json     what it is: the trial's configuration, data and split with their checksums, metrics, and its tables
//     NAME.rows         of each table: rows of [id u64 | weights f32 x dim], little-endian, in no order
//
// A row that is in no file was never pushed and has its initial value, which the manifest's `seed` and `initializer` give.
// Files are written under temporary names, flushed and renamed, the manifest last: without a manifest there is no model. Errors
// name the file. Not thread-safe.

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "scheduler/model_store.h"

namespace marquee {

// What a manifest says.
struct ModelManifest {
  struct Table {
    std::string name;  // without the trial's prefix
    uint32_t dim = 0;
    uint64_t rows = 0;
    std::string file;
    std::string checksum;  // XXH3 of the file, in hexadecimal
    uint64_t seed = 0;
    Initializer initializer;
  };
  std::string trial;
  std::string configuration;  // YAML; ParseTrialConfig
  std::string data_name;
  std::string data_file;  // where it was, an absolute path
  std::string data_checksum;
  std::string split_name;
  std::string split_checksum;
  TrialResult result;  // validation, test, validations, epochs and stopped
  std::vector<Table> tables;
  std::string version;  // of marquee

  static absl::StatusOr<ModelManifest> Load(const std::string& folder);
  std::string Json() const;
};

// A file's name that shows `name` as far as it can; the number keeps names apart that differ in what it cannot show.
std::string SafeFileName(size_t number, std::string_view name);

class ModelFolder : public ModelStore {
 public:
  // What all models of a sweep share goes into each manifest: `origin` has the fields data_name to split_checksum.
  ModelFolder(std::string folder, ModelManifest origin) : folder_(std::move(folder)), origin_(std::move(origin)) {}

  absl::StatusOr<std::unique_ptr<ModelWriter>> Create(const std::string& trial) override;
  absl::Status Remove(const std::string& trial) override;
  // `model` is a folder.
  absl::StatusOr<std::unique_ptr<ModelReader>> Open(const std::string& model) override;

 private:
  std::string PathOf(const std::string& trial) const { return folder_ + "/" + trial; }

  std::string folder_;
  ModelManifest origin_;
};

}  // namespace marquee

#endif  // MARQUEE_SCHEDULER_MODEL_FOLDER_H_
