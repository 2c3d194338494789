// The `ps` program: one server with its shards. It registers with the scheduler, which tells the shards everything else.
//
// Exit codes: 0 the sweep is over; 1 it could not run, or the scheduler was silent for too long; 2 the command line is wrong;
// 130 and 143 stopped by Ctrl-C or SIGTERM.

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/clock.h"
#include "common/cluster_config.h"
#include "common/command_line.h"
#include "common/log.h"
#include "common/metrics.h"
#include "common/program.h"
#include "common/trace.h"
#include "common/transport.h"
#include "common/transport_metrics.h"
#include "common/version.h"
#include "ps/server_link.h"
#include "ps/shard_thread.h"

namespace marquee {
namespace {

constexpr absl::Duration kLongestWait = absl::Milliseconds(200);  // a signal may come to any thread
constexpr absl::Duration kMetricsInterval = absl::Seconds(1);
constexpr absl::Duration kBetweenSweeps = absl::Seconds(10);  // until a server that stays asks whether there is a new one

constexpr const char* kExamples = R"(Example, of a cluster file with `launcher: external`:
  ps --cluster cluster.yaml --name s0

The scheduler may be started before or after; what this server keeps, and of which tables, it learns from it. SIGTERM ends it at once: with
`replication: 2` the other copies take over. Exit codes: 0 the sweep is over, 1 it could not run, 2 the command line is wrong,
143 stopped by SIGTERM. Read on: docs/configuration.md, docs/operations.md.)";

struct Flags {
  std::string cluster;
  std::string cluster_folder;
  std::string name;
  std::string scheduler;
  std::string host;
  double orphan_seconds = 60;
  bool stay = false;
  bool until_input_ends = false;
  std::string trace_folder;
};

absl::Time SteadyNow() { return absl::UnixEpoch() + absl::FromChrono(std::chrono::steady_clock::now().time_since_epoch()); }

// The shards of one incarnation of this server, and its talk with the scheduler.
class Server {
 public:
  Server(const ServerPlace& place, TransportOptions options, absl::Duration primary_lease, Metrics& metrics, TraceFile* trace)
      : place_(place),
        options_(std::move(options)),
        primary_lease_(primary_lease),
        metrics_(metrics),
        trace_(trace),
        transport_metrics_(metrics) {}

  absl::Status Start(const std::string& metrics_endpoint, const std::string& scheduler);
  // Until the program is to stop or the sweep is over (OK), the scheduler refuses this server or is silent for too long, or is
  // another cluster's.
  absl::Status Run(absl::Duration orphan_after);
  bool cluster_changed() const { return link_->cluster_changed(); }
  bool dismissed() const { return link_->dismissed(); }

 private:
  absl::Status StartShards(const Identity& self);
  ServerStatistics Statistics() const;
  std::string Missing() const;
  void UpdateMetrics(absl::Time now, absl::Time last_heard);

