#ifndef MARQUEE_TESTS_UNIT_WORKER_MODELS_ROW_MAP_H_
#define MARQUEE_TESTS_UNIT_WORKER_MODELS_ROW_MAP_H_

// Rows in a map: what servers are to a model, for tests. Initial values are a hash's; the update is SGD or Adagrad.

#include <cstdint>
#include <map>
#include <utility>
#include <vector>

#include "common/table.h"
#include "worker/models/model.h"

namespace marquee {

class RowMap {
 public:
  // Dense and embedding rows start uniform in (-scale, scale) of their table's initializer, or at `start_scale` if that is set.
  explicit RowMap(const std::vector<TableDefinition>& tables, float start_scale = 0)
      : tables_(tables), start_scale_(start_scale) {}

  void Fill(Step& step);
  void Apply(const Step& step);
  std::vector<float>& Row(size_t table, Id id);
  const std::map<std::pair<size_t, Id>, std::vector<float>>& rows() const { return rows_; }

 private:
  std::vector<TableDefinition> tables_;
  float start_scale_;
  std::map<std::pair<size_t, Id>, std::vector<float>> rows_;
  std::map<std::pair<size_t, Id>, std::vector<float>> squares_;  // Adagrad
};

}  // namespace marquee

#endif  // MARQUEE_TESTS_UNIT_WORKER_MODELS_ROW_MAP_H_
