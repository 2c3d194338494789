#include "worker/client/client.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <deque>
#include <map>
#include <utility>

#include "worker/client/row_split.h"
#include "worker/client/wire_status.h"

namespace marquee {
namespace {

constexpr uint64_t kWindow = 64;  // docs/architecture.md, "Push exactly once"
constexpr int kMaxResendDoublings = 3;
constexpr int kMaxRefusalDoublings = 4;  // from a sixteenth of resend_after up to all of it

// A section of a reply, checked, and where its values go.
struct ReplySection {
  const PullTarget* target = nullptr;
  const float* values = nullptr;
};

absl::Status CheckSection(uint32_t index, const PullTarget& target, wire::RowSection::Reader section) {
  if (section.getTable() == target.table && section.getDim() == target.dim && section.getCount() == target.count &&
      section.getType() == wire::ElementType::FLOAT32) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      fmt::format("rows.sections[{}]: {} rows of table {}, dim {}, type {}; asked for {} rows of table {}, dim {}, type 0",
                  index, section.getCount(), section.getTable(), section.getDim(), static_cast<uint32_t>(section.getType()),
                  target.count, target.table, target.dim));
}

absl::StatusOr<std::vector<ReplySection>> CheckRows(const ShardRequest& request, wire::Rows::Reader rows) {
  const auto sections = rows.getSections();
  if (sections.size() != request.targets.size()) {
    return absl::InvalidArgumentError(
        fmt::format("rows.sections: {} of them; asked for {}", sections.size(), request.targets.size()));
  }
  std::vector<ReplySection> checked;
  for (uint32_t i = 0; i < sections.size(); ++i) {
    const PullTarget& target = request.targets[i];
    if (absl::Status status = CheckSection(i, target, sections[i]); !status.ok()) return status;
    auto values = PackedValues<float>(sections[i].getValues(), static_cast<uint64_t>(target.count) * target.dim,
                                      fmt::format("rows.sections[{}].values", i));
    if (!values.ok()) return values.status();
    checked.push_back({.target = &target, .values = *values});
  }
  return checked;
}

void Scatter(const std::vector<ReplySection>& sections, const uint32_t* positions) {
  for (const ReplySection& section : sections) {
    const size_t dim = section.target->dim;
    const float* from = section.values;
    for (uint32_t i = 0; i < section.target->count; ++i, from += dim) {
      std::memcpy(section.target->values + *positions++ * dim, from, dim * sizeof(float));
    }
  }
}

}  // namespace

class Client::Impl {
 public:
  Impl(Identity self, ClientOptions options) : options_(options), splitter_(std::move(self)) {}

  void SetView(const View& view, absl::Time now, Outbox& outbox);
  const View& view() const { return view_; }
  uint64_t wanted_view() const { return wanted_view_; }

  void StartSession(uint64_t session);
  uint64_t session() const { return session_; }

  absl::StatusOr<PullNumber> StartPull(absl::Span<const PullTable> tables, absl::Time now, Outbox& outbox);
  std::optional<absl::Status> PullResult(PullNumber number) const;
  void ForgetPull(PullNumber number);

  bool CanPush() const;
  absl::Status StartPush(absl::Span<const PushTable> tables, absl::Time now, Outbox& outbox);
  uint64_t pushes_started() const { return acknowledged_ + sequences_.size(); }
  uint64_t pushes_acknowledged() const { return acknowledged_; }
  const absl::Status& session_status() const { return session_status_; }

  void OnMessage(const Message& message, absl::Time now, Outbox& outbox);
  void OnTimer(absl::Time now, Outbox& outbox);
  absl::Time next_timer() const { return requests_.empty() ? absl::InfiniteFuture() : next_timer_; }
  const Counters& counters() const { return counters_; }

 private:
  struct Request {
    ShardRequest split;
    PullNumber pull = 0;    // 0: a push
    uint64_t sequence = 0;  // of a push
    size_t bytes = 0;
    bool sent = false;  // false: a push that waits for the window
    int tries = 0;
    absl::Time due = absl::InfiniteFuture();  // to be sent again
  };
  // By request id, so that what is done to all of them is done in one order.
  using Requests = std::map<uint64_t, Request>;

