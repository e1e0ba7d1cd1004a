#include "daemon/broker/client_stream.h"

#include <sys/epoll.h>

#include <algorithm>
#include <array>
#include <variant>

#include "common/task_frames.h"
#include "daemon/sys/clock.h"
#include "daemon/sys/spool_file.h"
#include "daemon/sys/stream_socket.h"

namespace mtd::broker {
namespace {

constexpr std::size_t kReadBytes = 64 * 1024;
constexpr std::size_t kMaxUnread = 1 << 20;  // answers that the client has not read
constexpr std::size_t kMaxOpenCalls = 4096;  // puts without an answer yet
constexpr std::size_t kFramesATurn = 256;
constexpr std::size_t kAskedAtOnce = 16;         // owed ends that are being looked up
constexpr std::size_t kMaxDeliveries = 64;       // results in files that are on their way
constexpr std::size_t kPieceBytes = 256 * 1024;  // written at once
constexpr Duration kMoment = Duration::nanoseconds(200'000);
constexpr Duration kLongestMoment = Duration::nanoseconds(1'600'000);
constexpr std::uint32_t kMostMisses = 8;                      // then 2⁸ answers are sent at once
constexpr Duration kOpenPause = Duration::milliseconds(200);  // until a file is tried again
constexpr Duration kProgressPause = Duration::milliseconds(100);

}  // namespace

ClientStream::ClientStream(ClientHost& host, sys::EventLoop& loop, UniqueFd socket)
    : host_(host), loop_(loop), socket_(std::move(socket)), moment_(kMoment) {}

Result<void> ClientStream::start(std::string unread) {
  input_ = std::move(unread);
  auto watch = loop_.watch(socket_.get(), EPOLLIN, sys::Priority::client,
                           [this](std::uint32_t events) { on_ready(events); });
  if (!watch) return watch.error();
  watch_ = std::move(*watch);
  take_frames();
  return {};
}

bool ClientStream::is_full() const {
  return output_.size() - sent_ >= kMaxUnread || open_calls_ >= kMaxOpenCalls;
}

void ClientStream::on_ready(std::uint32_t events) {
  const auto self = shared_from_this();
  if ((events & (EPOLLERR | EPOLLHUP)) != 0 && (events & EPOLLIN) == 0) {
    close();
    return;
  }
  if ((events & EPOLLOUT) != 0) flush();
  if (socket_ && (events & EPOLLIN) != 0) read();
}

void ClientStream::read() {
  std::array<char, kReadBytes> buffer;
  const sys::Transfer got = sys::receive_bytes(socket_.get(), buffer);
  switch (got.outcome) {
    case sys::Transfer::Outcome::would_block:
      return;
    case sys::Transfer::Outcome::ended:
    case sys::Transfer::Outcome::broken:
      close();
      return;
    case sys::Transfer::Outcome::done:
      break;
  }
  if (refused_) return;
  if (taken_ > 0 && taken_ == input_.size()) {
    input_.clear();
    taken_ = 0;
  }
  input_.append(buffer.data(), got.bytes);
  take_frames();
}

void ClientStream::take_frames() {
  const auto self = shared_from_this();
  for (std::size_t i = 0; i < kFramesATurn && socket_ && !refused_ && !is_full(); ++i) {
    const auto frame =
        task_frames::first_frame(std::string_view(input_).substr(taken_), host_.max_body());
    if (!frame) {
      no(std::nullopt, "BadRequest", frame.error().message);
      refused_ = true;
      break;
    }
    if (!*frame) break;
    auto parsed = parse_client_frame((*frame)->line);
    if (const auto* fault = std::get_if<ClientFault>(&parsed)) {
      no(fault->seq, "BadRequest", fault->message);
      refused_ = !fault->seq;
    } else {
      handle(std::move(std::get<ClientFrame>(parsed)), (*frame)->body.value_or(std::string_view()));
    }
    taken_ += (*frame)->size;
  }
  if (!socket_) return;
  if (taken_ >= kReadBytes) {
    input_.erase(0, taken_);
    taken_ = 0;
  }
  update_interest();
  // What is left waits for its turn.
  const auto next =
      task_frames::first_frame(std::string_view(input_).substr(taken_), host_.max_body());
  if (!refused_ && !is_full() && next && *next) {
    loop_.post(sys::Priority::client, [weak = weak_from_this()] {
      if (const auto client = weak.lock(); client && client->socket_) client->take_frames();
    });
  }
}

void ClientStream::handle(ClientFrame frame, std::string_view body) {
  if (auto* put = std::get_if<PutFrame>(&frame)) {
    ++open_calls_;
    host_.put(*this, std::move(*put), std::string(body));
  } else if (const auto* wait = std::get_if<WaitFrame>(&frame)) {
    host_.wait(*this, *wait);
  } else if (const auto* cancel = std::get_if<CancelFrame>(&frame)) {
    host_.cancel(*this, *cancel);
  } else if (const auto* forget = std::get_if<ForgetFrame>(&frame)) {
    host_.forget(*forget);
  }
}

void ClientStream::send(std::string frame) {
  if (!socket_) return;
  output_ += frame;
  flush_soon();
}

void ClientStream::flush_soon() {
  if (std::exchange(flushing_, true)) return;
  // It waits for the other handlers that are ready, if one of them may add to it.
  if (watched_.empty() && open_calls_ == 0) return host_.flush_this_turn(*this);
  loop_.post(sys::Priority::client, [weak = weak_from_this()] {
    if (const auto client = weak.lock()) client->flush_now();
  });
}

void ClientStream::flush_now() {
  flushing_ = false;
  if (socket_) flush();
}

void ClientStream::moment_over() {
  if (wait_ends_.is_never() || !socket_) return;
  wait_ends_ = Instant::never();
  moment_ = kMoment;
  misses_ = std::min(misses_ + 1, kMostMisses);
  no_wait_before_ = (1U << misses_) - 1;
  flush();
}

void ClientStream::flush() {
  const auto self = shared_from_this();
  if (!wait_ends_.is_never()) {
    misses_ = 0;
    moment_ = std::min(moment_ + moment_, kLongestMoment);
  }
  wait_ends_ = Instant::never();
  while (sent_ < output_.size()) {
    const sys::Transfer sent =
        sys::send_bytes(socket_.get(), std::string_view(output_).substr(sent_, kPieceBytes));
    if (sent.outcome == sys::Transfer::Outcome::would_block) break;
    if (sent.outcome != sys::Transfer::Outcome::done) {
      close();
      return;
    }
    sent_ += sent.bytes;
  }
  if (sent_ == output_.size()) {
    output_.clear();
    sent_ = 0;
    if (refused_) {
      close();
      return;
    }
  } else if (sent_ >= kMaxUnread) {
    output_.erase(0, sent_);
    sent_ = 0;
  }
  deliver_results();
  while (!owed_.empty() && asked_ < kAskedAtOnce && deliveries_.size() < kMaxDeliveries &&
         output_.size() - sent_ < kMaxUnread / 2) {
    const auto [seq, id] = owed_.front();
    owed_.pop_front();
    ++asked_;
    host_.tell_later(*this, seq, id);
  }
  update_interest();
  if (!is_full() && taken_ < input_.size() && !refused_) take_frames();
}

void ClientStream::update_interest() {
  if (!watch_) return;
  std::uint32_t events = 0;
  if (!is_full()) events |= EPOLLIN;
  if (sent_ < output_.size()) events |= EPOLLOUT;
  watch_.set_events(events);
}

void ClientStream::ok(std::int64_t seq, task::TaskId id, bool existed, bool and_end) {
  const bool waits = and_end && no_wait_before_ == 0;
  if (and_end && !waits) --no_wait_before_;
  if (!waits) return send(ok_frame(seq, id, existed));
  if (!socket_) return;
  output_ += ok_frame(seq, id, existed);
  if (flushing_ || !wait_ends_.is_never()) return;
  wait_ends_ = sys::now() + moment_;
  host_.call_in_a_moment(*this);
}

void ClientStream::no(std::optional<std::int64_t> seq, std::string_view error,
                      std::string_view message, std::optional<std::int64_t> retry_ms,
                      task::TaskId id) {
  send(no_frame(seq, error, message, retry_ms, id));
}

void ClientStream::watch(task::TaskId id, std::int64_t seq) {
  watched_.emplace(id.value, seq);
}

std::vector<task::TaskId> ClientStream::watched() const {
  std::vector<task::TaskId> ids;
  for (const auto& entry : watched_)
    ids.push_back({entry.first});
  return ids;
}

std::vector<task::TaskId> ClientStream::attached() const {
  std::vector<task::TaskId> ids;
  for (const std::uint64_t id : attached_)
    ids.push_back({id});
  std::sort(ids.begin(), ids.end());
  return ids;
}

void ClientStream::end(const TaskEnd& end) {
  attached_.erase(end.id.value);
  if (!last_progress_.empty()) last_progress_.erase(end.id);
  for (auto at = watched_.find(end.id.value); at != watched_.end() && at->first == end.id.value;) {
    const std::int64_t seq = at->second;
    at = watched_.erase(at);
    if (takes_ends()) {
      send_end(seq, end);
    } else {
      owed_.emplace_back(seq, end.id);
    }
  }
}

void ClientStream::tell(std::int64_t seq, const TaskEnd& end) {
  if (asked_ > 0) --asked_;
  send_end(seq, end);
}

bool ClientStream::takes_ends() const {
  return output_.size() - sent_ < kMaxUnread && deliveries_.size() < kMaxDeliveries;
}

void ClientStream::send_end(std::int64_t seq, const TaskEnd& end) {
  if (!end.answer || end.answer->file.empty()) return send(end_frame(seq, end));
  deliveries_.push_back({seq, end, std::nullopt});
  flush_soon();
}

// For want of a descriptor no result is lost: it comes when there is one.
bool ClientStream::tries_again(const Error& why) {
  if (!sys::is_passing_want(why.errno_value)) return false;
  if (!next_try_) {
    auto timer = loop_.timer(sys::Priority::idle, [this] { flush(); });
    if (!timer) return false;
    next_try_ = std::move(*timer);
  }
  next_try_->arm(sys::now() + kOpenPause);
  return true;
}

// A piece of the first one, as far as there is room; more in the turns that follow.
void ClientStream::deliver_results() {
  while (!deliveries_.empty() && output_.size() - sent_ < kMaxUnread / 2) {
    Delivery& first = deliveries_.front();
    Result<std::optional<std::string>> piece = std::optional<std::string>();
    if (!first.file) {
      auto opened = host_.open_result(first.end.answer->file);
      if (opened) first.file = std::move(*opened);
      if (!opened && tries_again(opened.error())) return;
      if (!opened) piece = opened.error();
    }
    if (piece) piece = first.file->next();
    if (piece && *piece) {
      output_ += part_frame(first.seq, first.end.id, first.file->parts() - 1, **piece);
    } else {
      output_ += piece ? end_frame(first.seq, first.end, first.file->parts())
                       : end_frame(first.seq, without_result(first.end, piece.error().message));
      deliveries_.pop_front();
    }
    flush_soon();
  }
}

void ClientStream::progress(task::TaskId id, const std::string& members, Instant now) {
  if (output_.size() - sent_ >= kMaxUnread / 2) return;
  auto& last = last_progress_[id];
  if (last != Instant() && now.since(last) < kProgressPause) return;
  last = now;
  const auto [first, past] = watched_.equal_range(id.value);
  for (auto at = first; at != past; ++at)
    send(progress_frame(at->second, id, members));
}

void ClientStream::close() {
  if (std::exchange(over_, true)) return;
  const auto self = shared_from_this();
  watch_ = {};
  socket_.reset();
  host_.closed(*this);
}

}  // namespace mtd::broker
