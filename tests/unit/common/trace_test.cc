#include "common/trace.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "common/trace_merge.h"

namespace marquee {
namespace {

using nlohmann::json;
using testing::HasSubstr;

absl::Time At(int64_t microseconds) { return absl::UnixEpoch() + absl::Microseconds(microseconds); }

class TraceTest : public testing::Test {
 protected:
  TraceTest() {
    std::string name = testing::TempDir() + "/trace-XXXXXX";
    folder_ = mkdtemp(name.data());
  }
  ~TraceTest() override { std::filesystem::remove_all(folder_); }

  std::string Parts() const { return folder_ + "/parts"; }
  std::string Out() const { return folder_ + "/trace.json"; }

  // A part as a process of another machine would have written it.
  void Write(const std::string& name, const std::string& text) const {
    std::filesystem::create_directories(Parts());
    std::ofstream(Parts() + "/" + name) << text;
  }
  std::vector<json> Events() const {
    std::ifstream file(Out());
    return json::parse(file)["traceEvents"];
  }
  json Only(const std::string& phase, const std::string& name) const {
    json found;
    for (const json& event : Events()) {
      if (event["ph"] != phase || event["name"] != name) continue;
      EXPECT_TRUE(found.is_null()) << "two of " << phase << " " << name;
      found = event;
    }
    return found;
  }

