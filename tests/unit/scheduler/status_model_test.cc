#include "scheduler/status_model.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/scheduler/coordinator_testing.h"

namespace marquee {
namespace {

using testing::Contains;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;
using Json = nlohmann::ordered_json;

const absl::Time kNoon = absl::FromUnixSeconds(1'800'000'000);

class StatusModelTest : public ::testing::Test {
 protected:
  StatusModelTest() {
    for (const char* name : {"s0", "s1"}) {
      ServerPlace place;
      place.name = name;
      cluster_.servers.push_back(place);
    }
    WorkerPlace worker;
    worker.name = "w0";
    cluster_.workers.push_back(worker);
    cluster_.checkpoints.emplace();
    sweep_.trials = {SmallTrial("a")};
    model_ = std::make_unique<StatusModel>("little", cluster_, sweep_, Leaderboard::Data{}, kNoon);
  }

  Json Look() {
    ++seconds_;
    model_->Look(harness_.coordinator(), harness_.now, kNoon + absl::Seconds(seconds_));
    return Json::parse(model_->Json(false));
  }
  std::vector<std::string> EventsOf(const Json& json) {
    std::vector<std::string> texts;
    for (const Json& event : json["events"]) texts.push_back(event["text"]);
    return texts;
  }
  void Begin() {
    ASSERT_TRUE(harness_.Start({SmallTrial("a")}).ok());
    harness_.RegisterServers();
  }

  Harness harness_;
  ClusterConfig cluster_;
  Sweep sweep_;
  std::unique_ptr<StatusModel> model_;
  int seconds_ = 0;
};

TEST_F(StatusModelTest, WaitsForServersFirst) {
  ASSERT_TRUE(harness_.Start({SmallTrial("a")}).ok());
  harness_.RegisterServer("s0");
  const Json json = Look();
  EXPECT_EQ(json["state"], "waiting");
  EXPECT_EQ(json["servers"][0]["state"], "alive");
  EXPECT_EQ(json["servers"][1]["state"], "awaited");
  EXPECT_EQ(json["problems"][0]["text"], "Waiting for servers: s1");
  EXPECT_EQ(StatusModel::Missing(harness_.coordinator(), cluster_), "servers that have not registered: s1");
}

TEST_F(StatusModelTest, ShowsATrialFromItsFirstStepToTheLeaderboard) {
  Begin();
  FakeWorker worker(harness_, "w0");
  worker.JoinAndDefine();
  ASSERT_TRUE(worker.GetWork().envelope().getBody().getWork().isTrain());
  worker.Train(0, 20);
  Json json = Look();
  EXPECT_EQ(json["state"], "running");
  EXPECT_THAT(json["problems"], IsEmpty());
  EXPECT_EQ(StatusModel::Missing(harness_.coordinator(), cluster_), "");
  EXPECT_EQ(json["workers"][0]["trial"], "a");
  EXPECT_EQ(json["servers"][0]["primary_partitions"], 2);
  Json trial = json["trials"]["list"][0];
  EXPECT_EQ(trial["status"], "running");
  EXPECT_EQ(trial["kind"], "two_tower");
  EXPECT_DOUBLE_EQ(trial["epoch"], 0.2);
  EXPECT_EQ(trial["losses"], Json::parse("[[0.2, 1.0]]"));
  EXPECT_THAT(json["leaderboard"], IsEmpty());

  ASSERT_TRUE(worker.GetWork().envelope().getBody().getWork().isTrain());
  worker.Train(1, 20);
  EXPECT_EQ(Look()["trials"]["list"][0]["losses"], Json::parse("[[0.2, 1.0], [0.4, 1.0]]"));

  worker.WorkToTheEnd();
  harness_.LetShardsAnswer();
  json = Look();
  trial = json["trials"]["list"][0];
  EXPECT_EQ(trial["status"], "finished");
  EXPECT_EQ(trial["epoch"], 2);
  EXPECT_EQ(trial["losses"], Json::parse("[[0.2, 1.0], [0.4, 1.0], [1.0, 1.0], [2.0, 1.0]]"));
  EXPECT_EQ(trial["validations"].back()[0], 2);
  EXPECT_EQ(json["trials"]["finished"], 1);
  EXPECT_EQ(json["state"], "over");
  ASSERT_THAT(json["leaderboard"], SizeIs(1));
  EXPECT_EQ(json["leaderboard"][0]["rows"][0]["name"], "a");
  EXPECT_THAT(EventsOf(json), Contains("trial a finished after 2 epochs"));
}

TEST_F(StatusModelTest, TellsOfLosses) {
  Begin();
  FakeWorker worker(harness_, "w0");
  worker.JoinAndDefine();
  Look();
  harness_.coordinator().OnProcessExit("w0", harness_.now, harness_);
  Json json = Look();
  EXPECT_EQ(json["workers"][0]["state"], "lost");
  EXPECT_THAT(EventsOf(json), Contains("worker w0 is lost"));
  EXPECT_THAT(json["problems"][0]["text"], "Workers not there: w0");
  harness_.coordinator().OnProcessExit("s1", harness_.now, harness_);
  json = Look();
  EXPECT_EQ(json["events"][0]["level"], "warning");  // the trial, which lost its rows
  EXPECT_THAT(EventsOf(json), Contains("server s1 is lost"));
  EXPECT_EQ(json["problems"][0]["level"], "error");
  EXPECT_EQ(json["problems"][0]["text"], "Servers lost: s1");
  EXPECT_EQ(json["view"]["servers_lost"], 1);
  EXPECT_EQ(StatusModel::Missing(harness_.coordinator(), cluster_), "servers that have not registered: s1");
}

TEST_F(StatusModelTest, TellsOfCheckpoints) {
  Begin();
  FakeWorker worker(harness_, "w0");
  worker.JoinAndDefine();
  EXPECT_FALSE(Look()["checkpoint"].contains("number"));
  harness_.coordinator().RequestCheckpoint();
  harness_.Advance(absl::Milliseconds(1));
  worker.Tick();
  harness_.LetShardsAnswer();
  Json json = Look();
  EXPECT_EQ(json["checkpoint"]["number"], 1);
  EXPECT_EQ(json["checkpoint"]["time"], 1'800'000'002);
  EXPECT_THAT(EventsOf(json), Contains(HasSubstr("checkpoint 1 is written")));
  seconds_ += 1000;
  EXPECT_THAT(Look()["problems"][0]["text"], "No checkpoint was written for three times its interval");
}

TEST_F(StatusModelTest, ListsNoMoreTrialsThanAPhoneCanTake) {
  std::vector<TrialConfig> trials;
  for (size_t i = 0; i < StatusModel::kMaxTrials + 7; ++i) trials.push_back(SmallTrial(fmt::format("t{}", i)));
  ASSERT_TRUE(harness_.Start(trials).ok());
  const Json json = Look();
  EXPECT_THAT(json["trials"]["list"], SizeIs(StatusModel::kMaxTrials));
  EXPECT_EQ(json["trials"]["left_out"], 7);
  EXPECT_EQ(json["trials"]["pending"], StatusModel::kMaxTrials + 7);
}

TEST(StatusEventsTest, KeepsTheNewestAndCutsLongOnesBetweenCharacters) {
  StatusEvents events;
  for (size_t i = 0; i < StatusEvents::kKept + 3; ++i) events.Add(StatusEvents::Level::kInfo, fmt::format("{}", i), kNoon);
  EXPECT_THAT(events.events(), SizeIs(StatusEvents::kKept));
  EXPECT_EQ(events.events().front().text, "3");
  std::string text;
  for (int i = 0; i < 300; ++i) text += "é";
  events.Add(StatusEvents::Level::kInfo, "x" + text, kNoon);
  const std::string& cut = events.events().back().text;
  EXPECT_LE(cut.size(), StatusEvents::kMaxLength + 3);
  EXPECT_EQ(Json(cut).dump().find('\0'), std::string::npos);
  EXPECT_THAT(cut, Not(HasSubstr("\xc3…")));
}

}  // namespace
}  // namespace marquee
