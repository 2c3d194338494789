#include "tests/simulation/checkpoint_tamper.h"

#include <cstdio>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "tests/simulation/rewrite.h"

namespace marquee::simulation {
namespace {

// Passes everything on.
class PassingIo : public CheckpointIo {
 public:
  explicit PassingIo(CheckpointIo& io) : io_(io) {}
  void BeginFile(const std::string& folder, const std::string& name, const RowFileHeader& header) override {
    io_.BeginFile(folder, name, header);
  }
  bool HasRoom() const override { return io_.HasRoom(); }
  void Add(RowBlock block) override { io_.Add(std::move(block)); }
  void Finish() override { io_.Finish(); }
  void GiveUp() override { io_.GiveUp(); }
  std::optional<absl::StatusOr<RowFileSummary>> TakeWritten() override { return io_.TakeWritten(); }
  void BeginReading(Files files) override { io_.BeginReading(std::move(files)); }
  void StopReading() override { io_.StopReading(); }
  std::optional<RowBlock> NextBlock() override { return io_.NextBlock(); }
  std::optional<absl::Status> TakeRead() override { return io_.TakeRead(); }

 protected:
  CheckpointIo& io_;
};

class PassingFiles : public FileSystem {
 public:
  explicit PassingFiles(FileSystem& files) : files_(files) {}
  absl::StatusOr<std::unique_ptr<Writer>> Create(const std::string& path) override { return files_.Create(path); }
  absl::StatusOr<std::unique_ptr<Reader>> Open(const std::string& path) override { return files_.Open(path); }
  absl::Status Rename(const std::string& from, const std::string& to) override { return files_.Rename(from, to); }
  absl::Status Remove(const std::string& path) override { return files_.Remove(path); }
  absl::Status MakeFolders(const std::string& path) override { return files_.MakeFolders(path); }
  absl::StatusOr<std::vector<std::string>> List(const std::string& folder) override { return files_.List(folder); }
  absl::Status SyncFolder(const std::string& folder) override { return files_.SyncFolder(folder); }

 protected:
  FileSystem& files_;
};

// A row that is pushed to before the walk comes to it is written as it is then, not as it was at the cut.
class KeepsNoOldRows : public Tamper {
 public:
  void OnMessage(Shard& shard, const std::string& endpoint, const Message& message, absl::Time now, Outbox& outbox) override {
    const Body::Reader body = BodyOf(message);
    shard.OnMessage(message, now, outbox);
    if (!body.isPush() || !walks_[endpoint]) return;
    for (const auto section : body.getPush().getSections()) {
      const auto ids = PackedValues<Id>(section.getIds(), section.getCount(), "ids");
      const auto gradients = PackedValues<float>(section.getGradients(), section.getCount() * section.getDim(), "gradients");
      if (!ids.ok() || !gradients.ok()) continue;
      for (uint32_t i = 0; i < section.getCount(); ++i) {
        std::vector<float>& sum = later_[endpoint][{section.getTable(), (*ids)[i]}];
        sum.resize(section.getDim(), 0);
        for (uint32_t column = 0; column < section.getDim(); ++column) {
          sum[column] += (*gradients)[i * section.getDim() + column];
        }
      }
    }
  }
  std::unique_ptr<CheckpointIo> WrapIo(const std::string& endpoint, CheckpointIo& io) override {
    return std::make_unique<Io>(io, walks_[endpoint], later_[endpoint]);
  }

 private:
  using Pushed = std::map<std::pair<TableNumber, Id>, std::vector<float>>;
  class Io : public PassingIo {
   public:
    Io(CheckpointIo& io, bool& walks, Pushed& later) : PassingIo(io), walks_(walks), later_(later) {}
    void BeginFile(const std::string& folder, const std::string& name, const RowFileHeader& header) override {
      walks_ = true;
      later_.clear();
      io_.BeginFile(folder, name, header);
    }
    void Add(RowBlock block) override {
      const size_t width = block.dim + block.state_width;
      for (size_t i = 0; i < block.ids.size(); ++i) {
        const auto later = later_.find({block.table, block.ids[i]});
        if (later == later_.end()) continue;
        for (uint32_t column = 0; column < block.dim; ++column) block.values[i * width + column] -= later->second[column];
      }
      io_.Add(std::move(block));
    }
    void Finish() override {
      walks_ = false;
      io_.Finish();
    }

