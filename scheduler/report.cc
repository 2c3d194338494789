#include "scheduler/report.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "common/page.h"
#include "common/version.h"
#include "dataset/text_file.h"

namespace marquee {
namespace {

using Json = nlohmann::ordered_json;
using Trials = std::vector<const Coordinator::TrialView*>;

constexpr size_t kMostCurves = 16;     // in a chart; more cannot be told apart
constexpr size_t kMostCategories = 6;  // distinct numbers of a parameter that each get a place of their own on its axis
constexpr double kWideRange = 20;      // an axis is logarithmic if its ends differ by this factor
constexpr size_t kMostAxes = 10;
constexpr size_t kMostNumbersInCells = 8;  // features of a heat-map whose cells have room for their value

// Four significant digits: enough to read off, short enough for a tooltip.
double Rounded(double value) { return std::stod(fmt::format("{:.4g}", value)); }

std::string StatusOf(const Coordinator::TrialView& trial) {
  const TrialResult& result = trial.trial.result;
  std::string text(StatusWord(trial.trial.status));
  if (trial.trial.status == TrialStatus::kStopped && result.epochs == 0) return "not run";
  if (result.stopped == "early_stopping") return fmt::format("{}, early at epoch {}", text, result.epochs);
  if (!result.stopped.empty()) return fmt::format("{} at epoch {} ({})", text, result.epochs, result.stopped);
  return text;
}

Trials TrialsOf(const Leaderboard::Table& table) {
  Trials trials;
  for (const Leaderboard::Row& row : table.rows) {
    if (row.trial != nullptr) trials.push_back(row.trial);
  }
  return trials;
}

std::optional<double> ValueOf(const std::map<std::string, double>& metrics, const std::string& name) {
  const auto found = metrics.find(name);
  return found == metrics.end() ? std::nullopt : std::optional<double>(found->second);
}

// ---- curves

ChartSeries Curve(const std::string& name, size_t epochs) { return {.name = name, .values = Json(std::vector<Json>(epochs))}; }

ChartSeries LossCurve(const Coordinator::TrialView& trial, size_t epochs) {
  ChartSeries curve = Curve(trial.trial.name, epochs);
  const std::vector<double>& losses = trial.trial.result.epoch_losses;
  for (size_t i = 0; i < losses.size(); ++i) curve.values[i] = Rounded(losses[i]);
  return curve;
}

ChartSeries ValidationCurve(const Coordinator::TrialView& trial, const std::string& metric, size_t epochs) {
  ChartSeries curve = Curve(trial.trial.name, epochs);
  for (const TrialResult::Validation& validation : trial.trial.result.validations) {
    const std::optional<double> value = ValueOf(validation.metrics, metric);
    if (value.has_value() && validation.epoch >= 1 && validation.epoch <= epochs) {
      curve.values[validation.epoch - 1] = Rounded(*value);
    }
  }
  return curve;
}

size_t PointsOf(const ChartSeries& curve) {
  return static_cast<size_t>(
      std::count_if(curve.values.begin(), curve.values.end(), [](const Json& v) { return !v.is_null(); }));
}

std::string Megabytes(uint64_t bytes) { return fmt::format("{:.1f} MB", static_cast<double>(bytes) / 1e6); }

// ---- parameters

// Lists of features by their names, and dims of their own; everything else as it would be written.
std::string ShortText(const Json& value) {
  if (value.is_string()) return value.get<std::string>();
  const bool named = value.is_array() && !value.empty() &&
                     std::all_of(value.begin(), value.end(), [](const Json& entry) { return entry.contains("name"); });
  if (!named) return value.dump();
  std::vector<std::string> names;
  for (const Json& entry : value) {
    const int dim = entry.value("dim", 0);
    names.push_back(entry["name"].get<std::string>() + (dim == 0 ? "" : fmt::format(" ({})", dim)));
  }
  return fmt::format("{}", fmt::join(names, " + "));
}

// One parameter that is not the same in all trials. A value for each trial: a number, or the place of a text in `texts`.
struct Axis {
  std::string name;
  std::vector<Json> values;
  std::vector<std::string> texts;  // none: numbers
  bool logarithmic = false;

