// Finding the daemon: -s, MTD_SOCKET, the user's own socket, the system's. When none answers, the
// message names every path tried and why it failed.
#pragma once

#include <string>
#include <vector>

#include "common/varlink_client.h"
#include "ctl/outcome.h"

namespace mtd::ctl {

inline constexpr const char* kSocketName = "io.mtd.Manager";

// What the search depends on; main() takes it from the process.
struct Surroundings {
  std::string mtd_socket;       // $MTD_SOCKET
  std::string xdg_runtime_dir;  // $XDG_RUNTIME_DIR
  unsigned uid = 0;
  std::string system_dir = "/run/mtd";
  std::string temporary_dir = "/tmp";
};
[[nodiscard]] Surroundings surroundings_of_process();

// In the order of trying. An explicit place is the only one. Root's own daemon is the system's.
[[nodiscard]] std::vector<std::string> socket_candidates(const std::string& option,
                                                         const Surroundings& surroundings);

struct Connection {
  varlink::Client client;
  std::string path;
};
[[nodiscard]] Outcome<Connection> connect_first(const std::vector<std::string>& candidates,
                                                Duration timeout);
// Sorts what the transport said into an exit code.
[[nodiscard]] Failure transport_failure(const Error& error);

}  // namespace mtd::ctl
