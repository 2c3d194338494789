#include "serving/title_search.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace marquee {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(TitleSearchTest, WordsAreWithoutCaseAndAccents) {
  EXPECT_THAT(SearchWords("Amélie d'Été (2001)"), ElementsAre("amelie", "dete", "2001"));
  EXPECT_THAT(SearchWords("  -- "), IsEmpty());
  EXPECT_THAT(SearchWords("bad\xff"
                          "byte"),
              ElementsAre("bad", "byte"));
}

class FoundTest : public testing::Test {
 protected:
  const TitleSearch search_{{{.title = "Toy Story 2", .ratings = 50},
                             {.title = "Toy Story", .ratings = 10},
                             {.title = "Story of Toys, The", .ratings = 90},
                             {.title = "Amélie", .ratings = 5},
                             {.title = "Toy Soldiers", .ratings = 1}}};
};

TEST_F(FoundTest, TheBestMatchComesFirstThenTheMostRated) {
  EXPECT_THAT(search_.Find("toy story", 10), ElementsAre(1, 0, 2));
  EXPECT_THAT(search_.Find("TOY", 2), ElementsAre(0, 1));
}

TEST_F(FoundTest, AllWordsMustBeFoundByTheirBeginnings) {
  EXPECT_THAT(search_.Find("sto to 2", 10), ElementsAre(0));
  EXPECT_THAT(search_.Find("amelie", 10), ElementsAre(3));
  EXPECT_THAT(search_.Find("toy heat", 10), IsEmpty());
  EXPECT_THAT(search_.Find("", 10), IsEmpty());
}

}  // namespace
}  // namespace marquee
