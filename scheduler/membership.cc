#include "scheduler/membership.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace marquee {
namespace {

constexpr size_t kMaxNameLength = 64;
constexpr uint32_t kMaxEndpoints = 4096;

std::string TextOf(capnp::Text::Reader text) { return {text.cStr(), text.size()}; }

}  // namespace

MaybeRejection Membership::CheckRegister(wire::Register::Reader reader, const std::string& name, uint64_t incarnation) const {
  using Code = wire::Error::Code;
  const bool server = reader.getRole() == wire::Register::Role::SERVER;
  if (!server && reader.getRole() != wire::Register::Role::WORKER) {
    return Rejection{Code::MALFORMED, "register.role", "must be server or worker"};
  }
  if (name.empty() || name.size() > kMaxNameLength) {
    return Rejection{Code::MALFORMED, "register.name", fmt::format("must have 1 to {} characters", kMaxNameLength)};
  }
  if (incarnation == 0) return Rejection{Code::MALFORMED, "incarnation", "must not be 0"};
  const bool server_name = options_.servers.contains(name);
  if (server != server_name) {
    return Rejection{Code::CONFLICT, "register.name",
                     fmt::format("'{}' is {} a server of this cluster", name, server_name ? "the name of" : "not")};
  }
  if (server && (reader.getEndpoints().size() == 0 || reader.getEndpoints().size() > kMaxEndpoints)) {
    return Rejection{Code::MALFORMED, "register.endpoints",
                     fmt::format("{} shards; must be 1 to {}", reader.getEndpoints().size(), kMaxEndpoints)};
  }
  if (MaybeRejection rejection = CheckEndpoints(reader, name)) return rejection;
  if (!server && options_.data_checksum != 0 && reader.getDataChecksum() != options_.data_checksum) {
    return Rejection{
        Code::DATA_MISMATCH, "register.dataChecksum",
        fmt::format("the data file of worker '{}' has checksum {:016x}, the scheduler's {:016x}; both must be the same file",
                    name, reader.getDataChecksum(), options_.data_checksum)};
  }
  const auto ended = ended_.find(name);
  if (ended != ended_.end() && ended->second.contains(incarnation)) {
    return Rejection{Code::CONFLICT, "register.name", fmt::format("another process has become '{}' since", name)};
  }
  return std::nullopt;
}

MaybeRejection Membership::CheckEndpoints(wire::Register::Reader reader, const std::string& name) const {
  std::set<std::string> taken;
  for (const auto& [other, member] : members_) {
    if (member.alive && other != name) taken.insert(member.endpoints.begin(), member.endpoints.end());
  }
  for (const auto endpoint : reader.getEndpoints()) {
    if (endpoint.size() != 0 && taken.insert(TextOf(endpoint)).second) continue;
    return Rejection{wire::Error::Code::CONFLICT, "register.endpoints",
                     fmt::format("'{}' is empty, or another shard has it", TextOf(endpoint))};
  }
  return std::nullopt;
}

WireVersions Membership::WireWithout(const std::string& name) const {
  WireVersions common = OwnWireVersions();
  for (const auto& [other, member] : members_) {
    if (member.alive && other != name) common = Common(common, member.wire);
  }
  return common;
}

MaybeRejection Membership::CheckWire(WireVersions wire, const std::string& name) const {
  const WireVersions others = WireWithout(name);
  if (!IsEmpty(Common(wire, others))) return std::nullopt;
  std::string who = "the scheduler";
  for (const auto& [other, member] : members_) {
    if (member.alive && other != name && IsEmpty(Common(wire, member.wire))) who = fmt::format("'{}'", other);
  }
  return Rejection{
      wire::Error::Code::WRONG_VERSION, "protocolVersion",
      fmt::format("'{}' speaks {} of the wire; the other processes of this cluster have {} in common, because of {}. "
                  "Upgrade {} first (docs/operations.md, \"Upgrades\")",
                  name, ToText(wire), ToText(others), who, wire.oldest > others.newest ? who : "this process")};
}

