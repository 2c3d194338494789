// Gives wrong files to all that reads files, for a while: `fuzz_files --seconds 10 --seed 1`. The seed of a file that fails is
// printed, and `fuzz_files --seed SEED --files 1` repeats it. Built with MARQUEE_FUZZ, fuzz_files_libfuzzer does the same led
// by coverage; `--corpus DIR` writes right files for it to begin with.

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

#include "tests/fuzz/file_fuzz.h"

namespace marquee::fuzz {
namespace {

uint64_t file_seed = 0;  // for the signal handler

void SayWhichFile(int signal_number) {
  fmt::print(stderr, "signal {} at file --seed {} --files 1\n", signal_number, file_seed);
  std::fflush(stderr);
  std::signal(signal_number, SIG_DFL);
  std::raise(signal_number);
}

std::string TryOne(FileFuzzer& fuzzer, uint64_t seed, std::map<std::string, uint64_t>& outcomes) {
  simulation::Random random(seed);
  if (random.OneIn(8)) {
    const std::string outcome = fuzzer.TrySpoiltRows(random);
    ++outcomes["kept model's rows: " + outcome];
    return outcome == "spoilt rows were accepted" ? outcome : "";
  }
  const auto kind = static_cast<FileKind>(random.Below(kFileKinds));
  const std::string outcome = fuzzer.Try(kind, FileFuzzer::Spoil(kind, fuzzer.Right(kind), random));
  ++outcomes[fmt::format("{}: {}", FileKindName(kind), outcome)];
  return outcome == "INTERNAL" ? "a fault of ours" : "";
}

// Right files must be accepted, and of the spoilt ones some of each kind accepted, or all were refused at the door.
std::string ReachedEnough(FileFuzzer& fuzzer, const std::map<std::string, uint64_t>& outcomes) {
  for (int kind = 0; kind < kFileKinds; ++kind) {
    const auto of = static_cast<FileKind>(kind);
    if (const std::string outcome = fuzzer.Try(of, fuzzer.Right(of)); outcome != "accepted") {
      return fmt::format("a right {} is refused: {}", FileKindName(of), outcome);
    }
    if (!outcomes.contains(fmt::format("{}: accepted", FileKindName(of)))) {
      return fmt::format("no spoilt {} was ever accepted: what is behind the checks was not reached", FileKindName(of));
    }
  }
  return "";
}

int Run(const std::string& folder, uint64_t seed, uint64_t files, double seconds) {
  for (const int signal_number : {SIGSEGV, SIGABRT, SIGBUS, SIGFPE, SIGILL}) std::signal(signal_number, SayWhichFile);
  FileFuzzer fuzzer(folder);
  std::map<std::string, uint64_t> outcomes;
  const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
  std::string violation;
  uint64_t tried = 0;
  for (; violation.empty() && (files > 0 ? tried < files : std::chrono::steady_clock::now() < end); ++tried) {
    file_seed = seed + tried;
    violation = TryOne(fuzzer, file_seed, outcomes);
    if (!violation.empty()) violation = fmt::format("file --seed {} --files 1: {}", file_seed, violation);
  }
  if (violation.empty() && files == 0) violation = ReachedEnough(fuzzer, outcomes);
  fmt::print("{} files from seed {}\n", tried, seed);
  for (const auto& [outcome, count] : outcomes) fmt::print("  {:40} {}\n", outcome, count);
  if (!violation.empty()) fmt::print(stderr, "{}\n", violation);
  return violation.empty() ? 0 : 1;
}

int WriteCorpus(const std::string& scratch, const std::string& folder) {
  std::filesystem::create_directories(folder);
  const FileFuzzer fuzzer(scratch);
  for (int kind = 0; kind < kFileKinds; ++kind) {
    std::ofstream(fmt::format("{}/{}", folder, kind), std::ios::binary)
        << static_cast<char>(kind) << fuzzer.Right(static_cast<FileKind>(kind));
  }
  return 0;
}

int Main(int argc, char** argv) {
  CLI::App app("Gives wrong files to all that reads files");
  uint64_t seed = 1;
  uint64_t files = 0;
  double seconds = 10;
  std::string corpus;
  app.add_option("--seed", seed, "Of the first file");
  app.add_option("--files", files, "How many; 0: as many as there is time for");
  app.add_option("--seconds", seconds, "How long, if no number of files is given");
  app.add_option("--corpus", corpus, "Write right files to this folder, for libFuzzer, and do nothing else");
  CLI11_PARSE(app, argc, argv);
  setenv("MARQUEE_LOG", "critical", /*overwrite=*/0);  // refusals are counted
  std::string folder = (std::filesystem::temp_directory_path() / "marquee-fuzz-XXXXXX").string();
  if (mkdtemp(folder.data()) == nullptr) return 1;
  const int code = corpus.empty() ? Run(folder, seed, files, seconds) : WriteCorpus(folder, corpus);
  std::filesystem::remove_all(folder);
  return code;
}

}  // namespace
}  // namespace marquee::fuzz

int main(int argc, char** argv) { return marquee::fuzz::Main(argc, argv); }
