#include "common/web_access.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <random>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace marquee {
namespace {

constexpr size_t kMinToken = 16;
constexpr size_t kMaxToken = 256;
constexpr mode_t kOthers = 07;
constexpr int kCookieSeconds = 30 * 24 * 3600;

std::string MakeSession() {
  std::random_device device;
  std::string session;
  for (int i = 0; i < 8; ++i) session += fmt::format("{:08x}", device());
  return session;
}

// "127.0.0.1:8080", "localhost", "[::1]:80".
bool NamesLoopback(std::string host) {
  if (!host.empty() && host.front() == '[') return absl::StartsWith(host, "[::1]");
  host = host.substr(0, host.find(':'));
  if (host == "localhost") return true;
  return absl::StartsWith(host, "127.") && host.find_first_not_of("0123456789.") == std::string::npos;
}

}  // namespace

bool IsLoopback(std::string_view host) { return NamesLoopback(std::string(host)) || host == "::1"; }

absl::StatusOr<std::string> ReadToken(const std::string& path, std::string_view setting) {
  struct stat info {};
  if (stat(path.c_str(), &info) != 0) return absl::ErrnoToStatus(errno, fmt::format("{}: {}", setting, path));
  if ((info.st_mode & kOthers) != 0) {
    return absl::PermissionDeniedError(fmt::format("{}: {}: mode {:04o}: everybody on this machine has rights on it; chmod 600",
                                                   setting, path, info.st_mode & 07777U));
  }
  std::ifstream file(path);
  std::string token;
  std::getline(file, token);
  token = std::string(absl::StripAsciiWhitespace(token));
  const bool visible = std::all_of(token.begin(), token.end(), [](unsigned char c) { return absl::ascii_isgraph(c); });
  if (visible && token.size() >= kMinToken && token.size() <= kMaxToken) return token;
  return absl::InvalidArgumentError(
      fmt::format("{}: {}: its first line must be {} to {} visible characters (`head -c 24 /dev/urandom | base64`)", setting,
                  path, kMinToken, kMaxToken));
}

bool SameSecret(std::string_view given, std::string_view secret) {
  unsigned char different = given.size() == secret.size() && !secret.empty() ? 0 : 1;
  for (size_t i = 0; i < given.size(); ++i) {
    const char expected = secret.empty() ? '\0' : secret[i % secret.size()];
    different = static_cast<unsigned char>(different | static_cast<unsigned char>(given[i] ^ expected));
  }
  return different == 0;
}

WebAccess::WebAccess(std::string page, std::string token)
    : cookie_(fmt::format("marquee_{}_", page)), token_(std::move(token)), session_(MakeSession()) {}

bool WebAccess::Allows(const WebRequest& request) const {
  if (!needs_token()) return NamesLoopback(request.header("host"));
  const std::string authorization = request.header("authorization");
  std::string_view bearer = authorization;
  if (bearer.substr(0, 7) == "Bearer " && IsToken(bearer.substr(7))) return true;
  // Pages on other ports of this host have cookies of their own, which come along.
  const std::string cookies = request.header("cookie");
  for (const auto cookie : absl::StrSplit(cookies, ';')) {
    const std::string text(absl::StripAsciiWhitespace(cookie));
    if (text.rfind(cookie_, 0) != 0) continue;
    const size_t value = text.find('=');
    if (value != std::string::npos && SameSecret(std::string_view(text).substr(value + 1), session_)) return true;
  }
  return false;
}

std::string WebAccess::Cookie(uint16_t port) const {
  return fmt::format("{}{}={}; Path=/; Max-Age={}; HttpOnly; SameSite=Lax", cookie_, port, session_, kCookieSeconds);
}

}  // namespace marquee
