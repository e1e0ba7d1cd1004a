// mtctl -H: the same command, by the mtctl of another host, over ssh. It runs there and not here,
// because an answer is more than what the daemon says: processor use, memory and trees of processes
// are read from the /proc that the workers are in. Paths are the host's; input, output and exit
// code are this command's own.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "ctl/command_line.h"
#include "ctl/outcome.h"

namespace mtd::ctl {

struct Host {
  std::string destination;  // "user@host", as ssh takes it
  std::string port;         // empty: ssh's configuration says
};
// "ssh://[user@]host[:port]", or what ssh takes for a destination.
[[nodiscard]] Outcome<Host> parse_host(std::string_view text);

// The argument vector of ssh. `arguments`: ours, -H among them. `terminal`: a person sees it.
[[nodiscard]] Outcome<std::vector<std::string>> remote_words(
    const Host& host, const std::vector<std::string>& arguments, bool terminal);

// Runs it; its exit status. 255 is ssh's own: unreachable.
[[nodiscard]] Outcome<int> run_remotely(const Invocation& invocation,
                                        const std::vector<std::string>& arguments);

}  // namespace mtd::ctl
