#include "dataset/csv.h"

#include "tests/unit/dataset/test_files.h"

namespace marquee {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using Rows = std::vector<std::vector<std::string>>;

class CsvTest : public testing::Test {
 protected:
  absl::StatusOr<Rows> ReadRows(std::string_view content, char separator = ',') {
    absl::StatusOr<CsvReader> csv = CsvReader::Open(folder_.Write("t.csv", content), separator);
    if (!csv.ok()) return csv.status();
    Rows rows;
    std::vector<std::string_view> fields;
    lines_.clear();
    while (true) {
      const absl::StatusOr<bool> more = csv->Next(&fields);
      if (!more.ok()) return more.status();
      if (!*more) return rows;
      rows.emplace_back(fields.begin(), fields.end());
      lines_.push_back(csv->line());
    }
  }

  TempFolder folder_;
  std::vector<size_t> lines_;
};

TEST_F(CsvTest, ReadsPlainRows) {
  EXPECT_THAT(*ReadRows("a,b\n1,2\n,\n3,4"), ElementsAre(ElementsAre("1", "2"), ElementsAre("", ""), ElementsAre("3", "4")));
  EXPECT_THAT(*ReadRows("a,b\r\n1,2\r\n\r\n3,4\r\n"), ElementsAre(ElementsAre("1", "2"), ElementsAre("3", "4")));
  EXPECT_THAT(*ReadRows("a;b\n1;2,5\n", ';'), ElementsAre(ElementsAre("1", "2,5")));
  EXPECT_TRUE(ReadRows("a,b\n")->empty());
}

TEST_F(CsvTest, ReadsQuotedFields) {
  EXPECT_THAT(*ReadRows("a,b\n\"1,5\",\"say \"\"hi\"\"\"\n\"\",\"\"\"\"\n"),
              ElementsAre(ElementsAre("1,5", "say \"hi\""), ElementsAre("", "\"")));
}

TEST_F(CsvTest, ReadsLineEndsInsideQuotes) {
  EXPECT_THAT(*ReadRows("a,b\n\"x\ny\r\n\nz\",1\n2,3\n"), ElementsAre(ElementsAre("x\ny\r\n\nz", "1"), ElementsAre("2", "3")));
  EXPECT_THAT(lines_, ElementsAre(2, 6));
}

TEST_F(CsvTest, KeepsQuotesInsideUnquotedFields) {
  EXPECT_THAT(*ReadRows("a,b\n5\" disk,it's\n"), ElementsAre(ElementsAre("5\" disk", "it's")));
}

TEST_F(CsvTest, LeavesRowsOfAnotherWidthToItsCaller) {
  EXPECT_THAT(*ReadRows("a,b\n1\n1,2,3\n"), ElementsAre(ElementsAre("1"), ElementsAre("1", "2", "3")));
}

TEST_F(CsvTest, RefusesBrokenFiles) {
  EXPECT_THAT(MessageOf(ReadRows("a,b\n1,2\n\"x,3\n4,5\n")), HasSubstr("t.csv:3: a quoted field begins here that never ends"));
  EXPECT_THAT(MessageOf(ReadRows("a,b\n\"1\n\"x,2\n")), HasSubstr("t.csv:3: text after the closing quote"));
  EXPECT_THAT(MessageOf(ReadRows("")), HasSubstr("t.csv: is empty"));
  EXPECT_THAT(MessageOf(ReadRows("a,b,a\n")), HasSubstr("t.csv:1: two columns are named 'a'"));
  EXPECT_THAT(MessageOf(ReadRows("a,b\n\xe9,2\n")), HasSubstr("t.csv: is not valid UTF-8"));
}

TEST_F(CsvTest, FindsColumns) {
  const CsvReader csv = *CsvReader::Open(folder_.Write("t.csv", "\xef\xbb\xbfid,name\n"));
  EXPECT_EQ(*csv.ColumnOf("id"), 0);
  EXPECT_EQ(*csv.ColumnOf("name"), 1);
  EXPECT_THAT(MessageOf(csv.ColumnOf("date")), HasSubstr("t.csv:1: no column 'date'; the columns are id, name"));
}

TEST_F(CsvTest, ReadsWhatItWrites) {
  std::string text = "a,b,c\n";
  for (const std::string_view field : {"plain", "a,b", "say \"hi\"\r\n"}) {
    AppendCsvField(field, &text);
    text += field.starts_with("say") ? "\n" : ",";
  }
  EXPECT_THAT(*ReadRows(text), ElementsAre(ElementsAre("plain", "a,b", "say \"hi\"\r\n")));
}

}  // namespace
}  // namespace marquee
