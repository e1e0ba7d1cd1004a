#include "ctl/remote.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdlib>
#include <cstring>

#include "common/escape.h"

namespace mtd::ctl {
namespace {

constexpr std::string_view kScheme = "ssh://";
constexpr int kOwnFailureOfSsh = 255;  // ssh(1), EXIT STATUS

Failure bad_host(std::string_view text, const std::string& what) {
  return {CtlExit::usage, "-H '" + escape_for_terminal(text) + "': " + what +
                              "; a host is written ssh://[USER@]HOST[:PORT]"};
}

bool is_port(std::string_view text) {
  unsigned value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size() && value > 0 && value < 65536;
}

// For the shell there.
std::string quoted(const std::string& word) {
  constexpr std::string_view kPlain =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_@%+=:,./-";
  if (!word.empty() && word.find_first_not_of(kPlain) == std::string::npos) return word;
  std::string text = "'";
  for (const char c : word)
    text += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return text + "'";
}

// How many words of `arguments` at `at` name the host; 0: none do.
std::size_t host_words(const std::string& word) {
  if (word == "-H" || word == "--host") return 2;
  return word.starts_with("--host=") || (word.starts_with("-H") && word.size() > 2) ? 1 : 0;
}

[[noreturn]] void become(const std::vector<std::string>& words) {
  std::vector<char*> argv;
  for (const std::string& word : words)
    argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  std::signal(SIGPIPE, SIG_DFL);
  std::signal(SIGINT, SIG_DFL);
  std::signal(SIGQUIT, SIG_DFL);
  ::execvp(argv[0], argv.data());
  ::_exit(127);
}

}  // namespace

Outcome<Host> parse_host(std::string_view text) {
  std::string_view rest = text;
  const bool is_url = rest.starts_with(kScheme);
  if (is_url) rest.remove_prefix(kScheme.size());
  if (!is_url && rest.find("://") != std::string_view::npos)
    return bad_host(text, "only ssh is known");
  if (rest.ends_with('/')) rest.remove_suffix(1);
  if (rest.find('/') != std::string_view::npos)
    return bad_host(text, "it has a path; the socket there is named with -s");
  Host host;
  const std::size_t at = rest.rfind('@');
  std::string_view user = at == std::string_view::npos ? "" : rest.substr(0, at + 1);
  std::string_view name = at == std::string_view::npos ? rest : rest.substr(at + 1);
  if (is_url) {
    const std::size_t end = name.starts_with('[') ? name.find(']') : std::string_view::npos;
    const std::size_t colon = name.find(':', end == std::string_view::npos ? 0 : end);
    if (colon != std::string_view::npos) {
      host.port = name.substr(colon + 1);
      name = name.substr(0, colon);
      if (!is_port(host.port)) return bad_host(text, "there is no port '" + host.port + "'");
    }
    if (end != std::string_view::npos) name = name.substr(1, end - 1);
  }
  if (name.empty() || user == "@") return bad_host(text, "a name is missing");
  host.destination = std::string(user) + std::string(name);
  if (host.destination.front() == '-') return bad_host(text, "no name begins with '-'");
  const auto is_bad = [](unsigned char c) { return c <= ' ' || c == 0x7f; };
  if (std::any_of(host.destination.begin(), host.destination.end(), is_bad))
    return bad_host(text, "a blank or a control character is in it");
  return host;
}

Outcome<std::vector<std::string>> remote_words(const Host& host,
                                               const std::vector<std::string>& arguments,
                                               bool terminal) {
  const char* chosen = std::getenv("MTD_SSH");
  std::vector<std::string> words{chosen == nullptr || *chosen == '\0' ? "ssh" : chosen};
  if (terminal) words.emplace_back("-t");
  if (!host.port.empty()) words.insert(words.end(), {"-p", host.port});
  words.insert(words.end(), {"--", host.destination});
  std::string command = "mtctl";
  bool found = false;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    if (arguments[i] == "--") {
      for (; i < arguments.size(); ++i)
        command += " " + quoted(arguments[i]);
      break;
    }
    if (const std::size_t count = host_words(arguments[i]); count > 0) {
      found = true;
      i += count - 1;
    } else {
      command += " " + quoted(arguments[i]);
    }
  }
  if (!found) return Failure{CtlExit::usage, "-H stands alone: not in one word with other options"};
  words.push_back(command);
  return words;
}

Outcome<int> run_remotely(const Invocation& invocation, const std::vector<std::string>& arguments) {
  const Outcome<Host> host = parse_host(invocation.options.host);
  if (!host) return host.failure();
  const bool terminal = ::isatty(STDIN_FILENO) != 0 && ::isatty(STDOUT_FILENO) != 0;
  const auto words = remote_words(*host, arguments, terminal);
  if (!words) return words.failure();
  // An interrupt goes to ssh, too, and what it means is the command's there.
  std::signal(SIGINT, SIG_IGN);
  std::signal(SIGQUIT, SIG_IGN);
  const pid_t pid = ::fork();
  if (pid < 0)
    return Failure{CtlExit::failed, std::string("cannot start ssh: ") + std::strerror(errno)};
  if (pid == 0) become(*words);
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (WIFSIGNALED(status)) return 128 + WTERMSIG(status);
  const int code = WEXITSTATUS(status);
  const std::string where = escape_for_terminal(host->destination);
  if (code == kOwnFailureOfSsh && invocation.verb != "run")
    return Failure{CtlExit::unreachable, where + " is not to be reached by ssh, or it broke off"};
  if (code == 127)
    return Failure{CtlExit::unreachable,
                   "no " + (*words)[0] + " here, or no mtctl in the PATH of " + where};
  return code;
}

}  // namespace mtd::ctl
