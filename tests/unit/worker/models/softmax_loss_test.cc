#include "worker/models/softmax_loss.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <set>
#include <utility>
#include <vector>

namespace marquee {
namespace {

struct Batch {
  torch::Tensor queries;     // distinct
  torch::Tensor candidates;  // likewise
  std::vector<int64_t> query_of;
  std::vector<int64_t> candidate_of;
  std::vector<float> log_share;  // of each candidate
};

// Few distinct rows, so that most stand several times in the batch.
Batch RandomBatch(int64_t examples, int64_t queries, int64_t candidates, int64_t dim, double scale) {
  torch::manual_seed(3);
  Batch batch;
  batch.queries = torch::randn({queries, dim}) * scale;
  batch.candidates = torch::randn({candidates, dim}) * scale;
  const torch::Tensor q = torch::randint(queries, {examples}, torch::kLong);
  // The square of a uniform number: some candidates are far more frequent, as popular movies are.
  const torch::Tensor c = (torch::rand({examples}).square() * static_cast<double>(candidates)).to(torch::kLong);
  batch.query_of.assign(q.data_ptr<int64_t>(), q.data_ptr<int64_t>() + examples);
  batch.candidate_of.assign(c.data_ptr<int64_t>(), c.data_ptr<int64_t>() + examples);
  for (int64_t i = 0; i < candidates; ++i)
    batch.log_share.push_back(static_cast<float>(-2 - 0.1 * static_cast<double>(i % 17)));
  return batch;
}

SoftmaxExamples Group(const Batch& batch, bool logq) {
  SoftmaxExamples examples;
  examples.counts.assign(batch.candidates.size(0), 0.0F);
  examples.offsets.push_back(0);
  for (int64_t q = 0; q < batch.queries.size(0); ++q) {
    for (size_t e = 0; e < batch.query_of.size(); ++e) {
      if (batch.query_of[e] == q) examples.positives.push_back(static_cast<uint32_t>(batch.candidate_of[e]));
    }
    examples.offsets.push_back(static_cast<uint32_t>(examples.positives.size()));
  }
  for (const int64_t c : batch.candidate_of) examples.counts[c] += 1;
  // A candidate that is nobody's positive can only be a class in a full softmax; here each stands at least once.
  for (float& count : examples.counts) count = std::max(count, 1.0F);
  if (logq) {
    for (const float share : batch.log_share) examples.bias.push_back(-share);
  }
  return examples;
}

// The formula as it is written in papers: one row and one column for each example, plain autograd, double precision.
SoftmaxResult Naive(const Batch& batch, const SoftmaxOptions& options, bool logq) {
  const torch::Tensor queries = batch.queries.to(torch::kDouble).requires_grad_(true);
  const torch::Tensor candidates = batch.candidates.to(torch::kDouble).requires_grad_(true);
  const torch::Tensor q = torch::tensor(batch.query_of);
  const torch::Tensor c = torch::tensor(batch.candidate_of);
  torch::Tensor x = torch::mm(queries.index({q}), candidates.index({c}).t()) / options.temperature;
  if (logq) x = x - torch::tensor(batch.log_share).to(torch::kDouble).index({c});
  if (options.remove_accidental_hits) {
    const torch::Tensor hits = (c.unsqueeze(0) == c.unsqueeze(1)) & ~torch::eye(c.size(0), torch::kBool);
    x = x.masked_fill(hits, -std::numeric_limits<double>::infinity());
  }
  const torch::Tensor losses = -torch::log_softmax(x, 1).diagonal();
  losses.mean().backward();
  return {losses.sum().item<double>(), queries.grad(), candidates.grad(), {}};
}

// The same over distinct rows, an example at a time, with what a seen bias and hard negatives add.
SoftmaxResult NaiveByExample(const Batch& batch, const torch::Tensor& seen_bias, const SoftmaxExamples& examples,
                             const SoftmaxOptions& options) {
  const torch::Tensor queries = batch.queries.to(torch::kDouble).requires_grad_(true);
  const torch::Tensor candidates = batch.candidates.to(torch::kDouble).requires_grad_(true);
  const torch::Tensor bias = seen_bias.to(torch::kDouble).requires_grad_(true);
  torch::Tensor seen = torch::zeros({queries.size(0), candidates.size(0)}, torch::kDouble);
  for (int64_t q = 0; q < queries.size(0); ++q) {
    for (size_t i = examples.seen_offsets[q]; i < examples.seen_offsets[q + 1]; ++i) {
      seen[q][static_cast<int64_t>(examples.seen[i])] = 1.0;
    }
  }
  const torch::Tensor counts = torch::tensor(examples.counts).to(torch::kDouble);
  const torch::Tensor x = (torch::mm(queries, candidates.t()) + seen * bias) / options.temperature + counts.log();
  torch::Tensor loss = torch::zeros({}, torch::kDouble);
  for (int64_t q = 0; q < queries.size(0); ++q) {
    const std::set<uint32_t> positives(examples.positives.begin() + examples.offsets[q],
                                       examples.positives.begin() + examples.offsets[q + 1]);
    std::vector<std::pair<double, int64_t>> negatives;
    for (int64_t c = 0; c < candidates.size(0); ++c) {
      if (options.hard_negatives > 0 && positives.contains(static_cast<uint32_t>(c))) continue;
      negatives.emplace_back(-x[q][c].item<double>(), c);
    }
    std::sort(negatives.begin(), negatives.end());
    if (options.hard_negatives > 0) negatives.resize(std::min<size_t>(negatives.size(), options.hard_negatives));
    for (size_t e = examples.offsets[q]; e < examples.offsets[q + 1]; ++e) {
      const auto own = static_cast<int64_t>(examples.positives[e]);
      std::vector<torch::Tensor> classes = {options.remove_accidental_hits ? x[q][own] - counts[own].log() : x[q][own]};
      for (const auto& [score, c] : negatives) {
        if (c != own) classes.push_back(x[q][c]);
      }
      loss = loss + torch::stack(classes).logsumexp(0) - x[q][own] + counts[own].log();
    }
  }
  (loss / static_cast<double>(examples.positives.size())).backward();
  return {loss.item<double>(), queries.grad(), candidates.grad(), bias.grad()};
}

void ExpectClose(const torch::Tensor& got, const torch::Tensor& want, double tolerance) {
  const torch::Tensor difference = (got.to(torch::kDouble) - want).abs();
  EXPECT_LE(difference.max().item<double>(), tolerance * want.abs().max().item<double>());
}

struct Case {
  double temperature;
  bool logq;
  bool remove_hits;
};

class SoftmaxLossTest : public testing::TestWithParam<Case> {};

// Every candidate occurs in these batches, so counts are what the batch says.
TEST_P(SoftmaxLossTest, DistinctCandidatesGiveTheLossAndGradientsOfTheWholeBatch) {
  const Batch batch = RandomBatch(700, 60, 30, 12, 0.8);
  const SoftmaxOptions options{GetParam().temperature, GetParam().remove_hits};
  const SoftmaxExamples examples = Group(batch, GetParam().logq);
  ASSERT_EQ(std::accumulate(examples.counts.begin(), examples.counts.end(), 0.0), 700);
  const SoftmaxResult want = Naive(batch, options, GetParam().logq);
  for (auto* function : {&SoftmaxLossInBlocks, &SoftmaxLossWhole}) {
    const SoftmaxResult got = function(batch.queries, batch.candidates, {}, examples, options);
    EXPECT_NEAR(got.loss, want.loss, 2e-6 * std::abs(want.loss));
    ExpectClose(got.query_gradient, want.query_gradient, 2e-5);
    ExpectClose(got.candidate_gradient, want.candidate_gradient, 2e-5);
  }
}

INSTANTIATE_TEST_SUITE_P(Options, SoftmaxLossTest,
                         testing::Values(Case{1.0, false, false}, Case{0.2, false, false}, Case{1.0, true, false},
                                         Case{1.0, false, true}, Case{0.3, true, true}));

TEST(SoftmaxLoss, SeenBiasAndHardNegativesGiveTheFormulasLossAndGradients) {
  const Batch batch = RandomBatch(150, 20, 30, 6, 0.8);
  SoftmaxExamples examples = Group(batch, false);
  torch::Tensor seen_bias = torch::randn({30});
  examples.seen_offsets.push_back(0);
  for (uint32_t q = 0; q < 20; ++q) {
    for (uint32_t c = q % 3; c < 30; c += 2 + q % 5) examples.seen.push_back(c);
    examples.seen_offsets.push_back(static_cast<uint32_t>(examples.seen.size()));
  }
  for (const int hard : {0, 1, 5, 29, 100}) {
    for (const bool remove_hits : {false, true}) {
      const SoftmaxOptions options{.temperature = 0.6, .remove_accidental_hits = remove_hits, .hard_negatives = hard};
      const SoftmaxResult want = NaiveByExample(batch, seen_bias, examples, options);
      for (auto* function : {&SoftmaxLossInBlocks, &SoftmaxLossWhole}) {
        const SoftmaxResult got = function(batch.queries, batch.candidates, seen_bias, examples, options);
        EXPECT_NEAR(got.loss, want.loss, 1e-5 * std::abs(want.loss)) << hard << remove_hits;
        ExpectClose(got.query_gradient, want.query_gradient, 5e-5);
        ExpectClose(got.candidate_gradient, want.candidate_gradient, 5e-5);
        ExpectClose(got.seen_bias_gradient, want.seen_bias_gradient, 5e-5);
      }
    }
  }
}

TEST(SoftmaxLoss, WithoutAnyNegativeThereIsNothingToLearn) {
  Batch batch = RandomBatch(40, 1, 2, 4, 1.0);
  for (size_t e = 0; e < batch.candidate_of.size(); ++e) batch.candidate_of[e] = static_cast<int64_t>(e % 2);
  const SoftmaxOptions options{.remove_accidental_hits = true, .hard_negatives = 3};
  const SoftmaxResult got = SoftmaxLossInBlocks(batch.queries, batch.candidates, {}, Group(batch, false), options);
  EXPECT_EQ(got.loss, 0);
  EXPECT_EQ(got.query_gradient.abs().max().item<float>(), 0);
}

// A positive that outweighs all else and makes up most of the batch: the sum without its other occurrences is a small
// difference of large numbers: the rounding of scores near 36 in an exponent (2e-6), times a count of 294.
TEST(SoftmaxLoss, RemovesHitsExactlyWhenThePositiveDominates) {
  Batch batch = RandomBatch(300, 8, 6, 4, 1.0);
  batch.queries.fill_(3.0);
  batch.candidates.fill_(-1.0);
  batch.candidates[0].fill_(1.5);
  for (size_t e = 0; e < batch.candidate_of.size(); ++e)
    batch.candidate_of[e] = e % 50 == 0 ? 1 + static_cast<int64_t>(e / 50) % 5 : 0;
  const SoftmaxOptions options{1.0, true};
  const SoftmaxResult want = Naive(batch, options, false);
  const SoftmaxResult got = SoftmaxLossInBlocks(batch.queries, batch.candidates, {}, Group(batch, false), options);
  EXPECT_NEAR(got.loss, want.loss, 1e-4 * std::abs(want.loss));
  ExpectClose(got.query_gradient, want.query_gradient, 2e-2);
  ExpectClose(got.candidate_gradient, want.candidate_gradient, 2e-2);
}

TEST(SoftmaxLoss, HugeScoresDoNotOverflow) {
  const Batch batch = RandomBatch(200, 40, 20, 8, 30.0);
  const SoftmaxOptions options{0.5, false};
  const SoftmaxResult got = SoftmaxLossInBlocks(batch.queries, batch.candidates, {}, Group(batch, false), options);
  EXPECT_NEAR(got.loss, Naive(batch, options, false).loss, 1e-5 * got.loss);
  EXPECT_TRUE(got.query_gradient.isfinite().all().item<bool>());
}

TEST(SoftmaxLoss, ManyBlocksAndOneGiveTheSame) {
  // 3000 columns: blocks of 65 rows, the last one not full.
  const Batch batch = RandomBatch(2000, 500, 3000, 16, 0.5);
  const SoftmaxExamples examples = Group(batch, true);
  const SoftmaxOptions options{1.0, true};
  const SoftmaxResult blocks = SoftmaxLossInBlocks(batch.queries, batch.candidates, {}, examples, options);
  const SoftmaxResult whole = SoftmaxLossWhole(batch.queries, batch.candidates, {}, examples, options);
  EXPECT_NEAR(blocks.loss, whole.loss, 1e-5 * whole.loss);
  ExpectClose(blocks.query_gradient, whole.query_gradient.to(torch::kDouble), 2e-5);
  ExpectClose(blocks.candidate_gradient, whole.candidate_gradient.to(torch::kDouble), 2e-5);
}

TEST(SoftmaxLoss, ANanShowsInTheLoss) {
  Batch batch = RandomBatch(50, 10, 5, 4, 1.0);
  batch.queries[3][1] = std::nanf("");
  for (int64_t& q : batch.query_of) q = 3;
  const SoftmaxResult got = SoftmaxLossInBlocks(batch.queries, batch.candidates, {}, Group(batch, false), {});
  EXPECT_FALSE(std::isfinite(got.loss));
}

}  // namespace
}  // namespace marquee
