#include "tests/simulation/tamper.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <set>
#include <utility>

#include "tests/simulation/checkpoint_tamper.h"
#include "tests/simulation/rewrite.h"

namespace marquee::simulation {
namespace {

void AnswerPushed(const Message& push, uint64_t sequence, bool duplicate, Outbox& outbox) {
  OutgoingMessagePtr reply = NewReply(kTampered, push.envelope().getView(), push);
  auto pushed = reply->envelope().getBody().initPushed();
  pushed.setSequence(sequence);
  pushed.setDuplicate(duplicate);
  outbox.Send(push.from(), std::move(reply));
}

// Acknowledges each push at once, and applies it two messages later.
class AcknowledgesBeforeItApplies : public Tamper {
 public:
  void OnMessage(Shard& shard, const std::string& endpoint, const Message& message, absl::Time now, Outbox& outbox) override {
    std::vector<Message>& waiting = waiting_[endpoint];
    if (waiting.size() >= 2) {
      Capture unheard;
      for (const Message& push : std::exchange(waiting, {})) shard.OnMessage(push, now, unheard);
    }
    if (!BodyOf(message).isPush()) return shard.OnMessage(message, now, outbox);
    AnswerPushed(message, BodyOf(message).getPush().getSequence(), false, outbox);
    waiting.push_back(Copied(message));
  }

 private:
  std::map<std::string, std::vector<Message>> waiting_;
};

// Acknowledges one push in fifty without applying it at all.
class LosesPushes : public Tamper {
 public:
  void OnMessage(Shard& shard, const std::string&, const Message& message, absl::Time now, Outbox& outbox) override {
    if (!BodyOf(message).isPush() || ++pushes_ % 50 != 0) return shard.OnMessage(message, now, outbox);
    AnswerPushed(message, BodyOf(message).getPush().getSequence(), false, outbox);
  }

 private:
  uint64_t pushes_ = 0;
};

// Remembers 63 sequences of a session in place of 64: a copy of the oldest one is applied again. Done by way of a session of
// its own, of which the shard knows nothing yet.
class RemembersOneTooFew : public Tamper {
 public:
  void OnMessage(Shard& shard, const std::string& endpoint, const Message& message, absl::Time now, Outbox& outbox) override {
    const Body::Reader body = BodyOf(message);
    if (body.isOpenSession()) trials_[body.getOpenSession().getSession()] = body.getOpenSession().getTrial();
    if (!body.isPush()) return shard.OnMessage(message, now, outbox);
    const uint64_t sequence = body.getPush().getSequence();
    std::set<uint64_t>& seen = seen_[{endpoint, body.getPush().getSession()}];
    const bool forgotten = !seen.insert(sequence).second && *seen.rbegin() - sequence >= 63;
    if (!forgotten) return shard.OnMessage(message, now, outbox);
    const uint64_t other_session = ++last_session_;
    Capture unheard;
    OutgoingMessagePtr open = NewRequest(kTampered, shard.view_number(), 1, absl::ZeroDuration());
    open->envelope().getBody().initOpenSession().setSession(other_session);
    open->envelope().getBody().getOpenSession().setTrial(trials_[body.getPush().getSession()]);
    shard.OnMessage(Deliver("tamper", *open).value(), now, unheard);
    shard.OnMessage(Rewritten(message, [&](Body::Builder push) { push.getPush().setSession(other_session); }), now, outbox);
  }

 private:
  std::map<uint64_t, uint64_t> trials_;  // by session
  std::map<std::pair<std::string, uint64_t>, std::set<uint64_t>> seen_;
  uint64_t last_session_ = uint64_t{1} << 40U;
};

// A client that gives a push that it sends again the next number.
class RenumbersResends : public Tamper {
 public:
  void OnMessage(Shard& shard, const std::string& endpoint, const Message& message, absl::Time now, Outbox& outbox) override {
    const Body::Reader body = BodyOf(message);
    if (!body.isPush()) return shard.OnMessage(message, now, outbox);
    const uint64_t session = body.getPush().getSession();
    const uint64_t sequence = body.getPush().getSequence();
    uint64_t& shift = shifts_[{endpoint, session}];
    if (!seen_.insert({endpoint, session, message.envelope().getRequestId()}).second) ++shift;
    Capture answer;
    shard.OnMessage(Rewritten(message, [&](Body::Builder push) { push.getPush().setSequence(sequence + shift); }), now, answer);
    const Capture::Sent& sent = answer.sent().at(0);
    if (!sent.message->envelope().getBody().isPushed()) return outbox.Send(sent.to, sent.message);
    AnswerPushed(message, sequence, false, outbox);
  }

