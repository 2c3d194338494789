// The `campaign_worker` program: a worker that keeps a ledger (tests/campaign/ledger_worker.h); with --judge, who compares the
// ledgers of all workers with the rows and prints the verdict as JSON. SIGUSR1: begins no push any more; SIGUSR2: goes on.

#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <atomic>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "common/cluster_config.h"
#include "common/log.h"
#include "common/program.h"
#include "dataset/dataset.h"
#include "tests/campaign/ledger_worker.h"
#include "tests/campaign/push_ledger.h"

namespace marquee::campaign {
namespace {

constexpr absl::Duration kPatience = absl::Seconds(60);

struct Flags {
  std::string cluster;
  std::string name;
  std::string data;
  std::string ledger;
  std::vector<std::string> judge;
};

std::atomic<bool> hold = false;

absl::Status RunWorker(const Flags& flags) {
  const absl::StatusOr<ClusterConfig> config = LoadClusterConfig(flags.cluster);
  if (!config.ok()) return config.status();
  const WorkerPlace* const place = config->worker(flags.name);
  if (place == nullptr) return absl::InvalidArgumentError(fmt::format("{}: no worker '{}'", flags.cluster, flags.name));
  const absl::StatusOr<std::shared_ptr<const Dataset>> data = Dataset::Open(flags.data);
  if (!data.ok()) return data.status();
  const absl::StatusOr<TransportOptions> options = TransportOptionsFor(*config, PeerRole::kWorker);
  if (!options.ok()) return options.status();
  TransportContext context;
  const Identity self{.name = flags.name, .incarnation = NewIncarnation()};
  const auto transport = Transport::Create(context, self, *options);
  if (!transport.ok()) return transport.status();
  Driver driver(**transport, self, ClientOptions{.resend_after = absl::Milliseconds(300)},
                Registration{.host = place->host,
                             .process_id = static_cast<uint32_t>(getpid()),
                             .metrics_endpoint = "",
                             .data_checksum = (*data)->checksum()},
                TcpEndpoint(config->scheduler.host, config->scheduler.port));
  LedgerWorker worker(driver);
  if (absl::Status status = worker.OpenLedger(flags.ledger); !status.ok()) return status;
  return worker.Run(StopRequested(), hold);
}

// Rows are read as a tool does: with the scheduler's view, from the shards.
class Reader {
 public:
  absl::Status Connect(const Flags& flags);
  absl::StatusOr<std::vector<float>> Pull(TableNumber table, uint32_t dim, const std::vector<Id>& ids);

 private:
  absl::Status FetchView();
  void Receive();

  const Identity self_{.name = "judge", .incarnation = NewIncarnation()};
  Peer scheduler_;
  TransportContext context_;
  std::unique_ptr<Transport> transport_;
  std::optional<Client> client_;
  View view_;
  uint64_t requests_ = 0;
};

absl::Status Reader::Connect(const Flags& flags) {
  const absl::StatusOr<ClusterConfig> config = LoadClusterConfig(flags.cluster);
  if (!config.ok()) return config.status();
  absl::StatusOr<TransportOptions> options = TransportOptionsFor(*config, PeerRole::kTool);
  if (!options.ok()) return options.status();
  auto transport = Transport::Create(context_, self_, *options);
  if (!transport.ok()) return transport.status();
  transport_ = *std::move(transport);
  scheduler_ = TcpEndpoint(config->scheduler.host, config->scheduler.port);
  client_.emplace(self_, ClientOptions{.resend_after = absl::Milliseconds(300), .pull_deadline = kPatience});
  return FetchView();
}

void Reader::Receive() {
  transport_->Receive(absl::Milliseconds(20), [&](const Message& message) {
    if (message.from() != scheduler_) return client_->OnMessage(message, Driver::now(), *transport_);
    const auto body = message.envelope().getBody();
    if (!body.isView()) return;
    if (absl::StatusOr<View> view = View::FromWire(body.getView()); view.ok()) view_ = *std::move(view);
  });
  client_->OnTimer(Driver::now(), *transport_);
}

absl::Status Reader::FetchView() {
  const uint64_t wanted = std::max<uint64_t>(1, client_->wanted_view());
  const absl::Time deadline = Driver::now() + kPatience;
  absl::Time again = absl::InfinitePast();
  while (view_.number < wanted) {
    const absl::Time now = Driver::now();
    if (now > deadline) return absl::DeadlineExceededError("the scheduler gives no view");
    if (now > again) {
      again = now + absl::Milliseconds(300);
      OutgoingMessagePtr ask = NewRequest(self_, view_.number, ++requests_, absl::ZeroDuration());
      ask->envelope().getBody().setGetView();
      transport_->Send(scheduler_, std::move(ask));
    }
    Receive();
  }
  client_->SetView(view_, Driver::now(), *transport_);
  return absl::OkStatus();
}

absl::StatusOr<std::vector<float>> Reader::Pull(TableNumber table, uint32_t dim, const std::vector<Id>& ids) {
  std::vector<float> values(ids.size() * dim);
  const PullTable part{.table = table, .dim = dim, .ids = ids, .values = values.data()};
  const auto pull = client_->StartPull({&part, 1}, Driver::now(), *transport_);
  if (!pull.ok()) return pull.status();
  while (!client_->PullResult(*pull).has_value()) {
    Receive();
    if (client_->wanted_view() <= client_->view().number) continue;
    if (absl::Status status = FetchView(); !status.ok()) return status;
  }
  const absl::Status result = *client_->PullResult(*pull);
  client_->ForgetPull(*pull);
  if (!result.ok()) return result;
  return values;
}

absl::Status Judge(const Flags& flags) {
  PushLedger ledger;
  for (const std::string& path : flags.judge) {
    if (absl::Status status = ledger.Read(path); !status.ok()) return status;
  }
  Reader reader;
  if (absl::Status status = reader.Connect(flags); !status.ok()) return status;
  const absl::StatusOr<Verdict> verdict =
      ledger.Judge([&](TableNumber table, uint32_t dim, const std::vector<Id>& ids) { return reader.Pull(table, dim, ids); });
  if (!verdict.ok()) return verdict.status();
  const nlohmann::json json = {{"attempted", verdict->attempted}, {"acknowledged", verdict->acknowledged},
                               {"lost", verdict->lost},           {"doubled", verdict->doubled},
                               {"foreign", verdict->foreign},     {"examples", verdict->examples}};
  fmt::print("{}\n", json.dump());
  return absl::OkStatus();
}

}  // namespace
}  // namespace marquee::campaign

int main(int argc, char** argv) {
  marquee::StopRequested();
  signal(SIGUSR1, [](int) { marquee::campaign::hold = true; });
  signal(SIGUSR2, [](int) { marquee::campaign::hold = false; });
  marquee::campaign::Flags flags;
  CLI::App app{"Pushes counts and keeps a ledger of them, or compares ledgers with the rows.", "campaign_worker"};
  app.add_option("--cluster", flags.cluster, "The cluster file")->required();
  app.add_option("--name", flags.name, "This worker's name in it");
  app.add_option("--data", flags.data, "The data file");
  app.add_option("--ledger", flags.ledger, "The file to append to");
  app.add_option("--judge", flags.judge, "Ledgers to compare with the rows");
  CLI11_PARSE(app, argc, argv);
  if (flags.judge.empty()) marquee::StartLog("worker/" + flags.name);
  const absl::Status status = flags.judge.empty() ? marquee::campaign::RunWorker(flags) : marquee::campaign::Judge(flags);
  return status.ok() ? 0 : marquee::Fail("campaign_worker", status);
}
