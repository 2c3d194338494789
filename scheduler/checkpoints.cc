#include "scheduler/checkpoints.h"

#include <algorithm>
#include <utility>

#include "common/version.h"

namespace marquee {
namespace {

constexpr absl::Duration kTryAgain = absl::Seconds(10);

}  // namespace

void Checkpoints::Advance(const std::vector<TrialRun*>& runs, const std::set<std::string>& unfinished, bool may_cut,
                          absl::Time now, Outbox& outbox) {
  if (store_ == nullptr) return;
  const bool training = std::any_of(runs.begin(), runs.end(), [](const TrialRun* run) { return run->may_be_saved(); });
  if (!training) unsaved_since_ = absl::InfinitePast();
  if (training && unsaved_since_ == absl::InfinitePast()) unsaved_since_ = now;
  if (stage_ == Stage::kIdle) {
    if (!training) return;
    if (due_ == absl::InfinitePast()) due_ = now + context_.options.checkpoint_every;
    if (!requested_ && now < due_) return;
    Begin(runs, now);
    return Advance(runs, unfinished, may_cut, now, outbox);
  }
  if (stage_ != Stage::kPausing && view_ != context_.view.number) return GiveUp(runs, "the cluster has another view", now);
  if (stage_ == Stage::kPausing) {
    // Trials that came meanwhile pause as well.
    bool quiet = true;
    for (TrialRun* run : runs) {
      if (!run->may_be_saved()) continue;
      run->Pause();
      quiet &= run->quiet();
    }
    if (!training) {  // all have ended meanwhile
      stage_ = Stage::kIdle;
      deadline_ = absl::InfiniteFuture();
      return;
    }
    if (quiet && may_cut) return Cut(runs, now, outbox);
    if (now >= deadline_) GiveUp(runs, "workers did not come to a pause in time", now);
    return;
  }
  if (!context_.shards.Finished(broadcast_)) {
    if (stage_ == Stage::kCutting && now >= deadline_) GiveUp(runs, "a shard did not make its cut in time", now);
    return;
  }
  if (const absl::Status status = context_.shards.Result(broadcast_); !status.ok()) {
    return GiveUp(runs, std::string(status.message()), now);
  }
  if (stage_ == Stage::kCutting) {
    LeaveOutEnded(runs);
    if (manifest_.trials.empty()) {
      store_->GaveUp("all its trials have ended");
      context_.shards.Forget(std::exchange(broadcast_, 0));
      ResumeAll(runs);
      stage_ = Stage::kIdle;
      deadline_ = absl::InfiniteFuture();
      return;
    }
    manifest_.pause_seconds = absl::ToDoubleSeconds(now - began_);
    context_.counters.checkpoint_pause = now - began_;
    ResumeAll(runs);
    context_.shards.Forget(broadcast_);
    AskForFiles(now, outbox);
  } else {
    manifest_.files = context_.shards.FilesOf(broadcast_);
    if (manifest_.files.size() != shards_.size()) return GiveUp(runs, "not all shards have said what they wrote", now);
    context_.shards.Forget(std::exchange(broadcast_, 0));
    Commit(unfinished, now);
  }
}

void Checkpoints::Begin(const std::vector<TrialRun*>& runs, absl::Time now) {
  requested_ = false;
  stage_ = Stage::kPausing;
  began_ = now;
  deadline_ = now + context_.options.lease;
  for (TrialRun* run : runs) {
    if (run->may_be_saved()) run->Pause();
  }
}

void Checkpoints::Cut(const std::vector<TrialRun*>& runs, absl::Time now, Outbox& outbox) {
  absl::StatusOr<CheckpointStore::Attempt> attempt = store_->Begin();
  if (!attempt.ok()) return GiveUp(runs, std::string(attempt.status().message()), now);
  folder_ = attempt->folder;
  manifest_ = CheckpointManifest();
  manifest_.number = attempt->number;
  manifest_.cluster_id = context_.view.cluster_id;
  manifest_.view = context_.view.number;
  manifest_.version = std::string(Version());
  manifest_.base = since_full_ + 1 < context_.options.checkpoint_full_every ? base_ : 0;
  tables_.clear();
  for (TrialRun* run : runs) {
    if (!run->may_be_saved()) continue;
    run->Stop();
    manifest_.trials.push_back({.name = run->name(), .spec = run->spec(), .state = run->State(now).ToJson()});
    for (const TableDefinition& table : run->tables()) tables_.push_back(table.number);
  }
  shards_ = context_.view.primaries;
  std::sort(shards_.begin(), shards_.end());
  shards_.erase(std::unique(shards_.begin(), shards_.end()), shards_.end());
  view_ = context_.view.number;
  stage_ = Stage::kCutting;
  broadcast_ = context_.shards.StartSome(
      shards_, context_.view, 0,
      [this](uint32_t, wire::Envelope::Body::Builder body) {
        auto cut = body.initCutCheckpoint();
        cut.setNumber(manifest_.number);
        cut.setFolder(folder_.c_str());
        cut.setClusterId(manifest_.cluster_id);
        cut.setBase(manifest_.base);
        auto tables = cut.initTables(static_cast<uint32_t>(tables_.size()));
        for (uint32_t i = 0; i < tables.size(); ++i) tables.set(i, tables_[i]);
      },
      now, outbox);
}

// A trial may end while the cut is made, and a shard that was late have dropped its tables by then: some of its rows are not in
// the cut. On shards that have made it they stay until they are written.
void Checkpoints::LeaveOutEnded(const std::vector<TrialRun*>& runs) {
  std::erase_if(manifest_.trials, [&](const CheckpointManifest::Trial& trial) {
    return std::none_of(runs.begin(), runs.end(),
                        [&](const TrialRun* run) { return run->name() == trial.name && run->may_be_saved(); });
  });
}

void Checkpoints::AskForFiles(absl::Time now, Outbox& outbox) {
  stage_ = Stage::kWriting;
  deadline_ = absl::InfiniteFuture();
  broadcast_ = context_.shards.StartSome(
      shards_, context_.view, 0,
      [this](uint32_t, wire::Envelope::Body::Builder body) { body.setGetCheckpoint(manifest_.number); }, now, outbox);
}

void Checkpoints::Commit(const std::set<std::string>& unfinished, absl::Time now) {
  const bool full =
      std::all_of(manifest_.files.begin(), manifest_.files.end(), [](const RowFileSummary& file) { return file.full; });
  if (full) manifest_.base = 0;
  manifest_.written_unix_seconds = context_.options.unix_seconds != nullptr ? context_.options.unix_seconds() : 0;
  if (const absl::Status status = store_->Commit(manifest_, unfinished); !status.ok()) {
    return GiveUp({}, std::string(status.message()), now);
  }
  since_full_ = full ? 0 : since_full_ + 1;
  base_ = manifest_.number;
  unsaved_since_ = began_;
  ++context_.counters.checkpoints;
  context_.counters.checkpoint_number = manifest_.number;
  context_.counters.checkpoint_bytes = manifest_.bytes();
  stage_ = Stage::kIdle;
  due_ = now + context_.options.checkpoint_every;
}

void Checkpoints::StartOver(absl::Time now) {
  if (stage_ != Stage::kIdle) GiveUp({}, "a server was lost, and its rows with it", now);
}

void Checkpoints::GiveUp(const std::vector<TrialRun*>& runs, const std::string& reason, absl::Time now) {
  store_->GaveUp(reason);
  ++context_.counters.checkpoints_failed;
  if (stage_ == Stage::kPausing || stage_ == Stage::kCutting) context_.counters.checkpoint_pause = now - began_;
  context_.shards.Forget(std::exchange(broadcast_, 0));
  ResumeAll(runs);
  stage_ = Stage::kIdle;
  deadline_ = absl::InfiniteFuture();
  due_ = now + std::min(context_.options.checkpoint_every, kTryAgain);
}

void Checkpoints::ResumeAll(const std::vector<TrialRun*>& runs) {
  for (TrialRun* run : runs) run->Resume();
}

absl::Time Checkpoints::next_timer() const {
  if (store_ == nullptr) return absl::InfiniteFuture();
  const bool training = unsaved_since_ != absl::InfinitePast();  // else there is nothing to wait for
  if (stage_ == Stage::kIdle) return training && due_ != absl::InfinitePast() ? due_ : absl::InfiniteFuture();
  return deadline_;
}

}  // namespace marquee
