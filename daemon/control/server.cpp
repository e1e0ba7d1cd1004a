#include "daemon/control/server.h"

#include <array>
#include <deque>
#include <exception>
#include <set>
#include <utility>

#include <nlohmann/json.hpp>

#include "common/escape.h"
#include "common/varlink_json.h"
#include "common/varlink_message.h"
#include "daemon/control/clients.h"
#include "daemon/control/connection.h"
#include "daemon/control/router.h"
#include "daemon/sys/stream_socket.h"

namespace mtd::control {
namespace {

using nlohmann::json;

constexpr int kAcceptsAtOnce = 16;
constexpr int kWakesAtOnce = 64;
constexpr int kSlicesAtOnce = 256;  // a bound of a turn that needs no clock
constexpr Duration kAcceptPause = Duration::milliseconds(100);
constexpr std::size_t kAuditBytes = 256;
constexpr std::size_t kReadBytes = 64 * 1024;

std::string shorten(std::string text) {
  if (text.size() <= kAuditBytes) return text;
  text.resize(kAuditBytes - 3);  // may cut a character: whoever writes the log escapes once more
  return text + "...";
}

}  // namespace

class ControlServer::Impl final : public ConnectionHost {
 public:
  Impl(Reactor& reactor, Dispatcher& dispatcher, AccessPolicy policy, ControlLimits limits,
       ServiceInfo info);
  ~Impl() override;

  void set_listener(UniqueFd listener);
  void set_policy(AccessPolicy policy) { policy_ = policy; }
  void set_limits(ControlLimits limits) { limits_ = limits; }
  void on_audit(std::function<void(const AuditRecord&)> callback) { audit_ = std::move(callback); }
  void wake_all(std::vector<std::weak_ptr<Call>>&& calls);
  void flush();
  [[nodiscard]] ControlUse use() const;

  // ConnectionHost
  [[nodiscard]] Reactor& reactor() override { return reactor_; }
  [[nodiscard]] const ControlLimits& limits() const override { return limits_; }
  [[nodiscard]] const ControlRouter& router() const override { return router_; }
  [[nodiscard]] std::span<char> scratch() override { return scratch_; }
  void dispatch(std::shared_ptr<Call> call) override;
  void audit(bool refused, const Peer& peer, const std::string& method,
             const json& parameters) override;
  void wants_slice(Connection& connection) override;
  void set_deadline(Connection& connection, Instant at) override;
  void set_idle(Connection& connection, bool idle) override { clients_.set_idle(connection, idle); }
  void closed(Connection& connection) override;
  void account(std::ptrdiff_t unread, std::ptrdiff_t unparsed) override;
  [[nodiscard]] bool unread_exhausted() const override {
    return unread_ >= limits_.unread_bytes_total;
  }
  [[nodiscard]] bool unparsed_exhausted() const override {
    return unparsed_ >= limits_.unparsed_bytes_total;
  }

 private:
  using Deadline = std::pair<Instant, Connection*>;

  void accept_some();
  [[nodiscard]] bool find_descriptor();
  [[nodiscard]] bool accept_with_spare();
  void pause_accepting();
  void admit(sys::AcceptedSocket accepted);
  void turn();
  void wake_some(Instant until);
  void deadlines_passed();

  Reactor& reactor_;
  Dispatcher& dispatcher_;
  AccessPolicy policy_;
  ControlLimits limits_;
  ControlRouter router_;
  std::function<void(const AuditRecord&)> audit_;
  std::array<char, kReadBytes> scratch_{};
  std::size_t unread_ = 0;
  std::size_t unparsed_ = 0;
  std::uint64_t accepted_ = 0, refused_ = 0, calls_ = 0;

