#ifndef MARQUEE_BENCH_CHILD_PROCESS_H_
#define MARQUEE_BENCH_CHILD_PROCESS_H_

// A server process of a benchmark: this program, started again with other flags. It says where it listens in the first line of
// its output, and ends when its input does, so that none outlives the benchmark.

#include <sys/types.h>

#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace marquee {

class ChildProcess {
 public:
  // Starts it and waits for its first line.
  static absl::StatusOr<ChildProcess> Start(const std::vector<std::string>& arguments);
  ~ChildProcess();
  ChildProcess(ChildProcess&& other) noexcept;
  ChildProcess& operator=(ChildProcess&&) = delete;

  const std::string& endpoint() const { return endpoint_; }
  double cpu_seconds() const;  // of all its threads, since its start

 private:
  ChildProcess() = default;

  pid_t pid_ = -1;
  int input_ = -1;
  std::string endpoint_;
};

// In the child.
void ReportEndpoint(const std::string& endpoint);
void WaitForInputEnd();
bool InputEnded();  // does not wait

}  // namespace marquee

#endif  // MARQUEE_BENCH_CHILD_PROCESS_H_
