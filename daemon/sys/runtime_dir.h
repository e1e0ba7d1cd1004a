// The runtime directory and the files mtd makes in it: directory with the right owner and mode, the
// lock that makes one daemon its owner, and listening Unix sockets. Modes come from the umask at
// creation; nothing is changed afterwards, so that nobody can slip something else under the name in
// between.
#pragma once

#include <sys/types.h>

#include <string>
#include <variant>

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
  pid_t owner = 0;  // 0: not known
};
// RUNTIME_DIR/lock, 0600, flocked; the keeper's pid is written inside for people.
[[nodiscard]] Result<std::variant<UniqueFd, LockHeld>> take_lock(int directory, pid_t keeper);

// Is RUNTIME_DIR/lock still the file that `lock` has open?
[[nodiscard]] bool is_lock_file(int directory, int lock);

enum class SocketKind { stream_listener, datagram };
// Binds `name` in the directory at `path`; the mode is 0666 or 0600. A socket left there by a dead
// owner is replaced (call it only with the lock held); anything else under that name is an error.
[[nodiscard]] Result<UniqueFd> bind_socket(const std::string& path, SocketKind kind, mode_t mode);
// The absolute path of an open directory; `otherwise` where /proc does not tell.
[[nodiscard]] std::string path_of(int directory, const std::string& otherwise);
[[nodiscard]] bool is_directory(const std::string& path);
// ENOENT is success.
void remove_socket(const std::string& path);
// Only the owner of the lock makes sockets there: one of that name is ours.
[[nodiscard]] bool socket_file_is_there(const std::string& path);

}  // namespace mtd::sys
