#include "scheduler/trial_tables.h"

#include <fmt/format.h>

#include <limits>
#include <set>
#include <utility>

namespace marquee {
namespace {

constexpr uint32_t kMaxTables = 4096;  // of a trial

}  // namespace

absl::StatusOr<std::vector<TableDefinition>> TrialTables::Read(capnp::List<wire::TableDefinition>::Reader proposal) const {
  if (proposal.size() == 0 || proposal.size() > kMaxTables) {
    return absl::InvalidArgumentError(fmt::format("{} tables; must be 1 to {}", proposal.size(), kMaxTables));
  }
  std::vector<TableDefinition> tables;
  std::set<std::string> names;
  for (const auto reader : proposal) {
    absl::StatusOr<TableDefinition> table = TableDefinition::FromWire(reader);
    if (!table.ok()) return table.status();
    if (!names.insert(table->name).second) return absl::InvalidArgumentError(fmt::format("table {} twice", table->name));
    table->number = 0;
    table->trial = 0;
    tables.push_back(*std::move(table));
  }
  return tables;
}

MaybeRejection TrialTables::Propose(capnp::List<wire::TableDefinition>::Reader proposal, absl::Time now, Outbox& outbox) {
  absl::StatusOr<std::vector<TableDefinition>> tables = Read(proposal);
  if (!tables.ok()) {
    return Rejection{wire::Error::Code::MALFORMED, "defineTables.definitions", std::string(tables.status().message())};
  }
  if (proposed()) {
    if (*tables == proposal_) return std::nullopt;
    error_ = absl::FailedPreconditionError("the trial's workers propose different tables; do all run the same version?");
    return Rejection{wire::Error::Code::CONFLICT, "defineTables.definitions", std::string(error_.message())};
  }
  if (!Create(*std::move(tables), now, outbox)) {
    return Rejection{wire::Error::Code::INTERNAL, "defineTables", std::string(context_.status.message())};
  }
  return std::nullopt;
}

bool TrialTables::Create(std::vector<TableDefinition> definitions, absl::Time now, Outbox& outbox) {
  const TableNumber first = context_.numbers.table + 1;
  if (definitions.size() > std::numeric_limits<TableNumber>::max() - context_.numbers.table) {
    context_.Keep(absl::ResourceExhaustedError("all table numbers are used up"));
    return false;
  }
  context_.numbers.table += static_cast<TableNumber>(definitions.size());
  if (!context_.SaveNumbers()) return false;
  proposal_ = definitions;
  for (size_t i = 0; i < definitions.size(); ++i) {
    definitions[i].number = first + static_cast<TableNumber>(i);
    definitions[i].trial = trial_;
    definitions[i].name = fmt::format("t{}/{}", trial_, definitions[i].name);
  }
  definitions_ = std::move(definitions);
  broadcast_ = context_.AskAll(
      [this](uint32_t, wire::Envelope::Body::Builder body) {
        auto list = body.initCreateTables().initDefinitions(static_cast<uint32_t>(definitions_.size()));
        for (uint32_t i = 0; i < definitions_.size(); ++i) definitions_[i].ToWire(list[i]);
      },
      now, outbox);
  return true;
}

bool TrialTables::created() const { return proposed() && !dropping_ && context_.shards.Finished(broadcast_) && error().ok(); }

absl::Status TrialTables::error() const {
  if (!error_.ok() || dropping_ || !context_.shards.Finished(broadcast_)) return error_;
  return context_.shards.Result(broadcast_);
}

void TrialTables::TakeOver(std::vector<TableDefinition> definitions) {
  definitions_ = std::move(definitions);
  proposal_ = definitions_;
  for (TableDefinition& table : proposal_) {
    table.name = std::string(table.model_name());
    table.number = 0;
    table.trial = 0;
  }
}

void TrialTables::Drop(absl::Time now, Outbox& outbox) {
  if (dropping_ || !proposed()) return;
  context_.shards.Forget(broadcast_);
  dropping_ = true;
  broadcast_ = context_.AskAll(
      [this](uint32_t, wire::Envelope::Body::Builder body) {
        auto list = body.initDropTables().initTables(static_cast<uint32_t>(definitions_.size()));
        for (uint32_t i = 0; i < definitions_.size(); ++i) list.set(i, definitions_[i].number);
      },
      now, outbox);
}

}  // namespace marquee
