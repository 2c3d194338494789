// marquee: what needs no cluster.
//
//     marquee recommend --model DIR --user ID   movies for a user, from a kept model; --rate MOVIE=RATING for a guest
//     marquee serve --model DIR                 the movie page, and the same as JSON
//     marquee export --model DIR --out DIR      a kept model as arrays and TorchScript
//     marquee keygen --out DIR                  the key files of a cluster with `security: curve`
//     marquee metrics                           docs/metrics.md
//     marquee targets --cluster FILE            where Prometheus finds a cluster's processes
//     marquee trace FOLDER --out FILE           one trace of what processes wrote with --trace-folder
//
// Exit codes: 0; 1 it could not be done; 2 the command line is wrong; 130 and 143 `serve` was stopped by Ctrl-C or SIGTERM.

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "checkpoint/commands.h"
#include "common/cluster_config.h"
#include "common/command_line.h"
#include "common/log.h"
#include "common/metric_catalogue.h"
#include "common/program.h"
#include "common/prometheus_targets.h"
#include "common/security.h"
#include "common/trace_merge.h"
#include "serving/exporter.h"
#include "serving/kept_model.h"
#include "serving/recommendations.h"
#include "serving/recommender.h"
#include "serving/serve.h"
#include "serving/title_search.h"

namespace marquee {
namespace {

constexpr size_t kRecallUsers = 1000;

constexpr const char* kExamples = R"(Examples:
  Ten movies that user 42 has not rated, from the best model of a sweep:
    marquee recommend --model runs/retrieval --user 42 --unseen

  And for somebody who is not in the data, from a few ratings:
    marquee recommend --model runs/retrieval --rate "toy story=5" --rate "heat=2"

  The same for browsers and programs, at http://127.0.0.1:7780/; stars are predicted by another model of the same data:
    marquee serve --model runs/best-retrieval --predictions runs/best-rating

