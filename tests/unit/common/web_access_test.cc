#include "common/web_access.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "tests/unit/common/temporary_folder.h"

namespace marquee {
namespace {

using testing::HasSubstr;
using testing::Not;

constexpr char kToken[] = "correct-horse-battery";

bool Allowed(const WebAccess& access, const std::string& header, const std::string& value) {
  return access.Allows({.headers = {{header, value}}});
}

TEST(WebAccessTest, WithoutATokenOnlyUnderANameOfLoopback) {
  const WebAccess access("status", "");
  for (const char* host : {"127.0.0.1:8080", "localhost:80", "localhost", "[::1]:9", "127.1.2.3"}) {
    EXPECT_TRUE(Allowed(access, "host", host)) << host;
  }
  for (const char* host : {"evil.example:8080", "127.evil.example", "10.0.0.1", "localhost.evil", "[fe80::1]", ""}) {
    EXPECT_FALSE(Allowed(access, "host", host)) << host;
  }
  EXPECT_FALSE(access.Allows({}));
  EXPECT_FALSE(access.IsToken(""));
}

TEST(WebAccessTest, WithATokenOnlyWhoShowsIt) {
  const WebAccess access("status", kToken);
  EXPECT_FALSE(Allowed(access, "host", "localhost"));
  EXPECT_TRUE(Allowed(access, "authorization", fmt::format("Bearer {}", kToken)));
  for (const char* wrong : {"", "Bearer ", "Bearer correct-horse-batterz", "Bearer correct", "correct-horse-battery"}) {
    EXPECT_FALSE(Allowed(access, "authorization", wrong)) << wrong;
  }
  EXPECT_FALSE(Allowed(access, "authorization", fmt::format("Bearer {}{}", kToken, kToken)));
}

TEST(WebAccessTest, ItsCookieIsNotTheTokenAndOfThisProcessAlone) {
  const WebAccess access("status", kToken);
  const std::string set = access.Cookie(8080);
  EXPECT_THAT(set, Not(HasSubstr(kToken)));
  EXPECT_THAT(set, HasSubstr("; HttpOnly; SameSite=Lax"));
  const std::string cookie = set.substr(0, set.find(';'));
  EXPECT_TRUE(Allowed(access, "cookie", cookie));
  EXPECT_TRUE(Allowed(access, "cookie", fmt::format("marquee_status_9=0; other=1; {}", cookie)));
  EXPECT_FALSE(Allowed(WebAccess("status", kToken), "cookie", cookie));
  EXPECT_FALSE(Allowed(access, "cookie", "marquee_status_8080="));
  EXPECT_FALSE(Allowed(access, "cookie", "marquee_status_8080"));
  EXPECT_FALSE(Allowed(access, "cookie", cookie.substr(0, cookie.size() - 1)));
  EXPECT_FALSE(Allowed(access, "cookie", fmt::format("marquee_status_8080={}", kToken)));
}

TEST(WebAccessTest, SameSecretIsEquality) {
  EXPECT_TRUE(SameSecret("abc", "abc"));
  for (const char* other : {"", "ab", "abd", "abcabc", "xbc"}) EXPECT_FALSE(SameSecret(other, "abc")) << other;
  EXPECT_FALSE(SameSecret("", ""));
}

class TokenFileTest : public ::testing::Test {
 protected:
  absl::StatusOr<std::string> Read(const std::string& text, int mode = 0600) {
    folder_.Write("token", text);
    std::filesystem::permissions(folder_.Path("token"), static_cast<std::filesystem::perms>(mode));
    return ReadToken(folder_.Path("token"), "status.token_file");
  }
  std::string ErrorOf(const std::string& text, int mode = 0600) { return std::string(Read(text, mode).status().message()); }
  TemporaryFolder folder_;
};

TEST_F(TokenFileTest, IsItsFirstLine) {
  ASSERT_TRUE(Read("0123456789abcdef\nand a comment\n").ok());
  EXPECT_EQ(*Read(" 0123456789abcdef \n"), "0123456789abcdef");
  EXPECT_TRUE(Read("0123456789abcdef\n", 0440).ok());  // as secrets are mounted for a group
}

TEST_F(TokenFileTest, IsRefusedWhereItIsNoSecret) {
  EXPECT_THAT(ErrorOf("0123456789abcdef\n", 0644), HasSubstr("mode 0644"));
  EXPECT_THAT(ErrorOf("short\n"), HasSubstr("16 to 256 visible characters"));
  EXPECT_THAT(ErrorOf(std::string(257, 'x')), HasSubstr("16 to 256 visible characters"));
  EXPECT_THAT(ErrorOf("0123456789 abcdef\n"), HasSubstr("visible characters"));
  EXPECT_THAT(std::string(ReadToken(folder_.Path("none"), "status.token_file").status().message()), HasSubstr("none"));
  EXPECT_THAT(ErrorOf("secret\n"), Not(HasSubstr("secret\n")));
}

}  // namespace
}  // namespace marquee
