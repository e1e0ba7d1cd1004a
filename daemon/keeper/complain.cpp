#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>

#include "daemon/keeper/keeper.h"
#include "daemon/keeper/line.h"

namespace mtd::keeper {
namespace {

// Is stderr the journal's stream that $JOURNAL_STREAM names, as DEVICE:INODE (systemd.exec(5))?
bool stderr_is_journal() {
  const char* const stream = std::getenv("JOURNAL_STREAM");
  struct stat status {};
  if (stream == nullptr || fstat(2, &status) != 0) return false;
  Line own;
  own.count(status.st_dev).put(":").count(status.st_ino);
  return std::strcmp(stream, own.text()) == 0;
}

}  // namespace

void complain(const char* text, int error) {
  Line line;
  if (stderr_is_journal()) line.put("<4>");  // sd-daemon(3): a warning
  line.put("mtd: ").put(text);
  if (error != 0) {
    const char* reason = strerrordesc_np(error);
    line.put(": ").put(reason != nullptr ? reason : "unknown error");
  }
  line.put("\n");
  // A reader that does not read must not stop us: a pipe that polls writable takes a line at once.
  pollfd target{2, POLLOUT, 0};
  if (poll(&target, 1, 0) == 1 && target.revents == POLLOUT)
    (void)!write(2, line.text(), line.size());
}

}  // namespace mtd::keeper
