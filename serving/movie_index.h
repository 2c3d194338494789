#ifndef MARQUEE_SERVING_MOVIE_INDEX_H_
#define MARQUEE_SERVING_MOVIE_INDEX_H_

// Finds the movies whose vectors have the largest product with a query's: by looking at all of them, or in a graph of
// neighbours (HNSW: Malkov and Yashunin, 2018; hnswlib), which looks at few and misses some. Products are made distances by one
// more column that gives all movies the same length (Bachrach et al., "Speeding Up the Xbox Recommender System", 2014).
//
// Search may be called by several threads at once.

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/types/span.h"

namespace marquee {

struct MovieScore {
  uint32_t movie = 0;
  float score = 0;
};

// The better one first; of equal ones, the first.
inline bool RanksBefore(const MovieScore& a, const MovieScore& b) {
  return a.score != b.score ? a.score > b.score : a.movie < b.movie;
}

class MovieIndex {
 public:
  virtual ~MovieIndex() = default;

  // The best `count` movies, best first; of equal ones, the first. Fewer where there are not as many. `query` is as wide as
  // movies' vectors.
  virtual std::vector<MovieScore> Search(absl::Span<const float> query, size_t count) const = 0;
};

// `vectors` are movies x width.
std::unique_ptr<MovieIndex> MakeExactIndex(std::vector<float> vectors, size_t width);

// A query looks at `effort` movies or, where that is more, at as many as it is asked for. Building it takes one thread, and is
// the same each time.
std::unique_ptr<MovieIndex> MakeApproximateIndex(const std::vector<float>& vectors, size_t width, size_t effort = 200);

// The share of the exact index's first `count` movies that `index` finds too, over `queries` (rows of `width`).
double Recall(const MovieIndex& index, const MovieIndex& exact, absl::Span<const float> queries, size_t width, size_t count);

}  // namespace marquee

#endif  // MARQUEE_SERVING_MOVIE_INDEX_H_
