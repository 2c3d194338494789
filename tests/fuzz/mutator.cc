#include "tests/fuzz/mutator.h"

#include <capnp/serialize.h>
#include <kj/exception.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <utility>

namespace marquee::fuzz {
namespace {

constexpr size_t kWord = sizeof(capnp::word);
constexpr size_t kMostListElements = 300;

// A copy of a message's frames in word-aligned memory.
class AlignedFrames {
 public:
  explicit AlignedFrames(const Frames& frames) {
    for (const std::string& frame : frames) {
      words_.emplace_back(frame.size() / kWord);
      std::memcpy(words_.back().data(), frame.data(), frame.size() / kWord * kWord);
    }
    for (const auto& words : words_) {
      segments_.emplace_back(reinterpret_cast<const capnp::word*>(words.data()), words.size());
    }
  }

  kj::ArrayPtr<const kj::ArrayPtr<const capnp::word>> segments() const { return {segments_.data(), segments_.size()}; }

 private:
  std::vector<std::vector<uint64_t>> words_;
  std::vector<kj::ArrayPtr<const capnp::word>> segments_;
};

Frames FramesOfSegments(kj::ArrayPtr<const kj::ArrayPtr<const capnp::word>> segments) {
  Frames frames;
  for (const auto segment : segments) {
    frames.emplace_back(reinterpret_cast<const char*>(segment.begin()), segment.size() * kWord);
  }
  return frames;
}

// Whether a field can be read: it is not the one of a union that is not there.
bool IsThere(capnp::DynamicStruct::Builder builder, capnp::StructSchema::Field field) {
  if (field.getProto().getDiscriminantValue() == capnp::schema::Field::NO_DISCRIMINANT) return true;
  KJ_IF_MAYBE (active, builder.which()) {
    return *active == field;
  }
  return false;
}

}  // namespace

Frames FramesOf(OutgoingMessage& message) { return FramesOfSegments(message.segments()); }

Frames Mutator::Mutate(const Frames& valid) {
  const uint64_t how = random_.Below(10);
  Frames mutated = valid;
  if (how < 7) mutated = MutateFields(valid);
  if (how >= 6) MutateBytes(mutated);
  return mutated;
}

Frames Mutator::MutateFields(const Frames& valid) {
  try {
    const AlignedFrames aligned(valid);
    capnp::SegmentArrayMessageReader reader(aligned.segments());
    // A first segment that is too small makes a message of several frames.
    capnp::MallocMessageBuilder builder(random_.OneIn(4) ? 1 + static_cast<capnp::uint>(random_.Below(32)) : 1024);
    builder.setRoot(reader.getRoot<wire::Envelope>());
    for (uint64_t n = random_.Between(1, 3); n > 0; --n) {
      MutateStruct(builder.getRoot<capnp::DynamicStruct>(capnp::Schema::from<wire::Envelope>()));
    }
    return FramesOfSegments(builder.getSegmentsForOutput());
  } catch (const kj::Exception&) {
    return valid;
  }
}

void Mutator::MutateStruct(capnp::DynamicStruct::Builder builder) {
  std::vector<capnp::StructSchema::Field> present;
  for (const auto field : builder.getSchema().getNonUnionFields()) present.push_back(field);
  const auto alternatives = builder.getSchema().getUnionFields();
  if (alternatives.size() > 0) {
    // Mostly the body that is there; now and then one of another kind.
    KJ_IF_MAYBE (active, builder.which()) {
      if (!random_.OneIn(12)) present.push_back(*active);
    }
    if (random_.OneIn(6)) present = {alternatives[static_cast<capnp::uint>(random_.Below(alternatives.size()))]};
  }
  if (present.empty()) return;
  // What is behind the envelope's body is more interesting than its header.
  const auto& chosen = random_.OneIn(2) ? present.back() : present[random_.Below(present.size())];
  MutateField(builder, chosen);
}

void Mutator::MutateField(capnp::DynamicStruct::Builder builder, capnp::StructSchema::Field field) {
  const capnp::Type type = field.getType();
  switch (type.which()) {
    case capnp::schema::Type::STRUCT:
      if (!field.getProto().isGroup() && random_.OneIn(20)) return builder.clear(field);
      return MutateStruct(IsThere(builder, field) ? builder.get(field).as<capnp::DynamicStruct>()
                                                  : builder.init(field).as<capnp::DynamicStruct>());
    case capnp::schema::Type::LIST:
      return MutateList(builder, field);
    case capnp::schema::Type::TEXT: {
      const std::string text = AnyText();
      return builder.set(field, capnp::Text::Reader(text.c_str(), text.size()));
    }
    case capnp::schema::Type::DATA: {
      const auto present = IsThere(builder, field) ? builder.asReader().get(field).as<capnp::Data>() : nullptr;
      const std::string bytes = MutatedBytes({reinterpret_cast<const char*>(present.begin()), present.size()});
      return builder.set(field, capnp::Data::Reader(reinterpret_cast<const kj::byte*>(bytes.data()), bytes.size()));
    }
    default:
      return builder.set(field, AnyPrimitive(type));
  }
}

void Mutator::MutateList(capnp::DynamicStruct::Builder builder, capnp::StructSchema::Field field) {
  if (!IsThere(builder, field) || random_.OneIn(6)) {
    builder.init(field, static_cast<capnp::uint>(random_.Below(kMostListElements)));
    return;
  }
  auto list = builder.get(field).as<capnp::DynamicList>();
  if (list.size() == 0) {
    builder.init(field, static_cast<capnp::uint>(random_.Between(1, 4)));
    return;
  }
  const auto index = static_cast<capnp::uint>(random_.Below(list.size()));
  const capnp::Type element = list.getSchema().getElementType();
  if (element.isStruct()) return MutateStruct(list[index].as<capnp::DynamicStruct>());
  if (element.isText()) {
    const std::string text = AnyText();
    return list.set(index, capnp::Text::Reader(text.c_str(), text.size()));
  }
  list.set(index, AnyPrimitive(element));
}

capnp::DynamicValue::Reader Mutator::AnyPrimitive(capnp::Type type) {
  switch (type.which()) {
    case capnp::schema::Type::BOOL:
      return random_.OneIn(2);
    case capnp::schema::Type::FLOAT32:
      return static_cast<float>(AnyFloat());
    case capnp::schema::Type::FLOAT64:
      return AnyFloat();
    case capnp::schema::Type::ENUM: {
      const uint64_t number = random_.OneIn(2) ? random_.Below(24) : AnyInteger();
      return capnp::DynamicEnum(type.asEnum(), static_cast<uint16_t>(number));
    }
    case capnp::schema::Type::UINT16:
      return static_cast<uint16_t>(AnyInteger());
    case capnp::schema::Type::UINT32:
      return static_cast<uint32_t>(AnyInteger());
    case capnp::schema::Type::UINT64:
      return AnyInteger();
    default:
      return capnp::VOID;
  }
}

uint64_t Mutator::AnyInteger() {
  switch (random_.Below(6)) {
    case 0:
      return 0;
    case 1:
      return UINT64_MAX - random_.Below(2);
    case 2:
      return uint64_t{1} << random_.Below(64);
    case 3:
      return (uint64_t{1} << random_.Below(64)) - 1;
    case 4:
      return random_.Next();
    default:
      return random_.Below(100);
  }
}

double Mutator::AnyFloat() {
  constexpr std::array<double, 10> kValues = {0.0,
                                              -0.0,
                                              1.0,
                                              -1.0,
                                              1e-40,
                                              1e38,
                                              1e300,
                                              std::numeric_limits<double>::quiet_NaN(),
                                              std::numeric_limits<double>::infinity(),
                                              -std::numeric_limits<double>::infinity()};
  return kValues[random_.Below(kValues.size())];
}

std::string Mutator::AnyText() {
  switch (random_.Below(4)) {
    case 0:
      return "";
    case 1:
      return std::string(random_.Below(2000), 'x');
    case 2:
      return "t1/users";
    default: {
      std::string text(random_.Below(20), '\0');
      for (char& c : text) c = static_cast<char>(random_.Next());
      return text;
    }
  }
}

// Keeps whole values more often than not: then it is the values that are wrong, not the sizes.
std::string Mutator::MutatedBytes(std::string bytes) {
  switch (random_.Below(6)) {
    case 0:
      bytes.resize(random_.Below(bytes.size() + 1));
      return bytes;
    case 1:
      bytes.resize(bytes.size() + random_.Between(1, 64), '\x5a');
      return bytes;
    case 2:
      bytes.resize(bytes.size() / 8 * 8 + 8 * random_.Below(3), '\0');
      return bytes;
    default:
      break;
  }
  if (bytes.size() < 8) return bytes;
  for (uint64_t n = random_.Between(1, 4); n > 0; --n) {
    const uint64_t value = AnyInteger();
    const auto number = static_cast<float>(AnyFloat());
    const size_t at = random_.Below(bytes.size() / 4) * 4;
    if (random_.OneIn(2)) {
      std::memcpy(&bytes[at], &number, sizeof(number));
    } else {
      std::memcpy(&bytes[at / 8 * 8], &value, std::min(sizeof(value), bytes.size() - at / 8 * 8));
    }
  }
  return bytes;
}

void Mutator::MutateBytes(Frames& frames) {
  for (uint64_t n = random_.Between(1, 3); n > 0; --n) {
    if (frames.empty()) return;
    std::string& frame = frames[random_.Below(frames.size())];
    const size_t words = frame.size() / kWord;
    switch (random_.Below(8)) {
      case 0:
        if (!frame.empty()) frame[random_.Below(frame.size())] ^= static_cast<char>(1U << random_.Below(8));
        break;
      case 1: {
        const uint64_t value = AnyInteger();
        if (words > 0) std::memcpy(&frame[random_.Below(words) * kWord], &value, kWord);
        break;
      }
      case 2:
        frame.resize(random_.Below(frame.size() + 1));
        break;
      case 3:
        frame.resize(random_.Below(words + 1) * kWord);
        break;
      case 4:
        frame.append(random_.Between(1, 8) * kWord, '\0');
        break;
      case 5: {
        // Pointers are the upper words of a message; one is copied over another.
        if (words > 1)
          std::memcpy(&frame[random_.Below(words) * kWord], frame.substr(random_.Below(words) * kWord, kWord).data(), kWord);
        break;
      }
      case 6: {
        const size_t cut = words > 0 ? random_.Below(words) * kWord : 0;
        const std::string rest = frame.substr(cut);
        frame.resize(cut);
        frames.push_back(rest);
        break;
      }
      default:
        frames.erase(frames.begin() + static_cast<std::ptrdiff_t>(random_.Below(frames.size())));
        break;
    }
  }
}

}  // namespace marquee::fuzz
