// KeeperLink: a role's end of the keeper's protocol. Never blocks: what the socket does not take
// waits in an outbox, which `flush` empties when the event loop says the socket is writable again.
// The outbox has a limit: a keeper that has not read for so long does not come back, and flush and
// receive tell it as gone.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "common/result.h"
#include "common/unique_fd.h"
#include "daemon/sys/keeper_protocol.h"

namespace mtd::keeper {

// A text of a message: up to its NUL, or all of it.
template <std::size_t N>
[[nodiscard]] std::string text_of(const char (&text)[N]) {
  const std::string_view all(text, N);
  return std::string(all.substr(0, all.find('\0')));
}

}  // namespace mtd::keeper

namespace mtd::sys {

// In the outbox: every process of a full table, spawned and signalled at once, with room to spare.
inline constexpr std::size_t kMaxOutbox = 512 * 1024;

struct HeldDescriptor {
  keeper::Held message;
  UniqueFd fd;  // empty when message.error != 0
};

using KeeperMessage =
    std::variant<keeper::Hello, keeper::Ack, keeper::Entry, keeper::ListEnd, HeldDescriptor,
                 keeper::Orphans, keeper::DaemonSignal, keeper::Ping, keeper::Deaths,
                 keeper::Programs, keeper::UpgradeState>;

// One message as it came; nothing: one of a newer keeper that means nothing here. An Error with
// EPROTO: a keeper of another protocol, or nonsense.
[[nodiscard]] Result<std::optional<KeeperMessage>> decode_keeper_message(const char* bytes,
                                                                         std::size_t size,
                                                                         std::vector<UniqueFd> fds);

class KeeperLink {
 public:
  explicit KeeperLink(UniqueFd socket) : socket_(std::move(socket)) {}

  [[nodiscard]] int fd() const { return socket_.get(); }
  // True while the outbox holds something: watch for writability too.
  [[nodiscard]] bool wants_write() const { return !outbox_.empty(); }
  Result<void> flush();

  // The next message, nothing when there is none now, an Error when the keeper is gone or spoke
  // nonsense (a role then ends: without the keeper it owns nothing).
  [[nodiscard]] Result<std::optional<KeeperMessage>> receive();

  // Each returns the serial that the answer will carry.
  std::uint64_t list();
  std::uint64_t revision(std::uint64_t id, int spec_fd, std::uint32_t spec_bytes,
                         const std::vector<int>& descriptors, std::uint32_t own = 0);
  std::uint64_t forget(std::uint64_t id);
  // label: at most kLabelBytes; cgroup_fd < 0: none; own: as many as its revision asks for.
  std::uint64_t spawn(const keeper::Key& key, std::uint64_t revision, std::string_view label,
                      std::uint32_t setup_timeout_ms, int cgroup_fd,
                      const std::vector<int>& own = {});
  std::uint64_t signal(const keeper::Key& key, int signal, keeper::Scope scope);
  void release(const keeper::Key& key);
  std::uint64_t hold(std::string_view name, int fd);
  std::uint64_t fetch(std::string_view name);
  std::uint64_t drop(std::string_view name);
  void ready();
  void notify(std::string_view text);  // e.g. "STATUS=…"; cut at kNotifyTextBytes
  void finish(int code);
  void pong();  // to the last ping that was received
  std::uint64_t snapshot();
  std::uint64_t upgrade(std::string_view version, int keeper_fd, int supervisor_fd);

 private:
  struct Outgoing {
    std::vector<char> bytes;
    std::vector<UniqueFd> descriptors;  // duplicates, so the caller may close its own
  };
  void post(void* message, std::uint32_t size, keeper::Type type, std::uint64_t serial,
            const std::vector<int>& fds);
  std::uint64_t post(void* message, std::uint32_t size, keeper::Type type,
                     const std::vector<int>& fds);

  UniqueFd socket_;
  std::deque<Outgoing> outbox_;
  bool overflown_ = false;
  std::uint64_t next_serial_ = 1, ping_serial_ = 0;
};

}  // namespace mtd::sys
