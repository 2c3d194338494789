// marquee: small jobs that need no cluster.
//
//     marquee keygen --out DIR     the key files of a cluster with `security: curve`
//     marquee metrics              docs/metrics.md

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <string>

#include "common/metric_catalogue.h"
#include "common/security.h"
#include "common/version.h"

namespace marquee {
namespace {

int Keygen(const std::string& folder) {
  const absl::Status status = GenerateKeys(folder);
  if (!status.ok()) {
    fmt::print(stderr, "marquee keygen: {}\n", status.ToString());
    return 1;
  }
  fmt::print(
      "Keys are in {}. Scheduler and servers need all of it, a worker cluster.public, worker.public and worker.secret.\n",
      folder);
  return 0;
}

int Main(int argc, char** argv) {
  CLI::App app("marquee: small jobs that need no cluster");
  app.set_version_flag("--version", fmt::format("marquee {}", Version()));
  app.require_subcommand(1);

  std::string folder;
  CLI::App* const keygen = app.add_subcommand("keygen", "Make the key files of a cluster with `security: curve`");
  keygen->add_option("--out", folder, "Folder to write them to")->required();
  CLI::App* const metrics = app.add_subcommand("metrics", "Print docs/metrics.md: every metric that processes serve");

  CLI11_PARSE(app, argc, argv);
  if (keygen->parsed()) return Keygen(folder);
  if (metrics->parsed()) fmt::print("{}", MetricsPage());
  return 0;
}

}  // namespace
}  // namespace marquee

int main(int argc, char** argv) { return marquee::Main(argc, argv); }
