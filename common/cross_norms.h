#ifndef MARQUEE_COMMON_CROSS_NORMS_H_
#define MARQUEE_COMMON_CROSS_NORMS_H_

// Which pairs of features a trained DCN-v2 uses: the Frobenius norms of the blocks of a cross layer's weights, as in figure 4
// of Wang et al., "DCN V2", WWW 2021 (arXiv 2008.13535). Entry (a, b) is of the rows of feature a and the columns of feature b:
// how strongly b, in the layer's input, is multiplied with a of x0. Pure functions.

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace marquee {

// The inputs of one feature: columns [begin, end) of x0.
struct FeatureRange {
  std::string name;
  size_t begin = 0;
  size_t end = 0;
};

// U V, row after row, of a low-rank layer: `u` is [n, rank] (table "tower_cross0_u", a row for each id), `v` is [rank, n]
// ("tower_cross0_v"). InvalidArgument where the sizes do not fit.
absl::StatusOr<std::vector<float>> CrossWeight(absl::Span<const float> u, absl::Span<const float> v, size_t rank);

// `weight` is [n, n] ("tower_cross0_weight", its rows in the order of their ids) and the ranges lie within n. Returns a row for
// each feature. InvalidArgument where weight is not square or a range does not fit.
absl::StatusOr<std::vector<std::vector<double>>> CrossBlockNorms(absl::Span<const float> weight,
                                                                 absl::Span<const FeatureRange> features);

}  // namespace marquee

#endif  // MARQUEE_COMMON_CROSS_NORMS_H_
