#include "tests/campaign/push_ledger.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <sstream>

namespace marquee::campaign {
namespace {

constexpr size_t kRowsPerPull = 2000;
constexpr size_t kMostExamples = 10;
constexpr uint64_t kSharedRowsOfAPush = 6;

void Note(std::string what, Verdict* verdict) {
  if (verdict->examples.size() < kMostExamples) verdict->examples.push_back(std::move(what));
}

// The value that all columns have; -1 if they differ or hold no count.
double CountIn(const float* values, uint32_t dim) {
  const bool equal = std::all_of(values, values + dim, [&](float value) { return value == values[0]; });
  return equal && values[0] >= 0 && values[0] == static_cast<float>(static_cast<uint64_t>(values[0])) ? values[0] : -1;
}

}  // namespace

Id OwnRow(const Push& push) { return MixId(push.session << 40U ^ push.sequence); }

std::set<Id> SharedRowsOf(const Push& push) {
  std::set<Id> rows;
  for (uint64_t i = 0; i < kSharedRowsOfAPush; ++i) rows.insert(MixId(MixId(OwnRow(push) + i) % kSharedRows));
  return rows;
}

absl::Status PushLedger::Read(const std::string& path) {
  std::ifstream file(path);
  if (!file) return absl::NotFoundError(fmt::format("{}: cannot be read", path));
  std::string line;
  uint64_t number = 0;
  while (std::getline(file, line)) {
    ++number;
    if (file.eof()) break;
    if (absl::Status status = Add(line); !status.ok()) {
      return absl::DataLossError(fmt::format("{}:{}: '{}': {}", path, number, line, std::string(status.message())));
    }
  }
  return absl::OkStatus();
}

absl::Status PushLedger::Add(const std::string& line) {
  std::istringstream words(line);
  std::string kind;
  uint64_t session = 0;
  uint64_t one = 0;
  uint64_t other = 0;
  if (!(words >> kind >> session >> one >> other)) return absl::InvalidArgumentError("must be a word and three numbers");
  if (kind == "push") {
    pushes_.insert({session, one});
  } else if (kind == "acknowledged") {
    uint64_t& highest = acknowledged_[session];
    highest = std::max(highest, one);
  } else if (kind == "tables") {
    own_table_of_[session] = static_cast<TableNumber>(one);
    if (one > own_table_) {
      own_table_ = static_cast<TableNumber>(one);
      shared_table_ = static_cast<TableNumber>(other);
    }
  } else {
    return absl::InvalidArgumentError("must begin with tables, push or acknowledged");
  }
  return absl::OkStatus();
}

bool PushLedger::IsAcknowledged(const Push& push) const {
  const auto highest = acknowledged_.find(push.session);
  return highest != acknowledged_.end() && push.sequence <= highest->second;
}

absl::StatusOr<Verdict> PushLedger::Judge(const Pull& pull) const {
  Verdict verdict;
  verdict.attempted = pushes_.size();
  if (absl::Status status = JudgeOwnRows(pull, &verdict); !status.ok()) return status;
  if (absl::Status status = JudgeSharedRows(pull, &verdict); !status.ok()) return status;
  return verdict;
}

absl::Status PushLedger::JudgeOwnRows(const Pull& pull, Verdict* verdict) const {
  const std::vector<Push> pushes(pushes_.begin(), pushes_.end());
  for (size_t begin = 0; begin < pushes.size(); begin += kRowsPerPull) {
    const size_t end = std::min(begin + kRowsPerPull, pushes.size());
    std::vector<Id> ids;
    for (size_t i = begin; i < end; ++i) ids.push_back(OwnRow(pushes[i]));
    const absl::StatusOr<std::vector<float>> values = pull(own_table_, kOwnDim, ids);
    if (!values.ok()) return values.status();
    for (size_t i = begin; i < end; ++i) {
      const Push& push = pushes[i];
      const bool acknowledged = IsAcknowledged(push);
      verdict->acknowledged += acknowledged ? 1 : 0;
      const auto table = own_table_of_.find(push.session);
      // What was pushed to tables of a trial that started over is in no row any more.
      const bool gone = table == own_table_of_.end() || table->second != own_table_;
      const double count = gone ? 0 : CountIn(&(*values)[(i - begin) * kOwnDim], kOwnDim);
      if (count == 0 && acknowledged) ++verdict->lost;
      if (count > 1) ++verdict->doubled;
      if (count < 0) ++verdict->foreign;
      if ((count == 0 && acknowledged) || count > 1 || count < 0) {
        Note(fmt::format("push {} of session {}, {}acknowledged, reads {}{}", push.sequence, push.session,
                         acknowledged ? "" : "not ", count, gone ? ": its tables are gone" : ""),
             verdict);
      }
    }
  }
  return absl::OkStatus();
}

absl::Status PushLedger::JudgeSharedRows(const Pull& pull, Verdict* verdict) const {
  struct Range {
    uint64_t acknowledged = 0;
    uint64_t attempted = 0;
  };
  std::map<Id, Range> ranges;
  for (const Push& push : pushes_) {
    const auto table = own_table_of_.find(push.session);
    if (table == own_table_of_.end() || table->second != own_table_) continue;
    for (const Id id : SharedRowsOf(push)) {
      ++ranges[id].attempted;
      ranges[id].acknowledged += IsAcknowledged(push) ? 1 : 0;
    }
  }
  std::vector<Id> ids;
  for (const auto& [id, range] : ranges) ids.push_back(id);
  const absl::StatusOr<std::vector<float>> values = pull(shared_table_, kSharedDim, ids);
  if (!values.ok()) return values.status();
  for (size_t i = 0; i < ids.size(); ++i) {
    const double count = CountIn(&(*values)[i * kSharedDim], kSharedDim);
    const Range& range = ranges[ids[i]];
    if (count >= 0 && count < static_cast<double>(range.acknowledged)) ++verdict->lost;
    if (count > static_cast<double>(range.attempted)) ++verdict->doubled;
    if (count < 0) ++verdict->foreign;
    if (count < static_cast<double>(range.acknowledged) || count > static_cast<double>(range.attempted)) {
      Note(fmt::format("shared row {:x} reads {}; {} pushes were acknowledged, {} attempted", ids[i], count, range.acknowledged,
                       range.attempted),
           verdict);
    }
  }
  return absl::OkStatus();
}

}  // namespace marquee::campaign
