#ifndef MARQUEE_COMMON_LOG_H_
#define MARQUEE_COMMON_LOG_H_

// One line per event on stderr, for people and for grep:
//
//     2026-01-31T12:00:00.123Z info worker/w0 registered scheduler=tcp://10.0.0.1:7700 view=3
//
// MARQUEE_LOG=debug|info|warning|error sets the level; the default is info. Thread-safe.

#include <fmt/format.h>

#include <initializer_list>
#include <string>
#include <string_view>

namespace marquee {

// One key=value of a line. A value with spaces, quotes or control characters is written in quotes.
struct LogField {
  template <typename T>
  LogField(std::string_view the_key, const T& the_value) : key(the_key), value(fmt::format("{}", the_value)) {}

  std::string_view key;
  std::string value;
};

// Names the process in its lines ("scheduler", "server/s0", "worker/w1"). Call once, before the first line.
void StartLog(std::string_view component);

void LogDebug(std::string_view event, std::initializer_list<LogField> fields = {});
void LogInfo(std::string_view event, std::initializer_list<LogField> fields = {});
void LogWarning(std::string_view event, std::initializer_list<LogField> fields = {});
void LogError(std::string_view event, std::initializer_list<LogField> fields = {});

// What a line says after its time: "info worker/w0 registered view=3". For tests.
std::string LogText(std::string_view level, std::string_view component, std::string_view event,
                    std::initializer_list<LogField> fields);

}  // namespace marquee

#endif  // MARQUEE_COMMON_LOG_H_