  const ServerPlace& place_;
  const TransportOptions options_;
  const absl::Duration primary_lease_;
  Metrics& metrics_;
  TraceFile* const trace_;  // null: nothing is traced
  TransportContext context_;
  std::vector<std::unique_ptr<ShardThread>> shards_;
  std::unique_ptr<Transport> transport_;  // to the scheduler
  std::unique_ptr<ServerLink> link_;
  TransportMetrics transport_metrics_;
  absl::Time next_update_ = absl::InfinitePast();
};

absl::Status Server::StartShards(const Identity& self) {
  ShardOptions shard_options;
  shard_options.max_reply_bytes = options_.max_message_bytes;
  shard_options.replication.lease = primary_lease_;
  for (uint32_t i = 0; i < place_.shards; ++i) {
    const uint32_t port = place_.port == 0 ? 0 : place_.port + i;
    absl::StatusOr<std::unique_ptr<ShardThread>> shard = ShardThread::Start(
        context_, self, options_, shard_options, TcpEndpoint(place_.host, static_cast<uint16_t>(port)), i, metrics_, trace_);
    if (!shard.ok()) return shard.status();
    shards_.push_back(*std::move(shard));
    LogInfo("shard listens", {{"shard", i}, {"endpoint", shards_.back()->endpoint()}});
  }
  return absl::OkStatus();
}

absl::Status Server::Start(const std::string& metrics_endpoint, const std::string& scheduler) {
  const Identity self{.name = place_.name, .incarnation = NewIncarnation()};
  if (absl::Status status = StartShards(self); !status.ok()) return status;
  absl::StatusOr<std::unique_ptr<Transport>> transport = Transport::Create(context_, self, options_);
  if (!transport.ok()) return transport.status();
  transport_ = *std::move(transport);
  ServerRegistration registration{.host = place_.host,
                                  .process_id = static_cast<uint32_t>(getpid()),
                                  .endpoints = {},
                                  .metrics_endpoint = metrics_endpoint};
  for (const auto& shard : shards_) registration.endpoints.push_back(shard->endpoint());
  link_ = std::make_unique<ServerLink>(self, std::move(registration), scheduler);
  return absl::OkStatus();
}

absl::Status Server::Run(absl::Duration orphan_after) {
  const absl::Time started = SteadyNow();
  bool registered = false;
  while (!StopRequested() && link_->status().ok() && !link_->cluster_changed() && !link_->dismissed()) {
    const absl::Duration wait = std::clamp(link_->next_timer() - SteadyNow(), absl::ZeroDuration(), kLongestWait);
    transport_->Receive(wait, [&](const Message& message) { link_->OnMessage(message, SteadyNow(), *transport_); });
    if (link_->next_timer() <= SteadyNow()) link_->SetStatistics(Statistics());
    link_->OnTimer(SteadyNow(), *transport_);
    if (link_->registered() != registered) {
      registered = link_->registered();
      LogInfo(registered ? "registered" : "the scheduler does not know this server any more: registers again");
    }
    const absl::Time last_heard = std::max(started, link_->last_heard());
    UpdateMetrics(SteadyNow(), last_heard);
    metrics_.SetMissing(Missing());
    if (SteadyNow() - last_heard > orphan_after) {
      return absl::UnavailableError(fmt::format("the scheduler has not answered for {}", absl::FormatDuration(orphan_after)));
    }
  }
  return link_->status();
}

ServerStatistics Server::Statistics() const {
  ServerStatistics sum;
  for (const auto& shard : shards_) sum += shard->statistics();
  return sum;
}

// What this server waits for before it serves rows; empty: nothing.
std::string Server::Missing() const {
  if (!link_->registered()) return "not registered with the scheduler";
  const bool views = std::all_of(shards_.begin(), shards_.end(), [](const auto& shard) { return shard->view() != 0; });
  return views ? "" : "has no view yet: the scheduler makes it when all servers are there";
}

void Server::UpdateMetrics(absl::Time now, absl::Time last_heard) {
  if (now < next_update_) return;
  next_update_ = now + kMetricsInterval;
  transport_metrics_.Update(*transport_);
  metrics_.Get(metric::kSchedulerSilence).Set(absl::ToDoubleSeconds(now - last_heard));
}

void WaitForStop(absl::Duration at_most) {
  const absl::Time end = SteadyNow() + at_most;
  while (!StopRequested() && SteadyNow() < end) absl::SleepFor(kLongestWait);
}

absl::StatusOr<ServerPlace> FindPlace(const ClusterConfig& config, const Flags& flags) {
  const ServerPlace* const named = config.server(flags.name);
  if (named == nullptr) {
    return absl::InvalidArgumentError(
        fmt::format("{}: no server of the name '{}' under cluster.servers", flags.cluster, flags.name));
  }
  ServerPlace place = *named;
  if (absl::Status status = ReplaceHost(config, flags.host, &place.host); !status.ok()) return status;
  return place;
}

absl::Status RunProgram(const Flags& flags) {
  const absl::StatusOr<ClusterConfig> config = LoadClusterConfig(flags.cluster, flags.cluster_folder);
  if (!config.ok()) return config.status();
  const absl::StatusOr<ServerPlace> place = FindPlace(*config, flags);
  if (!place.ok()) return place.status();
  const absl::StatusOr<TransportOptions> options = TransportOptionsFor(*config, PeerRole::kServer);
  if (!options.ok()) return options.status();
  LogInfo("starts", {{"version", Version()}, {"shards", place->shards}});

  Metrics metrics(kServer);
  const absl::StatusOr<std::string> metrics_endpoint = ServeMetrics(metrics, *config, place->host, place->metrics_port);
  if (!metrics_endpoint.ok()) return metrics_endpoint.status();
  const std::string scheduler =
      flags.scheduler.empty() ? TcpEndpoint(config->scheduler.host, config->scheduler.port) : flags.scheduler;

  const absl::StatusOr<std::unique_ptr<TraceFile>> trace = TraceFile::Create(flags.trace_folder, flags.name);
  if (!trace.ok()) return trace.status();
  bool between_sweeps = false;
  while (!StopRequested()) {
    Server server(*place, *options, config->primary_lease, metrics, trace->get());
    if (absl::Status status = server.Start(*metrics_endpoint, scheduler); !status.ok()) return status;
    const absl::Status status = server.Run(absl::Seconds(flags.orphan_seconds));
    if (!status.ok()) return status;
    if (server.cluster_changed()) {
      LogWarning("the scheduler is another cluster's than before: starts over, empty");
    } else if (!server.dismissed() || !flags.stay) {
      if (server.dismissed()) LogInfo("the sweep is over: ends");
      return absl::OkStatus();
    } else {
      if (!between_sweeps) LogInfo("the sweep is over: waits for another");
      WaitForStop(kBetweenSweeps);
    }
    between_sweeps = server.dismissed();
  }
  return absl::OkStatus();
}

}  // namespace
}  // namespace marquee

