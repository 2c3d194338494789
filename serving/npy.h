#ifndef MARQUEE_SERVING_NPY_H_
#define MARQUEE_SERVING_NPY_H_

// Arrays as files that numpy.load reads (NumPy enhancement proposal 1, format 1.0): little-endian, in C order. Each appears
// whole or not at all. Errors name the file.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"

namespace marquee {

// values.size() is the product of `shape`.
absl::Status WriteNpy(const std::string& path, absl::Span<const float> values, absl::Span<const size_t> shape);
absl::Status WriteNpy(const std::string& path, absl::Span<const uint64_t> values);
absl::Status WriteNpy(const std::string& path, absl::Span<const int64_t> values, absl::Span<const size_t> shape);
// UTF-8, as numpy's strings of one length.
absl::Status WriteNpy(const std::string& path, const std::vector<std::string>& values);

}  // namespace marquee

#endif  // MARQUEE_SERVING_NPY_H_
