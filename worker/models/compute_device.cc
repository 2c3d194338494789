#include "worker/models/compute_device.h"

#include <dlfcn.h>
#include <torch/torch.h>

#include <algorithm>
#include <chrono>

namespace marquee {

void SetComputeThreads(uint32_t threads) {
  at::set_num_threads(static_cast<int>(threads));
  // Not linked directly: LibTorch may have been built with another BLAS.
  using SetThreads = void (*)(int);
  const auto set_openblas = reinterpret_cast<SetThreads>(dlsym(RTLD_DEFAULT, "openblas_set_num_threads"));
  if (set_openblas != nullptr) set_openblas(static_cast<int>(threads));
}

double MeasureGigaflops() {
  constexpr int64_t kSize = 512;
  constexpr int kRepeats = 5;
  const torch::NoGradGuard no_gradients;
  const torch::Tensor a = torch::rand({kSize, kSize});
  const torch::Tensor b = torch::rand({kSize, kSize});
  double best_seconds = 1e9;
  for (int i = 0; i < kRepeats; ++i) {
    const auto start = std::chrono::steady_clock::now();
    torch::mm(a, b);
    best_seconds = std::min(best_seconds, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  return 2.0 * kSize * kSize * kSize / best_seconds / 1e9;
}

}  // namespace marquee
