#ifndef MARQUEE_BENCH_RIG_H_
#define MARQUEE_BENCH_RIG_H_

// What ps_bench measures: something that pulls and pushes batches of rows from and to server processes. One rig is marquee's
// own client and shards, the other is what they are compared with.

#include <cstddef>
#include <cstdint>
#include <vector>

#include "common/id.h"
#include "common/table.h"

namespace marquee {

struct Workload {
  uint64_t table_rows = 0;  // on all servers
  uint32_t batch_rows = 0;  // unique ids in each pull and push
  uint32_t dim = 0;
  uint32_t servers = 0;
  int copies = 1;  // of every row: 2 with replication
  // Row numbers of each batch, below table_rows.
  std::vector<std::vector<uint64_t>> batches;
  std::vector<float> gradients;  // batch_rows x dim, of every push
};

class Rig {
 public:
  enum class Operation { kPull, kPush };

  virtual ~Rig() = default;
  // Begins to pull or push a batch of the workload; does not wait.
  virtual void Start(Operation operation, size_t batch) = 0;
  // Waits for answers and takes them in. Returns how many operations it finished, and adds their times.
  virtual int Pump() = 0;

  virtual double ServerCpuSeconds() const { return 0; }  // of all servers, since their start

  struct Times {  // microseconds from Start to the end
    std::vector<double> pulls;
    std::vector<double> pushes;
  };
  Times times;
};

double NowMicros();

// What both rigs have on their servers. Ids look like hashes of "feature=value", and are unique.
Id IdOf(uint64_t row);
TableDefinition BenchTable(uint32_t dim);
inline constexpr uint32_t kPartitionBits = 6;
inline constexpr float kLearningRate = 0.1F;

}  // namespace marquee

#endif  // MARQUEE_BENCH_RIG_H_
