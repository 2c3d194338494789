#include "common/metrics.h"

#include <arpa/inet.h>
#include <capnp/schema.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <prometheus/check_names.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "common/transport_metrics.h"
#include "schemas/wire.capnp.h"
#include "tests/unit/common/transport_testing.h"

namespace marquee {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

// Made-up values for the labels of a metric.
Metrics::Labels AnyLabels(const MetricInfo& info) {
  Metrics::Labels labels;
  for (const MetricLabel& label : info.labels) {
    if (label.name.empty()) continue;
    const auto known = label.known_values();
    labels.push_back(known.empty() ? "any" : known.front());
  }
  return labels;
}

void Touch(Metrics& metrics, const MetricInfo& info) {
  switch (info.type) {
    case MetricType::kCounter:
      metrics.Get(static_cast<const CounterInfo&>(info), AnyLabels(info)).Increment();
      return;
    case MetricType::kGauge:
      metrics.Get(static_cast<const GaugeInfo&>(info), AnyLabels(info)).Set(1);
      return;
    case MetricType::kHistogram:
      metrics.Get(static_cast<const HistogramInfo&>(info), AnyLabels(info)).Observe(1);
      return;
  }
}

// Name and type of each family of a page in Prometheus' text format.
std::map<std::string, std::string> Families(const std::string& page) {
  std::map<std::string, std::string> families;
  std::istringstream lines(page);
  std::string line;
  while (std::getline(lines, line)) {
    std::istringstream words(line);
    std::string hash;
    std::string kind;
    std::string name;
    std::string type;
    if (words >> hash >> kind >> name >> type && hash == "#" && kind == "TYPE") families[name] = type;
  }
  return families;
}

std::string TypeName(MetricType type) {
  if (type == MetricType::kCounter) return "counter";
  return type == MetricType::kGauge ? "gauge" : "histogram";
}

std::string Fetch(const std::string& endpoint, const std::string& request = "GET /metrics HTTP/1.0\r\n\r\n") {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(std::stoi(endpoint.substr(endpoint.rfind(':') + 1))));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  EXPECT_EQ(connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  EXPECT_EQ(send(fd, request.data(), request.size(), MSG_NOSIGNAL), static_cast<ssize_t>(request.size()));
  std::string page;
  char buffer[4096];
  for (ssize_t got = 0; (got = recv(fd, buffer, sizeof(buffer), 0)) > 0;) page.append(buffer, static_cast<size_t>(got));
  close(fd);
  return page;
}

class ProgramMetricsTest : public ::testing::TestWithParam<Program> {};

// What a program serves is what the catalogue, and with it docs/metrics.md, says of it: no more, no less.
TEST_P(ProgramMetricsTest, ServesWhatTheCatalogueSays) {
  Metrics metrics(GetParam());
  std::map<std::string, std::string> expected;
  for (const MetricInfo* info : MetricCatalogue()) {
    if ((info->programs & GetParam()) == 0) continue;
    expected[std::string(info->name)] = TypeName(info->type);
    if (info->name.substr(0, 8) != "process_") Touch(metrics, *info);
  }
  const auto endpoint = metrics.Serve("127.0.0.1", 0);
  ASSERT_TRUE(endpoint.ok()) << endpoint.status();
  const std::string page = Fetch(*endpoint);
  EXPECT_THAT(page, StartsWith("HTTP/1.1 200 OK"));
  const std::map<std::string, std::string> served = Families(page);
  for (const auto& [name, type] : expected) EXPECT_TRUE(served.contains(name)) << name << " is listed and not served";
  for (const auto& [name, type] : served) {
    const bool of_the_server_itself = name.rfind("exposer_", 0) == 0;
    if (of_the_server_itself) continue;
    ASSERT_TRUE(expected.contains(name)) << name << " is served and not listed";
    EXPECT_EQ(type, expected.at(name)) << name;
  }
}

INSTANTIATE_TEST_SUITE_P(All, ProgramMetricsTest, ::testing::Values(kScheduler, kServer, kWorker, kServe));

TEST(MetricsTest, FollowsTheConventionsOfPrometheus) {
  std::set<std::string> names;
  for (const MetricInfo* info : MetricCatalogue()) {
    const std::string name(info->name);
    EXPECT_TRUE(names.insert(name).second) << name << " twice";
    EXPECT_TRUE(prometheus::CheckMetricName(name)) << name;
    EXPECT_TRUE(name.rfind("marquee_", 0) == 0 || name.rfind("process_", 0) == 0) << name;
    EXPECT_EQ(info->type == MetricType::kCounter, name.ends_with("_total")) << name;
    EXPECT_EQ(info->type == MetricType::kHistogram, info->buckets != Buckets::kNone) << name;
    EXPECT_FALSE(info->help.empty()) << name;
    for (const std::string unit : {"seconds", "bytes"}) {
      EXPECT_EQ(info->unit == unit, name.ends_with("_" + unit) || name.ends_with("_" + unit + "_total")) << name;
    }
    for (const MetricLabel& label : info->labels) {
      if (label.name.empty()) continue;
      EXPECT_TRUE(prometheus::CheckLabelName(std::string(label.name))) << name;
      EXPECT_NE(label.values.empty(), label.help.empty()) << name << " " << label.name;
    }
  }
}

TEST(MetricsTest, PageInDocsIsUpToDate) {
  const char* const source = std::getenv("MARQUEE_SOURCE");
  ASSERT_NE(source, nullptr) << "run by ctest, or set MARQUEE_SOURCE to the source folder";
  std::ifstream file(std::string(source) + "/docs/metrics.md");
  const std::string page{std::istreambuf_iterator<char>(file), {}};
  EXPECT_TRUE(page == MetricsPage()) << "run: marquee metrics > docs/metrics.md";
}

TEST(MetricsTest, KnownLabelsStartAtZero) {
  const std::string text = Metrics(kServer).Text();
  EXPECT_THAT(text, HasSubstr("marquee_rows_total{operation=\"pull\"} 0"));
  EXPECT_THAT(text, HasSubstr("marquee_rows_total{operation=\"push\"} 0"));
  EXPECT_THAT(text, HasSubstr("marquee_duplicates_dropped_total 0"));
  EXPECT_THAT(text, HasSubstr("marquee_build_info{program=\"server\",version=\""));
  EXPECT_THAT(text, Not(HasSubstr("table=")));
  EXPECT_THAT(text, Not(HasSubstr("marquee_steps_total")));
}

TEST(MetricsTest, RejectionsOfAllReasonsStartAtZero) {
  const std::string text = Metrics(kServer).Text();
  for (const auto code : capnp::Schema::from<wire::Error::Code>().getEnumerants()) {
    const std::string name(code.getProto().getName().cStr());
    EXPECT_THAT(text, HasSubstr(fmt::format("marquee_rejected_total{{reason=\"{}\"}} 0", name)));
  }
}

TEST(MetricsTest, HandlesAreThoseServed) {
  Metrics metrics(kServer);
  metrics.Get(metric::kRows, {"pull"}).Increment(5);
  metrics.Get(metric::kRows, {"pull"}).Increment(2);
  metrics.Get(metric::kTableRows, {"1", "t7/users"}).Set(12);
  metrics.Get(metric::kRequestDuration, {"pull"}).Observe(2e-5);
  const std::string text = metrics.Text();
  EXPECT_THAT(text, HasSubstr("marquee_rows_total{operation=\"pull\"} 7"));
  EXPECT_THAT(text, HasSubstr("marquee_table_rows{shard=\"1\",table=\"t7/users\"} 12"));
  EXPECT_THAT(text, HasSubstr("marquee_request_duration_seconds_count{operation=\"pull\"} 1"));
  EXPECT_THAT(text, HasSubstr("marquee_request_duration_seconds_bucket{operation=\"pull\",le=\"2.5e-05\"} 1"));
}

TEST(MetricsTest, RemovedOnesAreServedNoMore) {
  Metrics metrics(kServer);
  metrics.Get(metric::kTableRows, {"0", "t7/users"}).Set(1);
  metrics.Get(metric::kTableRows, {"1", "t7/users"}).Set(1);
  metrics.Remove(metric::kTableRows, {"0", "t7/users"});
  metrics.Remove(metric::kTableRows, {"0", "never there"});
  EXPECT_THAT(metrics.Text(), Not(HasSubstr("shard=\"0\"")));
  EXPECT_THAT(metrics.Text(), HasSubstr("shard=\"1\""));
  EXPECT_THAT(metrics.Text(), Not(HasSubstr("never there")));
}

TEST(MetricsTest, ServesOnAPortOfItsOwn) {
  Metrics first(kWorker);
  Metrics second(kWorker);
  const auto endpoint = first.Serve("127.0.0.1", 0);
  ASSERT_TRUE(endpoint.ok()) << endpoint.status();
  EXPECT_THAT(*endpoint, StartsWith("127.0.0.1:"));
  const auto port = static_cast<uint16_t>(std::stoi(endpoint->substr(endpoint->rfind(':') + 1)));
  EXPECT_NE(port, 0);
  const auto taken = second.Serve("127.0.0.1", port);
  EXPECT_TRUE(absl::IsUnavailable(taken.status())) << taken.status();
  EXPECT_THAT(std::string(taken.status().message()), HasSubstr(*endpoint));
  EXPECT_FALSE(second.Serve("no-such-host.invalid", 0).ok());
  EXPECT_TRUE(absl::IsFailedPrecondition(first.Serve("127.0.0.1", 0).status()));
}

TEST(MetricsTest, SaysWhetherTheProcessIsReady) {
  Metrics metrics(kServer);
  const auto endpoint = metrics.Serve("127.0.0.1", 0);
  ASSERT_TRUE(endpoint.ok()) << endpoint.status();
  const auto ask = [&](const std::string& path) { return Fetch(*endpoint, "GET " + path + " HTTP/1.0\r\n\r\n"); };
  EXPECT_THAT(ask("/healthz"), StartsWith("HTTP/1.1 200 OK"));
  EXPECT_THAT(ask("/readyz"), StartsWith("HTTP/1.1 503"));
  metrics.SetMissing("no view yet");
  EXPECT_THAT(ask("/readyz"), HasSubstr("not ready: no view yet"));
  metrics.SetMissing("");
  EXPECT_THAT(ask("/readyz"), StartsWith("HTTP/1.1 200 OK"));
  EXPECT_THAT(ask("/other"), StartsWith("HTTP/1.1 404"));
  EXPECT_THAT(Fetch(*endpoint, "DELETE /metrics HTTP/1.0\r\n\r\n"), StartsWith("HTTP/1.1 405"));
  EXPECT_THAT(Fetch(*endpoint, "GET /metricsx HTTP/1.0\r\n\r\n"), StartsWith("HTTP/1.1 404"));
}

TEST(MetricsTest, TellsOfTheProcess) {
  const std::string text = Metrics(kWorker).Text();
  std::istringstream lines(text);
  std::map<std::string, double> values;
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string name;
    double value = 0;
    if (line.rfind("process_", 0) == 0 && words >> name >> value) values[name] = value;
  }
  EXPECT_GT(values.at("process_resident_memory_bytes"), 1e6);
  EXPECT_GE(values.at("process_virtual_memory_bytes"), values.at("process_resident_memory_bytes"));
  EXPECT_GE(values.at("process_open_fds"), 3);
  EXPECT_LE(values.at("process_start_time_seconds"), static_cast<double>(absl::ToUnixSeconds(absl::Now()) + 1));
  EXPECT_GT(values.at("process_start_time_seconds"), static_cast<double>(absl::ToUnixSeconds(absl::Now()) - 3600));
}