  Keys for a cluster on more than one machine, and a look at its checkpoints:
    marquee keygen --out keys
    marquee checkpoint verify runs/retrieval/checkpoints

`marquee COMMAND --help` says more of each. Exit codes: 0, 1 it could not be done, 2 the command line is wrong, 130 and 143
`serve` was stopped by Ctrl-C or SIGTERM.
Read on: docs/serving.md, docs/security.md, docs/checkpoints.md.)";

struct ModelFlags {
  std::string model;
  std::string data;
};

struct RecommendFlags {
  std::vector<std::string> users;
  std::vector<std::string> ratings;  // MOVIE=RATING, of a guest
  RecommendOptions options;
  bool approximate = false;
  bool json = false;
};

struct ExportFlags {
  std::string out;
  bool as_of_test = false;
};

absl::StatusOr<std::unique_ptr<KeptModel>> Open(const ModelFlags& flags) { return KeptModel::Open(flags.model, flags.data); }

// Of texts MOVIE=RATING, where MOVIE is a movie's key or words of its title.
absl::StatusOr<std::vector<GuestRating>> ParseRatings(const KeptModel& model, const Recommender& recommender,
                                                      const std::vector<std::string>& texts) {
  const TitleSearch search = SearchOf(model, recommender);
  std::vector<GuestRating> ratings;
  for (const std::string& text : texts) {
    const size_t equals = text.rfind('=');
    float rating = 0;
    if (equals == std::string::npos || !absl::SimpleAtof(text.substr(equals + 1), &rating) || !(rating >= 1 && rating <= 5)) {
      return absl::InvalidArgumentError(
          fmt::format("--rate: '{}': must be MOVIE=RATING, with a rating from 1 to 5: \"toy story=5\"", text));
    }
    const std::string name = text.substr(0, equals);
    std::vector<uint32_t> found;
    if (const absl::StatusOr<uint32_t> movie = recommender.FindMovie(name); movie.ok()) found = {*movie};
    if (found.empty()) found = search.Find(name, 1);
    if (found.empty()) return absl::NotFoundError(fmt::format("--rate: no movie has the key or the title '{}'", name));
    for (const GuestRating& before : ratings) {
      if (before.item != found.front()) continue;
      return absl::InvalidArgumentError(
          fmt::format("--rate: '{}' is '{}', which is rated already; each movie may be rated once", name,
                      recommender.TitleOf(before.item)));
    }
    ratings.push_back({.item = found.front(), .rating = rating});
  }
  return ratings;
}

// Adds what the model recommends to somebody with these ratings.
absl::Status RecommendToGuest(const KeptModel& model, const RecommendFlags& asked, Recommender& recommender,
                              nlohmann::ordered_json* json, std::string* text) {
  const absl::StatusOr<std::vector<GuestRating>> rated = ParseRatings(model, recommender, asked.ratings);
  if (!rated.ok()) return rated.status();
  if (absl::Status status = recommender.PrepareForGuests(); !status.ok()) return status;
  const std::vector<Recommendation> movies = recommender.RecommendToGuest(*rated, asked.options);
  (*json)["guest"] = GuestRecommendationsJson(recommender, *rated, movies);
  *text += (text->empty() ? "" : "\n") + GuestRecommendationsText(recommender, *rated, movies);
  return absl::OkStatus();
}

absl::Status Recommend(const ModelFlags& flags, const RecommendFlags& asked) {
  const absl::StatusOr<std::unique_ptr<KeptModel>> model = Open(flags);
  if (!model.ok()) return model.status();
  const auto index = asked.approximate ? Recommender::Index::kApproximate : Recommender::Index::kExact;
  const absl::StatusOr<std::unique_ptr<Recommender>> recommender = Recommender::Make(**model, index);
  if (!recommender.ok()) return recommender.status();
  nlohmann::ordered_json json;
  json["users"] = nlohmann::ordered_json::array();
  std::string text;
  for (const std::string& name : asked.users) {
    const absl::StatusOr<uint32_t> user = (*recommender)->FindUser(name);
    if (!user.ok()) return user.status();
    const std::vector<Recommendation> movies = (*recommender)->Recommend(*user, asked.options);
    if (asked.json) json["users"].push_back(RecommendationsJson(**recommender, *user, movies));
    text += (text.empty() ? "" : "\n") + RecommendationsText(**recommender, *user, movies);
  }
  if (!asked.ratings.empty()) {
    if (absl::Status status = RecommendToGuest(**model, asked, **recommender, &json, &text); !status.ok()) return status;
  }
  if (asked.approximate) {
    const double recall = (*recommender)->IndexRecall(kRecallUsers, asked.options.count);
    json["index_recall"] = recall;
    text += fmt::format("\nThe approximate index finds {:.2f} % of the exact one's first {}, over {} users.\n", 100 * recall,
                        asked.options.count, std::min<size_t>(kRecallUsers, (*model)->data().users()));
  }
  fmt::print("{}", asked.json ? json.dump(2) + "\n" : text);
  return absl::OkStatus();
}

absl::Status ExportModel(const ModelFlags& flags, const ExportFlags& asked) {
  const absl::StatusOr<std::unique_ptr<KeptModel>> model = Open(flags);
  if (!model.ok()) return model.status();
  const ExportOptions options{.purpose = asked.as_of_test ? Entities::For::kTest : Entities::For::kNow};
  if (absl::Status status = Export(**model, asked.out, options); !status.ok()) return status;
  fmt::print("{}/manifest.json says what is there.\n", asked.out);
  return absl::OkStatus();
}

absl::Status Keygen(const std::string& folder) {
  if (absl::Status status = GenerateKeys(folder); !status.ok()) return status;
  fmt::print(
      "Keys are in {}. Every machine needs cluster.public and its role's pair; scheduler and servers all public files and "
      "cluster.secret.\n",
      folder);
  return absl::OkStatus();
}

void AddModelFlags(CLI::App* command, ModelFlags& flags) {
  command->add_option("--model", flags.model, "A kept model (runs/NAME/models/TRIAL), or a run that has kept one")->required();
  command->add_option("--data", flags.data, "The data file, if it is no longer where it was during training");
}

constexpr const char* kServeHelp = R"(Examples:
  For whoever sits at this machine, at http://127.0.0.1:7780/:
    marquee serve --model runs/retrieval