  Json Options() const {
    Json options = {{"name", name}, {"type", texts.empty() ? (logarithmic ? "log" : "value") : "category"}};
    if (!texts.empty()) {
      options["data"] = texts;
      options["axisLabel"] = {{"interval", 0}, {"width", 96}, {"overflow", "truncate"}};
    } else if (logarithmic) {
      const auto [min, max] = std::minmax_element(values.begin(), values.end());
      options["min"] = std::pow(10, std::floor(std::log10(min->get<double>())));
      options["max"] = std::pow(10, std::ceil(std::log10(max->get<double>())));
    } else {
      options["scale"] = true;
    }
    return options;
  }
};

Axis MakeAxis(const std::string& name, const std::vector<Json>& values) {
  Axis axis{.name = name, .values = values, .texts = {}};
  std::vector<Json> distinct;
  for (const Json& value : values) {
    if (std::find(distinct.begin(), distinct.end(), value) == distinct.end()) distinct.push_back(value);
  }
  const bool numbers = std::all_of(distinct.begin(), distinct.end(), [](const Json& value) { return value.is_number(); });
  if (numbers) std::sort(distinct.begin(), distinct.end());
  if (numbers && distinct.size() > kMostCategories) {
    const double min = distinct.front().get<double>();
    axis.logarithmic = min > 0 && distinct.back().get<double>() / min >= kWideRange;
    return axis;
  }
  for (const Json& value : distinct) axis.texts.push_back(value.is_null() ? "-" : ShortText(value));
  if (std::set<std::string>(axis.texts.begin(), axis.texts.end()).size() < axis.texts.size()) {
    std::transform(distinct.begin(), distinct.end(), axis.texts.begin(), [](const Json& value) { return value.dump(); });
  }
  for (Json& value : axis.values) value = std::find(distinct.begin(), distinct.end(), value) - distinct.begin();
  return axis;
}

std::vector<Axis> AxesOf(const Trials& trials) {
  std::vector<std::string> names;
  std::vector<Json> parameters;
  for (const Coordinator::TrialView* trial : trials) {
    parameters.push_back(ParametersOf(trial->config));
    for (const auto& [name, value] : parameters.back().items()) {
      if (name != "seed" && std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
    }
  }
  std::vector<Axis> axes;
  std::set<std::vector<Json>> seen;
  for (const std::string& name : names) {
    std::vector<Json> values;
    for (const Json& of_trial : parameters) values.push_back(of_trial.value(name, Json()));
    const bool differs = std::any_of(values.begin(), values.end(), [&](const Json& value) { return value != values.front(); });
    // Dense layers have the embeddings' optimizer where nothing else is said: the same values under two names are one axis.
    if (differs && seen.insert(values).second) axes.push_back(MakeAxis(name, values));
  }
  return axes;
}

// ---- the page

class Writer {
 public:
  Writer(const Leaderboard& board, const ReportSources& sources)
      : board_(board), sources_(sources), tables_(board.Tables()), page_(sources.name, Subtitle()) {}

  std::string Write() {
    Results();
    Curves();
    Parameters();
    Interactions();
    Recommendations();
    Data();
    Speed();
    Configurations();
    return page_.Html();
  }

 private:
  std::string Subtitle() const {
    const Leaderboard::Data& data = board_.data();
    return fmt::format(
        "A sweep on {}, split {}.{}", data.name, data.split,
        data.synthetic ? " This data is synthetic: made up by a program, it says nothing of real people or movies." : "");
  }

  // Begins the section unless it has begun: sections without content do not appear.
  void SectionOnce(const std::string& title) {
    if (section_ != title) page_.Section(title);
    section_ = title;
  }

  void Results() {
    SectionOnce("Leaderboard");
    for (const Leaderboard::Table& table : tables_) {
      page_.Text(Verdict(table));
      page_.Add(BoardOf(table));
    }
    Page::Table failed{.caption = "Failed trials", .columns = {"trial", "reason"}};
    for (const Leaderboard::Table& table : tables_) {
      for (const Coordinator::TrialView* trial : TrialsOf(table)) {
        for (const Coordinator::TrialView& seed : board_.SeedsOf(trial->trial.name)) {
          if (seed.trial.status == TrialStatus::kFailed) failed.rows.push_back({seed.trial.name, seed.trial.reason});
        }
      }
    }
    if (!failed.rows.empty()) page_.Add(failed);
  }

  static std::string Verdict(const Leaderboard::Table& table) {
    const std::string& metric = table.goal.metric;
    const auto best = std::find_if(table.rows.begin(), table.rows.end(), [](const Leaderboard::Row& row) {
      return row.trial != nullptr && row.trial->trial.status == TrialStatus::kFinished;
    });
    if (best == table.rows.end()) return fmt::format("{}: no trial has finished.", table.word);
    std::string text = fmt::format("Best {} by validation {}: {}, {}", table.word, metric, best->name, best->validation);
    const auto column = std::find(table.metrics.begin(), table.metrics.end(), metric) - table.metrics.begin();
    if (column == static_cast<ptrdiff_t>(table.metrics.size())) return text + ".";
    text += fmt::format(", and {} on test", best->test[static_cast<size_t>(column)]);
    for (const Leaderboard::Row& row : table.rows) {
      const std::string& figure = row.test[static_cast<size_t>(column)];
      if (row.trial == nullptr && figure != "-") text += fmt::format("; {}: {}", row.name, figure);
    }
    return text + ".";
  }

  Page::Table BoardOf(const Leaderboard::Table& table) const {
    Page::Table shown{.caption = table.word, .columns = {"trial", "validation " + table.goal.metric}};
    for (const std::string& metric : table.metrics) shown.columns.push_back("test " + metric);
    shown.columns.insert(shown.columns.end(), table.references.begin(), table.references.end());
    shown.columns.emplace_back("status");
    bool seeds = false;
    std::vector<std::string> kept;
    for (const Leaderboard::Row& row : table.rows) {
      std::vector<std::string> cells = {row.name, row.validation};
      cells.insert(cells.end(), row.test.begin(), row.test.end());
      cells.insert(cells.end(), row.references.begin(), row.references.end());
      cells.push_back(row.trial == nullptr ? "baseline" : StatusOf(*row.trial));
      if (row.trial != nullptr) {
        if (shown.emphasized.empty() && row.trial->trial.status == TrialStatus::kFinished) {
          shown.emphasized.push_back(shown.rows.size());
        }
        const std::vector<Coordinator::TrialView>& trials = board_.SeedsOf(row.name);
        seeds = seeds || trials.size() > 1;
        for (const Coordinator::TrialView& trial : trials) {
          if (trial.trial.result.kept) kept.push_back("models/" + trial.trial.name);
        }
      }
      shown.rows.push_back(std::move(cells));
    }
    shown.note = fmt::format("In the order of validation {}; {} is better. Test is read once, after training.",
                             table.goal.metric, table.goal.maximize ? "larger" : "smaller");
    if (seeds) shown.note += " ± is the standard deviation over seeds.";
    if (!kept.empty()) shown.note += fmt::format(" Kept: {}.", fmt::join(kept, ", "));
    return shown;
  }

  void Curves() {
    for (const Leaderboard::Table& table : tables_) {
      const Trials trials = TrialsOf(table);
      size_t epochs = 0;
      for (const Coordinator::TrialView* trial : trials) epochs = std::max(epochs, trial->trial.result.epoch_losses.size());
      std::vector<ChartSeries> losses;
      std::vector<ChartSeries> validations;
      for (const Coordinator::TrialView* trial : trials) {
        losses.push_back(LossCurve(*trial, epochs));
        validations.push_back(ValidationCurve(*trial, table.goal.metric, epochs));
      }
      CurveChart(fmt::format("Training loss by epoch: {}", table.word), epochs, std::move(losses));
      CurveChart(fmt::format("Validation {} by epoch: {}", table.goal.metric, table.word), epochs, std::move(validations));
    }
  }

  // Nothing where no trial has two points: a single one is no curve, and stands in the leaderboard.
  void CurveChart(const std::string& title, size_t epochs, std::vector<ChartSeries> curves) {
    if (std::none_of(curves.begin(), curves.end(), [](const ChartSeries& curve) { return PointsOf(curve) > 1; })) return;
    SectionOnce("Learning curves");
    std::erase_if(curves, [](const ChartSeries& curve) { return PointsOf(curve) == 0; });
    std::string note;
    if (curves.size() > kMostCurves) {
      note = fmt::format("The first {} of {} trials of the leaderboard.", kMostCurves, curves.size());
      curves.resize(kMostCurves);
    }
    const bool seeds = std::any_of(curves.begin(), curves.end(),
                                   [this](const ChartSeries& curve) { return board_.SeedsOf(curve.name).size() > 1; });
    if (seeds) note += fmt::format("{}Of several seeds, the first.", note.empty() ? "" : " ");
    std::vector<std::string> categories;
    for (size_t epoch = 1; epoch <= epochs; ++epoch) categories.push_back(std::to_string(epoch));
    Json options = LineChart(categories, curves);
    options["yAxis"]["scale"] = true;
    options["xAxis"]["name"] = "epoch";
    options["xAxis"]["nameLocation"] = "middle";
    options["xAxis"]["nameGap"] = 26;
    options["grid"] = {{"bottom", 28}};
    for (Json& series : options["series"]) series["connectNulls"] = true;
    page_.Add(Page::Chart{.title = title, .options = std::move(options), .note = note, .height = 340});
  }

  void Parameters() {
    for (const Leaderboard::Table& table : tables_) {
      Trials trials = TrialsOf(table);
      std::erase_if(trials, [&](const Coordinator::TrialView* trial) {
        return !ValueOf(trial->trial.result.validation, table.goal.metric).has_value();
      });
      if (trials.size() < 2) continue;
      std::vector<Axis> axes = AxesOf(trials);
      if (axes.empty()) continue;
      std::vector<Json> values;
      for (const Coordinator::TrialView* trial : trials) {
        values.emplace_back(Rounded(*ValueOf(trial->trial.result.validation, table.goal.metric)));
      }
      SectionOnce("Parameters");
      page_.Add(axes.size() == 1 ? Scatter(table, trials, axes.front(), values) : Parallel(table, trials, axes, values));
    }
  }

  static std::string StoppedNote(const Trials& trials) {
    const bool stopped = std::any_of(trials.begin(), trials.end(),
                                     [](const auto* trial) { return trial->trial.status == TrialStatus::kStopped; });
    return stopped ? " Stopped trials stand where they had come to." : "";
  }

  static Page::Chart Scatter(const Leaderboard::Table& table, const Trials& trials, const Axis& axis,
                             const std::vector<Json>& values) {
    Json points = Json::array();
    for (size_t i = 0; i < trials.size(); ++i) {
      points.push_back({{"name", trials[i]->trial.name}, {"value", {axis.values[i], values[i]}}});
    }
    Json x = axis.Options();
    x["nameLocation"] = "middle";
    x["nameGap"] = 28;
    const Json options = {{"tooltip", {{"trigger", "item"}, {"formatter", "{b}<br>{c}"}}},
                          {"grid", {{"top", 36}, {"bottom", 28}}},
                          {"xAxis", x},
                          {"yAxis",
                           {{"type", "value"},
                            {"name", "validation " + table.goal.metric},
                            {"nameTextStyle", {{"align", "left"}}},
                            {"scale", true}}},
                          {"series", Json::array({{{"type", "scatter"}, {"symbolSize", 11}, {"data", points}}})}};
    return {.title = fmt::format("{} against {}: {}", table.goal.metric, axis.name, table.word),
            .options = options,
            .note = "A point is a trial." + StoppedNote(trials),
            .height = 340};
  }

  static Page::Chart Parallel(const Leaderboard::Table& table, const Trials& trials, std::vector<Axis> axes,
                              const std::vector<Json>& values) {
    std::string note =
        "A line is a trial: follow it over the values of its parameters to what it reached. The best are orange, and end on "
        "top.";
    if (axes.size() > kMostAxes) {
      note += fmt::format(" The first {} of {} parameters that differ.", kMostAxes, axes.size());
      axes.resize(kMostAxes);
    }
    Json options;
    options["parallelAxis"] = Json::array();
    for (const Axis& axis : axes) {
      options["parallelAxis"].push_back(axis.Options());
      options["parallelAxis"].back()["dim"] = options["parallelAxis"].size() - 1;
    }
    const auto [min, max] = std::minmax_element(values.begin(), values.end());
    options["parallelAxis"].push_back({{"name", table.goal.metric},
                                       {"type", "value"},
                                       {"scale", true},
                                       {"inverse", !table.goal.maximize},
                                       {"nameLocation", table.goal.maximize ? "end" : "start"},
                                       {"dim", axes.size()}});
    Json lines = Json::array();
    for (size_t i = trials.size(); i-- > 0;) {  // the best last, so that it lies on top
      Json line = Json::array();
      for (const Axis& axis : axes) line.push_back(axis.values[i]);
      line.push_back(values[i]);
      lines.push_back({{"name", trials[i]->trial.name}, {"value", line}});
    }
    const Json worst_to_best = {"#9fb3c8", "#6f93b8", "#d9822b"};
    options["visualMap"] = {
        {"show", false},
        {"dimension", axes.size()},
        {"min", *min},
        {"max", *max},
        {"inRange",
         {{"color", table.goal.maximize ? worst_to_best : Json(Json::array_t(worst_to_best.rbegin(), worst_to_best.rend()))}}}};
    options["parallel"] = {{"left", 48}, {"right", 64}, {"top", 48}, {"bottom", 24}};
    options["tooltip"] = {{"trigger", "item"}, {"formatter", "{b}"}};
    options["series"] =
        Json::array({{{"type", "parallel"}, {"lineStyle", {{"width", 2.5}, {"opacity", 0.8}}}, {"data", lines}}});
    return {.title = fmt::format("Parameters and validation {}: {}", table.goal.metric, table.word),
            .options = std::move(options),
            .note = note + StoppedNote(trials),
            .height = std::max(420, 90 * static_cast<int>(axes.size() + 1))};
  }

  void Interactions() {
    for (const FeatureInteractions& interactions : sources_.interactions) {
      SectionOnce("Feature interactions");
      page_.Add(HeatMap(interactions));
    }
  }

  static Page::Chart HeatMap(const FeatureInteractions& interactions) {
    const size_t count = interactions.features.size();
    Json cells = Json::array();
    double max = 0;
    for (size_t a = 0; a < count; ++a) {
      for (size_t b = 0; b < count; ++b) {
        const double norm = interactions.norms[a][b];
        cells.push_back({b, a, std::stod(fmt::format("{:.3g}", norm))});
        max = std::max(max, norm);
      }
    }
    Json axis = {{"type", "category"}, {"data", interactions.features}, {"axisLabel", {{"interval", 0}}}};
    Json options;
    options["tooltip"] = {{"trigger", "item"}};
    options["grid"] = {{"top", 8}, {"bottom", 56}};
    options["yAxis"] = axis;
    options["yAxis"]["inverse"] = true;
    axis["axisLabel"]["rotate"] = 40;
    options["xAxis"] = std::move(axis);
    options["visualMap"] = {{"min", 0},
                            {"max", Rounded(max)},
                            {"orient", "horizontal"},
                            {"left", "center"},
                            {"bottom", 0},
                            {"itemHeight", 160},
                            {"text", {"strong", "none"}},
                            {"inRange", {{"color", Json::array({"#4a90d9"})}, {"colorAlpha", {0.04, 0.85}}}}};
    options["series"] = Json::array({{{"name", "row x column"},
                                      {"type", "heatmap"},
                                      {"data", cells},
                                      {"label", {{"show", count <= kMostNumbersInCells}, {"fontSize", 10}}}}});
    return {.title = fmt::format("What the first cross layer multiplies: {}", interactions.trial),
            .options = std::move(options),
            .note =
                "A cell says how strongly the model multiplies the column's feature with the row's: the size (Frobenius norm) "
                "of that block of the layer's "
                "weights. A dark cell is an interaction that the model uses; a feature of a larger dim has larger blocks.",
            .height = 180 + static_cast<int>(std::min<size_t>(count, 24)) * 40};
  }

  void Recommendations() {
    for (const Examples& examples : sources_.examples) {
      SectionOnce("Movies for a few users");
      for (const ExampleUser& user : examples.users) {
        Page::Table table{.caption = fmt::format("{}: user {}", examples.trial, user.user),
                          .columns = {"movie", "genres", "the model says", "because of"}};
        for (const ExampleUser::Movie& movie : user.movies) {
          table.rows.push_back({movie.title, movie.genres, movie.says, movie.because});
        }
        table.note = fmt::format("Has rated {}; liked best: {}.", WithThousands(user.rated), user.best_liked);
        page_.Add(table);
      }
    }
    if (!sources_.examples.empty()) {
      page_.Text(
          "Movies that the user has not rated, by the best kept model of each kind. The last column names the rated movies "
          "that "
          "add most to the score or, where the model is not made of histories, are most like the movie. `marquee recommend` "
          "gives the same for any user.");
    }
  }

  void Data() {
    SectionOnce("Data and split");
    const Leaderboard::Data& data = board_.data();
    page_.Facts({{"data", data.name + (data.synthetic ? " (made up)" : "")},
                 {"ratings", WithThousands(data.ratings)},
                 {"users", WithThousands(data.users)},
                 {"movies with ratings", WithThousands(data.movies)},
                 {"train", WithThousands(data.train)},
                 {"validation", WithThousands(data.validation)},
                 {"test", WithThousands(data.test)}});
    page_.Add(Page::Table{.caption = "Checksums",
                          .columns = {"of", "XXH3"},
                          .rows = {{"the data file", fmt::format("{:016x}", data.checksum)},
                                   {fmt::format("the split, {}", data.split), fmt::format("{:016x}", data.split_checksum)}},
                          .note = "Figures may be compared with those of another run if both are the same there."});
  }

  void Speed() {
    SectionOnce("Speed and servers");
    Page::Table table{.caption = "Training",
                      .columns = {"trial", "epochs", "seconds", "examples/s", "examples", "trained again"}};
    for (const Leaderboard::Table& board : tables_) {
      for (const Coordinator::TrialView* trial : TrialsOf(board)) {
        for (const Coordinator::TrialView& seed : board_.SeedsOf(trial->trial.name)) AddSpeed(seed, &table);
      }
    }
    table.note = "Trained again: after a worker or server was lost, at most so many.";
    page_.Add(table);
    Members();
  }

  static void AddSpeed(const Coordinator::TrialView& trial, Page::Table* table) {
    const TrialResult& result = trial.trial.result;
    if (result.examples == 0) return;
    table->rows.push_back({trial.trial.name, WithThousands(result.epochs), fmt::format("{:.1f}", result.seconds),
                           WithThousands(static_cast<uint64_t>(std::llround(result.examples_per_second))),
                           WithThousands(result.examples), WithThousands(result.repeated_examples)});
  }

  void Members() {
    if (sources_.members.empty()) return;
    Page::Table servers{.caption = "Servers",
                        .columns = {"name", "host", "shards", "most rows", "most memory", "pulls", "rows pulled", "pushes",
                                    "rows pushed", "sent twice", "refused"}};
    Page::Table table{.caption = "Workers", .columns = {"name", "host"}};
    for (const Coordinator::Member& member : sources_.members) {
      if (!member.server) {
        table.rows.push_back({member.name, member.host});
        continue;
      }
      const ServerStatistics& said = member.statistics;
      servers.rows.push_back({member.name, member.host, std::to_string(member.endpoints.size()),
                              WithThousands(member.most_rows), Megabytes(member.most_bytes), WithThousands(said.pulls),
                              WithThousands(said.rows_pulled), WithThousands(said.pushes), WithThousands(said.rows_pushed),
                              WithThousands(said.duplicates), WithThousands(said.rejected)});
    }
    servers.note =
        "As each server's heartbeats said; rows and memory are of all tables that were there at once. Sent twice: pushes whose "
        "first acknowledgement was lost, and which were not applied again.";
    page_.Add(servers);
    const Coordinator::Counters& counters = sources_.counters;
    table.note =
        fmt::format("Servers lost: {}; workers lost: {}; sessions opened: {}; chunks leased: {}, of which given back: {}.",
                    counters.servers_lost, counters.workers_lost, WithThousands(counters.sessions_opened),
                    WithThousands(counters.chunks_leased), WithThousands(counters.chunks_released));
    page_.Add(table);
  }

  void Configurations() {
    SectionOnce("Configuration");
    std::vector<std::pair<std::string, std::string>> versions = {{"marquee", std::string(Version())},
                                                                 {"compiler", std::string(Compiler())}};
    if (!LibTorchVersion().empty()) versions.emplace_back("LibTorch", std::string(LibTorchVersion()));
    page_.Facts(versions);
    page_.Text("Every value of every trial, those that no file named too:");
    for (const Leaderboard::Table& table : tables_) {
      for (const Coordinator::TrialView* trial : TrialsOf(table)) {
        std::vector<uint64_t> seeds;
        for (const Coordinator::TrialView& seed : board_.SeedsOf(trial->trial.name)) seeds.push_back(seed.config.seed);
        page_.Code(seeds.size() == 1
                       ? trial->trial.name
                       : fmt::format("{} (here with the first of the seeds {})", trial->trial.name, fmt::join(seeds, ", ")),
                   ToYaml(trial->config));
      }
    }
  }

  const Leaderboard& board_;
  const ReportSources& sources_;
  const std::vector<Leaderboard::Table> tables_;
  Page page_;
  std::string section_;
};

}  // namespace

std::string ReportPage(const Leaderboard& board, const ReportSources& sources) { return Writer(board, sources).Write(); }

}  // namespace marquee