 private:
  std::map<std::pair<std::string, uint64_t>, uint64_t> shifts_;
  std::set<std::tuple<std::string, uint64_t, uint64_t>> seen_;
};

// A client that leaves an id out of one push in twenty, and not its gradient: all later ones go to their neighbour's row.
class ShiftsGradients : public Tamper {
 public:
  void OnMessage(Shard& shard, const std::string&, const Message& message, absl::Time now, Outbox& outbox) override {
    if (!BodyOf(message).isPush() || ++pushes_ % 20 != 0) return shard.OnMessage(message, now, outbox);
    const Message shifted = Rewritten(message, [](Body::Builder body) {
      for (auto section : body.getPush().getSections()) {
        const uint32_t count = section.getCount() - 1;
        if (count == 0) continue;
        section.setCount(count);
        const std::string ids(section.getIds().asChars().begin() + sizeof(Id), count * sizeof(Id));
        const std::string gradients(section.getGradients().asChars().begin(), count * section.getDim() * sizeof(float));
        std::memcpy(section.initIds(static_cast<uint32_t>(ids.size())).begin(), ids.data(), ids.size());
        std::memcpy(section.initGradients(static_cast<uint32_t>(gradients.size())).begin(), gradients.data(), gradients.size());
      }
    });
    shard.OnMessage(shifted, now, outbox);
  }

 private:
  uint64_t pushes_ = 0;
};

// Applies only the first table of a push.
class AppliesHalf : public Tamper {
 public:
  void OnMessage(Shard& shard, const std::string&, const Message& message, absl::Time now, Outbox& outbox) override {
    if (!BodyOf(message).isPush() || BodyOf(message).getPush().getSections().size() < 2 || ++pushes_ % 20 != 0) {
      return shard.OnMessage(message, now, outbox);
    }
    shard.OnMessage(Rewritten(message, [](Body::Builder body) { Truncate(body.getPush().getSections()[1]); }), now, outbox);
  }

 private:
  static void Truncate(wire::PushSection::Builder section) {
    section.setCount(0);
    section.initIds(0);
    section.initGradients(0);
  }
  uint64_t pushes_ = 0;
};

// Answers that a session is closed, and goes on taking its pushes.
class LeavesSessionsOpen : public Tamper {
 public:
  void OnMessage(Shard& shard, const std::string&, const Message& message, absl::Time now, Outbox& outbox) override {
    if (!BodyOf(message).isCloseSession()) return shard.OnMessage(message, now, outbox);
    OutgoingMessagePtr reply = NewReply(kTampered, shard.view_number(), message);
    reply->envelope().getBody().setOk();
    outbox.Send(message.from(), std::move(reply));
  }
};

// A client that swaps the first two rows of one reply in fifty.
class SwapsRows : public Tamper {
 public:
  void OnMessage(Shard& shard, const std::string&, const Message& message, absl::Time now, Outbox& outbox) override {
    if (!BodyOf(message).isPull() || ++pulls_ % 50 != 0) return shard.OnMessage(message, now, outbox);
    Capture answer;
    shard.OnMessage(message, now, answer);
    const Capture::Sent& sent = answer.sent().at(0);
    if (sent.message->envelope().getBody().isRows()) {
      for (auto section : sent.message->envelope().getBody().getRows().getSections()) {
        const size_t row = section.getDim() * sizeof(float);
        auto values = section.getValues();
        if (section.getCount() >= 2) std::swap_ranges(values.begin(), values.begin() + row, values.begin() + row);
      }
    }
    outbox.Send(sent.to, sent.message);
  }

