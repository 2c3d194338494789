// How long `marquee serve` takes to answer: requests for known users, guests and titles come at random times at a given mean
// rate, whether or not earlier ones have been answered (an open loop), over loopback, to a server in this process. A time
// counts from when its request was due, so that waiting is in it. Beside them, requests for /healthz, which cost nothing but
// the way there and back, are timed in the same seconds.
//
// Exit codes: 0; 1 an answer was wrong or missing, whatever the times; 2 the command line is wrong.

#include <fmt/format.h>
#include <httplib.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <mutex>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <thread>
#include <vector>

#undef _res  // of <resolv.h>: Eigen's headers use the name

#include "absl/status/status.h"
#include "common/command_line.h"
#include "common/metrics.h"
#include "common/program.h"
#include "serving/movie_page.h"
#include "serving/serve.h"
#include "serving/title_search.h"
#include "worker/models/compute_device.h"

namespace marquee {
namespace {

using Clock = std::chrono::steady_clock;

enum Kind : size_t { kUser, kGuest, kSearch, kHealth };
constexpr std::array<const char*, 4> kNames = {"user", "guest", "search", "/healthz"};
constexpr std::array<double, 3> kShares = {0.5, 0.25, 0.25};  // of the rate
constexpr double kHealthShare = 0.25;                         // as many again, over the rate
constexpr uint32_t kMostGuestRatings = 12;
constexpr double kMostSeconds = 5;  // for one answer

struct Flags {
  std::string model;
  std::string predictions;
  std::string data;
  bool approximate = false;
  double rate = 200;
  double seconds = 20;
  double warm_up = 3;
  size_t connections = 24;
  bool json = false;
};

struct Request {
  double at = 0;  // seconds after the start
  Kind kind = kHealth;
  std::string path;
  std::string body;  // posted, if there is one
};

struct Times {
  std::vector<double> millis;  // ascending, once it is over
  size_t errors = 0;
};

double Quantile(const std::vector<double>& ascending, double q) {
  return ascending.empty() ? 0 : ascending[static_cast<size_t>(q * static_cast<double>(ascending.size() - 1))];
}

class Requests {
 public:
  explicit Requests(const ServedModels& models) : models_(models), random_(1) {}

  // Those of `seconds`, in the order of their times.
  std::vector<Request> Make(double rate, double seconds) {
    std::vector<Request> requests;
    for (size_t kind = 0; kind < kNames.size(); ++kind) {
      const double share = kind == kHealth ? kHealthShare : kShares.at(kind);
      std::exponential_distribution<double> gap(rate * share);
      for (double at = gap(random_); at < seconds; at += gap(random_)) requests.push_back(Make(static_cast<Kind>(kind), at));
    }
    std::sort(requests.begin(), requests.end(), [](const Request& a, const Request& b) { return a.at < b.at; });
    return requests;
  }

 private:
  Request Make(Kind kind, double at) {
    switch (kind) {
      case kUser:
        return {at, kind,
                "/api/users/" + models_.recommender().UserKeyOf(Below(models_.model().data().users())) + "/recommendations",
                ""};
      case kGuest:
        return {at, kind, "/api/recommendations", Ratings()};
      case kSearch:
        return {at, kind, "/api/search?q=" + Typed(), ""};
      case kHealth:
        return {at, kind, "/healthz", ""};
    }
    return {};
  }

  uint32_t Below(size_t count) { return static_cast<uint32_t>(random_() % count); }

  // Of movies that are rated often, as people know them.
  std::string Ratings() {
    nlohmann::json ratings = nlohmann::json::array();
    std::vector<uint32_t> movies;
    const auto& item_of = models_.model().data().item_of();
    const uint32_t count = 1 + Below(kMostGuestRatings);
    while (movies.size() < count) {
      const uint32_t movie = item_of[Below(item_of.size())];
      if (std::find(movies.begin(), movies.end(), movie) != movies.end()) continue;
      movies.push_back(movie);
      ratings.push_back({{"movie", models_.recommender().KeyOf(movie)}, {"rating", 1 + Below(5)}});
    }
    return nlohmann::json{{"ratings", ratings}}.dump();
  }

