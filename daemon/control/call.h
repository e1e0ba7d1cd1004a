// Call: one accepted call of a control client, to be answered now or later by whoever holds it.
// The transport has checked it already: method known, caller's tier sufficient, parameters of the
// names and types of the method table, required ones present; a null optional parameter was
// removed.
//
// Exactly one final answer is due: reply(), error(), or a stream whose last piece came. Further
// answers are ignored. Everything is safe after the client has gone (it does nothing then), and
// `oneway` calls are answered alike: the answer is dropped. Answers of pipelined calls go out in
// the order of the calls: the next call of the same connection is dispatched after the final answer
// of this one. A Call dropped without an answer is answered with Failed by its destructor.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include <nlohmann/json_fwd.hpp>

#include "common/control_methods.h"
#include "common/unique_fd.h"
#include "daemon/control/access.h"

namespace mtd::control {

// One step of a stream: the parameters of a reply as JSON text, at most kMaxPieceBytes.
struct Piece {
  enum class Kind {
    part,  // a reply with "continues"
    last,  // the final reply
    wait,  // nothing to say now; the stream is asked again after Call::wake()
  };
  Kind kind = Kind::wait;
  std::string parameters;

  [[nodiscard]] static Piece part(const nlohmann::json& parameters);
  [[nodiscard]] static Piece last(const nlohmann::json& parameters);
  [[nodiscard]] static Piece wait() { return {}; }
};

inline constexpr std::size_t kMaxPieceBytes = 64 * 1024;

class Call {
 public:
  virtual ~Call() = default;

  [[nodiscard]] virtual const Method& method() const = 0;
  [[nodiscard]] virtual const nlohmann::json& parameters() const = 0;  // always an object
  [[nodiscard]] virtual const Peer& peer() const = 0;
  // Several replies are wanted and the method gives them. False for a `more` call of a method that
  // never streams: it gets its one reply.
  [[nodiscard]] virtual bool wants_more() const = 0;
  [[nodiscard]] virtual bool connected() const = 0;

  // The final answer. Replies beyond 16 MiB are replaced by Failed.
  virtual void reply(const nlohmann::json& parameters) = 0;
  // `name` in full ("org.varlink.service.InvalidParameter") or short ("NoSuchPool":
  // the interface that is served).
  virtual void error(std::string_view name, const nlohmann::json& parameters) = 0;
  // A reply with "continues", for progress; only when wants_more(). False: dropped, because 256 KiB
  // wait unread already, or the client has gone.
  virtual bool reply_part(const nlohmann::json& parameters) = 0;
  // Answers by pulling: `next` is called whenever the socket takes more, until a last piece, or
  // until the client goes. Without wants_more() the first piece that is not `wait` is sent as the
  // only reply. `next` must not block and may run inside this call.
  virtual void stream(std::function<Piece()> next) = 0;
  // The final answer; when it has been sent, the socket and what was read from it beyond the call
  // are `taker`'s. Only of methods that upgrade; the call is over for the transport, and
  // on_disconnect is not run. `taker` does not run if the client goes before.
  using Taker = std::function<void(UniqueFd socket, std::string unread)>;
  virtual void hand_over(const nlohmann::json& parameters, Taker taker) = 0;
  // The stream has something to say again. Cheap; at any time.
  virtual void wake() = 0;
  // Runs once if the client goes before the final answer; never after it. May run inside this call.
  virtual void on_disconnect(std::function<void()> callback) = 0;
};

// Implemented by the handlers. Called once a call, never re-entered from inside an answer.
class Dispatcher {
 public:
  virtual ~Dispatcher() = default;
  virtual void dispatch(std::shared_ptr<Call> call) = 0;
};

}  // namespace mtd::control