 private:
  uint64_t pulls_ = 0;
};

// Goes one slot too far after each step of a walk over a table.
class SkipsScannedRows : public Tamper {
 public:
  void OnMessage(Shard& shard, const std::string&, const Message& message, absl::Time now, Outbox& outbox) override {
    if (!BodyOf(message).isScanTable()) return shard.OnMessage(message, now, outbox);
    shard.OnMessage(
        Rewritten(message, [](Body::Builder body) { body.getScanTable().setSlot(body.getScanTable().getSlot() + 1); }), now,
        outbox);
  }
};

// ------------------------------------------------------------------------------------------------------- two copies

// A primary that acknowledges a push once it has applied it itself.
class AcknowledgesBeforeTheCopy : public Tamper {
 public:
  void OnMessage(Shard& shard, const std::string&, const Message& message, absl::Time now, Outbox& outbox) override {
    if (!BodyOf(message).isPush()) return shard.OnMessage(message, now, outbox);
    Capture said;
    shard.OnMessage(message, now, said);
    bool answered = false;
    for (const Capture::Sent& sent : said.sent()) {
      answered |= sent.to == message.from();
      outbox.Send(sent.to, sent.message);
    }
    if (!answered) AnswerPushed(message, BodyOf(message).getPush().getSequence(), false, outbox);
  }
};

// A copy that takes one forwarded push in twenty without applying it.
class LosesForwards : public Tamper {
 public:
  void OnMessage(Shard& shard, const std::string&, const Message& message, absl::Time now, Outbox& outbox) override {
    const bool push = BodyOf(message).isForward() && BodyOf(message).getForward().isPush();
    if (!push || ++pushes_ % 20 != 0) return shard.OnMessage(message, now, outbox);
    shard.OnMessage(Rewritten(message, [](Body::Builder body) { body.getForward().getPush().initPartitions(0); }), now, outbox);
  }

 private:
  uint64_t pushes_ = 0;
};

// A shard that takes what a primary forwards which a newer view has deposed.
class TakesForwardsOfOldViews : public Tamper {
 public:
  void OnMessage(Shard& shard, const std::string&, const Message& message, absl::Time now, Outbox& outbox) override {
    if (!BodyOf(message).isForward() || message.envelope().getView() >= shard.view_number()) {
      return shard.OnMessage(message, now, outbox);
    }
    const auto edit = [&](wire::Envelope::Builder envelope) { envelope.setView(shard.view_number()); };
    shard.OnMessage(RewrittenEnvelope(message, edit), now, outbox);
  }
};

// A primary that serves however long its copy has been silent.
class IgnoresItsLease : public Tamper {
 public:
  void OnMessage(Shard& shard, const std::string& endpoint, const Message& message, absl::Time now, Outbox& outbox) override {
    if (BodyOf(message).isForwarded()) answered_[endpoint] = now;
    const auto answered = answered_.find(endpoint);
    const bool serves = BodyOf(message).isPull() || BodyOf(message).isPush();
    shard.OnMessage(message, serves && answered != answered_.end() ? answered->second : now, outbox);
  }

