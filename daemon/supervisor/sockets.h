// Sockets: what the pools listen on. Opens each address once, has the keeper hold it, and closes it
// when neither the configuration in force nor a revision with living processes uses it.
//
// An address of the next configuration is opened before anything else changes; if one cannot be
// opened, none stays open, and the reload fails as a whole. The keeper holds the descriptors, so a
// connection that nobody has accepted yet outlives the supervisor.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "config/pool_spec.h"
#include "daemon/supervisor/socket_manifest.h"
#include "daemon/sys/keeper_link.h"
#include "daemon/sys/listen_socket.h"

namespace mtd::supervisor {

// What the keeper holds of all this: the manifest, and the sockets by the names in it.
inline constexpr const char* kHeldSockets = "sockets";

// The sockets of a pool as its workers get them.
struct WorkerSockets {
  std::vector<int> fds;            // shared by all; -1: each process gets its own with its spawn
  std::vector<std::string> names;  // LISTEN_FDNAMES, as long as fds
};

class Sockets {
 public:
  explicit Sockets(sys::KeeperLink& keeper) : keeper_(keeper) {}
  Sockets(const Sockets&) = delete;
  Sockets& operator=(const Sockets&) = delete;

  // ---- before the pools ----
  // Sockets of the service manager, in the order they came.
  void inherit(std::string name, UniqueFd fd);
  // What an earlier life left; sockets without a descriptor are gone.
  void adopt(const SocketManifest& manifest, std::map<std::string, UniqueFd>& held);

  // ---- a configuration ----
  // Opens what is not open yet. Errors, one for each socket: then nothing was opened.
  [[nodiscard]] std::vector<std::string> open(const config::Configuration& wanted);
  void abandon();  // what open() opened
  // It is in force now. Answers what of open sockets could not be changed: they go on as they are.
  [[nodiscard]] std::vector<std::string> commit(const config::Configuration& wanted);

  // ---- revisions ----
  [[nodiscard]] Result<WorkerSockets> of(const config::PoolSpec& pool) const;
  // Of one slot, for the -1 in WorkerSockets; opened when they are not open yet.
  [[nodiscard]] Result<std::vector<int>> of_slot(const config::PoolSpec& pool, std::uint32_t slot);
  void use(std::uint64_t revision, const config::PoolSpec& pool);
  void release(std::uint64_t revision);
  [[nodiscard]] std::vector<std::uint64_t> revisions() const;
  // Slots from `first` on are gone but for those in `living`.
  void trim_slots(const config::PoolSpec& pool, std::uint32_t first,
                  const std::set<std::uint32_t>& living);
  // Closes what nobody uses any more, and leaves the rest with the keeper. After every turn.
  void settle();

  // At the end of mtd: no file of a socket stays.
  void remove_files();

  struct Fact {
    std::string address, name;
    bool open = false, reuse_port = false;
    std::uint32_t sockets = 0;             // one, or one for each slot
    std::optional<std::uint32_t> waiting;  // connections nobody has accepted yet
    std::string problem;                   // empty: none
  };
  [[nodiscard]] std::vector<Fact> facts(const config::PoolSpec& pool) const;
  [[nodiscard]] std::size_t count() const { return open_.size() + inherited_.size(); }
  // Passed by the service manager, and no pool of the configuration in force listens on them.
  [[nodiscard]] std::vector<std::string> unclaimed() const;

 private:
  struct Open {
    sys::ListenSocket socket;
    std::string held;  // name at the keeper
    bool is_held = false;
  };
  [[nodiscard]] Result<void> open_one(const std::string& key, const config::ListenSpec& spec,
                                      bool find_owner = true);
  [[nodiscard]] std::string overlap_hint(const config::ListenSpec& spec, int error) const;
  void close(const std::string& key);
  void hold_new();
  [[nodiscard]] bool in_use(const std::string& address) const;

  sys::KeeperLink& keeper_;
  std::map<std::string, Open> open_;  // by key
  std::vector<std::pair<std::string, UniqueFd>> inherited_;
  std::set<std::string> fresh_;   // opened, not yet of a configuration in force
  std::set<std::string> wanted_;  // addresses of the configuration in force
  std::map<std::uint64_t, std::set<std::string>> uses_;
  std::uint64_t next_held_ = 1;
  bool changed_ = false;
};

}  // namespace mtd::supervisor
