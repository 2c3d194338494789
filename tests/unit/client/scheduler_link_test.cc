#include "worker/client/scheduler_link.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "tests/unit/client/fake_network.h"

namespace marquee {
namespace {

using Body = wire::Envelope::Body;
using Code = wire::Error::Code;

constexpr uint64_t kLeft = std::numeric_limits<uint64_t>::max();

class SchedulerLinkTest : public testing::Test {
 protected:
  // What was sent since the last call and is of this kind.
  std::vector<Sent> Take(Body::Which which) {
    std::vector<Sent> found;
    for (Sent& sent : outbox_.Take()) {
      EXPECT_EQ(sent.to, "scheduler");
      if (sent.Is(which)) found.push_back(std::move(sent));
    }
    return found;
  }
  Sent TakeOne(Body::Which which) {
    std::vector<Sent> found = Take(which);
    EXPECT_EQ(found.size(), 1) << BodyName(which);
    return found.at(0);
  }
  template <typename Fill>
  void Answer(const Sent& sent, Fill&& fill) {
    link_.OnMessage(ReplyTo(sent, fill), now_, outbox_);
  }
  void Refuse(const Sent& sent, Code code) { link_.OnMessage(ErrorTo(sent, code), now_, outbox_); }

  static void Registered(Body::Builder body) {
    auto registered = body.initRegistered();
    registered.setClusterId(7);
    registered.setHeartbeatMicros(1'000'000);
    registered.setLeaseMicros(10'000'000);
  }
  // Registers; the assignment and the view are asked for in the same breath.
  Sent Register() {
    link_.OnTimer(now_, outbox_);
    Answer(TakeOne(Body::REGISTER), Registered);
    EXPECT_TRUE(link_.registered());
    return TakeOne(Body::GET_ASSIGNMENT);
  }
  static void Assign(Body::Builder body) {
    auto trial = body.initAssignment().initTrial();
    trial.setTrial(4);
    trial.setName("retrieval-1");
    trial.setSession(21);
    trial.setRank(1);
    trial.setWorkers(2);
    trial.setSpec("name: retrieval-1");
  }
  void Start() {
    Answer(Register(), Assign);
    ASSERT_TRUE(link_.assignment().has_value());
  }
  void Clocks(uint64_t session, uint64_t slowest, std::vector<uint64_t> clocks) {
    OutgoingMessagePtr message = NewRequest(kOther, 1, 0, absl::ZeroDuration());
    FillClocks(message->envelope().getBody(), session, slowest, clocks);
    link_.OnMessage(Deliver("scheduler", *message).value(), now_, outbox_);
  }
  static void FillClocks(Body::Builder body, uint64_t session, uint64_t slowest, const std::vector<uint64_t>& clocks) {
    auto builder = body.initClocks();
    builder.setTrial(4);
    builder.setSession(session);
    builder.setSlowest(slowest);
    auto list = builder.initClocks(static_cast<uint32_t>(clocks.size()));
    for (uint32_t i = 0; i < clocks.size(); ++i) list.set(i, clocks[i]);
  }
  void Later(double seconds) {
    now_ += absl::Seconds(seconds);
    link_.OnTimer(now_, outbox_);
  }

