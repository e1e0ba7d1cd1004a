#include "daemon/sys/directory_watch.h"

#include <sys/inotify.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "common/escape.h"

namespace mtd::sys {
namespace {

constexpr std::uint32_t kRemovals =
    IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_DELETE_SELF | IN_MOVE_SELF;
constexpr std::uint32_t kChanges = kRemovals | IN_CREATE | IN_CLOSE_WRITE | IN_ATTRIB;
constexpr int kMaxReads = 64;  // the rest wakes up the loop again

}  // namespace

Result<DirectoryWatch> DirectoryWatch::create() {
  UniqueFd fd(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
  if (!fd) return Error::from_errno("watch directories", errno);
  return DirectoryWatch(std::move(fd));
}

Result<void> DirectoryWatch::add(const std::string& directory, Of of) {
  const std::uint32_t mask = of == Of::removals ? kRemovals : kChanges;
  if (::inotify_add_watch(fd_.get(), directory.c_str(), mask | IN_ONLYDIR) >= 0) return {};
  return Error::from_errno("watch " + escape_for_terminal(directory), errno);
}

bool DirectoryWatch::drain(const std::function<bool(std::string_view name)>& counts) const {
  bool any = false;
  alignas(inotify_event) std::array<char, 4096> buffer{};
  for (int i = 0; i < kMaxReads; ++i) {
    const ssize_t got = ::read(fd_.get(), buffer.data(), buffer.size());
    if (got <= 0) break;
    std::size_t at = 0;
    while (at + sizeof(inotify_event) <= static_cast<std::size_t>(got)) {
      inotify_event event{};
      std::memcpy(&event, buffer.data() + at, sizeof(event));
      const char* name = buffer.data() + at + sizeof(event);
      at += sizeof(event) + event.len;
      if ((event.mask & IN_IGNORED) != 0) continue;  // after the report of the removal
      const std::string_view text(name, event.len == 0 ? 0 : ::strnlen(name, event.len));
      any = counts(text) || any;
    }
  }
  return any;
}

}  // namespace mtd::sys
