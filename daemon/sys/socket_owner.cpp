#include "daemon/sys/socket_owner.h"

#include <dirent.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <set>
#include <sstream>

#include "common/escape.h"
#include "daemon/sys/proc.h"

namespace mtd::sys {
namespace {

constexpr int kMaxLinks = 20'000;  // descriptors looked at: some 50 ms
constexpr int kMaxLines = 100'000;

struct CloseDirectory {
  void operator()(DIR* directory) const { ::closedir(directory); }
};
using Directory = std::unique_ptr<DIR, CloseDirectory>;

pid_t number(const char* text) {
  pid_t value = 0;
  const std::string_view view = text;
  const auto [end, error] = std::from_chars(view.data(), view.data() + view.size(), value);
  return error == std::errc{} && end == view.data() + view.size() ? value : 0;
}

bool has_one(pid_t pid, const std::set<std::string>& links, int& left) {
  const std::string path = "/proc/" + std::to_string(pid) + "/fd";
  const Directory directory(::opendir(path.c_str()));
  if (!directory) return false;
  std::array<char, 64> target{};
  while (const dirent* entry = ::readdir(directory.get())) {
    if (--left < 0) return false;
    const ssize_t size =
        ::readlinkat(::dirfd(directory.get()), entry->d_name, target.data(), target.size());
    if (size > 0 && links.count(std::string(target.data(), static_cast<std::size_t>(size))) != 0)
      return true;
  }
  return false;
}

// Of several that hold it, the one that was there first, which has the lowest pid as a rule.
std::string owner_of(const std::set<std::string>& links) {
  if (links.empty()) return {};
  const Directory proc(::opendir("/proc"));
  int left = kMaxLinks;
  pid_t found = 0;
  while (const dirent* entry = proc ? ::readdir(proc.get()) : nullptr) {
    const pid_t pid = number(entry->d_name);
    if (pid <= 0 || pid == own_pid() || (found != 0 && pid > found)) continue;
    if (has_one(pid, links, left)) found = pid;
    if (left < 0) break;
  }
  if (found == 0) return {};
  return "pid " + std::to_string(found) + " (" + escape_for_terminal(comm_of(found)) +
         ") listens there";
}

}  // namespace

std::string owner_of_port(bool tcp, std::uint16_t port) {
  std::set<std::string> links;
  for (const char* version : {"", "6"}) {
    std::ifstream table(std::string("/proc/net/") + (tcp ? "tcp" : "udp") + version);
    std::string line;
    for (int i = 0; i < kMaxLines && std::getline(table, line); ++i) {
      // "  sl: ADDRESS:PORT ADDRESS:PORT STATE … uid timeout inode"
      std::istringstream fields(line);
      std::string slot, local, remote, state, skipped, inode;
      fields >> slot >> local >> remote >> state;
      for (int k = 0; k < 5; ++k)
        fields >> skipped;
      fields >> inode;
      const auto colon = local.rfind(':');
      if (colon == std::string::npos || (tcp && state != "0A")) continue;  // 0A: listening
      if (std::strtoul(local.c_str() + colon + 1, nullptr, 16) == port)
        links.insert("socket:[" + inode + "]");
    }
  }
  return owner_of(links);
}

std::string owner_of_path(const std::string& path) {
  std::set<std::string> links;
  std::ifstream table("/proc/net/unix");
  std::string line;
  for (int i = 0; i < kMaxLines && std::getline(table, line); ++i) {
    // "Num: RefCount Protocol Flags Type St Inode Path"
    if (line.size() <= path.size() || !line.ends_with(" " + path)) continue;
    std::istringstream fields(line);
    std::string inode, skipped;
    for (int k = 0; k < 6; ++k)
      fields >> skipped;
    fields >> inode;
    links.insert("socket:[" + inode + "]");
  }
  return owner_of(links);
}

}  // namespace mtd::sys
