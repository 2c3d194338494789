#ifndef MARQUEE_COMMON_MEMORY_LIMIT_H_
#define MARQUEE_COMMON_MEMORY_LIMIT_H_

// How much memory this process may use before the kernel ends it: the machine's, or the least that its control groups allow
// (containers, Slurm's steps and systemd's units are such groups; versions 1 and 2).

#include <cstdint>
#include <string>

namespace marquee {

// Bytes; 0 if the system does not say. Other folders than the system's are for tests.
uint64_t MemoryLimitBytes(const std::string& proc = "/proc", const std::string& groups = "/sys/fs/cgroup");

}  // namespace marquee

#endif  // MARQUEE_COMMON_MEMORY_LIMIT_H_
