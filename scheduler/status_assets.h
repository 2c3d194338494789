#ifndef MARQUEE_SCHEDULER_STATUS_ASSETS_H_
#define MARQUEE_SCHEDULER_STATUS_ASSETS_H_

// The files of scheduler/status, which are part of the program.

#include <string_view>

namespace marquee {

std::string_view StatusHtml();
std::string_view StatusScript();
std::string_view StatusStyle();

}  // namespace marquee

#endif  // MARQUEE_SCHEDULER_STATUS_ASSETS_H_
