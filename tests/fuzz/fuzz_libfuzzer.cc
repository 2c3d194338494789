// libFuzzer's way in; see MARQUEE_FUZZ in CMakeLists.txt. Each input meets a new conversation, far enough on that tables,
// sessions and requests under way exist.

#include <fmt/format.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include "tests/fuzz/conversation.h"
#include "tests/fuzz/fuzz_input.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  constexpr int kMessagesBefore = 60;
  marquee::fuzz::Conversation conversation(2);
  for (int i = 0; i < kMessagesBefore; ++i) {
    const auto packet = conversation.Next();
    if (!packet.has_value()) break;
    conversation.Deliver(*packet);
  }
  conversation.Deliver(marquee::fuzz::DecodeInput({reinterpret_cast<const char*>(data), size}));
  if (!conversation.violation().empty()) {
    fmt::print(stderr, "{}\n", conversation.violation());
    std::abort();
  }
  return 0;
}
