#include "common/program.h"

#include <fmt/format.h>
#include <malloc.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <random>
#include <thread>

#include "absl/time/clock.h"

namespace marquee {
namespace {

std::atomic<bool> stop_requested{false};
volatile std::sig_atomic_t stop_signal = 0;

std::atomic<bool> checkpoint_requested{false};
std::atomic<bool> reload_requested{false};

void OnRequestSignal(int signal) { (signal == SIGHUP ? reload_requested : checkpoint_requested) = true; }

bool InstallRequest(int signal) {
  struct sigaction action {};
  action.sa_handler = OnRequestSignal;
  sigemptyset(&action.sa_mask);
  return sigaction(signal, &action, nullptr) == 0;
}

void OnStopSignal(int signal) {
  stop_signal = signal;
  stop_requested = true;
}

}  // namespace

const std::atomic<bool>& StopRequested() {
  [[maybe_unused]] static const bool installed = [] {
    struct sigaction action {};
    action.sa_handler = OnStopSignal;
    sigemptyset(&action.sa_mask);
    for (const int signal : {SIGINT, SIGTERM}) sigaction(signal, &action, nullptr);
    return true;
  }();
  return stop_requested;
}

bool CheckpointRequested() {
  [[maybe_unused]] static const bool installed = InstallRequest(SIGUSR1);
  return checkpoint_requested.exchange(false);
}

bool ReloadRequested() {
  [[maybe_unused]] static const bool installed = InstallRequest(SIGHUP);
  return reload_requested.exchange(false);
}

int StopSignal() { return stop_signal; }

void StopWhenInputEnds(absl::Duration grace) {
  StopRequested();
  std::thread([grace] {
    std::array<char, 256> ignored{};
    ssize_t count = 0;
    do {
      count = read(STDIN_FILENO, ignored.data(), ignored.size());
    } while (count > 0 || (count < 0 && errno == EINTR));
    kill(getpid(), SIGTERM);
    absl::SleepFor(grace);
    kill(getpid(), SIGKILL);
  }).detach();
}

uint64_t NewIncarnation() {
  std::random_device device;
  uint64_t incarnation = 0;
  while (incarnation == 0) incarnation = (static_cast<uint64_t>(device()) << 32U) | device();
  return incarnation;
}

void KeepLargeBlocks() {
  mallopt(M_MMAP_THRESHOLD, 32 << 20);  // bytes; the most that glibc takes
  mallopt(M_TRIM_THRESHOLD, 256 << 20);
}

absl::StatusOr<TransportOptions> TransportOptionsFor(const ClusterConfig& config, PeerRole role) {
  TransportOptions options{.max_message_bytes = config.max_message_bytes,
                           .max_queued_bytes = config.max_queued_bytes,
                           .all_interfaces = config.all_interfaces,
                           .security = {}};
  if (!config.curve) return options;
  absl::StatusOr<TransportSecurity> security = LoadSecurity(config.keys, role);
  if (!security.ok()) return security.status();
  options.security = *std::move(security);
  return options;
}

std::string TcpEndpoint(const std::string& host, uint16_t port) {
  const bool bare_ipv6 = host.find(':') != std::string::npos && host.front() != '[';
  return bare_ipv6 ? fmt::format("tcp://[{}]:{}", host, port) : fmt::format("tcp://{}:{}", host, port);
}

absl::StatusOr<std::string> ServeMetrics(Metrics& metrics, const ClusterConfig& config, const std::string& host,
                                         uint16_t port) {
  absl::StatusOr<std::string> endpoint = metrics.Serve(config.all_interfaces ? "0.0.0.0" : host, port);
  if (!endpoint.ok()) return endpoint.status();
  return fmt::format("{}:{}", host, endpoint->substr(endpoint->rfind(':') + 1));
}

int Fail(const std::string& program, const absl::Status& status) {
  fmt::print(stderr, "{}: {}\n", program, std::string(status.message()));
  return 1;
}

}  // namespace marquee
