#include "daemon/sys/memory_pressure.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>

#include "common/unique_fd.h"

namespace mtd::sys {
namespace {

Result<double> pressure_in(int directory, const char* name) {
  const UniqueFd fd(::openat(directory, name, O_RDONLY | O_CLOEXEC));
  if (!fd) return Error::from_errno(name, errno);
  std::array<char, 512> text;
  const ssize_t got = ::read(fd.get(), text.data(), text.size());
  if (got < 0) return Error::from_errno(name, errno);
  return parse_pressure({text.data(), static_cast<std::size_t>(got)});
}

}  // namespace

Result<double> parse_pressure(std::string_view text) {
  constexpr std::string_view kSome = "some avg10=";
  const auto at = text.find(kSome);
  if (at == std::string_view::npos) return Error{"no line with the pressure of some processes"};
  text.remove_prefix(at + kSome.size());
  double value = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
  if (parsed.ec != std::errc()) return Error{"no number where the pressure should be"};
  return value;
}

Result<double> memory_pressure(int cgroup_directory) {
  if (cgroup_directory >= 0) {
    auto own = pressure_in(cgroup_directory, "memory.pressure");
    if (own) return own;
  }
  return pressure_in(AT_FDCWD, "/proc/pressure/memory");
}

}  // namespace mtd::sys
