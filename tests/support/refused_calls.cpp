#include "tests/support/refused_calls.h"

#include <sys/syscall.h>

#include <atomic>
#include <cerrno>

namespace {
std::atomic<int> the_error = 0, calls_left = 0;
}  // namespace

namespace mtd::test {

void refuse_fsync(int error, int calls) {
  the_error = error;
  calls_left = calls;
}

}  // namespace mtd::test

// In place of the C library's: the linker takes the program's own first.
extern "C" int fsync(int fd) {
  if (calls_left > 0) {
    --calls_left;
    errno = the_error;
    return -1;
  }
  return static_cast<int>(::syscall(SYS_fsync, fd));
}
