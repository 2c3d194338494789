#ifndef MARQUEE_WORKER_CLIENT_WIRE_STATUS_H_
#define MARQUEE_WORKER_CLIENT_WIRE_STATUS_H_

// What an error reply means to the one who asked.

#include <string_view>

#include "absl/status/status.h"
#include "schemas/wire.capnp.h"

namespace marquee {

// "notFinite: push.sections[0].gradients: ..." under the nearest absl code (kNotFound for an unknown table, kAborted for a
// closed session). Reads text: call it inside Guarded.
absl::Status StatusFromError(wire::Error::Reader error);

// Whether the same request may well succeed later.
bool IsTransient(wire::Error::Code code);

// For a reply whose body is none that its request can have.
absl::Status UnexpectedBody(std::string_view request, wire::Envelope::Body::Which body);

}  // namespace marquee

#endif  // MARQUEE_WORKER_CLIENT_WIRE_STATUS_H_
