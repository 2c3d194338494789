#include "common/trace.h"

#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <utility>

#include "common/log.h"

namespace marquee {
namespace {

constexpr size_t kWriteBytes = 64U << 10U;
constexpr absl::Duration kWriteInterval = absl::Seconds(1);  // what a killed process loses

// Two processes with the same one are on one machine, between two starts of it, and share its steady clock.
std::string BootId() {
  std::ifstream file("/proc/sys/kernel/random/boot_id");
  std::string id;
  file >> id;
  return id;
}

double Microseconds(absl::Duration duration) { return absl::ToDoubleMicroseconds(duration); }
double Microseconds(absl::Time time) { return Microseconds(time - absl::UnixEpoch()); }

}  // namespace

std::string TraceArgument::Quoted(std::string_view text) {
  return nlohmann::json(std::string(text)).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

absl::StatusOr<std::unique_ptr<TraceFile>> TraceFile::Create(const std::string& folder, const std::string& process) {
  if (folder.empty()) return nullptr;
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) return absl::UnavailableError(fmt::format("{}: folder of the trace: {}", folder, error.message()));
  const std::string path = (std::filesystem::path(folder) / fmt::format("{}-{}.json", process, getpid())).string();
  std::FILE* const file = std::fopen(path.c_str(), "we");
  if (file == nullptr) return absl::UnavailableError(fmt::format("{}: trace: {}", path, std::strerror(errno)));
  std::unique_ptr<TraceFile> trace(new TraceFile(path, file));
  trace->Write(fmt::format("[\n{{\"ph\":\"M\",\"name\":\"process_name\",\"pid\":{},\"args\":{{\"name\":{},\"boot\":\"{}\"}}}}",
                           trace->process_id_, TraceArgument::Quoted(process), BootId()));
  return trace;
}

TraceFile::TraceFile(std::string path, std::FILE* file) : path_(std::move(path)), process_id_(getpid()), file_(file) {}

TraceFile::~TraceFile() {
  if (events_ > kMaxEvents) {
    LogWarning("the trace is full: later events are not in it", {{"file", path_}, {"left_out", events_ - kMaxEvents}});
    Write(fmt::format(
        ",\n{{\"ph\":\"M\",\"name\":\"process_labels\",\"pid\":{},\"args\":{{\"labels\":\"{} later events left out\"}}}}",
        process_id_, events_ - kMaxEvents));
  }
  Write("\n]\n");
  if (file_ != nullptr) std::fclose(file_);
}

TraceTrack TraceFile::AddTrack(std::string_view name) {
  int number = 0;
  {
    const std::lock_guard lock(mutex_);
    number = ++tracks_;
  }
  Write(fmt::format(",\n{{\"ph\":\"M\",\"name\":\"thread_name\",\"pid\":{},\"tid\":{},\"args\":{{\"name\":{}}}}}", process_id_,
                    number, TraceArgument::Quoted(name)));
  return TraceTrack(*this, number);
}

void TraceFile::Write(std::string_view lines) {
  const std::lock_guard lock(mutex_);
  if (file_ == nullptr) return;
  if (std::fwrite(lines.data(), 1, lines.size(), file_) == lines.size() && std::fflush(file_) == 0) return;
  LogWarning("the trace ends here: its file cannot be written", {{"file", path_}, {"error", std::strerror(errno)}});
  std::fclose(file_);
  file_ = nullptr;
}

TraceTrack::TraceTrack(TraceTrack&& other) noexcept
    : file_(std::exchange(other.file_, nullptr)),
      number_(other.number_),
      lines_(std::move(other.lines_)),
      written_(other.written_) {}

TraceTrack::~TraceTrack() {
  if (file_ != nullptr) file_->Write(lines_);
}

void TraceTrack::Span(std::string_view name, absl::Time begin, absl::Time end, TraceArguments arguments) {
  Add(fmt::format(R"("ph":"X","name":"{}","ts":{:.3f},"dur":{:.3f})", name, Microseconds(begin), Microseconds(end - begin)),
      arguments, end);
}

void TraceTrack::Overlapping(std::string_view name, std::string_view id, absl::Time begin, absl::Time end,
                             TraceArguments arguments) {
  const std::string what = fmt::format(R"("cat":"{0}","name":"{0}","id2":{{"local":"{1}"}})", name, id);
  Add(fmt::format(R"("ph":"b",{},"ts":{:.3f})", what, Microseconds(begin)), arguments, end);
  Add(fmt::format(R"("ph":"e",{},"ts":{:.3f})", what, Microseconds(end)), {}, end);
}

void TraceTrack::ArrowFrom(std::string_view id, absl::Time time) {
  Add(fmt::format(R"("ph":"s","cat":"request","name":"request","id":"{}","ts":{:.3f})", id, Microseconds(time)), {}, time);
}

void TraceTrack::ArrowTo(std::string_view id, absl::Time time) {
  Add(fmt::format(R"("ph":"f","bp":"e","cat":"request","name":"request","id":"{}","ts":{:.3f})", id, Microseconds(time)), {},
      time);
}

void TraceTrack::Add(std::string_view event, TraceArguments arguments, absl::Time now) {
  if (file_->events_.fetch_add(1, std::memory_order_relaxed) >= TraceFile::kMaxEvents) return;
  const auto out = std::back_inserter(lines_);
  fmt::format_to(out, ",\n{{{},\"pid\":{},\"tid\":{}", event, file_->process_id_, number_);
  if (arguments.size() > 0) {
    lines_ += ",\"args\":{";
    for (const TraceArgument& argument : arguments) {
      fmt::format_to(out, "{}\"{}\":{}", &argument == arguments.begin() ? "" : ",", argument.key, argument.json);
    }
    lines_ += '}';
  }
  lines_ += '}';
  if (lines_.size() < kWriteBytes && now - written_ < kWriteInterval) return;
  file_->Write(lines_);
  lines_.clear();
  written_ = now;
}

}  // namespace marquee