  struct Pull {
    size_t unanswered = 0;
    absl::Time deadline;
    std::optional<absl::Status> result;
  };

  // One numbered push: the requests that carry it and are not yet acknowledged.
  struct Sequence {
    std::vector<uint64_t> requests;
  };

  absl::Status CheckCanPush() const;
  void AddPullRequests(PullNumber number, std::vector<ShardRequest> split);
  void AddPushRequests(uint64_t sequence, std::vector<ShardRequest> split);
  void SplitAgain(const Request& request, absl::Time now);
  void SendNew(absl::Time now, Outbox& outbox);
  void Send(Request& request, absl::Time now, Outbox& outbox);
  void WaitUntil(absl::Time time) { next_timer_ = std::min(next_timer_, time); }

  absl::Status Handle(Requests::iterator at, const Message& message, absl::Time now, Outbox& outbox);
  absl::Status HandleError(Request& request, wire::Envelope::Reader envelope, absl::Time now);
  absl::Status HandleRows(Requests::iterator at, wire::Rows::Reader rows);
  absl::Status HandlePushed(Requests::iterator at, wire::Pushed::Reader pushed, absl::Time now, Outbox& outbox);
  void Fail(const Request& request, absl::Status status);
  void FinishPull(PullNumber number, absl::Status status);
  void DropPushes();

  ClientOptions options_;
  RowSplitter splitter_;
  View view_;
  uint64_t wanted_view_ = 0;
  Requests requests_;
  absl::Time next_timer_ = absl::InfiniteFuture();  // never later than what there is to do; may be earlier

  PullNumber last_pull_ = 0;
  std::map<PullNumber, Pull> pulls_;

  uint64_t session_ = 0;
  absl::Status session_status_;
  uint64_t acknowledged_ = 0;
  std::deque<Sequence> sequences_;  // numbers acknowledged_ + 1 and up
  size_t unanswered_bytes_ = 0;     // of pushes

  Counters counters_;
};

void Client::Impl::SetView(const View& view, absl::Time now, Outbox& outbox) {
  if (view.number <= view_.number) return;
  view_ = view;
  wanted_view_ = std::max(wanted_view_, view.number);
  const Requests old = std::move(requests_);
  requests_.clear();
  unanswered_bytes_ = 0;
  for (Sequence& sequence : sequences_) sequence.requests.clear();
  for (const auto& [id, request] : old) SplitAgain(request, now);
  SendNew(now, outbox);
}

// The same rows under the same number: which of them a shard has applied already is known by its partitions' windows.
void Client::Impl::SplitAgain(const Request& request, absl::Time now) {
  if (request.pull != 0) {
    Pull& pull = pulls_.at(request.pull);
    --pull.unanswered;
    AddPullRequests(request.pull, splitter_.SplitPull(view_, BlocksOfPull(request.split), pull.deadline - now));
    return;
  }
  // The gradients were found finite before they were numbered.
  AddPushRequests(request.sequence,
                  splitter_.SplitPush(view_, BlocksOfPush(request.split), session_, request.sequence).value());
}

void Client::Impl::StartSession(uint64_t session) {
  DropPushes();
  session_ = session;
  session_status_ = absl::OkStatus();
  acknowledged_ = 0;
}

void Client::Impl::DropPushes() {
  std::erase_if(requests_, [](const auto& entry) { return entry.second.pull == 0; });
  sequences_.clear();
  unanswered_bytes_ = 0;
}

