#include "scheduler/state_store.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sqlite3.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string_view>
#include <utility>

#include "common/log.h"
#include "common/version.h"
#include "scheduler/trial_result_json.h"

namespace marquee {
namespace {

constexpr const char* kSchema = R"sql(
CREATE TABLE IF NOT EXISTS numbers (
  one INTEGER PRIMARY KEY CHECK (one = 1),
  cluster_id INTEGER, view INTEGER, session INTEGER, table_number INTEGER, trial INTEGER);
CREATE TABLE IF NOT EXISTS views (number INTEGER PRIMARY KEY, shards TEXT, primaries TEXT, backups TEXT, fills TEXT);
CREATE TABLE IF NOT EXISTS data (one INTEGER PRIMARY KEY CHECK (one = 1), checksum INTEGER);
CREATE TABLE IF NOT EXISTS trials (
  position INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT UNIQUE, spec TEXT, status INTEGER, reason TEXT, result TEXT);
)sql";

// From the version before to the one beside: what a state that an older marquee has begun needs.
struct Migration {
  int to;
  const char* sql;
};
constexpr Migration kMigrations[] = {
    {3, "ALTER TABLE views ADD COLUMN backups TEXT; ALTER TABLE views ADD COLUMN fills TEXT;"},
};
static_assert(kMigrations[0].to == kOldestStateVersion + 1 && std::rbegin(kMigrations)->to == kStateVersion);

std::string DatabasePath(const std::string& folder) { return (std::filesystem::path(folder) / "state.db").string(); }

std::string ProgressPath(const std::string& folder) { return (std::filesystem::path(folder) / "progress.db").string(); }

// Another one each time the machine is started.
std::string BootId() {
  std::string id;
  std::getline(std::ifstream("/proc/sys/kernel/random/boot_id") >> std::ws, id);
  return id;
}

struct CloseDatabase {
  void operator()(sqlite3* database) const { sqlite3_close_v2(database); }
};
using Database = std::unique_ptr<sqlite3, CloseDatabase>;

// One prepared statement. Values are bound in order; numbers are stored as the signed integer of the same bits.
class Statement {
 public:
  Statement(sqlite3* database, const char* sql) : database_(database) {
    sqlite3_prepare_v2(database, sql, -1, &statement_, nullptr);
  }
  ~Statement() { sqlite3_finalize(statement_); }
  Statement(const Statement&) = delete;
  Statement& operator=(const Statement&) = delete;

  Statement& Bind(uint64_t value) {
    sqlite3_bind_int64(statement_, ++bound_, static_cast<sqlite3_int64>(value));
    return *this;
  }
  Statement& Bind(const std::string& value) {
    sqlite3_bind_text(statement_, ++bound_, value.data(), static_cast<int>(value.size()), SQLITE_TRANSIENT);
    return *this;
  }

  // True if there is a row, false at the end.
  absl::StatusOr<bool> Step() {
    const int code = statement_ == nullptr ? SQLITE_ERROR : sqlite3_step(statement_);
    if (code == SQLITE_ROW) return true;
    if (code == SQLITE_DONE) return false;
    return absl::InternalError(fmt::format("{}: {}", sqlite3_db_filename(database_, "main"), sqlite3_errmsg(database_)));
  }
  absl::Status Run() {
    const absl::StatusOr<bool> row = Step();
    return row.ok() ? absl::OkStatus() : row.status();
  }

  uint64_t Number(int column) { return static_cast<uint64_t>(sqlite3_column_int64(statement_, column)); }
  std::string Text(int column) {
    const auto* text = reinterpret_cast<const char*>(sqlite3_column_text(statement_, column));
    return text == nullptr ? "" : std::string(text, static_cast<size_t>(sqlite3_column_bytes(statement_, column)));
  }

