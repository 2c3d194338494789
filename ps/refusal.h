#ifndef MARQUEE_PS_REFUSAL_H_
#define MARQUEE_PS_REFUSAL_H_

// Why a request is refused: the error reply without its envelope. `field` names what was wrong, `message` what it was and what
// would be right.

#include <optional>
#include <string>

#include "schemas/wire.capnp.h"

namespace marquee {

using ErrorCode = wire::Error::Code;

struct Refusal {
  ErrorCode code;
  std::string field;
  std::string message;
};

// Of a check: nothing means that it passed.
using MaybeRefusal = std::optional<Refusal>;

}  // namespace marquee

#endif  // MARQUEE_PS_REFUSAL_H_
