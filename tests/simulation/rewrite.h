#ifndef MARQUEE_TESTS_SIMULATION_REWRITE_H_
#define MARQUEE_TESTS_SIMULATION_REWRITE_H_

// Messages with another content, for what spoils them.

#include <capnp/message.h>

#include <memory>
#include <utility>
#include <vector>

#include "common/message.h"

namespace marquee::simulation {

using Body = wire::Envelope::Body;

inline const Identity kTampered{.name = "tampered", .incarnation = 1};

template <typename Edit>
Message RewrittenEnvelope(const Message& original, Edit&& edit) {
  auto builder = std::make_shared<capnp::MallocMessageBuilder>();
  builder->setRoot(original.envelope());
  edit(builder->getRoot<wire::Envelope>());
  std::vector<Frame> frames;
  for (const auto segment : builder->getSegmentsForOutput()) {
    frames.push_back({.owner = builder,
                      .data = reinterpret_cast<const std::byte*>(segment.begin()),
                      .size = segment.size() * sizeof(capnp::word)});
  }
  return Message::Parse(original.from(), std::move(frames)).value();
}

template <typename Edit>
Message Rewritten(const Message& original, Edit&& edit) {
  return RewrittenEnvelope(original, [&](wire::Envelope::Builder envelope) { edit(envelope.getBody()); });
}

inline Message Copied(const Message& original) {
  return Rewritten(original, [](Body::Builder) {});
}

inline Body::Reader BodyOf(const Message& message) { return message.envelope().getBody(); }

}  // namespace marquee::simulation

#endif  // MARQUEE_TESTS_SIMULATION_REWRITE_H_
