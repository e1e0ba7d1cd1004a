#include "daemon/sys/pids_limit.h"

#include <string_view>

#include "daemon/sys/cgroup_paths.h"
#include "daemon/sys/proc.h"

namespace mtd::sys {
namespace {

constexpr std::size_t kMostText = 256;

// "max", no limit, is no number.
std::optional<std::uint64_t> number_in(const std::string& file) {
  const auto text = read_small_file(file, kMostText);
  return text ? number_at(*text) : std::nullopt;
}

}  // namespace

std::optional<PidsLimit> least_pids_limit(std::string directory) {
  std::optional<PidsLimit> least;
  for (; directory.size() > 1 && directory.front() == '/'; directory.resize(directory.rfind('/'))) {
    const auto most = number_in(directory + "/pids.max");
    if (!most) continue;
    const PidsLimit found{directory, *most, number_in(directory + "/pids.current").value_or(0)};
    if (!least || found.left() < least->left()) least = found;
  }
  return least;
}

std::optional<PidsLimit> least_pids_limit() {
  const auto place = find_cgroup_place();
  return place ? least_pids_limit(place->directory) : std::nullopt;
}

std::optional<std::uint64_t> refused_forks(const std::string& directory) {
  constexpr std::string_view kName = "max ";
  const auto text = read_small_file(directory + "/pids.events", kMostText);
  if (!text || text->compare(0, kName.size(), kName) != 0) return std::nullopt;
  return number_at(std::string_view(*text).substr(kName.size()));
}

}  // namespace mtd::sys
