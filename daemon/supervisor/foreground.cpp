#include "daemon/supervisor/foreground.h"

#include "common/exit_status.h"

namespace mtd::supervisor {
namespace {

constexpr std::size_t kTelling = 2;  // one exit with 0 may be a program that has done its work

struct Row {
  std::string_view prefix;  // of the program's name: php-fpm8.2 is a php-fpm
  std::string_view option;
};
// From their manuals, as Debian 12 has them.
constexpr Row kRows[] = {
    {"apache2", "apache2 -DFOREGROUND"},
    {"cron", "cron -f"},
    {"dnsmasq", "dnsmasq --keep-in-foreground"},
    {"gunicorn", "gunicorn without -D and --daemon"},
    {"haproxy", "haproxy -db, or without -D and \"daemon\" in its file"},
    {"httpd", "httpd -DFOREGROUND"},
    {"lighttpd", "lighttpd -D"},
    {"memcached", "memcached without -d"},
    {"mosquitto", "mosquitto without -d"},
    {"named", "named -f"},
    {"nginx", "nginx -g 'daemon off;'"},
    {"php-fpm", "php-fpm --nodaemonize"},
    {"postfix", "postfix start-fg"},
    {"redis-server", "redis-server --daemonize no"},
    {"rsync", "rsync --daemon --no-detach"},
    {"rsyslogd", "rsyslogd -n"},
    {"sshd", "sshd -D"},
    {"squid", "squid --foreground"},
    {"stunnel", "\"foreground = yes\" in stunnel's file"},
    {"unbound", "unbound -d"},
    {"uwsgi", "uwsgi without --daemonize"},
    {"vsftpd", "vsftpd -obackground=NO"},
};

bool is_unasked_zero(const model::ExitRecord& exit) {
  return exit.cause == model::ExitCause::exit && !exit.planned &&
         ExitStatus::from_wait(exit.wait_status).code() == 0;
}

}  // namespace

bool looks_daemonized(const std::vector<model::ExitRecord>& exits) {
  if (exits.size() < kTelling) return false;
  for (std::size_t i = 0; i < kTelling; ++i) {
    if (!is_unasked_zero(exits[i])) return false;
  }
  return true;
}

std::string_view foreground_option(std::string_view program) {
  const std::string_view name = program.substr(program.rfind('/') + 1);
  for (const Row& row : kRows) {
    if (name.starts_with(row.prefix)) return row.option;
  }
  return {};
}

}  // namespace mtd::supervisor
