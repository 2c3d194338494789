#ifndef MARQUEE_PS_SHARD_THREAD_H_
#define MARQUEE_PS_SHARD_THREAD_H_

// A Shard with a socket and a thread of its own. For its owner's thread alone, where nothing else is said.

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "absl/status/statusor.h"
#include "common/metrics.h"
#include "common/server_statistics.h"
#include "common/trace.h"
#include "common/transport.h"
#include "ps/shard.h"

namespace marquee {

class ShardThread {
 public:
  // Listens on `endpoint` and begins to answer. `index` is the shard's in its server. Context, metrics and trace must outlive
  // it; nothing is traced without a trace.
  static absl::StatusOr<std::unique_ptr<ShardThread>> Start(TransportContext& context, const Identity& self,
                                                            TransportOptions transport_options, ShardOptions shard_options,
                                                            const std::string& endpoint, uint32_t index, Metrics& metrics,
                                                            TraceFile* trace = nullptr);
  // Stops answering, and waits for that.
  ~ShardThread();

  // As others must write it, with the port in use.
  const std::string& endpoint() const { return endpoint_; }

  // Of about a second ago. Any thread.
  ServerStatistics statistics() const;
  // The number of its view; 0 while it has none. Any thread.
  uint64_t view() const { return view_; }

 private:
  ShardThread() = default;
  void Run(const Identity& self, ShardOptions options, uint32_t index, Metrics& metrics, TraceFile* trace);

  std::unique_ptr<Transport> transport_;  // the thread's, once it runs; only Wake is called from outside
  std::string endpoint_;
  std::atomic<bool> stop_{false};
  std::atomic<uint64_t> view_{0};
  mutable std::mutex mutex_;
  ServerStatistics statistics_;  // under mutex_
  std::thread thread_;
};

}  // namespace marquee

#endif  // MARQUEE_PS_SHARD_THREAD_H_