  // The beginning of a title's word.
  std::string Typed() {
    const auto words = SearchWords(models_.recommender().TitleOf(Below(models_.model().data().rated_items())));
    if (words.empty()) return "the";
    const std::string& word = words[Below(words.size())];
    return word.substr(0, 2 + Below(4));
  }

  const ServedModels& models_;
  std::mt19937_64 random_;
};

// Sends each request when it is due, over connections that stay open.
class Load {
 public:
  Load(std::string address, const std::vector<Request>& requests) : address_(std::move(address)), requests_(requests) {}

  std::array<Times, kNames.size()> Run(size_t connections) {
    start_ = Clock::now();
    std::vector<std::thread> threads;
    for (size_t i = 0; i < connections; ++i) threads.emplace_back([this] { Connection(); });
    for (std::thread& thread : threads) thread.join();
    for (Times& times : times_) std::sort(times.millis.begin(), times.millis.end());
    return std::move(times_);
  }

 private:
  void Connection() {
    httplib::Client client(address_);
    client.set_keep_alive(true);
    client.set_tcp_nodelay(true);
    client.set_read_timeout(std::chrono::duration<double>(kMostSeconds));
    for (size_t i = next_++; i < requests_.size(); i = next_++) {
      const Request& request = requests_[i];
      const auto due = start_ + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(request.at));
      std::this_thread::sleep_until(due);
      const httplib::Result result =
          request.body.empty() ? client.Get(request.path) : client.Post(request.path, request.body, "application/json");
      const double millis = std::chrono::duration<double, std::milli>(Clock::now() - due).count();
      const bool right = result && result->status == 200;
      const std::lock_guard<std::mutex> lock(mutex_);
      times_.at(request.kind).millis.push_back(millis);
      if (right) continue;
      if (times_.at(request.kind).errors++ == 0) {
        fmt::print(stderr, "{}: {}\n", request.path, result ? result->body : httplib::to_string(result.error()));
      }
    }
  }

