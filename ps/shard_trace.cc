#include "ps/shard_trace.h"

#include "common/trace_arrows.h"

namespace marquee {
namespace {

// A push that is never answered, as when this shard is deposed, must not stay for ever.
constexpr size_t kMaxApplied = 4096;

template <typename Sections>
uint64_t RowsIn(const Sections& sections) {
  uint64_t rows = 0;
  for (const auto& section : sections) rows += section.getCount();
  return rows;
}

std::string NameOfEntry(wire::Forward::Reader forward) {
  switch (forward.which()) {
    case wire::Forward::NOTHING:
      return "renew lease";
    case wire::Forward::PUSH:
      return "apply copy";
    default:
      return "fill copy";
  }
}

}  // namespace

void ShardTrace::Begin(const Message& message, absl::Time begin) {
  const wire::Envelope::Reader envelope = message.envelope();
  const wire::Envelope::Body::Reader body = envelope.getBody();
  Handling handling{.request = {message.from(), envelope.getRequestId()},
                    .incarnation = envelope.getIncarnation(),
                    .sender = envelope.getSender().cStr(),
                    .name = std::string(BodyName(body.which())),
                    .arrow = {},
                    .rows = 0,
                    .begin = begin,
                    .is_push = body.isPush(),
                    .answered = false};
  if (body.isPull()) {
    handling.rows = RowsIn(body.getPull().getSections());
  } else if (body.isPush()) {
    handling.name = "apply";
    handling.rows = RowsIn(body.getPush().getSections());
  } else if (body.isForward()) {
    handling.name = NameOfEntry(body.getForward());
    if (body.getForward().isPush()) handling.rows = RowsIn(body.getForward().getPush().getPush().getSections());
    handling.arrow = ForwardArrow(envelope);
  }
  if (body.isPull() || body.isPush()) handling.arrow = RequestArrow(handling.incarnation, envelope.getRequestId());
  handling_ = std::move(handling);
}

void ShardTrace::End(absl::Time end) {
  if (!handling_.has_value()) return;
  const Handling& handled = *handling_;
  track_.Span(handled.name, handled.begin, end,
              {{"from", handled.sender}, {"request", handled.request.second}, {"rows", handled.rows}});
  // After the span that it points at, since readers bind it to what they know of at its time.
  if (!handled.arrow.empty()) track_.ArrowTo(handled.arrow, handled.begin);
  if (handled.is_push && !handled.answered) {
    if (applied_.size() >= kMaxApplied) applied_.erase(applied_.begin());
    applied_[handled.request] = Applied{.sender = handled.sender, .incarnation = handled.incarnation, .time = end};
  }
  handling_.reset();
}

void ShardTrace::Answers(const Request& request) {
  const absl::Time now = now_();
  if (handling_.has_value() && handling_->request == request) {
    handling_->answered = true;
    track_.ArrowFrom(AnswerArrow(handling_->incarnation, request.second), now);
    return;
  }
  const auto applied = applied_.find(request);
  if (applied == applied_.end()) return;
  const Applied& push = applied->second;
  track_.Overlapping("replicate", AnswerArrow(push.incarnation, request.second), push.time, now,
                     {{"from", push.sender}, {"request", request.second}});
  track_.ArrowFrom(AnswerArrow(push.incarnation, request.second), now);
  applied_.erase(applied);
}

void ShardTrace::Send(const Peer& to, OutgoingMessagePtr message) {
  const wire::Envelope::Reader envelope = message->envelope().asReader();
  const wire::Envelope::Body::Reader body = envelope.getBody();
  if (body.isRows() || body.isPushed() || body.isError()) {
    Answers({to, envelope.getRequestId()});
  } else if (body.isForward()) {
    track_.ArrowFrom(ForwardArrow(envelope), now_());
  }
  outbox_.Send(to, std::move(message));
}

}  // namespace marquee