absl::StatusOr<Client::PullNumber> Client::Impl::StartPull(absl::Span<const PullTable> tables, absl::Time now, Outbox& outbox) {
  if (view_.number == 0) return absl::FailedPreconditionError("pull: there is no view yet");
  std::vector<RowBlock> blocks;
  for (const PullTable& table : tables) {
    if (table.dim == 0) return absl::InvalidArgumentError(fmt::format("pull: table {}: dim is 0", table.table));
    blocks.push_back({.table = table.table, .dim = table.dim, .ids = table.ids, .values = table.values});
  }
  const PullNumber number = ++last_pull_;
  Pull& pull = pulls_[number];
  pull.deadline = now + options_.pull_deadline;
  for (const std::vector<RowBlock>& piece : CutBlocks(blocks, options_.max_message_bytes)) {
    AddPullRequests(number, splitter_.SplitPull(view_, piece, options_.pull_deadline));
  }
  if (pull.unanswered == 0) pull.result = absl::OkStatus();
  ++counters_.pulls;
  WaitUntil(pull.deadline);
  SendNew(now, outbox);
  return number;
}

void Client::Impl::AddPullRequests(PullNumber number, std::vector<ShardRequest> split) {
  pulls_.at(number).unanswered += split.size();
  for (ShardRequest& part : split) {
    const uint64_t id = part.request_id;
    requests_.emplace_hint(requests_.end(), id, Request{.split = std::move(part), .pull = number});
  }
}

std::optional<absl::Status> Client::Impl::PullResult(PullNumber number) const {
  const auto pull = pulls_.find(number);
  if (pull == pulls_.end()) return absl::NotFoundError(fmt::format("pull {}: not started, or forgotten", number));
  return pull->second.result;
}

void Client::Impl::ForgetPull(PullNumber number) {
  FinishPull(number, absl::CancelledError("pull: forgotten"));
  pulls_.erase(number);
}

bool Client::Impl::CanPush() const { return CheckCanPush().ok(); }

absl::Status Client::Impl::CheckCanPush() const {
  if (view_.number == 0) return absl::FailedPreconditionError("push: there is no view yet");
  if (session_ == 0) return absl::FailedPreconditionError("push: there is no session");
  if (!session_status_.ok()) {
    return absl::FailedPreconditionError(
        fmt::format("push: the session has ended: {}", std::string(session_status_.message())));
  }
  if (sequences_.size() >= kWindow) {
    return absl::FailedPreconditionError(fmt::format("push: {} are unacknowledged; at most {}", sequences_.size(), kWindow));
  }
  if (unanswered_bytes_ >= options_.max_unanswered_bytes) {
    return absl::FailedPreconditionError(
        fmt::format("push: {} bytes are unacknowledged; at most {}", unanswered_bytes_, options_.max_unanswered_bytes));
  }
  return absl::OkStatus();
}

absl::Status Client::Impl::StartPush(absl::Span<const PushTable> tables, absl::Time now, Outbox& outbox) {
  if (absl::Status status = CheckCanPush(); !status.ok()) return status;
  std::vector<RowBlock> blocks;
  uint64_t rows = 0;
  for (const PushTable& table : tables) {
    if (table.dim == 0) return absl::InvalidArgumentError(fmt::format("push: table {}: dim is 0", table.table));
    if (!std::isfinite(table.learning_rate)) {
      return absl::InvalidArgumentError(
          fmt::format("push: table {}: the learning rate is {}", table.table, table.learning_rate));
    }
    blocks.push_back({.table = table.table,
                      .dim = table.dim,
                      .ids = table.ids,
                      .learning_rate = table.learning_rate,
                      .gradients = table.gradients});
    rows += table.ids.size();
  }
  // All pieces are built, and so checked, before the first one counts.
  std::vector<std::vector<ShardRequest>> split;
  for (const std::vector<RowBlock>& piece : CutBlocks(blocks, options_.max_message_bytes)) {
    auto requests = splitter_.SplitPush(view_, piece, session_, pushes_started() + split.size() + 1);
    if (!requests.ok()) return requests.status();
    split.push_back(*std::move(requests));
  }
  for (std::vector<ShardRequest>& requests : split) {
    sequences_.emplace_back();
    AddPushRequests(pushes_started(), std::move(requests));
  }
  ++counters_.pushes;
  counters_.rows_pushed += rows;
  SendNew(now, outbox);
  return absl::OkStatus();
}

