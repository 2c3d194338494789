#include "dataset/exploration.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <numeric>
#include <optional>
#include <utility>

#include "absl/time/civil_time.h"
#include "absl/time/time.h"
#include "dataset/text_file.h"

namespace marquee {
namespace {

constexpr size_t kZipDigits = 5;

// The National Areas of the US Postal Service: the first digit of a zip code.
constexpr std::array<std::string_view, 10> kRegions = {
    "0: CT MA ME NH NJ RI VT", "1: DE NY PA",    "2: DC MD NC SC VA WV", "3: AL FL GA MS TN",       "4: IN KY MI OH",
    "5: IA MN MT ND SD WI",    "6: IL KS MO NE", "7: AR LA OK TX",       "8: AZ CO ID NM NV UT WY", "9: AK CA HI OR WA"};

std::string_view TextOf(const Column& column, size_t row) {
  const uint32_t code = column.code(row);
  return code == kNullCode ? std::string_view() : column.value(code);
}

// A column of the type and level that MovieLens has it in; nullptr where the data has no such column.
const Column* Find(const Dataset& data, std::string_view name, Column::Level level, Column::Type type) {
  const Column* column = data.column(name);
  return column != nullptr && column->level() == level && column->type() == type ? column : nullptr;
}

void AddRating(RatingGroup& group, float rating) {
  ++group.ratings;
  ++group.by_value[rating];
}

void AddRatings(RatingGroup& group, const RatingGroup& other) {
  group.ratings += other.ratings;
  for (const auto& [value, count] : other.by_value) group.by_value[value] += count;
}

// The ratings of each user or of each item.
std::vector<RatingGroup> ByRow(const Dataset& data, Column::Level level) {
  std::vector<RatingGroup> rows(level == Column::Level::kUser ? data.users() : data.items());
  for (size_t i = 0; i < data.interactions(); ++i) AddRating(rows[data.RowOf(level, i)], data.label()[i]);
  return rows;
}

// Groups of users or items; `names_of` gives the names of the groups that a row belongs to. In the order of names.
std::vector<RatingGroup> GroupRows(const std::vector<RatingGroup>& rows,
                                   const std::function<std::vector<std::string>(size_t)>& names_of) {
  std::map<std::string, RatingGroup> groups;
  for (size_t row = 0; row < rows.size(); ++row) {
    for (const std::string& name : names_of(row)) {
      RatingGroup& group = groups[name];
      group.name = name;
      ++group.members;
      AddRatings(group, rows[row]);
    }
  }
  std::vector<RatingGroup> result;
  for (auto& [name, group] : groups) result.push_back(std::move(group));
  return result;
}

std::vector<RatingGroup> GroupByText(const std::vector<RatingGroup>& rows, const Column* column) {
  if (column == nullptr) return {};
  return GroupRows(rows, [column](size_t row) -> std::vector<std::string> {
    const std::string_view text = TextOf(*column, row);
    if (text.empty()) return {};
    return {std::string(text)};
  });
}

std::vector<RatingGroup> GroupByGenre(const std::vector<RatingGroup>& rows, const Column* column) {
  if (column == nullptr) return {};
  return GroupRows(rows, [column](size_t row) {
    std::vector<std::string> names;
    for (const uint32_t code : column->codes(row)) names.emplace_back(column->value(code));
    return names;
  });
}

std::vector<RatingGroup> GroupByGender(const std::vector<RatingGroup>& rows, const Column* column) {
  std::vector<RatingGroup> groups = GroupByText(rows, column);
  for (RatingGroup& group : groups) {
    if (group.name == "True") group.name = "men";
    if (group.name == "False") group.name = "women";
  }
  return groups;
}

std::vector<RatingGroup> GroupByNumber(const std::vector<RatingGroup>& rows, const Column* column) {
  if (column == nullptr) return {};
  std::map<double, RatingGroup> groups;
  for (size_t row = 0; row < rows.size(); ++row) {
    if (column->is_null(row)) continue;
    RatingGroup& group = groups[column->number(row)];
    group.name = fmt::format("{:g}", column->number(row));
    ++group.members;
    AddRatings(group, rows[row]);
  }
  std::vector<RatingGroup> result;
  for (auto& [number, group] : groups) result.push_back(std::move(group));
  return result;
}

std::vector<RatingGroup> GroupByRegion(const std::vector<RatingGroup>& rows, const Column* zip) {
  if (zip == nullptr) return {};
  return GroupRows(rows, [zip](size_t row) -> std::vector<std::string> {
    const std::string_view code = TextOf(*zip, row);
    if (code.empty()) return {"no zip code"};
    const bool digit = code[0] >= '0' && code[0] <= '9';
    return {digit ? std::string(kRegions[static_cast<size_t>(code[0] - '0')]) : "elsewhere"};
  });
}

template <typename Key>
std::vector<RatingGroup> Sorted(std::vector<RatingGroup> groups, Key key) {
  std::stable_sort(groups.begin(), groups.end(), [&](const auto& a, const auto& b) { return key(a) > key(b); });
  return groups;
}

std::vector<RatingGroup> MostRatings(std::vector<RatingGroup> groups) {
  return Sorted(std::move(groups), [](const RatingGroup& group) { return group.ratings; });
}

std::vector<RatingGroup> MostMembers(std::vector<RatingGroup> groups) {
  return Sorted(std::move(groups), [](const RatingGroup& group) { return std::pair(group.members, group.ratings); });
}

std::vector<RatingGroup> Movies(const Dataset& data, std::vector<RatingGroup> items) {
  const Column* title = Find(data, "movie_title", Column::Level::kItem, Column::Type::kId);
  const Column& names = title != nullptr ? *title : data.item_key();
  items.resize(data.rated_items());
  for (size_t item = 0; item < items.size(); ++item) {
    items[item].name = std::string(TextOf(names, item));
    items[item].members = 1;
  }
  return MostRatings(std::move(items));
}

void ExploreTimes(const Dataset& data, Exploration& exploration) {
  const Column* time = Find(data, "timestamp", Column::Level::kInteraction, Column::Type::kNumber);
  if (time == nullptr) return;
  exploration.months_of_year.resize(12);
  exploration.weekdays.resize(7);
  std::map<absl::CivilMonth, RatingGroup> months;
  for (size_t i = 0; i < data.interactions(); ++i) {
    if (time->is_null(i)) {
      ++exploration.without_time;
      continue;
    }
    const absl::CivilDay day =
        absl::ToCivilDay(absl::FromUnixSeconds(static_cast<int64_t>(std::floor(time->number(i)))), absl::UTCTimeZone());
    const float rating = data.label()[i];
    AddRating(months[absl::CivilMonth(day)], rating);
    AddRating(exploration.months_of_year[static_cast<size_t>(day.month() - 1)], rating);
    AddRating(exploration.weekdays[static_cast<size_t>(absl::GetWeekday(day))], rating);
  }
  if (months.empty()) return;
  const absl::CivilMonth last = months.rbegin()->first;
  for (absl::CivilMonth month = months.begin()->first; month <= last; ++month) {
    RatingGroup& group = months[month];
    group.name = fmt::format("{:04}-{:02}", month.year(), month.month());
    exploration.months.push_back(group);
  }
  constexpr std::array<const char*, 12> kMonths = {"January", "February", "March",     "April",   "May",      "June",
                                                   "July",    "August",   "September", "October", "November", "December"};
  constexpr std::array<const char*, 7> kWeekdays = {"Monday", "Tuesday",  "Wednesday", "Thursday",
                                                    "Friday", "Saturday", "Sunday"};
  for (size_t month = 0; month < kMonths.size(); ++month) exploration.months_of_year[month].name = kMonths[month];
  for (size_t day = 0; day < kWeekdays.size(); ++day) exploration.weekdays[day].name = kWeekdays[day];
}

// The number that a zip code's first five characters are: some have nine digits, and a dash.
std::optional<double> ZipNumber(std::string_view zip) { return ParseNumber(zip.substr(0, kZipDigits)); }

std::vector<NumberSummary> Summaries(const Dataset& data) {
  std::vector<NumberSummary> summaries;
  for (const auto& column : data.columns()) {
    const bool zip = column->name() == "user_zip_code" && column->type() == Column::Type::kId;
    if (column->type() != Column::Type::kNumber && !zip) continue;
    std::vector<std::optional<double>> of_row(column->size());
    for (size_t row = 0; row < of_row.size(); ++row) {
      if (zip) {
        of_row[row] = ZipNumber(TextOf(*column, row));
      } else if (!column->is_null(row)) {
        of_row[row] = column->number(row);
      }
    }
    std::vector<double> values;
    values.reserve(data.interactions());
    for (size_t i = 0; i < data.interactions(); ++i) {
      if (const auto& value = of_row[data.RowOf(column->level(), i)]; value.has_value()) values.push_back(*value);
    }
    const uint64_t nulls = data.interactions() - values.size();
    summaries.push_back(Summarize(column->name(), std::move(values), nulls));
  }
  return summaries;
}

}  // namespace

double RatingGroup::mean() const {
  double sum = 0;
  for (const auto& [value, count] : by_value) sum += static_cast<double>(value) * static_cast<double>(count);
  return ratings == 0 ? 0 : sum / static_cast<double>(ratings);
}

NumberSummary Summarize(std::string name, std::vector<double> values, uint64_t nulls) {
  NumberSummary summary{.name = std::move(name), .count = values.size(), .nulls = nulls};
  if (values.empty()) return summary;
  std::sort(values.begin(), values.end());
  const auto count = static_cast<double>(values.size());
  summary.mean = std::accumulate(values.begin(), values.end(), 0.0) / count;
  double squares = 0;
  for (const double value : values) squares += (value - summary.mean) * (value - summary.mean);
  summary.deviation = values.size() > 1 ? std::sqrt(squares / (count - 1)) : 0;
  const auto quantile = [&](double share) {
    const double place = share * (count - 1);
    const auto below = static_cast<size_t>(place);
    const size_t above = std::min(below + 1, values.size() - 1);
    return values[below] + (place - static_cast<double>(below)) * (values[above] - values[below]);
  };
  summary.min = values.front();
  summary.lower_quartile = quantile(0.25);
  summary.median = quantile(0.5);
  summary.upper_quartile = quantile(0.75);
  summary.max = values.back();
  return summary;
}

Exploration Explore(const Dataset& data) {
  using Level = Column::Level;
  using Type = Column::Type;
  Exploration exploration;
  exploration.numbers = Summaries(data);
  for (const float rating : data.label()) ++exploration.by_value[rating];
  ExploreTimes(data, exploration);

  const std::vector<RatingGroup> users = ByRow(data, Level::kUser);
  exploration.genders = GroupByGender(users, Find(data, "user_gender", Level::kUser, Type::kId));
  exploration.ages = GroupByNumber(users, Find(data, "bucketized_user_age", Level::kUser, Type::kNumber));
  exploration.occupations = MostRatings(GroupByText(users, Find(data, "user_occupation_text", Level::kUser, Type::kId)));
  exploration.regions = GroupByRegion(users, Find(data, "user_zip_code", Level::kUser, Type::kId));

  const std::vector<RatingGroup> items = ByRow(data, Level::kItem);
  exploration.movies = Movies(data, items);
  const std::vector<RatingGroup> rated(items.begin(), items.begin() + static_cast<ptrdiff_t>(data.rated_items()));
  exploration.genres = MostRatings(GroupByGenre(rated, Find(data, "movie_genres", Level::kItem, Type::kIds)));
  exploration.directors = MostMembers(GroupByText(rated, Find(data, "director", Level::kItem, Type::kId)));
  exploration.stars = MostMembers(GroupByText(rated, Find(data, "star", Level::kItem, Type::kId)));
  return exploration;
}

std::vector<RatingGroup> ByMean(const std::vector<RatingGroup>& groups, uint64_t min_ratings, bool worst, size_t count) {
  std::vector<RatingGroup> known;
  std::copy_if(groups.begin(), groups.end(), std::back_inserter(known),
               [&](const RatingGroup& group) { return group.ratings >= min_ratings; });
  known = Sorted(std::move(known), [&](const RatingGroup& group) { return worst ? -group.mean() : group.mean(); });
  known.resize(std::min(known.size(), count));
  return known;
}

}  // namespace marquee