TEST(MetricsTest, ManyThreadsCountTogether) {
  Metrics metrics(kServer);
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      prometheus::Counter& rows = metrics.Get(metric::kRows, {"push"});
      for (int step = 0; step < 1000; ++step) {
        rows.Increment();
        metrics.Get(metric::kRequests, {"push"}).Increment();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(metrics.Get(metric::kRows, {"push"}).Value(), 4000);
  EXPECT_EQ(metrics.Get(metric::kRequests, {"push"}).Value(), 4000);
}

TEST(MetricsDeathTest, AsksOnlyForWhatThereIs) {
  Metrics metrics(kServer);
  EXPECT_DEATH(metrics.Get(metric::kSteps), "marquee_steps_total: is not one of this program");
  EXPECT_DEATH(metrics.Get(metric::kRows), "has 1 labels, not 0");
}

TEST(TransportMetricsTest, AddsUpOverTransports) {
  Metrics metrics(kServer);
  TransportContext context;
  const auto server = NewTransport(context, "server");
  const auto client = NewTransport(context, "client");
  TransportMetrics server_metrics(metrics);
  TransportMetrics client_metrics(metrics);
  ASSERT_TRUE(IsAnswered(*server, *client, *server->Listen("inproc://*"), 1));
  client->Send("nowhere", NewTestRequest(1));
  for (int i = 0; i < 2; ++i) {
    server_metrics.Update(*server);
    client_metrics.Update(*client);
  }
  const auto sent = static_cast<double>(server->counters().messages_sent + client->counters().messages_sent);
  EXPECT_EQ(metrics.Get(metric::kMessages, {"out"}).Value(), sent);
  EXPECT_EQ(metrics.Get(metric::kBytes, {"in"}).Value(),
            static_cast<double>(server->counters().bytes_received + client->counters().bytes_received));
  EXPECT_EQ(metrics.Get(metric::kMessagesDropped).Value(), 1);
  EXPECT_EQ(metrics.Get(metric::kQueueBytes).Value(), 0);
}

TEST(TransportMetricsTest, CountsByReasonGrow) {
  Metrics metrics(kServer);
  std::map<std::string, uint64_t> before;
  AddRejected(metrics, {{"malformed", 2}}, before);
  AddRejected(metrics, {{"malformed", 5}, {"notFinite", 1}}, before);
  EXPECT_EQ(metrics.Get(metric::kRejected, {"malformed"}).Value(), 5);
  EXPECT_EQ(metrics.Get(metric::kRejected, {"notFinite"}).Value(), 1);
}

}  // namespace
}  // namespace marquee
