#include "worker/client/keep_alive.h"

#include <chrono>

#include "common/log.h"

namespace marquee {
namespace {

// Well below the shortest heartbeat, and long enough for most steps to end undisturbed.
constexpr std::chrono::milliseconds kInterval(20);

}  // namespace

KeepAlive::KeepAlive(Driver& driver, absl::Duration longest) : driver_(driver), longest_(longest), thread_([this] { Run(); }) {}

KeepAlive::~KeepAlive() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  stopped_.notify_one();
  thread_.join();
}

void KeepAlive::Begin() {
  const std::lock_guard lock(mutex_);
  busy_ = true;
  hung_ = false;
  busy_since_ = Driver::now();
}

void KeepAlive::End() {
  const std::lock_guard lock(mutex_);
  busy_ = false;
}

void KeepAlive::Run() {
  std::unique_lock lock(mutex_);
  while (!stopped_.wait_for(lock, kInterval, [this] { return stop_; })) PumpIfBusy();
}

void KeepAlive::PumpIfBusy() {
  if (!busy_ || hung_) return;
  hung_ = Driver::now() - busy_since_ > longest_;
  if (hung_) {
    LogError("a step takes longer than longest_step_seconds: no more heartbeats until it ends",
             {{"seconds", absl::ToDoubleSeconds(longest_)}});
    return;
  }
  // Without waiting: the driver goes back to its owner as soon as the work is done.
  driver_.Pump(absl::ZeroDuration()).IgnoreError();
}

}  // namespace marquee
