#include "scheduler/coordinator_context.h"

#include "common/log.h"
#include "scheduler/saved_progress.h"

namespace marquee {
namespace {

void StopNoting(CoordinatorContext& context, const absl::Status& reason) {
  LogWarning("what goes on cannot be noted: a scheduler that comes after this one will go back to checkpoints",
             {{"reason", reason.ToString()}});
  context.takes_notes = false;
  context.Keep(context.store.ForgetAllProgress());
}

}  // namespace

void CoordinatorContext::Note(const std::string& key, const std::string& bytes) {
  if (!takes_notes) return;
  if (const absl::Status saved = store.SaveProgress(key, bytes); !saved.ok()) StopNoting(*this, saved);
}

void CoordinatorContext::ForgetNote(const std::string& key) {
  if (!takes_notes) return;
  if (const absl::Status forgotten = store.ForgetProgress(key); !forgotten.ok()) StopNoting(*this, forgotten);
}

void CoordinatorContext::NoteMember(const std::string& name) {
  if (!takes_notes) return;
  Note(SavedMember::Key(name), SavedMember{.record = *members.FindByName(name), .ended = members.EndedOf(name)}.ToBytes());
}

bool CoordinatorContext::NoteView(const View& next) {
  if (takes_notes) {
    const SavedCluster cluster{.view = next, .servers = servers, .server_of = server_of, .replication = options.replication};
    Note(SavedCluster::Key(), cluster.ToBytes());
  }
  return status.ok();
}

}  // namespace marquee
