#include "dataset/text_file.h"

#include "dataset/movielens_labels.h"
#include "tests/unit/dataset/test_files.h"

namespace marquee {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

TEST(TextFile, RefusesWhatIsNoText) {
  const TempFolder folder;
  EXPECT_THAT(MessageOf(ReadTextFile(folder / "none")), HasSubstr("none: cannot open: No such file"));
  EXPECT_THAT(MessageOf(ReadTextFile(folder.path())), HasSubstr("is a folder"));
  EXPECT_THAT(MessageOf(ReadTextFile(folder.Write("a", std::string("x\ny\n\0z", 6)))), HasSubstr("a:3: a byte of value 0"));
  EXPECT_EQ(*ReadTextFile(folder.Write("b", "\xef\xbb\xbfx")), "x");
}

TEST(TextFile, TellsUtf8) {
  for (const std::string_view good : {"", "abc", "é", "€", "\xf0\x9f\x8e\xac", "\xed\x9f\xbf"})
    EXPECT_TRUE(IsUtf8(good)) << good;
  for (const std::string_view bad : {"\xe9", "a\xe9z", "\xc0\xaf", "\xc3", "\xe0\x80\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80",
                                     "\xf8\x88\x80\x80\x80", "\x80", "\xf0\x80\x80\x80"}) {
    EXPECT_FALSE(IsUtf8(bad));
  }
}

TEST(TextFile, MakesUtf8OfLatin1) {
  EXPECT_EQ(Latin1ToUtf8("Am\xe9lie \xff"), "Amélie ÿ");
  const TempFolder folder;
  const LineFile latin1 = *LineFile::Read(folder.Write("l", "Mis\xe9rables"));
  EXPECT_TRUE(latin1.was_latin1);
  EXPECT_EQ(latin1.text, "Misérables");
  const LineFile utf8 = *LineFile::Read(folder.Write("u", "Misérables"));
  EXPECT_FALSE(utf8.was_latin1);
  EXPECT_EQ(utf8.text, "Misérables");
}

TEST(TextFile, WalksLines) {
  const LineFile file{"f", "one\r\n\n  three\nfour", false};
  LineReader reader(file);
  std::string_view line;
  ASSERT_TRUE(reader.Next(&line));
  EXPECT_EQ(line, "one");
  ASSERT_TRUE(reader.Next(&line));
  EXPECT_EQ(line, "  three");
  EXPECT_EQ(MessageOf(reader.Error("bad")), "f:3: bad");
  ASSERT_TRUE(reader.Next(&line));
  EXPECT_EQ(line, "four");
  EXPECT_FALSE(reader.Next(&line));
}

TEST(TextFile, SplitsFields) {
  std::vector<std::string_view> fields;
  SplitFields("a::b::::c:d", "::", &fields);
  EXPECT_THAT(fields, ElementsAre("a", "b", "", "c:d"));
  fields.clear();
  SplitFields("", "|", &fields);
  EXPECT_THAT(fields, ElementsAre(""));
}

TEST(TextFile, ParsesNumbersWhole) {
  EXPECT_EQ(ParseInteger("-12"), -12);
  for (const std::string_view bad : {"", "1x", " 1", "1.0", "99999999999999999999", "+1"})
    EXPECT_FALSE(ParseInteger(bad)) << bad;
  EXPECT_EQ(ParseNumber("-1.5e2"), -150);
  for (const std::string_view bad : {"", "nan", "inf", "1e999", "1,5", "x"}) EXPECT_FALSE(ParseNumber(bad)) << bad;
}

TEST(TextFile, CountsSecondsFrom1970) {
  EXPECT_EQ(ParseIsoDate("1970-01-01"), 0);
  EXPECT_EQ(ParseIsoDate("1969-12-31"), -86400);
  EXPECT_EQ(ParseIsoDate("1963-02-14"), -217123200);
  EXPECT_EQ(ParseIsoDate("2000-02-29"), 951782400);
  for (const std::string_view bad :
       {"", "1", "1995-13-01", "1995-02-29", "1995-2-1", "1995/02/01", "1995-10-30 ", "-995-10-30"}) {
    EXPECT_FALSE(ParseIsoDate(bad)) << bad;
  }
}

TEST(TextFile, ParsesTimes) {
  EXPECT_EQ(ParseTime("978300760"), 978300760);
  EXPECT_EQ(ParseTime("-1.5"), -1.5);
  EXPECT_EQ(ParseTime("1970-01-02"), 86400);
  EXPECT_EQ(ParseTime("1970-01-02 01:00:00"), 90000);
  EXPECT_EQ(ParseTime("1970-01-02T01:00:00.5"), 90000.5);
  EXPECT_EQ(ParseTime("1970-01-02T01:00:00Z"), 90000);
  EXPECT_EQ(ParseTime("1970-01-02T01:00:00+01:00"), 86400);
  for (const std::string_view bad : {"", "yesterday", "1970-01-02T25:00:00", "1970-01-02T01:00:00 x"}) {
    EXPECT_FALSE(ParseTime(bad)) << bad;
  }
}

TEST(TextFile, WritesThousands) {
  EXPECT_EQ(WithThousands(0), "0");
  EXPECT_EQ(WithThousands(999), "999");
  EXPECT_EQ(WithThousands(1000), "1,000");
  EXPECT_EQ(WithThousands(1000209), "1,000,209");
}

// The numbers of TensorFlow Datasets, in which the reference table is written.
TEST(MovieLensLabels, AreNumberedAsInTheReference) {
  EXPECT_EQ(GenreLabel("Drama"), 7);
  EXPECT_EQ(GenreLabel("Action"), 0);
  EXPECT_EQ(GenreLabel("Children's"), 3);
  EXPECT_EQ(GenreLabel("unknown"), 17);
  EXPECT_EQ(GenreLabel("Western"), 19);
  EXPECT_EQ(GenreLabel("(no genres listed)"), 20);
  EXPECT_EQ(GenreLabel("drama"), std::nullopt);
  EXPECT_EQ(OccupationLabel("sales/marketing"), 14);
  EXPECT_EQ(OccupationLabel("K-12 student"), 17);
  EXPECT_EQ(OccupationLabel("college/grad student"), 17);
  EXPECT_EQ(OccupationLabel("writer"), 21);
  EXPECT_EQ(OccupationLabel("none"), 11);
  EXPECT_EQ(OccupationLabel("wizard"), std::nullopt);
  for (const std::string_view text : kOccupationTexts1M) EXPECT_TRUE(OccupationLabel(text).has_value()) << text;
  EXPECT_EQ(kOccupationTexts1M[14], "sales/marketing");
}

TEST(MovieLensLabels, PutAgesIntoGroups) {
  EXPECT_EQ(AgeBucket(0), 1);
  EXPECT_EQ(AgeBucket(17), 1);
  EXPECT_EQ(AgeBucket(18), 18);
  EXPECT_EQ(AgeBucket(49), 45);
  EXPECT_EQ(AgeBucket(55), 50);
  EXPECT_EQ(AgeBucket(99), 56);
}

}  // namespace
}  // namespace marquee
