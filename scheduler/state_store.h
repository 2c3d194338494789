#ifndef MARQUEE_SCHEDULER_STATE_STORE_H_
#define MARQUEE_SCHEDULER_STATE_STORE_H_

// The scheduler's state on disk: FOLDER/state.db, an SQLite database in which each save is one synchronous transaction.
// FOLDER/progress.db holds what goes on, for a scheduler that comes after one that died: it is not flushed, since it counts for
// nothing once the machine has been started again.
//
// FOLDER/lock is held as long as the store lives (the kernel lets go of it when the process dies), so that no two schedulers
// share a state. Errors name the file. Not thread-safe.

#include <map>
#include <memory>
#include <string>

#include "scheduler/coordinator.h"

namespace marquee {

class SqliteStateStore : public StateStore {
 public:
  // Makes the folder and the database where they are missing. FailedPrecondition if another scheduler has it open, or if the
  // database is of another version of marquee.
  static absl::StatusOr<std::unique_ptr<SqliteStateStore>> Open(const std::string& folder);
  // Whether a sweep was begun in the folder.
  static bool HasState(const std::string& folder);
  ~SqliteStateStore() override;

  // The state is of sweeps over this data. FailedPrecondition if it was begun with another data file.
  absl::Status BindData(uint64_t data_checksum);

  absl::StatusOr<Numbers> LoadNumbers() override;
  absl::StatusOr<std::vector<Trial>> LoadTrials() override;  // in the order of their first save
  absl::Status SaveNumbers(const Numbers& numbers) override;
  absl::Status SaveView(const View& view) override;
  absl::Status SaveTrial(const Trial& trial) override;
  absl::StatusOr<std::map<std::string, std::string>> LoadProgress() override;
  absl::Status SaveProgress(const std::string& key, const std::string& bytes) override;
  absl::Status ForgetProgress(const std::string& key) override;
  absl::Status ForgetAllProgress() override;  // removes the file, for which a full disk has room as well

 private:
  struct State;
  absl::Status OpenProgress();
  explicit SqliteStateStore(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace marquee

#endif  // MARQUEE_SCHEDULER_STATE_STORE_H_
