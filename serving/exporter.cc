#include "serving/exporter.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <numeric>
#include <utility>
#include <vector>

#include "common/version.h"
#include "dataset/atomic_file.h"
#include "serving/npy.h"
#include "serving/torch_script.h"

namespace marquee {
namespace {

using Json = nlohmann::ordered_json;

constexpr int kFormat = 1;
constexpr const char* kManifest = "manifest.json";
constexpr size_t kBlock = 1024;  // users or movies asked for at once
constexpr int64_t kExampleRows = 3;

std::vector<uint32_t> Numbers(size_t begin, size_t end) {
  std::vector<uint32_t> numbers(end - begin);
  std::iota(numbers.begin(), numbers.end(), static_cast<uint32_t>(begin));
  return numbers;
}

// Rows that come block after block.
class Matrix {
 public:
  void Add(const torch::Tensor& rows) { blocks_.push_back(rows.detach().to(torch::kCPU)); }
  bool defined() const { return !blocks_.empty() && blocks_.front().defined(); }
  torch::Tensor all() const { return torch::cat(blocks_, 0).contiguous(); }

 private:
  std::vector<torch::Tensor> blocks_;
};

std::string_view MeaningName(RatingInference::Meaning meaning) {
  switch (meaning) {
    case RatingInference::Meaning::kRating:
      return "rating";
    case RatingInference::Meaning::kLogOdds:
      return "log_odds";
    case RatingInference::Meaning::kScore:
      return "score";
  }
  return "unknown";
}

class Exporter {
 public:
  Exporter(KeptModel& model, std::string folder, const ExportOptions& options)
      : model_(model), folder_(std::move(folder)), options_(options) {}

  absl::Status Run();

 private:
  absl::Status Prepare() const;
  absl::Status WriteKeys();
  absl::Status WriteKeys(const Column& key, size_t count, const std::string& file);
  absl::Status WriteTables();
  absl::Status WriteColumns();
  absl::Status WriteRetrieval(RetrievalInference& retrieval);
  absl::Status WriteEncoder(const std::string& name, const TensorFunction& function, const std::vector<Matrix>& inputs);
  absl::Status WriteRating(RatingInference& rating);
  absl::Status WriteManifest();

  // Writes `tensor` to the folder's `file`, and returns the name for the manifest.
  absl::Status Write(const std::string& file, const torch::Tensor& tensor);
  std::string PathOf(const std::string& file) const { return (std::filesystem::path(folder_) / file).string(); }

