#ifndef MARQUEE_COMMON_MESSAGE_INLINE_H_
#define MARQUEE_COMMON_MESSAGE_INLINE_H_

// The templates of common/message.h.

#include <fmt/format.h>
#include <kj/exception.h>

#include <utility>

#include "common/message.h"

namespace marquee {

template <typename Init, typename Adopt>
std::byte* OutgoingMessage::PlaceBulk(size_t bytes, const Init& init, const Adopt& adopt) {
  if (bytes < kOwnSegmentBytes) return reinterpret_cast<std::byte*>(init(static_cast<uint32_t>(bytes)).begin());
  std::byte* const memory = NewBulk(bytes);
  adopt(builder_.getOrphanage().referenceExternalData({reinterpret_cast<const kj::byte*>(memory), bytes}));
  return memory;
}

template <typename Handler>
absl::Status Guarded(Handler&& handler) {
  try {
    return std::forward<Handler>(handler)();
  } catch (const kj::Exception& exception) {
    return absl::InvalidArgumentError(fmt::format("malformed message: {}", exception.getDescription().cStr()));
  }
}

template <typename T>
absl::StatusOr<const T*> PackedValues(capnp::Data::Reader data, uint64_t count, std::string_view field) {
  if (data.size() / sizeof(T) != count || data.size() % sizeof(T) != 0) {
    return absl::InvalidArgumentError(fmt::format("{}: {} bytes; must be {} x {} bytes", field, data.size(), count, sizeof(T)));
  }
  // Cap'n Proto places Data on a word boundary and Parse aligns the segments, so that this holds for every parsed message.
  if (reinterpret_cast<uintptr_t>(data.begin()) % alignof(T) != 0) {
    return absl::InternalError(fmt::format("{}: not aligned", field));
  }
  return reinterpret_cast<const T*>(data.begin());
}

}  // namespace marquee

#endif  // MARQUEE_COMMON_MESSAGE_INLINE_H_
