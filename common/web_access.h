#ifndef MARQUEE_COMMON_WEB_ACCESS_H_
#define MARQUEE_COMMON_WEB_ACCESS_H_

// Who may read a program's pages.
//
// Without a token: whoever asks for a loopback host by its name, which is what a person there types, and what a page on the
// web that was led to this address by its own name servers cannot pretend. With one: whoever shows the token as
// `Authorization: Bearer TOKEN`, or a cookie that was given for it. The cookie is not the token but a number made up at start,
// so that it ends with the process. Both are compared in a time that does not tell how much of them was right. Immutable.

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "common/web_server.h"

namespace marquee {

// The first line of a file that others than its owner and group have no rights on; 16 to 256 visible ASCII characters. Errors
// name the file and `setting`, which named it.
absl::StatusOr<std::string> ReadToken(const std::string& path, std::string_view setting);

// Whether only this machine can connect to what listens at `host`.
bool IsLoopback(std::string_view host);

// Whether two texts are the same, in a time that depends on nothing but the length of `given`.
bool SameSecret(std::string_view given, std::string_view secret);

class WebAccess {
 public:
  // An empty token: loopback. The cookie is named after `page`, such as "status".
  WebAccess(std::string page, std::string token);

  bool needs_token() const { return !token_.empty(); }
  bool IsToken(std::string_view given) const { return needs_token() && SameSecret(given, token_); }
  bool Allows(const WebRequest& request) const;
  // The value of Set-Cookie for somebody who showed the token to a page on this port.
  std::string Cookie(uint16_t port) const;

 private:
  std::string cookie_;  // the beginning of its name
  std::string token_;
  std::string session_;  // the cookie's value
};

}  // namespace marquee

#endif  // MARQUEE_COMMON_WEB_ACCESS_H_
