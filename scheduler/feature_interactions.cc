#include "scheduler/feature_interactions.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "absl/status/status.h"
#include "common/cross_norms.h"
#include "common/trial_config.h"

namespace marquee {
namespace {

constexpr uint64_t kRowsAtOnce = 1024;

bool HasNulls(const Column& column) {
  for (size_t row = 0; row < column.size(); ++row) {
    if (column.is_null(row)) return true;
  }
  return false;
}

class KeptModel {
 public:
  KeptModel(std::unique_ptr<ModelReader> reader, const Dataset& data) : reader_(std::move(reader)), data_(data) {}

  absl::StatusOr<std::vector<std::vector<double>>> Norms(const ModelConfig& model, const std::string& prefix) {
    const absl::StatusOr<std::vector<FeatureRange>> features = Ranges(model, prefix);
    if (!features.ok()) return features.status();
    const absl::StatusOr<std::vector<float>> weight = Weight(*model.cross, prefix);
    if (!weight.ok()) return weight.status();
    const size_t columns = features->back().end;
    if (weight->size() != columns * columns) {
      return absl::FailedPreconditionError(
          fmt::format("cross weight: {} numbers; the features take {} columns", weight->size(), columns));
    }
    return CrossBlockNorms(*weight, *features);
  }

 private:
  // A feature with a table has the table's dim of columns; a number has one, and one more that says where it is null.
  absl::StatusOr<std::vector<FeatureRange>> Ranges(const ModelConfig& model, const std::string& prefix) const {
    std::vector<FeatureRange> ranges;
    size_t begin = 0;
    for (const FeatureConfig& feature : model.tower.features) {
      const auto table = Find(fmt::format("{}_{}", prefix, feature.name));
      const Column* const column = data_.column(feature.name);
      if (table == reader_->tables().end() && column == nullptr) {
        return absl::NotFoundError(fmt::format("feature {}: has neither a table nor a column", feature.name));
      }
      const size_t width = table != reader_->tables().end() ? table->dim : HasNulls(*column) ? 2 : 1;
      ranges.push_back({.name = feature.name, .begin = begin, .end = begin + width});
      begin += width;
    }
    return ranges;
  }

  absl::StatusOr<std::vector<float>> Weight(const CrossConfig& cross, const std::string& prefix) {
    if (cross.rank == 0) return Matrix(prefix + "_cross0_weight");
    const absl::StatusOr<std::vector<float>> u = Matrix(prefix + "_cross0_u");
    if (!u.ok()) return u.status();
    const absl::StatusOr<std::vector<float>> v = Matrix(prefix + "_cross0_v");
    if (!v.ok()) return v.status();
    return CrossWeight(*u, *v, static_cast<size_t>(cross.rank));
  }

  // The rows of a dense table in the order of their ids, which are 0, 1, 2 ...
  absl::StatusOr<std::vector<float>> Matrix(const std::string& name) {
    const auto table = Find(name);
    if (table == reader_->tables().end()) return absl::NotFoundError(fmt::format("table {}: is missing", name));
    std::vector<Id> ids;
    std::vector<float> rows;
    for (size_t before = 0;; before = ids.size()) {
      const auto number = static_cast<size_t>(table - reader_->tables().begin());
      if (absl::Status status = reader_->Read(number, kRowsAtOnce, &ids, &rows); !status.ok()) return status;
      if (ids.size() == before) break;
    }
    std::vector<float> matrix(rows.size());
    std::vector<bool> filled(ids.size());
    for (size_t i = 0; i < ids.size(); ++i) {
      if (ids[i] >= ids.size() || filled[ids[i]]) {
        return absl::FailedPreconditionError(
            fmt::format("table {}: has {} rows, but not 0 to {}", name, ids.size(), ids.size() - 1));
      }
      filled[ids[i]] = true;
      std::copy_n(rows.begin() + static_cast<ptrdiff_t>(i * table->dim), table->dim,
                  matrix.begin() + static_cast<ptrdiff_t>(ids[i] * table->dim));
    }
    return matrix;
  }

  std::vector<ModelReader::Table>::const_iterator Find(const std::string& name) const {
    const std::vector<ModelReader::Table>& tables = reader_->tables();
    return std::find_if(tables.begin(), tables.end(), [&](const auto& table) { return table.name == name; });
  }

  std::unique_ptr<ModelReader> reader_;
  const Dataset& data_;
};

absl::StatusOr<FeatureInteractions> Load(const std::string& folder, const Dataset& data) {
  const absl::StatusOr<ModelManifest> manifest = ModelManifest::Load(folder);
  if (!manifest.ok()) return manifest.status();
  const absl::StatusOr<TrialConfig> config = ParseTrialConfig(manifest->configuration);
  if (!config.ok()) return config.status();
  const ModelConfig& model = config->model;
  if (!model.cross.has_value() || model.tower.features.empty()) {
    return absl::InvalidArgumentError("the model has no cross layers");
  }
  absl::StatusOr<std::unique_ptr<ModelReader>> reader = ModelFolder("", {}).Open(folder);
  if (!reader.ok()) return reader.status();
  KeptModel kept(*std::move(reader), data);
  FeatureInteractions interactions{.trial = manifest->trial, .features = {}, .norms = {}};
  for (const FeatureConfig& feature : model.tower.features) interactions.features.push_back(feature.name);
  const size_t count = interactions.features.size();
  interactions.norms.assign(count, std::vector<double>(count, 0.0));
  for (int member = 0; member < model.ensemble; ++member) {
    const auto norms = kept.Norms(model, model.ensemble == 1 ? "tower" : fmt::format("member{}_tower", member));
    if (!norms.ok()) return norms.status();
    for (size_t a = 0; a < count; ++a) {
      for (size_t b = 0; b < count; ++b) interactions.norms[a][b] += (*norms)[a][b] / model.ensemble;
    }
  }
  return interactions;
}

}  // namespace

absl::StatusOr<FeatureInteractions> LoadFeatureInteractions(const std::string& folder, const Dataset& data) {
  absl::StatusOr<FeatureInteractions> interactions = Load(folder, data);
  if (interactions.ok()) return interactions;
  return absl::Status(interactions.status().code(),
                      fmt::format("{}: {}", folder, std::string(interactions.status().message())));
}

}  // namespace marquee
