#ifndef MARQUEE_COMMON_TRACE_H_
#define MARQUEE_COMMON_TRACE_H_

// Records where the time of one process goes, in a file of its own, in Chrome's Trace Event Format (its "JSON Array Format": an
// event per line, so that the file of a killed process can be read up to its last line). common/trace_merge.h makes one trace
// of the files of a run; Perfetto and chrome://tracing open either.
//
//     auto trace = TraceFile::Create("trace", "s0");
//     TraceTrack track = (*trace)->AddTrack("shard 0");
//     track.Span("apply", begin, end, {{"rows", 4096}});
//
// Times are those of the steady clock (CLOCK_MONOTONIC), which all processes of one machine share.

#include <fmt/format.h>

#include <atomic>
#include <cstdint>
#include <cstdio>
#include <initializer_list>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <type_traits>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace marquee {

// What is shown of an event when it is selected.
struct TraceArgument {
  template <typename T>
  TraceArgument(std::string_view the_key, const T& the_value) : key(the_key) {
    if constexpr (std::is_arithmetic_v<T>) {
      json = fmt::format("{}", the_value);
    } else {
      json = Quoted(the_value);
    }
  }
  static std::string Quoted(std::string_view text);

  std::string_view key;
  std::string json;
};
using TraceArguments = std::initializer_list<TraceArgument>;

class TraceTrack;

// Thread-safe. Must outlive its tracks.
class TraceFile {
 public:
  // In `folder`, which is made if it is not there; each start of a process has a file of its own. `process` is its name in the
  // trace. Null if the folder's name is empty.
  static absl::StatusOr<std::unique_ptr<TraceFile>> Create(const std::string& folder, const std::string& process);
  ~TraceFile();
  TraceFile(const TraceFile&) = delete;
  TraceFile& operator=(const TraceFile&) = delete;

  // One row of the picture: what one thread does, or one kind of thing that goes on beside it.
  TraceTrack AddTrack(std::string_view name);

 private:
  friend class TraceTrack;
  TraceFile(std::string path, std::FILE* file);
  void Write(std::string_view lines);

  // A run that goes on for days must not fill the disk: what comes after is left out, and the file's last line says how much.
  static constexpr uint64_t kMaxEvents = 4'000'000;

  const std::string path_;
  const int process_id_;
  std::mutex mutex_;
  std::FILE* file_;  // under mutex_; null once writing has failed
  int tracks_ = 0;   // under mutex_
  std::atomic<uint64_t> events_{0};
};

// Belongs to one thread at a time.
class TraceTrack {
 public:
  TraceTrack(TraceTrack&& other) noexcept;
  TraceTrack& operator=(TraceTrack&&) = delete;
  ~TraceTrack();

  // Something that the track's thread did. Spans of a track lie within each other or apart.
  void Span(std::string_view name, absl::Time begin, absl::Time end, TraceArguments arguments = {});
  // Something that went on while the thread did other things, for example a request. `id` tells apart those of one name.
  void Overlapping(std::string_view name, std::string_view id, absl::Time begin, absl::Time end, TraceArguments arguments = {});
  // An arrow between the spans, of any process, that are there at these times: `id` is that of exactly one of each.
  void ArrowFrom(std::string_view id, absl::Time time);
  void ArrowTo(std::string_view id, absl::Time time);

 private:
  friend class TraceFile;
  TraceTrack(TraceFile& file, int number) : file_(&file), number_(number) {}
  void Add(std::string_view event, TraceArguments arguments, absl::Time now);

  TraceFile* file_;  // null: moved from
  int number_;
  std::string lines_;  // not yet written
  absl::Time written_ = absl::InfinitePast();
};

}  // namespace marquee

#endif  // MARQUEE_COMMON_TRACE_H_