MaybeRejection Membership::Register(const Message& message, absl::Time now, std::string* lost) {
  lost->clear();
  const wire::Register::Reader reader = message.envelope().getBody().getRegister();
  const uint64_t incarnation = message.envelope().getIncarnation();
  const std::string name = TextOf(reader.getName());
  if (MaybeRejection rejection = CheckRegister(reader, name, incarnation)) return rejection;
  if (MaybeRejection rejection = CheckWire(message.sender_versions(), name)) return rejection;
  // All is read before anything changes: a malformed text is only found when it is read.
  MemberRecord registered;
  registered.name = name;
  registered.server = reader.getRole() == wire::Register::Role::SERVER;
  registered.alive = true;
  registered.incarnation = incarnation;
  registered.wire = message.sender_versions();
  registered.host = TextOf(reader.getHost());
  registered.metrics_endpoint = TextOf(reader.getMetricsEndpoint());
  for (const auto endpoint : reader.getEndpoints()) registered.endpoints.push_back(TextOf(endpoint));
  registered.route = message.from();
  registered.heard = now;

  MemberRecord& member = members_[name];
  if (member.alive && member.incarnation == incarnation) {
    registered.dismissed = member.dismissed;
    registered.session = member.session;
    registered.wants_session = member.wants_session;
  } else {
    if (member.alive) *lost = name;
    if (member.incarnation != 0 && member.incarnation != incarnation) ended_[name].insert(member.incarnation);
  }
  member = std::move(registered);
  return std::nullopt;
}

MemberRecord* Membership::FindByName(const std::string& name) {
  const auto found = members_.find(name);
  return found == members_.end() ? nullptr : &found->second;
}

MemberRecord* Membership::Find(const std::string& name, uint64_t incarnation) {
  MemberRecord* member = FindByName(name);
  return member != nullptr && member->alive && member->incarnation == incarnation ? member : nullptr;
}

std::vector<std::string> Membership::Expire(absl::Time now) {
  std::vector<std::string> lost;
  for (auto& [name, member] : members_) {
    if (!member.alive || now < member.heard + options_.lease) continue;
    member.alive = false;
    lost.push_back(name);
  }
  return lost;
}

bool Membership::End(const std::string& name) {
  MemberRecord* member = FindByName(name);
  if (member == nullptr) return false;
  ended_[name].insert(member->incarnation);
  return std::exchange(member->alive, false);
}

std::set<uint64_t> Membership::EndedOf(const std::string& name) const {
  const auto found = ended_.find(name);
  return found == ended_.end() ? std::set<uint64_t>() : found->second;
}

void Membership::Restore(MemberRecord record, std::set<uint64_t> ended, absl::Time now) {
  record.heard = now;
  if (!ended.empty()) ended_[record.name] = std::move(ended);
  const std::string name = record.name;
  members_[name] = std::move(record);
}

void Membership::Forgive(absl::Time now) {
  for (auto& [name, member] : members_) member.heard = std::max(member.heard, now);
}

absl::Time Membership::next_expiry() const {
  absl::Time next = absl::InfiniteFuture();
  for (const auto& [name, member] : members_) {
    if (member.alive) next = std::min(next, member.heard + options_.lease);
  }
  return next;
}

bool Membership::AllAlive(const std::vector<std::string>& servers) const {
  return std::all_of(servers.begin(), servers.end(), [this](const std::string& name) { return FindAlive(name) != nullptr; });
}

const MemberRecord* Membership::FindAlive(const std::string& name) const {
  const auto found = members_.find(name);
  return found != members_.end() && found->second.alive ? &found->second : nullptr;
}

std::vector<uint64_t> Membership::ShardProcesses(const std::vector<std::string>& servers) const {
  std::vector<uint64_t> processes;
  for (const std::string& name : servers) {
    const MemberRecord& member = members_.at(name);
    processes.insert(processes.end(), member.endpoints.size(), member.incarnation);
  }
  return processes;
}

std::vector<uint32_t> Membership::ShardServers(const std::vector<std::string>& servers) const {
  std::vector<uint32_t> indexes;
  for (uint32_t server = 0; server < servers.size(); ++server) {
    indexes.insert(indexes.end(), members_.at(servers[server]).endpoints.size(), server);
  }
  return indexes;
}

std::vector<std::string> Membership::ShardEndpoints(const std::vector<std::string>& servers) const {
  std::vector<std::string> endpoints;
  for (const std::string& name : servers) {
    const MemberRecord& member = members_.at(name);
    endpoints.insert(endpoints.end(), member.endpoints.begin(), member.endpoints.end());
  }
  return endpoints;
}

std::vector<std::string> Membership::FreeWorkers() const {
  std::vector<std::string> names;
  for (const auto& [name, member] : members_) {
    if (!member.server && member.alive && member.session == 0 && member.wants_session) names.push_back(name);
  }
  return names;
}

}  // namespace marquee
