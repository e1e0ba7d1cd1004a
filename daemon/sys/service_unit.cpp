#include "daemon/sys/service_unit.h"

#include <systemd/sd-bus.h>
#include <systemd/sd-login.h>

#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string_view>

#include "common/time.h"
#include "daemon/sys/clock.h"

namespace mtd::sys {
namespace {

constexpr const char* kSystemd = "org.freedesktop.systemd1";
constexpr const char* kService = "org.freedesktop.systemd1.Service";
// For each answer: the helper has other things to do, too.
constexpr Duration kPatience = Duration::seconds(5);

struct Free {
  void operator()(char* text) const { std::free(text); }
};
using Text = std::unique_ptr<char, Free>;

struct CloseBus {
  void operator()(sd_bus* bus) const { sd_bus_close_unref(bus); }
};
using Bus = std::unique_ptr<sd_bus, CloseBus>;

// Where systemd answers without a bus in between, as systemctl asks it: root, or a user their own.
Bus open_private(bool of_user) {
  const char* const runtime = of_user ? std::getenv("XDG_RUNTIME_DIR") : "/run";
  if (runtime == nullptr) return {};
  const std::string address = "unix:path=" + std::string(runtime) + "/systemd/private";
  sd_bus* made = nullptr;
  if (sd_bus_new(&made) < 0) return {};
  Bus bus(made);
  if (sd_bus_set_address(made, address.c_str()) < 0 || sd_bus_start(made) < 0) return {};
  return bus;
}

Bus open_public(bool of_user) {
  sd_bus* made = nullptr;
  if ((of_user ? sd_bus_open_user(&made) : sd_bus_open_system(&made)) < 0) return {};
  return Bus(made);
}

// The unit's name by cgroup; empty: it is in none.
std::string unit_by_cgroup(int pid, bool& of_user) {
  char* name = nullptr;
  of_user = sd_pid_get_user_unit(pid, &name) >= 0;
  if (!of_user && sd_pid_get_unit(pid, &name) < 0) return {};
  const Text owned(name);
  return name;
}

std::uint64_t microseconds(Duration time) {
  return static_cast<std::uint64_t>(time.count_ns() / 1000);
}

// Whoever listens there answers in time. libsystemd's own patience would be that of a login.
int wait_ready(sd_bus& bus) {
  const Instant until = now() + kPatience;
  while (sd_bus_is_ready(&bus) == 0) {
    const Duration left = until.since(now());
    if (left <= Duration()) return -ETIMEDOUT;
    int done = sd_bus_process(&bus, nullptr);
    if (done == 0) done = sd_bus_wait(&bus, microseconds(left));
    if (done < 0) return done;
  }
  return 0;
}

// A negative errno: not told.
int ask(sd_bus& bus, int pid, ServiceUnit& unit) {
  if (const int late = wait_ready(bus); late < 0) return late;
  if (const int failed = sd_bus_set_method_call_timeout(&bus, microseconds(kPatience)); failed < 0)
    return failed;
  char* encoded = nullptr;
  const int failed =
      sd_bus_path_encode("/org/freedesktop/systemd1/unit", unit.name.c_str(), &encoded);
  if (failed < 0) return failed;
  const Text path(encoded);
  std::uint32_t main_pid = 0;
  int told = sd_bus_get_property_trivial(&bus, kSystemd, path.get(), kService, "MainPID", nullptr,
                                         'u', &main_pid);
  if (told < 0) return told;
  if (main_pid != static_cast<std::uint32_t>(pid)) {
    unit = {};
    return 0;
  }
  char* mode = nullptr;
  told =
      sd_bus_get_property_string(&bus, kSystemd, path.get(), kService, "KillMode", nullptr, &mode);
  if (told < 0) return told;
  unit.kill_mode = Text(mode).get();
  return 0;
}

bool is_service(std::string_view name) {
  constexpr std::string_view kSuffix = ".service";
  return name.size() > kSuffix.size() && name.substr(name.size() - kSuffix.size()) == kSuffix;
}

}  // namespace

Result<ServiceUnit> service_unit_of(int pid) {
  ServiceUnit unit;
  bool of_user = false;
  unit.name = unit_by_cgroup(pid, of_user);
  if (!is_service(unit.name)) return ServiceUnit();
  int failed = -ENOENT;
  for (const auto open : {open_private, open_public}) {
    const Bus bus = open(of_user);
    if (!bus) continue;
    failed = ask(*bus, pid, unit);
    if (failed >= 0) return unit;
  }
  return Error::from_errno("ask systemd for " + unit.name, -failed);
}

}  // namespace mtd::sys