  UniqueFd listener_;
  UniqueFd spare_;  // given up when a client can be accepted in no other way
  std::unique_ptr<Reactor::FdWatch> listener_watch_;
  std::unique_ptr<Reactor::Timer> accept_timer_, deadline_timer_;
  std::unique_ptr<Reactor::Deferred> turn_;
  std::set<Deadline> deadlines_;
  std::deque<std::weak_ptr<Connection>> ready_;
  std::deque<std::vector<std::weak_ptr<Call>>> wakes_;
  ControlClients clients_;
};

ControlServer::Impl::Impl(Reactor& reactor, Dispatcher& dispatcher, AccessPolicy policy,
                          ControlLimits limits, ServiceInfo info)
    : reactor_(reactor),
      dispatcher_(dispatcher),
      policy_(policy),
      limits_(limits),
      router_(std::move(info)),
      spare_(sys::spare_descriptor()),
      accept_timer_(reactor.make_timer([this] {
        if (listener_watch_) listener_watch_->set_interest(true, false);
      })),
      deadline_timer_(reactor.make_timer([this] { deadlines_passed(); })),
      turn_(reactor.make_deferred([this] { turn(); })) {}

ControlServer::Impl::~Impl() {
  clients_.clear();
}

void ControlServer::Impl::set_listener(UniqueFd listener) {
  listener_watch_.reset();
  listener_ = std::move(listener);
  if (!listener_) return;
  listener_watch_ =
      reactor_.watch_fd(listener_.get(), true, false, [this](FdReadiness) { accept_some(); });
}

// --- coming and going

void ControlServer::Impl::accept_some() {
  for (int i = 0; i < kAcceptsAtOnce; ++i) {
    sys::AcceptedSocket accepted;
    switch (sys::accept_socket(listener_.get(), accepted)) {
      case sys::AcceptOutcome::accepted:
        admit(std::move(accepted));
        break;
      case sys::AcceptOutcome::nothing_waits:
        return;
      case sys::AcceptOutcome::no_descriptors:
        if (!find_descriptor()) return pause_accepting();
        break;
      case sys::AcceptOutcome::failed:
        return pause_accepting();
    }
  }
}

bool ControlServer::Impl::find_descriptor() {
  return clients_.drop_idle() || accept_with_spare();
}

// Whoever waits is taken with the spare descriptor: it is either let in for good, or sent away, so
// that the backlog does not keep the loop awake.
bool ControlServer::Impl::accept_with_spare() {
  if (!spare_) return false;
  spare_.reset();
  sys::AcceptedSocket accepted;
  const bool came = sys::accept_socket(listener_.get(), accepted) == sys::AcceptOutcome::accepted;
  if (came && classify(policy_, {accepted.uid, accepted.gid, accepted.pid, {}}).privileged) {
    admit(std::move(accepted));
    return true;
  }
  if (came) ++refused_;
  accepted.fd.reset();
  spare_ = sys::spare_descriptor();
  return came;
}

void ControlServer::Impl::pause_accepting() {
  listener_watch_->set_interest(false, false);
  accept_timer_->arm(reactor_.now() + kAcceptPause);
}

void ControlServer::Impl::admit(sys::AcceptedSocket accepted) {
  Peer peer =
      classify(policy_, {accepted.uid, accepted.gid, accepted.pid, std::move(accepted.groups)});
  peer.credentials.groups = {};  // up to 65 536 of them, needed no more
  if (!clients_.make_room(peer, limits_)) {
    ++refused_;
    const std::string full =
        varlink::error_message(full_error_name(router_.interface(), "Busy"),
                               R"({"message":"too many clients are connected"})");
    (void)sys::send_bytes(accepted.fd.get(), full);  // read as the answer of the first call
    return;
  }
  ++accepted_;
  auto connection = std::make_shared<Connection>(*this, std::move(accepted.fd), std::move(peer));
  clients_.add(connection);
  connection->start();
}

void ControlServer::Impl::closed(Connection& connection) {
  set_deadline(connection, Instant::never());
  clients_.remove(connection);
  if (!spare_) spare_ = sys::spare_descriptor();
}

// --- work, in turns

void ControlServer::Impl::wants_slice(Connection& connection) {
  if (std::exchange(connection.notes.queued, true)) return;
  ready_.push_back(connection.weak_from_this());
  turn_->schedule();
}

void ControlServer::Impl::wake_all(std::vector<std::weak_ptr<Call>>&& calls) {
  if (calls.empty()) return;
  wakes_.push_back(std::move(calls));
  turn_->schedule();
}

void ControlServer::Impl::wake_some(Instant until) {
  while (!wakes_.empty() && reactor_.now() < until) {
    auto& batch = wakes_.front();
    for (int i = 0; i < kWakesAtOnce && !batch.empty(); ++i) {
      const auto call = batch.back().lock();
      batch.pop_back();
      if (call) call->wake();
    }
    if (batch.empty()) {
      wakes_.pop_front();
    } else {
      return;
    }
  }
}

void ControlServer::Impl::turn() {
  const Instant until = reactor_.now() + limits_.turn;
  wake_some(until);
  for (int i = 0; i < kSlicesAtOnce && !ready_.empty(); ++i) {
    const auto connection = ready_.front().lock();
    ready_.pop_front();
    if (!connection) continue;
    connection->notes.queued = false;
    if (connection->run_slice(until)) wants_slice(*connection);
    if (reactor_.now() >= until) break;
  }
  while (unread_ > limits_.unread_bytes_total && clients_.size() > 0)
    clients_.drop_worst_reader();
  if (!ready_.empty() || !wakes_.empty()) turn_->schedule();
}

void ControlServer::Impl::dispatch(std::shared_ptr<Call> call) {
  ++calls_;
  try {
    dispatcher_.dispatch(call);
  } catch (const std::exception& error) {
    call->error("Failed", json{{"message", std::string("internal error: ") + error.what()}});
  }
}

void ControlServer::Impl::audit(bool refused, const Peer& peer, const std::string& method,
                                const json& parameters) {
  if (!audit_) return;
  const std::string name = shorten(escape_for_terminal(method));
  audit_({refused, peer, name, shorten(escape_for_terminal(varlink::to_text(parameters)))});
}

void ControlServer::Impl::account(std::ptrdiff_t unread, std::ptrdiff_t unparsed) {
  unread_ = static_cast<std::size_t>(static_cast<std::ptrdiff_t>(unread_) + unread);
  unparsed_ = static_cast<std::size_t>(static_cast<std::ptrdiff_t>(unparsed_) + unparsed);
}

// --- deadlines

void ControlServer::Impl::set_deadline(Connection& connection, Instant at) {
  Instant& current = connection.notes.deadline;
  if (current == at) return;
  if (!current.is_never()) deadlines_.erase({current, &connection});
  current = at;
  if (!at.is_never()) deadlines_.insert({at, &connection});
  deadline_timer_->arm(deadlines_.empty() ? Instant::never() : deadlines_.begin()->first);
}

void ControlServer::Impl::deadlines_passed() {
  const Instant now = reactor_.now();
  while (!deadlines_.empty() && deadlines_.begin()->first <= now) {
    Connection& connection = *deadlines_.begin()->second;
    set_deadline(connection, Instant::never());
    connection.deadline_passed();
  }
  if (!deadlines_.empty()) deadline_timer_->arm(deadlines_.begin()->first);
}

void ControlServer::Impl::flush() {
  clients_.for_each([](Connection& connection) { (void)connection.run_slice(Instant::never()); });
}

ControlUse ControlServer::Impl::use() const {
  return {clients_.size(),         unread_, unparsed_, accepted_, refused_,
          clients_.dropped_idle(), calls_};
}

ControlServer::ControlServer(Reactor& reactor, Dispatcher& dispatcher, UniqueFd listener,
                             AccessPolicy policy, ControlLimits limits, ServiceInfo info)
    : impl_(std::make_unique<Impl>(reactor, dispatcher, policy, limits, std::move(info))) {
  impl_->set_listener(std::move(listener));
}

ControlServer::~ControlServer() = default;

void ControlServer::on_audit(std::function<void(const AuditRecord&)> callback) {
  impl_->on_audit(std::move(callback));
}
void ControlServer::set_policy(AccessPolicy policy) {
  impl_->set_policy(policy);
}
void ControlServer::set_limits(ControlLimits limits) {
  impl_->set_limits(limits);
}
void ControlServer::set_listener(UniqueFd listener) {
  impl_->set_listener(std::move(listener));
}
void ControlServer::wake_all(std::vector<std::weak_ptr<Call>>&& calls) {
  impl_->wake_all(std::move(calls));
}
void ControlServer::flush() {
  impl_->flush();
}
ControlUse ControlServer::use() const {
  return impl_->use();
}

}  // namespace mtd::control
