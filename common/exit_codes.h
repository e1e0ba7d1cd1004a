// The exit codes of the two programs people call. Part of the interface: numbers never change
// meaning.
#pragma once

namespace mtd {

// mtctl(1).
enum class CtlExit : int {
  ok = 0,
  failed = 1,
  usage = 2,
  not_ready = 3,
  no_such = 4,
  unreachable = 5,
  timed_out = 6,
  permission_denied = 7,
  invalid_configuration = 8,
  refused_for_now = 75,
  task_timed_out = 124,
  own_failure = 125,  // of `mtctl run` itself; any other code is the command's own
};

// mtd(8). The service unit does not restart it after usage, configuration and another_owner.
enum class DaemonExit : int {
  stopped = 0,
  failed = 1,
  usage = 2,
  configuration = 8,
  another_owner = 9,
  essential_pool_failed = 10,
  mismatch = 11,  // mtd and mtd-supervisor are of releases that do not fit together
};

[[nodiscard]] constexpr int code(CtlExit exit) {
  return static_cast<int>(exit);
}
[[nodiscard]] constexpr int code(DaemonExit exit) {
  return static_cast<int>(exit);
}

}  // namespace mtd
