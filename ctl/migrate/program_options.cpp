#include "ctl/migrate/program_options.h"

#include <vector>

#include "common/glob.h"
#include "common/names.h"
#include "ctl/migrate/ini.h"

namespace mtd::ctl {
namespace {

constexpr std::string_view kEvents =
    "mtd sends no output as events; what happens is told by 'mtctl events -f'";
constexpr std::string_view kCapture =
    "there is no capture mode; a worker reports by sd_notify instead";

constexpr ProgramOption kOptions[] = {
    {"command", Fate::carried, "", ""},
    {"process_name", Fate::lost, "workers are called POOL/0, POOL/1 and so on",
     "%(program_name)s*"},
    {"numprocs", Fate::carried, "", ""},
    {"numprocs_start", Fate::carried, "", ""},
    {"priority", Fate::lost, "pools start together; nothing here says which comes first", "999"},
    {"autostart", Fate::carried, "", ""},
    {"startsecs", Fate::carried, "", ""},
    {"startretries", Fate::carried, "", ""},
    {"autorestart", Fate::carried, "", ""},
    {"exitcodes", Fate::carried, "", ""},
    {"stopsignal", Fate::carried, "", ""},
    {"stopwaitsecs", Fate::carried, "", ""},
    {"stopasgroup", Fate::carried, "", ""},
    {"killasgroup", Fate::needless, "", ""},  // a stop always ends everything
    {"user", Fate::carried, "", ""},
    {"redirect_stderr", Fate::carried, "", ""},
    {"stdout_logfile", Fate::carried, "", ""},
    {"stdout_logfile_maxbytes", Fate::carried, "", ""},
    {"stdout_logfile_backups", Fate::carried, "", ""},
    {"stdout_capture_maxbytes", Fate::lost, kCapture, "0"},
    {"stdout_events_enabled", Fate::lost, kEvents, "false"},
    {"stdout_syslog", Fate::carried, "", ""},
    {"stderr_logfile", Fate::carried, "", ""},
    {"stderr_logfile_maxbytes", Fate::carried, "", ""},
    {"stderr_logfile_backups", Fate::carried, "", ""},
    {"stderr_capture_maxbytes", Fate::lost, kCapture, "0"},
    {"stderr_events_enabled", Fate::lost, kEvents, "false"},
    {"stderr_syslog", Fate::carried, "", ""},
    {"environment", Fate::carried, "", ""},
    {"directory", Fate::carried, "", ""},
    {"umask", Fate::carried, "", ""},
    {"serverurl", Fate::lost, "there is no supervisord to call; MTD_SOCKET names mtd's socket",
     "auto"},
    {"socket", Fate::carried, "", ""},
    {"socket_owner", Fate::carried, "", ""},
    {"socket_mode", Fate::carried, "", ""},
    {"socket_backlog", Fate::carried, "", ""},
};

}  // namespace

bool ProgramOption::is_harmless(std::string_view value) const {
  const std::string text = lowered(value);
  if (harmless == "false") return text == "false" || text == "no" || text == "off" || text == "0";
  return glob_matches(harmless, text);
}

const ProgramOption* find_program_option(std::string_view name) {
  for (const ProgramOption& option : kOptions) {
    if (option.name == name) return &option;
  }
  return nullptr;
}

std::string_view close_program_option(std::string_view name) {
  std::vector<std::string_view> names;
  for (const ProgramOption& option : kOptions)
    names.push_back(option.name);
  return closest_name(name, names);
}

}  // namespace mtd::ctl
