#include "daemon/sys/resource_names.h"

#include <sys/resource.h>

#include <array>
#include <utility>

namespace mtd::sys {

std::optional<int> resource_number(std::string_view name) {
  using Row = std::pair<std::string_view, int>;
  static constexpr std::array kNames{Row{"as", RLIMIT_AS},
                                     Row{"core", RLIMIT_CORE},
                                     Row{"cpu", RLIMIT_CPU},
                                     Row{"data", RLIMIT_DATA},
                                     Row{"fsize", RLIMIT_FSIZE},
                                     Row{"locks", RLIMIT_LOCKS},
                                     Row{"memlock", RLIMIT_MEMLOCK},
                                     Row{"msgqueue", RLIMIT_MSGQUEUE},
                                     Row{"nice", RLIMIT_NICE},
                                     Row{"nofile", RLIMIT_NOFILE},
                                     Row{"nproc", RLIMIT_NPROC},
                                     Row{"rss", RLIMIT_RSS},
                                     Row{"rtprio", RLIMIT_RTPRIO},
                                     Row{"rttime", RLIMIT_RTTIME},
                                     Row{"sigpending", RLIMIT_SIGPENDING},
                                     Row{"stack", RLIMIT_STACK}};
  for (const auto& row : kNames) {
    if (row.first == name) return row.second;
  }
  return std::nullopt;
}

std::uint64_t descriptor_limit() {
  rlimit limit{};
  return ::getrlimit(RLIMIT_NOFILE, &limit) == 0 ? limit.rlim_cur : 0;
}

}  // namespace mtd::sys
