#include "scheduler/model_folder.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>
#include <cctype>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "common/version.h"
#include "dataset/atomic_file.h"

namespace marquee {
namespace {

using Json = nlohmann::ordered_json;

constexpr int kFormat = 1;
constexpr const char* kManifest = "manifest.json";
constexpr std::string_view kInitializers[] = {"zeros", "constant", "uniform", "normal"};

size_t RowBytes(uint32_t dim) { return sizeof(Id) + size_t{dim} * sizeof(float); }

// XXH3 of what is fed to it piece by piece.
class Checksum {
 public:
  Checksum() : state_(XXH3_createState()) { XXH3_64bits_reset(state_.get()); }
  void Add(const void* data, size_t bytes) { XXH3_64bits_update(state_.get(), data, bytes); }
  std::string Hex() const { return fmt::format("{:016x}", XXH3_64bits_digest(state_.get())); }

 private:
  struct Free {
    void operator()(XXH3_state_t* state) const { XXH3_freeState(state); }
  };
  std::unique_ptr<XXH3_state_t, Free> state_;
};

absl::Status RemoveFolder(const std::string& path) {
  std::error_code error;
  // The manifest first: what is left of a model that is half removed is none.
  std::filesystem::remove(std::filesystem::path(path) / kManifest, error);
  if (!error) std::filesystem::remove_all(path, error);
  return error ? absl::InternalError(fmt::format("{}: {}", path, error.message())) : absl::OkStatus();
}

class Writer : public ModelWriter {
 public:
  Writer(std::string path, ModelManifest manifest) : path_(std::move(path)), manifest_(std::move(manifest)) {}
  ~Writer() override {
    file_.reset();
    if (!finished_) RemoveFolder(path_).IgnoreError();
  }

  absl::Status BeginTable(const TableDefinition& table) override {
    if (absl::Status status = FinishTable(); !status.ok()) return status;
    manifest_.tables.push_back({.name = std::string(table.model_name()),
                                .dim = table.dim,
                                .rows = 0,
                                .file = SafeFileName(manifest_.tables.size(), table.model_name()) + ".rows",
                                .checksum = "",
                                .seed = table.seed,
                                .initializer = table.initializer});
    checksum_ = Checksum();
    absl::StatusOr<AtomicFile> file = AtomicFile::Create(path_ + "/" + manifest_.tables.back().file);
    if (!file.ok()) return file.status();
    file_.emplace(*std::move(file));
    return absl::OkStatus();
  }

  absl::Status AddRows(absl::Span<const Id> ids, absl::Span<const float> weights) override {
    ModelManifest::Table& table = manifest_.tables.back();
    buffer_.clear();
    const auto add = [this](const void* data, size_t bytes) {
      const auto* const begin = static_cast<const char*>(data);
      buffer_.insert(buffer_.end(), begin, begin + bytes);
    };
    for (size_t i = 0; i < ids.size(); ++i) {
      add(&ids[i], sizeof(Id));
      add(&weights[i * table.dim], table.dim * sizeof(float));
    }
    table.rows += ids.size();
    checksum_.Add(buffer_.data(), buffer_.size());
    return file_->Write(buffer_.data(), buffer_.size());
  }

  absl::Status Finish(const TrialConfig& config, const TrialResult& result) override {
    if (absl::Status status = FinishTable(); !status.ok()) return status;
    manifest_.trial = config.name;
    manifest_.configuration = ToYaml(config);
    manifest_.result = result;
    manifest_.version = std::string(Version());
    const std::string text = manifest_.Json();
    absl::StatusOr<AtomicFile> file = AtomicFile::Create(path_ + "/" + kManifest);
    if (!file.ok()) return file.status();
    if (absl::Status status = file->Write(text.data(), text.size()); !status.ok()) return status;
    if (absl::Status status = file->Commit(); !status.ok()) return status;
    finished_ = true;
    return absl::OkStatus();
  }

 private:
  absl::Status FinishTable() {
    if (!file_.has_value()) return absl::OkStatus();
    manifest_.tables.back().checksum = checksum_.Hex();
    absl::Status status = file_->Commit();
    file_.reset();
    return status;
  }

  std::string path_;
  ModelManifest manifest_;
  std::optional<AtomicFile> file_;  // of the last table
  Checksum checksum_;
  std::vector<char> buffer_;
  bool finished_ = false;
};

class Reader : public ModelReader {
 public:
  Reader(std::string path, ModelManifest manifest) : path_(std::move(path)), manifest_(std::move(manifest)) {
    for (const ModelManifest::Table& table : manifest_.tables) {
      tables_.push_back({.name = table.name, .dim = table.dim, .rows = table.rows});
    }
  }

  const std::vector<Table>& tables() const override { return tables_; }

  absl::Status Read(size_t number, uint64_t limit, std::vector<Id>* ids, std::vector<float>* weights) override {
    const ModelManifest::Table& table = manifest_.tables[number];
    const std::string path = path_ + "/" + table.file;
    if (!file_.has_value() || open_ != number) {
      file_.emplace(path, std::ios::binary);
      open_ = number;
      read_ = 0;
      checksum_ = Checksum();
    }
    const uint64_t count = std::min(limit, table.rows - read_);
    std::vector<char> buffer(count * RowBytes(table.dim));
    file_->read(buffer.data(), static_cast<std::streamsize>(buffer.size()));
    if (!*file_) return absl::DataLossError(fmt::format("{}: is missing, or has fewer than {} rows", path, table.rows));
    checksum_.Add(buffer.data(), buffer.size());
    read_ += count;
    if (count == 0 && (checksum_.Hex() != table.checksum || file_->peek() != std::ifstream::traits_type::eof())) {
      return absl::DataLossError(fmt::format("{}: is not the file that {} describes: the checksum differs", path, kManifest));
    }
    for (uint64_t i = 0; i < count; ++i) {
      const char* const row = buffer.data() + i * RowBytes(table.dim);
      std::memcpy(&ids->emplace_back(), row, sizeof(Id));
      weights->resize(weights->size() + table.dim);
      std::memcpy(weights->data() + weights->size() - table.dim, row + sizeof(Id), table.dim * sizeof(float));
    }
    return absl::OkStatus();
  }

