#include "bench/bare_rig.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <deque>
#include <utility>
#include <zmq.hpp>

#include "bench/child_process.h"
#include "ps/memory.h"
#include "ps/optimizer.h"

namespace marquee {
namespace {

constexpr float kLearningRate = 0.1F;
constexpr size_t kAckBytes = 64;
constexpr size_t kAhead = 16;  // rows that are on their way into the cache

void DoNothing(void* /*data*/, void* /*hint*/) {}
void FreeBuffer(void* data, void* /*hint*/) { std::free(data); }

// A request is kPull or kPush, the row numbers, then for a push their gradients; a pull's answer is the rows, a push's
// kAckBytes.
class BareServer {
 public:
  BareServer(uint64_t rows, uint32_t dim)
      : dim_(dim),
        memory_(rows * 2 * dim * sizeof(float)),
        rows_(reinterpret_cast<float*>(memory_.data())),
        updater_(Optimizer::FromConfig({.kind = OptimizerConfig::Kind::kAdagrad}), dim) {
    std::fill(rows_, rows_ + rows * 2 * dim, 0.01F);
  }

  zmq::message_t Answer(const zmq::message_t& request) {
    const bool push = *request.data<uint64_t>() == kPush;
    const auto* numbers = request.data<uint64_t>() + 1;
    const size_t row_bytes = sizeof(uint64_t) + (push ? dim_ * sizeof(float) : 0);
    const size_t count = (request.size() - sizeof(uint64_t)) / row_bytes;
    return push ? Push(numbers, count) : Pull(numbers, count);
  }

  static constexpr uint64_t kPull = 0;
  static constexpr uint64_t kPush = 1;

 private:
  float* RowAt(uint64_t number) { return rows_ + number * 2 * dim_; }
  void Prefetch(uint64_t number, size_t floats) {
    for (size_t i = 0; i < floats; i += 16) __builtin_prefetch(RowAt(number) + i, 1);
  }

  zmq::message_t Pull(const uint64_t* numbers, size_t count) {
    const size_t row_bytes = dim_ * sizeof(float);
    auto* out = static_cast<float*>(std::malloc(count * row_bytes));
    for (size_t i = 0; i < count; ++i) {
      if (i + kAhead < count) Prefetch(numbers[i + kAhead], dim_);
      std::memcpy(out + i * dim_, RowAt(numbers[i]), row_bytes);
    }
    return {out, count * row_bytes, FreeBuffer};
  }

  zmq::message_t Push(const uint64_t* numbers, size_t count) {
    const auto* gradients = reinterpret_cast<const float*>(numbers + count);
    for (size_t i = 0; i < count; ++i) {
      if (i + kAhead < count) Prefetch(numbers[i + kAhead], 2 * dim_);
      float* const row = RowAt(numbers[i]);
      updater_.Update(row, row + dim_, gradients + i * dim_, kLearningRate);
    }
    return zmq::message_t(kAckBytes);
  }

  size_t dim_;
  MappedMemory memory_;
  float* rows_;
  RowUpdater updater_;
};

class BareRig : public Rig {
 public:
  explicit BareRig(const Workload& workload) : workload_(workload) {}

  absl::Status StartServers() {
    for (uint32_t i = 0; i < workload_.servers; ++i) {
      absl::StatusOr<ChildProcess> server =
          ChildProcess::Start({"--serve", "bare", "--table-rows", fmt::format("{}", RowsPerServer()), "--serve-dim",
                               fmt::format("{}", workload_.dim)});
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

  uint64_t RowsPerServer() const { return workload_.table_rows / workload_.servers; }

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
      for (const uint64_t row : batch) pulls[row % workload_.servers].push_back(row / workload_.servers);
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

int ServeBare(uint64_t rows, uint32_t dim) {
  BareServer server(rows, dim);
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
