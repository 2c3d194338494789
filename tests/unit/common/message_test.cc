#include "common/message.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"

namespace marquee {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

const Identity kSelf{.name = "w0", .incarnation = 42};

OutgoingMessagePtr NewPull(size_t ids) {
  OutgoingMessagePtr message = NewRequest(kSelf, 3, 17, absl::Milliseconds(1500), ids * 8);
  auto section = message->envelope().getBody().initPull().initSections(1)[0];
  section.setTable(5);
  section.setDim(16);
  section.setCount(static_cast<uint32_t>(ids));
  auto data = section.initIds(static_cast<capnp::uint>(ids * 8));
  for (uint64_t i = 0; i < ids; ++i) std::memcpy(data.begin() + i * 8, &i, 8);
  return message;
}

// The bytes of a message's only segment; word-aligned, for tests to spoil.
std::vector<uint64_t> WordsOf(OutgoingMessage& message) {
  EXPECT_EQ(message.segments().size(), 1U);
  const auto segment = message.segments()[0];
  std::vector<uint64_t> words(segment.size());
  std::memcpy(words.data(), segment.begin(), segment.size() * 8);
  return words;
}

Frame FrameOf(const std::vector<uint64_t>& words) {
  return Frame{.owner = nullptr, .data = reinterpret_cast<const std::byte*>(words.data()), .size = words.size() * 8};
}

TEST(MessageTest, ComesOverUnchanged) {
  const auto message = Deliver("route", *NewPull(1000));
  ASSERT_TRUE(message.ok()) << message.status();
  EXPECT_EQ(message->from(), "route");
  const auto envelope = message->envelope();
  EXPECT_EQ(envelope.getProtocolVersion(), wire::OLDEST_PROTOCOL_VERSION);
  EXPECT_EQ(envelope.getNewestVersion(), wire::PROTOCOL_VERSION);
  EXPECT_EQ(envelope.getView(), 3U);
  EXPECT_STREQ(envelope.getSender().cStr(), "w0");
  EXPECT_EQ(envelope.getIncarnation(), 42U);
  EXPECT_EQ(envelope.getRequestId(), 17U);
  EXPECT_EQ(envelope.getTimeoutMicros(), 1'500'000U);
  const auto section = envelope.getBody().getPull().getSections()[0];
  const auto ids = PackedValues<uint64_t>(section.getIds(), section.getCount(), "ids");
  ASSERT_TRUE(ids.ok()) << ids.status();
  for (uint64_t i = 0; i < 1000; ++i) ASSERT_EQ((*ids)[i], i);
}

// Sizing the first segment by the bulk arrays keeps a message in one piece.
TEST(MessageTest, OneSegmentWhenItsSizeWasSaid) {
  EXPECT_EQ(NewPull(1)->segments().size(), 1U);
  EXPECT_EQ(NewPull(1'000'000)->segments().size(), 1U);
  EXPECT_GE(NewPull(1000)->bytes(), 8000U);
  EXPECT_LE(NewPull(1000)->bytes(), 8000U + 512U);
}

TEST(MessageTest, RepliesRepeatTheRequestId) {
  const auto request = Deliver("route", *NewPull(1));
  const OutgoingMessagePtr reply = NewReply(kSelf, 4, *request);
  EXPECT_EQ(reply->envelope().getRequestId(), 17U);
  EXPECT_EQ(reply->envelope().getTimeoutMicros(), 0U);
  const OutgoingMessagePtr error = NewError(kSelf, 4, *request, wire::Error::Code::NOT_FINITE, "push.x", "NaN");
  EXPECT_EQ(error->segments().size(), 1U);
  const auto delivered = Deliver("server", *error);
  EXPECT_EQ(delivered->envelope().getRequestId(), 17U);
  EXPECT_EQ(delivered->envelope().getBody().getError().getCode(), wire::Error::Code::NOT_FINITE);
  EXPECT_STREQ(delivered->envelope().getBody().getError().getField().cStr(), "push.x");
  EXPECT_STREQ(delivered->envelope().getBody().getError().getMessage().cStr(), "NaN");
}

TEST(MessageTest, TimeoutIsNeverNegative) {
  EXPECT_EQ(NewRequest(kSelf, 0, 1, -absl::Seconds(1))->envelope().getTimeoutMicros(), 0U);
}

TEST(MessageTest, AlignedFramesAreReadInPlace) {
  const std::vector<uint64_t> words = WordsOf(*NewPull(100));
  const auto message = Message::Parse("route", {FrameOf(words)});
  ASSERT_TRUE(message.ok());
  const auto* ids = message->envelope().getBody().getPull().getSections()[0].getIds().begin();
  EXPECT_GE(ids, reinterpret_cast<const uint8_t*>(words.data()));
  EXPECT_LT(ids, reinterpret_cast<const uint8_t*>(words.data() + words.size()));
}

TEST(MessageTest, FramesThatAreNotAlignedAreCopied) {
  const std::vector<uint64_t> words = WordsOf(*NewPull(100));
  for (size_t shift = 1; shift < 8; ++shift) {
    std::vector<std::byte> bytes(words.size() * 8 + 8);
    std::memcpy(bytes.data() + shift, words.data(), words.size() * 8);
    const auto message =
        Message::Parse("route", {Frame{.owner = nullptr, .data = bytes.data() + shift, .size = words.size() * 8}});
    ASSERT_TRUE(message.ok()) << message.status();
    const auto section = message->envelope().getBody().getPull().getSections()[0];
    const auto ids = PackedValues<uint64_t>(section.getIds(), 100, "ids");
    ASSERT_TRUE(ids.ok()) << ids.status();
    EXPECT_EQ((*ids)[99], 99U);
  }
}

TEST(MessageTest, KeepsItsFramesAlive) {
  auto words = std::make_shared<std::vector<uint64_t>>(WordsOf(*NewPull(100)));
  const std::weak_ptr<std::vector<uint64_t>> alive = words;
  Frame frame = FrameOf(*words);
  frame.owner = std::move(words);
  {
    auto message = Message::Parse("route", {std::move(frame)});
    const Message moved = *std::move(message);
    EXPECT_FALSE(alive.expired());
    EXPECT_EQ(moved.envelope().getRequestId(), 17U);
  }
  EXPECT_TRUE(alive.expired());
}

TEST(MessageTest, RefusesFramesThatAreNoMessage) {
  const std::vector<uint64_t> one_word = {0};
  const auto says = [](std::vector<Frame> frames) {
    const auto message = Message::Parse("route", std::move(frames));
    EXPECT_TRUE(absl::IsInvalidArgument(message.status())) << message.status();
    return std::string(message.status().message());
  };
  EXPECT_THAT(says({}), HasSubstr("0 frames"));
  EXPECT_THAT(says(std::vector<Frame>(513, FrameOf(one_word))), HasSubstr("513 frames"));
  EXPECT_THAT(says({Frame{.owner = nullptr, .data = FrameOf(one_word).data, .size = 7}}), HasSubstr("7 bytes"));
  EXPECT_THAT(says({Frame{}}), HasSubstr("malformed"));
}

TEST(MessageTest, NullRootIsAnEmptyEnvelopeOfNoVersion) {
  const std::vector<uint64_t> null_pointer = {0};
  const auto message = Message::Parse("route", {FrameOf(null_pointer)});
  EXPECT_TRUE(absl::IsFailedPrecondition(message.status())) << message.status();
}

constexpr uint16_t kOldest = wire::OLDEST_PROTOCOL_VERSION;
constexpr uint16_t kNewest = wire::PROTOCOL_VERSION;

// A message of a program that speaks other versions, as it arrives here.
absl::StatusOr<Message> FromOneWhoSpeaks(WireVersions versions) {
  const OutgoingMessagePtr pull = NewPull(1);
  pull->envelope().setProtocolVersion(versions.oldest);
  pull->envelope().setNewestVersion(versions.newest);
  return Deliver("route", *pull);
}

TEST(MessageTest, TheHighestCommonVersionIsSpoken) {
  const auto spoken = [](WireVersions versions) {
    const auto message = FromOneWhoSpeaks(versions);
    EXPECT_TRUE(message.ok()) << message.status();
    return message.ok() ? message->version() : 0;
  };
  EXPECT_EQ(spoken({kOldest, kNewest}), kNewest);
  EXPECT_EQ(spoken({kOldest, kOldest}), kOldest);
  EXPECT_EQ(spoken({kOldest, 0}), kOldest) << "a program from before ranges names one version only";
  EXPECT_EQ(spoken({1, kOldest}), kOldest);
  EXPECT_EQ(spoken({kNewest, kNewest + 4}), kNewest);
  EXPECT_EQ(spoken({kNewest, 0}), kNewest);
  EXPECT_EQ(spoken({1, 0xffff}), kNewest);
}

TEST(MessageTest, OneWithoutACommonVersionIsToldBothRangesAndWhatToUpgrade) {
  const auto refusal = [](WireVersions versions) {
    const auto message = FromOneWhoSpeaks(versions);
    EXPECT_TRUE(absl::IsFailedPrecondition(message.status())) << message.status();
    return std::string(message.status().message());
  };
  const std::string own = fmt::format("{} to {}: none in common", kOldest, kNewest);
  EXPECT_THAT(refusal({kNewest + 1, kNewest + 3}),
              AllOf(HasSubstr(fmt::format("the sender speaks {} to {} of the wire", kNewest + 1, kNewest + 3)), HasSubstr(own),
                    HasSubstr("Upgrade the receiver")));
  EXPECT_THAT(refusal({1, kOldest - 1}),
              AllOf(HasSubstr("the sender speaks 1 of the wire"), HasSubstr(own), HasSubstr("Upgrade the sender")));
  refusal({kOldest - 1, 0});
  refusal({kNewest, 1});  // no range at all
}

// Whatever word of a message is spoilt: either it is refused, or reading all of it ends in values or in an error; never in a
// crash.
TEST(MessageTest, SpoiltWordsAreHarmless) {
  const std::vector<uint64_t> good = WordsOf(*NewPull(4));
  size_t refused = 0;
  for (size_t word = 0; word < good.size(); ++word) {
    for (const uint64_t spoilt :
         {uint64_t{0}, ~uint64_t{0}, uint64_t{0x7fffffff}, good[word] ^ 1U, good[word] ^ (1UL << 35U)}) {
      std::vector<uint64_t> words = good;
      words[word] = spoilt;
      const auto message = Message::Parse("route", {FrameOf(words)});
      if (!message.ok()) {
        ++refused;
        continue;
      }
      uint64_t sum = 0;
      const absl::Status read = Guarded([&] {
        if (!message->envelope().getBody().isPull()) return absl::OkStatus();
        for (const auto section : message->envelope().getBody().getPull().getSections()) {
          for (const auto byte : section.getIds()) sum += byte;
        }
        return absl::OkStatus();
      });
      if (!read.ok()) ++refused;
    }
  }
  EXPECT_GT(refused, 10U);
}

// A small message that refers to its one big list again and again would keep a handler busy for long.
TEST(MessageTest, ReadingTheSameBytesOverAndOverIsRefused) {
  const auto message = Deliver("route", *NewPull(100'000));
  ASSERT_TRUE(message.ok());
  const absl::Status read = Guarded([&] {
    for (int i = 0; i < 100; ++i) {
      const auto ids = message->envelope().getBody().getPull().getSections()[0].getIds();
      if (ids.size() != 800'000) return absl::InternalError("size");
    }
    return absl::OkStatus();
  });
  EXPECT_TRUE(absl::IsInvalidArgument(read)) << read;
}

TEST(MessageTest, PeekReadsWhatItCan) {
  const OutgoingMessagePtr pull = NewPull(1);
  pull->envelope().setProtocolVersion(9);
  const std::vector<uint64_t> words = WordsOf(*pull);
  EXPECT_EQ(Message::Peek({FrameOf(words)}).request_id, 17U);
  EXPECT_FALSE(Message::Peek({FrameOf(words)}).is_error);
  const OutgoingMessagePtr error = NewError(kSelf, 0, 6, wire::Error::Code::INTERNAL, "", "");
  const std::vector<uint64_t> error_words = WordsOf(*error);
  EXPECT_EQ(Message::Peek({FrameOf(error_words)}).request_id, 6U);
  EXPECT_TRUE(Message::Peek({FrameOf(error_words)}).is_error);
  EXPECT_EQ(Message::Peek({}).request_id, 0U);
}

TEST(MessageTest, PackedValuesChecksTheSize) {
  const std::vector<uint64_t> values = {1, 2, 3};
  const capnp::Data::Reader data(reinterpret_cast<const kj::byte*>(values.data()), 24);
  EXPECT_EQ(**PackedValues<uint64_t>(data, 3, "ids"), 1U);
  EXPECT_TRUE(PackedValues<float>(data, 6, "rows").ok());
  for (const uint64_t count : {uint64_t{0}, uint64_t{2}, uint64_t{4}, uint64_t{1} << 61U, UINT64_MAX}) {
    const auto wrong = PackedValues<uint64_t>(data, count, "push.ids");
    ASSERT_FALSE(wrong.ok()) << count;
    EXPECT_THAT(std::string(wrong.status().message()), AllOf(HasSubstr("push.ids"), HasSubstr("24 bytes")));
  }
  const capnp::Data::Reader odd(reinterpret_cast<const kj::byte*>(values.data()), 23);
  EXPECT_FALSE(PackedValues<uint64_t>(odd, 2, "ids").ok());
  EXPECT_TRUE(PackedValues<uint64_t>(capnp::Data::Reader(), 0, "ids").ok());
}

TEST(MessageTest, NamesAreThoseOfTheSchema) {
  EXPECT_EQ(ErrorCodeName(wire::Error::Code::STALE_VIEW), "staleView");
  EXPECT_EQ(ErrorCodeName(static_cast<wire::Error::Code>(999)), "unknown");
  EXPECT_EQ(BodyName(wire::Envelope::Body::ERROR), "error");
  EXPECT_EQ(BodyName(wire::Envelope::Body::PULL), "pull");
  EXPECT_EQ(BodyName(wire::Envelope::Body::TRIAL_FAILED), "trialFailed");
  EXPECT_EQ(BodyName(static_cast<wire::Envelope::Body::Which>(999)), "unknown");
}

}  // namespace
}  // namespace marquee
