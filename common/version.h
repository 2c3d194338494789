#ifndef MARQUEE_COMMON_VERSION_H_
#define MARQUEE_COMMON_VERSION_H_

#include <string_view>

namespace marquee {

// The version of marquee that this was built from, for example "0.1.0".
std::string_view Version();

// Of the files of a checkpoint that this program writes, and of the oldest that it reads.
constexpr int kCheckpointVersion = 1;
constexpr int kOldestCheckpointVersion = 1;

// Of the scheduler's state (state.db) that this program writes, and of the oldest that it takes over.
constexpr int kStateVersion = 3;
constexpr int kOldestStateVersion = 2;

// What it was built with: "GNU 12.2.0, Release".
std::string_view Compiler();
// The LibTorch of this build, for example "1.13.0"; empty if it was built without, as where no models are trained.
std::string_view LibTorchVersion();

}  // namespace marquee

#endif  // MARQUEE_COMMON_VERSION_H_
