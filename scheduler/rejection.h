#ifndef MARQUEE_SCHEDULER_REJECTION_H_
#define MARQUEE_SCHEDULER_REJECTION_H_

// Why the coordinator does not do what it was asked: the error reply that the asker gets. Nothing was changed.

#include <optional>
#include <string>

#include "schemas/wire.capnp.h"

namespace marquee {

struct Rejection {
  wire::Error::Code code;
  std::string field;    // what was wrong: "tick.session"
  std::string message;  // what it was and what would be right
};

using MaybeRejection = std::optional<Rejection>;

}  // namespace marquee

#endif  // MARQUEE_SCHEDULER_REJECTION_H_
