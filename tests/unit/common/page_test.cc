#include "common/page.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace marquee {
namespace {

using testing::HasSubstr;
using testing::Not;

constexpr char kHostile[] = "</script><img src=x onerror=alert(1)>\"&";

// What stands between the style and the chart library.
std::string BodyOf(const std::string& html) {
  const size_t begin = html.find("<body>");
  return html.substr(begin, html.find("<script>", begin) - begin);
}

nlohmann::json ChartsOf(const std::string& html) {
  const std::string tag = "id=\"charts\">";
  const size_t begin = html.find(tag) + tag.size();
  return nlohmann::json::parse(html.substr(begin, html.find("</script>", begin) - begin));
}

TEST(PageTest, HoldsEverythingInTheOrderItCame) {
  Page page("Title", "Subtitle");
  page.Section("First");
  page.Text("A paragraph.");
  page.Facts({{"ratings", "1,000,209"}});
  page.Add(Page::Table{
      .caption = "Ages", .columns = {"age", "ratings"}, .rows = {{"18", "183,536"}, {"old", "-"}}, .emphasized = {1}});
  page.Section("Second");
  page.Add(Page::Chart{
      .title = "Chart", .options = BarChart({"a", "b"}, {{"ratings", {1, 2}}}), .note = "Read it so.", .height = 111});
  page.Code("Configuration", "a: 1\n");
  const std::string html = page.Html();
  size_t at = 0;
  for (const char* part :
       {"<title>Title</title>", "<h1>Title</h1><p>Subtitle</p>", "<a href=\"#s1\">First</a>", "<a href=\"#s2\">Second</a>",
        "<h2 id=\"s1\">First</h2>", "<p>A paragraph.</p>", "<dt>ratings</dt><dd>1,000,209</dd>", "<caption>Ages</caption>",
        "<th>age</th><th class=\"number\">ratings</th>", "<tr><td>18</td><td class=\"number\">183,536</td></tr>",
        "<tr class=\"emphasized\"><td>old</td><td class=\"number\">-</td></tr>", "<h2 id=\"s2\">Second</h2>",
        "<figcaption>Chart</figcaption>", "id=\"chart-0\" style=\"height: 111px\"", "<p class=\"note\">Read it so.</p>",
        "<summary>Configuration</summary><pre>a: 1\n</pre>"}) {
    const size_t found = html.find(part, at);
    ASSERT_NE(found, std::string::npos) << part;
    at = found;
  }
  EXPECT_EQ(ChartsOf(html)[0]["series"][0]["data"], nlohmann::json({1, 2}));
}

TEST(PageTest, NumbersStandToTheRight) {
  Page page("t", "s");
  page.Add(Page::Table{.caption = "c", .columns = {"a", "b"}, .rows = {{"0.8712 ±0.0031", "not run"}, {"-", "1.5"}}});
  EXPECT_THAT(page.Html(), HasSubstr("<td class=\"number\">0.8712 ±0.0031</td><td>not run</td>"));
}

TEST(PageTest, NothingThatDataHoldsBecomesMarkup) {
  Page page(kHostile, kHostile);
  page.Section(kHostile);
  page.Text(kHostile);
  page.Facts({{kHostile, kHostile}});
  page.Add(Page::Table{.caption = kHostile, .columns = {kHostile}, .rows = {{kHostile}}, .note = kHostile});
  page.Add(Page::Chart{.title = kHostile, .options = BarChart({kHostile}, {{kHostile, {1}}}), .note = kHostile});
  page.Code(kHostile, kHostile);
  const std::string html = page.Html();
  EXPECT_THAT(BodyOf(html), Not(HasSubstr("<img")));
  EXPECT_THAT(html.substr(html.find("id=\"charts\">")), Not(HasSubstr("<img")));
  EXPECT_EQ(ChartsOf(html)[0]["xAxis"]["data"][0], kHostile);
  EXPECT_THAT(BodyOf(html), HasSubstr("&lt;/script&gt;&lt;img src=x onerror=alert(1)&gt;&quot;&amp;"));

  Page broken("", "");
  broken.Add(Page::Chart{.title = "", .options = BarChart({"\xff"}, {})});
  EXPECT_EQ(ChartsOf(broken.Html())[0]["xAxis"]["data"][0], "\xef\xbf\xbd");  // the replacement character
}

TEST(PageTest, NeedsNoNetwork) {
  Page page("t", "s");
  EXPECT_THAT(page.Html(), HasSubstr("default-src 'none'"));
  EXPECT_LT(page.Html().size(), 20000U);  // without charts there is no library
  page.Add(Page::Chart{.title = "c", .options = BarChart({"a"}, {{"n", {1}}})});
  EXPECT_THAT(page.Html(), HasSubstr("Licensed to the Apache Software Foundation"));
  EXPECT_THAT(page.Html(), Not(HasSubstr("<script src")));
  EXPECT_THAT(page.Html(), Not(HasSubstr("<link rel=\"stylesheet")));
}

TEST(PageTest, ChartsHaveTheirAxesAndALegendWhereItIsNeeded) {
  const auto one = BarChart({"a", "b"}, {{"n", {1, 2}}});
  EXPECT_EQ(one["xAxis"]["type"], "category");
  EXPECT_FALSE(one.contains("legend"));
  const auto two = LyingBarChart({"a", "b"}, {{"n", {1, 2}}, {"m", {3, nullptr}}});
  EXPECT_EQ(two["yAxis"]["data"][1], "b");
  EXPECT_TRUE(two["yAxis"]["inverse"]);
  EXPECT_TRUE(two.contains("legend"));
  EXPECT_TRUE(two["series"][1]["data"][1].is_null());
  EXPECT_EQ(LineChart({"a"}, {{"n", {1}}})["series"][0]["type"], "line");
}

}  // namespace
}  // namespace marquee
