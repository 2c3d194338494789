// Throws wrong messages at the real state machines for a while: `fuzz_messages --seconds 10 --seed 1`.
//
// A run is episodes, each a new conversation with a seed of its own; the seed of one that fails is printed, and
// `fuzz_messages --seed SEED --episodes 1` repeats it. Built with MARQUEE_FUZZ, fuzz_libfuzzer does the same led by coverage;
// `--corpus DIR` writes right messages for it to begin with.

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>

#include "tests/fuzz/conversation.h"
#include "tests/fuzz/fuzz_input.h"

namespace marquee::fuzz {
namespace {

constexpr int kMessagesInEpisode = 400;

uint64_t episode_seed = 0;  // for the signal handler

void SayWhichEpisode(int signal_number) {
  fmt::print(stderr, "signal {} in episode --seed {} --episodes 1\n", signal_number, episode_seed);
  std::fflush(stderr);
  std::signal(signal_number, SIG_DFL);
  std::raise(signal_number);
}

struct Totals {
  std::map<std::string, uint64_t> outcomes;
  uint64_t steps = 0;
  uint64_t filled = 0;  // servers that were replaced
  uint64_t episodes = 0;
  uint64_t messages = 0;
};

// Returns what did not hold.
std::string RunEpisode(uint64_t seed, Totals& totals) {
  simulation::Random random(seed);
  Mutator mutator(random);
  Conversation conversation(random.OneIn(2) ? 1 : 2);
  // Wrong messages sooner or later end what the right ones began: they come early or late, and often or rarely.
  const auto first_wrong = static_cast<int>(random.Below(kMessagesInEpisode));
  const uint64_t most_wrong = random.Between(1, 4);
  const uint64_t rarity = random.Between(1, 8);
  for (int i = 0; i < kMessagesInEpisode && conversation.violation().empty(); ++i) {
    const std::optional<Packet> packet = conversation.Next();
    if (!packet.has_value()) break;
    const bool disturbed = i >= first_wrong && random.OneIn(rarity);
    for (uint64_t wrong = disturbed ? random.Between(1, most_wrong) : 0; wrong > 0; --wrong) {
      conversation.Deliver({packet->to, packet->from, mutator.Mutate(packet->frames)}, random.OneIn(4));
      ++totals.messages;
    }
    if (!random.OneIn(50)) conversation.Deliver(*packet, random.OneIn(4));
    if (random.OneIn(50)) conversation.Deliver(*packet);
  }
  for (const auto& [outcome, count] : conversation.outcomes()) totals.outcomes[outcome] += count;
  totals.steps += conversation.steps();
  totals.filled += conversation.filled();
  ++totals.episodes;
  return conversation.violation();
}

// A fuzzer that only ever sees its messages refused at the door tests nothing.
bool ReachedEnough(const Totals& totals) {
  size_t kinds_of_refusal = 0;
  for (const auto& [outcome, count] : totals.outcomes) {
    if (outcome.rfind("shard: ", 0) == 0 && outcome != "shard: accepted") ++kinds_of_refusal;
  }
  return totals.steps > 0 && totals.filled > 0 && kinds_of_refusal >= 5 && totals.outcomes.contains("shard: accepted") &&
         totals.outcomes.contains("coordinator: accepted") && totals.outcomes.contains("not a message");
}

int Run(uint64_t seed, uint64_t episodes, double seconds) {
  for (const int signal_number : {SIGSEGV, SIGABRT, SIGBUS, SIGFPE, SIGILL}) std::signal(signal_number, SayWhichEpisode);
  const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
  Totals totals;
  for (uint64_t i = 0; episodes > 0 ? i < episodes : std::chrono::steady_clock::now() < end; ++i) {
    episode_seed = seed + i;
    const std::string violation = RunEpisode(episode_seed, totals);
    if (!violation.empty()) {
      fmt::print(stderr, "episode --seed {} --episodes 1: {}\n", episode_seed, violation);
      return 1;
    }
  }
  fmt::print("{} episodes from seed {}, {} wrong messages, {} steps trained and {} servers replaced between them\n",
             totals.episodes, seed, totals.messages, totals.steps, totals.filled);
  for (const auto& [outcome, count] : totals.outcomes) fmt::print("  {:32} {}\n", outcome, count);
  if (episodes == 0 && !ReachedEnough(totals)) {
    fmt::print(stderr, "the wrong messages did not reach what they should test\n");
    return 1;
  }
  return 0;
}

int WriteCorpus(const std::string& folder) {
  std::filesystem::create_directories(folder);
  Conversation conversation(2);
  for (int i = 0; i < kMessagesInEpisode; ++i) {
    const std::optional<Packet> packet = conversation.Next();
    if (!packet.has_value()) break;
    std::ofstream(fmt::format("{}/{:04}", folder, i), std::ios::binary) << EncodeInput(*packet);
    conversation.Deliver(*packet);
  }
  return 0;
}

int Main(int argc, char** argv) {
  CLI::App app("Throws wrong messages at the real state machines");
  uint64_t seed = 1;
  uint64_t episodes = 0;
  double seconds = 10;
  std::string corpus;
  app.add_option("--seed", seed, "Of the first episode");
  app.add_option("--episodes", episodes, "How many; 0: as many as there is time for");
  app.add_option("--seconds", seconds, "How long, if no number of episodes is given");
  app.add_option("--corpus", corpus, "Write right messages to this folder, for libFuzzer, and do nothing else");
  CLI11_PARSE(app, argc, argv);
  return corpus.empty() ? Run(seed, episodes, seconds) : WriteCorpus(corpus);
}

}  // namespace
}  // namespace marquee::fuzz

int main(int argc, char** argv) { return marquee::fuzz::Main(argc, argv); }
