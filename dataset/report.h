#ifndef MARQUEE_DATASET_REPORT_H_
#define MARQUEE_DATASET_REPORT_H_

// What wrangling did, for people: the row count of each step, and under it why rows or values are missing. Tests read the
// numbers back with `count`. Not thread-safe.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace marquee {

class Report {
 public:
  // "ratings.dat: 1,000,209 ratings"
  void Step(std::string_view what, uint64_t count, std::string_view unit);
  // Below a step: "23 are not in links.csv: 1294, 3366, 1205 ...", with dots where there are more than the examples. A count of
  // 0 is printed too, so that a reader sees that it was looked at.
  void Reason(uint64_t count, std::string_view why, const std::vector<std::string>& examples = {});
  void Note(std::string_view text);

  std::string text() const;

  // The count of a reason or of a step's unit, by the words that follow the number; UINT64_MAX if there is none.
  uint64_t count(std::string_view step, std::string_view words) const;

 private:
  struct Line {
    std::string step;
    std::string words;
    uint64_t count = 0;
    std::string text;
  };
  std::vector<Line> lines_;
  std::string step_;
};

}  // namespace marquee

#endif  // MARQUEE_DATASET_REPORT_H_
