#include "dataset/python_literal.h"

#include "tests/unit/dataset/test_files.h"

namespace marquee {
namespace {

using testing::HasSubstr;

std::string TextOf(std::string_view literal) {
  const absl::StatusOr<PythonValue> value = ParsePythonLiteral(literal);
  if (!value.ok()) return "error: " + MessageOf(value);
  const auto* text = value->As<std::string>();
  return text == nullptr ? "no string" : *text;
}

TEST(PythonLiteral, ReadsScalars) {
  EXPECT_NE(ParsePythonLiteral("None")->As<std::monostate>(), nullptr);
  EXPECT_TRUE(*ParsePythonLiteral("True")->As<bool>());
  EXPECT_FALSE(*ParsePythonLiteral(" False ")->As<bool>());
  EXPECT_EQ(*ParsePythonLiteral("-12")->As<int64_t>(), -12);
  EXPECT_EQ(*ParsePythonLiteral("1.5e3")->As<double>(), 1500);
}

TEST(PythonLiteral, ReadsStringsOfBothQuotes) {
  EXPECT_EQ(TextOf("'plain'"), "plain");
  EXPECT_EQ(TextOf("''"), "");
  EXPECT_EQ(TextOf("\"Conan O'Brien\""), "Conan O'Brien");
  EXPECT_EQ(TextOf("'the \"Boss\"'"), "the \"Boss\"");
  EXPECT_EQ(TextOf("'both \\' and \"'"), "both ' and \"");
  EXPECT_EQ(TextOf("'Miloš {[(,:)]}'"), "Miloš {[(,:)]}");
}

TEST(PythonLiteral, ReadsEscapes) {
  EXPECT_EQ(TextOf(R"('a\\b\n\t\r\'\"')"), "a\\b\n\t\r'\"");
  EXPECT_EQ(TextOf(R"('\x41\xe9\u0161\U0001F3AC\101')"),
            "Aéš\xf0\x9f\x8e\xac"
            "A");
  EXPECT_EQ(TextOf(R"('\xa0')"), "\xc2\xa0");
  EXPECT_EQ(TextOf("'a\\\nb'"), "ab");
  EXPECT_EQ(TextOf(R"('\q')"), "\\q");
}

TEST(PythonLiteral, ReadsListsAndDicts) {
  const PythonValue value = *ParsePythonLiteral(
      "[{'order': 0, 'name': \"Jeanne d'Arc\", 'path': None, 'nested': {'a': [1, (2, 3),]}}, {}, [], {'k': True,}]");
  const auto& list = *value.As<PythonList>();
  ASSERT_EQ(list.size(), 4);
  EXPECT_EQ(*list[0].Find("order")->As<int64_t>(), 0);
  EXPECT_EQ(*list[0].Find("name")->As<std::string>(), "Jeanne d'Arc");
  EXPECT_NE(list[0].Find("path")->As<std::monostate>(), nullptr);
  EXPECT_EQ(list[0].Find("nested")->Find("a")->As<PythonList>()->size(), 2);
  EXPECT_EQ(list[0].Find("absent"), nullptr);
  EXPECT_EQ(list[2].Find("anything"), nullptr);
  EXPECT_TRUE(*list[3].Find("k")->As<bool>());
  EXPECT_EQ(*ParsePythonLiteral("{'a': 1, 'a': 2}")->Find("a")->As<int64_t>(), 2);
}

TEST(PythonLiteral, NamesWhereItBreaks) {
  EXPECT_EQ(MessageOf(ParsePythonLiteral("[{'a': 1}")), "character 10: the end where ',' or ']' must be");
  EXPECT_EQ(MessageOf(ParsePythonLiteral("[{'a' 1}]")), "character 7: '1' where ':' must be");
  EXPECT_EQ(MessageOf(ParsePythonLiteral("[1 2]")), "character 4: '2' where ',' or ']' must be");
  EXPECT_EQ(MessageOf(ParsePythonLiteral("[1] x")), "character 5: 'x' where the end must be");
  EXPECT_EQ(MessageOf(ParsePythonLiteral("{a: 1}")), "character 2: 'a' where a quoted key must be");
  EXPECT_EQ(MessageOf(ParsePythonLiteral("'abc")), "character 5: the end where a closing quote must be");
  EXPECT_EQ(MessageOf(ParsePythonLiteral("")), "character 1: the end where a value must be");
  EXPECT_EQ(MessageOf(ParsePythonLiteral("null")), "character 1: 'n' where a value must be");
  EXPECT_EQ(MessageOf(ParsePythonLiteral("Nonesuch")), "character 1: 'N' where a value must be");
  EXPECT_EQ(MessageOf(ParsePythonLiteral("1.2.3")), "character 1: '1' where a number must be");
  EXPECT_THAT(MessageOf(ParsePythonLiteral(R"('\x4')")), HasSubstr("a code point must be"));
  EXPECT_THAT(MessageOf(ParsePythonLiteral(R"('\ud800')")), HasSubstr("a code point must be"));
  EXPECT_THAT(MessageOf(ParsePythonLiteral(std::string(100000, '['))), HasSubstr("no deeper nesting"));
}

}  // namespace
}  // namespace marquee
