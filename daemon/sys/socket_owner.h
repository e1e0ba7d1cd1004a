// Who holds an address that could not be bound: looks through /proc, with a limit. For error texts.
#pragma once

#include <cstdint>
#include <string>

namespace mtd::sys {

// "pid 12 (nginx) listens there"; empty: not found, or not to be seen without root.
[[nodiscard]] std::string owner_of_port(bool tcp, std::uint16_t port);
[[nodiscard]] std::string owner_of_path(const std::string& path);

}  // namespace mtd::sys