  KeptModel& model_;
  std::string folder_;
  ExportOptions options_;
  Json manifest_;
};

absl::Status Exporter::Run() {
  if (absl::Status status = Prepare(); !status.ok()) return status;
  const ModelManifest& origin = model_.manifest();
  manifest_["format"] = kFormat;
  manifest_["trial"] = origin.trial;
  manifest_["configuration"] = origin.configuration;
  manifest_["data"] = {{"name", origin.data_name}, {"checksum", origin.data_checksum}};
  manifest_["split"] = {{"name", origin.split_name}, {"checksum", origin.split_checksum}};
  manifest_["metrics"] = {{"validation", origin.result.validation}, {"test", origin.result.test}};
  manifest_["known"] = options_.purpose == Entities::For::kNow ? "all ratings" : "train and validation";
  if (absl::Status status = WriteKeys(); !status.ok()) return status;
  if (absl::Status status = WriteTables(); !status.ok()) return status;
  if (absl::Status status = WriteColumns(); !status.ok()) return status;
  if (RetrievalInference* retrieval = model_.model().retrieval(); retrieval != nullptr) {
    if (absl::Status status = WriteRetrieval(*retrieval); !status.ok()) return status;
  }
  if (RatingInference* rating = model_.model().rating(); rating != nullptr) {
    if (absl::Status status = WriteRating(*rating); !status.ok()) return status;
  }
  return WriteManifest();
}

absl::Status Exporter::Prepare() const {
  namespace fs = std::filesystem;
  std::error_code error;
  const fs::path folder(folder_);
  if (fs::exists(folder / kManifest, error)) {
    // The manifest first: what is left of an export that is half replaced is none.
    fs::remove(folder / kManifest, error);
    for (const char* part : {"tables", "ids", "retrieval", "rating"}) fs::remove_all(folder / part, error);
  } else if (fs::exists(folder, error) && !fs::is_empty(folder, error)) {
    return absl::AlreadyExistsError(
        fmt::format("{}: is there and is no earlier export; name an empty folder or a new one", folder_));
  }
  for (const char* part : {"tables", "ids"}) {
    fs::create_directories(folder / part, error);
    if (error) return absl::InternalError(fmt::format("{}: {}", (folder / part).string(), error.message()));
  }
  return absl::OkStatus();
}

absl::Status Exporter::Write(const std::string& file, const torch::Tensor& tensor) {
  const torch::Tensor whole = tensor.detach().to(torch::kCPU).contiguous();
  const std::vector<size_t> shape(whole.sizes().begin(), whole.sizes().end());
  const auto count = static_cast<size_t>(whole.numel());
  if (whole.scalar_type() == torch::kLong) return WriteNpy(PathOf(file), {whole.data_ptr<int64_t>(), count}, shape);
  return WriteNpy(PathOf(file), {whole.data_ptr<float>(), count}, shape);
}

absl::Status Exporter::WriteKeys() {
  const Dataset& data = model_.data();
  if (absl::Status status = WriteKeys(data.user_key(), data.users(), "users.npy"); !status.ok()) return status;
  if (absl::Status status = WriteKeys(data.item_key(), data.rated_items(), "movies.npy"); !status.ok()) return status;
  manifest_["users"] = {{"count", data.users()}, {"column", data.user_key().name()}, {"keys", "users.npy"}};
  manifest_["movies"] = {{"count", data.rated_items()}, {"column", data.item_key().name()}, {"keys", "movies.npy"}};
  return absl::OkStatus();
}

absl::Status Exporter::WriteKeys(const Column& key, size_t count, const std::string& file) {
  std::vector<std::string> keys;
  for (uint32_t row = 0; row < count; ++row) {
    keys.emplace_back(key.code(row) == kNullCode ? std::string_view() : key.value(key.code(row)));
  }
  return WriteNpy(PathOf(file), keys);
}

absl::Status Exporter::WriteTables() {
  manifest_["tables"] = Json::array();
  const std::vector<TableDefinition>& tables = model_.model().tables();
  for (size_t i = 0; i < tables.size(); ++i) {
    const KeptModel::Rows& rows = model_.rows()[i];
    const std::string name = fmt::format("tables/{}", SafeFileName(i, tables[i].name));
    if (absl::Status status = WriteNpy(PathOf(name + ".npy"), rows.weights, {rows.ids.size(), rows.dim}); !status.ok()) {
      return status;
    }
    if (absl::Status status = WriteNpy(PathOf(name + ".ids.npy"), rows.ids); !status.ok()) return status;
    manifest_["tables"].push_back({{"name", tables[i].name},
                                   {"dim", rows.dim},
                                   {"rows", rows.ids.size()},
                                   {"weights", name + ".npy"},
                                   {"ids", name + ".ids.npy"}});
  }
  return absl::OkStatus();
}

absl::Status Exporter::WriteColumns() {
  manifest_["columns"] = Json::array();
  size_t number = 0;
  for (const auto& column : model_.data().columns()) {
    if (column->type() == Column::Type::kNumber) continue;
    std::vector<uint64_t> ids;
    std::vector<std::string> values;
    for (uint32_t code = 0; code < column->values(); ++code) {
      ids.push_back(column->id(code));
      values.emplace_back(column->value(code));
    }
    const std::string name = fmt::format("ids/{}", SafeFileName(number++, column->name()));
    if (absl::Status status = WriteNpy(PathOf(name + ".npy"), ids); !status.ok()) return status;
    if (absl::Status status = WriteNpy(PathOf(name + ".values.npy"), values); !status.ok()) return status;
    manifest_["columns"].push_back({{"name", column->name()},
                                    {"ids", name + ".npy"},
                                    {"values", name + ".values.npy"},
                                    {"null", FeatureId(column->name(), "")}});
  }
  return absl::OkStatus();
}

// ------------------------------------------------------------------------------------------------------ retrieval

absl::Status Exporter::WriteRetrieval(RetrievalInference& retrieval) {
  std::filesystem::create_directories(PathOf("retrieval"));
  std::vector<Matrix> inputs;
  Matrix vectors;
  for (size_t begin = 0; begin < model_.data().users(); begin += kBlock) {
    const std::unique_ptr<Step> step =
        retrieval.PlanUsers(Numbers(begin, std::min(begin + kBlock, model_.data().users())), options_.purpose);
    model_.Fill(*step);
    const std::vector<torch::Tensor> of_block = retrieval.UserInputs(*step);
    inputs.resize(of_block.size());
    for (size_t i = 0; i < of_block.size(); ++i) inputs[i].Add(of_block[i]);
    vectors.Add(retrieval.EncodeUsers(of_block));
  }
  Json& json = manifest_["retrieval"];
  json["score"] = "users[u] @ movies[m], plus seen_bias[m] where u has rated m";
  json["users"] = "retrieval/users.npy";
  json["movies"] = "retrieval/movies.npy";
  if (absl::Status status = Write("retrieval/users.npy", vectors.all()); !status.ok()) return status;
  if (absl::Status status = Write("retrieval/movies.npy", retrieval.MovieVectors()); !status.ok()) return status;
  if (const torch::Tensor bias = retrieval.SeenBias(); bias.defined()) {
    json["seen_bias"] = "retrieval/seen_bias.npy";
    if (absl::Status status = Write("retrieval/seen_bias.npy", bias); !status.ok()) return status;
  }
  const auto encode_users = [&](const std::vector<torch::Tensor>& in) { return retrieval.EncodeUsers(in); };
  if (absl::Status status = WriteEncoder("query", encode_users, inputs); !status.ok()) return status;
  inputs.clear();
  for (const torch::Tensor& input : retrieval.MovieInputs()) inputs.emplace_back().Add(input);
  const auto encode_movies = [&](const std::vector<torch::Tensor>& in) { return retrieval.EncodeMovies(in); };
  return WriteEncoder("candidate", encode_movies, inputs);
}

absl::Status Exporter::WriteEncoder(const std::string& name, const TensorFunction& function,
                                    const std::vector<Matrix>& inputs) {
  Json& json = manifest_["retrieval"][name];
  json["module"] = fmt::format("retrieval/{}.pt", name);
  json["inputs"] = Json::array();
  std::vector<torch::Tensor> example;
  for (size_t i = 0; i < inputs.size(); ++i) {
    const torch::Tensor all = inputs[i].all();
    const std::string file = fmt::format("retrieval/{}_{}.npy", name, i);
    if (absl::Status status = Write(file, all); !status.ok()) return status;
    json["inputs"].push_back(file);
    example.push_back(all.narrow(0, 0, std::min(kExampleRows, all.size(0))));
  }
  return WriteTorchScript(PathOf(json["module"]), function, example);
}

// --------------------------------------------------------------------------------------------------------- rating

absl::Status Exporter::WriteRating(RatingInference& rating) {
  std::filesystem::create_directories(PathOf("rating"));
  const std::vector<RatingInference::Part> parts = rating.parts();
  Matrix user_factors;
  Matrix movie_factors;
  std::vector<Matrix> user_inputs(parts.size());
  std::vector<Matrix> movie_inputs(parts.size());
  RatingInference::Decomposition last;
  const auto decompose = [&](const std::vector<uint32_t>& users, const std::vector<uint32_t>& movies) {
    const std::unique_ptr<Step> step = rating.PlanPairs(users, movies, options_.purpose);
    model_.Fill(*step);
    last = rating.Decompose(*step);
  };
  for (size_t begin = 0; begin < model_.data().users(); begin += kBlock) {
    const std::vector<uint32_t> users = Numbers(begin, std::min(begin + kBlock, model_.data().users()));
    decompose(users, std::vector<uint32_t>(users.size(), 0));
    if (last.factors.users.defined()) user_factors.Add(last.factors.users);
    for (size_t i = 0; i < parts.size(); ++i) user_inputs[i].Add(last.parts[i].users);
  }
  for (size_t begin = 0; begin < model_.data().rated_items(); begin += kBlock) {
    const std::vector<uint32_t> movies = Numbers(begin, std::min(begin + kBlock, model_.data().rated_items()));
    decompose(std::vector<uint32_t>(movies.size(), 0), movies);
    if (last.factors.movies.defined()) movie_factors.Add(last.factors.movies);
    for (size_t i = 0; i < parts.size(); ++i) movie_inputs[i].Add(last.parts[i].movies);
  }

  Json& json = manifest_["rating"];
  json["prediction"] = "constant + users[u] @ movies[m] + the sum of weight * module(users[u], movies[m], context) over parts";
  json["meaning"] = MeaningName(rating.meaning());
  json["constant"] = last.constant;
  if (user_factors.defined()) {
    json["users"] = "rating/users.npy";
    json["movies"] = "rating/movies.npy";
    if (absl::Status status = Write("rating/users.npy", user_factors.all()); !status.ok()) return status;
    if (absl::Status status = Write("rating/movies.npy", movie_factors.all()); !status.ok()) return status;
  }
  json["parts"] = Json::array();
  for (size_t i = 0; i < parts.size(); ++i) {
    const std::string name = "rating/" + parts[i].name;
    const torch::Tensor users = user_inputs[i].all();
    const torch::Tensor movies = movie_inputs[i].all();
    if (absl::Status status = Write(name + ".users.npy", users); !status.ok()) return status;
    if (absl::Status status = Write(name + ".movies.npy", movies); !status.ok()) return status;
    if (absl::Status status = Write(name + ".context.npy", last.contexts[i]); !status.ok()) return status;
    const int64_t rows = std::min({kExampleRows, users.size(0), movies.size(0)});
    const std::vector<torch::Tensor> example = {users.narrow(0, 0, rows), movies.narrow(0, 0, rows),
                                                last.contexts[i].repeat({rows, 1})};
    if (absl::Status status = WriteTorchScript(PathOf(name + ".pt"), parts[i].function, example); !status.ok()) return status;
    json["parts"].push_back({{"module", name + ".pt"},
                             {"weight", parts[i].weight},
                             {"users", name + ".users.npy"},
                             {"movies", name + ".movies.npy"},
                             {"context", name + ".context.npy"}});
  }
  return absl::OkStatus();
}

absl::Status Exporter::WriteManifest() {
  manifest_["version"] = Version();
  const std::string text = manifest_.dump(2) + "\n";
  absl::StatusOr<AtomicFile> file = AtomicFile::Create(PathOf(kManifest));
  if (!file.ok()) return file.status();
  if (absl::Status status = file->Write(text.data(), text.size()); !status.ok()) return status;
  return file->Commit();
}

}  // namespace

absl::Status Export(KeptModel& model, const std::string& folder, const ExportOptions& options) {
  return Exporter(model, folder, options).Run();
}

}  // namespace marquee
