#include "common/process_metrics.h"

#include <prometheus/client_metric.h>
#include <prometheus/metric_family.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>
#include <system_error>

namespace marquee {
namespace {

// Fields of /proc/self/stat that are of use, in proc(5)'s numbering, after the process's name (field 2, which may hold spaces).
struct ProcStat {
  double user_ticks = 0;      // 14
  double system_ticks = 0;    // 15
  double start_ticks = 0;     // 22, since boot
  double virtual_bytes = 0;   // 23
  double resident_pages = 0;  // 24
};

ProcStat ReadStat() {
  std::ifstream file("/proc/self/stat");
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  std::istringstream fields(text.substr(text.rfind(')') + 1));
  ProcStat stat;
  std::string field;
  for (int number = 3; number <= 24 && fields >> field; ++number) {
    if (number == 14) stat.user_ticks = std::stod(field);
    if (number == 15) stat.system_ticks = std::stod(field);
    if (number == 22) stat.start_ticks = std::stod(field);
    if (number == 23) stat.virtual_bytes = std::stod(field);
    if (number == 24) stat.resident_pages = std::stod(field);
  }
  return stat;
}

// Unix time at which the machine started.
double BootSeconds() {
  std::ifstream file("/proc/stat");
  std::string word;
  double seconds = 0;
  while (file >> word) {
    if (word == "btime" && file >> seconds) break;
  }
  return seconds;
}

double OpenFiles() {
  std::error_code error;
  const std::filesystem::directory_iterator files("/proc/self/fd", error);
  return error ? 0 : static_cast<double>(std::distance(begin(files), end(files)));
}

prometheus::MetricFamily Family(const MetricInfo& info, double value) {
  prometheus::ClientMetric metric;
  const bool counter = info.type == MetricType::kCounter;
  (counter ? metric.counter.value : metric.gauge.value) = value;
  return {std::string(info.name),
          std::string(info.help),
          counter ? prometheus::MetricType::Counter : prometheus::MetricType::Gauge,
          {metric}};
}

}  // namespace

bool ProcessMetrics::Has(const MetricInfo& info) { return info.name.substr(0, 8) == "process_"; }

std::vector<prometheus::MetricFamily> ProcessMetrics::Collect() const {
  const ProcStat stat = ReadStat();
  const auto ticks_per_second = static_cast<double>(sysconf(_SC_CLK_TCK));
  const auto page_bytes = static_cast<double>(sysconf(_SC_PAGESIZE));
  return {Family(metric::kProcessCpu, (stat.user_ticks + stat.system_ticks) / ticks_per_second),
          Family(metric::kProcessResident, stat.resident_pages * page_bytes),
          Family(metric::kProcessVirtual, stat.virtual_bytes), Family(metric::kProcessFiles, OpenFiles()),
          Family(metric::kProcessStart, BootSeconds() + stat.start_ticks / ticks_per_second)};
}

}  // namespace marquee
