#include "common/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace marquee {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

// Parses, lets `read` read the root, and returns the error.
template <typename Read>
std::string ErrorOf(const std::string& yaml, Read read) {
  absl::StatusOr<ConfigDocument> document = ConfigDocument::Parse(yaml, "f.yaml");
  if (!document.ok()) return std::string(document.status().message());
  ConfigSection root = document->root();
  read(root);
  return std::string(document->status().message());
}

TEST(ConfigTest, ReadsValuesAndKeepsDefaultsOfAbsentKeys) {
  int whole = 3;
  double real = 0.5;
  bool flag = false;
  std::string text = "default";
  absl::Duration duration = absl::Seconds(2);
  std::vector<int> list = {7};
  EXPECT_EQ(ErrorOf("whole: 12\nreal: 1e-3\nflag: true\nduration: 0.25\nlist: [1, 2]\n",
                    [&](ConfigSection& root) {
                      root.Read("whole", &whole, 0, 100);
                      root.Read("real", &real, 0.0, 1.0);
                      root.Read("flag", &flag);
                      root.Read("text", &text);
                      root.ReadSeconds("duration", &duration, absl::ZeroDuration(), absl::Seconds(9));
                      root.ReadList("list", &list, 0, 9, 3);
                      root.Finish();
                    }),
            "");
  EXPECT_EQ(whole, 12);
  EXPECT_EQ(real, 1e-3);
  EXPECT_TRUE(flag);
  EXPECT_EQ(text, "default");
  EXPECT_EQ(duration, absl::Milliseconds(250));
  EXPECT_THAT(list, ElementsAre(1, 2));
}

TEST(ConfigTest, NamesFileLineKeyValueAndWhatIsAllowed) {
  int value = 5;
  EXPECT_EQ(ErrorOf("a: 1\nb:\n  c: 70\n", [&](ConfigSection& root) { root.Section("b").Read("c", &value, 1, 64); }),
            "f.yaml:3: key 'b.c': value '70': must be a whole number from 1 to 64");
  EXPECT_EQ(value, 5);
}

TEST(ConfigTest, RefusesWhatIsNoNumberOfItsKind) {
  for (const char* text : {"1.5", "x", "-1", "1 2", "0x10", "''", "99999999999999999999", "[1]", "{a: 1}", "~"}) {
    uint32_t value = 5;
    EXPECT_THAT(ErrorOf(std::string("k: ") + text, [&](ConfigSection& root) { root.Read("k", &value, 0U); }),
                HasSubstr("f.yaml:1: key 'k'"))
        << text;
    EXPECT_EQ(value, 5U);
  }
  for (const char* text : {"nan", "inf", "-0.1", "1.0001", "abc"}) {
    double value = 0.5;
    EXPECT_THAT(ErrorOf(std::string("k: ") + text, [&](ConfigSection& root) { root.Read("k", &value, 0.0, 1.0); }),
                HasSubstr("at least 0 and at most 1"))
        << text;
  }
  double value = 0.5;
  EXPECT_THAT(ErrorOf("k: 1", [&](ConfigSection& root) { root.Read("k", &value, 0.0, 1.0, ConfigSection::Ends::kBelowMax); }),
              HasSubstr("below 1"));
  EXPECT_THAT(ErrorOf("k: 0", [&](ConfigSection& root) { root.Read("k", &value, 0.0, 1.0, ConfigSection::Ends::kAboveMin); }),
              HasSubstr("above 0"));
  bool flag = false;
  EXPECT_THAT(ErrorOf("k: yes", [&](ConfigSection& root) { root.Read("k", &flag); }), HasSubstr("'true' or 'false'"));
}

TEST(ConfigTest, ListsTheWordsOfAnEnum) {
  int value = 0;
  EXPECT_EQ(ErrorOf("k: tow",
                    [&](ConfigSection& root) {
                      root.Read("k", &value, {{"one", 1}, {"two", 2}, {"three", 3}});
                    }),
            "f.yaml:1: key 'k': value 'tow': must be 'one', 'two' or 'three'");
}

TEST(ConfigTest, RefusesUnknownKeysWithTheNearestKnownOne) {
  EXPECT_EQ(ErrorOf("outer:\n  temprature: 1\n",
                    [](ConfigSection& root) {
                      ConfigSection outer = root.Section("outer");
                      double ignored = 0;
                      outer.Read("dropout", &ignored, 0.0, 1.0);
                      outer.Read("temperature", &ignored, 0.0, 1.0);
                      outer.Finish();
                    }),
            "f.yaml:2: key 'outer.temprature': unknown; did you mean 'temperature'?");
}

TEST(ConfigTest, RefusesKeysThatStandTwiceOrAreMissing) {
  int value = 0;
  EXPECT_EQ(ErrorOf("k: 1\nk: 2\n",
                    [&](ConfigSection& root) {
                      root.Read("k", &value, 0, 9);
                      root.Finish();
                    }),
            "f.yaml:2: key 'k': stands twice");
  EXPECT_EQ(ErrorOf("a: {b: 1}", [](ConfigSection& root) { root.Section("a").Require("c", "the third letter"); }),
            "f.yaml:1: key 'a.c': is missing: the third letter");
}

TEST(ConfigTest, KeepsTheFirstErrorAndChangesNothingAfterIt) {
  int first = 1;
  int second = 1;
  EXPECT_THAT(ErrorOf("a: x\nb: 5\n",
                      [&](ConfigSection& root) {
                        root.Read("a", &first, 0, 9);
                        root.Read("b", &second, 0, 9);
                      }),
              HasSubstr("'a'"));
  EXPECT_EQ(second, 1);
}

TEST(ConfigTest, ListsOfMappingsMayHaveNamesInThem) {
  std::vector<std::string> names;
  EXPECT_EQ(ErrorOf("list: [one, {name: two}]",
                    [&](ConfigSection& root) {
                      for (ConfigSection& entry : root.Sections("list", "name")) {
                        entry.Read("name", &names.emplace_back());
                        entry.Finish();
                      }
                    }),
            "");
  EXPECT_THAT(names, ElementsAre("one", "two"));
  EXPECT_EQ(ErrorOf("list: [{name: one}, [2]]", [](ConfigSection& root) { root.Sections("list", "name"); }),
            "f.yaml:1: key 'list[1]': value '[...]': must be a list of names or mappings");
}

TEST(ConfigTest, SaysWhereYamlIsBroken) {
  EXPECT_THAT(ErrorOf("a: 1\nb: [1, 2\n", [](ConfigSection&) {}), HasSubstr("f.yaml:"));
  EXPECT_THAT(ErrorOf("just text", [](ConfigSection&) {}), HasSubstr("must be a mapping"));
  EXPECT_THAT(std::string(ConfigDocument::Load("/no/such/file.yaml").status().message()), HasSubstr("/no/such/file.yaml"));
}

TEST(ConfigTest, NearestWordIsByEdits) {
  EXPECT_EQ(NearestWord("epoch", {"epochs", "batch_size", "kind"}), "epochs");
  EXPECT_EQ(NearestWord("x", {}), "");
}

}  // namespace
}  // namespace marquee
