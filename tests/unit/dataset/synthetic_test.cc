// The synthetic data set: its shape, and that what is planted can be found.

#include "dataset/synthetic.h"

#include <Eigen/Dense>
#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <set>

#include "dataset/evaluation.h"
#include "dataset/random.h"
#include "dataset/split.h"
#include "tests/unit/dataset/test_files.h"

namespace marquee {
namespace {

using testing::HasSubstr;

std::vector<size_t> CountsOf(const std::vector<uint32_t>& indices, size_t size) {
  std::vector<size_t> counts(size, 0);
  for (const uint32_t index : indices) ++counts[index];
  return counts;
}

size_t DistinctPairs(const DataTables& tables) {
  std::vector<uint64_t> pairs;
  for (size_t i = 0; i < tables.user_of.size(); ++i) pairs.push_back((uint64_t{tables.user_of[i]} << 32U) | tables.item_of[i]);
  std::sort(pairs.begin(), pairs.end());
  return static_cast<size_t>(std::unique(pairs.begin(), pairs.end()) - pairs.begin());
}

TEST(Synthetic, HasTheShapeOfMovieLens1M) {
  const DataTables tables = *MakeSynthetic(*SyntheticShapeOf("ml-1m"));
  EXPECT_EQ(tables.name, "synthetic ml-1m");
  EXPECT_TRUE(tables.synthetic);
  EXPECT_EQ(tables.users, 6040);
  EXPECT_EQ(tables.items, 3706);
  EXPECT_EQ(tables.rated_items, 3706);
  EXPECT_EQ(tables.label.size(), 1000209);
  EXPECT_EQ(DistinctPairs(tables), 1000209);

  std::vector<size_t> users = CountsOf(tables.user_of, tables.users);
  std::vector<size_t> items = CountsOf(tables.item_of, tables.items);
  std::sort(users.begin(), users.end());
  std::sort(items.rbegin(), items.rend());
  EXPECT_GE(users.front(), 20);
  EXPECT_NEAR(static_cast<double>(users[3020]), 96, 15);  // the median of MovieLens 1M
  EXPECT_GE(items.back(), 1);
  EXPECT_NEAR(static_cast<double>(items[0]), 3428, 600);
  EXPECT_NEAR(std::accumulate(items.begin(), items.begin() + 100, 0.0) / 1000209, 0.183, 0.02);

  for (const float label : tables.label) EXPECT_TRUE(label >= 1 && label <= 5 && label == std::floor(label)) << label;
  const double mean = std::accumulate(tables.label.begin(), tables.label.end(), 0.0) / 1000209;
  EXPECT_NEAR(mean, 3.58, 0.03);
  const ColumnTable& time = *tables.column("timestamp");
  EXPECT_EQ(time.nulls(), 0);
  EXPECT_GE(*std::min_element(time.numbers.begin(), time.numbers.end()), 956703932);
  EXPECT_LE(*std::max_element(time.numbers.begin(), time.numbers.end()), 1046454590);
  EXPECT_EQ(tables.columns.size(), 14);
  EXPECT_GT(tables.column("director")->dictionary.size(), 1000);
  EXPECT_GT(tables.column("director")->nulls(), 0);
  EXPECT_GT(tables.column("release_date")->nulls(), 0);
  EXPECT_LT(*std::min_element(tables.column("release_date")->numbers.begin(), tables.column("release_date")->numbers.end()), 0);
  EXPECT_GT(tables.column("user_zip_code")->dictionary.size(), 2000);
  EXPECT_EQ(tables.column("movie_title")->dictionary.size(), 3706);
}

TEST(Synthetic, FollowsFromItsSeed) {
  SyntheticShape shape = *SyntheticShapeOf("small");
  const DataTables first = *MakeSynthetic(shape);
  const DataTables again = *MakeSynthetic(shape);
  EXPECT_EQ(first.user_of, again.user_of);
  EXPECT_EQ(first.item_of, again.item_of);
  EXPECT_EQ(first.label, again.label);
  shape.seed = 2;
  EXPECT_NE(MakeSynthetic(shape)->label, first.label);
}

TEST(Synthetic, RefusesShapesThatCannotBeFilled) {
  EXPECT_THAT(MessageOf(SyntheticShapeOf("ml-2m")), HasSubstr("'ml-2m'; must be ml-1m or small"));
  EXPECT_THAT(MessageOf(MakeSynthetic({"few", 100, 50, 1999, 20, 1})), HasSubstr("must be 2000 to 2500"));
  EXPECT_THAT(MessageOf(MakeSynthetic({"many", 100, 50, 2501, 20, 1})), HasSubstr("must be 2000 to 2500"));
  EXPECT_THAT(MessageOf(MakeSynthetic({"none", 0, 0, 0, 20, 1})), HasSubstr("0 ratings"));
  EXPECT_TRUE(MakeSynthetic({"tightest", 100, 50, 2500, 20, 1}).ok());
  EXPECT_TRUE(MakeSynthetic({"least", 100, 50, 2000, 20, 1}).ok());
}

// A small matrix factorisation by stochastic gradient descent, to show that there is something to learn.
class Factors {
 public:
  static constexpr size_t kDim = 8;
  using Row = std::array<float, kDim + 1>;  // the last one is a bias

