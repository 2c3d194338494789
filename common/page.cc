#include "common/page.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "common/chart_library.h"

namespace marquee {
namespace {

using Json = nlohmann::ordered_json;

constexpr char kStyle[] = R"(
:root { color-scheme: light dark; --paper: #fff; --ink: #1c2430; --faint: #5b6675; --line: #dde2e8; --panel: #f5f7f9;
  --accent: #2563a8; --good: #e4f0e8; }
@media (prefers-color-scheme: dark) {
  :root { --paper: #14181d; --ink: #e3e8ee; --faint: #98a4b2; --line: #333c47; --panel: #1c222a; --accent: #79b0ea; --good: #1f3a2b; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
main, header, nav { max-width: 1080px; margin: 0 auto; padding: 0 16px; }
header { padding-top: 24px; }
h1 { font-size: 1.75rem; line-height: 1.2; margin: 0; }
h2 { font-size: 1.3rem; margin: 2.5rem 0 .75rem; padding-top: .75rem; border-top: 1px solid var(--line); }
header p, .note, figcaption, caption { color: var(--faint); }
header p { margin: .25rem 0 0; }
p { max-width: 46rem; overflow-wrap: break-word; }
nav { margin-top: 12px; display: flex; flex-wrap: wrap; gap: 4px 16px; font-size: .95rem; }
a { color: var(--accent); text-underline-offset: 2px; }
.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(140px, 1fr)); gap: 10px; margin: 1rem 0; padding: 0; }
.facts div { background: var(--panel); border-radius: 8px; padding: 10px 14px; }
.facts dt { color: var(--faint); font-size: .85rem; }
.facts dd { margin: 0; font-size: 1.25rem; font-weight: 600; font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
figure { margin: 1.5rem 0; }
figcaption, caption { font-size: .95rem; font-weight: 600; text-align: left; padding-bottom: .4rem; color: var(--ink); }
.note { font-size: .875rem; margin: .4rem 0 0; }
.chart { width: 100%; }
.scroll { overflow-x: auto; margin: 1.5rem 0; }
table { border-collapse: collapse; min-width: min(100%, 320px); font-size: .925rem; }
th, td { text-align: left; padding: 5px 12px; border-bottom: 1px solid var(--line); vertical-align: top; }
th { background: var(--panel); font-weight: 600; white-space: nowrap; }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
tr.emphasized td { background: var(--good); font-weight: 600; }
details { margin: 1rem 0; }
summary { cursor: pointer; }
pre { background: var(--panel); border-radius: 8px; padding: 12px; overflow-x: auto; font-size: .85rem; }
footer { max-width: 1080px; margin: 3rem auto 1.5rem; padding: 0 16px; color: var(--faint); font-size: .85rem; }
@media (max-width: 600px) { body { font-size: 15px; } h1 { font-size: 1.4rem; } th, td { padding: 4px 6px; } th, th.number { white-space: normal; vertical-align: bottom; } }
)";

// Draws every chart, again whenever the scheme changes, and fits it to its place.
constexpr char kScript[] = R"(
(() => {
  const charts = JSON.parse(document.getElementById('charts').textContent);
  const dark = matchMedia('(prefers-color-scheme: dark)');
  const palettes = {
    light: ['#2563a8', '#d9822b', '#3c9d6b', '#b84a62', '#7a5fb0', '#8c6d31', '#3f9fc4', '#6b7280'],
    dark: ['#6aa5e3', '#eba55c', '#68c294', '#e07f96', '#a994dc', '#c4a365', '#72c4e3', '#a1a9b5']};
  const draw = (element, options) => {
    echarts.dispose(element);
    const chart = echarts.init(element, dark.matches ? 'dark' : null, {renderer: 'svg'});
    const both = option => [].concat(option ?? []);
    const narrow = element.clientWidth < 500;
    chart.setOption({
      color: palettes[dark.matches ? 'dark' : 'light'], backgroundColor: 'transparent', animation: false,
      textStyle: {fontFamily: 'system-ui, sans-serif'}, aria: {enabled: true},
      tooltip: {confine: true}, grid: {left: 8, right: 20, top: both(options.legend).length ? 40 : 16, bottom: 8, containLabel: true},
    });
    chart.setOption(options);
    // Text that stands on lines or cells keeps to the scheme's colours.
    const scheme = getComputedStyle(document.documentElement);
    const [ink, paper] = ['--ink', '--paper'].map(name => scheme.getPropertyValue(name).trim());
    if (options.parallel) {
      const onLines = {color: ink, textBorderColor: paper, textBorderWidth: 3};
      if (narrow) chart.setOption({parallel: {layout: 'vertical', left: 24, right: 24, top: 16, bottom: 44}});
      chart.setOption({parallelAxis: options.parallelAxis.map(() => ({
        nameTextStyle: onLines, ...(narrow ? {nameLocation: 'middle', nameGap: 26} : {}),
        axisLabel: {...onLines, hideOverlap: true, width: narrow ? 60 : 140, overflow: 'truncate'}}))});
    }
    chart.setOption({series: both(options.series).map(one => one.type === 'heatmap' ? {label: {color: ink}} : {})});
    for (const axis of ['xAxis', 'yAxis']) {
      if (options[axis]) chart.setOption({[axis]: both(options[axis]).map(() => ({axisLabel: {
        hideOverlap: true, fontSize: narrow ? 11 : 12, width: narrow ? 110 : 240, overflow: 'truncate'}}))});
    }
  };
  const drawAll = () => charts.forEach((options, i) => draw(document.getElementById('chart-' + i), options));
  drawAll();
  dark.addEventListener('change', drawAll);
  let width = innerWidth;
  addEventListener('resize', () => { if (innerWidth !== width) { width = innerWidth; drawAll(); } });
})();
)";

// "-" and "0.8712 ±0.0031" too.
bool LooksLikeNumber(std::string_view text) { return text.find_first_not_of("0123456789.,+-%e ±") == std::string_view::npos; }

// By column: whether all its cells look like numbers.
std::vector<bool> NumberColumns(const Page::Table& table) {
  std::vector<bool> numbers(table.columns.size(), true);
  for (const std::vector<std::string>& row : table.rows) {
    for (size_t c = 0; c < std::min(row.size(), numbers.size()); ++c) numbers[c] = numbers[c] && LooksLikeNumber(row[c]);
  }
  return numbers;
}

std::string RowOf(std::string_view tag, const std::vector<std::string>& cells, const std::vector<bool>& numbers) {
  std::string row;
  for (size_t c = 0; c < cells.size(); ++c) {
    const bool number = c < numbers.size() && numbers[c];
    row += fmt::format("<{}{}>{}</{}>", tag, number ? " class=\"number\"" : "", EscapedHtml(cells[c]), tag);
  }
  return row;
}

std::string NoteOf(std::string_view note) {
  return note.empty() ? "" : fmt::format("<p class=\"note\">{}</p>\n", EscapedHtml(note));
}

// JSON for a script element: nothing in it can end the element.
std::string ScriptJson(const Json& json) {
  const std::string text = json.dump(-1, ' ', false, Json::error_handler_t::replace);
  std::string safe;
  safe.reserve(text.size());
  for (const char c : text) {
    if (c == '<') {
      safe += "\\u003c";
    } else {
      safe += c;
    }
  }
  return safe;
}

Json Cartesian(const std::vector<ChartSeries>& series, std::string_view type) {
  Json options;
  options["tooltip"] = {{"trigger", "axis"}};
  if (series.size() > 1) options["legend"] = {{"type", "scroll"}, {"top", 0}};
  options["series"] = Json::array();
  for (const ChartSeries& one : series) {
    options["series"].push_back({{"name", one.name}, {"type", type}, {"data", one.values}});
  }
  return options;
}

}  // namespace

std::string_view PageStyle() { return kStyle; }

std::string EscapedHtml(std::string_view text) {
  std::string escaped;
  escaped.reserve(text.size());
  for (const char c : text) {
    switch (c) {
      case '&':
        escaped += "&amp;";
        break;
      case '<':
        escaped += "&lt;";
        break;
      case '>':
        escaped += "&gt;";
        break;
      case '"':
        escaped += "&quot;";
        break;
      default:
        escaped += c;
    }
  }
  return escaped;
}

nlohmann::ordered_json BarChart(const std::vector<std::string>& categories, const std::vector<ChartSeries>& series) {
  Json options = Cartesian(series, "bar");
  options["xAxis"] = {{"type", "category"}, {"data", categories}};
  options["yAxis"] = {{"type", "value"}};
  return options;
}

nlohmann::ordered_json LyingBarChart(const std::vector<std::string>& categories, const std::vector<ChartSeries>& series) {
  Json options = Cartesian(series, "bar");
  options["xAxis"] = {{"type", "value"}};
  options["yAxis"] = {{"type", "category"}, {"data", categories}, {"inverse", true}, {"axisLabel", {{"interval", 0}}}};
  return options;
}

nlohmann::ordered_json LineChart(const std::vector<std::string>& categories, const std::vector<ChartSeries>& series) {
  Json options = BarChart(categories, series);
  for (Json& one : options["series"]) {
    one["type"] = "line";
    one["showSymbol"] = categories.size() <= 20;
    one["showAllSymbol"] = true;
  }
  return options;
}

Page::Page(std::string title, std::string subtitle) : title_(std::move(title)), subtitle_(std::move(subtitle)) {}

void Page::Section(std::string title) {
  sections_.push_back(std::move(title));
  body_ += fmt::format("<h2 id=\"s{}\">{}</h2>\n", sections_.size(), EscapedHtml(sections_.back()));
}

void Page::Text(std::string_view text) { body_ += fmt::format("<p>{}</p>\n", EscapedHtml(text)); }

void Page::Facts(const std::vector<std::pair<std::string, std::string>>& facts) {
  body_ += "<dl class=\"facts\">\n";
  for (const auto& [what, value] : facts) {
    body_ += fmt::format("<div><dt>{}</dt><dd>{}</dd></div>\n", EscapedHtml(what), EscapedHtml(value));
  }
  body_ += "</dl>\n";
}

void Page::Add(const Table& table) {
  const std::vector<bool> numbers = NumberColumns(table);
  body_ += fmt::format("<div class=\"scroll\"><table>\n<caption>{}</caption>\n<thead><tr>{}</tr></thead>\n<tbody>\n",
                       EscapedHtml(table.caption), RowOf("th", table.columns, numbers));
  for (size_t r = 0; r < table.rows.size(); ++r) {
    const bool stands_out = std::find(table.emphasized.begin(), table.emphasized.end(), r) != table.emphasized.end();
    body_ += fmt::format("<tr{}>{}</tr>\n", stands_out ? " class=\"emphasized\"" : "", RowOf("td", table.rows[r], numbers));
  }
  body_ += fmt::format("</tbody>\n</table>\n{}</div>\n", NoteOf(table.note));
}

void Page::Add(Chart chart) {
  body_ += fmt::format(
      "<figure>\n<figcaption>{}</figcaption>\n<div class=\"chart\" id=\"chart-{}\" style=\"height: "
      "{}px\"></div>\n{}</figure>\n",
      EscapedHtml(chart.title), charts_.size(), chart.height, NoteOf(chart.note));
  charts_.push_back(std::move(chart.options));
}

void Page::Code(std::string_view title, std::string_view text) {
  body_ += fmt::format("<details><summary>{}</summary><pre>{}</pre></details>\n", EscapedHtml(title), EscapedHtml(text));
}

std::string Page::Html() const {
  std::string links;
  for (size_t s = 0; s < sections_.size(); ++s) {
    links += fmt::format("<a href=\"#s{}\">{}</a>\n", s + 1, EscapedHtml(sections_[s]));
  }
  std::string html = "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n";
  html += "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n";
  // Nothing is fetched, whatever the data may hold.
  html +=
      "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; script-src 'unsafe-inline'; "
      "style-src 'unsafe-inline'; img-src data:\">\n<link rel=\"icon\" href=\"data:,\">\n";
  html += fmt::format("<title>{}</title>\n<style>{}</style>\n</head>\n<body>\n", EscapedHtml(title_), kStyle);
  html += fmt::format("<header><h1>{}</h1><p>{}</p></header>\n<nav>\n{}</nav>\n<main>\n", EscapedHtml(title_),
                      EscapedHtml(subtitle_), links);
  html += body_;
  html += "</main>\n";
  if (!charts_.empty()) {
    html += "<noscript><p>The charts of this page are drawn by a script that stands in it.</p></noscript>\n<script>";
    html += ChartLibrary();
    html += fmt::format("</script>\n<script type=\"application/json\" id=\"charts\">{}</script>\n<script>{}</script>\n",
                        ScriptJson(charts_), kScript);
  }
  html += "</body>\n</html>\n";
  return html;
}

}  // namespace marquee
