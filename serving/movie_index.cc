#include "serving/movie_index.h"

#include <hnswlib/hnswlib.h>

#include <Eigen/Core>
#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

namespace marquee {
namespace {

using Matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

constexpr size_t kNeighbours = 32;       // of each movie in the graph
constexpr size_t kBuildingEffort = 400;  // movies looked at for each that is added

class ExactIndex : public MovieIndex {
 public:
  ExactIndex(std::vector<float> vectors, size_t width)
      : vectors_(std::move(vectors)), width_(static_cast<Eigen::Index>(width)) {}

  std::vector<MovieScore> Search(absl::Span<const float> query, size_t count) const override {
    const Eigen::Map<const Matrix> movies(vectors_.data(), static_cast<Eigen::Index>(vectors_.size()) / width_, width_);
    const Eigen::VectorXf scores = movies * Eigen::Map<const Eigen::VectorXf>(query.data(), width_);
    std::vector<MovieScore> found(scores.size());
    for (uint32_t i = 0; i < found.size(); ++i) found[i] = {i, scores[i]};
    count = std::min(count, found.size());
    std::partial_sort(found.begin(), found.begin() + static_cast<ptrdiff_t>(count), found.end(), RanksBefore);
    found.resize(count);
    return found;
  }

 private:
  std::vector<float> vectors_;
  Eigen::Index width_;
};

class ApproximateIndex : public MovieIndex {
 public:
  ApproximateIndex(const std::vector<float>& vectors, size_t width, size_t effort)
      : movies_(vectors.size() / width),
        space_(width + 1),
        graph_(&space_, std::max<size_t>(movies_, 1), kNeighbours, kBuildingEffort) {
    const Eigen::Map<const Matrix> rows(vectors.data(), static_cast<Eigen::Index>(movies_), static_cast<Eigen::Index>(width));
    const Eigen::VectorXf squares = rows.rowwise().squaredNorm();
    const float longest = movies_ == 0 ? 0.0F : squares.maxCoeff();
    std::vector<float> padded(width + 1);
    for (size_t movie = 0; movie < movies_; ++movie) {
      std::copy_n(vectors.data() + movie * width, width, padded.begin());
      padded[width] = std::sqrt(std::max(longest - squares[static_cast<Eigen::Index>(movie)], 0.0F));
      graph_.addPoint(padded.data(), movie);
    }
    graph_.setEf(effort);
  }

  std::vector<MovieScore> Search(absl::Span<const float> query, size_t count) const override {
    std::vector<float> padded(query.begin(), query.end());
    padded.push_back(0.0F);
    count = std::min(count, movies_);
    std::vector<MovieScore> found;
    if (count == 0) return found;
    auto nearest = graph_.searchKnn(padded.data(), count);
    for (; !nearest.empty(); nearest.pop()) {
      found.push_back({static_cast<uint32_t>(nearest.top().second), 1.0F - nearest.top().first});
    }
    std::sort(found.begin(), found.end(), RanksBefore);
    return found;
  }

 private:
  size_t movies_;
  hnswlib::InnerProductSpace space_;
  hnswlib::HierarchicalNSW<float> graph_;
};

}  // namespace

std::unique_ptr<MovieIndex> MakeExactIndex(std::vector<float> vectors, size_t width) {
  return std::make_unique<ExactIndex>(std::move(vectors), width);
}

std::unique_ptr<MovieIndex> MakeApproximateIndex(const std::vector<float>& vectors, size_t width, size_t effort) {
  return std::make_unique<ApproximateIndex>(vectors, width, effort);
}

double Recall(const MovieIndex& index, const MovieIndex& exact, absl::Span<const float> queries, size_t width, size_t count) {
  double found = 0;
  double wanted = 0;
  for (size_t begin = 0; begin < queries.size(); begin += width) {
    const absl::Span<const float> query = queries.subspan(begin, width);
    std::vector<uint32_t> got;
    for (const MovieScore& movie : index.Search(query, count)) got.push_back(movie.movie);
    std::sort(got.begin(), got.end());
    for (const MovieScore& movie : exact.Search(query, count)) {
      wanted += 1;
      found += std::binary_search(got.begin(), got.end(), movie.movie) ? 1 : 0;
    }
  }
  return wanted > 0 ? found / wanted : 1.0;
}

}  // namespace marquee