  Factors(size_t users, size_t items) : users_(users), items_(items) {
    Random random(7);
    for (auto* rows : {&users_, &items_}) {
      for (Row& row : *rows) {
        for (size_t k = 0; k < kDim; ++k) row[k] = 0.1F * static_cast<float>(random.Normal());
        row[kDim] = 0;
      }
    }
  }

  float Predict(uint32_t user, uint32_t item) const {
    float sum = mean_ + users_[user][kDim] + items_[item][kDim];
    for (size_t k = 0; k < kDim; ++k) sum += users_[user][k] * items_[item][k];
    return sum;
  }

  void Train(const Dataset& data, const std::vector<uint32_t>& interactions, int epochs) {
    constexpr float kRate = 0.02F;
    constexpr float kShrink = 0.06F;
    double sum = 0;
    for (const uint32_t i : interactions) sum += data.label()[i];
    mean_ = static_cast<float>(sum / static_cast<double>(interactions.size()));
    std::vector<uint32_t> order = interactions;
    Random random(8);
    for (int epoch = 0; epoch < epochs; ++epoch) {
      random.Shuffle(order);
      for (const uint32_t i : order) {
        Row& user = users_[data.user_of()[i]];
        Row& item = items_[data.item_of()[i]];
        const float error = data.label()[i] - Predict(data.user_of()[i], data.item_of()[i]);
        for (size_t k = 0; k <= kDim; ++k) {
          const float user_step = error * (k < kDim ? item[k] : 1) - kShrink * user[k];
          const float item_step = error * (k < kDim ? user[k] : 1) - kShrink * item[k];
          user[k] += kRate * user_step;
          item[k] += kRate * item_step;
        }
      }
    }
  }

 private:
  std::vector<Row> users_;
  std::vector<Row> items_;
  float mean_ = 0;
};

class PlantedTastes : public testing::Test {
 protected:
  void Open(const SyntheticShape& shape) {
    ASSERT_TRUE(WriteDataset(*MakeSynthetic(shape), folder_ / "a.mq").ok());
    data_ = *Dataset::Open(folder_ / "a.mq");
    split_ = *MakeSplit(*data_, SplitConfig{});
    baselines_ = *Baselines(*data_, split_);
  }

  TempFolder folder_;
  std::shared_ptr<const Dataset> data_;
  Split split_;
  std::vector<Baseline> baselines_;
};

TEST_F(PlantedTastes, MakeFactorsBeatBiases) {
  ASSERT_NO_FATAL_FAILURE(Open({"dense", 600, 400, 90000, 20, 1}));
  Factors factors(data_->users(), data_->items());
  factors.Train(*data_, split_.train, 30);
  MetricSums sums;
  for (const uint32_t i : split_.test) {
    ASSERT_TRUE(AddRatingError(factors.Predict(data_->user_of()[i], data_->item_of()[i]), data_->label()[i], sums).ok());
  }
  const double bias_only = baselines_[1].metrics.at("rmse");
  EXPECT_LT(bias_only, 0.95 * baselines_[2].metrics.at("rmse"));
  EXPECT_LT(Finish(sums).at("rmse"), 0.97 * bias_only);
}

// A linear model from movies to movies in closed form (Steck, "Embarrassingly Shallow Autoencoders", 2019).
TEST_F(PlantedTastes, MakeALinearModelBeatPopularity) {
  constexpr float kRidge = 500;
  ASSERT_NO_FATAL_FAILURE(Open({"many movies", 1500, 500, 120000, 20, 1}));
  const SeenItems seen(*data_, {&split_.train, &split_.validation});
  const auto items = static_cast<Eigen::Index>(data_->rated_items());
  Eigen::MatrixXf seen_by = Eigen::MatrixXf::Zero(static_cast<Eigen::Index>(data_->users()), items);
  for (uint32_t user = 0; user < data_->users(); ++user) {
    for (const uint32_t item : seen.Of(user)) seen_by(user, item) = 1;
  }
  const Eigen::MatrixXf gram = seen_by.transpose() * seen_by + kRidge * Eigen::MatrixXf::Identity(items, items);
  const Eigen::MatrixXf inverse = gram.inverse();
  Eigen::MatrixXf weights = -(inverse.array().rowwise() / inverse.diagonal().transpose().array()).matrix();
  weights.diagonal().setZero();
  const Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor> scores = seen_by * weights;

  MetricSums sums;
  for (const uint32_t i : split_.test) {
    const uint32_t user = data_->user_of()[i];
    const absl::Span<const float> row(scores.row(user).data(), data_->rated_items());
    ASSERT_TRUE(AddTopK(row, data_->item_of()[i], seen.Of(user), sums).ok());
  }
  EXPECT_GT(Finish(sums).at("top_10_unseen"), 1.15 * baselines_[0].metrics.at("top_10_unseen"));
}

}  // namespace
}  // namespace marquee