  const std::string address_;
  const std::vector<Request>& requests_;
  Clock::time_point start_;
  std::atomic<size_t> next_{0};
  std::mutex mutex_;
  std::array<Times, kNames.size()> times_;  // under mutex_
};

void Print(const std::string& name, const Times& times) {
  fmt::print("{:<10}{:>10}{:>10.2f}{:>10.2f}{:>10.2f}{:>10}\n", name, times.millis.size(), Quantile(times.millis, 0.5),
             Quantile(times.millis, 0.99), Quantile(times.millis, 1), times.errors);
}

// Everything but /healthz.
Times All(const std::array<Times, kNames.size()>& times) {
  Times all;
  for (const Kind kind : {kUser, kGuest, kSearch}) {
    all.millis.insert(all.millis.end(), times.at(kind).millis.begin(), times.at(kind).millis.end());
    all.errors += times.at(kind).errors;
  }
  std::sort(all.millis.begin(), all.millis.end());
  return all;
}

nlohmann::ordered_json JsonOf(const Times& times) {
  return {{"requests", times.millis.size()},
          {"p50_ms", Quantile(times.millis, 0.5)},
          {"p99_ms", Quantile(times.millis, 0.99)},
          {"max_ms", Quantile(times.millis, 1)},
          {"errors", times.errors}};
}

void PrintAll(const Flags& flags, const ServedModels& models, const std::array<Times, kNames.size()>& times) {
  const Times all = All(times);
  const double ratio = Quantile(all.millis, 0.99) / std::max(Quantile(times[kHealth].millis, 0.99), 1e-9);
  if (flags.json) {
    nlohmann::ordered_json json = {{"trial", models.model().manifest().trial}, {"rate", flags.rate}, {"all", JsonOf(all)}};
    for (size_t kind = 0; kind < kNames.size(); ++kind) json[kNames.at(kind)] = JsonOf(times.at(kind));
    json["p99_to_healthz"] = ratio;
    fmt::print("{}\n", json.dump());
    return;
  }
  const Dataset& data = models.model().data();
  fmt::print("trial {} on {}: {} movies, {} users, {} index; {} hardware threads for client and server\n",
             models.model().manifest().trial, data.name(), data.rated_items(), data.users(),
             flags.approximate ? "approximate" : "exact", std::thread::hardware_concurrency());
  fmt::print("{:g} requests/s for {:g} s, at random times, whether or not others are answered; {} connections\n\n", flags.rate,
             flags.seconds, flags.connections);
  fmt::print("{:<10}{:>10}{:>10}{:>10}{:>10}{:>10}\n", "", "requests", "p50 ms", "p99 ms", "max ms", "errors");
  for (const Kind kind : {kUser, kGuest, kSearch}) Print(kNames.at(kind), times.at(kind));
  Print("all", all);
  Print(kNames[kHealth], times[kHealth]);
  fmt::print("\nThe p99 of all is {:.1f} times that of /healthz, asked {:g} times a second in between.\n", ratio,
             flags.rate * kHealthShare);
}

absl::Status Run(const Flags& flags) {
  SetComputeThreads(1);
  const auto index = flags.approximate ? Recommender::Index::kApproximate : Recommender::Index::kExact;
  absl::StatusOr<std::unique_ptr<ServedModels>> opened = ServedModels::Open(flags.model, flags.predictions, flags.data, index);
  if (!opened.ok()) return opened.status();
  const std::shared_ptr<const ServedModels> models = *std::move(opened);
  Metrics metrics(kServe);
  MoviePage page("", metrics);
  const absl::StatusOr<std::string> endpoint = page.Start("127.0.0.1", 0);
  if (!endpoint.ok()) return endpoint.status();
  page.Show({models, &models->api()});

  Requests make(*models);
  const std::vector<Request> warm_up = make.Make(flags.rate, flags.warm_up);
  const std::vector<Request> measured = make.Make(flags.rate, flags.seconds);
  Load("http://" + *endpoint, warm_up).Run(flags.connections);
  const auto times = Load("http://" + *endpoint, measured).Run(flags.connections);
  PrintAll(flags, *models, times);
  size_t errors = 0;
  for (const Times& of_kind : times) errors += of_kind.errors;
  if (errors == 0) return absl::OkStatus();
  return absl::InternalError(fmt::format("{} of {} requests were not answered well", errors, measured.size()));
}

int Main(int argc, char** argv) {
  Flags flags;
  CLI::App app("Measures how long `marquee serve` takes to answer.", "serve_bench");
  app.add_option("--model", flags.model, "A kept model (runs/NAME/models/TRIAL), or a run that has kept one")->required();
  app.add_option("--predictions", flags.predictions, "Another kept model, which predicts the ratings");
  app.add_option("--data", flags.data, "The data file, if it is no longer where it was during training");
  app.add_flag("--approximate", flags.approximate, "Search an approximate index");
  app.add_option("--rate", flags.rate, "Requests per second")->capture_default_str()->check(CLI::Range(1.0, 1e5));
  app.add_option("--seconds", flags.seconds, "How long to measure")->capture_default_str()->check(CLI::Range(0.1, 3600.0));
  app.add_option("--warm-up", flags.warm_up, "Seconds before that")->capture_default_str()->check(CLI::Range(0.0, 3600.0));
  app.add_option("--connections", flags.connections, "How many requests may be under way")
      ->capture_default_str()
      ->check(CLI::Range(1, 32));
  app.add_flag("--json", flags.json, "Print JSON");
  if (const std::optional<int> code = ParseCommandLine(app, argc, argv)) return *code;
  const absl::Status status = Run(flags);
  return status.ok() ? 0 : Fail("serve_bench", status);
}

}  // namespace
}  // namespace marquee

int main(int argc, char** argv) { return marquee::Main(argc, argv); }
