#include "bench/cluster_rig.h"

#include <algorithm>
#include <functional>
#include <list>
#include <string>
#include <thread>
#include <utility>

#include "bench/child_process.h"
#include "common/metrics.h"
#include "common/program.h"
#include "common/transport.h"
#include "ps/shard_thread.h"
#include "worker/client/client.h"

namespace marquee {
namespace {

constexpr uint64_t kSession = 1;
constexpr absl::Duration kPatience = absl::Seconds(30);

absl::Time Now() { return absl::UnixEpoch() + absl::Microseconds(NowMicros()); }

class ClusterRig : public Rig {
 public:
  explicit ClusterRig(const Workload& workload)
      : workload_(workload),
        table_(BenchTable(workload.dim)),
        client_(Self(), {.pull_deadline = kPatience}),
        ids_(workload.batches.size()) {
    for (size_t i = 0; i < ids_.size(); ++i) {
      for (const uint64_t row : workload.batches[i]) ids_[i].push_back(IdOf(row));
    }
  }

  absl::Status Start();

  void Start(Operation operation, size_t batch) override;
  int Pump() override;
  double ServerCpuSeconds() const override {
    double seconds = 0;
    for (const ChildProcess& server : servers_) seconds += server.cpu_seconds();
    return seconds;
  }

 private:
  struct Pull {
    double begun;
    Client::PullNumber number;
    std::vector<float> values;
  };
  struct Push {
    double begun;
    uint64_t last;  // the push is done when all numbers up to this are acknowledged
  };

  static Identity Self() { return {.name = "bench", .incarnation = 1}; }
  absl::Status StartServers();
  absl::Status Fill();
  // Sends a request to every server and waits for the answers: the scheduler's part.
  absl::Status AskAll(const std::function<void(uint32_t, wire::Envelope::Body::Builder)>& fill);
  void Receive();

