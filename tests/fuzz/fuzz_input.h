#ifndef MARQUEE_TESTS_FUZZ_FUZZ_INPUT_H_
#define MARQUEE_TESTS_FUZZ_FUZZ_INPUT_H_

// A message to one receiver as a string of bytes, as libFuzzer wants it: a byte that chooses the receiver, then the frames,
// each behind the number of its words in two bytes. Every string is the form of some message.

#include <cstdint>
#include <string>
#include <string_view>

#include "tests/fuzz/conversation.h"

namespace marquee::fuzz {

std::string EncodeInput(const Packet& packet);
Packet DecodeInput(std::string_view bytes);

}  // namespace marquee::fuzz

#endif  // MARQUEE_TESTS_FUZZ_FUZZ_INPUT_H_
