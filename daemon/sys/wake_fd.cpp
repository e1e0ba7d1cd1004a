#include "daemon/sys/wake_fd.h"

#include <sys/eventfd.h>

#include <cerrno>
#include <cstdint>

namespace mtd::sys {

Result<WakeFd> WakeFd::make() {
  UniqueFd fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!fd) return Error::from_errno("eventfd", errno);
  return WakeFd(std::move(fd));
}

void WakeFd::signal() const {
  const std::uint64_t one = 1;
  [[maybe_unused]] const auto written = ::write(fd_.get(), &one, sizeof one);  // full: it is awake
}

void WakeFd::clear() const {
  std::uint64_t count = 0;
  [[maybe_unused]] const auto taken =
      ::read(fd_.get(), &count, sizeof count);  // empty: nothing to do
}

}  // namespace mtd::sys