  For others too, who must know a token:
    head -c 24 /dev/urandom | base64 > movies.token; chmod 600 movies.token
    marquee serve --model runs/retrieval --host 0.0.0.0 --token-file movies.token

  For a program:
    curl 'http://127.0.0.1:7780/api/search?q=toy+story'
    curl 'http://127.0.0.1:7780/api/users/42/recommendations?count=5'
    curl http://127.0.0.1:7780/api/recommendations -d '{"ratings": [{"movie": "1", "rating": 5}]}'

/healthz, /readyz and /metrics are served beside these. SIGTERM ends it once what has been asked is answered. Read on: docs/serving.md.)";

void AddServeFlags(CLI::App* command, ServeOptions& options) {
  command->footer(kServeHelp);
  command->add_option("--model", options.model, "A kept model (runs/NAME/models/TRIAL), or a run that has kept one")
      ->required();
  command->add_option("--predictions", options.predictions,
                      "Another kept model of the same data, which predicts the ratings of the movies that the first one finds");
  command->add_option("--data", options.data, "The data file, if it is no longer where it was during training");
  command->add_option("--host", options.host, "The address to listen on; any but loopback needs --token-file")
      ->capture_default_str();
  command->add_option("--port", options.port, "The port; 0: a free one")->capture_default_str();
  command->add_option("--token-file", options.token_file,
                      "A file whose first line is the token that readers must know; nobody else may read it");
  command->add_flag("--approximate", options.approximate, "Search an approximate index, for very many movies");
}

absl::Status PrintCheckpoints(const std::string& folder) {
  const absl::StatusOr<std::string> text = ListCheckpoints(RealFileSystem(), folder);
  if (!text.ok()) return text.status();
  fmt::print("{}", *text);
  return absl::OkStatus();
}

absl::Status Verify(const std::string& folder) {
  const absl::StatusOr<CheckpointsVerified> verified = VerifyCheckpoints(RealFileSystem(), folder);
  if (!verified.ok()) return verified.status();
  fmt::print("{}", verified->text);
  return verified->all_good ? absl::OkStatus() : absl::DataLossError(fmt::format("{}: not all are good", folder));
}

absl::Status PrintTargets(const std::string& cluster, const std::string& run) {
  const absl::StatusOr<ClusterConfig> config = LoadClusterConfig(cluster);
  if (!config.ok()) return config.status();
  const absl::StatusOr<std::string> targets = PrometheusTargets(*config, cluster, run);
  if (!targets.ok()) return targets.status();
  fmt::print("{}", *targets);
  return absl::OkStatus();
}

absl::Status Trace(const std::string& folder, const std::string& out) {
  const absl::StatusOr<TraceSummary> summary = MergeTraces(folder, out);
  if (!summary.ok()) return summary.status();
  fmt::print("{}", TraceText(*summary));
  return absl::OkStatus();
}