 private:
  std::map<std::string, absl::Time> answered_;
};

// A copy that serves as soon as it is promoted, though the old primary may not know yet.
class ServesTooEarly : public Tamper {
 public:
  void OnMessage(Shard& shard, const std::string&, const Message& message, absl::Time now, Outbox& outbox) override {
    if (!BodyOf(message).isPull()) return shard.OnMessage(message, now, outbox);
    Capture said;
    shard.OnMessage(message, now, said);
    const Body::Reader answer = said.sent().at(0).message->envelope().asReader().getBody();
    if (!answer.isError() || answer.getError().getCode() != wire::Error::Code::NOT_YET) {
      return outbox.Send(said.sent()[0].to, said.sent()[0].message);
    }
    shard.OnMessage(message, now + absl::Hours(1), outbox);  // its own lease has run out by then, but for want of a copy
  }
};

// A copy that is filled without the windows.
class LosesWindows : public Tamper {
 public:
  void OnMessage(Shard& shard, const std::string&, const Message& message, absl::Time now, Outbox& outbox) override {
    if (!BodyOf(message).isForward() || !BodyOf(message).getForward().isWindows()) {
      return shard.OnMessage(message, now, outbox);
    }
    shard.OnMessage(Rewritten(message, [](Body::Builder body) { body.getForward().getWindows().initSessions(0); }), now,
                    outbox);
  }
};

// Leaves out the last row of each step of filling.
class FillsOneTooFew : public Tamper {
 public:
  void OnMessage(Shard& shard, const std::string&, const Message& message, absl::Time now, Outbox& outbox) override {
    if (!BodyOf(message).isForward() || !BodyOf(message).getForward().isRows()) return shard.OnMessage(message, now, outbox);
    const Message fewer = Rewritten(message, [](Body::Builder body) {
      auto rows = body.getForward().getRows();
      const uint32_t count = rows.getCount() - 1;
      const std::string ids(rows.getIds().asChars().begin(), count * sizeof(Id));
      const size_t width = (rows.getDim() + rows.getStateWidth()) * sizeof(float);
      const std::string values(rows.getRows().asChars().begin(), count * width);
      rows.setCount(count);
      std::memcpy(rows.initIds(static_cast<uint32_t>(ids.size())).begin(), ids.data(), ids.size());
      std::memcpy(rows.initRows(static_cast<uint32_t>(values.size())).begin(), values.data(), values.size());
    });
    shard.OnMessage(fewer, now, outbox);
  }
};

// A copy that is being filled, and does not take the pushes that come meanwhile.
class FillsWithoutPushes : public Tamper {
 public:
  void OnMessage(Shard& shard, const std::string& endpoint, const Message& message, absl::Time now, Outbox& outbox) override {
    if (!BodyOf(message).isForward() || !BodyOf(message).getForward().isPush()) return shard.OnMessage(message, now, outbox);
    const View& view = shard.view();
    const auto takes = [&](PartitionNumber p) { return view.fills[p] == kNoShard || view.shards[view.fills[p]] != endpoint; };
    const Message fewer = Rewritten(message, [&](Body::Builder body) {
      std::vector<uint32_t> kept;
      for (const uint32_t p : body.getForward().getPush().getPartitions()) {
        if (p >= view.partitions() || takes(p)) kept.push_back(p);
      }
      auto list = body.getForward().getPush().initPartitions(static_cast<uint32_t>(kept.size()));
      for (uint32_t i = 0; i < kept.size(); ++i) list.set(i, kept[i]);
    });
    shard.OnMessage(fewer, now, outbox);
  }
};

// Says that copies are whole while they are being filled.
class PraisesUnfilledCopies : public Tamper {
 public:
  void OnMessage(Shard& shard, const std::string& endpoint, const Message& message, absl::Time now, Outbox& outbox) override {
    if (!BodyOf(message).isGetFills()) return shard.OnMessage(message, now, outbox);
    const View& view = shard.view();
    std::vector<PartitionNumber> filling;
    for (PartitionNumber p = 0; p < view.partitions(); ++p) {
      if (view.fills[p] != kNoShard && view.shards[view.primaries[p]] == endpoint) filling.push_back(p);
    }
    OutgoingMessagePtr reply = NewReply(kTampered, view.number, message);
    auto fills = reply->envelope().getBody().initFills();
    fills.setView(view.number);
    auto list = fills.initFilled(static_cast<uint32_t>(filling.size()));
    for (uint32_t i = 0; i < filling.size(); ++i) list.set(i, filling[i]);
    outbox.Send(message.from(), std::move(reply));
  }
};

void AnswerOk(const Message& request, Outbox& outbox) {
  OutgoingMessagePtr reply = NewReply(kTampered, request.envelope().getView(), request);
  reply->envelope().getBody().setOk();
  outbox.Send(request.from(), std::move(reply));
}

// Says that it has yielded partitions, and goes on serving them.
class YieldsAndServes : public Tamper {
 public:
  void OnMessage(Shard& shard, const std::string&, const Message& message, absl::Time now, Outbox& outbox) override {
    BodyOf(message).isYield() ? AnswerOk(message, outbox) : shard.OnMessage(message, now, outbox);
  }
};

// Yields partitions, and says so before their backup has all.
class YieldsTooEarly : public Tamper {
 public:
  void OnMessage(Shard& shard, const std::string&, const Message& message, absl::Time now, Outbox& outbox) override {
    if (BodyOf(message).isYield() && message.envelope().getView() == shard.view_number()) AnswerOk(message, outbox);
    shard.OnMessage(message, now, outbox);
  }
};

// Takes a view that is meant for the process before it, whose rows it does not have.
class TakesAnothersPlace : public Tamper {
 public:
  void OnMessage(Shard& shard, const std::string&, const Message& message, absl::Time now, Outbox& outbox) override {
    if (!BodyOf(message).isInstallView()) return shard.OnMessage(message, now, outbox);
    Capture unheard;
    shard.OnMessage(Copied(message), now, unheard);
    const auto for_anybody = [](Body::Builder body) {
      wire::View::Builder view = body.getInstallView();
      if (view.getYou() < view.getProcesses().size()) view.getProcesses().set(view.getYou(), 0);
    };
    const bool taken = shard.view_number() >= BodyOf(message).getInstallView().getNumber();
    shard.OnMessage(taken ? Copied(message) : Rewritten(message, for_anybody), now, outbox);
  }
};

// A scheduler that says first what it notes afterwards: what it noted is what was so before.
class NotesTooLate : public Tamper {
 public:
  std::string OnNote(const std::string& key, const std::string& bytes) override {
    std::string& before = noted_[key];
    if (key.rfind("trial/", 0) != 0 || before.empty()) return before = bytes;
    return std::exchange(before, bytes);
  }

