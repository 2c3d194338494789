#include "tests/simulation/ledger.h"

#include <fmt/format.h>

#include <cmath>

namespace marquee::simulation {
namespace {

constexpr uint32_t kDigits = 11;  // in base 4: 22 of the 24 bits of a float's significand

// The digits of a column, or nullopt if it is no sum of powers of four above kInitial.
std::optional<uint32_t> Digits(float value) {
  const float above = value - kInitial;
  if (!(above >= 0) || above >= static_cast<float>(1U << (2 * kDigits)) || above != std::floor(above)) return std::nullopt;
  return static_cast<uint32_t>(above);
}

uint32_t Count(absl::Span<const float> values, size_t place) {
  return *Digits(values[place / kDigits]) >> (2 * (place % kDigits)) & 3U;
}

}  // namespace

Ledger::AttemptNumber Ledger::Begin(Attempt attempt) {
  attempts_.push_back(attempt);
  for (uint64_t position = attempt.begin; position < attempt.end; ++position) {
    uint64_t& owner = owner_[{attempt.trial, attempt.epoch, position}];
    if (owner == 0 || !closed_.contains(attempt.session)) owner = attempt.session;
  }
  return attempts_.size();
}

void Ledger::SetLastSequence(AttemptNumber attempt, uint64_t sequence) {
  sequences_[attempts_[attempt - 1].session].emplace(sequence, attempt);
}

std::string Ledger::CheckApplied(uint64_t session, uint64_t sequence, uint64_t view) const {
  if (view < newest_view_) return "";
  const auto of_session = sequences_.find(session);
  if (of_session == sequences_.end()) return fmt::format("session {} never pushed", session);
  const auto found = of_session->second.lower_bound(sequence);
  if (found == of_session->second.end()) return fmt::format("session {} has not made its push {}", session, sequence);
  const Attempt& attempt = attempts_[found->second - 1];
  for (uint64_t position = attempt.begin; position < attempt.end; ++position) {
    const uint64_t owner = owner_.at({attempt.trial, attempt.epoch, position});
    if (owner == session || closed_.contains(owner)) continue;
    return fmt::format("{} was applied while session {} trains its example {}", Name(found->second), owner, position);
  }
  return "";
}

std::optional<Ledger::Place> Ledger::TakePlace(TableNumber table, uint32_t dim, Id id, AttemptNumber attempt) {
  fresh_copies_.erase(table);
  Row& row = tables_[table][id];
  row.dim = dim;
  const size_t place = row.places.size();
  if (place == static_cast<size_t>(dim) * kDigits) return std::nullopt;
  row.places.push_back(attempt);
  return Place{.column = static_cast<uint32_t>(place / kDigits), .value = static_cast<float>(1U << (2 * (place % kDigits)))};
}

std::string Ledger::Name(AttemptNumber number) const {
  const Attempt& attempt = attempts_[number - 1];
  return fmt::format("step {} of session {} (trial {}, epoch {}, {} to {})", attempt.step, attempt.session, attempt.trial,
                     attempt.epoch, attempt.begin, attempt.end);
}

const Ledger::Row* Ledger::FindRow(TableNumber table, Id id) const {
  const auto of_table = tables_.find(table);
  if (of_table == tables_.end() || rolled_back_.contains(table)) return nullptr;
  const auto row = of_table->second.find(id);
  return row == of_table->second.end() ? nullptr : &row->second;
}

std::string Ledger::CheckRow(TableNumber table, Id id, absl::Span<const float> values, uint64_t acknowledged_before) const {
  if (rolled_back_.contains(table)) return "";
  ++rows_checked_;
  static const Row kNeverPushed;
  const Row* row = FindRow(table, id);
  if (row == nullptr) row = &kNeverPushed;
  for (const float value : values) {
    if (!Digits(value)) return fmt::format("table {} row {:x} holds {}, which nobody pushed", table, id, value);
  }
  for (size_t place = 0; place < values.size() * kDigits; ++place) {
    const uint32_t count = Count(values, place);
    if (place >= row->places.size()) {
      if (count == 0) continue;
      return fmt::format("table {} row {:x} column {}: an update that nobody pushed", table, id, place / kDigits);
    }
    const AttemptNumber attempt = row->places[place];
    const uint64_t acknowledged_as = attempts_[attempt - 1].acknowledged_as;
    if (count > 1) return fmt::format("table {} row {:x}: {} was applied {} times", table, id, Name(attempt), count);
    if (count == 0 && acknowledged_as != 0 && acknowledged_as <= acknowledged_before) {
      return fmt::format("table {} row {:x}: {} was acknowledged and is not there", table, id, Name(attempt));
    }
  }
  return "";
}

std::string Ledger::Serve(TableNumber table, Id id, const std::string& shard, uint64_t view) {
  const auto [found, first] = servers_.try_emplace({table, id}, Server{.shard = shard, .view = view});
  Server& newest = found->second;
  if (!first && newest.shard != shard && newest.view > view) {
    return fmt::format("table {} row {:x}: {} serves it under view {}, and {} did under view {}", table, id, shard, view,
                       newest.shard, newest.view);
  }
  if (view >= newest.view) newest = {.shard = shard, .view = view};
  return "";
}

std::string Ledger::CheckFresh(TableNumber table, Id id, absl::Span<const float> values, uint64_t session,
                               uint64_t step) const {
  const Row* row = FindRow(table, id);
  if (row == nullptr) return "";
  for (size_t place = row->copied; place < row->places.size(); ++place) {
    const Attempt& attempt = attempts_[row->places[place] - 1];
    if (attempt.session == session || attempt.step > step || Count(values, place) == 1) continue;
    return fmt::format("table {} row {:x}: {} is missing; it should have been waited for", table, id, Name(row->places[place]));
  }
  return "";
}

std::string Ledger::CheckNoneFrom(TableNumber table, Id id, absl::Span<const float> values, uint64_t session,
                                  uint64_t step) const {
  const Row* row = FindRow(table, id);
  if (row == nullptr) return "";
  for (size_t place = row->copied; place < row->places.size(); ++place) {
    const Attempt& attempt = attempts_[row->places[place] - 1];
    if (attempt.session == session || attempt.step < step || Count(values, place) == 0) continue;
    return fmt::format("table {} row {:x}: {} is there; it should have waited", table, id, Name(row->places[place]));
  }
  return "";
}

void Ledger::CopyTable(TableNumber from, TableNumber to, const Cut& cut) {
  if (!copied_.insert(to).second) return;
  fresh_copies_.insert(to);
  for (const auto& [id, row] : tables_[from]) {
    Row copy{.dim = row.dim, .places = row.places, .copied = 0};
    std::erase_if(copy.places, [&](AttemptNumber attempt) { return attempt > cut.attempts; });
    copy.copied = copy.places.size();
    if (copy.copied > 0) tables_[to].emplace(id, std::move(copy));
  }
}

std::vector<Id> Ledger::RowsOf(TableNumber table) const {
  std::vector<Id> ids;
  if (const auto found = tables_.find(table); found != tables_.end()) {
    for (const auto& [id, row] : found->second) ids.push_back(id);
  }
  return ids;
}

std::string Ledger::CheckExamples(uint64_t trial, uint64_t examples, uint32_t epochs, uint64_t repeated) const {
  std::vector<uint32_t> times(examples * epochs, 0);
  Cut until{.attempts = attempts_.size(), .acknowledged = acknowledged_};
  for (uint64_t part = trial; part != 0;) {
    for (AttemptNumber number = 1; number <= until.attempts; ++number) {
      const Attempt& attempt = attempts_[number - 1];
      if (attempt.trial != part || attempt.acknowledged_as == 0 || attempt.acknowledged_as > until.acknowledged) continue;
      if (attempt.epoch >= epochs) return fmt::format("trial {} ended after {} epochs and trained more", trial, epochs);
      for (uint64_t position = attempt.begin; position < attempt.end; ++position) ++times[attempt.epoch * examples + position];
    }
    const auto origin = went_on_.find(part);
    part = origin == went_on_.end() ? 0 : origin->second.trial;
    if (part != 0) until = origin->second.cut;
  }
  uint64_t more = 0;
  for (size_t i = 0; i < times.size(); ++i) {
    if (times[i] == 0)
      return fmt::format("trial {}: example {} of epoch {} was not trained", trial, i % examples, i / examples);
    more += times[i] - 1;
  }
  if (more <= repeated) return "";
  return fmt::format("trial {}: {} examples were trained again; {} were counted", trial, more, repeated);
}

}  // namespace marquee::simulation