void Client::Impl::AddPushRequests(uint64_t sequence, std::vector<ShardRequest> split) {
  std::vector<uint64_t>& ids = sequences_[sequence - acknowledged_ - 1].requests;
  for (ShardRequest& part : split) {
    const uint64_t id = part.request_id;
    const size_t bytes = part.message->bytes();
    ids.push_back(id);
    unanswered_bytes_ += bytes;
    requests_.emplace_hint(requests_.end(), id, Request{.split = std::move(part), .sequence = sequence, .bytes = bytes});
  }
}

// Sends what has not been sent and may be now: number n only after n - 64 and all older ones were acknowledged.
void Client::Impl::SendNew(absl::Time now, Outbox& outbox) {
  for (auto& [id, request] : requests_) {
    if (!request.sent && request.sequence <= acknowledged_ + kWindow) Send(request, now, outbox);
  }
}

void Client::Impl::Send(Request& request, absl::Time now, Outbox& outbox) {
  request.sent = true;
  request.due = now + options_.resend_after * (1 << std::min(request.tries, kMaxResendDoublings));
  if (request.tries++ > 0) ++counters_.resent;
  if (request.bytes == 0) request.bytes = request.split.message->bytes();
  counters_.bytes_sent += request.bytes;
  WaitUntil(request.due);
  outbox.Send(view_.shards[request.split.shard], request.split.message);
}

void Client::Impl::OnMessage(const Message& message, absl::Time now, Outbox& outbox) {
  counters_.bytes_received += message.bytes();
  const auto at = requests_.find(message.envelope().getRequestId());
  // Not found: answered before, or given up.
  if (at == requests_.end() || !at->second.sent || view_.shards[at->second.split.shard] != message.from()) return;
  absl::Status handled = Guarded([&] { return Handle(at, message, now, outbox); });
  if (handled.ok()) return;
  ++counters_.errors;
  Fail(at->second, std::move(handled));
}

// Not OK, and nothing changed, if the request has failed.
absl::Status Client::Impl::Handle(Requests::iterator at, const Message& message, absl::Time now, Outbox& outbox) {
  const wire::Envelope::Reader envelope = message.envelope();
  const bool pull = at->second.pull != 0;
  switch (envelope.getBody().which()) {
    case wire::Envelope::Body::ERROR:
      return HandleError(at->second, envelope, now);
    case wire::Envelope::Body::ROWS:
      if (pull) return HandleRows(at, envelope.getBody().getRows());
      break;
    case wire::Envelope::Body::PUSHED:
      if (!pull) return HandlePushed(at, envelope.getBody().getPushed(), now, outbox);
      break;
    default:
      break;
  }
  return UnexpectedBody(pull ? "pull" : "push", envelope.getBody().which());
}

absl::Status Client::Impl::HandleError(Request& request, wire::Envelope::Reader envelope, absl::Time now) {
  const wire::Error::Reader error = envelope.getBody().getError();
  if (!IsTransient(error.getCode())) return StatusFromError(error);
  if (error.getCode() == wire::Error::Code::STALE_VIEW) wanted_view_ = std::max(wanted_view_, envelope.getView());
  ++counters_.errors;
  request.due = now + options_.resend_after / 16 * (1 << std::min(request.tries - 1, kMaxRefusalDoublings));
  WaitUntil(request.due);
  return absl::OkStatus();
}

absl::Status Client::Impl::HandleRows(Requests::iterator at, wire::Rows::Reader rows) {
  const Request& request = at->second;
  const auto sections = CheckRows(request.split, rows);
  if (!sections.ok()) return sections.status();
  Scatter(*sections, request.split.positions.data());
  counters_.rows_pulled += request.split.positions.size();
  Pull& pull = pulls_.at(request.pull);
  requests_.erase(at);
  if (--pull.unanswered == 0) pull.result = absl::OkStatus();
  return absl::OkStatus();
}

