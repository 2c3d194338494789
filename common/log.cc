#include "common/log.h"

#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <cstdlib>
#include <memory>

namespace marquee {
namespace {

constexpr char kTime[] = "%Y-%m-%dT%H:%M:%S.%eZ %v";

std::string& Component() {
  static std::string component = "marquee";
  return component;
}

spdlog::level::level_enum Level() {
  const char* const wanted = std::getenv("MARQUEE_LOG");
  if (wanted == nullptr) return spdlog::level::info;
  const auto level = spdlog::level::from_str(wanted);
  return level == spdlog::level::off ? spdlog::level::info : level;  // "off" is what it makes of unknown words
}

spdlog::logger& Logger() {
  static const std::unique_ptr<spdlog::logger> logger = [] {
    auto made = std::make_unique<spdlog::logger>("marquee", std::make_shared<spdlog::sinks::stderr_sink_mt>());
    made->set_formatter(std::make_unique<spdlog::pattern_formatter>(kTime, spdlog::pattern_time_type::utc));
    made->set_level(Level());
    return made;
  }();
  return *logger;
}

bool NeedsQuotes(std::string_view value) {
  if (value.empty()) return true;
  for (const char c : value) {
    if (c == '"' || c == '\\' || static_cast<unsigned char>(c) <= ' ') return true;
  }
  return false;
}

void AppendValue(std::string& line, std::string_view value) {
  if (!NeedsQuotes(value)) {
    line += value;
    return;
  }
  line += '"';
  for (const char c : value) {
    if (c == '"' || c == '\\') {
      (line += '\\') += c;
    } else if (c == '\n') {
      line += "\\n";
    } else if (static_cast<unsigned char>(c) < ' ') {
      line += fmt::format("\\x{:02x}", static_cast<unsigned>(c));
    } else {
      line += c;
    }
  }
  line += '"';
}

void Write(spdlog::level::level_enum level, std::string_view name, std::string_view event,
           std::initializer_list<LogField> fields) {
  if (!Logger().should_log(level)) return;
  Logger().log(level, spdlog::string_view_t(LogText(name, Component(), event, fields)));
}

}  // namespace

void StartLog(std::string_view component) { Component() = component; }

std::string LogText(std::string_view level, std::string_view component, std::string_view event,
                    std::initializer_list<LogField> fields) {
  std::string line = fmt::format("{} {} {}", level, component, event);
  for (const LogField& field : fields) {
    ((line += ' ') += field.key) += '=';
    AppendValue(line, field.value);
  }
  return line;
}

void LogDebug(std::string_view event, std::initializer_list<LogField> fields) {
  Write(spdlog::level::debug, "debug", event, fields);
}
void LogInfo(std::string_view event, std::initializer_list<LogField> fields) {
  Write(spdlog::level::info, "info", event, fields);
}
void LogWarning(std::string_view event, std::initializer_list<LogField> fields) {
  Write(spdlog::level::warn, "warning", event, fields);
}
void LogError(std::string_view event, std::initializer_list<LogField> fields) {
  Write(spdlog::level::err, "error", event, fields);
}

}  // namespace marquee
