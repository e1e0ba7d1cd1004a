#include "daemon/sys/proc_scan.h"

#include <dirent.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <csignal>
#include <memory>
#include <optional>

#include "daemon/sys/clock.h"
#include "daemon/sys/proc.h"

namespace mtd::sys {
namespace {

constexpr int kKillRounds = 8;
constexpr int kRoundMs = 20;

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
  if (!proc_is_ours()) return;
  const std::unique_ptr<DIR, int (*)(DIR*)> proc(::opendir("/proc"), ::closedir);
  if (!proc) return;
  while (const dirent* entry = ::readdir(proc.get())) {
    pid_t pid = 0;
    const char* end = entry->d_name + std::char_traits<char>::length(entry->d_name);
    const auto parsed = std::from_chars(entry->d_name, end, pid);
    if (parsed.ec == std::errc() && parsed.ptr == end && pid != ::getpid()) visit(pid);
  }
}

bool is_one_of(const std::vector<std::string>& tags, const std::string& tag) {
  return std::any_of(tags.begin(), tags.end(), [&](const std::string& wanted) {
    return wanted.back() == '/' ? tag.compare(0, wanted.size(), wanted) == 0 : tag == wanted;
  });
}

struct Killed {
  std::vector<TaggedProcess> processes;
  std::vector<UniqueFd> pidfds;
};

// SIGKILL to all that are alive and not spared; answers them, and adds new ones to `killed`.
std::vector<TaggedProcess> kill_round(const std::vector<std::string>& tags,
                                      const std::vector<pid_t>& spared, Killed& killed) {
  const auto wanted = [&](pid_t pid) {
    auto tag = tag_of(pid);
    return tag && is_one_of(tags, *tag) ? tag : std::nullopt;
  };
  std::vector<TaggedProcess> met;
  each_pid([&](pid_t pid) {
    if (std::find(spared.begin(), spared.end(), pid) != spared.end() || !wanted(pid)) return;
    UniqueFd pidfd = open_pidfd(pid);
    auto tag = pidfd ? wanted(pid) : std::nullopt;
    if (!tag) return;
    TaggedProcess process{pid, std::move(*tag), comm_of(pid)};
    if (!signal_pidfd(pidfd, SIGKILL)) return;
    const bool known = std::any_of(killed.processes.begin(), killed.processes.end(),
                                   [&](const TaggedProcess& other) { return other.pid == pid; });
    if (!known) {
      killed.processes.push_back(process);
      killed.pidfds.push_back(std::move(pidfd));
    }
    met.push_back(std::move(process));
  });
  return met;
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
  Killed killed;
  for (int round = 0; round < kKillRounds; ++round) {
    if (kill_round(tags, {}, killed).empty()) break;
  }
  return std::move(killed.processes);
}

EndedTagged end_tagged(const std::vector<std::string>& tags, Duration patience) {
  const Instant until = now() + patience;
  std::vector<pid_t> spared;
  for (auto pid = std::optional<pid_t>(::getpid()); pid && *pid > 0; pid = parent_of(*pid))
    spared.push_back(*pid);
  EndedTagged ended;
  Killed killed;
  while (!(ended.living = kill_round(tags, spared, killed)).empty() && now() < until)
    ::poll(nullptr, 0, kRoundMs);
  // One that is ending shows no environment any more, but may still hold a port or a file.
  for (const auto& pidfd : killed.pidfds) {
    pollfd end{pidfd.get(), POLLIN, 0};
    const Duration left = until.since(now());
    ::poll(&end, 1, static_cast<int>(std::max<std::int64_t>(left.count_ms(), 0)));
  }
  ended.killed = std::move(killed.processes);
  return ended;
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
