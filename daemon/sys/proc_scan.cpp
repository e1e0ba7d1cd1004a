#include "daemon/sys/proc_scan.h"

#include <dirent.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <csignal>
#include <memory>
#include <optional>

#include "daemon/sys/proc.h"

namespace mtd::sys {
namespace {

constexpr int kKillRounds = 8;

std::optional<std::string> tag_of(pid_t pid) {
  const auto environ = read_small_file("/proc/" + std::to_string(pid) + "/environ", 2 << 20);
  if (!environ) return std::nullopt;
  constexpr std::string_view kName = "MTD_TAG=";
  std::size_t at = 0;
  while (at < environ->size()) {
    const std::size_t end = std::min(environ->find('\0', at), environ->size());
    const std::string_view entry(environ->data() + at, end - at);
    if (entry.substr(0, kName.size()) == kName) return std::string(entry.substr(kName.size()));
    at = end + 1;
  }
  return std::nullopt;
}

template <class Visit>
void each_pid(const Visit& visit) {
  const std::unique_ptr<DIR, int (*)(DIR*)> proc(::opendir("/proc"), ::closedir);
  if (!proc) return;
  while (const dirent* entry = ::readdir(proc.get())) {
    pid_t pid = 0;
    const char* end = entry->d_name + std::char_traits<char>::length(entry->d_name);
    const auto parsed = std::from_chars(entry->d_name, end, pid);
    if (parsed.ec == std::errc() && parsed.ptr == end && pid != ::getpid()) visit(pid);
  }
}

}  // namespace

std::vector<TaggedProcess> scan_tagged(std::string_view prefix) {
  std::vector<TaggedProcess> found;
  each_pid([&](pid_t pid) {
    auto tag = tag_of(pid);
    if (tag && tag->compare(0, prefix.size(), prefix) == 0) {
      found.push_back({pid, std::move(*tag), comm_of(pid)});
    }
  });
  return found;
}

std::vector<TaggedProcess> kill_tagged(const std::vector<std::string>& tags) {
  std::vector<TaggedProcess> killed;
  const auto wanted = [&](pid_t pid) {
    auto tag = tag_of(pid);
    return tag && std::find(tags.begin(), tags.end(), *tag) != tags.end() ? tag : std::nullopt;
  };
  for (int round = 0; round < kKillRounds; ++round) {
    bool any = false;
    each_pid([&](pid_t pid) {
      if (!wanted(pid)) return;
      const UniqueFd pidfd = open_pidfd(pid);
      auto tag = pidfd ? wanted(pid) : std::nullopt;
      if (!tag) return;
      std::string comm = comm_of(pid);
      if (!signal_pidfd(pidfd, SIGKILL)) return;
      any = true;
      const bool known = std::any_of(killed.begin(), killed.end(),
                                     [&](const TaggedProcess& other) { return other.pid == pid; });
      if (!known) killed.push_back({pid, std::move(*tag), std::move(comm)});
    });
    if (!any) break;
  }
  return killed;
}

std::string encode(const std::vector<TaggedProcess>& processes) {
  std::string text;
  for (const auto& process : processes) {
    std::string comm = process.comm;
    std::replace(comm.begin(), comm.end(), '\n', ' ');
    text += std::to_string(process.pid) + " " + process.tag + " " + comm + "\n";
  }
  return text;
}

std::vector<TaggedProcess> decode_tagged(std::string_view text) {
  std::vector<TaggedProcess> processes;
  while (!text.empty()) {
    const auto end = text.find('\n');
    const std::string_view line = text.substr(0, end);
    text = end == std::string_view::npos ? std::string_view() : text.substr(end + 1);
    TaggedProcess process;
    const auto parsed = std::from_chars(line.data(), line.data() + line.size(), process.pid);
    if (parsed.ec != std::errc() || parsed.ptr == line.data() + line.size()) continue;
    const std::string_view rest(
        parsed.ptr + 1, static_cast<std::size_t>(line.data() + line.size() - parsed.ptr - 1));
    const auto space = rest.find(' ');
    process.tag = std::string(rest.substr(0, space));
    if (space != std::string_view::npos) process.comm = std::string(rest.substr(space + 1));
    processes.push_back(std::move(process));
  }
  return processes;
}

}  // namespace mtd::sys
