#include "common/trace_merge.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string_view>
#include <unordered_map>
#include <utility>

namespace marquee {
namespace {

using Json = nlohmann::ordered_json;

constexpr double kNever = std::numeric_limits<double>::infinity();

// What one process wrote.
struct Part {
  std::string path;
  std::string process;
  std::string boot;   // of its machine
  double offset = 0;  // microseconds to add to its times
  bool aligned = true;
};

// One end of an arrow.
struct End {
  size_t part = 0;
  double time = 0;  // microseconds
};

// Calls `take` with each event of a part. An event is a line, from its comma on.
absl::Status ReadEvents(const std::string& path, const std::function<void(Json&&)>& take) {
  std::ifstream file(path);
  if (!file) return absl::UnavailableError(fmt::format("{}: cannot be read", path));
  std::string line;
  uint64_t number = 0;
  std::optional<absl::Status> broken;  // by the line before
  while (std::getline(file, line)) {
    ++number;
    if (broken.has_value()) return *broken;
    std::string_view text = line;
    if (!text.empty() && text.back() == ',') text.remove_suffix(1);
    if (text.empty() || text == "[" || text == "]") continue;
    Json event = Json::parse(text, nullptr, false);
    if (event.is_object() && event.contains("ph")) {
      take(std::move(event));
    } else {
      broken = absl::DataLossError(fmt::format("{}:{}: no event of a trace", path, number));
    }
  }
  if (number < 2) return absl::DataLossError(fmt::format("{}: no trace", path));
  return absl::OkStatus();
}

class Merger {
 public:
  absl::Status Open(const std::string& folder);
  void Align();
  absl::Status Write(const std::string& out);
  TraceSummary Summary() &&;

 private:
  void AddArrow(size_t part, const Json& event);
  // Microseconds that the clock of machine `to` is ahead of that of `from`.
  std::optional<double> Offset(const std::string& from, const std::string& to) const;
  void Count(size_t part, const Json& event);

