#include "common/command_line.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <CLI/CLI.hpp>
#include <array>

namespace marquee {
namespace {

using testing::HasSubstr;

class CommandLineTest : public testing::Test {
 protected:
  CommandLineTest() { app_.add_option("--needed", needed_, "A number")->required(); }

  template <size_t kCount>
  std::optional<int> Parse(const std::array<const char*, kCount>& arguments) {
    return ParseCommandLine(app_, kCount, arguments.data());
  }

  CLI::App app_{"A program of a test", "tested"};
  int needed_ = 0;
};

TEST_F(CommandLineTest, GoesOnWhenAllIsRight) {
  EXPECT_EQ(Parse(std::array{"tested", "--needed", "7"}), std::nullopt);
  EXPECT_EQ(needed_, 7);
}

TEST_F(CommandLineTest, WrongOnesEndWithOneCode) {
  testing::internal::CaptureStderr();
  EXPECT_EQ(Parse(std::array{"tested"}), kUsageError);
  EXPECT_THAT(testing::internal::GetCapturedStderr(), HasSubstr("--needed is required"));
}

TEST_F(CommandLineTest, VersionNeedsNoOtherOption) {
  testing::internal::CaptureStdout();
  EXPECT_EQ(Parse(std::array{"tested", "--version"}), 0);
  EXPECT_THAT(testing::internal::GetCapturedStdout(), HasSubstr("tested (marquee) "));
}

TEST_F(CommandLineTest, CompletionKnowsOptionsAndSubcommands) {
  CLI::App* const look = app_.add_subcommand("look", "Looks");
  look->add_flag("--closely");
  testing::internal::CaptureStdout();
  EXPECT_EQ(Parse(std::array{"tested", "--completion"}), 0);
  const std::string script = testing::internal::GetCapturedStdout();
  EXPECT_THAT(script,
              HasSubstr("'') options='--help --needed --version --completion' with_value='--needed' commands='look' ;;"));
  EXPECT_THAT(script, HasSubstr("'/look') options='--help --closely' with_value='' commands='' ;;"));
}

}  // namespace
}  // namespace marquee
