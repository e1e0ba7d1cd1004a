// PendingCall: the Call that handlers hold, tied to the connection it came by. Used by the
// transport only.
#pragma once

#include <memory>

#include "common/varlink_message.h"
#include "daemon/control/call.h"

namespace mtd::control {

inline constexpr std::size_t kMaxReplyBytes = 16u << 20;

// The connection, as a call sees it.
class CallOwner {
 public:
  virtual ~CallOwner() = default;
  virtual void send_part(std::string message) = 0;
  virtual void send_final(std::string message) = 0;  // empty: nothing is sent
  [[nodiscard]] virtual bool takes_parts() const = 0;
  // The final answer, and what becomes of the socket after it.
  virtual void send_and_leave(std::string message, Call::Taker taker) = 0;
  virtual void hold(std::shared_ptr<class PendingCall> call) = 0;  // a stream is held until its end
  virtual void stream_woken() = 0;
};

class PendingCall final : public Call, public std::enable_shared_from_this<PendingCall> {
 public:
  PendingCall(std::weak_ptr<CallOwner> owner, std::shared_ptr<const Peer> peer,
              const Interface& interface, const Method& method, varlink::CallMessage message);
  ~PendingCall() override;

  [[nodiscard]] const Method& method() const override { return method_; }
  [[nodiscard]] const nlohmann::json& parameters() const override { return *message_.parameters; }
  [[nodiscard]] const Peer& peer() const override { return *peer_; }
  [[nodiscard]] bool wants_more() const override;
  [[nodiscard]] bool connected() const override { return !done_ && !owner_.expired(); }
  void reply(const nlohmann::json& parameters) override;
  void error(std::string_view name, const nlohmann::json& parameters) override;
  bool reply_part(const nlohmann::json& parameters) override;
  void stream(std::function<Piece()> next) override;
  void hand_over(const nlohmann::json& parameters, Taker taker) override;
  void wake() override;
  void on_disconnect(std::function<void()> callback) override;

  // For the connection: is there a piece to ask for; ask for one; the client has gone.
  [[nodiscard]] bool is_woken() const { return woken_ && !done_; }
  void pull();
  void abandon();

 private:
  void finish(std::string message);
  [[nodiscard]] std::string failed(const std::string& message) const;
  void take(Piece piece);

  std::weak_ptr<CallOwner> owner_;
  std::shared_ptr<const Peer> peer_;
  const Interface& interface_;
  const Method& method_;
  varlink::CallMessage message_;
  std::function<Piece()> next_;
  std::function<void()> gone_;
  bool streaming_ = false;  // answers by pulling
  bool woken_ = false;      // and has something to say
  bool done_ = false;       // no answer is due any more
  bool abandoned_ = false;  // because the client has gone
};

}  // namespace mtd::control
