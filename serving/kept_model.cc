#include "serving/kept_model.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <filesystem>
#include <utility>

#include "absl/status/status.h"

namespace marquee {
namespace {

constexpr uint64_t kRowsAtOnce = 16384;

std::string Hex(uint64_t number) { return fmt::format("{:016x}", number); }

// The model in `folder`, or the only one that the sweep in `folder` has kept.
absl::StatusOr<std::string> FindModel(const std::string& folder) {
  const std::filesystem::path path(folder);
  std::error_code error;
  if (std::filesystem::exists(path / "manifest.json", error)) return folder;
  std::vector<std::string> models;
  for (const auto& entry : std::filesystem::directory_iterator(path / "models", error)) {
    if (std::filesystem::exists(entry.path() / "manifest.json", error)) models.push_back(entry.path().string());
  }
  std::sort(models.begin(), models.end());
  if (models.size() == 1) return models.front();
  if (models.empty())
    return absl::NotFoundError(fmt::format("{}: no kept model is there, and none in its folder models", folder));
  return absl::InvalidArgumentError(fmt::format("{}: has several models; name one of {}", folder, fmt::join(models, ", ")));
}

absl::Status CheckSame(const std::string& what, const std::string& got, const std::string& want) {
  if (got == want) return absl::OkStatus();
  return absl::FailedPreconditionError(
      fmt::format("{}: its checksum is {}, and the model was trained on one with {}", what, got, want));
}

}  // namespace

absl::StatusOr<std::unique_ptr<KeptModel>> KeptModel::Open(const std::string& folder, const std::string& data_file) {
  const absl::StatusOr<std::string> found = FindModel(folder);
  if (!found.ok()) return found.status();
  absl::StatusOr<ModelManifest> manifest = ModelManifest::Load(*found);
  if (!manifest.ok()) return manifest.status();
  const absl::StatusOr<TrialConfig> config = ParseTrialConfig(manifest->configuration);
  if (!config.ok()) return config.status();

  const std::string file = data_file.empty() ? manifest->data_file : data_file;
  absl::StatusOr<std::shared_ptr<const Dataset>> data = Dataset::Open(file);
  if (!data.ok()) return data.status();
  if (absl::Status status = CheckSame(file, Hex((*data)->checksum()), manifest->data_checksum); !status.ok()) return status;
  absl::StatusOr<Split> split = MakeSplit(**data, config->split);
  if (!split.ok()) return split.status();
  if (absl::Status status = CheckSame("split " + split->name, Hex(split->checksum), manifest->split_checksum); !status.ok()) {
    return status;
  }

  std::unique_ptr<KeptModel> kept(new KeptModel(*std::move(manifest), *std::move(data), *std::move(split)));
  absl::StatusOr<std::unique_ptr<Model>> model = MakeModel(*config, *kept->data_, kept->split_, "cpu");
  if (!model.ok()) return model.status();
  kept->model_ = *std::move(model);
  if (absl::Status status = kept->LoadRows(*found); !status.ok()) return status;
  if (absl::Status status = kept->BeginEvaluation(); !status.ok()) return status;
  return kept;
}

absl::Status KeptModel::LoadRows(const std::string& folder) {
  absl::StatusOr<std::unique_ptr<ModelReader>> reader = ModelFolder(folder, {}).Open(folder);
  if (!reader.ok()) return reader.status();
  const std::vector<ModelReader::Table>& kept = (*reader)->tables();
  const std::vector<TableDefinition>& wanted = model_->tables();
  rows_.resize(wanted.size());
  positions_.resize(wanted.size());
  for (size_t i = 0; i < wanted.size(); ++i) {
    const auto table = std::find_if(kept.begin(), kept.end(), [&](const auto& t) { return t.name == wanted[i].name; });
    if (table == kept.end() || table->dim != wanted[i].dim) {
      return absl::FailedPreconditionError(fmt::format("{}: has no table {} of dim {}, which its configuration asks for",
                                                       folder, wanted[i].name, wanted[i].dim));
    }
    rows_[i].dim = table->dim;
    while (rows_[i].ids.size() < table->rows || table->rows == 0) {
      const absl::Status status = (*reader)->Read(table - kept.begin(), kRowsAtOnce, &rows_[i].ids, &rows_[i].weights);
      if (!status.ok()) return status;
      if (table->rows == 0) break;
    }
    // One call more: at its end a file's checksum is compared.
    const absl::Status end = (*reader)->Read(table - kept.begin(), kRowsAtOnce, &rows_[i].ids, &rows_[i].weights);
    if (!end.ok()) return end;
    for (uint32_t row = 0; row < rows_[i].ids.size(); ++row) positions_[i][rows_[i].ids[row]] = row;
    initial_values_.emplace_back(wanted[i]);
  }
  return absl::OkStatus();
}

absl::Status KeptModel::BeginEvaluation() {
  absl::StatusOr<std::unique_ptr<Step>> step = model_->PlanEvaluation();
  if (!step.ok()) return step.status();
  Fill(**step);
  return model_->BeginEvaluation(**step, /*test=*/true);
}

void KeptModel::Fill(Step& step) const {
  for (TableRows& planned : step.rows) {
    const Rows& rows = rows_[planned.table];
    planned.values.resize(planned.ids.size() * planned.dim);
    for (size_t i = 0; i < planned.ids.size(); ++i) {
      float* const to = planned.values.data() + i * planned.dim;
      const auto found = positions_[planned.table].find(planned.ids[i]);
      if (found == positions_[planned.table].end()) {
        initial_values_[planned.table].Fill(planned.ids[i], {to, planned.dim});
      } else {
        std::copy_n(rows.weights.data() + size_t{found->second} * planned.dim, planned.dim, to);
      }
    }
  }
}

}  // namespace marquee
