#include "dataset/movielens_labels.h"

#include <algorithm>
#include <utility>

namespace marquee {
namespace {

constexpr std::array<std::pair<std::string_view, std::string_view>, 2> kGenreSpellings = {{
    {"Children's", "Children"},
    {"unknown", "Unknown"},
}};

constexpr std::array<std::pair<std::string_view, std::string_view>, 13> kOccupationSpellings = {{
    {"college/grad student", "student"},
    {"K-12 student", "student"},
    {"administrator", "clerical/admin"},
    {"doctor", "doctor/health care"},
    {"educator", "academic/educator"},
    {"engineer", "technician/engineer"},
    {"executive", "executive/managerial"},
    {"healthcare", "doctor/health care"},
    {"marketing", "sales/marketing"},
    {"salesman", "sales/marketing"},
    {"none", "other/not specified"},
    {"other", "other/not specified"},
    {"technician", "technician/engineer"},
}};

template <typename Labels, typename Spellings>
std::optional<uint32_t> Find(const Labels& labels, const Spellings& spellings, std::string_view text) {
  for (const auto& [spelling, label] : spellings) {
    if (spelling == text) text = label;
  }
  const auto found = std::find(labels.begin(), labels.end(), text);
  if (found == labels.end()) return std::nullopt;
  return static_cast<uint32_t>(found - labels.begin());
}

}  // namespace

int AgeBucket(int age) {
  int bucket = kAgeBuckets.front();
  for (const int lower : kAgeBuckets) {
    if (age >= lower) bucket = lower;
  }
  return bucket;
}

std::optional<uint32_t> GenreLabel(std::string_view genre) { return Find(kGenreLabels, kGenreSpellings, genre); }

std::optional<uint32_t> OccupationLabel(std::string_view text) { return Find(kOccupationLabels, kOccupationSpellings, text); }

}  // namespace marquee
