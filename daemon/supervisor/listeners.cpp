// Supervisor: sockets of the pools over its lives. What an earlier life opened and what the service
// manager passed comes back from the keeper; what is missing is opened.
#include <spdlog/spdlog.h>

#include <algorithm>
#include <cstdlib>

#include "common/escape.h"
#include "common/exit_codes.h"
#include "daemon/supervisor/supervisor.h"
#include "daemon/sys/memfd.h"
#include "daemon/sys/runtime_dir.h"

namespace mtd::supervisor {
namespace {

constexpr std::size_t kMaxManifestBytes = 4 << 20;

std::string inherited_name(int i) {
  return keeper::kInheritedName + std::to_string(i);
}

// MTD_FDS, as the keeper made it of LISTEN_FDS.
int inherited_count() {
  const long count = std::strtol(sys::environment("MTD_FDS").c_str(), nullptr, 10);
  return static_cast<int>(std::clamp<long>(count, 0, keeper::kMaxInherited));
}

}  // namespace

void Supervisor::fetch_inherited() {
  for (int i = 0; i < inherited_count(); ++i)
    fetches_[keeper_.fetch(inherited_name(i))] = inherited_name(i);
}

void Supervisor::fetch_listeners() {
  const UniqueFd file = held(kHeldSockets);
  if (!file) return;
  const auto text = sys::read_memfd(file.get(), kMaxManifestBytes);
  auto manifest = text ? decode_sockets(*text) : Result<SocketManifest>(text.error());
  if (!manifest) {
    spdlog::error("{}; what it named stays open", manifest.error().message);
    return;
  }
  left_sockets_ = std::move(*manifest);
  for (const auto& entry : left_sockets_.sockets)
    fetches_[keeper_.fetch(entry.held)] = entry.held;
}

bool Supervisor::open_listeners() {
  std::string names = sys::environment("MTD_FDNAMES");
  for (int i = 0; i < inherited_count(); ++i) {
    const auto colon = std::min(names.find(':'), names.size());
    const std::string name = names.substr(0, colon);
    names.erase(0, colon + 1);
    if (UniqueFd fd = held(inherited_name(i)))
      sockets_.inherit(name.empty() ? "unknown" : name, std::move(fd));
  }
  sockets_.adopt(left_sockets_, held_);
  const auto errors = sockets_.open(configuration_);
  const bool served_before = held_.find("config") != held_.end();
  if (!errors.empty() && !served_before) {
    fail_start(code(DaemonExit::failed), errors);
    return false;
  }
  // After an earlier life that served, workers run: what cannot be opened is the trouble of its
  // pool alone.
  for (const auto& error : errors)
    spdlog::error("{}", escape_for_terminal(error));
  for (const auto& problem : sockets_.commit(configuration_))
    spdlog::error("{}", problem);
  if (!served_before) warn_unclaimed();
  return true;
}

void Supervisor::warn_unclaimed() {
  for (const auto& name : sockets_.unclaimed()) {
    spdlog::warn("the service manager passed the socket {}, and no pool listens on it",
                 escape_for_terminal(name));
  }
}

// Revisions that an earlier life left and no pool knows hold their sockets open.
void Supervisor::forget_left_revisions() {
  for (const std::uint64_t id : sockets_.revisions()) {
    const bool known = std::any_of(pools_.begin(), pools_.end(), [&](const auto& entry) {
      return entry.second->uses_revision(id);
    });
    if (known) continue;
    keeper_.forget(id);
    sockets_.release(id);
  }
}

}  // namespace mtd::supervisor
