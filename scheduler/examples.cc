#include "scheduler/examples.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <numeric>

#include "absl/status/status.h"
#include "scheduler/process_plan.h"
#include "scheduler/shell.h"

namespace marquee {
namespace {

constexpr int kMovies = 5;
constexpr std::array<double, 3> kPercentiles = {0.1, 0.5, 0.9};

std::string Titles(const nlohmann::json& movies) {
  std::vector<std::string> titles;
  for (const auto& movie : movies) titles.push_back(movie.at("title").get<std::string>());
  return fmt::format("{}", fmt::join(titles, ", "));
}

std::string Says(const nlohmann::json& movie) {
  if (movie.contains("rating")) return fmt::format("predicted {:.1f}", movie.at("rating").get<double>());
  if (movie.contains("liked")) return fmt::format("liked {:.0f} %", 100 * movie.at("liked").get<double>());
  return fmt::format("score {:.2f}", movie.at("score").get<double>());
}

}  // namespace

std::vector<std::string> ExampleUsers(const Dataset& data) {
  std::vector<uint64_t> ratings(data.users(), 0);
  for (const uint32_t user : data.user_of()) ++ratings[user];
  std::vector<uint32_t> order(data.users());
  std::iota(order.begin(), order.end(), 0U);
  std::stable_sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) { return ratings[a] < ratings[b]; });
  std::vector<std::string> users;
  for (const double percentile : kPercentiles) {
    if (order.empty()) break;
    const uint32_t user = order[static_cast<size_t>(percentile * static_cast<double>(order.size() - 1))];
    const Column& key = data.user_key();
    if (key.code(user) == kNullCode) continue;
    const std::string name(key.value(key.code(user)));
    if (std::find(users.begin(), users.end(), name) == users.end()) users.push_back(name);
  }
  return users;
}

absl::StatusOr<std::vector<ExampleUser>> ParseExamples(const std::string& text) {
  try {
    std::vector<ExampleUser> users;
    const nlohmann::json json = nlohmann::json::parse(text);
    for (const auto& entry : json.at("users")) {
      ExampleUser& user = users.emplace_back();
      entry.at("user").get_to(user.user);
      entry.at("rated").get_to(user.rated);
      user.best_liked = Titles(entry.at("best_liked"));
      for (const auto& movie : entry.at("movies")) {
        user.movies.push_back({.title = movie.at("title"),
                               .genres = fmt::format("{}", fmt::join(movie.at("genres").get<std::vector<std::string>>(), ", ")),
                               .says = Says(movie),
                               .because = Titles(movie.at("because"))});
      }
    }
    return users;
  } catch (const nlohmann::json::exception& exception) {
    return absl::InvalidArgumentError(fmt::format("its answer is none: {}", exception.what()));
  }
}

absl::StatusOr<Examples> AskForExamples(const std::string& trial, const std::string& model, const std::string& data_file,
                                        const std::vector<std::string>& users, const std::string& log) {
  const absl::StatusOr<std::string> program = FindProgram("marquee");
  if (!program.ok()) return program.status();
  std::string command = fmt::format("{} recommend --model {} --data {} --unseen --json --top {}", ShellWord(*program),
                                    ShellWord(model), ShellWord(data_file), kMovies);
  for (const std::string& user : users) command += fmt::format(" --user {}", ShellWord(user));
  absl::StatusOr<std::string> output = OutputOf(fmt::format("{} 2>>{}", command, ShellWord(log)));
  if (output.ok()) {
    absl::StatusOr<std::vector<ExampleUser>> examples = ParseExamples(*output);
    if (examples.ok()) return Examples{trial, *std::move(examples)};
    output = examples.status();
  }
  return absl::InternalError(fmt::format("`{}`: {}; see {}", command, std::string(output.status().message()), log));
}

}  // namespace marquee
