#ifndef MARQUEE_SCHEDULER_PROCESS_LIST_H_
#define MARQUEE_SCHEDULER_PROCESS_LIST_H_

// The processes of a cluster file, for people: what `scheduler --check` prints.

#include <string>

#include "common/cluster_config.h"

namespace marquee {

// One line about the cluster, a line of titles, and a line for each process. Of ports, 0 is printed as "free".
std::string ProcessList(const ClusterConfig& config);

}  // namespace marquee

#endif  // MARQUEE_SCHEDULER_PROCESS_LIST_H_
