// Starts the real mtd in a directory of its own where keeper_role stands in for mtd-supervisor, so
// that the test speaks with the keeper as the supervisor does. Everything is ended and removed with
// it.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "common/unique_fd.h"
#include "daemon/sys/keeper_link.h"
#include "daemon/sys/spawn_spec.h"

namespace mtd::test {

inline constexpr std::chrono::seconds kPatience{
    20};  // an event that has not come by then never will

#if defined(__SANITIZE_ADDRESS__)
inline constexpr bool kSanitized = true;
#elif defined(__has_feature)
inline constexpr bool kSanitized = __has_feature(address_sanitizer);
#else
inline constexpr bool kSanitized = false;
#endif

struct Start {
  std::vector<std::string> prefix;     // a program that executes mtd: strace, setpriv, unshare …
  std::vector<std::string> arguments;  // of mtd
  std::vector<std::string> environment;  // added
  std::function<void()> in_child;        // between fork and exec: makes a dirty parent
  bool accept = true;                    // wait for the first role
  bool quick = false;                    // the keeper whose long waits are short
};

// One life of the role: the keeper's socket, and the process that was started for it.
struct RoleEnd {
  sys::KeeperLink link;
  UniqueFd control;  // closing it, or a byte written to it, ends the process
  pid_t pid = 0;
};

class KeeperRun {
 public:
  explicit KeeperRun(Start start = {});
  ~KeeperRun();
  KeeperRun(const KeeperRun&) = delete;
  KeeperRun& operator=(const KeeperRun&) = delete;

  [[nodiscard]] pid_t pid() const { return pid_; }
  [[nodiscard]] const std::string& directory() const { return directory_; }
  [[nodiscard]] RoleEnd& role() { return *role_; }
  [[nodiscard]] sys::KeeperLink& link() { return role_->link; }
  [[nodiscard]] const keeper::Hello& hello() const { return hello_; }

  void accept_role();       // waits for the next life, and reads its hello
  void end_role(int code);  // the role exits by itself
  void kill_role();         // SIGKILL, and gone
  std::optional<int> wait_exit(std::chrono::seconds patience = kPatience);  // wait status of mtd

  // The next message, of any kind; nothing after `patience`.
  std::optional<sys::KeeperMessage> next(std::chrono::milliseconds patience = kPatience);
  std::int32_t ack(std::uint64_t serial);  // reads on until that ack; entries met are kept
  // Reads on until the entry of `key` satisfies `wanted`.
  keeper::Entry entry(const keeper::Key& key,
                      const std::function<bool(const keeper::Entry&)>& wanted);
  keeper::Entry exited(const keeper::Key& key);
  keeper::Entry running(const keeper::Key& key);
  std::vector<keeper::Entry> list();
  void note(const sys::KeeperMessage& message);

  void add_revision(std::uint64_t id, const sys::SpawnSpec& spec, const std::vector<int>& fds = {});
  [[nodiscard]] sys::SpawnSpec worker(std::vector<std::string> arguments) const;

  keeper::Deaths deaths;                           // of earlier roles, as the last one was told
  std::uint64_t strangers = 0;                     // reaped by the keeper, as far as it was told
  std::map<std::uint64_t, keeper::Entry> entries;  // by incarnation: tests use it as the number

 private:
  std::string directory_;
  UniqueFd listener_;
  pid_t pid_ = -1;
  std::optional<int> status_;
  std::optional<RoleEnd> role_;
  keeper::Hello hello_;
};

[[nodiscard]] keeper::Key key(std::uint64_t number);
[[nodiscard]] std::string read_all(int fd);
[[nodiscard]] bool gone(pid_t pid);  // no process, not even a zombie, has this number
// The next signal to mtd that the role is told of.
[[nodiscard]] keeper::DaemonSignal next_signal(KeeperRun& run);
struct Pipe {
  UniqueFd read, write;
};
[[nodiscard]] Pipe make_pipe();

// Uploads `spec` as revision `number`, spawns key(number) from it, and waits for its end.
keeper::Entry run_once(KeeperRun& run, const sys::SpawnSpec& spec, std::uint64_t number,
                       const std::vector<int>& fds = {}, std::uint32_t timeout_ms = 10'000);
[[nodiscard]] bool has_strace();
[[nodiscard]] std::string read_file(const std::string& path);  // empty: it is not there
[[nodiscard]] bool write_file(const std::string& path, const std::string& text);
[[nodiscard]] std::string proc(pid_t pid, const char* file);  // /proc/PID/FILE
[[nodiscard]] std::size_t open_descriptors(pid_t pid);

}  // namespace mtd::test
