#include "worker/client/wire_status.h"

#include <fmt/format.h>

#include <string>

#include "common/message.h"

namespace marquee {
namespace {

absl::StatusCode StatusCodeOf(wire::Error::Code code) {
  using Code = wire::Error::Code;
  switch (code) {
    case Code::INTERNAL:
      return absl::StatusCode::kInternal;
    case Code::MALFORMED:
    case Code::WRONG_DIMENSION:
    case Code::NOT_FINITE:
      return absl::StatusCode::kInvalidArgument;
    case Code::WRONG_VERSION:
    case Code::DATA_MISMATCH:
    case Code::UNKNOWN_INCARNATION:
      return absl::StatusCode::kFailedPrecondition;
    case Code::WRONG_TYPE:
      return absl::StatusCode::kUnimplemented;
    case Code::UNKNOWN_TABLE:
      return absl::StatusCode::kNotFound;
    case Code::STALE_VIEW:
    case Code::VIEW_AHEAD:
    case Code::NOT_YET:
      return absl::StatusCode::kUnavailable;
    case Code::UNKNOWN_SESSION:
      return absl::StatusCode::kAborted;
    case Code::OUTSIDE_WINDOW:
      return absl::StatusCode::kOutOfRange;
    case Code::TOO_LARGE:
    case Code::MEMORY_FULL:
      return absl::StatusCode::kResourceExhausted;
    case Code::CONFLICT:
      return absl::StatusCode::kAlreadyExists;
    case Code::FORBIDDEN:
      return absl::StatusCode::kPermissionDenied;
    case Code::CANCELLED:
      return absl::StatusCode::kCancelled;
    case Code::STORAGE:
      return absl::StatusCode::kUnknown;
    case Code::DAMAGED:
      return absl::StatusCode::kDataLoss;
  }
  return absl::StatusCode::kUnknown;
}

}  // namespace

absl::Status StatusFromError(wire::Error::Reader error) {
  std::string text = fmt::format("{}: ", ErrorCodeName(error.getCode()));
  if (error.getField().size() > 0) text += fmt::format("{}: ", error.getField().cStr());
  text += error.getMessage().cStr();
  return absl::Status(StatusCodeOf(error.getCode()), text);
}

bool IsTransient(wire::Error::Code code) {
  using Code = wire::Error::Code;
  return code == Code::STALE_VIEW || code == Code::VIEW_AHEAD || code == Code::NOT_YET;
}

absl::Status UnexpectedBody(std::string_view request, wire::Envelope::Body::Which body) {
  return absl::InvalidArgumentError(fmt::format("a {} was answered by a message of type {}", request, BodyName(body)));
}

}  // namespace marquee
