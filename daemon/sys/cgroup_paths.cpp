#include "daemon/sys/cgroup_paths.h"

#include <charconv>
#include <vector>

#include "daemon/sys/proc.h"

namespace mtd::sys {
namespace {

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  while (!text.empty()) {
    const auto end = text.find(separator);
    parts.push_back(text.substr(0, end));
    text = end == std::string_view::npos ? std::string_view() : text.substr(end + 1);
  }
  return parts;
}

// mountinfo writes space, tab, newline and backslash as \ooo.
std::string unescape(std::string_view text) {
  std::string plain;
  for (std::size_t i = 0; i < text.size(); ++i) {
    int code = 0;
    if (text[i] == '\\' && i + 3 < text.size() &&
        std::from_chars(text.data() + i + 1, text.data() + i + 4, code, 8).ptr ==
            text.data() + i + 4) {
      plain.push_back(static_cast<char>(code));
      i += 3;
    } else {
      plain.push_back(text[i]);
    }
  }
  return plain;
}

// The part of `path` below `root`, "" for root itself; nothing when it is not below.
std::optional<std::string_view> below(std::string_view root, std::string_view path) {
  if (path == root) return std::string_view();
  if (root == "/") return path;
  if (path.size() > root.size() && path.substr(0, root.size()) == root &&
      path[root.size()] == '/') {
    return path.substr(root.size());
  }
  return std::nullopt;
}

}  // namespace

Result<CgroupPlace> find_cgroup_place() {
  const auto mounts = read_small_file("/proc/self/mountinfo", 4 << 20);
  if (!mounts) return mounts.error();
  const auto own = read_small_file("/proc/self/cgroup");
  if (!own) return own.error();
  return find_cgroup_place(*mounts, *own);
}

Result<CgroupPlace> find_cgroup_place(std::string_view mountinfo, std::string_view self_cgroup) {
  std::optional<std::string_view> own;
  for (const auto line : split(self_cgroup, '\n')) {
    if (line.substr(0, 3) == "0::") own = line.substr(3);
  }
  if (!own) return Error{"no cgroup v2 hierarchy: /proc/self/cgroup has no 0:: line"};
  if (own->substr(0, 4) == "/../" || *own == "/..") {
    return Error{"mtd's cgroup lies outside its cgroup namespace"};
  }
  // ID PARENT MAJOR:MINOR ROOT MOUNTPOINT OPTIONS [FIELDS…] - TYPE SOURCE SUPER_OPTIONS (proc(5))
  for (const auto line : split(mountinfo, '\n')) {
    const auto tail = line.find(" - ");
    if (tail == std::string_view::npos || line.substr(tail + 3, 8) != "cgroup2 ") continue;
    const auto fields = split(line.substr(0, tail), ' ');
    if (fields.size() < 6) continue;
    const auto relative = below(fields[3], *own);
    if (!relative) continue;
    return CgroupPlace{unescape(fields[4]) + std::string(*relative),
                       *own == "/" ? std::string() : std::string(*own)};
  }
  return Error{"no cgroup v2 mount shows mtd's own cgroup"};
}

std::optional<CgroupName> parse_worker_cgroup(std::string_view hierarchy, std::string_view path) {
  const std::string pools = std::string(hierarchy) + "/pools/";
  if (path.substr(0, pools.size()) != pools) return std::nullopt;
  path.remove_prefix(pools.size());
  const auto slash = path.find('/');
  if (slash == std::string_view::npos) return std::nullopt;
  CgroupName name;
  name.pool = std::string(path.substr(path[0] == '_' ? 1 : 0, path[0] == '_' ? slash - 1 : slash));
  path.remove_prefix(slash + 1);
  const char* end = path.data() + path.size();
  const auto slot = std::from_chars(path.data(), end, name.slot);
  if (slot.ec != std::errc() || slot.ptr == end || *slot.ptr != '.') return std::nullopt;
  const auto incarnation = std::from_chars(slot.ptr + 1, end, name.incarnation);
  if (incarnation.ec != std::errc()) return std::nullopt;
  if (incarnation.ptr != end && *incarnation.ptr != '/') return std::nullopt;
  return name;
}

}  // namespace mtd::sys
