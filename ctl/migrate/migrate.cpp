#include "ctl/migrate/migrate.h"

#include <algorithm>
#include <set>

#include <nlohmann/json.hpp>

#include "common/names.h"
#include "ctl/migrate/program.h"

namespace mtd::ctl {
namespace {

constexpr std::string_view kProgram = "program:";
constexpr std::string_view kFcgi = "fcgi-program:";
constexpr std::string_view kGroup = "group:";
constexpr std::string_view kListener = "eventlistener:";

// Options of [supervisord] that its programs feel, or that an administrator will look for.
struct DaemonOption {
  std::string_view name;
  std::string_view why;  // empty: carried over, or needless
};
constexpr DaemonOption kDaemonOptions[] = {
    {"logfile", ""},     {"logfile_maxbytes", ""}, {"logfile_backups", ""},
    {"loglevel", ""},    {"pidfile", ""},          {"umask", ""},
    {"nodaemon", ""},    {"silent", ""},           {"minfds", ""},
    {"minprocs", ""},    {"nocleanup", ""},        {"childlogdir", ""},
    {"user", ""},        {"directory", ""},        {"strip_ansi", "output is passed on as it is"},
    {"environment", ""}, {"identifier", ""},
};

// Sections that are neither programs nor groups; a name that ends in a colon stands for all of
// them.
struct OtherSection {
  std::string_view name;
  std::string_view why;  // empty: needless
};
constexpr OtherSection kOtherSections[] = {
    {"supervisord", ""},
    {"supervisorctl", ""},
    {"include", ""},
    {"unix_http_server", ""},
    {"rpcinterface:supervisor", ""},
    {"inet_http_server", "mtd listens on no network; mtctl uses the control socket"},
    {"rpcinterface:", "there is no XML-RPC; mtd-control(7) is the interface"},
    {"ctlplugin:", "mtctl has no plug-ins"},
    {kListener,
     "it speaks supervisord's event protocol; 'mtctl events -f -o jsonl' tells what happens"},
};

std::string name_after(const IniSection& section, std::string_view prefix) {
  return std::string(trimmed(std::string_view(section.name).substr(prefix.size())));
}

class Migrator {
 public:
  Migrator(const IniDocument& document, const std::string& host, Notes& notes)
      : document_(document), notes_(notes) {
    around_ = {&document, document.find("supervisord"), host};
  }

  Migration run() {
    read_groups();
    for (const IniSection& section : document_.sections)
      take(section);
    if (around_.daemon != nullptr) take_daemon(*around_.daemon);
    Migration result;
    result.remarks = remarks();
    result.configuration = std::move(daemon_keys_);
    result.configuration["pools"] = std::move(pools_);
    return result;
  }

 private:
  void read_groups() {
    for (const IniSection& section : document_.sections) {
      if (!section.name.starts_with(kGroup)) continue;
      const IniOption* programs = section.find("programs");
      if (programs == nullptr) {
        notes_.error(section.place, "[" + section.name + "] has no programs");
        continue;
      }
      std::string_view rest = programs->value;
      while (!rest.empty()) {
        const std::size_t comma = std::min(rest.find(','), rest.size());
        add_member(section, *programs, std::string(trimmed(rest.substr(0, comma))));
        rest.remove_prefix(std::min(comma + 1, rest.size()));
      }
      if (const IniOption* priority = section.find("priority"); priority != nullptr) {
        notes_.left(priority->place, "priority: pools start together");
      }
    }
  }

  void add_member(const IniSection& section, const IniOption& option, const std::string& program) {
    const bool known = document_.find(std::string(kProgram) + program) != nullptr ||
                       document_.find(std::string(kFcgi) + program) != nullptr;
    if (!known) {
      notes_.error(option.place,
                   "there is no program " + cited(program) + " for [" + section.name + "]");
      return;
    }
    const auto [member, added] = group_of_.emplace(program, name_after(section, kGroup));
    if (!added) {
      notes_.left(option.place, "program " + cited(program) + " is in group " +
                                    cited(member->second) + ", too; it becomes one pool there");
    }
  }

