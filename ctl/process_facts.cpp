#include "ctl/process_facts.h"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <ctime>
#include <memory>
#include <sstream>

#include <nlohmann/json.hpp>

#include "common/unique_fd.h"
#include "ctl/json_access.h"

namespace mtd::ctl {
namespace {

std::string proc_path(int pid, const char* file) {
  return "/proc/" + std::to_string(pid) + "/" + file;
}

// The first 4 096 bytes, which holds all of `stat`.
std::string read_start(const std::string& path) {
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  std::array<char, 4096> buffer{};
  std::size_t used = 0;
  while (file && used < buffer.size()) {
    const ssize_t got = ::read(file.get(), buffer.data() + used, buffer.size() - used);
    if (got <= 0) break;
    used += static_cast<std::size_t>(got);
  }
  return {buffer.data(), used};
}

double seconds_since_boot() {
  timespec now{};
  ::clock_gettime(CLOCK_BOOTTIME, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) / 1e9;
}

double cpu_percent(const ProcessFacts& facts) {
  const auto ticks_per_second = static_cast<double>(::sysconf(_SC_CLK_TCK));
  const double age =
      seconds_since_boot() - static_cast<double>(facts.start_ticks) / ticks_per_second;
  const double used = static_cast<double>(facts.cpu_ticks) / ticks_per_second;
  return std::round(used / std::max(age, 0.01) * 1000) / 10;
}

void fill_worker(Json& worker, int keeper_pid) {
  const auto pid = integer(worker, "pid");
  if (!pid) return;
  const auto facts = read_process(static_cast<int>(*pid));
  if (!facts || facts->parent != keeper_pid) return;
  worker["rss_bytes"] = facts->rss_pages * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  worker["cpu_pct"] = cpu_percent(*facts);
}

}  // namespace

std::optional<ProcessFacts> parse_stat(std::string_view text) {
  const std::size_t open = text.find('(');
  const std::size_t close = text.rfind(')');
  if (open == std::string_view::npos || close == std::string_view::npos || close < open) return {};
  ProcessFacts facts;
  facts.pid = std::atoi(std::string(text.substr(0, open)).c_str());
  facts.name = std::string(text.substr(open + 1, close - open - 1));
  std::istringstream rest{std::string(text.substr(close + 1))};
  std::vector<std::string> fields;  // [0] is field 3 of proc(5), the state
  for (std::string field; rest >> field;)
    fields.push_back(field);
  if (fields.size() < 22) return {};
  const auto number = [&](std::size_t field) {
    return std::strtoull(fields[field - 3].c_str(), nullptr, 10);
  };
  facts.state = fields[0].front();
  facts.parent = static_cast<int>(number(4));
  facts.cpu_ticks = number(14) + number(15);
  facts.start_ticks = number(22);
  facts.rss_pages = number(24);
  return facts;
}

std::optional<ProcessFacts> read_process(int pid) {
  return parse_stat(read_start(proc_path(pid, "stat")));
}

std::string read_arguments(int pid) {
  std::string text = read_start(proc_path(pid, "cmdline"));
  while (!text.empty() && text.back() == '\0')
    text.pop_back();
  std::replace(text.begin(), text.end(), '\0', ' ');
  return text;
}

std::map<int, ProcessFacts> all_processes() {
  std::map<int, ProcessFacts> result;
  const std::unique_ptr<DIR, int (*)(DIR*)> directory(::opendir("/proc"), ::closedir);
  if (!directory) return result;
  while (const dirent* entry = ::readdir(directory.get())) {
    const int pid = std::atoi(entry->d_name);
    if (pid <= 0) continue;
    if (auto facts = read_process(pid)) result[pid] = std::move(*facts);
  }
  return result;
}

void fill_resource_use(Json& pools, int keeper_pid) {
  for (Json& pool : pools) {
    if (!member(pool, "workers").is_array()) continue;
    for (Json& worker : pool["workers"]) {
      if (worker.is_object()) fill_worker(worker, keeper_pid);
    }
  }
}

}  // namespace mtd::ctl