 private:
  std::string path_;
  ModelManifest manifest_;
  std::vector<Table> tables_;
  std::optional<std::ifstream> file_;  // of the table `open_`
  size_t open_ = 0;
  uint64_t read_ = 0;
  Checksum checksum_;
};

}  // namespace

std::string SafeFileName(size_t number, std::string_view name) {
  std::string safe;
  for (const char c : name.substr(0, 100)) safe += std::isalnum(static_cast<unsigned char>(c)) != 0 ? c : '_';
  return fmt::format("{:02}-{}", number, safe);
}

std::string ModelManifest::Json() const {
  marquee::Json json;
  json["format"] = kFormat;
  json["trial"] = trial;
  json["configuration"] = configuration;
  json["data"] = {{"name", data_name}, {"file", data_file}, {"checksum", data_checksum}};
  json["split"] = {{"name", split_name}, {"checksum", split_checksum}};
  json["metrics"] = {{"validation", result.validation}, {"test", result.test}};
  json["epochs"] = result.epochs;
  if (!result.stopped.empty()) json["stopped"] = result.stopped;
  json["tables"] = marquee::Json::array();
  for (const Table& table : tables) {
    json["tables"].push_back(
        {{"name", table.name},
         {"dim", table.dim},
         {"rows", table.rows},
         {"file", table.file},
         {"checksum", table.checksum},
         {"seed", table.seed},
         {"initializer",
          {{"kind", kInitializers[static_cast<size_t>(table.initializer.kind)]}, {"scale", table.initializer.scale}}}});
  }
  json["version"] = version;
  return json.dump(2) + "\n";
}

absl::StatusOr<ModelManifest> ModelManifest::Load(const std::string& folder) {
  const std::string path = (std::filesystem::path(folder) / kManifest).string();
  std::ifstream file(path);
  if (!file) return absl::NotFoundError(fmt::format("{}: cannot be read: no kept model is there", path));
  try {
    const nlohmann::json json = nlohmann::json::parse(file);
    ModelManifest manifest;
    if (json.at("format") != kFormat) {
      return absl::FailedPreconditionError(
          fmt::format("{}: has format {}; this program reads {}", path, json.at("format").dump(), kFormat));
    }
    json.at("trial").get_to(manifest.trial);
    json.at("configuration").get_to(manifest.configuration);
    json.at("data").at("name").get_to(manifest.data_name);
    json.at("data").at("file").get_to(manifest.data_file);
    json.at("data").at("checksum").get_to(manifest.data_checksum);
    json.at("split").at("name").get_to(manifest.split_name);
    json.at("split").at("checksum").get_to(manifest.split_checksum);
    json.at("metrics").at("validation").get_to(manifest.result.validation);
    json.at("metrics").at("test").get_to(manifest.result.test);
    json.at("epochs").get_to(manifest.result.epochs);
    manifest.result.stopped = json.value("stopped", "");
    for (const auto& entry : json.at("tables")) {
      Table& table = manifest.tables.emplace_back();
      entry.at("name").get_to(table.name);
      entry.at("dim").get_to(table.dim);
      entry.at("rows").get_to(table.rows);
      entry.at("file").get_to(table.file);
      entry.at("checksum").get_to(table.checksum);
      entry.at("seed").get_to(table.seed);
      const std::string kind = entry.at("initializer").at("kind");
      const auto* const found = std::find(std::begin(kInitializers), std::end(kInitializers), kind);
      if (found == std::end(kInitializers) || table.dim == 0 || table.dim > kMaxDim) {
        return absl::InvalidArgumentError(
            fmt::format("{}: table '{}': initializer '{}' or dim {} is none of ours", path, table.name, kind, table.dim));
      }
      table.initializer.kind = static_cast<Initializer::Kind>(found - std::begin(kInitializers));
      entry.at("initializer").at("scale").get_to(table.initializer.scale);
    }
    json.at("version").get_to(manifest.version);
    return manifest;
  } catch (const nlohmann::json::exception& exception) {
    return absl::InvalidArgumentError(fmt::format("{}: is no manifest: {}", path, exception.what()));
  }
}

absl::StatusOr<std::unique_ptr<ModelWriter>> ModelFolder::Create(const std::string& trial) {
  if (absl::Status status = Remove(trial); !status.ok()) return status;
  std::error_code error;
  std::filesystem::create_directories(PathOf(trial), error);
  if (error) return absl::InternalError(fmt::format("{}: {}", PathOf(trial), error.message()));
  return std::make_unique<Writer>(PathOf(trial), origin_);
}

absl::Status ModelFolder::Remove(const std::string& trial) { return RemoveFolder(PathOf(trial)); }

absl::StatusOr<std::unique_ptr<ModelReader>> ModelFolder::Open(const std::string& model) {
  absl::StatusOr<ModelManifest> manifest = ModelManifest::Load(model);
  if (!manifest.ok()) return manifest.status();
  return std::make_unique<Reader>(model, *std::move(manifest));
}

}  // namespace marquee