  absl::Time now_ = At(0);
  FakeOutbox outbox_;
  SchedulerLink link_{Identity{.name = "w1", .incarnation = 3},
                      Registration{.host = "h", .process_id = 12, .metrics_endpoint = "127.0.0.1:9100", .data_checksum = 77},
                      "scheduler"};
};

TEST_F(SchedulerLinkTest, RegistersUntilItIsAnswered) {
  EXPECT_LE(link_.next_timer(), now_);
  link_.OnTimer(now_, outbox_);
  const Sent sent = TakeOne(Body::REGISTER);
  const auto body = sent.body().getRegister();
  EXPECT_EQ(body.getRole(), wire::Register::Role::WORKER);
  EXPECT_EQ(std::string(body.getName().cStr()), "w1");
  EXPECT_EQ(std::string(body.getHost().cStr()), "h");
  EXPECT_EQ(std::string(body.getMetricsEndpoint().cStr()), "127.0.0.1:9100");
  EXPECT_EQ(body.getProcessId(), 12);
  EXPECT_EQ(body.getDataChecksum(), 77);
  now_ = link_.next_timer();
  link_.OnTimer(now_, outbox_);
  EXPECT_EQ(TakeOne(Body::REGISTER).Bytes(), sent.Bytes());
  EXPECT_FALSE(link_.registered());
  EXPECT_EQ(link_.last_heard(), absl::InfinitePast());
  Answer(sent, Registered);
  EXPECT_TRUE(link_.registered());
  EXPECT_EQ(link_.last_heard(), now_);
}

TEST_F(SchedulerLinkTest, ARefusalForGoodIsItsStatusAndEndsTheTalk) {
  link_.OnTimer(now_, outbox_);
  Refuse(TakeOne(Body::REGISTER), Code::DATA_MISMATCH);
  EXPECT_EQ(link_.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(link_.status().message()), testing::HasSubstr("dataMismatch"));
  EXPECT_EQ(link_.next_timer(), absl::InfiniteFuture());
  Later(100);
  EXPECT_TRUE(outbox_.Take().empty());
}

TEST_F(SchedulerLinkTest, HeartbeatsComeAsOftenAsAskedFor) {
  Register();
  int heartbeats = 0;
  for (int i = 0; i < 100; ++i) {
    Later(0.1);
    for (const Sent& sent : Take(Body::HEARTBEAT)) {
      ++heartbeats;
      if (heartbeats > 3) Answer(sent, [](Body::Builder body) { body.initHeartbeatReply(); });
    }
  }
  EXPECT_GE(heartbeats, 9);
  EXPECT_LE(heartbeats, 10);
}

TEST_F(SchedulerLinkTest, FetchesTheViewWhenANewerOneIsNamed) {
  link_.OnTimer(now_, outbox_);
  Answer(TakeOne(Body::REGISTER), Registered);
  const Sent first = TakeOne(Body::GET_VIEW);
  Refuse(first, Code::NOT_YET);
  Later(0.1);
  const auto view = [](uint64_t number, uint64_t cluster = 7) {
    return [=](Body::Builder body) { MakeEvenView(number, cluster, {"a", "b"}, 8).ToWire(body.initView()); };
  };
  const Sent second = TakeOne(Body::GET_VIEW);
  EXPECT_NE(second.envelope().getRequestId(), first.envelope().getRequestId());
  Answer(second, view(1, 8));  // another cluster's
  EXPECT_EQ(link_.view().number, 0);
  Answer(second, view(1));
  EXPECT_EQ(link_.view().number, 1);
  Later(1);
  Answer(TakeOne(Body::HEARTBEAT), [](Body::Builder body) { body.initHeartbeatReply().setView(3); });
  Answer(TakeOne(Body::GET_VIEW), view(3));
  EXPECT_EQ(link_.view().number, 3);
  link_.WantView(2);
  EXPECT_TRUE(Take(Body::GET_VIEW).empty());
  link_.WantView(4);
  Later(0);
  Answer(TakeOne(Body::GET_VIEW), view(3));  // not made yet: asked again, but not at once
  EXPECT_TRUE(Take(Body::GET_VIEW).empty());
  Later(1);
  Answer(TakeOne(Body::GET_VIEW), view(4));
  EXPECT_EQ(link_.view().number, 4);
}

TEST_F(SchedulerLinkTest, PollsForAnAssignment) {
  Sent sent = Register();
  for (int i = 0; i < 3; ++i) {
    Answer(sent, [](Body::Builder body) { body.initAssignment().setNone(200'000); });
    EXPECT_TRUE(Take(Body::GET_ASSIGNMENT).empty());
    Later(0.2);
    sent = TakeOne(Body::GET_ASSIGNMENT);
  }
  Answer(sent, Assign);
  ASSERT_TRUE(link_.assignment().has_value());
  EXPECT_EQ(link_.assignment()->trial, 4);
  EXPECT_EQ(link_.assignment()->name, "retrieval-1");
  EXPECT_EQ(link_.assignment()->session, 21);
  EXPECT_EQ(link_.assignment()->rank, 1);
  EXPECT_EQ(link_.assignment()->workers, 2);
  EXPECT_EQ(link_.assignment()->spec, "name: retrieval-1");
  Later(5);
  EXPECT_TRUE(Take(Body::GET_ASSIGNMENT).empty());
}

TEST_F(SchedulerLinkTest, ShutdownEndsIt) {
  Answer(Register(), [](Body::Builder body) { body.initAssignment().setShutdown(); });
  EXPECT_TRUE(link_.shutdown());
  EXPECT_TRUE(link_.status().ok());
  EXPECT_EQ(link_.next_timer(), absl::InfiniteFuture());
}

TEST_F(SchedulerLinkTest, AnAssignmentThatMakesNoSenseIsAskedForAgain) {
  const Sent sent = Register();
  Answer(sent, [](Body::Builder body) {
    Assign(body);
    body.getAssignment().getTrial().setRank(2);
  });
  Answer(sent, [](Body::Builder body) {
    Assign(body);
    body.getAssignment().getTrial().setWorkers(4'000'000'000);
  });
  Answer(sent, [](Body::Builder body) {
    Assign(body);
    body.getAssignment().getTrial().setSession(0);
  });
  Answer(sent, [](Body::Builder body) { body.setOk(); });
  EXPECT_FALSE(link_.assignment().has_value());
  EXPECT_EQ(link_.counters().malformed, 4);
  Later(1);
  Answer(TakeOne(Body::GET_ASSIGNMENT), Assign);
  EXPECT_TRUE(link_.assignment().has_value());
}

TableDefinition Table(std::string name, uint32_t dim) {
  TableDefinition table;
  table.name = std::move(name);
  table.dim = dim;
  return table;
}

std::vector<TableDefinition> Proposal() { return {Table("users", 16), Table("movies", 8)}; }

TEST_F(SchedulerLinkTest, TablesAreAskedForUntilEveryShardHasThem) {
  Start();
  link_.DefineTables(Proposal(), now_, outbox_);
  const Sent sent = TakeOne(Body::DEFINE_TABLES);
  EXPECT_EQ(sent.body().getDefineTables().getSession(), 21);
  ASSERT_EQ(sent.body().getDefineTables().getDefinitions().size(), 2);
  Refuse(sent, Code::NOT_YET);
  EXPECT_FALSE(link_.tables().has_value());
  Later(0.1);
  const auto tables = [](uint32_t first, const char* second, uint32_t dim) {
    return [=](Body::Builder body) {
      auto defined = Proposal();
      defined[0].number = first;
      defined[1].number = 11;
      defined[0].name = "t4/users";
      defined[1].name = second;
      defined[1].dim = dim;
      auto list = body.initTables().initDefinitions(2);
      for (uint32_t i = 0; i < 2; ++i) defined[i].ToWire(list[i]);
    };
  };
  const Sent again = TakeOne(Body::DEFINE_TABLES);
  Answer(again, tables(0, "t4/movies", 8));
  Answer(again, tables(10, "t4/films", 8));
  Answer(again, tables(10, "t4/movies", 9));
  Answer(again, [](Body::Builder body) { body.initTables().initDefinitions(1); });
  EXPECT_FALSE(link_.tables().has_value());
  Answer(again, tables(10, "t4/movies", 8));
  EXPECT_FALSE(link_.tables().has_value()) << "made in a view that has yet to come: a shard of the one before may lack them";
  Later(1);
  Answer(Take(Body::GET_VIEW).back(), [](Body::Builder body) { MakeEvenView(1, 7, {"a", "b"}, 8).ToWire(body.initView()); });
  ASSERT_TRUE(link_.tables().has_value());
  EXPECT_EQ(link_.tables()->at(0).number, 10);
  EXPECT_EQ(link_.tables()->at(1).number, 11);
}

TEST_F(SchedulerLinkTest, TablesRefusedForGoodFailTheTrial) {
  Start();
  link_.DefineTables(Proposal(), now_, outbox_);
  Refuse(TakeOne(Body::DEFINE_TABLES), Code::CONFLICT);
  const Sent failed = TakeOne(Body::TRIAL_FAILED);
  EXPECT_EQ(failed.body().getTrialFailed().getSession(), 21);
  EXPECT_THAT(std::string(failed.body().getTrialFailed().getReason().cStr()), testing::HasSubstr("conflict"));
  EXPECT_FALSE(link_.session_lost());
  Answer(failed, [](Body::Builder body) { body.setOk(); });
  EXPECT_TRUE(link_.session_lost());
}

TEST_F(SchedulerLinkTest, WorkIsAskedForOnceAndTakenOnce) {
  Start();
  link_.RequestWork(now_, outbox_);
  link_.RequestWork(now_, outbox_);
  const Sent first = TakeOne(Body::GET_WORK);
  EXPECT_EQ(first.body().getGetWork().getSession(), 21);
  Answer(first, [](Body::Builder body) { body.initWork().setWait(300'000); });
  EXPECT_FALSE(link_.TakeWork().has_value());
  Later(0.3);
  const Sent second = TakeOne(Body::GET_WORK);
  EXPECT_NE(second.envelope().getRequestId(), first.envelope().getRequestId());
  const auto chunk = [](uint64_t next) {
    return [=](Body::Builder body) {
      auto train = body.initWork().initTrain();
      train.setNumber(8);
      train.setEpoch(2);
      train.setBegin(100);
      train.setEnd(200);
      train.setNext(next);
    };
  };
  Answer(second, chunk(201));
  EXPECT_FALSE(link_.TakeWork().has_value());
  Answer(second, chunk(150));
  const auto work = link_.TakeWork();
  ASSERT_TRUE(work.has_value());
  const auto& train = std::get<TrainChunk>(*work);
  EXPECT_EQ(train.number, 8);
  EXPECT_EQ(train.epoch, 2);
  EXPECT_EQ(train.begin, 100);
  EXPECT_EQ(train.end, 200);
  EXPECT_EQ(train.next, 150);
  Answer(second, chunk(150));  // the answer to a request that was sent twice
  EXPECT_FALSE(link_.TakeWork().has_value());
}

TEST_F(SchedulerLinkTest, EveryKindOfWork) {
  Start();
  link_.RequestWork(now_, outbox_);
  Answer(TakeOne(Body::GET_WORK), [](Body::Builder body) {
    auto evaluate = body.initWork().initEvaluate();
    evaluate.setEvaluation(3);
    evaluate.setPart(wire::EvaluationChunk::Part::TEST);
    evaluate.setChunk(5);
    evaluate.setBegin(10);
    evaluate.setEnd(20);
  });
  const auto evaluate = std::get<EvaluationChunk>(link_.TakeWork().value());
  EXPECT_TRUE(evaluate.test);
  EXPECT_EQ(evaluate.evaluation, 3);
  EXPECT_EQ(evaluate.chunk, 5);
  EXPECT_EQ(evaluate.begin, 10);
  EXPECT_EQ(evaluate.end, 20);
  link_.RequestWork(now_, outbox_);
  Answer(TakeOne(Body::GET_WORK), [](Body::Builder body) { body.initWork().setBarrier(); });
  EXPECT_TRUE(std::holds_alternative<BarrierWork>(link_.TakeWork().value()));
  link_.RequestWork(now_, outbox_);
  Answer(TakeOne(Body::GET_WORK), [](Body::Builder body) { body.initWork().setDone(); });
  EXPECT_TRUE(std::holds_alternative<DoneWork>(link_.TakeWork().value()));
}

TEST_F(SchedulerLinkTest, TheNewestTickIsToldUntilItIsConfirmed) {
  Start();
  EXPECT_TRUE(link_.tick_confirmed());
  link_.SetTick({.clock = 1, .chunks = {{.number = 8, .next = 50}}, .examples = 50, .loss_sum = 2.5}, now_, outbox_);
  const Sent first = TakeOne(Body::TICK);
  EXPECT_EQ(first.body().getTick().getSession(), 21);
  EXPECT_EQ(first.body().getTick().getClock(), 1);
  EXPECT_EQ(first.body().getTick().getChunks()[0].getNumber(), 8);
  EXPECT_EQ(first.body().getTick().getChunks()[0].getNext(), 50);
  EXPECT_EQ(first.body().getTick().getExamples(), 50);
  EXPECT_EQ(first.body().getTick().getLossSum(), 2.5);
  EXPECT_FALSE(first.body().getTick().getDrained());
  link_.SetTick({.clock = 2, .drained = true, .pull_seconds = 1, .compute_seconds = 2, .push_seconds = 3}, now_, outbox_);
  const Sent second = TakeOne(Body::TICK);
  EXPECT_TRUE(second.body().getTick().getDrained());
  EXPECT_EQ(second.body().getTick().getComputeSeconds(), 2);
  Answer(first, [](Body::Builder body) { FillClocks(body, 21, 1, {3, 1}); });
  EXPECT_FALSE(link_.tick_confirmed());
  EXPECT_EQ(link_.slowest_clock(), 1);
  Later(1);
  EXPECT_EQ(TakeOne(Body::TICK).Bytes(), second.Bytes());
  Answer(second, [](Body::Builder body) { FillClocks(body, 21, 2, {3, 2}); });
  EXPECT_TRUE(link_.tick_confirmed());
  EXPECT_EQ(link_.slowest_clock(), 2);
}

// A worker that waits for others' clocks asks nothing else.
TEST_F(SchedulerLinkTest, AWaitingWorkerHearsOfClocksAndOfTheEndOfItsSession) {
  Start();
  EXPECT_TRUE(Take(Body::TICK).empty());
  Later(1);
  const Sent first = TakeOne(Body::TICK);
  EXPECT_EQ(first.body().getTick().getClock(), 0);
  Answer(first, [](Body::Builder body) { FillClocks(body, 21, 0, {0, 5}); });
  link_.SetTick({.clock = 1}, now_, outbox_);
  Answer(TakeOne(Body::TICK), [](Body::Builder body) { FillClocks(body, 21, 0, {0, 6}); });
  EXPECT_TRUE(link_.tick_confirmed());
  EXPECT_TRUE(Take(Body::TICK).empty());
  Later(1);
  const Sent second = TakeOne(Body::TICK);
  EXPECT_EQ(second.body().getTick().getClock(), 1);
  Answer(second, [](Body::Builder body) { FillClocks(body, 21, 1, {1, 7}); });
  EXPECT_EQ(link_.slowest_clock(), 1);
  EXPECT_TRUE(link_.tick_confirmed());
  Later(1);
  Refuse(TakeOne(Body::TICK), Code::UNKNOWN_SESSION);
  EXPECT_TRUE(link_.session_lost());
}

TEST_F(SchedulerLinkTest, ClocksNeverGoBackAndAreOfThisSession) {
  Clocks(21, 5, {5, 5});  // before there is a session
  Start();
  EXPECT_EQ(link_.slowest_clock(), 0);
  EXPECT_THAT(link_.clocks(), testing::ElementsAre(0, 0));
  Clocks(21, 3, {3, 6});
  Clocks(20, 9, {9, 9});
  Clocks(21, 9, {9, 9, 9});
  Clocks(21, 2, {4, 2});
  EXPECT_EQ(link_.slowest_clock(), 3);
  EXPECT_THAT(link_.clocks(), testing::ElementsAre(4, 6));
  Clocks(21, 6, {kLeft, 6});
  EXPECT_THAT(link_.clocks(), testing::ElementsAre(kLeft, 6));
  Clocks(21, 6, {6, 7});  // another worker took the rank
  EXPECT_THAT(link_.clocks(), testing::ElementsAre(6, 7));
}

TEST_F(SchedulerLinkTest, ReportsAreEachToldUntilConfirmed) {
  Start();
  link_.Report({.evaluation = 1, .chunk = 1, .examples = 10, .sums = {{.name = "top_100", .sum = 3, .weight = 10}}}, now_,
               outbox_);
  link_.Report({.evaluation = 1, .chunk = 2}, now_, outbox_);
  const std::vector<Sent> sent = Take(Body::EVALUATED);
  ASSERT_EQ(sent.size(), 2);
  const auto evaluated = sent[0].body().getEvaluated();
  EXPECT_EQ(evaluated.getSession(), 21);
  EXPECT_EQ(evaluated.getExamples(), 10);
  EXPECT_EQ(std::string(evaluated.getSums()[0].getName().cStr()), "top_100");
  EXPECT_EQ(evaluated.getSums()[0].getSum(), 3);
  EXPECT_EQ(evaluated.getSums()[0].getWeight(), 10);
  Answer(sent[0], [](Body::Builder body) { body.setOk(); });
  EXPECT_EQ(link_.reports_pending(), 1);
  Later(1);
  const Sent again = TakeOne(Body::EVALUATED);
  EXPECT_EQ(again.Bytes(), sent[1].Bytes());
  Answer(again, [](Body::Builder body) { body.setOk(); });
  EXPECT_EQ(link_.reports_pending(), 0);
}

TEST_F(SchedulerLinkTest, ALostSessionIsGivenUpWhole) {
  for (const Code code : {Code::UNKNOWN_SESSION, Code::CANCELLED}) {
    if (!link_.registered()) Start();
    link_.RequestWork(now_, outbox_);
    link_.Report({.evaluation = 1}, now_, outbox_);
    link_.SetTick({.clock = 4}, now_, outbox_);
    Refuse(TakeOne(Body::TICK), code);
    EXPECT_TRUE(link_.session_lost());
    EXPECT_TRUE(link_.status().ok());
    EXPECT_EQ(link_.reports_pending(), 0);
    link_.RequestWork(now_, outbox_);
    link_.SetTick({.clock = 5}, now_, outbox_);
    Later(1.5);
    for (const Sent& sent : outbox_.Take()) EXPECT_TRUE(sent.Is(Body::HEARTBEAT) || sent.Is(Body::GET_VIEW));
    link_.FinishSession(now_, outbox_);
    EXPECT_FALSE(link_.session_lost());
    EXPECT_FALSE(link_.assignment().has_value());
    Answer(TakeOne(Body::GET_ASSIGNMENT), Assign);
    EXPECT_EQ(link_.slowest_clock(), 0);
  }
}

TEST_F(SchedulerLinkTest, ASchedulerThatDoesNotKnowUsIsRegisteredWithAgainAndAskedAgain) {
  Start();
  link_.RequestWork(now_, outbox_);
  const Sent work = TakeOne(Body::GET_WORK);
  link_.Report({.evaluation = 1}, now_, outbox_);
  Refuse(work, Code::UNKNOWN_INCARNATION);
  EXPECT_FALSE(link_.registered());
  const std::vector<Sent> sent = outbox_.Take();
  const Sent& again = sent.back();
  ASSERT_TRUE(again.Is(Body::REGISTER));
  EXPECT_EQ(again.envelope().getIncarnation(), 3);
  Later(5);
  for (const Sent& one : outbox_.Take()) EXPECT_TRUE(one.Is(Body::REGISTER));
  Answer(again, Registered);
  EXPECT_TRUE(link_.registered());
  std::vector<Body::Which> kinds;
  for (const Sent& one : outbox_.Take()) kinds.push_back(one.body().which());
  EXPECT_THAT(kinds, testing::IsSupersetOf({Body::GET_WORK, Body::EVALUATED}));
  EXPECT_THAT(kinds, testing::Not(testing::Contains(Body::GET_ASSIGNMENT)));
  EXPECT_TRUE(link_.assignment().has_value());
}

TEST_F(SchedulerLinkTest, AnotherClusterIsRefused) {
  Start();
  link_.RequestWork(now_, outbox_);
  Refuse(TakeOne(Body::GET_WORK), Code::UNKNOWN_INCARNATION);
  Answer(TakeOne(Body::REGISTER), [](Body::Builder body) {
    Registered(body);
    body.getRegistered().setClusterId(8);
  });
  EXPECT_EQ(link_.status().code(), absl::StatusCode::kFailedPrecondition);
}

TEST_F(SchedulerLinkTest, AFailedTrialIsToldUntilConfirmed) {
  Start();
  link_.FailTrial("the loss is NaN", now_, outbox_);
  const Sent failed = TakeOne(Body::TRIAL_FAILED);
  EXPECT_EQ(std::string(failed.body().getTrialFailed().getReason().cStr()), "the loss is NaN");
  Later(1);
  EXPECT_EQ(TakeOne(Body::TRIAL_FAILED).Bytes(), failed.Bytes());
  Answer(failed, [](Body::Builder body) { body.setOk(); });
  EXPECT_TRUE(link_.session_lost());
}

TEST_F(SchedulerLinkTest, NothingIsTakenFromStrangers) {
  link_.OnTimer(now_, outbox_);
  Sent sent = TakeOne(Body::REGISTER);
  sent.to = "somebody else";
  Answer(sent, Registered);
  EXPECT_FALSE(link_.registered());
  sent.to = "scheduler";
  Answer(sent, [](Body::Builder body) { body.setOk(); });
  EXPECT_FALSE(link_.registered());
  EXPECT_EQ(link_.counters().malformed, 1);
}

}  // namespace
}  // namespace marquee