int main(int argc, char** argv) {
  marquee::KeepLargeBlocks();
  marquee::StopRequested();
  marquee::Flags flags;
  CLI::App app{"Serves the rows of its partitions: one server of a cluster, with one or more shards.", "ps"};
  app.footer(marquee::kExamples);
  app.add_option("--cluster", flags.cluster, "The cluster file")->required();
  app.add_option("--cluster-folder", flags.cluster_folder,
                 "What paths in the cluster file are relative to, if not its own folder");
  app.add_option("--name", flags.name, "This server's name in the cluster file (s0, s1 ... if it gives a count)")->required();
  app.add_option("--scheduler", flags.scheduler, "The scheduler's endpoint, if not the cluster file's (tcp://host:port)");
  app.add_option("--host", flags.host, "The address to listen on and to be known by, if not the cluster file's");
  app.add_option("--orphan-seconds", flags.orphan_seconds, "Ends when the scheduler is silent for so long")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  app.add_flag("--stay", flags.stay,
               "Wait, empty, for another sweep when this one is over: for a supervisor that starts again whatever ends");
  app.add_flag("--until-input-ends", flags.until_input_ends,
               "Ends when its standard input does: for whoever starts it from another machine");
  app.add_option("--trace-folder", flags.trace_folder,
                 "Write where this server's time goes into a file in this folder; `marquee trace` makes one trace of all");
  if (const std::optional<int> code = marquee::ParseCommandLine(app, argc, argv)) return *code;
  if (flags.until_input_ends) marquee::StopWhenInputEnds();
  marquee::StartLog("server/" + flags.name);
  if (const absl::Status status = marquee::RunProgram(flags); !status.ok()) return marquee::Fail("ps", status);
  return marquee::StopSignal() == 0 ? 0 : 128 + marquee::StopSignal();
}
