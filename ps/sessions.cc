#include "ps/sessions.h"

#include <fmt/format.h>

namespace marquee {

MaybeRefusal Sessions::Open(uint64_t session, uint64_t trial) {
  if (session == 0) return Refusal{ErrorCode::MALFORMED, "openSession.session", "0; sessions are numbered from 1"};
  if (closed_.contains(session)) {
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
  closed_.insert(session);
  return std::nullopt;
}

void Sessions::CloseAll() {
  for (const auto& [number, session] : open_) closed_.insert(number);
  open_.clear();
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