int Main(int argc, char** argv) {
  CLI::App app("Uses and looks after what sweeps leave, and makes keys: what needs no cluster.", "marquee");
  app.footer(kExamples);
  app.require_subcommand(1);

  ModelFlags model;
  RecommendFlags recommend_flags;
  CLI::App* const recommend = app.add_subcommand("recommend", "Movies for a user, from a model that a sweep has kept");
  AddModelFlags(recommend, model);
  recommend->add_option("--user", recommend_flags.users, "The user's key in the data, such as 42; may be given several times");
  recommend->add_option(
      "--rate", recommend_flags.ratings,
      "MOVIE=RATING, a movie by key or by words of its title, of somebody who is not in the data; several times");
  recommend->add_option("--top", recommend_flags.options.count, "How many movies (default: 10)")->check(CLI::PositiveNumber);
  recommend->add_flag("--unseen", recommend_flags.options.unseen, "Leave out the movies that the user has rated");
  recommend->add_flag("--approximate", recommend_flags.approximate,
                      "Search an approximate index, and say how much of the exact one's answers it finds");
  recommend->add_flag("--json", recommend_flags.json, "Print JSON");

  ServeOptions serve_options;
  CLI::App* const serving =
      app.add_subcommand("serve", "The movie page: recommendations for browsers, and as JSON for programs");
  AddServeFlags(serving, serve_options);

  ExportFlags export_flags;
  CLI::App* const exporting = app.add_subcommand("export", "A kept model as .npy arrays, TorchScript and a manifest");
  AddModelFlags(exporting, model);
  exporting->add_option("--out", export_flags.out, "Folder to write to")->required();
  exporting->add_flag("--as-of-test", export_flags.as_of_test,
                      "Make users' vectors of what was known when the test part was read, instead of all ratings");

  std::string folder;
  CLI::App* const keygen = app.add_subcommand("keygen", "Make the key files of a cluster with `security: curve`");
  keygen->add_option("--out", folder, "Folder to write them to")->required();
  CLI::App* const metrics = app.add_subcommand("metrics", "Print docs/metrics.md: every metric that processes serve");

  std::string cluster;
  std::string run;
  CLI::App* const targets =
      app.add_subcommand("targets", "Print where Prometheus finds a cluster's processes, as a file for its file_sd_configs");
  targets->add_option("--cluster", cluster, "The cluster file")->required();
  targets->add_option("--run", run, "The folder of a running sweep, which knows the ports that the cluster file leaves free");

  std::string checkpoints;
  CLI::App* const checkpoint = app.add_subcommand("checkpoint", "Look at the checkpoints of a sweep");
  checkpoint->require_subcommand(1);
  CLI::App* const list = checkpoint->add_subcommand("list", "Print which there are");
  CLI::App* const verify = checkpoint->add_subcommand("verify", "Read every byte of them; ends with 1 if one is damaged");
  for (CLI::App* const command : {list, verify}) {
    command->add_option("folder", checkpoints, "The folder of checkpoints (runs/NAME/checkpoints)")->required();
  }

  std::string trace_folder, trace_out;
  CLI::App* const trace = app.add_subcommand("trace", "One trace for Perfetto of what processes wrote with --trace-folder");
  trace->add_option("folder", trace_folder, "The folder that they wrote to (runs/NAME/trace)")->required();
  trace->add_option("--out", trace_out, "The file to write")->required();

  if (const std::optional<int> code = ParseCommandLine(app, argc, argv)) return *code;
  absl::Status status;
  if (trace->parsed()) status = Trace(trace_folder, trace_out);
  if (list->parsed()) status = PrintCheckpoints(checkpoints);
  if (verify->parsed()) status = Verify(checkpoints);
  if (recommend->parsed() && recommend_flags.users.empty() && recommend_flags.ratings.empty()) {
    std::fprintf(stderr, "marquee recommend: needs --user or --rate\n");
    return 2;
  }
  if (recommend->parsed()) status = Recommend(model, recommend_flags);
  if (serving->parsed()) status = Serve(serve_options);
  if (exporting->parsed()) status = ExportModel(model, export_flags);
  if (keygen->parsed()) status = Keygen(folder);
  if (targets->parsed()) status = PrintTargets(cluster, run);
  if (metrics->parsed()) fmt::print("{}", MetricsPage());
  if (!status.ok()) return Fail("marquee", status);
  return StopSignal() != 0 ? 128 + StopSignal() : 0;
}

}  // namespace
}  // namespace marquee

int main(int argc, char** argv) {
  marquee::StartLog("marquee");
  return marquee::Main(argc, argv);
}
