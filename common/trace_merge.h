#ifndef MARQUEE_COMMON_TRACE_MERGE_H_
#define MARQUEE_COMMON_TRACE_MERGE_H_

// Makes one trace of the files that the processes of a run wrote (common/trace.h), for Perfetto and chrome://tracing.
//
// Machines have steady clocks of their own. Those of two machines are brought together by the messages between them, as NTP
// does (RFC 5905, section 8): of all arrows there and all arrows back, the fastest of each kind took about the same time.

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace marquee {

// Of all spans, or of all overlapping things, of one name of one process.
struct TraceTotal {
  std::string process;
  std::string name;
  uint64_t count = 0;
  double seconds = 0;
  double median_seconds = 0;
  double p99_seconds = 0;
};

struct TraceSummary {
  std::vector<TraceTotal> totals;  // by process, the largest first
  double seconds = 0;              // from the first event to the last
  uint64_t arrows = 0;             // with both ends
  std::vector<std::string>
      not_aligned;  // processes whose clock could not be brought to the first one's: no message between them
};

// Reads all files of `folder` that end in .json, and writes `out`. NotFound if there are none; DataLoss, naming file and line,
// if one is no trace. The cut-off last line of a killed process is left out.
absl::StatusOr<TraceSummary> MergeTraces(const std::string& folder, const std::string& out);

// As a table, for people.
std::string TraceText(const TraceSummary& summary);

}  // namespace marquee

#endif  // MARQUEE_COMMON_TRACE_MERGE_H_
