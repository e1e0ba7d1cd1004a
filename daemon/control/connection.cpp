#include "daemon/control/connection.h"

#include <utility>
#include <variant>

#include <nlohmann/json.hpp>

#include "daemon/sys/stream_socket.h"

namespace mtd::control {
namespace {

constexpr std::size_t kUnitsPerSlice = 16;        // requests or pieces
constexpr std::size_t kProduceBelow = 16 * 1024;  // unread bytes
constexpr std::size_t kSmallInput = 16 * 1024;    // always read, however much others hold
constexpr std::size_t kKeptCapacity = 4096;       // of an empty output buffer
constexpr std::string_view kInvalidParameter = "org.varlink.service.InvalidParameter";

std::ptrdiff_t difference(std::size_t now, std::size_t before) {
  return static_cast<std::ptrdiff_t>(now) - static_cast<std::ptrdiff_t>(before);
}

}  // namespace

Connection::Connection(ConnectionHost& host, UniqueFd socket, Peer peer)
    : host_(host),
      socket_(std::move(socket)),
      peer_(std::make_shared<const Peer>(std::move(peer))) {}

Connection::~Connection() = default;

void Connection::start() {
  waits_since_ = host_.reactor().now();
  watch_ = host_.reactor().watch_fd(socket_.get(), true, false,
                                    [this](FdReadiness readiness) { on_ready(readiness); });
  settle();
}

void Connection::on_ready(FdReadiness readiness) {
  if (phase_ == Phase::closed) return;
  const auto self = shared_from_this();
  const bool reads = phase_ == Phase::open;
  if (readiness.hung_up) {
    // Requests sent before the client went are still there.
    while (reads && phase_ == Phase::open && input_.size() <= host_.limits().request_bytes) {
      if (!read_once()) break;
    }
    vanish();
  } else if (readiness.readable && reads) {
    (void)read_once();
  }
  host_.wants_slice(*this);
}

// True: something came.
bool Connection::read_once() {
  const std::span<char> buffer = host_.scratch();
  const sys::Transfer got = sys::receive_bytes(socket_.get(), buffer);
  switch (got.outcome) {
    case sys::Transfer::Outcome::done:
      if (input_.empty()) waits_since_ = host_.reactor().now();
      input_.append({buffer.data(), got.bytes});
      return true;
    case sys::Transfer::Outcome::would_block:
      return false;
    case sys::Transfer::Outcome::ended:
      phase_ = Phase::ended;
      return false;
    case sys::Transfer::Outcome::broken:
      vanish();
      return false;
  }
  return false;
}

void Connection::vanish() {
  if (phase_ == Phase::vanished || phase_ == Phase::closed) return;
  const bool over = phase_ == Phase::closing || phase_ == Phase::leaving;
  phase_ = Phase::vanished;
  watch_.reset();
  discard_output();
  busy_ = false;
  const auto held = std::exchange(held_, nullptr);
  if (const auto call = current_.lock()) call->abandon();
  if (over) close();
}

bool Connection::has_work() {
  switch (phase_) {
    case Phase::closing:
    case Phase::leaving:
    case Phase::closed:
      return false;
    case Phase::vanished:
      return !busy_ && input_.has_frame();
    case Phase::open:
    case Phase::ended:
      break;
  }
  if (unread() >= kProduceBelow || (unread() > 0 && host_.unread_exhausted())) return false;
  if (held_) return held_->is_woken();
  return !busy_ && input_.has_frame();
}

bool Connection::run_slice(Instant until) {
  const auto self = shared_from_this();
  for (std::size_t units = 0; units < kUnitsPerSlice && has_work(); ++units) {
    work();
    if (host_.reactor().now() >= until) break;
  }
  flush();
  settle();
  return has_work();
}

void Connection::work() {
  if (const auto stream = held_) {
    stream->pull();
    return;
  }
  if (const auto frame = input_.next()) handle_frame(*frame);
}

void Connection::refuse_too_long() {
  refuse_and_close("call", "the request is longer than " +
                               std::to_string(host_.limits().request_bytes) + " bytes");
}

void Connection::handle_frame(std::string_view frame) {
  heard_ = true;
  waits_since_ = host_.reactor().now();
  if (frame.size() > host_.limits().request_bytes) {
    refuse_too_long();
    return;
  }
  auto parsed = varlink::parse_call(frame);
  if (const auto* fault = std::get_if<varlink::CallFault>(&parsed)) {
    if (fault->fatal) {
      refuse_and_close(fault->parameter, fault->message);
    } else {
      append(varlink::error_message(kInvalidParameter,
                                    invalid_parameter(fault->parameter, fault->message)));
    }
    return;
  }
  handle_call(std::move(std::get<varlink::CallMessage>(parsed)));
}

void Connection::handle_call(varlink::CallMessage call) {
  const Routed routed = host_.router().route(call, *peer_);
  switch (routed.kind) {
    case Routed::Kind::dispatch:
      dispatch(*routed.method, std::move(call));
      return;
    case Routed::Kind::answer:
      if (!call.oneway) append(varlink::reply_message(routed.parameters, false));
      return;
    case Routed::Kind::refuse:
      break;
  }
  if (routed.permission) host_.audit(true, *peer_, call.method, *call.parameters);
  if (!call.oneway) append(varlink::error_message(routed.error, routed.parameters));
  // Who may call nothing need not stay.
  if (!peer_->tier && phase_ != Phase::vanished) phase_ = Phase::closing;
}

void Connection::dispatch(const Method& method, varlink::CallMessage call) {
  const bool changes = method.tier != Tier::read;
  if (phase_ == Phase::vanished && !changes) return;
  if (changes) host_.audit(false, *peer_, call.method, *call.parameters);
  busy_ = true;
  auto pending = std::make_shared<PendingCall>(weak_from_this(), peer_, host_.router().interface(),
                                               method, std::move(call));
  current_ = pending;
  const bool vanished = phase_ == Phase::vanished;
  host_.dispatch(pending);
  if (vanished) {
    pending->abandon();
    busy_ = false;
    held_.reset();
  }
}

void Connection::refuse_and_close(std::string_view parameter, std::string_view message) {
  append(varlink::error_message(kInvalidParameter, invalid_parameter(parameter, message)));
  if (phase_ == Phase::vanished) {
    close();
  } else {
    phase_ = Phase::closing;
  }
}

void Connection::append(std::string message) {
  if (phase_ == Phase::vanished || phase_ == Phase::closed) return;
  output_ += message;
  host_.account(difference(unread(), accounted_unread_), 0);
  accounted_unread_ = unread();
}

void Connection::send_part(std::string message) {
  append(std::move(message));
  host_.wants_slice(*this);
}

void Connection::send_final(std::string message) {
  busy_ = false;
  const auto held = std::exchange(held_, nullptr);
  if (phase_ == Phase::closed) return;
  append(std::move(message));
  host_.wants_slice(*this);
}

void Connection::send_and_leave(std::string message, Call::Taker taker) {
  busy_ = false;
  if (phase_ != Phase::open && phase_ != Phase::ended) return;
  append(std::move(message));
  taker_ = std::move(taker);
  phase_ = Phase::leaving;
  host_.wants_slice(*this);
}

bool Connection::takes_parts() const {
  return phase_ != Phase::vanished && phase_ != Phase::closed &&
         unread() < host_.limits().unread_bytes && !host_.unread_exhausted();
}

void Connection::hold(std::shared_ptr<PendingCall> call) {
  if (phase_ == Phase::vanished || phase_ == Phase::closed) return;
  held_ = std::move(call);
  host_.wants_slice(*this);
}

void Connection::stream_woken() {
  host_.wants_slice(*this);
}

void Connection::discard_output() {
  output_ = std::string();
  sent_ = 0;
  host_.account(difference(0, accounted_unread_), 0);
  accounted_unread_ = 0;
}

void Connection::flush() {
  constexpr int kSendsAtOnce = 4;
  for (int sends = 0; sends < kSendsAtOnce && unread() > 0; ++sends) {
    const sys::Transfer sent =
        sys::send_bytes(socket_.get(), std::string_view(output_).substr(sent_, kMaxPieceBytes));
    if (sent.outcome == sys::Transfer::Outcome::would_block) break;
    if (sent.outcome != sys::Transfer::Outcome::done) {
      vanish();
      return;
    }
    sent_ += sent.bytes;
    waits_since_ = host_.reactor().now();
  }
  if (unread() == 0) {
    output_.clear();
    if (output_.capacity() > kKeptCapacity) output_.shrink_to_fit();
    sent_ = 0;
  } else if (sent_ >= host_.limits().unread_bytes) {
    output_.erase(0, sent_);
    sent_ = 0;
  }
  host_.account(difference(unread(), accounted_unread_), 0);
  accounted_unread_ = unread();
}

// Brings everything that follows from the state up to date.
void Connection::settle() {
  if (phase_ == Phase::closed) return;
  const bool has_frame = input_.has_frame();
  if (!has_frame && input_.size() > host_.limits().request_bytes &&
      (phase_ == Phase::open || phase_ == Phase::ended)) {
    refuse_too_long();
    flush();
  }
  const bool drained = unread() == 0;
  if (phase_ == Phase::leaving && drained) return leave();
  const bool done = (phase_ == Phase::closing && drained) ||
                    (phase_ == Phase::vanished && !busy_ && !has_frame) ||
                    (phase_ == Phase::ended && !busy_ && drained && !has_frame);
  if (done) {
    close();
    return;
  }
  host_.account(0, difference(input_.size(), accounted_unparsed_));
  accounted_unparsed_ = input_.size();
  host_.set_idle(*this, phase_ == Phase::open && !busy_ && drained && input_.empty());
  update_deadline(has_frame);
  update_interest();
}

void Connection::update_deadline(bool has_frame) {
  const bool waits_for_rest = !busy_ && !has_frame && !input_.empty();
  const bool waits_for_first = !peer_->tier && !heard_;
  const bool waits_for_last = phase_ == Phase::closing || phase_ == Phase::leaving;
  const bool waits = waits_for_rest || waits_for_first || waits_for_last;
  host_.set_deadline(*this, waits ? waits_since_ + host_.limits().request_time : Instant::never());
}

void Connection::update_interest() {
  if (!watch_) return;
  const std::size_t room =
      host_.unparsed_exhausted() ? kSmallInput : host_.limits().request_bytes + 1;
  watch_->set_interest(phase_ == Phase::open && input_.size() < room, unread() > 0);
}

void Connection::deadline_passed() {
  const auto self = shared_from_this();
  if (phase_ == Phase::closing || phase_ == Phase::leaving || input_.empty()) {
    close();
    return;
  }
  refuse_and_close("call", "the request did not come to its end in time");
  waits_since_ = host_.reactor().now();
  flush();
  settle();
}

void Connection::leave() {
  const auto self = shared_from_this();
  std::string rest(input_.rest());
  UniqueFd socket = std::move(socket_);
  const Call::Taker taker = std::exchange(taker_, nullptr);
  close();
  taker(std::move(socket), std::move(rest));
}

void Connection::close() {
  if (phase_ == Phase::closed) return;
  const auto self = shared_from_this();
  phase_ = Phase::closed;
  watch_.reset();
  discard_output();
  host_.account(0, difference(0, accounted_unparsed_));
  accounted_unparsed_ = 0;
  socket_.reset();
  const auto held = std::exchange(held_, nullptr);
  if (busy_) {
    busy_ = false;
    if (const auto call = current_.lock()) call->abandon();
  }
  host_.closed(*this);
}

}  // namespace mtd::control
