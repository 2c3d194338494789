#ifndef MARQUEE_SCHEDULER_MODEL_STORE_H_
#define MARQUEE_SCHEDULER_MODEL_STORE_H_

// Where the models of trials are kept, and where trials start from. Implemented over files (scheduler/model_folder.h), and in
// memory by tests. Several models may be written and read at the same time. Not thread-safe.

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/table.h"
#include "scheduler/coordinator.h"

namespace marquee {

// One model, written table after table. Given up before Finish, it leaves nothing.
class ModelWriter {
 public:
  virtual ~ModelWriter() = default;

  // All rows up to the next call are this table's.
  virtual absl::Status BeginTable(const TableDefinition& table) = 0;
  // Each row once; `weights` is ids.size() x dim.
  virtual absl::Status AddRows(absl::Span<const Id> ids, absl::Span<const float> weights) = 0;
  // After the last table. The model is there once this has returned OK, and not before.
  virtual absl::Status Finish(const TrialConfig& config, const TrialResult& result) = 0;
};

// One kept model, read table after table.
class ModelReader {
 public:
  struct Table {
    std::string name;  // without a trial's prefix
    uint32_t dim = 0;
    uint64_t rows = 0;
  };
  virtual ~ModelReader() = default;

  virtual const std::vector<Table>& tables() const = 0;
  // Adds the next rows of a table, at most `limit`; none at its end, where rows that are not those which were kept are an
  // error. Each table is read to its end before the next.
  virtual absl::Status Read(size_t table, uint64_t limit, std::vector<Id>* ids, std::vector<float>* weights) = 0;
};

class ModelStore {
 public:
  virtual ~ModelStore() = default;

  // Replaces the trial's kept model, if there is one, from now on.
  virtual absl::StatusOr<std::unique_ptr<ModelWriter>> Create(const std::string& trial) = 0;
  // Of one that is not there: OK.
  virtual absl::Status Remove(const std::string& trial) = 0;
  // `model` is what a configuration says under `start_from`.
  virtual absl::StatusOr<std::unique_ptr<ModelReader>> Open(const std::string& model) = 0;
};

}  // namespace marquee

#endif  // MARQUEE_SCHEDULER_MODEL_STORE_H_
