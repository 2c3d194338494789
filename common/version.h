#ifndef MARQUEE_COMMON_VERSION_H_
#define MARQUEE_COMMON_VERSION_H_

#include <string_view>

namespace marquee {

// The version of marquee that this was built from, for example "0.1.0".
std::string_view Version();

}  // namespace marquee

#endif  // MARQUEE_COMMON_VERSION_H_