 private:
  sqlite3* database_;
  sqlite3_stmt* statement_ = nullptr;
  int bound_ = 0;
};

absl::Status Execute(sqlite3* database, const std::string& sql) {
  char* message = nullptr;
  if (sqlite3_exec(database, sql.c_str(), nullptr, nullptr, &message) == SQLITE_OK) return absl::OkStatus();
  absl::Status status = absl::InternalError(
      fmt::format("{}: {}", sqlite3_db_filename(database, "main"), message == nullptr ? "unknown error" : message));
  sqlite3_free(message);
  return status;
}

absl::StatusOr<int> TakeLock(const std::string& folder) {
  const std::string path = (std::filesystem::path(folder) / "lock").string();
  const int descriptor = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (descriptor < 0) return absl::InternalError(fmt::format("{}: {}", path, std::strerror(errno)));
  if (flock(descriptor, LOCK_EX | LOCK_NB) == 0) return descriptor;
  close(descriptor);
  return absl::FailedPreconditionError(fmt::format("{}: another scheduler is using this folder", path));
}

// 0: a new database.
absl::StatusOr<int> VersionOf(sqlite3* database) {
  Statement statement(database, "PRAGMA user_version");
  const absl::StatusOr<bool> row = statement.Step();
  if (!row.ok()) return row.status();
  return static_cast<int>(statement.Number(0));
}

absl::Status CheckVersion(int version, std::string_view path) {
  if (version == 0 || (kOldestStateVersion <= version && version <= kStateVersion)) return absl::OkStatus();
  return absl::FailedPreconditionError(fmt::format("{}: is a state of version {}; this program, marquee {}, reads {} to {}: {}",
                                                   path, version, Version(), kOldestStateVersion, kStateVersion,
                                                   version > kStateVersion
                                                       ? "a newer marquee has written it, go on with that one"
                                                       : "go on with a marquee that reads both first"));
}

// Brings the state of an older marquee to the present version in one step, and leaves a copy for whoever has to go back.
absl::Status Migrate(sqlite3* database, int version, const std::string& path) {
  const std::string copy = fmt::format("{}.version-{}", path, version);
  std::error_code ignored;
  std::filesystem::remove(copy, ignored);  // of a migration that did not come to its end
  if (absl::Status status = Statement(database, "VACUUM INTO ?").Bind(copy).Run(); !status.ok()) return status;
  std::string sql = "BEGIN; ";
  for (const Migration& migration : kMigrations) {
    if (migration.to > version) sql += migration.sql;
  }
  if (absl::Status status = Execute(database, fmt::format("{} PRAGMA user_version={}; COMMIT;", sql, kStateVersion));
      !status.ok()) {
    return status;
  }
  LogInfo("the state of an older marquee is taken over", {{"from", version}, {"to", kStateVersion}, {"copy", copy}});
  return absl::OkStatus();
}

absl::Status Prepare(sqlite3* database, const std::string& path) {
  const absl::StatusOr<int> version = VersionOf(database);
  if (!version.ok()) return version.status();
  if (absl::Status status = CheckVersion(*version, path); !status.ok()) return status;
  if (absl::Status status = Execute(database, "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"); !status.ok()) return status;
  if (*version == 0) return Execute(database, fmt::format("BEGIN; {} PRAGMA user_version={}; COMMIT;", kSchema, kStateVersion));
  return *version == kStateVersion ? absl::OkStatus() : Migrate(database, *version, path);
}

}  // namespace

struct SqliteStateStore::State {
  ~State() {
    progress.reset();
    database.reset();
    if (lock >= 0) close(lock);
  }
  std::string folder;
  int lock = -1;
  Database database;
  Database progress;  // null until it is needed
};

SqliteStateStore::SqliteStateStore(std::unique_ptr<State> state) : state_(std::move(state)) {}
SqliteStateStore::~SqliteStateStore() = default;

bool SqliteStateStore::HasState(const std::string& folder) { return std::filesystem::exists(DatabasePath(folder)); }

absl::StatusOr<std::unique_ptr<SqliteStateStore>> SqliteStateStore::Open(const std::string& folder) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) return absl::InternalError(fmt::format("{}: {}", folder, error.message()));
  auto state = std::make_unique<State>();
  state->folder = folder;
  absl::StatusOr<int> lock = TakeLock(folder);
  if (!lock.ok()) return lock.status();
  state->lock = *lock;
  sqlite3* database = nullptr;
  const std::string path = DatabasePath(folder);
  const int code = sqlite3_open_v2(path.c_str(), &database, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, nullptr);
  state->database.reset(database);
  if (code != SQLITE_OK) return absl::InternalError(fmt::format("{}: {}", path, sqlite3_errstr(code)));
  if (absl::Status status = Prepare(database, path); !status.ok()) return status;
  return std::unique_ptr<SqliteStateStore>(new SqliteStateStore(std::move(state)));
}

absl::Status SqliteStateStore::BindData(uint64_t data_checksum) {
  sqlite3* database = state_->database.get();
  Statement select(database, "SELECT checksum FROM data");
  const absl::StatusOr<bool> row = select.Step();
  if (!row.ok()) return row.status();
  if (!*row) return Statement(database, "INSERT INTO data VALUES (1, ?)").Bind(data_checksum).Run();
  if (select.Number(0) == data_checksum) return absl::OkStatus();
  return absl::FailedPreconditionError(fmt::format("{}: begun with a data file of checksum {:016x}; the one given has {:016x}",
                                                   sqlite3_db_filename(database, "main"), select.Number(0), data_checksum));
}

absl::StatusOr<StateStore::Numbers> SqliteStateStore::LoadNumbers() {
  Statement select(state_->database.get(), "SELECT cluster_id, view, session, table_number, trial FROM numbers");
  const absl::StatusOr<bool> row = select.Step();
  if (!row.ok()) return row.status();
  if (!*row) return Numbers{};
  return Numbers{.cluster_id = select.Number(0),
                 .view = select.Number(1),
                 .session = select.Number(2),
                 .table = static_cast<uint32_t>(select.Number(3)),
                 .trial = select.Number(4)};
}

