#include "tests/unit/worker/models/row_map.h"

#include <cmath>

namespace marquee {

std::vector<float>& RowMap::Row(size_t table, Id id) {
  const auto [found, created] = rows_.try_emplace({table, id});
  if (!created) return found->second;
  const TableDefinition& definition = tables_.at(table);
  const float scale = start_scale_ > 0 || definition.initializer.kind == Initializer::Kind::kZeros
                          ? start_scale_
                          : definition.initializer.scale;
  for (uint32_t column = 0; column < definition.dim; ++column) {
    const uint64_t bits = MixId(MixId(id + table * 7919) ^ column ^ definition.seed);
    found->second.push_back(scale * (2 * static_cast<float>(bits >> 40U) / static_cast<float>(1U << 24U) - 1));
  }
  return found->second;
}

void RowMap::Fill(Step& step) {
  for (TableRows& rows : step.rows) {
    for (size_t i = 0; i < rows.ids.size(); ++i) {
      const std::vector<float>& row = Row(rows.table, rows.ids[i]);
      std::copy(row.begin(), row.end(), rows.values.begin() + static_cast<ptrdiff_t>(i * rows.dim));
    }
  }
}

void RowMap::Apply(const Step& step) {
  for (const TableRows& rows : step.rows) {
    const Optimizer& optimizer = tables_.at(rows.table).optimizer;
    for (size_t i = 0; i < rows.ids.size(); ++i) {
      std::vector<float>& row = Row(rows.table, rows.ids[i]);
      std::vector<float>& squares = squares_[{rows.table, rows.ids[i]}];
      squares.resize(rows.dim, optimizer.initial_accumulator);
      for (uint32_t d = 0; d < rows.dim; ++d) {
        const float gradient = rows.gradients[i * rows.dim + d];
        float rate = rows.learning_rate;
        if (optimizer.kind == Optimizer::Kind::kAdagrad) {
          squares[d] += gradient * gradient;
          rate /= std::sqrt(squares[d]) + optimizer.epsilon;
        }
        row[d] -= rate * gradient;
      }
    }
  }
}

}  // namespace marquee
