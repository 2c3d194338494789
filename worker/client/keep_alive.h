#ifndef MARQUEE_WORKER_CLIENT_KEEP_ALIVE_H_
#define MARQUEE_WORKER_CLIENT_KEEP_ALIVE_H_

// Pumps a Driver while the thread that it belongs to computes, so that a step may take longer than the lease: heartbeats go
// out, pushes are sent again, rows that were pulled come in. Not for ever: a thread that computes for longer than `longest`
// counts as hung, the driver is pumped no more, and the scheduler takes the worker for dead when the lease is over.
//
//     KeepAlive keep_alive(driver, absl::Minutes(10));
//     driver.Pump(...);
//     auto loss = keep_alive.During([&] { return model.Compute(step); });

#include <condition_variable>
#include <mutex>
#include <thread>

#include "absl/time/time.h"
#include "worker/client/driver.h"

namespace marquee {

class KeepAlive {
 public:
  // `driver` must outlive it.
  KeepAlive(Driver& driver, absl::Duration longest);
  KeepAlive(const KeepAlive&) = delete;
  KeepAlive& operator=(const KeepAlive&) = delete;
  ~KeepAlive();

  // Returns what `work` returns. Meanwhile the driver is not the caller's: `work` must touch neither it nor the values of a
  // pull that is under way. An error of the driver shows at the caller's next Pump.
  template <typename Work>
  auto During(Work&& work) {
    const Busy busy(*this);
    return work();
  }

 private:
  class Busy {
   public:
    explicit Busy(KeepAlive& keep_alive) : keep_alive_(keep_alive) { keep_alive_.Begin(); }
    Busy(const Busy&) = delete;
    Busy& operator=(const Busy&) = delete;
    ~Busy() { keep_alive_.End(); }

   private:
    KeepAlive& keep_alive_;
  };

  void Begin();
  void End();
  void Run();
  void PumpIfBusy();

  Driver& driver_;
  const absl::Duration longest_;
  std::mutex mutex_;  // of the driver while busy_, and of what follows
  std::condition_variable stopped_;
  bool stop_ = false;
  bool busy_ = false;
  bool hung_ = false;
  absl::Time busy_since_;
  std::thread thread_;
};

}  // namespace marquee

#endif  // MARQUEE_WORKER_CLIENT_KEEP_ALIVE_H_