   private:
    bool& walks_;
    Pushed& later_;
  };
  std::map<std::string, bool> walks_;  // by endpoint
  std::map<std::string, Pushed> later_;
};

// Says that it has made its cut, and makes it with the next push but one: all that was acknowledged to be at rest goes on.
class CutsLate : public Tamper {
 public:
  void OnMessage(Shard& shard, const std::string& endpoint, const Message& message, absl::Time now, Outbox& outbox) override {
    std::optional<Message>& cut = cuts_[endpoint];
    if (BodyOf(message).isCutCheckpoint() && message.envelope().getView() == shard.view_number()) {
      cut.emplace(message.Share());
      OutgoingMessagePtr reply = NewReply(kTampered, shard.view_number(), message);
      reply->envelope().getBody().setOk();
      return outbox.Send(message.from(), std::move(reply));
    }
    shard.OnMessage(message, now, outbox);
    if (!cut.has_value() || !BodyOf(message).isPush()) return;
    Capture unheard;
    shard.OnMessage(*cut, now, unheard);
    cut.reset();
  }

 private:
  std::map<std::string, std::optional<Message>> cuts_;
};

// Leaves the last row of each block out of what was changed since the cut before.
class MissesChangedRows : public Tamper {
 public:
  void OnMessage(Shard& shard, const std::string& endpoint, const Message& message, absl::Time now, Outbox& outbox) override {
    if (BodyOf(message).isCutCheckpoint()) adds_[endpoint] = BodyOf(message).getCutCheckpoint().getBase() != 0;
    shard.OnMessage(message, now, outbox);
  }
  std::unique_ptr<CheckpointIo> WrapIo(const std::string& endpoint, CheckpointIo& io) override {
    return std::make_unique<Io>(io, adds_[endpoint]);
  }

 private:
  class Io : public PassingIo {
   public:
    Io(CheckpointIo& io, const bool& adds) : PassingIo(io), adds_(adds) {}
    void Add(RowBlock block) override {
      if (adds_) {
        block.ids.pop_back();
        block.values.resize(block.values.size() - block.dim - block.state_width);
      }
      io_.Add(std::move(block));
    }

   private:
    const bool& adds_;
  };
  std::map<std::string, bool> adds_;
};

// Writes the manifest first: a shard says what its file will be while it is still being written.
class ManifestComesFirst : public Tamper {
 public:
  std::unique_ptr<CheckpointIo> WrapIo(const std::string&, CheckpointIo& io) override { return std::make_unique<Io>(io); }

 private:
  class Io : public PassingIo {
   public:
    using PassingIo::PassingIo;
    void BeginFile(const std::string& folder, const std::string& name, const RowFileHeader& header) override {
      said_ = {};
      said_.name = name;
      io_.BeginFile(folder, name, header);
    }
    void Add(RowBlock block) override {
      said_.rows += block.ids.size();
      io_.Add(std::move(block));
    }
    void Finish() override {
      finishing_ = true;
      io_.Finish();
    }
    std::optional<absl::StatusOr<RowFileSummary>> TakeWritten() override {
      auto written = io_.TakeWritten();
      if (!std::exchange(finishing_, false) || written.has_value()) return written;
      return absl::StatusOr<RowFileSummary>(said_);
    }

   private:
    RowFileSummary said_;
    bool finishing_ = false;
  };
};

// Renames files, and never flushes them.
class RenamesBeforeItFlushes : public Tamper {
 public:
  std::unique_ptr<FileSystem> WrapFiles(FileSystem& files) override { return std::make_unique<Files>(files); }

 private:
  class Files : public PassingFiles {
   public:
    using PassingFiles::PassingFiles;
    absl::StatusOr<std::unique_ptr<Writer>> Create(const std::string& path) override {
      auto writer = files_.Create(path);
      if (!writer.ok()) return writer.status();
      return std::make_unique<NotFlushing>(*std::move(writer));
    }
  };
  class NotFlushing : public FileSystem::Writer {
   public:
    explicit NotFlushing(std::unique_ptr<FileSystem::Writer> writer) : writer_(std::move(writer)) {}
    absl::Status Append(std::string_view bytes) override { return writer_->Append(bytes); }
    absl::Status Sync() override { return absl::OkStatus(); }

   private:
    std::unique_ptr<FileSystem::Writer> writer_;
  };
};

// Flushes files, and not the folder that names them.
class FlushesNoFolders : public Tamper {
 public:
  std::unique_ptr<FileSystem> WrapFiles(FileSystem& files) override { return std::make_unique<Files>(files); }

 private:
  class Files : public PassingFiles {
   public:
    using PassingFiles::PassingFiles;
    absl::Status SyncFolder(const std::string&) override { return absl::OkStatus(); }
  };
};

// Restores the weights, and lets the optimizer begin anew.
class ForgetsOptimizerState : public Tamper {
 public:
  std::unique_ptr<CheckpointIo> WrapIo(const std::string&, CheckpointIo& io) override { return std::make_unique<Io>(io); }

 private:
  class Io : public PassingIo {
   public:
    using PassingIo::PassingIo;
    std::optional<RowBlock> NextBlock() override {
      std::optional<RowBlock> block = io_.NextBlock();
      if (!block.has_value()) return block;
      for (size_t i = 0; i < block->values.size(); ++i) {
        if (i % (block->dim + block->state_width) >= block->dim) block->values[i] = 0;
      }
      return block;
    }
  };
};

// Takes every part of a checkpoint for that of the one that it goes on from: of an increment only what changed comes back.
class RestoresTheLastPartAlone : public Tamper {
 public:
  std::unique_ptr<CheckpointIo> WrapIo(const std::string&, CheckpointIo& io) override { return std::make_unique<Io>(io); }

