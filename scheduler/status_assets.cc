#include "scheduler/status_assets.h"

#include <cstddef>

#define MARQUEE_ASSET(symbol, file)                                                                          \
  asm("  .pushsection .rodata\n" symbol "_begin:\n  .incbin \"" MARQUEE_STATUS_FOLDER "/" file "\"\n" symbol \
      "_end:\n  .byte 0\n  .popsection\n")

MARQUEE_ASSET("marquee_status_html", "status.html");
MARQUEE_ASSET("marquee_status_script", "status.js");
MARQUEE_ASSET("marquee_status_style", "status.css");
MARQUEE_ASSET("marquee_status_login", "login.html");

extern "C" {
extern const char marquee_status_html_begin[], marquee_status_html_end[];
extern const char marquee_status_script_begin[], marquee_status_script_end[];
extern const char marquee_status_style_begin[], marquee_status_style_end[];
extern const char marquee_status_login_begin[], marquee_status_login_end[];
}

namespace marquee {
namespace {

std::string_view Between(const char* begin, const char* end) { return {begin, static_cast<size_t>(end - begin)}; }

}  // namespace

std::string_view StatusHtml() { return Between(marquee_status_html_begin, marquee_status_html_end); }
std::string_view StatusScript() { return Between(marquee_status_script_begin, marquee_status_script_end); }
std::string_view StatusStyle() { return Between(marquee_status_style_begin, marquee_status_style_end); }
std::string_view LoginHtml() { return Between(marquee_status_login_begin, marquee_status_login_end); }

}  // namespace marquee
