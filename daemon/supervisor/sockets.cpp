#include "daemon/supervisor/sockets.h"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <utility>

#include "common/escape.h"
#include "config/listen.h"
#include "daemon/sys/memfd.h"

namespace mtd::supervisor {
namespace {

constexpr std::string_view kHeldPrefix = "socket:";

sys::ListenAddress address_of(const config::ListenSpec& spec) {
  sys::ListenAddress address;
  switch (spec.kind) {
    case config::ListenKind::tcp:
      address.kind = sys::ListenAddress::Kind::tcp;
      break;
    case config::ListenKind::udp:
      address.kind = sys::ListenAddress::Kind::udp;
      break;
    case config::ListenKind::unix_stream:
    case config::ListenKind::systemd:  // never opened
      address.kind = sys::ListenAddress::Kind::unix_stream;
      break;
  }
  address.address = spec.address;
  address.port = spec.port;
  address.backlog = static_cast<int>(spec.backlog);
  address.reuse_port = spec.reuse_port;
  address.mode = spec.mode;
  address.uid = spec.uid;
  address.gid = spec.gid;
  return address;
}

std::string slot_key(const std::string& address, std::uint32_t slot) {
  return address + "#" + std::to_string(slot);
}

// Of a unix socket; empty: it is none.
std::string path_of(const std::string& key) {
  constexpr std::string_view kUnix = "unix:";
  return key.compare(0, kUnix.size(), kUnix) == 0 ? key.substr(kUnix.size()) : std::string();
}

// The address of a key, and its slot where it has one.
std::pair<std::string, std::optional<std::uint32_t>> split(const std::string& key) {
  const auto hash = path_of(key).empty() ? key.rfind('#') : std::string::npos;
  std::uint32_t slot = 0;
  if (hash == std::string::npos) return {key, std::nullopt};
  const auto [end, error] = std::from_chars(key.data() + hash + 1, key.data() + key.size(), slot);
  if (error != std::errc{} || end != key.data() + key.size()) return {key, std::nullopt};
  return {key.substr(0, hash), slot};
}

constexpr std::size_t kOwnersFound = 3;  // the search for each may take 50 ms

bool of_manager(const config::ListenSpec& spec) {
  return spec.kind == config::ListenKind::systemd;
}

// With reuse_port there is at least the socket of the first slot.
std::string first_key(const config::ListenSpec& spec) {
  const std::string address = config::listen_address(spec);
  return spec.reuse_port ? slot_key(address, 0) : address;
}

}  // namespace

void Sockets::inherit(std::string name, UniqueFd fd) {
  inherited_.emplace_back(std::move(name), std::move(fd));
}

void Sockets::adopt(const SocketManifest& manifest, std::map<std::string, UniqueFd>& held) {
  for (const auto& entry : manifest.sockets) {
    std::uint64_t number = 0;
    const std::string_view digits =
        std::string_view(entry.held).substr(std::min(kHeldPrefix.size(), entry.held.size()));
    std::from_chars(digits.data(), digits.data() + digits.size(), number);
    next_held_ = std::max(next_held_, number + 1);
    const auto found = held.find(entry.held);
    if (found == held.end() || !found->second) continue;
    open_[entry.key] = {{std::move(found->second), {entry.device, entry.inode}}, entry.held, true};
  }
  uses_ = manifest.uses;
}

std::string Sockets::overlap_hint(const config::ListenSpec& spec, int error) const {
  if (error != EADDRINUSE) return {};
  const std::string suffix = ":" + std::to_string(spec.port);
  for (const auto& entry : open_) {
    const std::string address = split(entry.first).first;
    const bool same_kind = address.compare(0, 4, config::listen_address(spec), 0, 4) == 0;
    if (!same_kind || spec.kind == config::ListenKind::unix_stream ||
        fresh_.count(entry.first) != 0 || !address.ends_with(suffix)) {
      continue;
    }
    return "; mtd itself has " + address +
           " open: leave that out first, and add this with a second reload";
  }
  return {};
}

Result<void> Sockets::open_one(const std::string& key, const config::ListenSpec& spec,
                               bool find_owner) {
  if (open_.size() >= kMaxSockets) {
    return Error{"more than " + std::to_string(kMaxSockets) + " sockets of all pools together",
                 EMFILE};
  }
  auto address = address_of(spec);
  address.find_owner = find_owner;
  auto opened = sys::open_listener(address);
  if (!opened) {
    const int error = opened.error().errno_value;
    return Error{escape_for_terminal(config::listen_address(spec)) + ": " + opened.error().message +
                     overlap_hint(spec, error),
                 error};
  }
  open_[key] = {std::move(*opened), std::string(kHeldPrefix) + std::to_string(next_held_++), false};
  changed_ = true;
  return {};
}

std::vector<std::string> Sockets::open(const config::Configuration& wanted) {
  std::vector<std::string> errors;
  for (const auto& pool : wanted.pools) {
    for (const auto& spec : pool.listen) {
      const std::string key = first_key(spec);
      if (of_manager(spec)) {
        config::PoolSpec only;
        only.listen = {spec};
        if (const auto sockets = of(only); !sockets)
          errors.push_back("pool " + pool.name + ": " + sockets.error().message);
        continue;
      }
      if (open_.count(key) != 0) continue;
      const auto done = open_one(key, spec, errors.size() < kOwnersFound);
      if (done) {
        fresh_.insert(key);
      } else {
        errors.push_back("pool " + pool.name + ": listen " + done.error().message);
      }
    }
  }
  if (!errors.empty()) abandon();
  return errors;
}

void Sockets::abandon() {
  for (const auto& key : std::exchange(fresh_, {}))
    close(key);
}

std::vector<std::string> Sockets::commit(const config::Configuration& wanted) {
  std::vector<std::string> problems;
  wanted_.clear();
  for (const auto& pool : wanted.pools) {
    for (const auto& spec : pool.listen) {
      const std::string address = config::listen_address(spec);
      wanted_.insert(address);
      for (const auto& [key, open] : open_) {
        if (split(key).first != address || fresh_.count(key) != 0) continue;
        const auto done =
            sys::adjust_listener(open.socket.fd.get(), open.socket.file, address_of(spec));
        if (!done) {
          problems.push_back("pool " + pool.name + ": listen " + escape_for_terminal(address) +
                             ": " + done.error().message);
        }
      }
    }
  }
  fresh_.clear();
  changed_ = true;
  settle();
  return problems;
}

// The list first: of what it does not name nobody would ever close the keeper's copy.
void Sockets::hold_new() {
  SocketManifest manifest;
  for (const auto& [key, open] : open_) {
    manifest.sockets.push_back({key, open.held, open.socket.file.device, open.socket.file.inode});
  }
  manifest.uses = uses_;
  const auto file = sys::make_sealed_memfd("mtd-sockets", encode(manifest));
  if (!file) return;  // tried again with the next turn
  changed_ = false;
  keeper_.hold(kHeldSockets, file->get());
  for (auto& entry : open_) {
    Open& open = entry.second;
    if (!std::exchange(open.is_held, true)) keeper_.hold(open.held, open.socket.fd.get());
  }
}

Result<WorkerSockets> Sockets::of(const config::PoolSpec& pool) const {
  WorkerSockets sockets;
  for (const auto& spec : pool.listen) {
    if (of_manager(spec)) {
      std::string known;
      const std::size_t before = sockets.fds.size();
      for (const auto& [name, fd] : inherited_) {
        known += (known.empty() ? "" : ", ") + escape_for_terminal(name);
        if (name != spec.address) continue;
        sockets.fds.push_back(fd.get());
        sockets.names.push_back(spec.name);
      }
      if (sockets.fds.size() > before) continue;
      return Error{"listen systemd:" + spec.address + ": " +
                   (known.empty()
                        ? "the service manager passed no sockets (LISTEN_FDS)"
                        : "the service manager passed no socket of that name, but " + known)};
    }
    const auto found = open_.find(first_key(spec));
    if (found == open_.end())
      return Error{"listen " + escape_for_terminal(config::listen_address(spec)) + ": is not open"};
    sockets.fds.push_back(spec.reuse_port ? -1 : found->second.socket.fd.get());
    sockets.names.push_back(spec.name);
  }
  return sockets;
}

Result<std::vector<int>> Sockets::of_slot(const config::PoolSpec& pool, std::uint32_t slot) {
  std::vector<int> fds;
  for (const auto& spec : pool.listen) {
    if (!spec.reuse_port) continue;
    const std::string key = slot_key(config::listen_address(spec), slot);
    if (open_.count(key) == 0) {
      if (auto opened = open_one(key, spec); !opened) return opened.error();
    }
    fds.push_back(open_.at(key).socket.fd.get());
  }
  return fds;
}

void Sockets::use(std::uint64_t revision, const config::PoolSpec& pool) {
  std::set<std::string> addresses;
  for (const auto& spec : pool.listen)
    addresses.insert(config::listen_address(spec));
  if (addresses.empty() ? uses_.erase(revision) != 0
                        : std::exchange(uses_[revision], addresses) != addresses) {
    changed_ = true;
  }
}

void Sockets::release(std::uint64_t revision) {
  if (uses_.erase(revision) != 0) changed_ = true;
}

std::vector<std::uint64_t> Sockets::revisions() const {
  std::vector<std::uint64_t> revisions;
  for (const auto& entry : uses_)
    revisions.push_back(entry.first);
  return revisions;
}

void Sockets::trim_slots(const config::PoolSpec& pool, std::uint32_t first,
                         const std::set<std::uint32_t>& living) {
  for (const auto& spec : pool.listen) {
    if (!spec.reuse_port) continue;
    std::vector<std::string> gone;
    for (const auto& entry : open_) {
      const auto [address, slot] = split(entry.first);
      const bool ours = slot && address == config::listen_address(spec);
      if (ours && *slot >= std::max(first, 1U) && living.count(*slot) == 0)
        gone.push_back(entry.first);
    }
    for (const auto& key : gone)
      close(key);
  }
}

bool Sockets::in_use(const std::string& address) const {
  return wanted_.count(address) != 0 ||
         std::any_of(uses_.begin(), uses_.end(),
                     [&](const auto& use) { return use.second.count(address) != 0; });
}

void Sockets::settle() {
  if (!changed_) return;
  std::vector<std::string> unused;
  for (const auto& entry : open_) {
    if (fresh_.count(entry.first) == 0 && !in_use(split(entry.first).first))
      unused.push_back(entry.first);
  }
  for (const auto& key : unused)
    close(key);
  hold_new();
}

void Sockets::close(const std::string& key) {
  const auto found = open_.find(key);
  if (found == open_.end()) return;
  if (const std::string path = path_of(key); !path.empty())
    sys::remove_listener(path, found->second.socket.file);
  if (found->second.is_held) keeper_.drop(found->second.held);
  open_.erase(found);
  changed_ = true;
}

void Sockets::remove_files() {
  for (const auto& [key, open] : open_) {
    if (const std::string path = path_of(key); !path.empty())
      sys::remove_listener(path, open.socket.file);
  }
}

std::vector<Sockets::Fact> Sockets::facts(const config::PoolSpec& pool) const {
  std::vector<Fact> facts;
  const auto add_waiting = [](Fact& fact, int fd) {
    ++fact.sockets;
    fact.open = true;
    if (const auto waiting = sys::waiting_connections(fd))
      fact.waiting = fact.waiting.value_or(0) + *waiting;
  };
  for (const auto& spec : pool.listen) {
    Fact fact;
    fact.address = config::listen_address(spec);
    fact.name = spec.name;
    fact.reuse_port = spec.reuse_port;
    for (const auto& [name, fd] : inherited_) {
      if (!of_manager(spec) || name != spec.address) continue;
      fact.address += " (" + sys::describe_socket(fd.get()) + ")";
      add_waiting(fact, fd.get());
    }
    for (const auto& [key, open] : open_) {
      if (split(key).first != config::listen_address(spec) || of_manager(spec)) continue;
      add_waiting(fact, open.socket.fd.get());
      const std::string path = path_of(key);
      if (!path.empty() && !sys::has_file(path, open.socket.file))
        fact.problem = "its file was removed or replaced: nobody can connect any more";
    }
    facts.push_back(std::move(fact));
  }
  return facts;
}

std::vector<std::string> Sockets::unclaimed() const {
  std::vector<std::string> names;
  for (const auto& [name, fd] : inherited_) {
    if (wanted_.count("systemd:" + name) == 0)
      names.push_back(name + " (" + sys::describe_socket(fd.get()) + ")");
  }
  return names;
}

}  // namespace mtd::supervisor