 private:
  std::map<std::string, std::string> noted_;
};

template <typename Bug>
PlantedBug PlantedInMoves(std::string name, std::string found_as) {
  return {.name = std::move(name),
          .found_as = std::move(found_as),
          .one_copy = false,
          .checkpoints = false,
          .edits = true,
          .make = [] { return std::make_unique<Bug>(); }};
}

template <typename Bug>
PlantedBug Planted(std::string name, std::string found_as, bool one_copy = false) {
  return {.name = std::move(name),
          .found_as = std::move(found_as),
          .one_copy = one_copy,
          .checkpoints = false,
          .edits = false,
          .make = [] { return std::make_unique<Bug>(); }};
}

std::vector<PlantedBug> AllBugs() {
  std::vector<PlantedBug> bugs = {
      Planted<AcknowledgesBeforeItApplies>("acknowledges_before_it_applies", "was acknowledged and is not there"),
      Planted<LosesPushes>("loses_pushes", "was acknowledged and is not there"),
      Planted<RemembersOneTooFew>("remembers_one_too_few", "was applied 2 times", /*one_copy=*/true),
      Planted<RenumbersResends>("renumbers_resends", "was applied 2 times", /*one_copy=*/true),
      Planted<ShiftsGradients>("shifts_gradients", "nobody pushed|is not there|was applied 2 times"),
      Planted<AppliesHalf>("applies_half", "was acknowledged and is not there"),
      Planted<LeavesSessionsOpen>("leaves_sessions_open", "which it had closed|was applied while|open sessions"),
      Planted<SwapsRows>("swaps_rows", "nobody pushed|is not there"),
      Planted<AcknowledgesBeforeTheCopy>("acknowledges_before_the_copy", "was acknowledged and is not there"),
      Planted<LosesForwards>("loses_forwards", "was acknowledged and is not there|is not that of its copy"),
      Planted<TakesForwardsOfOldViews>("takes_forwards_of_old_views", "was acknowledged and is not there|serves it under view"),
      Planted<IgnoresItsLease>("ignores_its_lease", "serves it under view"),
      Planted<ServesTooEarly>("serves_too_early", "serves it under view"),
      Planted<LosesWindows>("loses_windows", "was applied 2 times|window of session [0-9]+ of .* is not that of its copy"),
      Planted<FillsOneTooFew>("fills_one_too_few", "is not that of its copy|is not there"),
      Planted<FillsWithoutPushes>("fills_without_pushes", "is not that of its copy|is not there"),
      Planted<PraisesUnfilledCopies>("praises_unfilled_copies", "is not that of its copy|is not there"),
      PlantedInMoves<YieldsAndServes>("yields_and_serves", "serves it under view|is not that of its copy|is not there"),
      PlantedInMoves<YieldsTooEarly>("yields_too_early", "is not that of its copy|is not there"),
      Planted<TakesAnothersPlace>("takes_anothers_place", "is not that of its copy|is not there"),
      Planted<NotesTooLate>("notes_too_late", "was applied while|were trained again|was not done|is not there"),
      Planted<SkipsScannedRows>("skips_scanned_rows", "a row is missing|which it began with, is missing"),
  };
  for (PlantedBug& bug : CheckpointBugs()) bugs.push_back(std::move(bug));
  return bugs;
}

}  // namespace

const std::vector<PlantedBug>& PlantedBugs() {
  static const std::vector<PlantedBug> bugs = AllBugs();
  return bugs;
}

}  // namespace marquee::simulation
