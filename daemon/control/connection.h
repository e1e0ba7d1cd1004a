// Connection: one client of the control socket. Reads requests, has them routed, keeps their
// answers in order, writes as the client reads. Works in slices that its host hands out, so that no
// client keeps the others waiting. Used by the transport only.
#pragma once

#include <cstddef>
#include <list>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "common/unique_fd.h"
#include "common/varlink_frames.h"
#include "daemon/control/pending_call.h"
#include "daemon/control/reactor.h"
#include "daemon/control/router.h"
#include "daemon/control/server.h"

namespace mtd::control {

class Connection;

// The server, as its connections see it.
class ConnectionHost {
 public:
  virtual ~ConnectionHost() = default;
  [[nodiscard]] virtual Reactor& reactor() = 0;
  [[nodiscard]] virtual const ControlLimits& limits() const = 0;
  [[nodiscard]] virtual const ControlRouter& router() const = 0;
  [[nodiscard]] virtual std::span<char> scratch() = 0;  // for reading, shared by all
  virtual void dispatch(std::shared_ptr<Call> call) = 0;
  virtual void audit(bool refused, const Peer& peer, const std::string& method,
                     const nlohmann::json& parameters) = 0;
  virtual void wants_slice(Connection& connection) = 0;
  virtual void set_deadline(Connection& connection, Instant at) = 0;  // never: none
  virtual void set_idle(Connection& connection, bool idle) = 0;
  virtual void closed(Connection& connection) = 0;
  // Bytes held for clients have changed by so much.
  virtual void account(std::ptrdiff_t unread, std::ptrdiff_t unparsed) = 0;
  [[nodiscard]] virtual bool unread_exhausted() const = 0;
  [[nodiscard]] virtual bool unparsed_exhausted() const = 0;
};

class Connection final : public CallOwner, public std::enable_shared_from_this<Connection> {
 public:
  Connection(ConnectionHost& host, UniqueFd socket, Peer peer);
  ~Connection() override;

  void start();
  // Does some work, until `until` at the latest. True: more could be done at once.
  [[nodiscard]] bool run_slice(Instant until);
  void deadline_passed();
  void flush();
  // At once; what is unread is lost. The host forgets this connection.
  void close();

  [[nodiscard]] const Peer& peer() const { return *peer_; }
  [[nodiscard]] std::size_t unread() const { return output_.size() - sent_; }

  // CallOwner
  void send_part(std::string message) override;
  void send_final(std::string message) override;
  void send_and_leave(std::string message, Call::Taker taker) override;
  [[nodiscard]] bool takes_parts() const override;
  void hold(std::shared_ptr<PendingCall> call) override;
  void stream_woken() override;

  // The host's own notes about this connection.
  struct Notes {
    bool queued = false;
    std::optional<std::list<Connection*>::iterator> idle;
    Instant deadline = Instant::never();
  } notes;

 private:
  enum class Phase {
    open,      // reads and answers
    ended,     // the client sends no more; its requests are answered
    vanished,  // nobody reads answers any more; what changes something is still done
    closing,   // the last answer is on its way
    leaving,   // so is it, and then the socket is somebody else's
    closed,
  };

  void on_ready(FdReadiness readiness);
  [[nodiscard]] bool read_once();
  void vanish();
  [[nodiscard]] bool has_work();
  void work();
  void handle_frame(std::string_view frame);
  void handle_call(varlink::CallMessage call);
  void refuse_and_close(std::string_view parameter, std::string_view message);
  void refuse_too_long();
  void dispatch(const Method& method, varlink::CallMessage call);
  void append(std::string message);
  void discard_output();
  void leave();
  void settle();
  void update_deadline(bool has_frame);
  void update_interest();

  ConnectionHost& host_;
  UniqueFd socket_;
  std::unique_ptr<Reactor::FdWatch> watch_;
  std::shared_ptr<const Peer> peer_;
  varlink::FrameBuffer input_;
  std::string output_;
  std::size_t sent_ = 0;  // of output_
  std::size_t accounted_unread_ = 0;
  std::size_t accounted_unparsed_ = 0;
  std::weak_ptr<PendingCall> current_;
  std::shared_ptr<PendingCall> held_;       // the current one when it is a stream
  Instant waits_since_ = Instant::never();  // for the client: rest of a request, or reading
  Phase phase_ = Phase::open;
  Call::Taker taker_;
  bool busy_ = false;   // the current call awaits its final answer
  bool heard_ = false;  // a first request came
};

}  // namespace mtd::control
