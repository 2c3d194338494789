// Runs seeds on all cores. Each seed is simulated by one thread, so that it is the same run whatever goes on beside it.

#ifndef MARQUEE_TESTS_SIMULATION_EACH_SEED_H_
#define MARQUEE_TESTS_SIMULATION_EACH_SEED_H_

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <functional>
#include <thread>
#include <vector>

namespace marquee::simulation {

// Calls `run` for `first` to `last`, handed out in order, from several threads at once. Once it has returned false no further
// seed is handed out; those that were are run to their end, so that the lowest seed with a given finding is always among them.
inline void EachSeed(uint64_t first, uint64_t last, const std::function<bool(uint64_t)>& run) {
  std::atomic<uint64_t> next = first;
  std::atomic<bool> go_on = true;
  const auto work = [&] {
    while (go_on) {
      const uint64_t seed = next++;
      if (seed > last) return;
      if (!run(seed)) go_on = false;
    }
  };
  std::vector<std::thread> threads;
  for (unsigned i = std::max(1U, std::thread::hardware_concurrency()); i > 0; --i) threads.emplace_back(work);
  for (std::thread& thread : threads) thread.join();
}

}  // namespace marquee::simulation

#endif  // MARQUEE_TESTS_SIMULATION_EACH_SEED_H_
