#include "worker/models/retrieval_batch.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

namespace marquee {
namespace {

constexpr uint32_t kNotHere = 0xffffffffU;

}  // namespace

absl::Status CheckQueryAndCandidate(const Tower& query, const Tower& candidate) {
  for (const Feature& feature : query.features()) {
    if (feature.level() != Column::Level::kItem) continue;
    return absl::InvalidArgumentError(fmt::format(
        "query: feature {}: belongs to items; a query is made of users' and interactions' columns", feature.name()));
  }
  for (const Feature& feature : candidate.features()) {
    if (feature.level() == Column::Level::kItem) continue;
    return absl::InvalidArgumentError(fmt::format("candidate: feature {}: belongs to {}; a candidate is made of items' columns",
                                                  feature.name(),
                                                  feature.level() == Column::Level::kUser ? "users" : "interactions"));
  }
  return absl::OkStatus();
}

bool HasHistory(const Tower& query) {
  return std::any_of(query.features().begin(), query.features().end(),
                     [](const Feature& feature) { return feature.config().kind == FeatureConfig::Kind::kHistory; });
}

RetrievalBatches::RetrievalBatches(const Dataset& data, const Split& split, const LossConfig& loss, bool seen)
    : data_(data), loss_(loss), users_(data.users()), items_(data.items()) {
  if (loss.logq) log_shares_ = LogShares(data, split);
  if (seen) history_.emplace(data, std::vector<const std::vector<uint32_t>*>{&split.train});
}

Queries RetrievalBatches::QueriesOf(absl::Span<const uint32_t> examples, bool each_example) {
  Queries queries;
  queries.of_example.reserve(examples.size());
  if (each_example) queries.interactions.assign(examples.begin(), examples.end());
  users_.Begin();
  for (const uint32_t example : examples) {
    const uint32_t user = data_.user_of()[example];
    const auto next = static_cast<uint32_t>(queries.users.size());
    const uint32_t query = each_example ? next : users_.SlotOf(user);
    if (query == next) queries.users.push_back(user);
    queries.of_example.push_back(query);
  }
  return queries;
}

std::vector<uint32_t> RetrievalBatches::AllItems() const {
  std::vector<uint32_t> items(data_.rated_items());
  std::iota(items.begin(), items.end(), 0U);
  return items;
}

RetrievalBatch RetrievalBatches::Make(absl::Span<const uint32_t> batch, const HistoryMask* mask, bool each_example) {
  RetrievalBatch made;
  made.examples.assign(batch.begin(), batch.end());
  if (mask != nullptr) std::erase_if(made.examples, [&](uint32_t example) { return !mask->LeavesOut(example); });
  made.queries = QueriesOf(made.examples, each_example);

  if (loss_.kind == LossConfig::Kind::kFullSoftmax) {
    made.items = AllItems();
    made.softmax.counts.assign(made.items.size(), 1.0F);
    for (const uint32_t example : made.examples) made.candidate_of.push_back(data_.item_of()[example]);
  } else {
    items_.Begin();
    for (const uint32_t example : made.examples) {
      const uint32_t item = data_.item_of()[example];
      made.candidate_of.push_back(items_.SlotOf(item));
      if (made.candidate_of.back() == made.items.size()) made.items.push_back(item);
    }
    made.softmax.counts.assign(made.items.size(), 0.0F);
    for (const uint32_t candidate : made.candidate_of) made.softmax.counts[candidate] += 1;
  }
  if (!log_shares_.empty()) {
    for (const uint32_t item : made.items) made.softmax.bias.push_back(-log_shares_[item]);
  }
  GroupByQuery(made.queries.of_example, made.candidate_of, made.queries.users.size(), made.softmax);
  if (history_.has_value()) AddSeen(mask, made);
  return made;
}

// Which candidates are in the history of each query.
void RetrievalBatches::AddSeen(const HistoryMask* mask, RetrievalBatch& batch) const {
  const Queries& queries = batch.queries;
  SoftmaxExamples& examples = batch.softmax;
  std::vector<uint32_t> candidate_of(data_.items(), kNotHere);
  for (size_t i = 0; i < batch.items.size(); ++i) candidate_of[batch.items[i]] = static_cast<uint32_t>(i);
  examples.seen_offsets.push_back(0);
  for (size_t q = 0; q < queries.users.size(); ++q) {
    const uint32_t target = mask == nullptr ? data_.item_of()[queries.interactions[q]] : kNotHere;
    for (const uint32_t interaction : history_->Of(queries.users[q])) {
      const uint32_t item = data_.item_of()[interaction];
      const uint32_t candidate = candidate_of[item];
      const bool left_out = mask != nullptr ? mask->LeavesOut(interaction) : item == target;
      if (left_out || candidate == kNotHere) continue;
      const bool again = examples.seen.size() > examples.seen_offsets.back() && examples.seen.back() == candidate;
      if (!again) examples.seen.push_back(candidate);
    }
    examples.seen_offsets.push_back(static_cast<uint32_t>(examples.seen.size()));
  }
}

}  // namespace marquee
