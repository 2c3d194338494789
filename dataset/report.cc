#include "dataset/report.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <limits>

#include "dataset/text_file.h"

namespace marquee {

void Report::Step(std::string_view what, uint64_t count, std::string_view unit) {
  step_ = what;
  lines_.push_back({step_, std::string(unit), count, fmt::format("{}: {} {}", what, WithThousands(count), unit)});
}

void Report::Reason(uint64_t count, std::string_view why, const std::vector<std::string>& examples) {
  std::string text = fmt::format("    {} {}", WithThousands(count), why);
  if (!examples.empty()) text += fmt::format(": {}{}", fmt::join(examples, ", "), count > examples.size() ? " ..." : "");
  lines_.push_back({step_, std::string(why), count, std::move(text)});
}

void Report::Note(std::string_view text) { lines_.push_back({step_, "", 0, fmt::format("    {}", text)}); }

std::string Report::text() const {
  std::string all;
  for (const Line& line : lines_) all += line.text + "\n";
  return all;
}

uint64_t Report::count(std::string_view step, std::string_view words) const {
  for (const Line& line : lines_) {
    if (line.step == step && line.words == words) return line.count;
  }
  return std::numeric_limits<uint64_t>::max();
}

}  // namespace marquee
