#include "common/version.h"

namespace marquee {

std::string_view Version() { return MARQUEE_VERSION; }

std::string_view Compiler() { return MARQUEE_COMPILER; }

std::string_view LibTorchVersion() { return MARQUEE_LIBTORCH_VERSION; }

}  // namespace marquee
