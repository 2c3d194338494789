#ifndef MARQUEE_COMMON_TRACE_ARROWS_H_
#define MARQUEE_COMMON_TRACE_ARROWS_H_

// Names of the arrows of a trace (common/trace.h) that join the two sides of a message. Each side makes them from what stands
// in the message, so nothing is added to the wire.

#include <fmt/format.h>

#include <cstdint>
#include <string>

#include "schemas/wire.capnp.h"

namespace marquee {

// From the one who asks to the one who answers, and back. `incarnation` is the asker's.
inline std::string RequestArrow(uint64_t incarnation, uint64_t request_id) {
  return fmt::format("r{:x}.{}", incarnation, request_id);
}
inline std::string AnswerArrow(uint64_t incarnation, uint64_t request_id) {
  return fmt::format("a{:x}.{}", incarnation, request_id);
}

// From a primary to its copy. `envelope` is that of a forward; each time that it is sent has its own number.
inline std::string ForwardArrow(wire::Envelope::Reader envelope) {
  return fmt::format("f{:x}.{}.{}", envelope.getIncarnation(), envelope.getBody().getForward().getShard(),
                     envelope.getRequestId());
}

}  // namespace marquee

#endif  // MARQUEE_COMMON_TRACE_ARROWS_H_