  void take(const IniSection& section) {
    for (const std::string_view prefix : {kProgram, kFcgi}) {
      if (section.name.starts_with(prefix)) return take_program(section, prefix);
    }
    if (section.name.starts_with(kGroup)) return;
    for (const OtherSection& other : kOtherSections) {
      const bool fits = other.name.back() == ':' ? section.name.starts_with(other.name)
                                                 : section.name == other.name;
      if (!fits) continue;
      if (!other.why.empty())
        notes_.left(section.place, "[" + section.name + "]: " + std::string(other.why));
      return;
    }
    notes_.left(section.place, "[" + section.name + "] is no section of supervisord");
  }

  void take_program(const IniSection& section, std::string_view prefix) {
    const std::string program = name_after(section, prefix);
    const auto group = group_of_.find(program);
    const bool grouped = group != group_of_.end();
    const std::string wanted = (grouped ? group->second + "." : std::string()) + program;
    const ProgramName name{program, grouped ? group->second : program, usable_name(wanted)};
    if (name.pool != wanted) {
      notes_.left(section.place, "[" + section.name + "] becomes pool " + name.pool +
                                     "; a name is letters, digits, \"_\", \".\" and \"-\"");
    }
    for (Pool& pool : pools_of_program(section, name, around_, tally_, notes_)) {
      pool.keys["x-from"] =
          document_.files.at(section.place.file) + ":" + std::to_string(section.place.line);
      pools_[unused_name(section, pool.name)] = std::move(pool.keys);
    }
  }

  static std::string usable_name(std::string_view wanted) {
    constexpr std::size_t kRoomForNumbers = 8;
    std::string name;
    for (const char c : wanted.substr(0, kMaxNameLength - kRoomForNumbers)) {
      const bool good = is_valid_name("a" + std::string(1, c));
      if (good || !name.ends_with('-')) name += good ? c : '-';
    }
    return is_valid_name(name) ? name : "pool" + name;
  }

  std::string unused_name(const IniSection& section, const std::string& name) {
    std::string unused = name;
    for (int number = 2; pools_.contains(unused); ++number)
      unused = name + "-" + std::to_string(number);
    if (unused != name) {
      notes_.left(section.place, "[" + section.name + "] becomes pool " + unused +
                                     ", for there is a pool " + name + " already");
    }
    return unused;
  }

  void take_daemon(const IniSection& section) {
    for (const IniOption& option : section.options) {
      const auto known =
          std::find_if(std::begin(kDaemonOptions), std::end(kDaemonOptions),
                       [&](const DaemonOption& one) { return one.name == option.name; });
      if (known == std::end(kDaemonOptions)) {
        notes_.left(option.place, "supervisord has no option " + cited(option.name));
      } else if (!known->why.empty()) {
        notes_.left(option.place, option.name + ": " + std::string(known->why));
      }
    }
    const IniOption* level = section.find("loglevel");
    if (level == nullptr) return;
    constexpr std::pair<std::string_view, std::string_view> kLevels[] = {
        {"critical", "error"}, {"error", "error"}, {"warn", "warning"},
        {"debug", "debug"},    {"trace", "debug"}, {"blather", "debug"}};
    for (const auto& [theirs, ours] : kLevels) {
      if (lowered(level->value) == theirs) daemon_keys_["log"] = {{"level", ours}};
    }
  }

  [[nodiscard]] std::vector<std::string> remarks() const {
    std::vector<std::string> result;
    std::string names;
    for (const auto& [variable, pool] : tally_.variables)
      names += (names.empty() ? "" : ", ") + variable;
    if (!names.empty()) {
      result.push_back("the environment that mtd is started with must have " + names +
                       ", as supervisord's had (systemd: Environment= of mtd.service)");
    }
    names.clear();
    for (const std::string& pool : tally_.rotated)
      names += (names.empty() ? "" : ", ") + pool;
    if (!names.empty()) {
      result.push_back("supervisord rotated the logs of " + names +
                       "; mtd leaves them to logrotate(8) with copytruncate, and the worker's user "
                       "must be able to write them");
    }
    if (pools_.empty()) result.emplace_back("there is no program in it");
    return result;
  }

  const IniDocument& document_;
  Notes& notes_;
  ProgramSurroundings around_;
  ProgramTally tally_;
  std::map<std::string, std::string> group_of_;  // program → group
  OrderedJson daemon_keys_ = OrderedJson::object();
  OrderedJson pools_ = OrderedJson::object();
};

}  // namespace

Migration migrate(const IniDocument& document, const std::string& host, Notes& notes) {
  return Migrator(document, host, notes).run();
}

}  // namespace mtd::ctl
