#ifndef MARQUEE_TESTS_CAMPAIGN_PUSH_LEDGER_H_
#define MARQUEE_TESTS_CAMPAIGN_PUSH_LEDGER_H_

// What the workers of a campaign pushed, and what was acknowledged; and whether the rows say the same.
//
// A push adds 1 to every value of a row of its own and of a few rows that it shares with others; rows begin at 0. So a push of
// its own row reads 1 if it was applied once, and a shared row the number of pushes that were applied to it. Each worker writes
// a file of lines before it sends and when it hears, which survive its kill -9:
//
//     tables SESSION OWN SHARED          numbers of the two tables
//     push SESSION SEQUENCE MICROS
//     acknowledged SESSION SEQUENCE MICROS     all up to this sequence

#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/id.h"

namespace marquee::campaign {

inline constexpr uint32_t kOwnDim = 4;
inline constexpr uint32_t kSharedDim = 16;
inline constexpr uint64_t kSharedRows = 997;

struct Push {
  uint64_t session = 0;
  uint64_t sequence = 0;
  auto operator<=>(const Push&) const = default;
};

Id OwnRow(const Push& push);
std::set<Id> SharedRowsOf(const Push& push);

struct Verdict {
  uint64_t attempted = 0;
  uint64_t acknowledged = 0;
  uint64_t lost = 0;     // acknowledged, and not there
  uint64_t doubled = 0;  // there more often than once
  uint64_t foreign = 0;  // rows with what nobody can have pushed: part of a push, or more than was attempted
  std::vector<std::string> examples;
};

class PushLedger {
 public:
  // Adds a worker's file. A last line without its end is left out: the worker was killed while it wrote it.
  absl::Status Read(const std::string& path);

  // The newest tables; those of a trial that started over are gone with all that was pushed to them.
  TableNumber own_table() const { return own_table_; }
  TableNumber shared_table() const { return shared_table_; }

  // `pull` brings the values of rows, in the order asked, ids.size() x dim.
  using Pull = std::function<absl::StatusOr<std::vector<float>>(TableNumber table, uint32_t dim, const std::vector<Id>& ids)>;
  absl::StatusOr<Verdict> Judge(const Pull& pull) const;

 private:
  absl::Status Add(const std::string& line);
  bool IsAcknowledged(const Push& push) const;
  absl::Status JudgeOwnRows(const Pull& pull, Verdict* verdict) const;
  absl::Status JudgeSharedRows(const Pull& pull, Verdict* verdict) const;

  TableNumber own_table_ = 0;
  TableNumber shared_table_ = 0;
  std::map<uint64_t, TableNumber> own_table_of_;  // by session
  std::set<Push> pushes_;
  std::map<uint64_t, uint64_t> acknowledged_;  // the highest sequence, by session
};

}  // namespace marquee::campaign

#endif  // MARQUEE_TESTS_CAMPAIGN_PUSH_LEDGER_H_
