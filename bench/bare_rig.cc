#include "bench/bare_rig.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdlib>
#include <deque>
#include <utility>
#include <zmq.hpp>

#include "bench/child_process.h"
#include "ps/table_store.h"

namespace marquee {
namespace {

constexpr size_t kAckBytes = 64;

void DoNothing(void* /*data*/, void* /*hint*/) {}
void FreeBuffer(void* data, void* /*hint*/) { std::free(data); }

// A request is kPull or kPush, the ids, then for a push their gradients; a pull's answer is the rows, a push's kAckBytes.
class BareServer {
 public:
  static constexpr uint64_t kPull = 0;
  static constexpr uint64_t kPush = 1;

  BareServer(const Workload& workload, uint32_t server) : dim_(workload.dim), store_(BenchTable(workload.dim), kPartitionBits) {
    const std::vector<float> gradient(dim_, 0.01F);
    for (uint64_t row = server; row < workload.table_rows; row += workload.servers) {
      const Id id = IdOf(row);
      store_.Apply({&id, 1}, gradient.data(), kLearningRate, {});
    }
  }

  zmq::message_t Answer(const zmq::message_t& request) {
    const bool push = *request.data<uint64_t>() == kPush;
    const size_t row_bytes = sizeof(Id) + (push ? dim_ * sizeof(float) : 0);
    const absl::Span<const Id> ids(request.data<Id>() + 1, (request.size() - sizeof(uint64_t)) / row_bytes);
    if (push) {
      store_.Apply(ids, reinterpret_cast<const float*>(ids.end()), kLearningRate, {});
      return zmq::message_t(kAckBytes);
    }
    auto* rows = static_cast<float*>(std::malloc(ids.size() * dim_ * sizeof(float)));
    store_.Gather(ids, rows);
    return {rows, ids.size() * dim_ * sizeof(float), FreeBuffer};
  }

 private:
  size_t dim_;
  TableStore store_;
};

class BareRig : public Rig {
 public:
  explicit BareRig(const Workload& workload) : workload_(workload) {}

  absl::Status StartServers() {
    for (uint32_t i = 0; i < workload_.servers; ++i) {
      absl::StatusOr<ChildProcess> server = ChildProcess::Start(
          {"--serve", "bare", "--serve-number", fmt::format("{}", i), "--table-rows", fmt::format("{}", workload_.table_rows),
           "--dims", fmt::format("{}", workload_.dim), "--servers", fmt::format("{}", workload_.servers)});
      if (!server.ok()) return server.status();
      zmq::socket_t& socket = sockets_.emplace_back(context_, zmq::socket_type::dealer);
      socket.set(zmq::sockopt::linger, 0);
      socket.set(zmq::sockopt::sndhwm, 0);
      socket.connect(server->endpoint());
      servers_.push_back(*std::move(server));
    }
    BuildRequests();
    return absl::OkStatus();
  }

  void Start(Operation operation, size_t batch) override {
    const auto& requests = operation == Operation::kPull ? pull_requests_ : push_requests_;
    started_.push_back({.operation = operation, .begun = NowMicros()});
    for (size_t s = 0; s < sockets_.size(); ++s) {
      const std::vector<uint64_t>& request = requests[batch][s];
      sockets_[s].send(zmq::message_t(const_cast<uint64_t*>(request.data()), request.size() * sizeof(uint64_t), DoNothing),
                       zmq::send_flags::none);
    }
  }

  // Each server answers in order: the oldest operation is done once every server has an answer that was not yet counted.
  int Pump() override {
    std::vector<zmq::pollitem_t> items;
    for (zmq::socket_t& socket : sockets_) items.push_back({socket.handle(), 0, ZMQ_POLLIN, 0});
    zmq::poll(items);
    for (size_t s = 0; s < sockets_.size(); ++s) {
      for (zmq::message_t answer; sockets_[s].recv(answer, zmq::recv_flags::dontwait);) ++answered_[s];
    }
    int finished = 0;
    for (; !started_.empty() && AllAnswered(); started_.pop_front(), ++finished) {
      for (uint64_t& answered : answered_) --answered;
      auto& list = started_.front().operation == Operation::kPull ? times.pulls : times.pushes;
      list.push_back(NowMicros() - started_.front().begun);
    }
    return finished;
  }

 private:
  struct Started {
    Operation operation;
    double begun;
  };

  bool AllAnswered() const {
    for (const uint64_t answered : answered_) {
      if (answered == 0) return false;
    }
    return true;
  }

  void BuildRequests() {
    answered_.assign(workload_.servers, 0);
    for (const std::vector<uint64_t>& batch : workload_.batches) {
      auto& pulls = pull_requests_.emplace_back(workload_.servers, std::vector<uint64_t>{BareServer::kPull});
      for (const uint64_t row : batch) pulls[row % workload_.servers].push_back(IdOf(row));
      auto& pushes = push_requests_.emplace_back(pulls);
      for (std::vector<uint64_t>& push : pushes) {
        const size_t floats = (push.size() - 1) * workload_.dim;
        push[0] = BareServer::kPush;
        push.resize(push.size() + (floats + 1) / 2);
      }
    }
  }

  const Workload& workload_;
  std::vector<ChildProcess> servers_;
  zmq::context_t context_{1};
  std::vector<zmq::socket_t> sockets_;
  // By batch and server, as words.
  std::vector<std::vector<std::vector<uint64_t>>> pull_requests_;
  std::vector<std::vector<std::vector<uint64_t>>> push_requests_;
  std::deque<Started> started_;
  std::vector<uint64_t> answered_;  // by server: answers not yet counted
};

}  // namespace

absl::StatusOr<std::unique_ptr<Rig>> StartBareRig(const Workload& workload) {
  auto rig = std::make_unique<BareRig>(workload);
  if (absl::Status status = rig->StartServers(); !status.ok()) return status;
  return std::unique_ptr<Rig>(std::move(rig));
}

int ServeBare(const Workload& workload, uint32_t number) {
  BareServer server(workload, number);
  zmq::context_t context(1);
  zmq::socket_t socket(context, zmq::socket_type::router);
  socket.set(zmq::sockopt::linger, 0);
  socket.set(zmq::sockopt::sndhwm, 0);
  socket.bind("tcp://127.0.0.1:*");
  ReportEndpoint(socket.get(zmq::sockopt::last_endpoint));
  while (!InputEnded()) {
    zmq::pollitem_t items[] = {{socket.handle(), 0, ZMQ_POLLIN, 0}, {nullptr, STDIN_FILENO, ZMQ_POLLIN, 0}};
    zmq::poll(items, 2);
    zmq::message_t route;
    while (socket.recv(route, zmq::recv_flags::dontwait)) {
      zmq::message_t request;
      if (!socket.recv(request)) break;
      zmq::message_t answer = server.Answer(request);
      socket.send(route, zmq::send_flags::sndmore);
      socket.send(answer, zmq::send_flags::none);
    }
  }
  return 0;
}

}  // namespace marquee
