#include "ctl/socket_search.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>

#include "common/escape.h"

namespace mtd::ctl {
namespace {

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? std::string() : std::string(value);
}

bool is_directory(const std::string& path) {
  struct stat facts {};
  return ::stat(path.c_str(), &facts) == 0 && S_ISDIR(facts.st_mode);
}

// In a directory that anyone may write to, only our own directory is believed.
bool belongs_to(const std::string& directory, unsigned uid) {
  struct stat facts {};
  if (::lstat(directory.c_str(), &facts) != 0) return true;  // connecting will say what is wrong
  return S_ISDIR(facts.st_mode) && facts.st_uid == uid;
}

std::string own_socket(const Surroundings& surroundings) {
  if (!surroundings.xdg_runtime_dir.empty()) {
    return surroundings.xdg_runtime_dir + "/mtd/" + kSocketName;
  }
  const std::string directory =
      surroundings.temporary_dir + "/mtd-" + std::to_string(surroundings.uid);
  if (!belongs_to(directory, surroundings.uid)) return {};
  return directory + "/" + kSocketName;
}

std::string reason(const Error& error, const std::string& path) {
  const std::string text = escape_for_terminal(error.message);
  const std::string shown = escape_for_terminal(path);
  return text.find(shown) == std::string::npos ? shown + ": " + text : text;
}

}  // namespace

Surroundings surroundings_of_process() {
  Surroundings surroundings;
  surroundings.mtd_socket = variable("MTD_SOCKET");
  surroundings.xdg_runtime_dir = variable("XDG_RUNTIME_DIR");
  surroundings.uid = ::geteuid();
  return surroundings;
}

std::vector<std::string> socket_candidates(const std::string& option,
                                           const Surroundings& surroundings) {
  std::string explicit_path = option.empty() ? surroundings.mtd_socket : option;
  if (!explicit_path.empty()) {
    while (explicit_path.size() > 1 && explicit_path.back() == '/')
      explicit_path.pop_back();
    return {is_directory(explicit_path) ? explicit_path + "/" + kSocketName : explicit_path};
  }
  std::vector<std::string> candidates;
  if (surroundings.uid != 0) {
    if (std::string own = own_socket(surroundings); !own.empty()) candidates.push_back(own);
  }
  candidates.push_back(surroundings.system_dir + "/" + kSocketName);
  return candidates;
}

Outcome<Connection> connect_first(const std::vector<std::string>& candidates, Duration timeout) {
  Failure failure{CtlExit::unreachable, "no mtd answers"};
  for (const std::string& path : candidates) {
    Result<varlink::Client> client = varlink::Client::connect(path, timeout);
    if (client) return Connection{*std::move(client), path};
    const Failure one = transport_failure(client.error());
    if (one.code == CtlExit::timed_out) return one;
    if (one.code == CtlExit::permission_denied) failure.code = one.code;
    failure.message += "\n  " + reason(client.error(), path);
  }
  if (failure.code == CtlExit::unreachable) {
    failure.message += "\nIs it running? 'mtctl -s SOCKET' names another socket.";
  }
  return failure;
}

Failure transport_failure(const Error& error) {
  const std::string message = escape_for_terminal(error.message);
  switch (varlink::failure_of(error)) {
    case varlink::Failure::unreachable:
      return {CtlExit::unreachable, message};
    case varlink::Failure::permission:
      return {CtlExit::permission_denied, message};
    case varlink::Failure::timed_out:
      return {
          CtlExit::timed_out,
          "the time of --timeout is over and the answer has not come; what was asked for goes on"};
    case varlink::Failure::closed:
      return {CtlExit::unreachable, "the daemon closed the connection: " + message};
    case varlink::Failure::protocol:
      return {CtlExit::failed, "the daemon's answer makes no sense: " + message};
  }
  return {CtlExit::failed, message};
}

}  // namespace mtd::ctl
