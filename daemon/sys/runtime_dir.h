// The runtime directory and the files mtd makes in it: directory with the right owner and mode, the
// lock that makes one daemon its owner, and listening Unix sockets. Modes come from the umask at
// creation; nothing is changed afterwards, so that nobody can slip something else under the name in
// between.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "common/result.h"
#include "common/unique_fd.h"

namespace mtd::sys {

[[nodiscard]] uid_t own_uid();
[[nodiscard]] std::string environment(const char* name);  // empty when unset

// /run/mtd for root, $XDG_RUNTIME_DIR/mtd or /tmp/mtd-UID for others.
[[nodiscard]] std::string default_runtime_dir();
// Makes it if needed (root: 0755, others: 0700), opens it, and checks: a directory, not a link,
// ours, writable for nobody else.
[[nodiscard]] Result<UniqueFd> open_runtime_dir(const std::string& path);

struct LockHeld {
  pid_t owner = 0;     // 0: not known
  bool alive = false;  // false: what holds the lock is only left of it
};
struct OwnerLock {
  UniqueFd fd;
  // Instances of former owners that may have left processes, newest first, at most 16. An owner
  // that ended in order is none of them.
  std::vector<std::uint64_t> former;
};
// RUNTIME_DIR/lock, 0600, flocked. Inside: the keeper's pid, for people, then its instance and the
// former ones, a line each.
[[nodiscard]] Result<std::variant<OwnerLock, LockHeld>> take_lock(int directory, pid_t keeper,
                                                                  std::uint64_t instance);
// The former owners again, for a successor of the supervisor that took the lock.
[[nodiscard]] std::vector<std::uint64_t> former_owners(int lock, std::uint64_t instance);
// Nothing is left of the former ones.
void forget_former_owners(int lock, pid_t keeper, std::uint64_t instance);
// The end in order: nothing is left of this one either.
void forget_owner(int lock);

// Is RUNTIME_DIR/lock still the file that `lock` has open?
[[nodiscard]] bool is_lock_file(int directory, int lock);

enum class SocketKind { stream_listener, datagram };
// Binds `name` in the directory at `path`; the mode is 0666 or 0600. A socket left there by a dead
// owner is replaced (call it only with the lock held); one that somebody still has open is
// EADDRINUSE, anything else under that name an error too.
[[nodiscard]] Result<UniqueFd> bind_socket(const std::string& path, SocketKind kind, mode_t mode);
// The absolute path of an open directory; `otherwise` where /proc does not tell.
[[nodiscard]] std::string path_of(int directory, const std::string& otherwise);
[[nodiscard]] bool is_directory(const std::string& path);
// ENOENT is success.
void remove_socket(const std::string& path);
// Only the owner of the lock makes sockets there: one of that name is ours.
[[nodiscard]] bool socket_file_is_there(const std::string& path);

}  // namespace mtd::sys
