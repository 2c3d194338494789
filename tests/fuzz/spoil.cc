#include "tests/fuzz/spoil.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <iterator>

namespace marquee::fuzz {
namespace {

// What a person, or another program, might have written in the place of a value.
constexpr std::array<std::string_view, 22> kValues = {"0",
                                                      "-1",
                                                      "1e308",
                                                      "-1e308",
                                                      ".nan",
                                                      ".inf",
                                                      "18446744073709551615",
                                                      "-9223372036854775808",
                                                      "4294967296",
                                                      "0.5",
                                                      "true",
                                                      "null",
                                                      "[]",
                                                      "{}",
                                                      "[[[]]]",
                                                      "\"\"",
                                                      "~",
                                                      "*x",
                                                      "&x 1",
                                                      "!!binary",
                                                      "\"\\0\"",
                                                      "9999999999999999999999999"};

}  // namespace

void SpoilBytes(std::string& bytes, simulation::Random& random) {
  for (uint64_t times = random.Between(1, 4); times > 0 && !bytes.empty(); --times) {
    const size_t at = random.Below(bytes.size());
    switch (random.Below(5)) {
      case 0:
        bytes[at] = static_cast<char>(random.Next());
        break;
      case 1:
        bytes[at] = static_cast<char>(static_cast<uint8_t>(bytes[at]) ^ (1U << random.Below(8)));
        break;
      case 2:
        bytes.resize(at);
        break;
      case 3:
        bytes.insert(at, bytes.substr(random.Below(bytes.size()), random.Below(64)));
        break;
      default:
        for (size_t i = at; i < std::min(at + 8, bytes.size()); ++i) bytes[i] = random.OneIn(2) ? '\xff' : '\0';
    }
  }
}

void SpoilText(std::string& text, simulation::Random& random) {
  if (text.empty()) return;
  const size_t at = text.find_first_of(":,[{", random.Below(text.size()));
  if (at == std::string::npos) return;
  const size_t end = std::min(text.find_first_of(",]}\n", at + 1), text.size());
  switch (random.Below(4)) {
    case 0: {
      const size_t line = text.rfind('\n', at);
      text.erase(line == std::string::npos ? 0 : line, random.Below(80));
      break;
    }
    case 1:
      text.insert(end, text.substr(at, end - at));
      break;
    default:
      text.replace(at + 1, end - at - 1, fmt::format(" {}", kValues[random.Below(kValues.size())]));
  }
}

std::string OutcomeOf(const absl::Status& status) {
  return status.ok() ? "accepted" : std::string(absl::StatusCodeToString(status.code()));
}

void WriteTo(const std::string& path, std::string_view bytes) {
  std::filesystem::remove(path);  // one that is written over is flushed by some file systems
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

std::string ReadFrom(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

}  // namespace marquee::fuzz
