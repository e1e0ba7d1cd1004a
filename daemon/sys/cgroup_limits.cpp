#include "daemon/sys/cgroup_limits.h"

#include <algorithm>
#include <cerrno>
#include <sstream>

#include "daemon/sys/cgroup_files.h"
#include "daemon/sys/proc.h"

namespace mtd::sys {
namespace {

constexpr std::size_t kMostText = 4096;

std::vector<std::string> words_of(int directory, const char* file) {
  std::vector<std::string> words;
  const auto text = read_small_file_at(directory, file, kMostText);
  if (!text) return words;
  std::istringstream stream(*text);
  for (std::string word; stream >> word;)
    words.push_back(word);
  return words;
}

bool contains(const std::vector<std::string>& words, std::string_view word) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

}  // namespace

Result<void> enable_controller(int directory, std::string_view controller) {
  const auto enabled = words_of(directory, "cgroup.subtree_control");
  if (contains(enabled, controller)) return {};
  const auto available = words_of(directory, "cgroup.controllers");
  if (!contains(available, controller)) {
    std::string there;
    for (const std::string& word : available)
      there += (there.empty() ? "" : ", ") + word;
    return Error{"the controller \"" + std::string(controller) + "\" is not there (" +
                     (there.empty() ? "mtd's cgroup has none" : "there are " + there) + ")",
                 ENODEV};
  }
  return write_cgroup_file(directory, "cgroup.subtree_control", "+" + std::string(controller));
}

void disable_controllers(int directory) {
  for (const std::string& controller : words_of(directory, "cgroup.subtree_control"))
    (void)write_cgroup_file(directory, "cgroup.subtree_control", "-" + controller).has_value();
}

std::vector<CgroupRefusal> write_limits(int directory, const std::vector<CgroupSetting>& settings) {
  std::vector<CgroupRefusal> refusals;
  for (const CgroupSetting& setting : settings) {
    const auto written = write_cgroup_file(directory, setting.file.c_str(), setting.value);
    if (!written) refusals.push_back({setting.key, written.error()});
  }
  return refusals;
}

}  // namespace mtd::sys
