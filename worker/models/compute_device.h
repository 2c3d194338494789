#ifndef MARQUEE_WORKER_MODELS_COMPUTE_DEVICE_H_
#define MARQUEE_WORKER_MODELS_COMPUTE_DEVICE_H_

// How many threads LibTorch and BLAS use, and whether they are any good.

#include <cstdint>

namespace marquee {

// LibTorch (OpenMP) and OpenBLAS each have a number of threads of their own; they multiply. Sets both.
void SetComputeThreads(uint32_t threads);

// Measures a matrix product in GFLOP/s, in a few hundredths of a second. With the reference BLAS one core gives under 5, with
// OpenBLAS near 100.
double MeasureGigaflops();

// Below this many GFLOP/s a worker warns at its start that its BLAS cannot be right.
inline constexpr double kSuspiciousGigaflops = 12;

}  // namespace marquee

#endif  // MARQUEE_WORKER_MODELS_COMPUTE_DEVICE_H_
