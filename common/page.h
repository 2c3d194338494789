#ifndef MARQUEE_COMMON_PAGE_H_
#define MARQUEE_COMMON_PAGE_H_

// A self-contained HTML page for people: sections of text, figures, tables and charts in one file that needs no network. Style
// and the chart library (Apache ECharts, the version that tools/setup pins) stand in the file; it follows the reader's light or
// dark scheme and fits a laptop and a phone. Every text is escaped: what comes from data can hold any character.
//
//     Page page("MovieLens 1M", "1,000,209 ratings");
//     page.Section("Who rates");
//     page.Text("Three of four ratings are men's.");
//     page.Add(Page::Chart{.title = "Ratings by age", .options = BarChart({"1", "18"}, {{"ratings", {27211, 183536}}})});
//     page.Add(Page::Table{.caption = "Ages", .columns = {"age", "ratings"}, .rows = {{"18", "183,536"}}});
//     page.Html();
//
// A chart's options are ECharts options as JSON (https://echarts.apache.org/en/option.html), so without functions. The page
// adds what all charts share: colours, font, tooltip, room for labels, a description for screen readers. Use colours of series
// only where they mean something. Not thread-safe.

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace marquee {

class Page {
 public:
  struct Table {
    std::string caption;
    std::vector<std::string> columns;                 // heads
    std::vector<std::vector<std::string>> rows = {};  // cells that look like numbers stand to the right
    std::string note = {};                            // below the table
    std::vector<size_t> emphasized = {};              // rows that stand out, as the best trial does
  };

  struct Chart {
    std::string title;
    nlohmann::ordered_json options;
    std::string note = {};  // below the chart: how to read it, what it leaves out
    int height = 320;       // CSS pixels
  };

  Page(std::string title, std::string subtitle);

  // Begins a section; each has a link at the top of the page.
  void Section(std::string title);
  void Text(std::string_view text);  // a paragraph
  // Numbers that a reader should see first: what they count, and their value.
  void Facts(const std::vector<std::pair<std::string, std::string>>& facts);
  void Add(const Table& table);
  void Add(Chart chart);
  // Text of a program, such as a configuration, behind a title that opens it.
  void Code(std::string_view title, std::string_view text);

  std::string Html() const;

 private:
  std::string title_;
  std::string subtitle_;
  std::vector<std::string> sections_;  // titles
  std::string body_;
  nlohmann::ordered_json charts_ = nlohmann::ordered_json::array();  // options, by number
};

// Options of the charts that most pages need. A series is a name and a value for each category; a null leaves a gap.
struct ChartSeries {
  std::string name;
  nlohmann::ordered_json values;
};
nlohmann::ordered_json BarChart(const std::vector<std::string>& categories, const std::vector<ChartSeries>& series);
// Bars that lie, the first category on top: for long names.
nlohmann::ordered_json LyingBarChart(const std::vector<std::string>& categories, const std::vector<ChartSeries>& series);
nlohmann::ordered_json LineChart(const std::vector<std::string>& categories, const std::vector<ChartSeries>& series);

// The style sheet of every page, for pages that are made elsewhere.
std::string_view PageStyle();

// "&lt;b&gt;" of "<b>"
std::string EscapedHtml(std::string_view text);

}  // namespace marquee

#endif  // MARQUEE_COMMON_PAGE_H_
