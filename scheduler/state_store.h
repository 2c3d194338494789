#ifndef MARQUEE_SCHEDULER_STATE_STORE_H_
#define MARQUEE_SCHEDULER_STATE_STORE_H_

// The scheduler's state on disk: FOLDER/state.db, an SQLite database in which each save is one synchronous transaction.
// FOLDER/lock is held as long as the store lives (the kernel lets go of it when the process dies), so that no two schedulers
// share a state. Errors name the file. Not thread-safe.

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

 private:
  struct State;
  explicit SqliteStateStore(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace marquee

#endif  // MARQUEE_SCHEDULER_STATE_STORE_H_
