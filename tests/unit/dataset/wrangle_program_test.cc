// The program itself: what it prints, when it fails, and that it leaves nothing half done.

#include <fmt/format.h>
#include <sys/wait.h>

#include <cstdlib>

#include "dataset/dataset.h"
#include "tests/unit/dataset/test_files.h"

namespace marquee {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

struct Outcome {
  int exit_code;
  std::string out;
  std::string err;
};

class WrangleProgram : public testing::Test {
 protected:
  void SetUp() override {
    if (Environment("MARQUEE_BIN").empty()) GTEST_SKIP() << "MARQUEE_BIN is not set";
    std::filesystem::create_directory(folder_ / "ml");
    folder_.Write("ml/users.dat", "1::F::1::10::48067\n2::M::56::16::70072\n");
    folder_.Write("ml/movies.dat", "1::One (1995)::Drama\n2::Two (1995)::Comedy|Drama\n");
    folder_.Write("ml/ratings.dat", "1::2::5::978300760\n2::1::3\n");
  }

  Outcome Run(const std::string& arguments) {
    const std::string command =
        fmt::format("{}/wrangle {} >{} 2>{}", Environment("MARQUEE_BIN"), arguments, Path("out"), Path("err"));
    const int status = std::system(command.c_str());
    return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, ReadBytes(folder_ / "out"), ReadBytes(folder_ / "err")};
  }
  std::string Path(std::string_view name) const { return fmt::format("'{}'", folder_ / name); }

  TempFolder folder_;
};

TEST_F(WrangleProgram, WritesDataFileAndTable) {
  const Outcome outcome = Run("--movielens " + Path("ml") + " --out " + Path("a.mq") + " --csv " + Path("a.csv"));
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_THAT(outcome.out, AllOf(HasSubstr("ratings.dat: 2 ratings\n    1 have no timestamp: null\n"), HasSubstr("wrote ")));
  EXPECT_TRUE(Dataset::Open(folder_ / "a.mq").ok());
  EXPECT_EQ(ReadBytes(folder_ / "a.csv"),
            "bucketized_user_age,movie_genres,movie_id,movie_title,timestamp,user_gender,user_id,user_occupation_label,"
            "user_occupation_text,user_rating,user_zip_code,director,release_date,star\n"
            "1,\"[4, 7]\",2,Two (1995),978300760,False,1,17,K-12 student,5,48067,,,\n"
            "56,[7],1,One (1995),,True,2,16,self-employed,3,70072,,,\n");
  const Outcome described = Run("--describe " + Path("a.mq"));
  EXPECT_EQ(described.exit_code, 0);
  EXPECT_THAT(described.out, HasSubstr("2 interactions, 2 users, 2 items, 2 of them with interactions"));
}

TEST_F(WrangleProgram, LeavesTheOldFileWhenItFails) {
  folder_.Write("a.mq", "what stood before");
  folder_.Write("ml/ratings.dat", "1::2::5::978300760\n2::1::bad\n");
  const Outcome broken = Run("--movielens " + Path("ml") + " --out " + Path("a.mq"));
  EXPECT_EQ(broken.exit_code, 1);
  EXPECT_THAT(broken.err, HasSubstr("ml/ratings.dat:2: rating 'bad': must be 0.5 to 5"));
  EXPECT_EQ(ReadBytes(folder_ / "a.mq"), "what stood before");

  folder_.Write("ml/ratings.dat", "1::2::5::978300760\n");
  const Outcome no_table = Run("--movielens " + Path("ml") + " --out " + Path("a.mq") + " --csv " + Path("no/such/a.csv"));
  EXPECT_EQ(no_table.exit_code, 1);
  EXPECT_THAT(no_table.err, HasSubstr("no/such/a.csv: cannot write"));
  EXPECT_EQ(ReadBytes(folder_ / "a.mq"), "what stood before");
  EXPECT_EQ(folder_.files(), 4);  // a.mq, ml, out, err
}

TEST_F(WrangleProgram, MakesSyntheticDataAndSaysSo) {
  const Outcome outcome = Run("--synthetic small --out " + Path("a.mq"));
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_THAT(outcome.out,
              AllOf(HasSubstr("synthetic small: 40,000 made-up ratings"), HasSubstr("synthetic small (synthetic)")));
  EXPECT_TRUE((*Dataset::Open(folder_ / "a.mq"))->synthetic());
}

TEST_F(WrangleProgram, ReadsOwnInteractions) {
  folder_.Write("orders.csv", "customer,product\nann,p1\nbob,p1\n");
  folder_.Write("orders.yaml", "columns:\n  customer: {feature: user}\n  product: {feature: item}\n");
  const Outcome outcome =
      Run("--interactions " + Path("orders.csv") + " --schema " + Path("orders.yaml") + " --out " + Path("a.mq"));
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_EQ((*Dataset::Open(folder_ / "a.mq"))->name(), "orders");
}

TEST_F(WrangleProgram, RefusesWrongCommandLines) {
  for (const char* const arguments :
       {"", "--out a.mq", "--synthetic small", "--synthetic small --movielens x --out a.mq", "--interactions x --out a.mq",
        "--synthetic small --schema x --out a.mq", "--synthetic small --links x --out a.mq", "--describe none.mq",
        "--synthetic huge --out a.mq", "--synthetic small --out same --csv same", "--nonsense"}) {
    const Outcome outcome = Run(arguments);
    EXPECT_NE(outcome.exit_code, 0) << arguments;
    EXPECT_THAT(outcome.err, Not(testing::IsEmpty())) << arguments;
  }
}

TEST_F(WrangleProgram, HelpTeaches) {
  const Outcome outcome = Run("--help");
  EXPECT_EQ(outcome.exit_code, 0);
  for (const char* const words :
       {"--movielens", "--credits", "--csv", "--synthetic", "--interactions", "feature: user", "--describe"}) {
    EXPECT_THAT(outcome.out, HasSubstr(words));
  }
}

}  // namespace
}  // namespace marquee