absl::Status SqliteStateStore::SaveNumbers(const Numbers& numbers) {
  return Statement(state_->database.get(), "INSERT OR REPLACE INTO numbers VALUES (1, ?, ?, ?, ?, ?)")
      .Bind(numbers.cluster_id)
      .Bind(numbers.view)
      .Bind(numbers.session)
      .Bind(uint64_t{numbers.table})
      .Bind(numbers.trial)
      .Run();
}

absl::Status SqliteStateStore::SaveView(const View& view) {
  return Statement(state_->database.get(), "INSERT OR REPLACE INTO views VALUES (?, ?, ?, ?, ?)")
      .Bind(view.number)
      .Bind(fmt::format("{}", fmt::join(view.shards, " ")))
      .Bind(fmt::format("{}", fmt::join(view.primaries, " ")))
      .Bind(fmt::format("{}", fmt::join(view.backups, " ")))
      .Bind(fmt::format("{}", fmt::join(view.fills, " ")))
      .Run();
}

absl::StatusOr<std::vector<StateStore::Trial>> SqliteStateStore::LoadTrials() {
  Statement select(state_->database.get(), "SELECT name, spec, status, reason, result FROM trials ORDER BY position");
  std::vector<Trial> trials;
  while (true) {
    const absl::StatusOr<bool> row = select.Step();
    if (!row.ok()) return row.status();
    if (!*row) return trials;
    absl::StatusOr<TrialResult> result = TrialResultFromJson(select.Text(4));
    if (!result.ok()) return result.status();
    trials.push_back(Trial{.name = select.Text(0),
                           .spec = select.Text(1),
                           .status = static_cast<TrialStatus>(select.Number(2)),
                           .reason = select.Text(3),
                           .result = *std::move(result)});
  }
}

absl::Status SqliteStateStore::SaveTrial(const Trial& trial) {
  return Statement(state_->database.get(),
                   "INSERT INTO trials (name, spec, status, reason, result) VALUES (?1, ?2, ?3, ?4, ?5) "
                   "ON CONFLICT (name) DO UPDATE SET spec = ?2, status = ?3, reason = ?4, result = ?5")
      .Bind(trial.name)
      .Bind(trial.spec)
      .Bind(static_cast<uint64_t>(trial.status))
      .Bind(trial.reason)
      .Bind(ToJson(trial.result))
      .Run();
}

// -------------------------------------------------------------------------------------------------------- progress

absl::Status SqliteStateStore::OpenProgress() {
  if (state_->progress != nullptr) return absl::OkStatus();
  sqlite3* database = nullptr;
  const std::string path = ProgressPath(state_->folder);
  const int code = sqlite3_open_v2(path.c_str(), &database, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, nullptr);
  Database opened(database);
  if (code != SQLITE_OK) return absl::InternalError(fmt::format("{}: {}", path, sqlite3_errstr(code)));
  constexpr const char* kProgressSchema =
      "PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF;"
      "CREATE TABLE IF NOT EXISTS progress (key TEXT PRIMARY KEY, boot TEXT, bytes BLOB) WITHOUT ROWID;";
  if (absl::Status status = Execute(database, kProgressSchema); !status.ok()) return status;
  state_->progress = std::move(opened);
  return absl::OkStatus();
}

absl::StatusOr<std::map<std::string, std::string>> SqliteStateStore::LoadProgress() {
  std::map<std::string, std::string> progress;
  if (!std::filesystem::exists(ProgressPath(state_->folder))) return progress;
  if (absl::Status status = OpenProgress(); !status.ok()) return status;
  Statement select(state_->progress.get(), "SELECT key, boot, bytes FROM progress");
  const std::string boot = BootId();
  while (true) {
    const absl::StatusOr<bool> row = select.Step();
    if (!row.ok()) return row.status();
    if (!*row) return progress;
    if (boot.empty() || select.Text(1) != boot) return std::map<std::string, std::string>();
    progress.emplace(select.Text(0), select.Text(2));
  }
}

absl::Status SqliteStateStore::SaveProgress(const std::string& key, const std::string& bytes) {
  if (absl::Status status = OpenProgress(); !status.ok()) return status;
  static const std::string kBoot = BootId();
  return Statement(state_->progress.get(), "INSERT OR REPLACE INTO progress VALUES (?, ?, ?)")
      .Bind(key)
      .Bind(kBoot)
      .Bind(bytes)
      .Run();
}

absl::Status SqliteStateStore::ForgetProgress(const std::string& key) {
  if (absl::Status status = OpenProgress(); !status.ok()) return status;
  return Statement(state_->progress.get(), "DELETE FROM progress WHERE key = ?").Bind(key).Run();
}

absl::Status SqliteStateStore::ForgetAllProgress() {
  state_->progress.reset();
  for (const char* const suffix : {"", "-wal", "-shm"}) {
    const std::string path = ProgressPath(state_->folder) + suffix;
    std::error_code error;
    std::filesystem::remove(path, error);
    if (error) return absl::InternalError(fmt::format("{}: {}", path, error.message()));
  }
  return absl::OkStatus();
}

}  // namespace marquee