  std::vector<Part> parts_;
  std::unordered_map<std::string, std::pair<std::optional<End>, std::optional<End>>> arrows_;
  std::map<std::pair<size_t, std::string>, std::vector<double>> durations_;  // microseconds, by part and name
  std::map<std::pair<size_t, std::string>, double> began_;                   // overlapping things, by part, name and id
  double first_ = kNever, last_ = -kNever;
};

absl::Status Merger::Open(const std::string& folder) {
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    if (entry.path().extension() == ".json") parts_.push_back(Part{.path = entry.path().string(), .process = {}, .boot = {}});
  }
  if (error) return absl::NotFoundError(fmt::format("{}: folder of traces: {}", folder, error.message()));
  if (parts_.empty()) return absl::NotFoundError(fmt::format("{}: holds no trace (NAME-PID.json)", folder));
  std::sort(parts_.begin(), parts_.end(), [](const Part& a, const Part& b) { return a.path < b.path; });
  for (size_t i = 0; i < parts_.size(); ++i) {
    Part& part = parts_[i];
    absl::Status status = ReadEvents(part.path, [&](Json&& event) {
      const std::string phase = event["ph"];
      if (phase == "s" || phase == "f") AddArrow(i, event);
      if (phase != "M" || event["name"] != "process_name") return;
      part.process = event["args"]["name"];
      part.boot = event["args"]["boot"];
    });
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

void Merger::AddArrow(size_t part, const Json& event) {
  auto& [from, to] = arrows_[event["id"]];
  (event["ph"] == "s" ? from : to) = End{.part = part, .time = event["ts"]};
}

std::optional<double> Merger::Offset(const std::string& from, const std::string& to) const {
  double there = kNever, back = kNever;
  for (const auto& [id, ends] : arrows_) {
    if (!ends.first.has_value() || !ends.second.has_value()) continue;
    const std::string& begins = parts_[ends.first->part].boot;
    const std::string& arrives = parts_[ends.second->part].boot;
    const double took = ends.second->time - ends.first->time;
    if (begins == from && arrives == to) there = std::min(there, took);
    if (begins == to && arrives == from) back = std::min(back, took);
  }
  if (there == kNever || back == kNever) return std::nullopt;
  return (there - back) / 2;
}

// Machines are reached from the first one, over others that have been reached.
void Merger::Align() {
  std::map<std::string, double> offsets = {{parts_.front().boot, 0}};  // to add to a machine's times
  for (bool found = true; found;) {
    found = false;
    for (const Part& part : parts_) {
      if (offsets.contains(part.boot)) continue;
      for (const auto& [boot, offset] : offsets) {
        const std::optional<double> ahead = Offset(boot, part.boot);
        if (!ahead.has_value()) continue;
        offsets[part.boot] = offset - *ahead;
        found = true;
        break;
      }
    }
  }
  for (Part& part : parts_) {
    const auto offset = offsets.find(part.boot);
    part.aligned = offset != offsets.end();
    if (part.aligned) part.offset = offset->second;
  }
}

void Merger::Count(size_t part, const Json& event) {
  const double begin = event["ts"];
  const double duration = event.value("dur", 0.0);
  first_ = std::min(first_, begin);
  last_ = std::max(last_, begin + duration);
  const std::string phase = event["ph"];
  if (phase == "X") durations_[{part, event["name"]}].push_back(duration);
  if (phase != "b" && phase != "e") return;
  const std::string name = event["name"];
  const auto key = std::pair(part, name + event["id2"]["local"].get<std::string>());
  if (phase == "b") {
    began_[key] = begin;
  } else if (const auto began = began_.find(key); began != began_.end()) {
    durations_[{part, name}].push_back(begin - began->second);
    began_.erase(began);
  }
}

absl::Status Merger::Write(const std::string& out) {
  std::ofstream file(out, std::ios::trunc);
  file << "{\"displayTimeUnit\":\"ms\",\"traceEvents\":[";
  const char* separator = "\n";
  for (size_t i = 0; i < parts_.size(); ++i) {
    const absl::Status status = ReadEvents(parts_[i].path, [&](Json&& event) {
      event["pid"] = i + 1;  // two machines may have used one number
      if (event.contains("ts")) {
        event["ts"] = event["ts"].get<double>() + parts_[i].offset;
        Count(i, event);
      }
      file << separator << event.dump();
      separator = ",\n";
    });
    if (!status.ok()) return status;
  }
  file << "\n]}\n";
  file.close();
  if (!file) return absl::UnavailableError(fmt::format("{}: the trace cannot be written", out));
  return absl::OkStatus();
}

TraceSummary Merger::Summary() && {
  TraceSummary summary;
  for (auto& [key, durations] : durations_) {
    std::sort(durations.begin(), durations.end());
    TraceTotal total{.process = parts_[key.first].process, .name = key.second, .count = durations.size()};
    for (const double duration : durations) total.seconds += duration / 1e6;
    total.median_seconds = durations[durations.size() / 2] / 1e6;
    total.p99_seconds = durations[durations.size() * 99 / 100] / 1e6;
    summary.totals.push_back(std::move(total));
  }
  std::stable_sort(summary.totals.begin(), summary.totals.end(), [](const TraceTotal& a, const TraceTotal& b) {
    return a.process != b.process ? a.process < b.process : a.seconds > b.seconds;
  });
  for (const auto& [id, ends] : arrows_) summary.arrows += ends.first.has_value() && ends.second.has_value() ? 1 : 0;
  for (const Part& part : parts_) {
    if (!part.aligned) summary.not_aligned.push_back(part.process);
  }
  summary.seconds = last_ > first_ ? (last_ - first_) / 1e6 : 0;
  return summary;
}

}  // namespace

absl::StatusOr<TraceSummary> MergeTraces(const std::string& folder, const std::string& out) {
  Merger merger;
  try {
    if (absl::Status status = merger.Open(folder); !status.ok()) return status;
    merger.Align();
    if (absl::Status status = merger.Write(out); !status.ok()) return status;
  } catch (const nlohmann::json::exception& error) {
    return absl::DataLossError(fmt::format("{}: a field of an event is not as in a trace: {}", folder, error.what()));
  }
  return std::move(merger).Summary();
}

std::string TraceText(const TraceSummary& summary) {
  std::string text = fmt::format("{:<14} {:<16} {:>9} {:>10} {:>7} {:>11} {:>11}\n", "process", "what", "times", "seconds",
                                 "share", "median ms", "p99 ms");
  for (const TraceTotal& total : summary.totals) {
    text += fmt::format("{:<14} {:<16} {:>9} {:>10.3f} {:>6.1f}% {:>11.3f} {:>11.3f}\n", total.process, total.name, total.count,
                        total.seconds, summary.seconds > 0 ? 100 * total.seconds / summary.seconds : 0.0,
                        1e3 * total.median_seconds, 1e3 * total.p99_seconds);
  }
  text += fmt::format("{:.3f} s in all; {} messages seen by both sides\n", summary.seconds, summary.arrows);
  for (const std::string& process : summary.not_aligned) {
    text += fmt::format("{}: its clock could not be brought to the others': no messages there and back\n", process);
  }
  return text;
}

}  // namespace marquee
