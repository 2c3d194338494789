#include "checkpoint/manifest.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <nlohmann/json.hpp>

#include "common/version.h"

namespace marquee {
namespace {

constexpr std::string_view kChecksumLine = "XXH3 ";
constexpr size_t kChecksumDigits = 16;

std::string ChecksumLine(std::string_view text) {
  return fmt::format("{}{:016x}\n", kChecksumLine, XXH3_64bits(text.data(), text.size()));
}

}  // namespace

uint64_t CheckpointManifest::rows() const {
  uint64_t rows = 0;
  for (const RowFileSummary& file : files) rows += file.rows;
  return rows;
}

uint64_t CheckpointManifest::bytes() const {
  uint64_t bytes = 0;
  for (const RowFileSummary& file : files) bytes += file.bytes;
  return bytes;
}

std::string CheckpointManifest::ToText() const {
  nlohmann::ordered_json json;
  json["format"] = kCheckpointVersion;
  json["number"] = number;
  json["base"] = base;
  json["cluster"] = cluster_id;
  json["view"] = view;
  json["written"] = written_unix_seconds;
  json["version"] = version;
  json["pause_seconds"] = pause_seconds;
  json["files"] = nlohmann::ordered_json::array();
  for (const RowFileSummary& file : files) {
    json["files"].push_back(
        {{"name", file.name}, {"bytes", file.bytes}, {"checksum", file.checksum}, {"rows", file.rows}, {"full", file.full}});
  }
  json["trials"] = nlohmann::ordered_json::array();
  for (const Trial& trial : trials) {
    json["trials"].push_back({{"name", trial.name}, {"spec", trial.spec}, {"state", trial.state}});
  }
  // Names and texts come from users: bytes that are no UTF-8 must not throw.
  const std::string text = json.dump(1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
  return text + ChecksumLine(text);
}

absl::StatusOr<CheckpointManifest> CheckpointManifest::Parse(const std::string& text, const std::string& path) {
  const size_t line = kChecksumLine.size() + kChecksumDigits + 1;
  if (text.size() < line) return absl::DataLossError(fmt::format("{}: {} bytes are no manifest", path, text.size()));
  const std::string_view body = std::string_view(text).substr(0, text.size() - line);
  if (std::string_view(text).substr(body.size()) != ChecksumLine(body)) {
    return absl::DataLossError(
        fmt::format("{}: the checksum in its last line is not that of the {} bytes before it", path, body.size()));
  }
  const auto json = nlohmann::json::parse(body, nullptr, false);
  try {
    const int format = json.at("format").get<int>();
    if (format < kOldestCheckpointVersion || format > kCheckpointVersion) {
      return absl::FailedPreconditionError(fmt::format(
          "{}: is of format {}, written by marquee {}; this program, marquee {}, reads formats {} to {}: go on with a "
          "marquee that reads it (docs/operations.md, \"Upgrades\")",
          path, format, json.at("version").get<std::string>(), Version(), kOldestCheckpointVersion, kCheckpointVersion));
    }
    CheckpointManifest manifest;
    manifest.number = json.at("number").get<uint64_t>();
    manifest.base = json.at("base").get<uint64_t>();
    manifest.cluster_id = json.at("cluster").get<uint64_t>();
    manifest.view = json.at("view").get<uint64_t>();
    manifest.written_unix_seconds = json.at("written").get<int64_t>();
    manifest.version = json.at("version").get<std::string>();
    manifest.pause_seconds = json.at("pause_seconds").get<double>();
    for (const auto& file : json.at("files")) {
      manifest.files.push_back({.name = file.at("name").get<std::string>(),
                                .bytes = file.at("bytes").get<uint64_t>(),
                                .checksum = file.at("checksum").get<uint64_t>(),
                                .rows = file.at("rows").get<uint64_t>(),
                                .full = file.at("full").get<bool>()});
      const std::string& name = manifest.files.back().name;
      if (name.empty() || name.find('/') != std::string::npos) {
        return absl::DataLossError(fmt::format("{}: '{}' is no name of a file beside it", path, name));
      }
    }
    for (const auto& trial : json.at("trials")) {
      manifest.trials.push_back({.name = trial.at("name").get<std::string>(),
                                 .spec = trial.at("spec").get<std::string>(),
                                 .state = trial.at("state").get<std::string>()});
    }
    return manifest;
  } catch (const nlohmann::json::exception& error) {
    return absl::DataLossError(fmt::format("{}: {}", path, error.what()));
  }
}

}  // namespace marquee
