#include "daemon/control/pending_call.h"

#include <exception>
#include <utility>

#include <nlohmann/json.hpp>

#include "common/varlink_json.h"
#include "daemon/control/router.h"

namespace mtd::control {
namespace {

using nlohmann::json;
using varlink::error_message;
using varlink::reply_message;
using varlink::to_text;

}  // namespace

Piece Piece::part(const json& parameters) {
  return {Kind::part, to_text(parameters)};
}
Piece Piece::last(const json& parameters) {
  return {Kind::last, to_text(parameters)};
}

PendingCall::PendingCall(std::weak_ptr<CallOwner> owner, std::shared_ptr<const Peer> peer,
                         const Interface& interface, const Method& method,
                         varlink::CallMessage message)
    : owner_(std::move(owner)),
      peer_(std::move(peer)),
      interface_(interface),
      method_(method),
      message_(std::move(message)) {}

PendingCall::~PendingCall() {
  if (!done_) finish(failed(std::string(method_.name) + " was given up without an answer"));
}

std::string PendingCall::failed(const std::string& message) const {
  return error_message(full_error_name(interface_, "Failed"), to_text(json{{"message", message}}));
}

bool PendingCall::wants_more() const {
  return message_.more && method_.streaming != Streaming::no;
}

void PendingCall::finish(std::string message) {
  done_ = true;
  woken_ = streaming_ = false;
  // They may own what owns this call; they end at the end of this scope.
  const std::function<Piece()> next = std::exchange(next_, nullptr);
  const std::function<void()> gone = std::exchange(gone_, nullptr);
  if (const auto owner = owner_.lock()) {
    owner->send_final(message_.oneway ? std::string() : std::move(message));
  }
}

void PendingCall::reply(const json& parameters) {
  if (done_) return;
  const std::string text = to_text(parameters);
  finish(text.size() > kMaxReplyBytes
             ? failed("the answer is longer than 16 MiB; select less or call with more")
             : reply_message(text, false));
}

void PendingCall::error(std::string_view name, const json& parameters) {
  if (done_) return;
  const std::string text = parameters.is_object() ? to_text(parameters) : "{}";
  finish(text.size() > kMaxReplyBytes ? failed("the answer is longer than 16 MiB")
                                      : error_message(full_error_name(interface_, name), text));
}

bool PendingCall::reply_part(const json& parameters) {
  const auto owner = owner_.lock();
  if (done_ || !owner || !wants_more() || !owner->takes_parts()) return false;
  std::string text = to_text(parameters);
  if (text.size() > kMaxReplyBytes) return false;
  owner->send_part(reply_message(text, true));
  return true;
}

void PendingCall::stream(std::function<Piece()> next) {
  if (done_) return;
  next_ = std::move(next);
  woken_ = streaming_ = true;
  if (const auto owner = owner_.lock()) owner->hold(shared_from_this());
}

void PendingCall::hand_over(const json& parameters, Taker taker) {
  if (done_) return;
  done_ = true;
  gone_ = nullptr;
  if (const auto owner = owner_.lock())
    owner->send_and_leave(reply_message(to_text(parameters), false), std::move(taker));
}

void PendingCall::wake() {
  if (!streaming_ || woken_) return;
  woken_ = true;
  if (const auto owner = owner_.lock()) owner->stream_woken();
}

void PendingCall::on_disconnect(std::function<void()> callback) {
  if (abandoned_ && callback) {
    callback();
  } else if (!done_) {
    gone_ = std::move(callback);
  }
}

void PendingCall::pull() {
  if (done_ || !next_) return;
  woken_ = false;
  std::function<Piece()> next = std::exchange(next_, nullptr);
  Piece piece;
  try {
    piece = next();
  } catch (const std::exception& error) {
    if (!done_) finish(failed(std::string("internal error: ") + error.what()));
    return;
  }
  if (done_) return;
  if (!next_) next_ = std::move(next);
  take(std::move(piece));
}

void PendingCall::take(Piece piece) {
  const auto owner = owner_.lock();
  switch (piece.kind) {
    case Piece::Kind::wait:
      return;
    case Piece::Kind::part:
      if (!wants_more()) {
        finish(reply_message(piece.parameters, false));
        return;
      }
      woken_ = true;
      if (owner) owner->send_part(reply_message(piece.parameters, true));
      return;
    case Piece::Kind::last:
      finish(reply_message(piece.parameters, false));
      return;
  }
}

void PendingCall::abandon() {
  if (done_) return;
  done_ = abandoned_ = true;
  woken_ = streaming_ = false;
  const std::function<Piece()> next = std::exchange(next_, nullptr);
  const std::function<void()> gone = std::exchange(gone_, nullptr);
  if (gone) gone();
}

}  // namespace mtd::control
