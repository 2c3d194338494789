#include "common/log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace marquee {
namespace {

TEST(LogTest, LineHasLevelComponentEventAndFields) {
  EXPECT_EQ(LogText("info", "worker/w0", "registered", {}), "info worker/w0 registered");
  EXPECT_EQ(LogText("info", "worker/w0", "registered", {{"view", 3}, {"scheduler", "tcp://10.0.0.1:7700"}, {"loss", 0.5}}),
            "info worker/w0 registered view=3 scheduler=tcp://10.0.0.1:7700 loss=0.5");
}

// Whatever a value holds, a line stays one line and its fields can be told apart.
TEST(LogTest, ValuesWithSpacesAreQuoted) {
  EXPECT_EQ(LogText("error", "ps", "failed", {{"reason", "no \"such\" file\\"}}),
            R"(error ps failed reason="no \"such\" file\\")");
  EXPECT_EQ(LogText("error", "ps", "failed", {{"reason", "a\nb\x01"}}), R"(error ps failed reason="a\nb\x01")");
  EXPECT_EQ(LogText("error", "ps", "failed", {{"reason", ""}}), R"(error ps failed reason="")");
  EXPECT_EQ(LogText("info", "ps", "movie", {{"title", std::string("Amélie")}}), "info ps movie title=Amélie");
}

TEST(LogTest, WritesToStandardError) {
  StartLog("test");
  testing::internal::CaptureStderr();
  LogInfo("started", {{"port", 7700}});
  LogDebug("not shown at the default level");
  const std::string line = testing::internal::GetCapturedStderr();
  EXPECT_THAT(line, testing::MatchesRegex("[0-9]+-[0-9]+-[0-9]+T[0-9]+:[0-9]+:[0-9]+\\.[0-9]+Z info test started port=7700\n"));
}

}  // namespace
}  // namespace marquee