absl::Status Client::Impl::HandlePushed(Requests::iterator at, wire::Pushed::Reader pushed, absl::Time now, Outbox& outbox) {
  const uint64_t number = at->second.sequence;
  if (pushed.getSequence() != number) {
    return absl::InvalidArgumentError(fmt::format("pushed.sequence: {}; the push was number {}", pushed.getSequence(), number));
  }
  if (pushed.getDuplicate()) ++counters_.duplicates_acknowledged;
  unanswered_bytes_ -= at->second.bytes;
  std::erase(sequences_[number - acknowledged_ - 1].requests, at->first);
  requests_.erase(at);
  const uint64_t before = acknowledged_;
  for (; !sequences_.empty() && sequences_.front().requests.empty(); ++acknowledged_) sequences_.pop_front();
  if (acknowledged_ != before) SendNew(now, outbox);
  return absl::OkStatus();
}

void Client::Impl::Fail(const Request& request, absl::Status status) {
  if (request.pull != 0) return FinishPull(request.pull, std::move(status));
  session_status_ = std::move(status);
  DropPushes();
}

void Client::Impl::FinishPull(PullNumber number, absl::Status status) {
  const auto pull = pulls_.find(number);
  if (pull == pulls_.end() || pull->second.result.has_value()) return;
  pull->second.result = std::move(status);
  std::erase_if(requests_, [number](const auto& entry) { return entry.second.pull == number; });
}

void Client::Impl::OnTimer(absl::Time now, Outbox& outbox) {
  if (now < next_timer()) return;
  next_timer_ = absl::InfiniteFuture();
  for (const auto& [number, pull] : pulls_) {
    if (pull.result.has_value()) continue;
    if (now >= pull.deadline) {
      FinishPull(number, absl::DeadlineExceededError(fmt::format("pull: no answer from {} shards in {}", pull.unanswered,
                                                                 absl::FormatDuration(options_.pull_deadline))));
    } else {
      WaitUntil(pull.deadline);
    }
  }
  for (auto& [id, request] : requests_) {
    if (request.sent && now >= request.due) Send(request, now, outbox);
    if (request.sent) WaitUntil(request.due);
  }
}

Client::Client(Identity self, ClientOptions options) : impl_(std::make_unique<Impl>(std::move(self), options)) {}
Client::~Client() = default;
void Client::SetView(const View& view, absl::Time now, Outbox& outbox) { impl_->SetView(view, now, outbox); }
const View& Client::view() const { return impl_->view(); }
uint64_t Client::wanted_view() const { return impl_->wanted_view(); }
void Client::StartSession(uint64_t session) { impl_->StartSession(session); }
uint64_t Client::session() const { return impl_->session(); }
absl::StatusOr<Client::PullNumber> Client::StartPull(absl::Span<const PullTable> tables, absl::Time now, Outbox& outbox) {
  return impl_->StartPull(tables, now, outbox);
}
std::optional<absl::Status> Client::PullResult(PullNumber pull) const { return impl_->PullResult(pull); }
void Client::ForgetPull(PullNumber pull) { impl_->ForgetPull(pull); }
bool Client::CanPush() const { return impl_->CanPush(); }
absl::Status Client::StartPush(absl::Span<const PushTable> tables, absl::Time now, Outbox& outbox) {
  return impl_->StartPush(tables, now, outbox);
}
uint64_t Client::pushes_started() const { return impl_->pushes_started(); }
uint64_t Client::pushes_acknowledged() const { return impl_->pushes_acknowledged(); }
absl::Status Client::session_status() const { return impl_->session_status(); }
void Client::OnMessage(const Message& message, absl::Time now, Outbox& outbox) { impl_->OnMessage(message, now, outbox); }
void Client::OnTimer(absl::Time now, Outbox& outbox) { impl_->OnTimer(now, outbox); }
absl::Time Client::next_timer() const { return impl_->next_timer(); }
const Client::Counters& Client::counters() const { return impl_->counters(); }

}  // namespace marquee