  const Workload& workload_;
  const TableDefinition table_;
  std::vector<ChildProcess> servers_;
  TransportContext context_;
  std::unique_ptr<Transport> transport_;
  Client client_;
  std::vector<std::vector<Id>> ids_;  // by batch
  std::list<Pull> pulls_;
  std::list<Push> pushes_;
  std::vector<std::vector<float>> spare_values_;  // of finished pulls, to be used again
};

absl::Status ClusterRig::Start() {
  if (absl::Status status = StartServers(); !status.ok()) return status;
  return Fill();
}

absl::Status ClusterRig::StartServers() {
  std::vector<std::string> endpoints;
  std::vector<uint64_t> processes;
  std::vector<uint32_t> server_of;
  for (uint32_t i = 0; i < workload_.servers; ++i) {
    absl::StatusOr<ChildProcess> server = ChildProcess::Start({"--serve", "shard", "--serve-number", std::to_string(i + 1)});
    if (!server.ok()) return server.status();
    endpoints.push_back(server->endpoint());
    processes.push_back(i + 1);
    server_of.push_back(i);
    servers_.push_back(*std::move(server));
  }
  absl::StatusOr<std::unique_ptr<Transport>> transport = Transport::Create(context_, Self(), {});
  if (!transport.ok()) return transport.status();
  transport_ = *std::move(transport);

  const View view = MakeEvenView(1, 1, endpoints, 1U << kPartitionBits, processes, server_of, workload_.copies);
  absl::Status status = AskAll([&](uint32_t server, wire::Envelope::Body::Builder body) {
    wire::View::Builder install = body.initInstallView();
    view.ToWire(install);
    install.setYou(server);
  });
  if (!status.ok()) return status;
  client_.SetView(view, Now(), *transport_);
  client_.StartSession(kSession);
  status = AskAll([this](uint32_t, wire::Envelope::Body::Builder body) {
    wire::OpenSession::Builder open = body.initOpenSession();
    open.setSession(kSession);
    open.setTrial(table_.trial);
  });
  if (!status.ok()) return status;
  return AskAll(
      [&](uint32_t, wire::Envelope::Body::Builder body) { table_.ToWire(body.initCreateTables().initDefinitions(1)[0]); });
}

absl::Status ClusterRig::AskAll(const std::function<void(uint32_t, wire::Envelope::Body::Builder)>& fill) {
  for (uint32_t i = 0; i < servers_.size(); ++i) {
    OutgoingMessagePtr request = NewRequest(Self(), 0, i + 1, kPatience);
    fill(i, request->envelope().getBody());
    transport_->Send(servers_[i].endpoint(), std::move(request));
  }
  absl::Status status;
  size_t answers = 0;
  for (const absl::Time begin = Now(); answers < servers_.size();) {
    transport_->Receive(absl::Seconds(1), [&](const Message& message) {
      ++answers;
      const auto body = message.envelope().getBody();
      if (!body.isOk()) status = absl::InternalError(body.isError() ? body.getError().getMessage().cStr() : "no ok");
    });
    if (Now() - begin > kPatience) return absl::DeadlineExceededError("a server of the benchmark does not answer");
  }
  return status;
}

absl::Status ClusterRig::Fill() {
  constexpr uint64_t kChunk = 8192;
  const std::vector<float> gradients(kChunk * workload_.dim, 0.01F);
  std::vector<Id> ids;
  for (uint64_t begin = 0; begin < workload_.table_rows; begin += ids.size()) {
    ids.clear();
    for (uint64_t row = begin; row < std::min(begin + kChunk, workload_.table_rows); ++row) ids.push_back(IdOf(row));
    const PushTable push{.table = table_.number,
                         .dim = workload_.dim,
                         .learning_rate = kLearningRate,
                         .ids = ids,
                         .gradients = gradients.data()};
    while (!client_.CanPush() && client_.session_status().ok()) Receive();
    if (absl::Status status = client_.StartPush({&push, 1}, Now(), *transport_); !status.ok()) return status;
  }
  while (client_.pushes_acknowledged() < client_.pushes_started() && client_.session_status().ok()) Receive();
  return client_.session_status();
}

void ClusterRig::Receive() {
  transport_->Receive(std::max(absl::ZeroDuration(), client_.next_timer() - Now()),
                      [this](const Message& message) { client_.OnMessage(message, Now(), *transport_); });
  client_.OnTimer(Now(), *transport_);
}

void ClusterRig::Start(Operation operation, size_t batch) {
  const double begun = NowMicros();
  if (operation == Operation::kPush) {
    const PushTable push{.table = table_.number,
                         .dim = workload_.dim,
                         .learning_rate = kLearningRate,
                         .ids = ids_[batch],
                         .gradients = workload_.gradients.data()};
    if (!client_.StartPush({&push, 1}, Now(), *transport_).ok()) std::abort();
    pushes_.push_back({.begun = begun, .last = client_.pushes_started()});
    return;
  }
  Pull& pull = pulls_.emplace_back(Pull{.begun = begun, .number = 0, .values = {}});
  if (!spare_values_.empty()) {
    pull.values = std::move(spare_values_.back());
    spare_values_.pop_back();
  }
  pull.values.resize(size_t{workload_.batch_rows} * workload_.dim);
  const PullTable table{.table = table_.number, .dim = workload_.dim, .ids = ids_[batch], .values = pull.values.data()};
  pull.number = client_.StartPull({&table, 1}, Now(), *transport_).value();
}

int ClusterRig::Pump() {
  Receive();
  const double now = NowMicros();
  int finished = 0;
  for (auto pull = pulls_.begin(); pull != pulls_.end();) {
    const std::optional<absl::Status> result = client_.PullResult(pull->number);
    if (!result.has_value()) {
      ++pull;
      continue;
    }
    if (!result->ok()) std::abort();
    times.pulls.push_back(now - pull->begun);
    client_.ForgetPull(pull->number);
    spare_values_.push_back(std::move(pull->values));
    pull = pulls_.erase(pull);
    ++finished;
  }
  for (; !pushes_.empty() && pushes_.front().last <= client_.pushes_acknowledged(); pushes_.pop_front()) {
    times.pushes.push_back(now - pushes_.front().begun);
    ++finished;
  }
  if (!client_.session_status().ok()) std::abort();
  return finished;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Rig>> StartClusterRig(const Workload& workload) {
  auto rig = std::make_unique<ClusterRig>(workload);
  if (absl::Status status = rig->Start(); !status.ok()) return status;
  return std::unique_ptr<Rig>(std::move(rig));
}

int ServeShard(uint64_t incarnation) {
  Metrics metrics(kServer);
  TransportContext context;
  const auto shard =
      ShardThread::Start(context, {.name = "server", .incarnation = incarnation}, {}, {}, "tcp://127.0.0.1:0", 0, metrics);
  if (!shard.ok()) return Fail("ps_bench", shard.status());
  ReportEndpoint((*shard)->endpoint());
  WaitForInputEnd();
  return 0;
}

}  // namespace marquee
