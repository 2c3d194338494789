#include "common/metrics.h"

#include <fmt/format.h>
#include <prometheus/family.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <cstdlib>
#include <map>
#include <mutex>
#include <utility>

#include "absl/status/status.h"
#include "common/memory_limit.h"
#include "common/process_metrics.h"
#include "common/version.h"
#include "common/web_server.h"

namespace marquee {
namespace {

std::vector<double> Bounds(Buckets buckets) {
  switch (buckets) {
    case Buckets::kNone:
      return {};
    case Buckets::kMessageSeconds:
      return {1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 5e-2, 0.1, 0.25, 0.5, 1, 2.5, 5, 10};
    case Buckets::kStepSeconds:
      return {1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 5e-2, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60};
    case Buckets::kSteps:
      return {0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024};
  }
  return {};
}

std::string_view ProgramName(Program program) {
  switch (program) {
    case kScheduler:
      return "scheduler";
    case kServer:
      return "server";
    case kWorker:
      return "worker";
    case kServe:
      return "serve";
  }
  return "";
}

[[noreturn]] void Bug(const MetricInfo& info, std::string_view what) {
  fmt::print(stderr, "bug: metric {}: {}\n", info.name, what);
  std::abort();
}

prometheus::Labels NamedLabels(const MetricInfo& info, const Metrics::Labels& values) {
  prometheus::Labels named;
  size_t names = 0;
  for (const MetricLabel& label : info.labels) {
    if (label.name.empty()) continue;
    if (names < values.size()) named.emplace(label.name, values[names]);
    ++names;
  }
  if (names != values.size()) Bug(info, fmt::format("has {} labels, not {}", names, values.size()));
  return named;
}

// Every combination of the labels' known values; none if a label's values are not known beforehand.
std::vector<Metrics::Labels> KnownLabels(const MetricInfo& info) {
  std::vector<Metrics::Labels> all = {{}};
  for (const MetricLabel& label : info.labels) {
    if (label.name.empty()) continue;
    std::vector<Metrics::Labels> longer;
    for (const Metrics::Labels& shorter : all) {
      for (const std::string& value : label.known_values()) {
        longer.push_back(shorter);
        longer.back().push_back(value);
      }
    }
    all = std::move(longer);
  }
  return all;
}

// The families of one type of metric, by their place in the catalogue.
template <typename T>
class Families {
 public:
  void Add(const MetricInfo& info, prometheus::Registry& registry) {
    auto builder = prometheus::detail::Builder<T>();
    families_[&info] = &builder.Name(std::string(info.name)).Help(std::string(info.help)).Register(registry);
  }

  T& Get(const MetricInfo& info, const Metrics::Labels& labels) {
    if constexpr (std::is_same_v<T, prometheus::Histogram>) {
      return Family(info).Add(NamedLabels(info, labels), Bounds(info.buckets));
    } else {
      return Family(info).Add(NamedLabels(info, labels));
    }
  }

  void Remove(const MetricInfo& info, const Metrics::Labels& labels) {
    if (Family(info).Has(NamedLabels(info, labels))) Family(info).Remove(&Get(info, labels));
  }

 private:
  prometheus::Family<T>& Family(const MetricInfo& info) {
    const auto found = families_.find(&info);
    if (found == families_.end()) Bug(info, "is not one of this program");
    return *found->second;
  }

  std::map<const MetricInfo*, prometheus::Family<T>*> families_;  // not changed after the constructor of Metrics
};

// How many pages may be asked for at once. The server's threads have the system's usual stacks: those of prometheus-cpp's own
// server are too small for a process with LibTorch's thread-local data, and cannot be started there.
constexpr size_t kServingThreads = 2;

}  // namespace

struct Metrics::State {
  void Add(const MetricInfo& info);

  std::shared_ptr<prometheus::Registry> registry = std::make_shared<prometheus::Registry>();
  std::shared_ptr<ProcessMetrics> process = std::make_shared<ProcessMetrics>();
  Families<prometheus::Counter> counters;
  Families<prometheus::Gauge> gauges;
  Families<prometheus::Histogram> histograms;
  std::mutex mutex;
  std::string missing = "starts";     // under mutex
  std::unique_ptr<WebServer> server;  // the last member: its threads use the others
};

void Metrics::State::Add(const MetricInfo& info) {
  const auto add = [&](auto& families) {
    families.Add(info, *registry);
    for (const Labels& labels : KnownLabels(info)) families.Get(info, labels);
  };
  switch (info.type) {
    case MetricType::kCounter:
      return add(counters);
    case MetricType::kGauge:
      return add(gauges);
    case MetricType::kHistogram:
      return add(histograms);
  }
}

Metrics::Metrics(Program program) : state_(std::make_unique<State>()) {
  for (const MetricInfo* info : MetricCatalogue()) {
    if ((info->programs & program) != 0 && !ProcessMetrics::Has(*info)) state_->Add(*info);
  }
  Get(metric::kBuildInfo, {std::string(ProgramName(program)), std::string(Version())}).Set(1);
  Get(metric::kMemoryLimit).Set(static_cast<double>(MemoryLimitBytes()));
}

Metrics::~Metrics() = default;

prometheus::Counter& Metrics::Get(const CounterInfo& info, const Labels& labels) { return state_->counters.Get(info, labels); }
prometheus::Gauge& Metrics::Get(const GaugeInfo& info, const Labels& labels) { return state_->gauges.Get(info, labels); }
prometheus::Histogram& Metrics::Get(const HistogramInfo& info, const Labels& labels) {
  return state_->histograms.Get(info, labels);
}

void Metrics::Remove(const CounterInfo& info, const Labels& labels) { state_->counters.Remove(info, labels); }
void Metrics::Remove(const GaugeInfo& info, const Labels& labels) { state_->gauges.Remove(info, labels); }
void Metrics::Remove(const HistogramInfo& info, const Labels& labels) { state_->histograms.Remove(info, labels); }

absl::StatusOr<std::string> Metrics::Serve(const std::string& host, uint16_t port) {
  if (state_->server != nullptr) return absl::FailedPreconditionError("metrics are served already");
  auto server = std::make_unique<WebServer>(kServingThreads);
  server->Get("/metrics", [this](const WebRequest&) {
    return WebResponse{.body = Text(), .type = "text/plain; version=0.0.4; charset=utf-8"};
  });
  server->Get("/healthz", [](const WebRequest&) { return HealthResponse(); });
  server->Get("/readyz", [state = state_.get()](const WebRequest&) {
    const std::lock_guard<std::mutex> lock(state->mutex);
    return ReadinessResponse(state->missing);
  });
  absl::StatusOr<std::string> endpoint = server->Start(host, port);
  if (!endpoint.ok()) {
    return absl::Status(endpoint.status().code(), fmt::format("metrics: {}", std::string(endpoint.status().message())));
  }
  state_->server = std::move(server);
  return endpoint;
}

void Metrics::SetMissing(std::string_view missing) {
  const std::lock_guard<std::mutex> lock(state_->mutex);
  state_->missing = missing;
}

std::string Metrics::Text() const {
  std::vector<prometheus::MetricFamily> families = state_->registry->Collect();
  for (prometheus::MetricFamily& family : state_->process->Collect()) families.push_back(std::move(family));
  return prometheus::TextSerializer().Serialize(families);
}

}  // namespace marquee