 private:
  class Io : public PassingIo {
   public:
    using PassingIo::PassingIo;
    void BeginReading(Files files) override {
      const uint64_t last = files.files.empty() ? 0 : files.files.back().checkpoint;
      std::erase_if(files.files, [&](const Files::File& file) { return file.checkpoint != last; });
      io_.BeginReading(std::move(files));
    }
  };
};

// A restore that leaves the sessions of before open: what they push goes into the restored tables. Done by way of sessions of
// its own, since the shard has closed those.
class KeepsOldSessions : public Tamper {
 public:
  void OnMessage(Shard& shard, const std::string&, const Message& message, absl::Time now, Outbox& outbox) override {
    const Body::Reader body = BodyOf(message);
    if (body.isRestoreRows()) {
      for (const auto table : body.getRestoreRows().getTables()) now_[table.getFrom()] = table.getTo();
    }
    if (body.isCreateTables()) {
      for (const auto table : body.getCreateTables().getDefinitions()) {
        uint64_t& trial = trials_[table.getNumber()];
        if (std::sscanf(table.getName().cStr(), "t%lu/", &trial) != 1) trial = 0;
      }
    }
    const std::optional<uint64_t> trial = body.isPush() ? TrialNow(body.getPush()) : std::nullopt;
    if (!trial.has_value()) return shard.OnMessage(message, now, outbox);
    const uint64_t session = ++last_session_;
    Capture unheard;
    OutgoingMessagePtr open = NewRequest(kTampered, shard.view_number(), 1, absl::ZeroDuration());
    open->envelope().getBody().initOpenSession().setSession(session);
    open->envelope().getBody().getOpenSession().setTrial(*trial);
    shard.OnMessage(Deliver("tamper", *open).value(), now, unheard);
    const auto edit = [&](wire::Envelope::Builder envelope) {
      envelope.setView(shard.view_number());
      envelope.getBody().getPush().setSession(session);
      envelope.getBody().getPush().setSequence(1);
      for (auto section : envelope.getBody().getPush().getSections()) section.setTable(Now(section.getTable()));
    };
    shard.OnMessage(RewrittenEnvelope(message, edit), now, outbox);
  }

 private:
  // A trial may have gone back more than once.
  TableNumber Now(TableNumber table) const {
    for (auto to = now_.find(table); to != now_.end(); to = now_.find(table)) table = to->second;
    return table;
  }
  // Of the tables that a push to those of before goes to.
  std::optional<uint64_t> TrialNow(wire::Push::Reader push) const {
    for (const auto section : push.getSections()) {
      const auto trial = trials_.find(Now(section.getTable()));
      if (now_.contains(section.getTable()) && trial != trials_.end()) return trial->second;
    }
    return std::nullopt;
  }

  std::map<TableNumber, TableNumber> now_;  // of tables that were restored into others
  std::map<TableNumber, uint64_t> trials_;  // by table
  uint64_t last_session_ = uint64_t{1} << 40U;
};

template <typename Bug>
PlantedBug Planted(std::string name, std::string found_as, bool one_copy = false) {
  return {.name = std::move(name),
          .found_as = std::move(found_as),
          .one_copy = one_copy,
          .checkpoints = true,
          .edits = false,
          .make = [] { return std::make_unique<Bug>(); }};
}

}  // namespace

std::vector<PlantedBug> CheckpointBugs() {
  return {
      Planted<KeepsNoOldRows>("keeps_no_old_rows", "the files of [0-9]+: .* at the cut"),
      Planted<CutsLate>("cuts_late", "the files of [0-9]+: .* at the cut"),
      Planted<MissesChangedRows>("misses_changed_rows", "the files of [0-9]+: .* at the cut"),
      Planted<ManifestComesFirst>("manifest_comes_first", "gets its manifest, and .* is not on the disk"),
      Planted<RenamesBeforeItFlushes>("renames_before_it_flushes", "gets its manifest, and .* is not on the disk"),
      Planted<FlushesNoFolders>("flushes_no_folders", "gets its manifest, and .* is not on the disk"),
      Planted<ForgetsOptimizerState>("forgets_optimizer_state", "restored from [0-9]+: .* at the cut"),
      Planted<RestoresTheLastPartAlone>("restores_the_last_part_alone", "restored from [0-9]+: .* at the cut"),
      Planted<KeepsOldSessions>("keeps_old_sessions", "which it had closed|nobody pushed|was applied 2 times",
                                /*one_copy=*/true),
  };
}

}  // namespace marquee::simulation
