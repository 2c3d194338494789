// The `worker` program: computes gradients and evaluates, as the scheduler says.
//
// Exit codes: 0 the sweep is over; 1 it could not run, or the scheduler was silent for too long; 2 the command line is wrong;
// 130 and 143 stopped by Ctrl-C or SIGTERM.

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <optional>
#include <string>

#include "common/cluster_config.h"
#include "common/command_line.h"
#include "common/log.h"
#include "common/metrics.h"
#include "common/program.h"
#include "common/trace.h"
#include "common/transport.h"
#include "common/version.h"
#include "dataset/dataset.h"
#include "worker/client/driver.h"
#include "worker/client/keep_alive.h"
#include "worker/models/compute_device.h"
#include "worker/trial_runner.h"
#include "worker/worker_metrics.h"

namespace marquee {
namespace {

constexpr absl::Duration kPullDeadline = absl::Minutes(10);  // longer than a lost server takes to come back

constexpr const char* kExamples = R"(Example, of a cluster file with `launcher: external`:
  worker --cluster cluster.yaml --name w0 --data ml-1m.mq

The data file must be the scheduler's, byte for byte. Workers may come and go at any time: what one had not finished, another does. Exit codes:
0 the sweep is over, 1 it could not run, 2 the command line is wrong, 143 stopped by SIGTERM.
Read on: docs/configuration.md, docs/operations.md.)";

struct Flags {
  std::string cluster;
  std::string cluster_folder;
  std::string name;
  std::string scheduler;
  std::string data;
  std::string host;
  double orphan_seconds = 60;
  bool until_input_ends = false;
  std::string trace_folder;
};

absl::StatusOr<WorkerPlace> FindPlace(const ClusterConfig& config, const Flags& flags) {
  const WorkerPlace* const named = config.worker(flags.name);
  if (named == nullptr) {
    return absl::InvalidArgumentError(
        fmt::format("{}: no worker of the name '{}' under cluster.workers", flags.cluster, flags.name));
  }
  WorkerPlace place = *named;
  if (absl::Status status = ReplaceHost(config, flags.host, &place.host); !status.ok()) return status;
  return place;
}

absl::Status RunWorker(const Flags& flags) {
  const absl::StatusOr<ClusterConfig> config = LoadClusterConfig(flags.cluster, flags.cluster_folder);
  if (!config.ok()) return config.status();
  const absl::StatusOr<WorkerPlace> place = FindPlace(*config, flags);
  if (!place.ok()) return place.status();
  const std::string data_file = flags.data.empty() ? config->data_file : flags.data;
  if (data_file.empty()) {
    return absl::InvalidArgumentError(fmt::format("{}: names no data file; give one with --data", flags.cluster));
  }
  const absl::StatusOr<std::shared_ptr<const Dataset>> data = Dataset::Open(data_file);
  if (!data.ok()) return data.status();

  SetComputeThreads(place->threads);
  const double gigaflops = MeasureGigaflops();
  LogInfo("starts", {{"version", Version()}, {"threads", place->threads}, {"gflops", fmt::format("{:.0f}", gigaflops)}});
  if (gigaflops < kSuspiciousGigaflops) {
    LogWarning("matrix products are very slow: is OpenBLAS installed, and libblas.so.3 pointing to it?",
               {{"gflops", fmt::format("{:.1f}", gigaflops)}});
  }

  Metrics metrics(kWorker);
  const absl::StatusOr<std::string> metrics_endpoint = ServeMetrics(metrics, *config, place->host, place->metrics_port);
  if (!metrics_endpoint.ok()) return metrics_endpoint.status();

  const absl::StatusOr<TransportOptions> options = TransportOptionsFor(*config, PeerRole::kWorker);
  if (!options.ok()) return options.status();
  TransportContext transport_context;
  const Identity self{.name = flags.name, .incarnation = NewIncarnation()};
  absl::StatusOr<std::unique_ptr<Transport>> transport = Transport::Create(transport_context, self, *options);
  if (!transport.ok()) return transport.status();

  const absl::StatusOr<std::unique_ptr<TraceFile>> trace = TraceFile::Create(flags.trace_folder, flags.name);
  if (!trace.ok()) return trace.status();
  std::optional<TraceTrack> steps;
  if (*trace != nullptr) steps.emplace((*trace)->AddTrack("steps"));

  const std::string scheduler =
      flags.scheduler.empty() ? TcpEndpoint(config->scheduler.host, config->scheduler.port) : flags.scheduler;
  Driver driver(**transport, self,
                ClientOptions{.pull_deadline = kPullDeadline, .max_message_bytes = config->max_message_bytes / 4},
                Registration{.host = place->host,
                             .process_id = static_cast<uint32_t>(getpid()),
                             .metrics_endpoint = *metrics_endpoint,
                             .data_checksum = (*data)->checksum()},
                scheduler, trace->get());
  KeepAlive keep_alive(driver, config->longest_step);
  WorkerMetrics worker_metrics(metrics, **transport);
  WorkerContext context{.driver = driver,
                        .keep_alive = keep_alive,
                        .data = **data,
                        .metrics = worker_metrics,
                        .trace = steps.has_value() ? &*steps : nullptr,
                        .device = place->device,
                        .orphan_after = absl::Seconds(flags.orphan_seconds),
                        .started = Driver::now(),
                        .stop = StopRequested()};
  return TrialRunner(context).Run();
}

}  // namespace
}  // namespace marquee

int main(int argc, char** argv) {
  marquee::KeepLargeBlocks();
  marquee::StopRequested();
  marquee::Flags flags;
  CLI::App app{"Trains and evaluates what the scheduler gives it, with the rows of the parameter servers.", "worker"};
  app.footer(marquee::kExamples);
  app.add_option("--cluster", flags.cluster, "The cluster file")->required();
  app.add_option("--cluster-folder", flags.cluster_folder,
                 "What paths in the cluster file are relative to, if not its own folder");
  app.add_option("--name", flags.name, "This worker's name in the cluster file (w0, w1 ... if it gives a count)")->required();
  app.add_option("--scheduler", flags.scheduler, "The scheduler's endpoint, if not the cluster file's (tcp://host:port)");
  app.add_option("--data", flags.data, "The data file, if not the cluster file's");
  app.add_option("--host", flags.host, "The address to listen on and to be known by, if not the cluster file's");
  app.add_option("--orphan-seconds", flags.orphan_seconds, "Ends when the scheduler is silent for so long")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  app.add_flag("--until-input-ends", flags.until_input_ends,
               "Ends when its standard input does: for whoever starts it from another machine");
  app.add_option("--trace-folder", flags.trace_folder,
                 "Write where this worker's time goes into a file in this folder; `marquee trace` makes one trace of all");
  if (const std::optional<int> code = marquee::ParseCommandLine(app, argc, argv)) return *code;
  if (flags.until_input_ends) marquee::StopWhenInputEnds();
  marquee::StartLog("worker/" + flags.name);
  if (const absl::Status status = marquee::RunWorker(flags); !status.ok()) return marquee::Fail("worker", status);
  return marquee::StopSignal() == 0 ? 0 : 128 + marquee::StopSignal();
}
