#ifndef MARQUEE_COMMON_PROMETHEUS_TARGETS_H_
#define MARQUEE_COMMON_PROMETHEUS_TARGETS_H_

// Where Prometheus finds the processes of a cluster, as a file for its `file_sd_configs` (docs/monitoring.md).
//
//     [{"targets": ["10.0.0.1:9710"], "labels": {"cluster": "three", "role": "server", "name": "a", "host": "10.0.0.1"}}, ...]
//
// A process that is missing is a target that does not answer, so all that the cluster file names are listed.

#include <string>

#include "absl/status/statusor.h"
#include "common/cluster_config.h"

namespace marquee {

// `file` is the cluster file's name, for errors. `run` is the folder of a running sweep (its endpoints.json has the ports that
// the cluster file leaves free), or empty. An error names the process whose port is not known.
absl::StatusOr<std::string> PrometheusTargets(const ClusterConfig& config, const std::string& file, const std::string& run);

}  // namespace marquee

#endif  // MARQUEE_COMMON_PROMETHEUS_TARGETS_H_
