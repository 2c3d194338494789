#include "ps/sessions.h"

#include <fmt/format.h>

namespace marquee {

MaybeRefusal Sessions::Open(uint64_t session, uint64_t trial) {
  if (session == 0) return Refusal{ErrorCode::MALFORMED, "openSession.session", "0; sessions are numbered from 1"};
  if (closed_.Has(session)) {
    return Refusal{ErrorCode::UNKNOWN_SESSION, "openSession.session",
                   fmt::format("{} was closed; numbers of sessions are never used again", session)};
  }
  const auto [found, added] = open_.try_emplace(session, Session{.trial = trial, .windows = {}});
  if (!added && found->second.trial != trial) {
    return Refusal{ErrorCode::CONFLICT, "openSession.trial",
                   fmt::format("{}; session {} is of trial {}", trial, session, found->second.trial)};
  }
  return std::nullopt;
}

MaybeRefusal Sessions::Close(uint64_t session) {
  if (session == 0) return Refusal{ErrorCode::MALFORMED, "closeSession.session", "0; sessions are numbered from 1"};
  open_.erase(session);
  closed_.End(session);
  return std::nullopt;
}

void Sessions::CloseAll() {
  for (const auto& [number, session] : open_) closed_.End(number);
  open_.clear();
}

void Sessions::Retain(uint64_t below, const std::set<uint64_t>& kept) {
  closed_.EndBelow(below, kept);
  std::erase_if(open_, [&](const auto& entry) { return closed_.Has(entry.first); });
}

const uint64_t* Sessions::TrialOf(uint64_t session) const {
  const auto found = open_.find(session);
  return found == open_.end() ? nullptr : &found->second.trial;
}

Sessions::Windows& Sessions::WindowsOf(uint64_t session, size_t partitions) {
  Windows& windows = open_.at(session).windows;
  windows.resize(partitions);
  return windows;
}

void Sessions::ClearPartition(PartitionNumber partition) {
  for (auto& [number, session] : open_) {
    if (partition < session.windows.size()) session.windows[partition] = PushWindow();
  }
}

}  // namespace marquee
