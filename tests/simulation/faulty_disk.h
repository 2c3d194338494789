#ifndef MARQUEE_TESTS_SIMULATION_FAULTY_DISK_H_
#define MARQUEE_TESTS_SIMULATION_FAULTY_DISK_H_

// A disk that all simulated machines share, as a network file system is, and on which everything goes wrong that does on disks:
// operations fail, it is full, slow, or cannot be read for a while, bits flip, and a machine that loses power leaves some of
// what it did not flush: a file that is cut short or ends in zeros, a name that is the old one. A machine may also crash right
// before or after a chosen operation. All chance comes from one seed.

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "checkpoint/file_system.h"
#include "common/message.h"
#include "tests/simulation/random.h"

namespace marquee::simulation {

enum class DiskOperation { kCreate, kAppend, kSync, kRename, kSyncFolder, kRemove };
const char* NameOf(DiskOperation operation);

struct DiskFaults {
  absl::Time until;               // of the first two
  double fails = 0;               // chance that an operation fails
  double fails_renaming = 0;      // ... that a rename does
  absl::Duration slowest;         // how long an operation takes at most
  double loses_power = 0;         // chance that a process which dies does so with its machine
  std::vector<absl::Time> flips;  // of one bit of some file
  struct Window {
    std::string machine;  // empty: all
    absl::Time from, until;
    bool unmounted = false;  // nothing is found, else permission is denied
  };
  std::vector<Window> full;        // nothing can be written
  std::vector<Window> unreadable;  // nothing can be read
};

class FaultyDisk {
 public:
  using Clock = std::function<absl::Time()>;
  FaultyDisk(uint64_t seed, DiskFaults faults, Clock clock)
      : random_(seed), faults_(std::move(faults)), clock_(std::move(clock)) {}

  // A process sees the disk through one of these until it dies.
  class Machine;
  std::shared_ptr<Machine> Boot(const std::string& name);
  // The process is no more, and maybe its machine with all that it did not flush. Returns whether that is so.
  bool Die(const std::string& name);
  // `crash` is called right before or after the machine's next operation of this kind; the process sees nothing but errors
  // then.
  void CrashAt(const std::string& name, DiskOperation operation, bool after, std::function<void()> crash);

  absl::Duration Delay() { return random_.Between(absl::ZeroDuration(), faults_.slowest); }
  void FlipABit();

  // As it is, without faults: for whoever looks after the run.
  std::shared_ptr<Machine> Inspect() { return Boot(""); }
  bool IsDamaged(const std::string& path) const;  // a bit was flipped
  bool IsDurable(const std::string& path) const;  // it survives any loss of power
  uint64_t faults_met() const { return faults_met_; }

 private:
  struct File {
    std::string content;
    size_t flushed = 0;  // bytes
    std::string machine;
    bool damaged = false;
  };
  using FilePtr = std::shared_ptr<File>;
  // Of a name, not flushed yet.
  struct Change {
    std::string machine;
    std::string path;
    std::function<void()> undo;
  };
  struct Crash {
    DiskOperation operation;
    bool after;
    std::function<void()> crash;
  };

  absl::Status Begin(Machine& machine, DiskOperation operation, const std::string& path);
  absl::Status BeginReading(const Machine& machine, const std::string& path);
  void End(Machine& machine, DiskOperation operation);
  void Crashes(Machine& machine);
  static const DiskFaults::Window* Find(const std::vector<DiskFaults::Window>& windows, const std::string& machine,
                                        absl::Time now);
  void Note(const std::string& machine, const std::string& path, std::function<void()> undo);
  void LosePower(const std::string& name);

  Random random_;
  DiskFaults faults_;
  Clock clock_;
  std::map<std::string, FilePtr> files_;  // by path
  std::set<std::string> folders_;
  std::deque<Change> changes_;  // oldest first
  std::map<std::string, std::shared_ptr<Machine>> machines_;
  std::map<std::string, Crash> crashes_;  // by machine; the next one of each
  uint64_t faults_met_ = 0;
};

class FaultyDisk::Machine : public FileSystem {
 public:
  Machine(FaultyDisk& disk, std::string name) : disk_(disk), name_(std::move(name)) {}
  bool dead() const { return dead_; }

  absl::StatusOr<std::unique_ptr<Writer>> Create(const std::string& path) override;
  absl::StatusOr<std::unique_ptr<Reader>> Open(const std::string& path) override;
  absl::Status Rename(const std::string& from, const std::string& to) override;
  absl::Status Remove(const std::string& path) override;
  absl::Status MakeFolders(const std::string& path) override;
  absl::StatusOr<std::vector<std::string>> List(const std::string& folder) override;
  absl::Status SyncFolder(const std::string& folder) override;

 private:
  friend class FaultyDisk;
  class FileWriter;
  class FileReader;

  FaultyDisk& disk_;
  const std::string name_;  // empty: nothing goes wrong
  bool dead_ = false;
};

// Lets nothing pass once the process has crashed in the middle of an operation.
class UntilDead : public Outbox {
 public:
  UntilDead(const FaultyDisk::Machine* machine, Outbox& outbox) : machine_(machine), outbox_(outbox) {}
  void Send(const Peer& to, OutgoingMessagePtr message) override {
    if (machine_ == nullptr || !machine_->dead()) outbox_.Send(to, std::move(message));
  }

 private:
  const FaultyDisk::Machine* machine_;
  Outbox& outbox_;
};

}  // namespace marquee::simulation

#endif  // MARQUEE_TESTS_SIMULATION_FAULTY_DISK_H_
