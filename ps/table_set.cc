#include "ps/table_set.h"

#include <fmt/format.h>

#include <string_view>

namespace marquee {
namespace {

// Rules that divide by 1 - decay need it below 1.
MaybeRefusal CheckDecays(const TableDefinition& table) {
  const Optimizer& optimizer = table.optimizer;
  for (const auto& [field, value] : {std::pair<std::string_view, float>{"momentum", optimizer.momentum},
                                     {"beta1", optimizer.beta1},
                                     {"beta2", optimizer.beta2}}) {
    if (value < 1) continue;
    return Refusal{ErrorCode::MALFORMED, fmt::format("createTables.optimizer.{}", field),
                   fmt::format("{} in {}; must be at least 0 and below 1", value, table.name)};
  }
  return std::nullopt;
}

}  // namespace

void TableSet::SetPartitionBits(uint32_t partition_bits) {
  partition_bits_ = partition_bits;
  for (auto& [number, table] : tables_) table = std::make_shared<TableStore>(table->definition(), partition_bits);
}

MaybeRefusal TableSet::Check(const TableDefinition& definition) const {
  if (definition.number == 0) {
    return Refusal{ErrorCode::MALFORMED, "createTables.number",
                   fmt::format("0 in {}; tables are numbered from 1", definition.name)};
  }
  if (dropped_.Has(definition.number)) {
    return Refusal{ErrorCode::UNKNOWN_TABLE, "createTables.number",
                   fmt::format("{} was dropped; numbers of tables are never used again", definition.number)};
  }
  const TableStore* const there = Find(definition.number);
  if (there != nullptr && there->definition() != definition) {
    return Refusal{ErrorCode::CONFLICT, "createTables.number",
                   fmt::format("{} is table {} with another definition", definition.number, there->definition().name)};
  }
  return CheckDecays(definition);
}

MaybeRefusal TableSet::Create(const std::vector<TableDefinition>& definitions) {
  std::map<TableNumber, const TableDefinition*> wanted;
  for (const TableDefinition& definition : definitions) {
    if (MaybeRefusal refusal = Check(definition)) return refusal;
    const auto [twin, first] = wanted.try_emplace(definition.number, &definition);
    if (!first && *twin->second != definition) {
      return Refusal{ErrorCode::CONFLICT, "createTables.number", fmt::format("{} twice in one request", definition.number)};
    }
  }
  for (const auto& [number, definition] : wanted) {
    std::shared_ptr<TableStore>& table = tables_[number];
    if (table == nullptr) table = std::make_shared<TableStore>(*definition, partition_bits_);
  }
  return std::nullopt;
}

void TableSet::Drop(const std::vector<TableNumber>& numbers) {
  for (const TableNumber number : numbers) {
    tables_.erase(number);
    dropped_.End(number);
  }
}

void TableSet::Retain(TableNumber below, const std::set<uint64_t>& kept) {
  dropped_.EndBelow(below, kept);
  std::erase_if(tables_, [&](const auto& entry) { return dropped_.Has(entry.first); });
}

TableStore* TableSet::Find(TableNumber number) const {
  const auto found = tables_.find(number);
  return found == tables_.end() ? nullptr : found->second.get();
}

std::shared_ptr<TableStore> TableSet::Share(TableNumber number) const {
  const auto found = tables_.find(number);
  return found == tables_.end() ? nullptr : found->second;
}

void TableSet::ClearPartition(PartitionNumber partition) {
  for (auto& [number, table] : tables_) table->ClearPartition(partition);
}

}  // namespace marquee
