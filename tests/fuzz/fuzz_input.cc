#include "tests/fuzz/fuzz_input.h"

#include <algorithm>
#include <utility>

namespace marquee::fuzz {
namespace {

constexpr size_t kWord = 8;

}  // namespace

std::string EncodeInput(const Packet& packet) {
  std::string bytes(1, static_cast<char>(packet.to));
  for (const std::string& frame : packet.frames) {
    const size_t words = frame.size() / kWord;
    bytes += static_cast<char>(words & 0xffU);
    bytes += static_cast<char>(words >> 8U & 0xffU);
    bytes += frame;
  }
  return bytes;
}

Packet DecodeInput(std::string_view bytes) {
  if (bytes.empty()) return PacketTo(Receiver::kShard, {});
  const auto to = static_cast<Receiver>(static_cast<uint8_t>(bytes[0]) % kReceivers);
  Frames frames;
  for (bytes.remove_prefix(1); bytes.size() >= 2;) {
    const size_t words = static_cast<uint8_t>(bytes[0]) | static_cast<size_t>(static_cast<uint8_t>(bytes[1])) << 8U;
    bytes.remove_prefix(2);
    const size_t size = std::min(words * kWord, bytes.size());
    frames.emplace_back(bytes.substr(0, size));
    bytes.remove_prefix(size);
  }
  return PacketTo(to, std::move(frames));
}

}  // namespace marquee::fuzz