  std::string folder_;
};

TEST_F(TraceTest, NothingIsTracedWithoutAFolder) {
  const auto trace = TraceFile::Create("", "s0");
  ASSERT_TRUE(trace.ok());
  EXPECT_EQ(*trace, nullptr);
}

TEST_F(TraceTest, AFolderThatCannotBeMadeIsNamed) {
  const auto trace = TraceFile::Create("/proc/nowhere", "s0");
  ASSERT_FALSE(trace.ok());
  EXPECT_THAT(std::string(trace.status().message()), HasSubstr("/proc/nowhere"));
}

TEST_F(TraceTest, WhatIsWrittenIsInTheTrace) {
  {
    const auto trace = TraceFile::Create(Parts(), "s0");
    ASSERT_TRUE(trace.ok()) << trace.status();
    TraceTrack shard = (*trace)->AddTrack("shard 0");
    TraceTrack other = (*trace)->AddTrack("shard 1");
    shard.Span("apply", At(1000), At(3500), {{"from", "w\"0"}, {"rows", 7}});
    shard.Overlapping("replicate", "a1.2", At(3500), At(4000));
    other.Span("pull", At(5000), At(5001));
  }
  const auto summary = MergeTraces(Parts(), Out());
  ASSERT_TRUE(summary.ok()) << summary.status();
  const json apply = Only("X", "apply");
  EXPECT_EQ(apply["ts"], 1000);
  EXPECT_EQ(apply["dur"], 2500);
  EXPECT_EQ(apply["args"]["from"], "w\"0");
  EXPECT_EQ(apply["args"]["rows"], 7);
  EXPECT_NE(apply["tid"], Only("X", "pull")["tid"]);
  EXPECT_EQ(Only("b", "replicate")["ts"], 3500);
  EXPECT_EQ(Only("e", "replicate")["ts"], 4000);
  ASSERT_EQ(summary->totals.size(), 3U);
  EXPECT_EQ(summary->totals[1].name, "replicate");
  EXPECT_DOUBLE_EQ(summary->totals[1].seconds, 0.0005);
  EXPECT_EQ(summary->totals[0].name, "apply");
  EXPECT_DOUBLE_EQ(summary->totals[0].seconds, 0.0025);
  EXPECT_DOUBLE_EQ(summary->seconds, 0.004001);
  EXPECT_THAT(TraceText(*summary), HasSubstr("apply"));
}

std::string Head(const std::string& process, const std::string& boot) {
  return R"([
{"ph":"M","name":"process_name","pid":7,"args":{"name":")" +
         process + R"(","boot":")" + boot + R"("}})";
}

std::string Arrow(const char* phase, const char* id, double time) {
  return fmt::format(",\n{{\"ph\":\"{}\",\"name\":\"request\",\"id\":\"{}\",\"ts\":{},\"pid\":7,\"tid\":1}}", phase, id, time);
}

// The server's clock is 5 s ahead. Requests take 100 and 400 us, answers 300 and 100.
TEST_F(TraceTest, ClocksOfTwoMachinesAreBroughtTogether) {
  Write("w0-7.json", Head("w0", "one") + Arrow("s", "r1", 1000) + Arrow("f", "a1", 2300) + Arrow("s", "r2", 3000) +
                         Arrow("f", "a2", 4100) + "\n]\n");
  Write("s0-7.json", Head("s0", "two") + Arrow("f", "r1", 5001100) + Arrow("s", "a1", 5002000) + Arrow("f", "r2", 5003400) +
                         Arrow("s", "a2", 5004000) +
                         ",\n{\"ph\":\"X\",\"name\":\"pull\",\"ts\":5001200,\"dur\":10,\"pid\":7,\"tid\":1}\n]\n");
  const auto summary = MergeTraces(Parts(), Out());
  ASSERT_TRUE(summary.ok()) << summary.status();
  EXPECT_TRUE(summary->not_aligned.empty());
  EXPECT_EQ(summary->arrows, 4U);
  // s0 comes first by name, so its clock is the one that is kept.
  EXPECT_EQ(Only("X", "pull")["ts"], 5001200);
  for (const json& event : Events()) {
    if (event["ph"] == "s" && event["id"] == "r1") {
      EXPECT_NEAR(event["ts"].get<double>(), 5001000, 1);
    } else if (event["ph"] == "f" && event["id"] == "a2") {
      EXPECT_NEAR(event["ts"].get<double>(), 5004100, 1);
    }
  }
  EXPECT_NE(Events().front()["pid"], Events().back()["pid"]);
}

TEST_F(TraceTest, AMachineWithoutMessagesIsNamed) {
  Write("s0-7.json", Head("s0", "one") + "\n]\n");
  Write("s1-7.json", Head("s1", "two") + "\n]\n");
  const auto summary = MergeTraces(Parts(), Out());
  ASSERT_TRUE(summary.ok()) << summary.status();
  EXPECT_THAT(summary->not_aligned, testing::ElementsAre("s1"));
}

TEST_F(TraceTest, TheCutOffLastLineOfAKilledProcessIsLeftOut) {
  Write("s0-7.json", Head("s0", "one") + R"(,
{"ph":"X","name":"pull","ts":1,"dur":1,"pid":7,"tid":1},
{"ph":"X","name":"pu)");
  const auto summary = MergeTraces(Parts(), Out());
  ASSERT_TRUE(summary.ok()) << summary.status();
  EXPECT_EQ(Only("X", "pull")["ts"], 1);
}

TEST_F(TraceTest, WhatIsNoTraceIsRefusedByName) {
  Write("s0-7.json", Head("s0", "one") + ",\nnonsense,\n" + R"({"ph":"X","name":"pull","ts":1,"dur":1,"pid":7,"tid":1})");
  const auto summary = MergeTraces(Parts(), Out());
  ASSERT_FALSE(summary.ok());
  EXPECT_THAT(std::string(summary.status().message()), HasSubstr("s0-7.json:3"));
}

TEST_F(TraceTest, AFieldOfAnotherTypeIsRefused) {
  Write("s0-7.json", Head("s0", "one") + R"(,
{"ph":"X","name":"pull","ts":"soon","dur":1,"pid":7,"tid":1}
])");
  EXPECT_FALSE(MergeTraces(Parts(), Out()).ok());
}

TEST_F(TraceTest, AFolderWithoutTracesIsNamed) {
  std::filesystem::create_directories(Parts());
  const auto summary = MergeTraces(Parts(), Out());
  ASSERT_FALSE(summary.ok());
  EXPECT_THAT(std::string(summary.status().message()), HasSubstr(Parts()));
}

}  // namespace
}  // namespace marquee
